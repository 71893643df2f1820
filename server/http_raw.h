/* SPDX-License-Identifier: MIT */
/* What libmicrohttpd 0.9.75 does not tell: it parses a request in place, so how the pointers it
 * gives lie in memory shows folded lines, bare LFs and NULs that its strings hide. */
#ifndef HATI_SERVER_HTTP_RAW_H
#define HATI_SERVER_HTTP_RAW_H

#include <stdbool.h>
#include <stddef.h>

/* True where the library at hand is one whose way of parsing is known here. */
bool http_raw_is_known(void);
/* True where name and value stand on one line that ends in CRLF and holds no NUL. */
bool http_raw_header_is_plain(const char *name, size_t name_len, const char *value,
                              size_t value_len);
/* True where the version follows the URI (uri_len bytes from url, its query included) after one
 * byte. */
bool http_raw_line_is_plain(const char *url, size_t uri_len, const char *version);

#endif
