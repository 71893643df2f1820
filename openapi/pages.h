/* SPDX-License-Identifier: MIT */
/* The console and the docs page with all they load, packed into the program by openapi/pack.py. */
#ifndef HATI_OPENAPI_PAGES_H
#define HATI_OPENAPI_PAGES_H

#include "base/slice.h"

enum page_kind { PAGE_CONSOLE, PAGE_DOCS, PAGE_PART /* of one of them: its path has its hash */ };

struct web_page {
    const char *path;
    const char *type;                  /* media type */
    const char *etag, *gzip_etag;      /* quoted */
    unsigned at, size_bytes;           /* in web_page_bytes */
    unsigned gzip_at, gzip_size_bytes; /* the same, gzipped */
    enum page_kind kind;
};

/* Made by pack.py. */
extern const struct web_page web_pages[];
extern const unsigned web_page_count;
extern const char web_page_bytes[] __attribute__((visibility("hidden")));

/* What is served at a path, or NULL. Any thread. */
const struct web_page *web_page_find(struct slice path);

#endif
