/* SPDX-License-Identifier: MIT */
#include "peers/hash.h"

#include <murmurhash.h>

uint32_t peers_hash_fnv1(struct slice bytes) {
    uint32_t hash = 0x811C9DC5U;
    for (size_t i = 0; i < bytes.len; i++) {
        hash *= 0x01000193U;
        hash ^= (uint8_t)bytes.ptr[i];
    }
    return hash;
}

uint32_t peers_hash_murmur3(struct slice bytes) {
    uint32_t hash;
    lmmh_x86_32(bytes.len ? bytes.ptr : "", (unsigned)bytes.len, 0, &hash);
    return hash;
}

uint32_t peers_hash_jenkins(struct slice bytes) {
    uint32_t hash = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        hash += (uint8_t)bytes.ptr[i];
        hash += hash << 10;
        hash ^= hash >> 6;
    }
    hash += hash << 3;
    hash ^= hash >> 11;
    hash += hash << 15;
    return hash;
}
