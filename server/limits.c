/* SPDX-License-Identifier: MIT */
#include "server/limits.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define NS_PER_S 1000000000LL

struct limits {
    struct limits_options options;
    struct client_table *table; /* NULL: no limit is set */
    struct networks trusted;
    _Atomic uint64_t noted[LIMITS_REASONS];
};

static const char *const reason_names[LIMITS_REASONS] = {
    [LIMITS_RATE] = "rate",
    [LIMITS_BYTES] = "bytes",
    [LIMITS_CONNECTIONS] = "connections",
    [LIMITS_REQUESTS] = "requests",
    [LIMITS_SLOW_HANDSHAKE] = "slow_handshake",
    [LIMITS_SLOW_HEADERS] = "slow_headers",
    [LIMITS_SLOW_BODY] = "slow_body",
    [LIMITS_SLOW_READER] = "slow_reader",
    [LIMITS_SLOW_LINE] = "slow_line",
    [LIMITS_IDLE] = "idle",
    [LIMITS_PROXY_HEADER] = "proxy_header",
};

static const struct client_allowance *allowance_of(const struct limits *limits,
                                                   enum client_bucket bucket) {
    return bucket == CLIENT_BYTES ? &limits->options.bytes : &limits->options.rate;
}

struct limits *limits_open(const struct limits_options *options) {
    struct limits *limits = calloc(1, sizeof *limits);
    bool any = options->rate.per || options->bytes.per || options->connections || options->requests;
    if (!limits)
        return NULL;
    limits->options = *options;
    const char *list = options->trusted_proxies;
    if (list && networks_parse(list, &limits->trusted)) {
        free(limits);
        return NULL;
    }
    if (any && !(limits->table = client_table_open())) {
        free(limits);
        return NULL;
    }
    return limits;
}

void limits_close(struct limits *limits) {
    if (limits)
        client_table_close(limits->table);
    free(limits);
}

bool limits_are_set(const struct limits *limits) {
    return limits && limits->table;
}

bool limits_meter(const struct limits *limits) {
    return limits && (limits->options.rate.per || limits->options.bytes.per);
}

bool limits_count_bytes_of(const struct limits *limits) {
    return limits && limits->options.bytes.per;
}

const struct networks *limits_trusted(const struct limits *limits) {
    return limits && limits->trusted.count ? &limits->trusted : NULL;
}

unsigned limits_max_requests(const struct limits *limits) {
    return limits ? limits->options.requests : 0;
}

struct limits_client limits_client_of(const struct limits *limits, const struct address *address,
                                      const struct auth_grant *grant) {
    struct limits_client client = {.limited = false};
    if (!limits_are_set(limits))
        return client;
    if (grant && grant->signed_in && grant->subject) {
        client.limited = client.key.is_subject = true;
        memcpy(client.key.bytes, &grant->subject, sizeof grant->subject);
    } else if (address->known) {
        struct address whole = address_of_client(address);
        client.limited = true;
        memcpy(client.key.bytes, whole.bytes, sizeof whole.bytes);
    }
    return client;
}

enum err limits_admit(struct limits *limits, const struct limits_client *client, uint64_t n,
                      struct limits_left *ret_left) {
    *ret_left = (struct limits_left){.reason = LIMITS_RATE};
    if (!limits_meter(limits) || !client->limited)
        return OK;
    int64_t now_ns = clock_steady_ns();
    const struct client_allowance *bytes = allowance_of(limits, CLIENT_BYTES);
    const struct client_allowance *rate = allowance_of(limits, CLIENT_REQUESTS);
    bool good = true;
    if (bytes->per && !client_table_look(limits->table, &client->key, CLIENT_BYTES, bytes, now_ns,
                                         &ret_left->rest[CLIENT_BYTES])) {
        ret_left->reason = LIMITS_BYTES;
        good = false;
    }
    if (rate->per && !good)
        (void)client_table_look(limits->table, &client->key, CLIENT_REQUESTS, rate, now_ns,
                                &ret_left->rest[CLIENT_REQUESTS]);
    else if (rate->per)
        good = client_table_take(limits->table, &client->key, CLIENT_REQUESTS, rate, n, now_ns,
                                 &ret_left->rest[CLIENT_REQUESTS]);
    if (good)
        return OK;
    limits_note(limits, ret_left->reason);
    return ERR_RATE_LIMITED;
}

