/* SPDX-License-Identifier: MIT */
#include "server/http_pages.h"

#include <stdio.h>

#include "openapi/pages.h"
#include "server/http_request.h"

#define LOCATION_BYTES 300
#define FOR_EVER "public, max-age=31536000, immutable"
#define POLICY_END                                                                                 \
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "          \
    "form-action 'none'"
#define CONSOLE_POLICY "default-src 'none'; script-src 'self'; style-src 'self'; " POLICY_END
/* RapiDoc draws with style elements and attributes; it runs no script of a page's text. */
#define DOCS_POLICY                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " POLICY_END

static struct slice cut(struct slice text, size_t from, size_t to) {
    return slice_make(text.ptr + from, to - from);
}

static struct slice trim(struct slice text) {
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = cut(text, 1, text.len);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Takes off all up to the separator, and the separator. */
static struct slice take(struct slice *rest, char separator) {
    const char *end = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    struct slice first = cut(*rest, 0, len);
    *rest = cut(*rest, end ? len + 1 : len, rest->len);
    return trim(first);
}

/* `q=0`, `q=0.0` and so on: not wanted. */
static bool is_zero(struct slice parameters) {
    while (parameters.len) {
        struct slice one = take(&parameters, ';');
        if (one.len < 3 || (one.ptr[0] != 'q' && one.ptr[0] != 'Q') || one.ptr[1] != '=')
            continue;
        one = cut(one, 2, one.len);
        while (one.len && (one.ptr[0] == '0' || one.ptr[0] == '.'))
            one = cut(one, 1, one.len);
        return one.len == 0;
    }
    return false;
}

bool http_pages_accepts(struct slice header, struct slice word, bool any_too) {
    bool any = false;
    while (header.len) {
        struct slice parameters = take(&header, ',');
        struct slice name = take(&parameters, ';');
        if (slice_equal_nocase(name, word))
            return !is_zero(parameters);
        any = any || (any_too && slice_equal(name, SLICE("*")) && !is_zero(parameters));
    }
    return any;
}

struct slice http_pages_strip(struct slice path, const char *base_path) {
    struct slice base = slice_of_cstr(base_path ? base_path : "");
    if (base.len == 0 || !slice_starts_with(path, base))
        return path;
    if (path.len == base.len)
        return SLICE("/");
    return path.ptr[base.len] == '/' ? cut(path, base.len, path.len) : path;
}

static struct slice header_of(const struct http_request *request, const char *name) {
    const char *value = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
    return slice_of_cstr(value ? value : "");
}

/* What a browser has to know of a page before it believes it. */
static bool add_policy(const struct web_page *page, struct MHD_Response *response) {
    if (!http_add_header(response, "X-Content-Type-Options", "nosniff") ||
        !http_add_header(response, "Referrer-Policy", "no-referrer") ||
        !http_add_header(response, "Cross-Origin-Resource-Policy", "same-origin"))
        return false;
    return page->kind == PAGE_PART ||
           (http_add_header(response, "Content-Security-Policy",
                            page->kind == PAGE_DOCS ? DOCS_POLICY : CONSOLE_POLICY) &&
            http_add_header(response, "Cross-Origin-Opener-Policy", "same-origin"));
}

static bool add_kind(const struct web_page *page, bool packed, struct MHD_Response *response) {
    return http_add_header(response, MHD_HTTP_HEADER_ETAG, packed ? page->gzip_etag : page->etag) &&
           http_add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                           page->kind == PAGE_PART ? FOR_EVER : "no-cache") &&
           http_add_header(response, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
}

static enum MHD_Result reply_page(struct http_request *request, const struct web_page *page) {
    bool packed = http_pages_accepts(header_of(request, "Accept-Encoding"), SLICE("gzip"), true) &&
                  page->gzip_size_bytes < page->size_bytes;
    bool known = http_is_known(request, packed ? page->gzip_etag : page->etag);
    struct slice body = packed ? slice_make(web_page_bytes + page->gzip_at, page->gzip_size_bytes)
                               : slice_make(web_page_bytes + page->at, page->size_bytes);
    struct MHD_Response *response =
        known ? http_response_not_modified()
              : MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr,
                                                MHD_RESPMEM_PERSISTENT);
    bool good =
        response && add_kind(page, packed, response) && add_policy(page, response) &&
        (known || http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page->type)) &&
        (known || !packed || http_add_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip"));
    if (response && !good) {
        MHD_destroy_response(response);
        response = NULL;
    }
    request->out_bytes += known ? 0 : body.len;
    return http_reply(request, known ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response);
}

enum MHD_Result http_pages_run(struct http_request *request) {
    const struct web_page *page = request->match.page;
    if (!page || request->server->config->no_console)
        return http_reply_error(request, ERR_UNKNOWN_COMMAND, "nothing is served at this path");
    return reply_page(request, page);
}

bool http_pages_wants_console(const struct http_request *request) {
    return !request->server->config->no_console &&
           http_pages_accepts(header_of(request, MHD_HTTP_HEADER_ACCEPT), SLICE("text/html"),
                              false);
}

/* Relative where no base path is told: a proxy may have taken one off. */
enum MHD_Result http_root_run(struct http_request *request) {
    const char *base_path = request->server->config->base_path;
    char location[LOCATION_BYTES];
    snprintf(location, sizeof location, "%s%sconsole", base_path ? base_path : "",
             base_path ? "/" : "");
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response && !(http_add_header(response, MHD_HTTP_HEADER_LOCATION, location) &&
                      http_add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache") &&
                      http_add_header(response, MHD_HTTP_HEADER_VARY, "Accept"))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, MHD_HTTP_SEE_OTHER, response);
}
