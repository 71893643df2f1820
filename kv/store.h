/* SPDX-License-Identifier: MIT */
/* What kv.c asks of a store; memory and hdd each give one. Contracts as in kv.h. */
#ifndef HATI_KV_STORE_H
#define HATI_KV_STORE_H

#include "kv/kv_snapshot.h"

struct feeds;
struct kv_mem;
struct kv_hdd;

/* Each tells feeds, which outlive it, of its changes. */
enum err kv_mem_open(const struct kv_options *options, struct feeds *feeds,
                     struct kv_mem **ret_mem) MUST_USE;
void kv_mem_close(struct kv_mem *mem);
enum err kv_mem_get(struct kv_mem *mem, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                    struct arena *arena, struct kv_entry *ret_entry) MUST_USE;
/* 0: nothing to fetch again */
uint64_t kv_mem_prefetch(struct kv_mem *mem, const struct kv_ref *ref);
void kv_mem_prefetch_again(struct kv_mem *mem, uint64_t token);
enum err kv_mem_submit(struct kv_mem *mem, struct kv_write *write) MUST_USE;
enum err kv_mem_list(struct kv_mem *mem, struct kv_list *list) MUST_USE;
bool kv_mem_watch_scan(struct kv_mem *mem, uint32_t *at,
                       void (*each)(void *context, struct slice key), void *context);
enum err kv_mem_count(struct kv_mem *mem, struct kv_count *count) MUST_USE;
void kv_mem_stats(struct kv_mem *mem, struct kv_stats *ret_stats);
void kv_mem_raise_revision(struct kv_mem *mem, uint64_t revision);

struct mem_snapshot;
enum err mem_snapshot_new(struct kv_mem *mem, struct mem_snapshot **ret_snapshot) MUST_USE;
/* From here to mem_snapshot_taken no flush begins. */
void mem_snapshot_expect(struct mem_snapshot *snapshot, uint64_t cut, int64_t now_ms);
void mem_snapshot_taken(struct mem_snapshot *snapshot);
enum err mem_snapshot_each(struct mem_snapshot *snapshot,
                           enum err (*each)(void *context, const struct kv_snapshot_entry *entry),
                           void *context) MUST_USE;
uint64_t mem_snapshot_count(const struct mem_snapshot *snapshot);
uint64_t mem_snapshot_revision(const struct mem_snapshot *snapshot);
/* How many shards were kept since their change could not wait for the reader: tests. */
unsigned mem_snapshot_kept(struct mem_snapshot *snapshot);
void mem_snapshot_end(struct mem_snapshot *snapshot);

enum err kv_hdd_open(const struct kv_options *options, struct feeds *feeds, struct kv_hdd **ret_hdd,
                     char *ret_why, size_t why_bytes) MUST_USE;
void kv_hdd_close(struct kv_hdd *hdd);
enum err kv_hdd_get(struct kv_hdd *hdd, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                    struct arena *arena, struct kv_entry *ret_entry) MUST_USE;
uint64_t kv_hdd_prefetch(struct kv_hdd *hdd, const struct kv_ref *ref);
void kv_hdd_prefetch_again(struct kv_hdd *hdd, uint64_t token);
enum err kv_hdd_submit(struct kv_hdd *hdd, struct kv_write *write) MUST_USE;
enum err kv_hdd_stage_prepare(struct kv_hdd *hdd, const struct kv_op *op,
                              struct journal_block *block) MUST_USE;
enum err kv_hdd_stage_begin(struct kv_hdd *hdd, int64_t now_ms, unsigned op_count_max,
                            struct journal_block *block, struct kv_stage **ret_stage) MUST_USE;
enum err kv_hdd_list(struct kv_hdd *hdd, struct kv_list *list) MUST_USE;
enum err kv_hdd_count(struct kv_hdd *hdd, struct kv_count *count) MUST_USE;
void kv_hdd_stats(struct kv_hdd *hdd, struct kv_stats *ret_stats);
bool kv_hdd_is_ready(struct kv_hdd *hdd);
uint64_t kv_hdd_revision(struct kv_hdd *hdd);
enum err kv_hdd_raise_revision(struct kv_hdd *hdd, uint64_t revision) MUST_USE;

/* kv_snapshot.c: of these two; hdd may be NULL. */
enum err kv_snapshot_make(struct kv_mem *mem, struct kv_hdd *hdd,
                          struct kv_snapshot **ret_snapshot) MUST_USE;

struct hdd_snapshot;
/* The committer, between jobs. */
enum err hdd_snapshot_take(struct kv_hdd *hdd, int64_t now_ms,
                           struct hdd_snapshot **ret_snapshot) MUST_USE;
enum err hdd_snapshot_each(struct hdd_snapshot *snapshot,
                           enum err (*each)(void *context, const struct kv_snapshot_entry *entry),
                           void *context) MUST_USE;
uint64_t hdd_snapshot_count(const struct hdd_snapshot *snapshot);
uint64_t hdd_snapshot_revision(const struct hdd_snapshot *snapshot);
void hdd_snapshot_end(struct hdd_snapshot *snapshot);

#endif
