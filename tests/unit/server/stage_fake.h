/* SPDX-License-Identifier: MIT */
/* For programs that stand in for kv: batches are not what they test. */
#ifndef HATI_TESTS_STAGE_FAKE_H
#define HATI_TESTS_STAGE_FAKE_H

#include "kv/feed.h"
#include "kv/kv.h"

/* How far the store has come. */
static _Atomic uint64_t fake_revision;

bool kv_is_remote(const struct kv *kv) {
    (void)kv;
    return false;
}

enum err kv_read(struct kv *kv, struct kv_read *read) {
    (void)kv, (void)read;
    return ERR_INTERNAL;
}

uint64_t kv_revision(struct kv *kv) {
    (void)kv;
    return fake_revision;
}

enum err feed_open(struct kv *kv, const struct kv_ref *ref, enum feed_from from, uint64_t revision,
                   struct feed_reader *reader) {
    (void)kv, (void)ref, (void)from, (void)revision, (void)reader;
    return ERR_UNAVAILABLE;
}

void feed_figures(struct kv *kv, struct feed_figures *ret_figures) {
    (void)kv;
    *ret_figures = (struct feed_figures){0};
}

uint64_t kv_newest_revision(struct kv *kv, enum kv_storage storage) {
    (void)kv, (void)storage;
    return fake_revision;
}

enum err kv_raise_revision(struct kv *kv, enum kv_storage storage, uint64_t revision) {
    (void)kv, (void)storage, (void)revision;
    return ERR_INTERNAL;
}

bool kv_watch_scan(struct kv *kv, uint32_t *at, void (*each)(void *context, struct slice key),
                   void *context) {
    (void)kv, (void)at, (void)each, (void)context;
    return false;
}

enum err kv_stage_prepare(struct kv *kv, const struct kv_op *op, struct journal_block *block) {
    (void)kv, (void)op, (void)block;
    return ERR_UNAVAILABLE;
}

enum err kv_stage_begin(struct kv *kv, int64_t now_ms, unsigned op_count_max,
                        struct journal_block *block, struct kv_stage **ret_stage) {
    (void)kv, (void)now_ms, (void)op_count_max, (void)block, (void)ret_stage;
    return ERR_UNAVAILABLE;
}

enum err kv_stage_op(struct kv_stage *stage, struct kv_op *op) {
    (void)stage, (void)op;
    return ERR_UNAVAILABLE;
}

void kv_stage_undo(struct kv_stage *stage) {
    (void)stage;
}

void kv_stage_end(struct kv_stage *stage) {
    (void)stage;
}

uint64_t kv_stage_size(const struct kv_op *op) {
    (void)op;
    return 0;
}

#endif
