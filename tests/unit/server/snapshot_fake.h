/* SPDX-License-Identifier: MIT */
/* For programs that stand in for the stores: snapshots are not what they test. */
#ifndef HATI_TESTS_SNAPSHOT_FAKE_H
#define HATI_TESTS_SNAPSHOT_FAKE_H

#include "snapshot/apply.h"
#include "snapshot/take.h"

enum err apply_look(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                    struct apply_state *ret_state) {
    (void)stores, (void)id, (void)ret_state;
    return ERR_INTERNAL;
}

enum err apply_begin(struct snapshot_stores *stores, const struct apply_options *options,
                     struct apply_state *ret_state, char ret_why[APPLY_WHY_BYTES]) {
    (void)stores, (void)options, (void)ret_state, (void)ret_why;
    return ERR_INTERNAL;
}

enum err apply_block(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                     struct slice bytes, uint64_t value_max, const struct apply_notes *notes,
                     struct apply_state *ret_state, char ret_why[APPLY_WHY_BYTES]) {
    (void)stores, (void)id, (void)bytes, (void)value_max, (void)notes;
    (void)ret_state, (void)ret_why;
    return ERR_INTERNAL;
}

enum err take_snapshot(struct snapshot_stores *stores, int fd, const struct take_options *options,
                       struct snapshot_totals *ret_totals, char ret_why[TAKE_WHY_BYTES]) {
    (void)stores, (void)fd, (void)options, (void)ret_totals, (void)ret_why;
    return ERR_INTERNAL;
}

#endif
