/* SPDX-License-Identifier: MIT */
/* Documents that were made at start. */
#include "server/http_request.h"

bool http_is_known(const struct http_request *request, const char *etag) {
    struct slice header = request->headers.if_none_match;
    return request->headers.if_none_matches > 0 &&
           (slice_equal(header, SLICE("*")) ||
            (header.len > 0 && memmem(header.ptr, header.len, etag, strlen(etag)) != NULL));
}

enum MHD_Result http_reply_document(struct http_request *request,
                                    const struct core_document *document) {
    unsigned status = http_is_known(request, document->etag) ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK;
    struct MHD_Response *response =
        status == MHD_HTTP_OK
            ? MHD_create_response_from_buffer(
                  document->text.len, (void *)(uintptr_t)document->text.ptr, MHD_RESPMEM_PERSISTENT)
            : http_response_not_modified();
    bool good = response && http_add_header(response, MHD_HTTP_HEADER_ETAG, document->etag) &&
                http_add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache") &&
                (status != MHD_HTTP_OK ||
                 http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json"));
    if (response && !good) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, status, response);
}
