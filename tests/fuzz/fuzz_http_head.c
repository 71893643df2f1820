/* SPDX-License-Identifier: MIT */
/* Bytes of a connection through libmicrohttpd and the guard, beside a reading of RFC 9112 to the
 * letter: what is served is a request there too, with the same method, path, header lines and body,
 * and the next one begins at the same byte. The first byte says in what pieces they come. */
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_guard.h"
#include "server/http_raw.h"
#include "tests/fuzz/target.h"

#define POOL_BYTES 24576U
#define LINES_MAX 512U
#define RUNS_MAX 4096U

struct line {
    struct slice name, value;
};

/* A request to the letter. */
struct strict {
    struct slice method, path, version;
    struct line lines[LINES_MAX];
    unsigned count;
    size_t body_at;
};

static struct stream {
    struct slice bytes;
    size_t at;      /* where the next request begins */
    bool is_hidden; /* the library writes NULs over CR, LF and colon, so that a NUL or a colon of
                       the client's before a line end may pass for a CR: docs/fuzzing.md */
    bool is_over;   /* the connection was to be closed: nothing may follow */
    bool is_closed;
} stream;

struct one {
    struct http_headers headers;
    struct http_raw raw;
    size_t uri_len, body_bytes;
    const struct strict *strict;
    unsigned line;
    bool begun, same, is_bad;
    const char *chunks;
    uint64_t announced_bytes;
};

/* Up to a CRLF, which is taken off; false where there is none. */
static bool take_line(struct slice *from, struct slice *ret_line) {
    const char *end = from->len ? memmem(from->ptr, from->len, "\r\n", 2) : NULL;
    if (!end)
        return false;
    *ret_line = take_bytes(from, (size_t)(end - from->ptr));
    take_bytes(from, 2);
    return ret_line->len == 0 || (!memchr(ret_line->ptr, '\r', ret_line->len) &&
                                  !memchr(ret_line->ptr, '\n', ret_line->len));
}

static struct slice trim(struct slice text) {
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = slice_make(text.ptr + 1, text.len - 1);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static bool take_field(struct slice line, struct line *ret_line) {
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (!colon || colon == line.ptr)
        return false;
    size_t len = (size_t)(colon - line.ptr);
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)line.ptr[i] <= ' ' || (uint8_t)line.ptr[i] >= 0x7F)
            return false;
    ret_line->name = slice_make(line.ptr, len);
    ret_line->value = trim(slice_make(colon + 1, line.len - len - 1));
    return true;
}

static bool read_strictly(struct slice bytes, size_t at, struct strict *ret_strict) {
    struct slice rest = slice_make(bytes.ptr + at, bytes.len - at), line;
    while (rest.len && memchr("\r\n", rest.ptr[0], 2)) /* empty lines before it */
        take_byte(&rest);
    if (!take_line(&rest, &line))
        return false;
    ret_strict->method = take_until(&line, ' ');
    struct slice target = take_until(&line, ' ');
    ret_strict->version = line;
    ret_strict->path = take_until(&target, '?');
    for (ret_strict->count = 0; take_line(&rest, &line); ret_strict->count++) {
        if (line.len == 0) {
            ret_strict->body_at = (size_t)(rest.ptr - bytes.ptr);
            return true;
        }
        if (ret_strict->count == LINES_MAX ||
            !take_field(line, &ret_strict->lines[ret_strict->count]))
            return false;
    }
    return false;
}

static void *on_line(void *context, const char *uri, struct MHD_Connection *mhd) {
    struct one *one = calloc(1, sizeof *one);
    (void)context, (void)mhd;
    check(one != NULL);
    one->uri_len = http_raw_target_len(uri);
    return one;
}

static size_t keep_escapes(void *context, struct MHD_Connection *mhd, char *text) {
    (void)context, (void)mhd;
    return strlen(text);
}

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len) {
    struct one *one = context;
    (void)kind;
    http_headers_add(&one->headers, slice_make(name, name_len),
                     slice_make(value ? value : "", value ? value_len : 0));
    http_raw_header(&one->raw, name, name_len, value, value_len);
    if (one->line >= one->strict->count) {
        one->same = false;
        return MHD_YES;
    }
    const struct line *line = &one->strict->lines[one->line++];
    one->same = one->same && slice_equal(line->name, slice_make(name, name_len)) &&
                slice_equal(line->value, trim(slice_make(value ? value : "", value_len)));
    return MHD_YES;
}

static enum MHD_Result reply(struct MHD_Connection *mhd, unsigned status, bool close) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    check(response != NULL);
    if (close)
        MHD_add_response_header(response, "Connection", "close");
    stream.is_over = stream.is_over || close;
    enum MHD_Result result = MHD_queue_response(mhd, status, response);
    MHD_destroy_response(response);
    return result;
}