void limits_add_bytes(struct limits *limits, const struct limits_client *client, uint64_t bytes) {
    if (limits_count_bytes_of(limits) && client->limited && bytes)
        client_table_owe(limits->table, &client->key, CLIENT_BYTES, &limits->options.bytes, bytes,
                         clock_steady_ns());
}

enum err limits_hold(struct limits *limits, const struct limits_client *client,
                     enum client_held what) {
    unsigned max =
        what == CLIENT_CONNECTIONS ? limits->options.connections : limits->options.requests;
    if (client_table_hold(limits->table, &client->key, what, max, clock_steady_ns()))
        return OK;
    limits_note(limits, what == CLIENT_CONNECTIONS ? LIMITS_CONNECTIONS : LIMITS_REQUESTS);
    return ERR_RATE_LIMITED;
}

void limits_let_go(struct limits *limits, const struct limits_client *client,
                   enum client_held what) {
    client_table_let_go(limits->table, &client->key, what);
}

void limits_note(struct limits *limits, enum limits_reason reason) {
    if (limits)
        atomic_fetch_add_explicit(&limits->noted[reason], 1, memory_order_relaxed);
}

uint64_t limits_noted(struct limits *limits, enum limits_reason reason) {
    return limits ? atomic_load_explicit(&limits->noted[reason], memory_order_relaxed) : 0;
}

const char *limits_reason_name(enum limits_reason reason) {
    return reason_names[reason];
}

unsigned limits_known(struct limits *limits) {
    return limits_are_set(limits) ? client_table_count(limits->table) : 0;
}

/* ---- what is told ---- */

static int64_t seconds_up(int64_t ns) {
    return ns > 0 ? (ns + NS_PER_S - 1) / NS_PER_S : 0;
}

int64_t limits_retry_after_s(const struct limits_left *left) {
    enum client_bucket bucket = left->reason == LIMITS_BYTES ? CLIENT_BYTES : CLIENT_REQUESTS;
    int64_t seconds = seconds_up(left->rest[bucket].another_in_ns);
    return seconds > 1 ? seconds : 1;
}

void limits_format_policy(const struct limits *limits, char ret_text[LIMITS_HEADER_BYTES]) {
    int len = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        const struct client_allowance *allowance = allowance_of(limits, (enum client_bucket)i);
        if (!allowance->per)
            continue;
        long double window_s = (long double)allowance->burst * (long double)allowance->unit_ns /
                               (long double)allowance->per / (long double)NS_PER_S;
        len += snprintf(ret_text + len, LIMITS_HEADER_BYTES - (size_t)len,
                        i == CLIENT_BYTES ? "%s\"bytes\";q=%llu;qu=\"content-bytes\";w=%llu"
                                          : "%s\"requests\";q=%llu;w=%llu",
                        len ? ", " : "", (unsigned long long)allowance->burst,
                        (unsigned long long)(window_s < 1 ? 1 : window_s + 0.999L));
    }
}

void limits_format_left(const struct limits *limits, const struct limits_left *left,
                        char ret_text[LIMITS_HEADER_BYTES]) {
    int len = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        const struct client_rest *rest = &left->rest[i];
        if (!allowance_of(limits, (enum client_bucket)i)->per)
            continue;
        int64_t in_s = seconds_up(rest->left ? rest->full_in_ns : rest->another_in_ns);
        len += snprintf(ret_text + len, LIMITS_HEADER_BYTES - (size_t)len, "%s\"%s\";r=%llu;t=%lld",
                        len ? ", " : "", i == CLIENT_BYTES ? "bytes" : "requests",
                        (unsigned long long)rest->left, (long long)in_s);
    }
}

void limits_format_why(const struct limits_left *left, char ret_text[LIMITS_WHY_BYTES]) {
    snprintf(ret_text, LIMITS_WHY_BYTES, "too many %s of this client; again in %lld s",
             left->reason == LIMITS_BYTES ? "bytes" : "requests",
             (long long)limits_retry_after_s(left));
}
