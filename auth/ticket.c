/* SPDX-License-Identifier: MIT */
#include "auth/ticket.h"

#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"

#define VERSION 2
#define NUMBER_BYTES 16
#define PATH_BYTES 16
#define RULE_BYTES_MAX (3 + sizeof((struct auth_rule *)0)->pattern)
#define HEAD_BYTES (2 + NUMBER_BYTES + 8 + PATH_BYTES + 8 + 8 + 16 + 1)
#define RAW_BYTES_MAX (HEAD_BYTES + AUTH_RULES_MAX * RULE_BYTES_MAX + HASH_SHA256_BYTES)
#define AHEAD_MS 5000       /* another node's clock may be ahead so much */
#define USED_MAX (1U << 17) /* in one turn */
#define TURN_MS (AUTH_TICKET_MS + AHEAD_MS)
#define USE_NAME SLICE("hati ticket 1")

_Static_assert((RAW_BYTES_MAX * 4 + 2) / 3 < AUTH_TICKET_MAX, "there is room for the longest");

enum { EVERYTHING = 1, SIGNED_IN = 2, HAS_WORKSPACE = 4, HAS_SCOPE = 8, HAS_PATH = 16 };

/* Numbers of tickets that were used; all zero: a free place. */
struct used {
    uint8_t (*slots)[NUMBER_BYTES];
    uint32_t mask, count;
};

struct tickets {
    pthread_mutex_t lock;
    bool has_old_key;
    uint8_t key[HASH_SHA256_BYTES], old_key[HASH_SHA256_BYTES];
    struct used now, before; /* of this turn and the last: a ticket is good for no more than one */
    int64_t turn_ms;         /* steady clock; when this one began */
};

/* ---- numbers that were used ---- */

static uint8_t *find(const struct used *used, const uint8_t number[NUMBER_BYTES]) {
    static const uint8_t free_place[NUMBER_BYTES];
    uint32_t at = get_be32((const char *)number) & used->mask;
    while (memcmp(used->slots[at], number, NUMBER_BYTES) != 0 &&
           memcmp(used->slots[at], free_place, NUMBER_BYTES) != 0)
        at = (at + 1) & used->mask;
    return used->slots[at];
}

static bool has(const struct used *used, const uint8_t number[NUMBER_BYTES]) {
    return used->slots && memcmp(find(used, number), number, NUMBER_BYTES) == 0;
}

static bool add(struct used *used, const uint8_t number[NUMBER_BYTES]) {
    if (used->count >= USED_MAX)
        return false;
    if (!used->slots || used->count * 2 > used->mask) {
        struct used wider = {.mask = used->slots ? used->mask * 2 + 1 : 63, .count = used->count};
        wider.slots = calloc(wider.mask + 1, NUMBER_BYTES);
        if (!wider.slots)
            return false;
        static const uint8_t free_place[NUMBER_BYTES];
        for (uint32_t i = 0; used->slots && i <= used->mask; i++)
            if (memcmp(used->slots[i], free_place, NUMBER_BYTES) != 0)
                memcpy(find(&wider, used->slots[i]), used->slots[i], NUMBER_BYTES);
        free(used->slots);
        *used = wider;
    }
    memcpy(find(used, number), number, NUMBER_BYTES);
    used->count++;
    return true;
}

static void turn_locked(struct tickets *tickets) {
    int64_t now_ms = clock_steady_ms();
    if (now_ms - tickets->turn_ms < TURN_MS)
        return;
    bool is_late = now_ms - tickets->turn_ms >= 2 * TURN_MS;
    free(tickets->before.slots);
    tickets->before = tickets->now;
    tickets->now = (struct used){0};
    if (is_late) {
        free(tickets->before.slots);
        tickets->before = (struct used){0};
    }
    tickets->turn_ms = now_ms;
}

static enum err use_up(struct tickets *tickets, const uint8_t number[NUMBER_BYTES]) {
    enum err err = OK;
    pthread_mutex_lock(&tickets->lock);
    turn_locked(tickets);
    if (has(&tickets->now, number) || has(&tickets->before, number))
        err = ERR_AUTH_REQUIRED;
    else if (!add(&tickets->now, number))
        err = ERR_UNAVAILABLE;
    pthread_mutex_unlock(&tickets->lock);
    return err;
}

