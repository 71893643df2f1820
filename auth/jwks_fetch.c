/* SPDX-License-Identifier: MIT */
#include "auth/jwks_fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#define DOCUMENT_BYTES_MAX (1U << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS 10000L
#define WHY_BYTES 320

struct jwks_fetch {
    struct jwks_fetch_options options;
    char *url, *ca_file;
    bool is_http;
    pthread_t thread;
    pthread_mutex_t lock; /* never held while it fetches */
    pthread_cond_t changed;
    struct jwks_times times;
    bool tried_once;
    _Atomic bool stop;
    /* of the thread alone */
    bool had_keys;
    char last_why[WHY_BYTES]; /* so that an issuer that stays away is one line, not one a try */
};

int64_t jwks_due_at_ms(const struct jwks_times *times) {
    if (!times->tried || times->urged)
        return INT64_MIN;
    int64_t wait_ms = times->refresh_ms;
    if ((times->failing || times->asked) && times->cooldown_ms < wait_ms)
        wait_ms = times->cooldown_ms;
    return times->tried_at_ms + wait_ms;
}

/* The names of this machine that no resolver has a say in; libcurl knows localhost by itself. */
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

static const char *url_fault(const struct jwks_fetch_options *options, bool *ret_is_http) {
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL;
    const char *fault = NULL;
    if (!url || curl_url_set(url, CURLUPART_URL, options->url, 0) ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(url, CURLUPART_HOST, &host, 0))
        fault = "jwks-url: https://host/path is expected";
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        fault = "jwks-url: it may name no user and no password";
    else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        fault = "jwks-url: https is expected";
    else if (strcmp(scheme, "http") == 0 && !options->allow_http && !is_loopback(host))
        fault = "jwks-url: http would let anybody on the way sign tokens; use https "
                "(or --jwks-allow-http)";
    else
        *ret_is_http = strcmp(scheme, "http") == 0;
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    return fault;
}

/* libcurl would find out at the first try, behind the start. */
static const char *ca_fault(const char *path) {
    gnutls_x509_trust_list_t list;
    if (!path)
        return NULL;
    if (access(path, R_OK) != 0)
        return strerror(errno);
    if (gnutls_x509_trust_list_init(&list, 0) < 0)
        return "no memory";
    int count = gnutls_x509_trust_list_add_trust_file(list, path, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    gnutls_x509_trust_list_deinit(list, 1);
    return count > 0 ? NULL : "there is no certificate in it";
}

static size_t keep_bytes(char *bytes, size_t size, size_t count, void *context) {
    return buf_append(context, slice_make(bytes, size * count)) ? size * count : 0;
}

static int watch_stop(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                      curl_off_t up) {
    const struct jwks_fetch *fetch = context;
    (void)total, (void)now, (void)up_total, (void)up;
    return atomic_load(&fetch->stop);
}

static void set_limits(CURL *curl, struct jwks_fetch *fetch, struct buf *body, char *error) {
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch_stop);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, fetch);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
}

/* False where an option that trust hangs on is not to be had. */
static bool set_trust(CURL *curl, const struct jwks_fetch *fetch) {
    const char *protocol = fetch->is_http ? "http" : "https";
    bool fine = curl_easy_setopt(curl, CURLOPT_URL, fetch->url) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocol) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
    if (fetch->ca_file)
        fine = fine && curl_easy_setopt(curl, CURLOPT_CAINFO, fetch->ca_file) == CURLE_OK;
    if (fetch->is_http) /* a proxy would carry what is meant for this machine out of it */
        fine = fine && curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK;
    return fine;
}

static bool is_good_answer(CURL *curl, CURLcode code, const struct buf *body, const char *error,
                           char *ret_why) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (body->failed)
        snprintf(ret_why, WHY_BYTES, "the issuer sent over 1 MiB");
    else if (code)
        snprintf(ret_why, WHY_BYTES, "the issuer cannot be asked: %.200s",
                 error[0] ? error : curl_easy_strerror(code));
    else if (status >= 300 && status < 400)
        snprintf(ret_why, WHY_BYTES, "the issuer answered %ld; redirects are not followed", status);
    else if (status != 200)
        snprintf(ret_why, WHY_BYTES, "the issuer answered %ld", status);
    else
        return true;
    return false;
}

static bool fetch_once(struct jwks_fetch *fetch, char *ret_why) {
    char error[CURL_ERROR_SIZE] = "";
    struct buf body;
    CURL *curl = curl_easy_init();
    bool good = false;
    buf_init(&body, DOCUMENT_BYTES_MAX);
    snprintf(ret_why, WHY_BYTES, "libcurl cannot be used");
    if (curl && set_trust(curl, fetch)) {
        set_limits(curl, fetch, &body, error);
        CURLcode code = curl_easy_perform(curl);
        good = is_good_answer(curl, code, &body, error, ret_why) &&
               fetch->options.take(fetch->options.context, buf_slice(&body), ret_why, WHY_BYTES);
    }
    curl_easy_cleanup(curl);
    buf_done(&body);
    return good;
}

