/* SPDX-License-Identifier: MIT */
/* How far a store has come, as one opaque word: what a causal context carries. */
#ifndef HATI_BASE_POSITION_H
#define HATI_BASE_POSITION_H

#include "base/slice.h"

#define POSITION_MAX 128 /* bytes of the word */

/* Travels with a request. A store that cannot show a state at least as new as `want` in time
 * answers ERR_UNAVAILABLE; `reached` is a state that has everything this request saw or did. */
struct position {
    struct slice want;   /* what the caller has seen; empty: nothing */
    bool ask;            /* reached is wanted (it may cost a question to the store) */
    uint8_t reached_len; /* 0: not told */
    char reached[POSITION_MAX];
};

/* Of two words of one store the longer is the newer; of one length, the greater in byte order. */
static inline bool position_is_newer(struct slice a, struct slice b) {
    return a.len != b.len ? a.len > b.len : slice_compare(a, b) > 0;
}

static inline struct slice position_reached(const struct position *position) {
    return slice_make(position->reached, position->reached_len);
}

#endif
