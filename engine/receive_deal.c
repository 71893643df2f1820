/* SPDX-License-Identifier: MIT */
#include "engine/receive_inside.h"

unsigned receive_deal(const uint64_t *sizes, unsigned count, struct share *shares,
                      unsigned share_count) {
    unsigned at = 0;
    for (unsigned i = 0; i < share_count; i++) {
        struct share *share = &shares[i];
        uint64_t bytes = 0;
        share->count = 0;
        while (at < count && share->count < share->max) {
            bytes += sizes[at];
            if (share->max_bytes && share->count && bytes > share->max_bytes)
                break;
            share->count++;
            at++;
        }
    }
    return at;
}