/* ---- keys ---- */

/* Not the secret itself: what signs tickets signs no tokens. */
void tickets_rekey(struct tickets *tickets, struct slice secret, struct slice old_secret) {
    pthread_mutex_lock(&tickets->lock);
    if (secret.len)
        hash_hmac_sha256(secret, USE_NAME, tickets->key);
    tickets->has_old_key = old_secret.len > 0;
    if (old_secret.len)
        hash_hmac_sha256(old_secret, USE_NAME, tickets->old_key);
    pthread_mutex_unlock(&tickets->lock);
}

struct tickets *tickets_open(struct slice secret, struct slice old_secret) {
    struct tickets *tickets = calloc(1, sizeof *tickets);
    if (!tickets)
        return NULL;
    pthread_mutex_init(&tickets->lock, NULL);
    tickets->turn_ms = clock_steady_ms();
    hash_random(tickets->key, sizeof tickets->key);
    tickets_rekey(tickets, secret, old_secret);
    return tickets;
}

void tickets_close(struct tickets *tickets) {
    if (!tickets)
        return;
    free(tickets->now.slots);
    free(tickets->before.slots);
    pthread_mutex_destroy(&tickets->lock);
    explicit_bzero(tickets, sizeof *tickets);
    free(tickets);
}

/* False where there is no such key. */
static bool sign(struct tickets *tickets, bool old, struct slice bytes,
                 uint8_t ret_mac[HASH_SHA256_BYTES]) {
    uint8_t key[HASH_SHA256_BYTES];
    pthread_mutex_lock(&tickets->lock);
    bool there = !old || tickets->has_old_key;
    memcpy(key, old ? tickets->old_key : tickets->key, sizeof key);
    pthread_mutex_unlock(&tickets->lock);
    hash_hmac_sha256(slice_make(key, sizeof key), bytes, ret_mac);
    explicit_bzero(key, sizeof key);
    return there;
}

/* ---- writing and reading ---- */

static char *put_u64(char *to, uint64_t number) {
    put_be32(to, (uint32_t)(number >> 32));
    put_be32(to + 4, (uint32_t)number);
    return to + 8;
}

static uint64_t take_u64(const char *from) {
    return (uint64_t)get_be32(from) << 32 | get_be32(from + 4);
}

static void hash_path(struct slice path, uint8_t ret_hash[HASH_SHA256_BYTES]) {
    memset(ret_hash, 0, HASH_SHA256_BYTES);
    if (path.len)
        hash_sha256(path, ret_hash);
}

static char *write_rules(char *to, const struct auth_grant *grant) {
    *to++ = (char)grant->rule_count;
    for (unsigned i = 0; i < grant->rule_count; i++) {
        const struct auth_rule *rule = &grant->rules[i];
        *to++ = (char)rule->scope;
        *to++ = (char)rule->prefix;
        *to++ = (char)rule->pattern_len;
        memcpy(to, rule->pattern, rule->pattern_len);
        to += rule->pattern_len;
    }
    return to;
}

enum err ticket_make(struct tickets *tickets, const struct auth_grant *grant, struct slice path,
                     int64_t now_ms, char ret_ticket[AUTH_TICKET_MAX]) {
    char raw[RAW_BYTES_MAX];
    char *to = raw;
    uint8_t mac[HASH_SHA256_BYTES], hash[HASH_SHA256_BYTES];
    *to++ = VERSION;
    *to++ = (char)(grant->everything * EVERYTHING | grant->signed_in * SIGNED_IN |
                   grant->has_workspace * HAS_WORKSPACE | grant->has_scope * HAS_SCOPE |
                   (path.len > 0) * HAS_PATH);
    do
        hash_random(to, NUMBER_BYTES);
    while (get_be32(to) == 0); /* a free place in a table is all zero */
    to = put_u64(to + NUMBER_BYTES, (uint64_t)(now_ms + AUTH_TICKET_MS));
    hash_path(path, hash);
    memcpy(to, hash, PATH_BYTES);
    to = put_u64(to + PATH_BYTES, (uint64_t)grant->expires_at_ms);
    to = put_u64(to, grant->subject);
    memcpy(to, grant->workspace.bytes, sizeof grant->workspace.bytes);
    to = write_rules(to + sizeof grant->workspace.bytes, grant);
    (void)sign(tickets, false, slice_make(raw, (size_t)(to - raw)), mac);
    memcpy(to, mac, sizeof mac);
    to += sizeof mac;
    struct buf text;
    buf_init(&text, AUTH_TICKET_MAX);
    if (!text_append_base64url(&text, slice_make(raw, (size_t)(to - raw))))
        return ERR_OUT_OF_MEMORY;
    memcpy(ret_ticket, text.ptr, text.len);
    ret_ticket[text.len] = '\0';
    explicit_bzero(text.ptr, text.len);
    buf_done(&text);
    return OK;
}

