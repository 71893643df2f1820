/* SPDX-License-Identifier: MIT */
/* What libmicrohttpd 0.9.75 does not tell: it parses a request in place, so how the pointers it
 * gives lie in memory shows folded lines, bare LFs, dropped lines and NULs that its strings hide.
 */
#ifndef HATI_SERVER_HTTP_RAW_H
#define HATI_SERVER_HTTP_RAW_H

#include <stdbool.h>
#include <stddef.h>

struct http_raw {
    const char *next; /* where the next line has to begin */
    bool plain;       /* so far every line stood where it has to, ended by CRLF */
};

/* True where the library at hand is one whose way of parsing is known here. */
bool http_raw_is_known(void);

/* Bytes of a target as it came, with its query; 0 where it holds a space or a control character,
 * with which it ends elsewhere for other servers: http_raw_begin refuses it. */
size_t http_raw_target_len(const char *uri);
/* Judges the request line: method (NUL-ended), one space, url, uri_len bytes with its query, one
 * space, version (NUL-ended). */
void http_raw_begin(struct http_raw *raw, const char *method, const char *url, size_t uri_len,
                    const char *version);
/* Judges the next header line, in the order of the request. */
void http_raw_header(struct http_raw *raw, const char *name, size_t name_len, const char *value,
                     size_t value_len);
/* Judges what stands before bytes of a chunked body, in the buffer that begins at body and has
 * max_bytes at most: where they do not stand at its front, the line of their chunk does stand
 * there, and has to end in CRLF. */
bool http_raw_chunk_is_plain(const char *body, size_t max_bytes, const char *data);
/* After the last line: true where all of it is plain, and an empty line of CRLF ends the bytes of
 * the request's head, of which there are bytes_from_url from url on. */
bool http_raw_end(const struct http_raw *raw, const char *url, size_t bytes_from_url);

#endif