/* As http_begin.c judges it. */
static bool is_believed(struct MHD_Connection *mhd, struct one *one, const char *url,
                        const char *method, const char *version) {
    http_raw_begin(&one->raw, method, url, one->uri_len, version);
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, take_header, one);
    size_t head_bytes =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
    size_t url_at = strlen(method) + 1;
    if (http_guard_check(&one->headers, slice_of_cstr(method), slice_of_cstr(url),
                         slice_of_cstr(version)) ||
        !http_raw_end(&one->raw, url, head_bytes - url_at))
        return false;
    if (one->headers.transfer_encodings)
        one->chunks = url - url_at + head_bytes;
    return true;
}

static enum MHD_Result begin(struct MHD_Connection *mhd, struct one *one, const char *url,
                             const char *method, const char *version) {
    static struct strict strict;
    check(!stream.is_over);
    bool is_request = read_strictly(stream.bytes, stream.at, &strict);
    if (!is_request)
        strict.count = 0;
    one->strict = &strict;
    one->same = true;
    if (!is_believed(mhd, one, url, method, version))
        return reply(mhd, MHD_HTTP_BAD_REQUEST, true);
    if (stream.is_hidden) {
        stream.is_over = true;
        return MHD_NO;
    }
    check(is_request && one->same && one->line == strict.count);
    check(slice_equal(strict.method, slice_of_cstr(method)));
    check(slice_equal(strict.path, slice_of_cstr(url)));
    check(slice_equal(strict.version, slice_of_cstr(version)));
    stream.at = strict.body_at;
    if (one->headers.content_lengths)
        one->announced_bytes = http_content_length(one->headers.content_length);
    return MHD_YES;
}

static void take_body(struct one *one, const char *data, size_t len) {
    if (one->headers.transfer_encodings) {
        one->is_bad |= one->chunks && !http_raw_chunk_is_plain(one->chunks, POOL_BYTES, data);
        return;
    }
    size_t at = stream.at + one->body_bytes;
    check(at + len <= stream.bytes.len && one->body_bytes + len <= one->announced_bytes);
    check(memcmp(stream.bytes.ptr + at, data, len) == 0);
    one->body_bytes += len;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **request) {
    struct one *one = *request;
    (void)context;
    if (!one->begun) {
        one->begun = true;
        return begin(mhd, one, url, method, version);
    }
    if (*data_bytes) {
        take_body(one, data, *data_bytes);
        *data_bytes = 0;
        return one->is_bad ? MHD_NO : MHD_YES;
    }
    check(one->body_bytes == one->announced_bytes);
    stream.at += one->body_bytes;
    return reply(mhd, MHD_HTTP_OK, one->headers.transfer_encodings > 0);
}

static void on_completed(void *context, struct MHD_Connection *mhd, void **request,
                         enum MHD_RequestTerminationCode code) {
    (void)context, (void)mhd, (void)code;
    free(*request);
    *request = NULL;
}

static void on_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
    (void)context, (void)mhd, (void)socket_context;
    stream.is_closed = code == MHD_CONNECTION_NOTIFY_CLOSED;
}

static struct MHD_Daemon *start(void) {
    return MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, NULL,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
                            MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_UNESCAPE_CALLBACK,
                            keep_escapes, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_line, NULL,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL, MHD_OPTION_END);
}

/* Takes the answers, so that there is room for more. */
static void run(struct MHD_Daemon *daemon, int end) {
    char answers[4096];
    MHD_run(daemon);
    while (recv(end, answers, sizeof answers, 0) > 0)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct MHD_Daemon *daemon;
    struct slice bytes = slice_make(data, size);
    const struct sockaddr from = {.sa_family = AF_UNIX};
    int ends[2];
    if (!http_raw_is_known())
        return 0;
    if (!daemon)
        daemon = start();
    check(daemon != NULL);
    size_t piece = take_byte(&bytes);
    stream = (struct stream){.bytes = bytes};
    stream.is_hidden =
        bytes.len && (memchr(bytes.ptr, '\0', bytes.len) || memmem(bytes.ptr, bytes.len, "\n:", 2));
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    check(MHD_add_connection(daemon, ends[0], &from, sizeof from) == MHD_YES);
    while (bytes.len && !stream.is_closed) {
        struct slice part = take_bytes(&bytes, piece ? piece * 8 : bytes.len);
        if (send(ends[1], part.ptr, part.len, MSG_NOSIGNAL) != (ssize_t)part.len)
            break;
        run(daemon, ends[1]);
    }
    shutdown(ends[1], SHUT_WR);
    for (unsigned runs = 0; !stream.is_closed; runs++) {
        check(runs < RUNS_MAX);
        run(daemon, ends[1]);
    }
    MHD_run(daemon); /* frees it */
    close(ends[1]);
    return 0;
}
