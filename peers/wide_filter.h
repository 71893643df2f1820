/* SPDX-License-Identifier: MIT */
/* The Bloom filter that hati nodes exchange: a power of two of bits, as many as its keys want.
 * Bloom, "Space/Time Trade-offs in Hash Coding with Allowable Errors" (CACM 13, 1970); positions by
 * double hashing of one 64-bit hash (Kirsch and Mitzenmacher, "Less Hashing, Same Performance",
 * 2006). Not thread-safe. */
#ifndef HATI_PEERS_WIDE_FILTER_H
#define HATI_PEERS_WIDE_FILTER_H

#include "base/err.h"
#include "base/slice.h"

#define WIDE_FILTER_HASHES 6U
#define WIDE_FILTER_BITS_MIN 8192ULL
#define WIDE_FILTER_BITS_MAX (1ULL << 30)

struct wide_filter {
    uint64_t *words; /* little-endian on the wire: bit i is bit i % 64 of word i / 64 */
    uint64_t bits;   /* a power of two, MIN to MAX; 0: none */
};

/* The hash by which a key is found in any node's filter. Any thread. */
uint64_t wide_filter_hash(struct slice key);
/* Bits for so many keys: 10 to 20 a key, so that at most one question in a hundred is put in vain.
 */
uint64_t wide_filter_bits_for(uint64_t keys);

/* An empty filter. bits: as wide_filter_bits_for gives them. ERR_OUT_OF_MEMORY. */
enum err wide_filter_init(struct wide_filter *filter, uint64_t bits) MUST_USE;
void wide_filter_done(struct wide_filter *filter);
void wide_filter_add(struct wide_filter *filter, uint64_t hash);
bool wide_filter_has(const struct wide_filter *filter, uint64_t hash);

#endif
