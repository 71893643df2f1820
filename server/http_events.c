/* SPDX-License-Identifier: MIT */
#include "server/http_events.h"

enum MHD_Result http_events_reply(struct http_request *request, struct MHD_Response *response) {
    if (response &&
        !(http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream") &&
          http_add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache") &&
          http_add_header(response, "X-Accel-Buffering", "no"))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, MHD_HTTP_OK, response);
}

ssize_t http_events_take(struct http_request *request, const struct buf *out, size_t *taken,
                         char *to, size_t max_bytes) {
    size_t len = out->len - *taken;
    if (len > max_bytes)
        len = max_bytes;
    memcpy(to, out->ptr + *taken, len);
    *taken += len;
    request->out_bytes += len;
    return (ssize_t)len;
}
