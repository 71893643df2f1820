/* SPDX-License-Identifier: MIT */
/* The memory store alone, on one thread: how long sets and gets take while it grows, and the
 * longest single one (tables grow in small steps). Usage: mem_micro [entries]; prints one JSON
 * line. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kv/kv.h"

#define VALUE_BYTES 100
#define ARENA_BYTES 4096

struct figures {
    int64_t sum_ns, max_ns;
    uint64_t over_ms; /* that took longer than a millisecond */
};

static void note(struct figures *figures, int64_t ns) {
    figures->sum_ns += ns;
    figures->over_ms += ns > 1000000;
    if (ns > figures->max_ns)
        figures->max_ns = ns;
}

static struct kv_ref ref_of(char key[32], uint64_t number) {
    int len = snprintf(key, 32, "key:%012llu", (unsigned long long)number);
    return (struct kv_ref){KV_MEMORY, {{1}}, SLICE("default"), slice_make(key, (size_t)len)};
}

static void set_one(struct kv *kv, uint64_t number, struct figures *figures) {
    static const char value[VALUE_BYTES] = {'v'};
    char key[32];
    struct kv_op op = {
        .action = KV_SET, .ref = ref_of(key, number), .value = slice_make(value, sizeof value)};
    struct kv_write write = {.ops = &op, .op_count = 1, .now_ms = 1};
    int64_t start = clock_steady_ns();
    if (kv_submit(kv, &write))
        exit(1);
    note(figures, clock_steady_ns() - start);
}

static void get_one(struct kv *kv, uint64_t number, struct figures *figures) {
    char key[32];
    char memory[ARENA_BYTES];
    struct arena arena;
    struct kv_entry entry;
    struct kv_ref ref = ref_of(key, number);
    arena_init_with(&arena, ARENA_BYTES, memory, sizeof memory);
    int64_t start = clock_steady_ns();
    if (kv_get(kv, &ref, 1, KV_WANT_VALUE, &arena, &entry))
        exit(1);
    note(figures, clock_steady_ns() - start);
}

int main(int argc, char **argv) {
    uint64_t entries = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    struct kv_options options = {0};
    struct figures sets = {0}, gets = {0};
    struct kv *kv;
    char why[200];
    if (kv_open(&options, &kv, why, sizeof why))
        return 1;
    for (uint64_t i = 0; i < entries; i++)
        set_one(kv, i, &sets);
    for (uint64_t i = 0, at = 1; i < entries; i++, at = at * 6364136223846793005U + 1)
        get_one(kv, (at >> 33) % entries, &gets);
    printf("{\"entries\":%llu,\"set_ns\":%lld,\"set_max_ns\":%lld,\"set_over_ms\":%llu,"
           "\"get_ns\":%lld,\"get_max_ns\":%lld,\"get_over_ms\":%llu}\n",
           (unsigned long long)entries, (long long)sets.sum_ns / (long long)entries,
           (long long)sets.max_ns, (unsigned long long)sets.over_ms,
           (long long)gets.sum_ns / (long long)entries, (long long)gets.max_ns,
           (unsigned long long)gets.over_ms);
    kv_close(kv);
    return 0;
}
