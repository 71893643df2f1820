/* SPDX-License-Identifier: MIT */
/* Hashes: XXH3 for tables and checksums, MD5 for ETags, SHA-256 for long keys. */
#ifndef HATI_BASE_HASH_H
#define HATI_BASE_HASH_H

#include "base/slice.h"

#define HASH_MD5_BYTES 16
#define HASH_SHA256_BYTES 32
#define HASH_CHECK_BYTES 16

/* A random seed of this process, so that callers cannot choose keys that collide. Any thread. */
uint64_t hash_process_seed(void);
/* XXH3 64 bit with a seed. */
uint64_t hash_seeded(struct slice bytes, uint64_t seed);
/* The same of parts, one behind the other. */
uint64_t hash_seeded_parts(const struct slice *parts, unsigned count, uint64_t seed);
/* MD5 (RFC 1321): an ETag, not a defence. */
void hash_md5(struct slice bytes, uint8_t ret_digest[HASH_MD5_BYTES]);
/* MD5 of what comes piece by piece. */
struct hash_md5_state {
    _Alignas(8) char room[128];
};
void hash_md5_begin(struct hash_md5_state *state);
void hash_md5_add(struct hash_md5_state *state, struct slice bytes);
void hash_md5_end(struct hash_md5_state *state, uint8_t ret_digest[HASH_MD5_BYTES]);
void hash_sha256(struct slice bytes, uint8_t ret_digest[HASH_SHA256_BYTES]);
/* XXH3 128 bit over both, one behind the other, big-endian: finds damage, stops nobody who means
 * it. */
void hash_check(struct slice first, struct slice second, uint8_t ret_check[HASH_CHECK_BYTES]);
/* HMAC-SHA-256 (RFC 2104). */
void hash_hmac_sha256(struct slice key, struct slice bytes, uint8_t ret_mac[HASH_SHA256_BYTES]);
/* Fills with bytes of the system's random source; aborts the process where there is none. */
void hash_random(void *to, size_t len);

#endif