static void report(struct jwks_fetch *fetch, bool good, const char *why) {
    if (good) {
        if (fetch->last_why[0])
            log_info("jwks-url: the issuer answers again");
        fetch->last_why[0] = '\0';
        fetch->had_keys = true;
        return;
    }
    if (atomic_load(&fetch->stop) || strcmp(why, fetch->last_why) == 0)
        return;
    snprintf(fetch->last_why, sizeof fetch->last_why, "%s", why);
    log_warn("jwks-url: %s; %s", why,
             fetch->had_keys ? "the keys fetched before stay good"
                             : "tokens of its keys are refused until it gives them");
}

/* Waits on the condition, to the steady time due_at_ms. */
static void wait_locked(struct jwks_fetch *fetch, int64_t due_at_ms) {
    int64_t wait_ms = due_at_ms - clock_steady_ms();
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += wait_ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&fetch->changed, &fetch->lock, &at);
}

static void try_locked(struct jwks_fetch *fetch) {
    char why[WHY_BYTES];
    struct jwks_times *times = &fetch->times;
    times->tried_at_ms = clock_steady_ms();
    times->asked = times->urged = false; /* what is asked from now on wants a later answer */
    pthread_mutex_unlock(&fetch->lock);
    bool good = fetch_once(fetch, why);
    report(fetch, good, why);
    pthread_mutex_lock(&fetch->lock);
    times->tried = true;
    times->failing = !good;
    fetch->tried_once = true;
    pthread_cond_broadcast(&fetch->changed);
}

static void *run(void *context) {
    struct jwks_fetch *fetch = context;
    pthread_mutex_lock(&fetch->lock);
    while (!atomic_load(&fetch->stop)) {
        int64_t due_at_ms = jwks_due_at_ms(&fetch->times);
        if (due_at_ms <= clock_steady_ms())
            try_locked(fetch);
        else
            wait_locked(fetch, due_at_ms);
    }
    pthread_mutex_unlock(&fetch->lock);
    return NULL;
}

static void free_fetch(struct jwks_fetch *fetch) {
    if (!fetch)
        return;
    pthread_cond_destroy(&fetch->changed);
    pthread_mutex_destroy(&fetch->lock);
    free(fetch->url);
    free(fetch->ca_file);
    free(fetch);
}

static struct jwks_fetch *make_fetch(const struct jwks_fetch_options *options, bool is_http) {
    struct jwks_fetch *fetch = calloc(1, sizeof *fetch);
    pthread_condattr_t monotonic;
    if (!fetch)
        return NULL;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&fetch->lock, NULL);
    pthread_cond_init(&fetch->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    fetch->options = *options;
    fetch->is_http = is_http;
    fetch->times =
        (struct jwks_times){.refresh_ms = options->refresh_ms, .cooldown_ms = options->cooldown_ms};
    fetch->url = strdup(options->url);
    fetch->ca_file = options->ca_file ? strdup(options->ca_file) : NULL;
    if (fetch->url && !fetch->ca_file == !options->ca_file)
        return fetch;
    free_fetch(fetch);
    return NULL;
}

enum err jwks_fetch_open(const struct jwks_fetch_options *options, struct jwks_fetch **ret_fetch,
                         char *ret_why, size_t why_bytes) {
    bool is_http = false;
    const char *fault = curl_global_init(CURL_GLOBAL_DEFAULT) ? "libcurl cannot be used" : NULL;
    if (!fault)
        fault = url_fault(options, &is_http);
    if (fault) {
        snprintf(ret_why, why_bytes, "%s", fault);
        return ERR_SYNTAX;
    }
    fault = ca_fault(options->ca_file);
    if (fault) {
        snprintf(ret_why, why_bytes, "jwks-ca: cannot use %s: %s", options->ca_file, fault);
        return ERR_UNAVAILABLE;
    }
    struct jwks_fetch *fetch = make_fetch(options, is_http);
    if (!fetch || pthread_create(&fetch->thread, NULL, run, fetch)) {
        free_fetch(fetch);
        snprintf(ret_why, why_bytes, "no memory or no thread to fetch the key set");
        return ERR_OUT_OF_MEMORY;
    }
    *ret_fetch = fetch;
    return OK;
}

void jwks_fetch_close(struct jwks_fetch *fetch) {
    if (!fetch)
        return;
    pthread_mutex_lock(&fetch->lock);
    atomic_store(&fetch->stop, true);
    pthread_cond_broadcast(&fetch->changed);
    pthread_mutex_unlock(&fetch->lock);
    pthread_join(fetch->thread, NULL);
    free_fetch(fetch);
}

static void wake(struct jwks_fetch *fetch, bool *reason) {
    pthread_mutex_lock(&fetch->lock);
    bool news = !*reason;
    *reason = true;
    if (news)
        pthread_cond_broadcast(&fetch->changed);
    pthread_mutex_unlock(&fetch->lock);
}

void jwks_fetch_ask(struct jwks_fetch *fetch) {
    wake(fetch, &fetch->times.asked);
}

void jwks_fetch_now(struct jwks_fetch *fetch) {
    wake(fetch, &fetch->times.urged);
}

void jwks_fetch_await(struct jwks_fetch *fetch, int64_t timeout_ms) {
    int64_t until_ms = clock_steady_ms() + timeout_ms;
    pthread_mutex_lock(&fetch->lock);
    while (!fetch->tried_once && clock_steady_ms() < until_ms)
        wait_locked(fetch, until_ms);
    pthread_mutex_unlock(&fetch->lock);
}
