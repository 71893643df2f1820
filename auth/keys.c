/* SPDX-License-Identifier: MIT */
#include "auth/keys.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/jwks.h"

struct keys *keys_new(void) {
    struct keys *keys = calloc(1, sizeof *keys);
    if (keys)
        atomic_init(&keys->holders, 1);
    return keys;
}

struct keys *keys_hold(struct keys *keys) {
    atomic_fetch_add_explicit(&keys->holders, 1, memory_order_relaxed);
    return keys;
}

void keys_drop(struct keys *keys) {
    if (!keys || atomic_fetch_sub_explicit(&keys->holders, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < keys->count; i++)
        key_close(&keys->list[i]);
    free(keys->list);
    free(keys);
}

static bool holds(const struct keys *keys, const struct key *key) {
    for (unsigned i = 0; i < keys->count; i++)
        if (key_equal(&keys->list[i], key))
            return true;
    return false;
}

const char *keys_add_take(struct keys *keys, struct key *key) {
    if (holds(keys, key)) {
        key_close(key);
        return NULL;
    }
    bool full = keys->count == KEYS_MAX;
    struct key *list = full ? NULL : realloc(keys->list, (keys->count + 1) * sizeof *list);
    if (!list) {
        key_close(key);
        return full ? "over 256 JWT keys" : key_no_memory;
    }
    keys->list = list;
    keys->list[keys->count++] = *key;
    *key = (struct key){0};
    return NULL;
}

static bool add_copies(struct keys *keys, const struct keys *from) {
    for (unsigned i = 0; from && i < from->count; i++) {
        struct key copy;
        if (!key_copy(&from->list[i], &copy) || keys_add_take(keys, &copy))
            return false;
    }
    return true;
}

struct keys *keys_merge(const struct keys *a, const struct keys *b) {
    struct keys *keys = keys_new();
    if (keys && add_copies(keys, a) && add_copies(keys, b))
        return keys;
    keys_drop(keys);
    return NULL;
}

bool keys_equal(const struct keys *a, const struct keys *b) {
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!key_equal(&a->list[i], &b->list[i]))
            return false;
    return true;
}

static const char *add_secret(struct keys *keys, struct slice secret, bool allow_weak) {
    struct key key;
    const char *fault = key_of_secret(secret, allow_weak, &key);
    return fault ? fault : keys_add_take(keys, &key);
}

/* The length of what stands before the second block, so one key is read at a time. */
static size_t block_len(struct slice pem) {
    static const char begin[] = "-----BEGIN ";
    const char *first = memmem(pem.ptr, pem.len, begin, sizeof begin - 1);
    if (!first)
        return pem.len;
    size_t skip = (size_t)(first - pem.ptr) + 1;
    const char *second = memmem(pem.ptr + skip, pem.len - skip, begin, sizeof begin - 1);
    return second ? (size_t)(second - pem.ptr) : pem.len;
}

static const char *add_pems(struct keys *keys, struct slice pem) {
    unsigned count = 0;
    do {
        struct key key;
        size_t len = block_len(pem);
        if (++count > KEYS_LOOSE_MAX)
            return "the JWT key file holds over 16 keys";
        const char *fault = key_of_pem(slice_make(pem.ptr, len), &key);
        if (!fault)
            fault = keys_add_take(keys, &key);
        if (fault)
            return fault;
        pem = slice_make(pem.ptr + len, pem.len - len);
    } while (pem.len);
    return NULL;
}

/* no pointer: not set; a pointer to nothing: set and empty, which no key is */
static const char *add_all(struct keys *keys, const struct auth_options *options) {
    const char *fault = NULL;
    bool secret = options->secret.ptr || options->old_secret.ptr;
    if (secret && (options->public_key_pem.ptr || options->jwks.ptr || options->jwks_url))
        return "a JWT secret and a public key are both set; one decides the algorithm";
    if (options->old_secret.ptr && !options->secret.ptr)
        return "an old JWT secret stands alone: a new one is missing beside it";
    if (options->secret.ptr)
        fault = add_secret(keys, options->secret, options->allow_weak_secret);
    if (!fault && options->old_secret.ptr)
        fault = add_secret(keys, options->old_secret, options->allow_weak_secret);
    if (!fault && options->public_key_pem.ptr)
        fault = add_pems(keys, options->public_key_pem);
    return fault;
}

/* What it tells names the option, of which there are several. */
static enum err read_jwks_file(struct slice document, struct keys *keys, char *ret_why,
                               size_t why_bytes) {
    char why[400];
    enum err err = jwks_read(document, keys, why, sizeof why);
    if (why[0])
        snprintf(ret_why, why_bytes, "jwks-file: %s", why);
    return err;
}

enum err keys_of_options(const struct auth_options *options, struct keys **ret_keys, char *ret_why,
                         size_t why_bytes) {
    struct keys *keys = keys_new();
    const char *fault = keys ? add_all(keys, options) : key_no_memory;
    enum err err = fault ? ERR_SYNTAX : OK;
    if (fault)
        snprintf(ret_why, why_bytes, "%s", fault);
    if (!err && options->jwks.ptr)
        err = read_jwks_file(options->jwks, keys, ret_why, why_bytes);
    if (err) {
        keys_drop(keys);
        return err;
    }
    *ret_keys = keys;
    return OK;
}
