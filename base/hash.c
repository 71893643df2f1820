/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <nettle/hmac.h>
#include <nettle/md5.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t process_seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

void hash_random(void *to, size_t len) {
    char *at = to;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got <= 0)
            abort();
        at += got;
        len -= (size_t)got;
    }
}

static void make_seed(void) {
    hash_random(&process_seed, sizeof process_seed);
}

uint64_t hash_process_seed(void) {
    pthread_once(&seeded, make_seed);
    return process_seed;
}

uint64_t hash_seeded(struct slice bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes.ptr, bytes.len, seed);
}

uint64_t hash_seeded_parts(const struct slice *parts, unsigned count, uint64_t seed) {
    if (count == 1)
        return hash_seeded(parts[0], seed);
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (unsigned i = 0; i < count; i++)
        XXH3_64bits_update(&state, parts[i].ptr, parts[i].len);
    return XXH3_64bits_digest(&state);
}

void hash_md5(struct slice bytes, uint8_t ret_digest[HASH_MD5_BYTES]) {
    struct md5_ctx state;
    md5_init(&state);
    md5_update(&state, bytes.len, (const uint8_t *)bytes.ptr);
    md5_digest(&state, HASH_MD5_BYTES, ret_digest);
}

_Static_assert(sizeof(struct md5_ctx) <= sizeof(struct hash_md5_state), "its room is too small");

static struct md5_ctx *md5_of(struct hash_md5_state *state) {
    return (struct md5_ctx *)(void *)state->room;
}

void hash_md5_begin(struct hash_md5_state *state) {
    md5_init(md5_of(state));
}

void hash_md5_add(struct hash_md5_state *state, struct slice bytes) {
    md5_update(md5_of(state), bytes.len, (const uint8_t *)bytes.ptr);
}

void hash_md5_end(struct hash_md5_state *state, uint8_t ret_digest[HASH_MD5_BYTES]) {
    md5_digest(md5_of(state), HASH_MD5_BYTES, ret_digest);
}

void hash_hmac_sha256(struct slice key, struct slice bytes, uint8_t ret_mac[HASH_SHA256_BYTES]) {
    struct hmac_sha256_ctx state;
    hmac_sha256_set_key(&state, key.len, (const uint8_t *)key.ptr);
    hmac_sha256_update(&state, bytes.len, (const uint8_t *)bytes.ptr);
    hmac_sha256_digest(&state, HASH_SHA256_BYTES, ret_mac);
    explicit_bzero(&state, sizeof state);
}

void hash_sha256(struct slice bytes, uint8_t ret_digest[HASH_SHA256_BYTES]) {
    struct sha256_ctx state;
    sha256_init(&state);
    sha256_update(&state, bytes.len, (const uint8_t *)bytes.ptr);
    sha256_digest(&state, HASH_SHA256_BYTES, ret_digest);
}

void hash_check(struct slice first, struct slice second, uint8_t ret_check[HASH_CHECK_BYTES]) {
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, first.ptr, first.len);
    XXH3_128bits_update(&state, second.ptr, second.len);
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(&state));
    memcpy(ret_check, bytes.digest, HASH_CHECK_BYTES);
}
