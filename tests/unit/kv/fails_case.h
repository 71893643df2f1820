/* SPDX-License-Identifier: MIT */
/* A durable store in a directory of its own, opened and used while something fails. */
#ifndef HATI_TESTS_KV_FAILS_CASE_H
#define HATI_TESTS_KV_FAILS_CASE_H

#include "kv_case.h"

#include <string.h>

#include "../nth_fails.h"
#include "base/clock.h"
#include "base/log.h"
#include "journal/datadir.h"

#define SEGMENT_BYTES (256U << 10)
#define KEPT 40U /* entries that nothing changes */
#define OTHER_KEY "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n"
#define SEAL_KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

struct fails {
    struct kv_case c; /* dir: what is worked in */
    struct datadir *datadir;
    struct seal_keys *keys;
    char stopped[64], killed[64], key_path[80]; /* directories as they were left */
    char why[600];
    bool sealed;
};

/* One of the things that may fail, and how. */
struct way {
    unsigned kinds;
    int error;
    bool lasting;
};

static const struct way fails_ways[] = {
    {NTH_MEMORY, 0, false},    {NTH_THREAD, 0, false},   {NTH_DISK, EIO, false},
    {NTH_LMDB, EIO, false},    {NTH_DISK, ENOSPC, true}, {NTH_LMDB, ENOMEM, false},
    {NTH_LMDB, ENOSPC, false},
};
#define FAILS_OPEN_WAYS 4U /* of them, at an open */
#define FAILS_WAYS (sizeof fails_ways / sizeof fails_ways[0])

static void fails_fatal(const char *why) {
    (void)why;
}

/* Everything that was opened is closed again where it fails. */
static enum err fails_open(struct fails *f, unsigned shards) {
    f->why[0] = 0;
    f->keys = NULL;
    f->datadir = NULL;
    f->c.kv = NULL;
    enum err err = f->sealed ? seal_keys_open(f->key_path, &f->keys, f->why, sizeof f->why) : OK;
    struct datadir_options dir = {
        .dir = f->c.dir, .segment_bytes = SEGMENT_BYTES, .keys = f->keys, .fatal = fails_fatal};
    if (!err)
        err = datadir_open(&dir, &f->datadir, f->why, sizeof f->why);
    struct kv_options options = {.datadir = f->datadir,
                                 .hdd_shards = shards,
                                 .read_cache_bytes = 1 << 20,
                                 .write_buffer_bytes = 8 << 20,
                                 .fatal = fails_fatal};
    if (!err)
        err = kv_open(&options, &f->c.kv, f->why, sizeof f->why);
    if (!err)
        err = datadir_start(f->datadir, f->why, sizeof f->why);
    return err;
}

static void fails_close(struct fails *f) {
    if (f->datadir)
        datadir_stop(f->datadir);
    if (f->c.kv)
        kv_close(f->c.kv);
    datadir_close(f->datadir);
    seal_keys_close(f->keys);
    f->c.kv = NULL;
    f->datadir = NULL;
    f->keys = NULL;
}

static void fails_copy(struct fails *f, const char *from) {
    nth_copy_dir(from, f->c.dir);
}

static inline const char *kept_key(unsigned i) {
    static char key[32];
    snprintf(key, sizeof key, "kept-%02u", i);
    return key;
}

static void fails_fill(struct fails *f) {
    struct kv_op op = set_op(&f->c, "counter", "5");
    for (unsigned i = 0; i < KEPT; i++)
        set_key(&f->c, kept_key(i), "a value that stays");
    set_key(&f->c, "plain", "old");
    set_key(&f->c, "first", "old");
    set_key(&f->c, "second", "old");
    set_key(&f->c, "gone", "old");
    assert_int_equal(set_ttl(&f->c, "touched", "old", 3600000), OK);
    assert_int_equal(submit_at(&f->c, &op, NOW), OK);
    op = set_op(&f->c, "far", "away");
    op.ref.ns = SLICE("elsewhere");
    assert_int_equal(submit_at(&f->c, &op, NOW), OK);
}

/* Of a long key's shared beginning, hdd looks at all entries of a place. */
static void fails_fill_long(struct fails *f) {
    char key[700];
    memset(key, 'k', sizeof key);
    for (char end = 'a'; end < 'e'; end++) {
        snprintf(key + 600, 20, "%c", end);
        set_key(&f->c, key, "of a long key");
    }
}

static int fails_setup_with(void **state, bool sealed) {
    struct fails *f = calloc(1, sizeof *f);
    log_set_level(LOG_OFF);
    clock_move_for_test(NOW - 3600000 - clock_wall_ms()); /* the keeper drops nothing */
    f->c.storage = KV_HDD;
    f->sealed = sealed;
    arena_init(&f->c.arena, 64U << 20);
    nth_make_dir(f->c.dir);
    nth_make_dir(f->stopped);
    nth_make_dir(f->killed);
    snprintf(f->key_path, sizeof f->key_path, "%s.keys", f->stopped);
    int file = open(f->key_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(file, SEAL_KEY, strlen(SEAL_KEY)), strlen(SEAL_KEY));
    close(file);
    if (fails_open(f, 2))
        fail_msg("%s", f->why);
    fails_fill_long(f);
    fails_fill(f);
    nth_copy_dir(f->c.dir, f->killed);
    fails_close(f);
    nth_copy_dir(f->c.dir, f->stopped);
    *state = f;
    return 0;
}

static inline int fails_setup(void **state) {
    return fails_setup_with(state, false);
}

static inline int fails_setup_sealed(void **state) {
    return fails_setup_with(state, true);
}

static int fails_teardown(void **state) {
    struct fails *f = *state;
    nth_remove_dir(f->c.dir);
    nth_remove_dir(f->stopped);
    nth_remove_dir(f->killed);
    unlink(f->key_path);
    arena_done(&f->c.arena);
    free(f);
    return 0;
}

static void fails_check_kept(struct fails *f) {
    for (unsigned i = 0; i < KEPT; i++)
        assert_value(&f->c, kept_key(i), "a value that stays");
}

#endif
