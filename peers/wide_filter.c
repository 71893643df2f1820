/* SPDX-License-Identifier: MIT */
#include "peers/wide_filter.h"

#include <stdlib.h>

#include "base/hash.h"

#define BITS_A_KEY 10U

uint64_t wide_filter_hash(struct slice key) {
    return hash_seeded(key, 0);
}

uint64_t wide_filter_bits_for(uint64_t keys) {
    uint64_t bits = WIDE_FILTER_BITS_MIN;
    while (bits < WIDE_FILTER_BITS_MAX && bits / BITS_A_KEY < keys)
        bits *= 2;
    return bits;
}

enum err wide_filter_init(struct wide_filter *filter, uint64_t bits) {
    uint64_t *words = calloc(bits / 64, sizeof *words);
    if (!words)
        return ERR_OUT_OF_MEMORY;
    *filter = (struct wide_filter){words, bits};
    return OK;
}

void wide_filter_done(struct wide_filter *filter) {
    free(filter->words);
    *filter = (struct wide_filter){NULL, 0};
}

/* From one place to the next. It is odd, so that no two of a key's places are the same. */
static uint64_t stride(uint64_t hash) {
    return hash >> 32 | 1;
}

void wide_filter_add(struct wide_filter *filter, uint64_t hash) {
    uint64_t place = hash, step = stride(hash);
    for (unsigned i = 0; i < WIDE_FILTER_HASHES; i++, place += step) {
        uint64_t bit = place & (filter->bits - 1);
        filter->words[bit / 64] |= 1ULL << bit % 64;
    }
}

bool wide_filter_has(const struct wide_filter *filter, uint64_t hash) {
    uint64_t place = hash, step = stride(hash);
    for (unsigned i = 0; i < WIDE_FILTER_HASHES; i++, place += step) {
        uint64_t bit = place & (filter->bits - 1);
        if (!(filter->words[bit / 64] >> bit % 64 & 1))
            return false;
    }
    return true;
}
