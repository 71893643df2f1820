/* SPDX-License-Identifier: MIT */
#include "auth/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/cache.h"
#include "auth/token.h"

struct auth {
    struct key key;
    struct claims_wanted wanted; /* slices into words */
    char *words;
    struct cache *cache;
};

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

enum err auth_open(const struct auth_options *options, struct auth **ret_auth, char *ret_why,
                   size_t why_bytes) {
    /* no pointer: not set; a pointer to nothing: set and empty, which the key refuses */
    if (!options->secret.ptr && !options->public_key_pem.ptr) {
        *ret_auth = NULL;
        return OK;
    }
    struct key key;
    enum err err = key_open(options, &key, ret_why, why_bytes);
    if (err)
        return err;
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth) {
        key_close(&key);
        snprintf(ret_why, why_bytes, "no memory for the token check");
        return ERR_OUT_OF_MEMORY;
    }
    auth->key = key;
    auth->cache = cache_open();
    if (!auth->cache || !copy_wanted(auth, options->audience, options->issuer)) {
        auth_close(auth);
        snprintf(ret_why, why_bytes, "no memory for the token check");
        return ERR_OUT_OF_MEMORY;
    }
    *ret_auth = auth;
    return OK;
}

void auth_close(struct auth *auth) {
    if (!auth)
        return;
    key_close(&auth->key);
    cache_close(auth->cache);
    free(auth->words);
    free(auth);
}

enum err auth_check(struct auth *auth, struct slice token, int64_t now_ms,
                    struct auth_grant *ret_grant) {
    if (token.len == 0 || token.len > AUTH_TOKEN_MAX)
        return ERR_AUTH_REQUIRED;
    if (cache_find(auth->cache, token, now_ms, ret_grant))
        return OK;
    struct auth_grant grant;
    if (!token_verify(&auth->key, &auth->wanted, token, now_ms, &grant))
        return ERR_AUTH_REQUIRED;
    cache_put(auth->cache, token, now_ms, &grant);
    *ret_grant = grant;
    return OK;
}

void auth_stats(struct auth *auth, uint64_t *ret_hits, uint64_t *ret_misses) {
    cache_count(auth->cache, ret_hits, ret_misses);
}
