/* SPDX-License-Identifier: MIT */
#include "auth/auth.h"
#include "auth/ticket.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/cache.h"
#include "auth/jwks.h"
#include "auth/jwks_fetch.h"
#include "auth/token.h"
#include "base/log.h"

struct auth {
    pthread_mutex_t changing;    /* held by who makes another set; never by who checks a token */
    struct keys *own;            /* of secrets and files */
    struct keys *fetched;        /* of the URL; NULL: nothing yet */
    pthread_mutex_t lock;        /* of current, held for a few instructions */
    struct keys *current;        /* both of them */
    _Atomic uint64_t generation; /* of current: what was verified by another is not believed */
    struct jwks_fetch *fetch;    /* NULL: no URL */
    struct tickets *tickets;
    struct claims_wanted wanted; /* slices into words */
    char *words;
    struct cache *cache;
};

static const char no_memory[] = "no memory for the token check";

/* Copies both into one run of bytes. */
static bool copy_wanted(struct auth *auth, struct slice audience, struct slice issuer) {
    auth->words = malloc(audience.len + issuer.len + 1);
    if (!auth->words)
        return false;
    if (audience.len)
        memcpy(auth->words, audience.ptr, audience.len);
    if (issuer.len)
        memcpy(auth->words + audience.len, issuer.ptr, issuer.len);
    auth->wanted.audience = slice_make(auth->words, audience.len);
    auth->wanted.issuer = slice_make(auth->words + audience.len, issuer.len);
    return true;
}

static struct keys *hold_current(struct auth *auth) {
    pthread_mutex_lock(&auth->lock);
    struct keys *keys = keys_hold(auth->current);
    pthread_mutex_unlock(&auth->lock);
    return keys;
}

/* Who still checks a token by the old set may put it into the cache after this, under the old
 * generation: it is not found there. Takes keys over. */
static void show_take(struct auth *auth, struct keys *keys) {
    pthread_mutex_lock(&auth->lock);
    struct keys *old = auth->current;
    keys->generation = old ? old->generation + 1 : 1;
    auth->current = keys;
    atomic_store(&auth->generation, keys->generation);
    pthread_mutex_unlock(&auth->lock);
    keys_drop(old);
}

/* Shows own and fetched keys together. A set that is as before is not another one: the tokens
 * already verified stay so. False without memory, nothing changed. */
static bool combine_locked(struct auth *auth, bool *ret_changed) {
    struct keys *keys = keys_merge(auth->own, auth->fetched);
    if (!keys)
        return false;
    *ret_changed = !auth->current || !keys_equal(keys, auth->current);
    if (*ret_changed)
        show_take(auth, keys);
    else
        keys_drop(keys);
    return true;
}

/* Puts a set in place of the one at *part; the old one stays on failure. Takes keys over. */
static bool replace_take(struct auth *auth, struct keys **part, struct keys *keys,
                         bool *ret_changed) {
    pthread_mutex_lock(&auth->changing);
    struct keys *old = *part;
    *part = keys;
    bool done = combine_locked(auth, ret_changed);
    if (!done)
        *part = old;
    pthread_mutex_unlock(&auth->changing);
    keys_drop(done ? old : keys);
    return done;
}

unsigned auth_key_count(struct auth *auth) {
    struct keys *keys = hold_current(auth);
    unsigned count = keys->count;
    keys_drop(keys);
    return count;
}

/* On the thread that fetches. */
static bool take_document(void *context, struct slice document, char *ret_why, size_t why_bytes) {
    struct auth *auth = context;
    struct keys *keys = keys_new();
    bool changed = false;
    ret_why[0] = '\0';
    if (keys && jwks_read(document, keys, ret_why, why_bytes)) {
        keys_drop(keys);
        return false;
    }
    if (!keys || !replace_take(auth, &auth->fetched, keys, &changed)) {
        snprintf(ret_why, why_bytes, "%s", no_memory);
        return false;
    }
    if (changed)
        log_info("jwks-url: tokens are checked with %u keys from now on%s%s", auth_key_count(auth),
                 ret_why[0] ? "; " : "", ret_why);
    return true;
}

static enum err start_fetch(struct auth *auth, const struct auth_options *options, char *ret_why,
                            size_t why_bytes) {
    struct jwks_fetch_options fetch = {
        .url = options->jwks_url,
        .ca_file = options->jwks_ca_file,
        .allow_http = options->jwks_allow_http,
        .refresh_ms = options->jwks_refresh_ms,
        .cooldown_ms = options->jwks_cooldown_ms,
        .take = take_document,
        .context = auth,
    };
    return jwks_fetch_open(&fetch, &auth->fetch, ret_why, why_bytes);
}

