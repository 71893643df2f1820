/* SPDX-License-Identifier: MIT */
/* Fetches an issuer's key set by HTTPS, on a thread of its own: at start, by and by, and where a
 * token names a key that is not there. The only file that knows libcurl is jwks_fetch.c. */
#ifndef HATI_AUTH_JWKS_FETCH_H
#define HATI_AUTH_JWKS_FETCH_H

#include "base/err.h"
#include "base/slice.h"

/* When it is fetched next; plain data. */
struct jwks_times {
    int64_t refresh_ms, cooldown_ms;
    int64_t tried_at_ms; /* steady time of the last try's start */
    bool tried;
    bool failing; /* the last try gave no keys */
    bool asked;   /* a token named an unknown key since then */
    bool urged;   /* an operator wants it at once */
};

/* The steady time of the next try, INT64_MIN: at once. Never two within a cool-down, unless urged.
 * Any thread. */
int64_t jwks_due_at_ms(const struct jwks_times *times);

struct jwks_fetch_options {
    const char *url;     /* https; http from this machine, or where it is allowed */
    const char *ca_file; /* PEM of who vouches for it; NULL: the system's */
    bool allow_http;
    int64_t refresh_ms, cooldown_ms;
    /* Takes what was fetched, at most 1 MiB, on the fetching thread. False, and one line in
     * ret_why, where it is of no use. */
    bool (*take)(void *context, struct slice document, char *ret_why, size_t why_bytes);
    void *context;
};

struct jwks_fetch;

/* Copies the options and starts the thread, which begins to fetch. Refuses a URL that is none, that
 * names a user or a password, or is http where it may not be, and a ca_file without a certificate:
 * one line in ret_why. */
enum err jwks_fetch_open(const struct jwks_fetch_options *options, struct jwks_fetch **ret_fetch,
                         char *ret_why, size_t why_bytes) MUST_USE;
/* Ends the thread; a fetch under way is cut off within a second or so. NULL is none. */
void jwks_fetch_close(struct jwks_fetch *fetch);

/* A token named an unknown key: fetch once the cool-down is over. Any thread, never waits. */
void jwks_fetch_ask(struct jwks_fetch *fetch);
/* Fetch now, cool-down or not. Any thread, never waits. */
void jwks_fetch_now(struct jwks_fetch *fetch);
/* Waits for the end of the first try, for timeout_ms at most. */
void jwks_fetch_await(struct jwks_fetch *fetch, int64_t timeout_ms);

#endif