static bool is_signed(struct tickets *tickets, struct slice raw) {
    uint8_t mac[HASH_SHA256_BYTES];
    struct slice told = slice_make(raw.ptr, raw.len - sizeof mac);
    for (unsigned old = 0; old < 2; old++) {
        bool there = sign(tickets, old, told, mac);
        if (gnutls_memcmp(mac, raw.ptr + told.len, sizeof mac) == 0 && there)
            return true;
    }
    return false;
}

/* What is read here was signed by us. */
static bool read_rules(struct slice bytes, struct auth_grant *grant) {
    const char *at = bytes.ptr, *end = bytes.ptr + bytes.len;
    grant->rule_count = (uint8_t)*at++;
    if (grant->rule_count > AUTH_RULES_MAX)
        return false;
    for (unsigned i = 0; i < grant->rule_count; i++) {
        struct auth_rule *rule = &grant->rules[i];
        if (end - at < 3 || (uint8_t)at[2] > sizeof rule->pattern || end - at - 3 < (uint8_t)at[2])
            return false;
        rule->scope = (enum auth_scope)at[0];
        rule->prefix = at[1] != 0;
        rule->pattern_len = (uint8_t)at[2];
        memcpy(rule->pattern, at + 3, rule->pattern_len);
        at += 3 + rule->pattern_len;
    }
    return at == end;
}

enum err ticket_take(struct tickets *tickets, struct slice ticket, struct slice path,
                     int64_t now_ms, struct auth_grant *ret_grant) {
    char raw[AUTH_TICKET_MAX];
    size_t len;
    if (ticket.len >= AUTH_TICKET_MAX || !text_base64url_decode(ticket, raw, &len) ||
        len < HEAD_BYTES + HASH_SHA256_BYTES || raw[0] != VERSION ||
        !is_signed(tickets, slice_make(raw, len)))
        return ERR_AUTH_REQUIRED;
    const char *number = raw + 2, *expiry = number + NUMBER_BYTES, *bound = expiry + 8;
    const char *good_until = bound + PATH_BYTES, *subject = good_until + 8;
    const char *workspace = subject + 8;
    const char *rules = workspace + 16;
    int64_t left_ms = (int64_t)take_u64(expiry) - now_ms;
    uint8_t hash[HASH_SHA256_BYTES];
    hash_path(path, hash);
    if (left_ms <= 0 || left_ms > TURN_MS ||
        ((raw[1] & HAS_PATH) && memcmp(hash, bound, PATH_BYTES) != 0))
        return ERR_AUTH_REQUIRED;
    struct auth_grant grant = {
        .everything = raw[1] & EVERYTHING,
        .signed_in = raw[1] & SIGNED_IN,
        .has_workspace = raw[1] & HAS_WORKSPACE,
        .has_scope = raw[1] & HAS_SCOPE,
        .subject = take_u64(subject),
        .expires_at_ms = (int64_t)take_u64(good_until),
    };
    memcpy(grant.workspace.bytes, workspace, sizeof grant.workspace.bytes);
    const char *end = raw + len - HASH_SHA256_BYTES;
    if (!read_rules(slice_make(rules, (size_t)(end - rules)), &grant))
        return ERR_AUTH_REQUIRED;
    enum err err = use_up(tickets, (const uint8_t *)number);
    if (!err)
        *ret_grant = grant;
    return err;
}
