/* SPDX-License-Identifier: MIT */
/* Snapshots of a running server, by HTTP. */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json_load.h"
#include "server/backup.h"

#define ANSWER_BYTES_MAX (1U << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define URL_BYTES 512
#define BUSY_MS 60000 /* so long a server may say that it has no time */

struct away {
    const struct backup_options *options;
    CURL *curl;
    struct curl_slist *headers;
    char base[URL_BYTES];
    char error[CURL_ERROR_SIZE];
    struct buf answer; /* of a request, or of a refused export */
    int fd;            /* of an export */
    enum err write_err;
    int write_errno;
};

static size_t keep_answer(char *bytes, size_t size, size_t count, void *context) {
    struct away *away = context;
    return buf_append(&away->answer, slice_make(bytes, size * count)) ? size * count : 0;
}

/* A refusal's text goes elsewhere than the file. */
static size_t keep_file(char *bytes, size_t size, size_t count, void *context) {
    struct away *away = context;
    long status = 0;
    curl_easy_getinfo(away->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return keep_answer(bytes, size, count, context);
    away->write_err = snapshot_write_all(away->fd, slice_make(bytes, size * count));
    away->write_errno = errno;
    return away->write_err ? 0 : size * count;
}

static int show_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                         curl_off_t up) {
    (void)context, (void)up_total, (void)up;
    backup_progress_show((uint64_t)now, (uint64_t)total);
    return 0;
}

static bool set_secure(struct away *away) {
    const struct backup_options *options = away->options;
    long verify = options->tls_insecure ? 0L : 1L;
    CURL *curl = away->curl;
    bool fine = curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, verify) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, verify * 2) == CURLE_OK;
    if (options->tls_ca)
        fine = fine && curl_easy_setopt(curl, CURLOPT_CAINFO, options->tls_ca) == CURLE_OK;
    if (options->tls_cert)
        fine = fine && curl_easy_setopt(curl, CURLOPT_SSLCERT, options->tls_cert) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_SSLKEY, options->tls_key) == CURLE_OK;
    return fine;
}

/* A token goes to the server that was named, and nowhere else: no redirects, no proxy. */
static bool reset(struct away *away, const char *path) {
    char url[URL_BYTES + 128];
    CURL *curl = away->curl;
    curl_easy_reset(curl);
    buf_clear(&away->answer);
    away->error[0] = '\0';
    snprintf(url, sizeof url, "%s%s", away->base, path);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, away->error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, away);
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, away->headers) == CURLE_OK &&
           set_secure(away);
}

static void tell_refusal(const struct away *away, long status, char *why) {
    json_t *problem = json_load_slice(buf_slice(&away->answer), 0, NULL);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    if (detail)
        snprintf(why, BACKUP_WHY_BYTES, "the server says: %.400s", detail);
    else
        snprintf(why, BACKUP_WHY_BYTES, "the server answered %ld; is it hati?", status);
    if (status == 401)
        snprintf(why, BACKUP_WHY_BYTES,
                 "the server wants a token: --token-file, HATI_TOKEN_FILE or HATI_TOKEN");
    json_decref(problem);
}

/* What to do about it, where that is known. */
static const char *hint(const struct away *away, CURLcode code) {
    switch ((unsigned)code) {
    case CURLE_COULDNT_CONNECT:
        return " (--data-dir DIR opens the files of no server)";
    case CURLE_GOT_NOTHING: /* how a door that wants TLS takes a request in the clear */
        return away->options->config.rpc_tls ? "" : " (does it speak TLS? --rpc-tls)";
    case CURLE_SSL_CONNECT_ERROR:
        return " (does it speak TLS? else without --rpc-tls)";
    case CURLE_PEER_FAILED_VERIFICATION:
        return " (--tls-ca FILE names its authority, or its self-signed certificate)";
    default:
        return "";
    }
}

/* ERR_UNAVAILABLE of a server is a passing state: it is told as a lost one. */
static enum backup_status perform(struct away *away, char *why) {
    long status = 0;
    CURLcode code = curl_easy_perform(away->curl);
    curl_easy_getinfo(away->curl, CURLINFO_RESPONSE_CODE, &status);
    if (away->write_err) {
        snprintf(why, BACKUP_WHY_BYTES, "cannot write: %s", strerror(away->write_errno));
        return BACKUP_REFUSED;
    }
    if (code) {
        snprintf(why, BACKUP_WHY_BYTES, "%.250s: %.250s%s", away->base,
                 away->error[0] ? away->error : curl_easy_strerror(code), hint(away, code));
        return BACKUP_AWAY;
    }
    if (status == 200)
        return BACKUP_GOOD;
    tell_refusal(away, status, why);
    return status == 503 || status == 429 ? BACKUP_AWAY : BACKUP_REFUSED;
}

/* A server that says when it is worth asking again is asked again then, for a while. */
static enum backup_status perform_patiently(struct away *away, char *why) {
    int64_t end_ms = clock_steady_ms() + BUSY_MS;
    for (;;) {
        curl_off_t wait_s = 0;
        buf_clear(&away->answer);
        enum backup_status status = perform(away, why);
        curl_easy_getinfo(away->curl, CURLINFO_RETRY_AFTER, &wait_s);
        if (status != BACKUP_AWAY || wait_s < 1 ||
            clock_steady_ms() + (int64_t)wait_s * 1000 > end_ms)
            return status;
        struct timespec pause = {(time_t)wait_s, 0};
        nanosleep(&pause, NULL);
    }
}

static enum backup_status out_of_memory(char *why) {
    snprintf(why, BACKUP_WHY_BYTES, "libcurl cannot be used, or has no TLS");
    return BACKUP_REFUSED;
}

