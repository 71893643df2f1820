/* SPDX-License-Identifier: MIT */
#include "server/http_raw.h"

#include <microhttpd.h>
#include <stdint.h>
#include <string.h>

#define VALUE_GAP_MAX 256 /* the colon and spaces between name and value */

bool http_raw_is_known(void) {
    return strncmp(MHD_get_version(), "0.9.75", 6) == 0;
}

/* CR and LF of a line's end are both overwritten with NUL. */
static void end_line(struct http_raw *raw, const char *end) {
    raw->plain = raw->plain && end[0] == '\0' && end[1] == '\0';
    raw->next = end + 2;
}

size_t http_raw_target_len(const char *uri) {
    size_t len = strlen(uri);
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)uri[i] <= ' ' || uri[i] == 0x7F)
            return 0;
    return len;
}

void http_raw_begin(struct http_raw *raw, const char *method, const char *url, size_t uri_len,
                    const char *version) {
    raw->plain = uri_len > 0 && url == method + strlen(method) + 1 && version == url + uri_len + 1;
    end_line(raw, version + strlen(version));
}

/* A folded line is joined in another place of memory, so its value does not follow its name. */
void http_raw_header(struct http_raw *raw, const char *name, size_t name_len, const char *value,
                     size_t value_len) {
    raw->plain = raw->plain && name == raw->next && value && value > name + name_len &&
                 value - name - (ptrdiff_t)name_len < VALUE_GAP_MAX;
    if (raw->plain)
        end_line(raw, value + value_len);
}

bool http_raw_end(const struct http_raw *raw, const char *url, size_t bytes_from_url) {
    return raw->plain && raw->next + 2 == url + bytes_from_url;
}

bool http_raw_chunk_is_plain(const char *body, size_t max_bytes, const char *data) {
    uintptr_t start = (uintptr_t)body, at = (uintptr_t)data; /* perhaps of another buffer */
    if (at <= start || at - start > max_bytes)
        return true;
    return at - start >= 2 && data[-2] == '\r' && data[-1] == '\n';
}
