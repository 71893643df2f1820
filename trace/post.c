/* SPDX-License-Identifier: MIT */
#include "trace/post.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define CONNECT_TIMEOUT_MS 5000L
#define RETRY_AFTER_MAX_S 60
#define LINE_BYTES 9000

struct trace_post {
    CURLM *multi; /* keeps the connection between bodies */
    char *url, *ca_file;
    struct curl_slist *lines;
    bool is_http, is_loopback;
    _Atomic int64_t end_ms; /* INT64_MAX: no end yet */
};

/* ---- the endpoint ---- */

static bool is_loopback(const char *host) {
    struct in_addr address;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

static bool has_part(CURLU *url, CURLUPart part) {
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* NULL, or what is wrong with the endpoint. */
static const char *read_endpoint(struct trace_post *post, CURLU *url, const char *endpoint) {
    char *scheme = NULL, *host = NULL;
    const char *fault = NULL;
    if (!url || curl_url_set(url, CURLUPART_URL, endpoint, 0) ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(url, CURLUPART_HOST, &host, 0))
        fault = "http://host:4318 is expected";
    else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        fault = "http or https is expected";
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        fault = "it may name no user and no password; use otlp-headers-file";
    else if (has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT))
        fault = "it may have no query";
    if (!fault) {
        post->is_http = strcmp(scheme, "http") == 0;
        post->is_loopback = is_loopback(host);
    }
    curl_free(scheme);
    curl_free(host);
    return fault;
}

static const char *take_endpoint(struct trace_post *post, const char *endpoint) {
    CURLU *url = curl_url();
    const char *fault = read_endpoint(post, url, endpoint);
    curl_url_cleanup(url);
    static const char path[] = "/v1/traces";
    size_t path_len = sizeof path - 1;
    size_t len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/')
        len--;
    if (len > path_len && memcmp(endpoint + len - path_len, path, path_len) == 0)
        len -= path_len; /* who says it whole means the same */
    if (!fault && asprintf(&post->url, "%.*s%s", (int)len, endpoint, path) < 0) {
        post->url = NULL;
        fault = "no memory";
    }
    return fault;
}

static bool add_line(struct trace_post *post, const char *line) {
    struct curl_slist *lines = curl_slist_append(post->lines, line);
    if (lines)
        post->lines = lines;
    return lines != NULL;
}

static bool take_headers(struct trace_post *post, const struct trace_pairs *headers) {
    bool good = add_line(post, "Content-Type: application/json") && add_line(post, "Expect:");
    for (unsigned i = 0; good && headers && i < headers->count; i++) {
        char line[LINE_BYTES];
        int len =
            snprintf(line, sizeof line, "%s: %s", headers->list[i].name, headers->list[i].value);
        good = len > 0 && (size_t)len < sizeof line && add_line(post, line);
        explicit_bzero(line, sizeof line);
    }
    return good;
}

enum err trace_post_open(const struct trace_post_options *options, struct trace_post **ret_post,
                         char *ret_why, size_t why_bytes) {
    struct trace_post *post = calloc(1, sizeof *post);
    const char *fault = !post || curl_global_init(CURL_GLOBAL_DEFAULT) ? "no memory" : NULL;
    if (!fault)
        fault = take_endpoint(post, options->endpoint);
    if (!fault) {
        atomic_init(&post->end_ms, INT64_MAX);
        post->multi = curl_multi_init();
        post->ca_file = options->ca_file ? strdup(options->ca_file) : NULL;
        if (!post->multi || !post->ca_file != !options->ca_file ||
            !take_headers(post, options->headers))
            fault = "no memory, or a header is too long";
    }
    if (fault) {
        snprintf(ret_why, why_bytes, "otlp-endpoint: %s", fault);
        trace_post_close(post);
        return ERR_SYNTAX;
    }
    if (post->is_http && !post->is_loopback && options->headers && options->headers->count)
        log_warn("otlp: headers, and tokens in them, go to the collector in the clear");
    *ret_post = post;
    return OK;
}

void trace_post_close(struct trace_post *post) {
    if (!post)
        return;
    if (post->multi)
        curl_multi_cleanup(post->multi);
    curl_slist_free_all(post->lines);
    free(post->url);
    free(post->ca_file);
    free(post);
}

/* ---- sending ---- */

/* More than fits is not kept: an answer is small, or of no use. */
static size_t keep_bytes(char *bytes, size_t size, size_t count, void *context) {
    (void)!buf_append(context, slice_make(bytes, size * count));
    return size * count;
}

static bool set_up(CURL *curl, const struct trace_post *post, struct slice body, char *error,
                   struct buf *answer) {
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (post->is_loopback)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    return curl_easy_setopt(curl, CURLOPT_URL, post->url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, post->is_http ? "http" : "https") ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, post->lines) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.ptr) == CURLE_OK &&
           (!post->ca_file || curl_easy_setopt(curl, CURLOPT_CAINFO, post->ca_file) == CURLE_OK) &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
}

static CURLcode code_of(CURLM *multi) {
    int left;
    for (CURLMsg *message = curl_multi_info_read(multi, &left); message;
         message = curl_multi_info_read(multi, &left))
        if (message->msg == CURLMSG_DONE)
            return message->data.result;
    return CURLE_SEND_ERROR;
}

/* The end may come nearer while it waits. */
static CURLcode perform(struct trace_post *post, int64_t until_ms) {
    int running = 1;
    for (;;) {
        if (curl_multi_perform(post->multi, &running) != CURLM_OK)
            return CURLE_SEND_ERROR;
        if (!running)
            return code_of(post->multi);
        int64_t end_ms = atomic_load(&post->end_ms);
        int64_t left_ms = (end_ms < until_ms ? end_ms : until_ms) - clock_steady_ms();
        if (left_ms <= 0)
            return CURLE_OPERATION_TIMEDOUT;
        if (curl_multi_poll(post->multi, NULL, 0, left_ms < 1000 ? (int)left_ms : 1000, NULL))
            return CURLE_SEND_ERROR;
    }
}

static void read_answer(CURL *curl, CURLcode code, const char *error, struct trace_answer *answer) {
    curl_off_t retry_s = 0;
    answer->status = 0;
    answer->retry_after_ms = 0;
    if (code) {
        snprintf(answer->why, sizeof answer->why, "the collector cannot be reached: %.200s",
                 error[0] ? error : curl_easy_strerror(code));
        return;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_s) == CURLE_OK && retry_s > 0)
        answer->retry_after_ms =
            (retry_s < RETRY_AFTER_MAX_S ? (int64_t)retry_s : RETRY_AFTER_MAX_S) * 1000;
    snprintf(answer->why, sizeof answer->why, "the collector answered %ld", answer->status);
}

void trace_post_send(struct trace_post *post, struct slice body, int64_t timeout_ms,
                     struct trace_answer *answer) {
    char error[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    buf_clear(&answer->body);
    if (curl && set_up(curl, post, body, error, &answer->body) &&
        curl_multi_add_handle(post->multi, curl) == CURLM_OK) {
        code = perform(post, clock_steady_ms() + timeout_ms);
        read_answer(curl, code, error, answer);
        curl_multi_remove_handle(post->multi, curl);
    } else {
        read_answer(curl, code, error, answer);
    }
    curl_easy_cleanup(curl);
}

void trace_post_end_at(struct trace_post *post, int64_t end_ms) {
    atomic_store(&post->end_ms, end_ms);
    curl_multi_wakeup(post->multi);
}
