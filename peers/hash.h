/* SPDX-License-Identifier: MIT */
/* The three hashes of an Olivia node's Bloom filter. Any thread. */
#ifndef HATI_PEERS_HASH_H
#define HATI_PEERS_HASH_H

#include "base/slice.h"

/* FNV-1, 32 bit: multiply, then xor (draft-eastlake-fnv). */
uint32_t peers_hash_fnv1(struct slice bytes);
/* MurmurHash3_x86_32 with seed 0 (Appleby; by libmurmurhash). */
uint32_t peers_hash_murmur3(struct slice bytes);
/* One-at-a-time (Jenkins, Dr. Dobb's Journal, September 1997). */
uint32_t peers_hash_jenkins(struct slice bytes);

#endif