static enum backup_status export_away(void *context, int fd, char *ret_why) {
    struct away *away = context;
    if (!reset(away,
               away->options->format == SNAPSHOT_NDJSON ? "/snapshot?format=ndjson" : "/snapshot"))
        return out_of_memory(ret_why);
    away->fd = fd;
    curl_easy_setopt(away->curl, CURLOPT_WRITEFUNCTION, keep_file);
    curl_easy_setopt(away->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(away->curl, CURLOPT_XFERINFOFUNCTION, show_progress);
    return perform(away, ret_why);
}

static uint64_t number_of(const json_t *object, const char *name) {
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static enum backup_status read_state(struct away *away, struct apply_state *to, char *why) {
    json_t *answer = json_load_slice(buf_slice(&away->answer), 0, NULL);
    const json_t *next = json_object_get(answer, "next");
    if (!json_is_object(next)) {
        snprintf(why, BACKUP_WHY_BYTES, "%s: what it answers is none of hati's", away->base);
        json_decref(answer);
        return BACKUP_REFUSED;
    }
    *to = (struct apply_state){
        .is_known = json_is_true(json_object_get(answer, "known")),
        .is_done = json_is_true(json_object_get(answer, "done")),
        .replaces = json_is_true(json_object_get(answer, "replace")),
        .next = {[KV_MEMORY] = number_of(next, "memory"), [KV_HDD] = number_of(next, "hdd")},
    };
    size_t index;
    json_t *note;
    json_array_foreach(json_object_get(answer, "notes"), index, note) {
        if (json_is_string(note)) {
            backup_progress_end();
            fprintf(stderr, "hati import: %s\n", json_string_value(note));
        }
    }
    json_decref(answer);
    return BACKUP_GOOD;
}

static enum backup_status send_body(struct away *away, const char *method, const char *path,
                                    struct slice body, struct apply_state *state, char *why) {
    if (!reset(away, path))
        return out_of_memory(why);
    curl_easy_setopt(away->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    curl_easy_setopt(away->curl, CURLOPT_POSTFIELDS, body.ptr);
    curl_easy_setopt(away->curl, CURLOPT_CUSTOMREQUEST, method);
    enum backup_status status = perform_patiently(away, why);
    return status ? status : read_state(away, state, why);
}

static enum backup_status begin_away(void *context, const char head[SNAPSHOT_HEAD_BYTES],
                                     struct apply_state *state, char *ret_why) {
    struct away *away = context;
    char path[128], id[SNAPSHOT_ID_TEXT];
    snapshot_id_format((const uint8_t *)head + 16, id);
    snprintf(path, sizeof path, "/snapshot/%s?replace=%s&again=%s&largest=%" PRIu64, id,
             away->options->replace ? "true" : "false", away->options->again ? "true" : "false",
             away->options->largest_bytes);
    return send_body(away, "POST", path, slice_make(head, SNAPSHOT_HEAD_BYTES), state, ret_why);
}

static enum backup_status block_away(void *context, const uint8_t id[SNAPSHOT_ID_BYTES],
                                     uint64_t number, struct slice bytes, struct apply_state *state,
                                     char *ret_why) {
    char path[128], text[SNAPSHOT_ID_TEXT];
    snapshot_id_format(id, text);
    snprintf(path, sizeof path, "/snapshot/%s/%llu", text, (unsigned long long)number);
    return send_body(context, "PUT", path, bytes, state, ret_why);
}

static void close_away(void *context) {
    struct away *away = context;
    curl_slist_free_all(away->headers);
    curl_easy_cleanup(away->curl);
    buf_done(&away->answer);
    free(away);
}

static bool add_header(struct away *away, const char *line) {
    struct curl_slist *more = curl_slist_append(away->headers, line);
    if (more)
        away->headers = more;
    return more != NULL;
}

static bool add_headers(struct away *away) {
    const char *token = away->options->token;
    if (!add_header(away, "Expect:") || !add_header(away, "Content-Type: application/octet-stream"))
        return false;
    if (!token)
        return true;
    size_t room = strlen(token) + 32;
    char *line = malloc(room);
    if (!line)
        return false;
    snprintf(line, room, "Authorization: Bearer %s", token);
    bool added = add_header(away, line);
    explicit_bzero(line, room);
    free(line);
    return added;
}

/* A server that is bound to every address is found on this machine. */
static void put_base(struct away *away) {
    const struct config *config = &away->options->config;
    const char *host = config->rpc_host;
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    bool is_numeric6 = strchr(host, ':') != NULL;
    snprintf(away->base, sizeof away->base, "%s://%s%.300s%s:%u%.100s",
             config->rpc_tls ? "https" : "http", is_numeric6 ? "[" : "", host,
             is_numeric6 ? "]" : "", config->rpc_port, config->base_path ? config->base_path : "");
}

enum backup_status backup_open_server(const struct backup_options *options,
                                      struct backup_place *ret_place, char *ret_why) {
    struct away *away = calloc(1, sizeof *away);
    if (!away || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        free(away);
        return out_of_memory(ret_why);
    }
    away->options = options;
    away->curl = curl_easy_init();
    buf_init(&away->answer, ANSWER_BYTES_MAX);
    put_base(away);
    if (!away->curl || !add_headers(away)) {
        close_away(away);
        return out_of_memory(ret_why);
    }
    *ret_place = (struct backup_place){.context = away,
                                       .export = export_away,
                                       .begin = begin_away,
                                       .block = block_away,
                                       .close = close_away};
    return BACKUP_GOOD;
}
