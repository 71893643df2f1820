/* SPDX-License-Identifier: MIT */
#include "server/http_raw.h"

#include <microhttpd.h>
#include <stdint.h>
#include <string.h>

#define VALUE_GAP_MAX 64 /* spaces between the colon and the value */

bool http_raw_is_known(void) {
    return strncmp(MHD_get_version(), "0.9.75", 6) == 0;
}

/* A folded line is joined in another place of memory, so its value does not follow its name. The
 * CR and the LF of a line's end are both overwritten with NUL. */
bool http_raw_header_is_plain(const char *name, size_t name_len, const char *value,
                              size_t value_len) {
    if (!value)
        return false;
    uintptr_t name_end = (uintptr_t)name + name_len;
    uintptr_t at = (uintptr_t)value;
    if (at <= name_end || at - name_end > VALUE_GAP_MAX)
        return false;
    return value[value_len] == '\0' && value[value_len + 1] == '\0';
}

bool http_raw_line_is_plain(const char *url, size_t uri_len, const char *version) {
    return (uintptr_t)version - (uintptr_t)url == uri_len + 1;
}