/* Takes own over. NULL without memory. */
static struct auth *make_auth(const struct auth_options *options, struct keys *own) {
    struct auth *auth = calloc(1, sizeof *auth);
    bool changed;
    if (!auth) {
        keys_drop(own);
        return NULL;
    }
    pthread_mutex_init(&auth->changing, NULL);
    pthread_mutex_init(&auth->lock, NULL);
    auth->own = own;
    auth->cache = cache_open();
    auth->tickets = tickets_open(options->secret, options->old_secret);
    if (auth->cache && auth->tickets && copy_wanted(auth, options->audience, options->issuer) &&
        combine_locked(auth, &changed))
        return auth;
    auth_close(auth);
    return NULL;
}

static bool has_none(const struct auth_options *options) {
    return !options->secret.ptr && !options->old_secret.ptr && !options->public_key_pem.ptr &&
           !options->jwks.ptr && !options->jwks_url;
}

enum err auth_open(const struct auth_options *options, struct auth **ret_auth, char *ret_why,
                   size_t why_bytes) {
    if (has_none(options)) {
        *ret_auth = NULL;
        return OK;
    }
    struct keys *own;
    enum err err = keys_of_options(options, &own, ret_why, why_bytes);
    if (err)
        return err;
    struct auth *auth = make_auth(options, own);
    if (!auth) {
        snprintf(ret_why, why_bytes, "%s", no_memory);
        return ERR_OUT_OF_MEMORY;
    }
    if (options->jwks_url)
        err = start_fetch(auth, options, ret_why, why_bytes);
    if (err) {
        auth_close(auth);
        return err;
    }
    *ret_auth = auth;
    return OK;
}

void auth_close(struct auth *auth) {
    if (!auth)
        return;
    jwks_fetch_close(auth->fetch); /* first: its thread uses the rest */
    keys_drop(auth->own);
    keys_drop(auth->fetched);
    keys_drop(auth->current);
    cache_close(auth->cache);
    tickets_close(auth->tickets);
    pthread_mutex_destroy(&auth->lock);
    pthread_mutex_destroy(&auth->changing);
    free(auth->words);
    free(auth);
}

void auth_await_keys(struct auth *auth, int64_t timeout_ms) {
    if (auth->fetch)
        jwks_fetch_await(auth->fetch, timeout_ms);
}

enum err auth_reload(struct auth *auth, const struct auth_options *options, char *ret_why,
                     size_t why_bytes) {
    struct keys *own;
    bool changed;
    if (auth->fetch)
        jwks_fetch_now(auth->fetch);
    enum err err = keys_of_options(options, &own, ret_why, why_bytes);
    if (err)
        return err;
    if (replace_take(auth, &auth->own, own, &changed)) {
        tickets_rekey(auth->tickets, options->secret, options->old_secret);
        return OK;
    }
    snprintf(ret_why, why_bytes, "%s", no_memory);
    return ERR_OUT_OF_MEMORY;
}

static enum token_result verify(struct auth *auth, struct slice token, int64_t now_ms,
                                struct auth_grant *ret_grant) {
    struct keys *keys = hold_current(auth);
    enum token_result result = token_verify(keys, &auth->wanted, token, now_ms, ret_grant);
    if (result == TOKEN_GOOD)
        cache_put(auth->cache, token, keys->generation, now_ms, ret_grant);
    keys_drop(keys);
    return result;
}

enum err auth_check(struct auth *auth, struct slice token, int64_t now_ms,
                    struct auth_grant *ret_grant) {
    if (token.len == 0 || token.len > AUTH_TOKEN_MAX)
        return ERR_AUTH_REQUIRED;
    if (cache_find(auth->cache, token, atomic_load(&auth->generation), now_ms, ret_grant))
        return OK;
    struct auth_grant grant;
    enum token_result result = verify(auth, token, now_ms, &grant);
    if (result == TOKEN_KEY_UNKNOWN && auth->fetch)
        jwks_fetch_ask(auth->fetch);
    if (result != TOKEN_GOOD)
        return ERR_AUTH_REQUIRED;
    *ret_grant = grant;
    return OK;
}

void auth_stats(struct auth *auth, uint64_t *ret_hits, uint64_t *ret_misses) {
    cache_count(auth->cache, ret_hits, ret_misses);
}

enum err auth_make_ticket(struct auth *auth, const struct auth_grant *grant, struct slice path,
                          int64_t now_ms, char ret_ticket[AUTH_TICKET_MAX]) {
    return ticket_make(auth->tickets, grant, path, now_ms, ret_ticket);
}

enum err auth_take_ticket(struct auth *auth, struct slice ticket, struct slice path, int64_t now_ms,
                          struct auth_grant *ret_grant) {
    return ticket_take(auth->tickets, ticket, path, now_ms, ret_grant);
}
