/* SPDX-License-Identifier: MIT */
/* What stands under the stores while the n-th call of memory, disk or LMDB fails, for every n: it
 * says why, leaves what was there, and does it the next time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../nth_fails.h"
#include "base/bytes.h"
#include "base/log.h"
#include "journal/datadir.h"
#include "journal/keycheck.h"
#include "journal/rewrite.h"

#define ENTRIES 300U
#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n"

struct fixture {
    char dir[64], copy[64], env[100], fresh[100], key_path[100];
    char why[600];
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    log_set_level(LOG_OFF);
    nth_make_dir(f->dir);
    nth_make_dir(f->copy);
    snprintf(f->env, sizeof f->env, "%s/env", f->dir);
    snprintf(f->fresh, sizeof f->fresh, "%s/fresh", f->dir);
    snprintf(f->key_path, sizeof f->key_path, "%s.keys", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    nth_remove_dir(f->dir);
    nth_remove_dir(f->copy);
    unlink(f->key_path);
    free(f);
    return 0;
}

/* ---- an environment written anew ---- */

static void fill_env(struct fixture *f) {
    struct env *env;
    struct env_write *write;
    char key[4];
    assert_int_equal(env_open(f->env, &env, f->why, sizeof f->why), OK);
    assert_int_equal(env_write_begin(env, 1U << 20, &write), OK);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        put_be32(key, i);
        assert_int_equal(env_write_put(write, ENV_ENTRIES, slice_make(key, 4), SLICE("old")), OK);
    }
    put_be32(key, 7);
    assert_int_equal(env_write_put(write, ENV_META, slice_make(key, 4), SLICE("meta")), OK);
    assert_int_equal(env_write_commit(write), OK);
    env_close(env);
}

static enum err rewrite_one(void *context, struct env_write *to, struct slice key,
                            struct slice value) {
    (void)context, (void)value;
    return env_write_put(to, ENV_ENTRIES, key, SLICE("new"));
}

static void never_mind(void *context, uint64_t more) {
    (void)context, (void)more;
}

static enum err rewrite(struct fixture *f) {
    struct rewrite rewrite = {
        .dir = f->env, .fresh = f->fresh, .mark = 1, .entry = rewrite_one, .progress = never_mind};
    f->why[0] = 0;
    return rewrite_env(&rewrite, f->why, sizeof f->why);
}

/* Every entry is the one, or the other where it may be. */
static void check_env(struct fixture *f, const char *wanted, const char *or_else) {
    struct env *env;
    struct env_read *read;
    struct slice value;
    char key[4];
    uint64_t count = 0;
    assert_int_equal(env_open(f->env, &env, f->why, sizeof f->why), OK);
    assert_int_equal(env_read_begin(env, &read), OK);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        put_be32(key, i);
        assert_int_equal(env_read_get(read, ENV_ENTRIES, slice_make(key, 4), &value), OK);
        if (i == 0 && slice_equal(value, slice_of_cstr(or_else)))
            wanted = or_else;
        assert_true(slice_equal(value, slice_of_cstr(wanted)));
    }
    put_be32(key, 7);
    assert_int_equal(env_read_get(read, ENV_META, slice_make(key, 4), &value), OK);
    env_read_end(read);
    env_close(env);
    assert_int_equal(rewrite_count(f->env, &count, f->why, sizeof f->why), OK);
    assert_int_equal(count, ENTRIES);
}

static void test_a_rewrite_that_fails_leaves_one_or_the_other_whole(void **state) {
    struct fixture *f = *state;
    static const struct {
        unsigned kind;
        int error;
    } ways[] = {{NTH_MEMORY, 0}, {NTH_DISK, EIO}, {NTH_LMDB, EIO}, {NTH_LMDB, ENOSPC}};
    fill_env(f);
    nth_copy_dir(f->dir, f->copy);
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        bool fired = true;
        for (long n = 1; fired; n = nth_next(n)) {
            nth_copy_dir(f->copy, f->dir);
            nth_arm(ways[i].kind, n, ways[i].error, false);
            enum err err = rewrite(f);
            fired = nth_disarm();
            assert_true(!err || (fired && f->why[0]));
            check_env(f, err ? "old" : "new", "new"); /* a sync of the directory may come last */
            if (rewrite(f))
                fail_msg("%ld: %s", n, f->why);
            check_env(f, "new", "new");
        }
    }
}

static void test_a_count_that_fails_says_so(void **state) {
    struct fixture *f = *state;
    fill_env(f);
    bool fired = true;
    for (long n = 1; fired; n++) {
        uint64_t count = 4711;
        f->why[0] = 0;
        nth_arm(NTH_MEMORY | NTH_LMDB, n, EIO, false);
        enum err err = rewrite_count(f->env, &count, f->why, sizeof f->why);
        fired = nth_disarm();
        assert_true(err ? fired && f->why[0] && count == 4711 : count == ENTRIES);
    }
}

/* ---- keys ---- */

static void write_keys(struct fixture *f, const char *text) {
    unlink(f->key_path);
    int fd = open(f->key_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct seal_keys *keys_of(struct fixture *f, const char *text) {
    struct seal_keys *keys;
    write_keys(f, text);
    assert_int_equal(seal_keys_open(f->key_path, &keys, f->why, sizeof f->why), OK);
    return keys;
}

static void test_keys_that_cannot_be_read_are_none_and_it_says_so(void **state) {
    struct fixture *f = *state;
    write_keys(f, KEY_A KEY_B);
    for (unsigned kind = NTH_MEMORY; kind <= NTH_DISK; kind *= 2) {
        bool fired = true;
        for (long n = 1; fired; n++) {
            struct seal_keys *keys = NULL;
            f->why[0] = 0;
            nth_arm(kind, n, EIO, false);
            enum err err = seal_keys_open(f->key_path, &keys, f->why, sizeof f->why);
            fired = nth_disarm();
            if (err)
                assert_true(fired && !keys && f->why[0]);
            else
                assert_int_equal(seal_keys_count(keys), 2);
            seal_keys_close(keys);
        }
    }
}

static void refuse_keys(struct fixture *f, const char *text) {
    struct seal_keys *keys = NULL;
    write_keys(f, text);
    f->why[0] = 0;
    assert_int_equal(seal_keys_open(f->key_path, &keys, f->why, sizeof f->why), ERR_SYNTAX);
    assert_non_null(strstr(f->why, f->key_path));
}

static void test_what_is_no_file_of_keys_is_refused(void **state) {
    struct fixture *f = *state;
    static char long_text[70000];
    memset(long_text, '#', sizeof long_text - 1);
    refuse_keys(f, long_text);
    refuse_keys(f, "");
    refuse_keys(f, "0011\n");
    refuse_keys(f, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQ==\n");
    refuse_keys(f, "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
    refuse_keys(f, KEY_A KEY_A);
}

/* What a directory knows of its keys is as it was, or as it is to be. */
static void test_a_key_is_noted_whole_or_not_at_all(void **state) {
    struct fixture *f = *state;
    bool fired = true;
    struct seal_keys *both = keys_of(f, KEY_B KEY_A);
    struct seal_keys *first = keys_of(f, KEY_A);
    for (long n = 1; fired; n++) {
        bool whole;
        nth_remove_dir(f->dir);
        assert_int_equal(mkdir(f->dir, 0700), 0);
        assert_int_equal(keycheck_note(f->dir, first, true, f->why, sizeof f->why), OK);
        f->why[0] = 0;
        nth_arm(NTH_DISK, n, EIO, false);
        enum err err = keycheck_note(f->dir, both, false, f->why, sizeof f->why);
        fired = nth_disarm();
        assert_true(!err || (fired && f->why[0]));
        assert_int_equal(keycheck_test(f->dir, both, &whole, f->why, sizeof f->why), OK);
        if (!err) {
            assert_false(whole);
            assert_int_not_equal(keycheck_test(f->dir, first, &whole, f->why, sizeof f->why), OK);
        }
        nth_arm(NTH_DISK, n, EIO, false);
        err = keycheck_note_alone(f->dir, first, f->why, sizeof f->why);
        fired |= nth_disarm();
        if (!err)
            assert_int_equal(keycheck_test(f->dir, first, &whole, f->why, sizeof f->why), OK);
        nth_arm(NTH_DISK, n, EIO, false);
        err = keycheck_test(f->dir, both, &whole, f->why, sizeof f->why);
        assert_true(!err || nth.fired);
        fired |= nth_disarm();
    }
    seal_keys_close(first);
    seal_keys_close(both);
}

static void test_what_a_directory_knows_of_its_keys_is_refused_where_it_is_damaged(void **state) {
    struct fixture *f = *state;
    char path[100], text[4096];
    bool whole;
    struct seal_keys *keys = keys_of(f, KEY_A);
    assert_int_equal(keycheck_note(f->dir, keys, true, f->why, sizeof f->why), OK);
    snprintf(path, sizeof path, "%s/encryption", f->dir);
    int fd = open(path, O_RDWR);
    ssize_t len = read(fd, text, sizeof text);
    assert_true(len > 100);
    for (ssize_t at = 0; at < len; at++) {
        char other = text[at] == 'g' ? 'h' : 'g';
        assert_int_equal(pwrite(fd, &other, 1, at), 1);
        assert_int_not_equal(keycheck_test(f->dir, keys, &whole, f->why, sizeof f->why), OK);
        assert_int_equal(pwrite(fd, text + at, 1, at), 1);
    }
    for (ssize_t end = len - 1; end >= 0; end -= 7) {
        assert_int_equal(ftruncate(fd, end), 0);
        assert_int_equal(keycheck_test(f->dir, keys, &whole, f->why, sizeof f->why), ERR_CORRUPT);
    }
    close(fd);
    seal_keys_close(keys);
}

/* ---- the directory ---- */

struct store {
    struct datadir_store store;
    unsigned replayed;
};

static enum err replay(void *context, uint64_t seq, struct slice record) {
    (void)seq, (void)record;
    ((struct store *)context)->replayed++;
    return OK;
}

static enum err started(void *context) {
    (void)context;
    return OK;
}

static void ignore(void *context) {
    (void)context;
}

static void published(void *context, uint64_t last_seq) {
    (void)context, (void)last_seq;
}

static enum err open_dir(struct fixture *f, struct store *store, struct seal_keys *keys,
                         struct datadir **ret_datadir) {
    struct datadir_options options = {.dir = f->dir, .segment_bytes = 8192, .keys = keys};
    *store = (struct store){.store = {.context = store,
                                      .kinds = "a",
                                      .replay = replay,
                                      .started = started,
                                      .closing = ignore,
                                      .before = ignore,
                                      .publish = published}};
    f->why[0] = 0;
    *ret_datadir = NULL;
    enum err err = datadir_open(&options, ret_datadir, f->why, sizeof f->why);
    if (err)
        return err;
    datadir_add(*ret_datadir, &store->store);
    return datadir_start(*ret_datadir, f->why, sizeof f->why);
}

static void append(struct datadir *datadir, unsigned count) {
    struct journal *journal = datadir_journal(datadir);
    struct journal_block block = {0};
    for (unsigned i = 0; i < count; i++) {
        journal_block_begin(journal, &block);
        char *to = journal_block_add(&block, 3000);
        assert_non_null(to);
        memset(to, 'a', 3000);
        assert_int_equal(journal_reserve(journal, 3100), OK);
        assert_int_equal(journal_append(journal, &block), OK);
        assert_int_equal(journal_sync(journal), OK);
    }
    buf_done(&block.bytes);
}

#define RECORDS 7U /* in some segments */

static void fill_dir(struct fixture *f, struct seal_keys *keys) {
    struct datadir *datadir;
    struct store store;
    assert_int_equal(open_dir(f, &store, keys, &datadir), OK);
    datadir_stop(datadir);
    append(datadir, RECORDS);
    datadir_close(datadir);
    nth_copy_dir(f->dir, f->copy);
}

static void open_each(struct fixture *f, struct seal_keys *keys, unsigned kind) {
    bool fired = true;
    for (long n = 1; fired; n++) {
        struct datadir *datadir;
        struct store store;
        nth_copy_dir(f->copy, f->dir);
        nth_arm(kind, n, EIO, false);
        enum err err = open_dir(f, &store, keys, &datadir);
        fired = nth_disarm();
        if (err && (!fired || !f->why[0]))
            fail_msg("%ld: %s", n, err_text(err));
        if (!err && store.replayed != RECORDS)
            fail_msg("%ld: %u records were replayed", n, store.replayed);
        datadir_close(datadir);
        if (open_dir(f, &store, keys, &datadir))
            fail_msg("%ld: %s", n, f->why);
        assert_int_equal(store.replayed, RECORDS);
        datadir_close(datadir);
    }
}

static void test_a_directory_that_cannot_be_read_is_not_taken_for_empty(void **state) {
    struct fixture *f = *state;
    fill_dir(f, NULL);
    open_each(f, NULL, NTH_DISK);
    open_each(f, NULL, NTH_MEMORY | NTH_THREAD);
}

static void test_keys_that_a_directory_gets_are_known_before_they_seal(void **state) {
    struct fixture *f = *state;
    struct seal_keys *keys = keys_of(f, KEY_A);
    fill_dir(f, NULL);
    open_each(f, keys, NTH_DISK);
    seal_keys_close(keys);
}

static void test_a_journal_is_dropped_whole_or_it_is_said(void **state) {
    struct fixture *f = *state;
    fill_dir(f, NULL);
    bool fired = true;
    for (long n = 1; fired; n++) {
        struct datadir *datadir;
        struct store store;
        nth_copy_dir(f->copy, f->dir);
        assert_int_equal(open_dir(f, &store, NULL, &datadir), OK);
        datadir_stop(datadir);
        f->why[0] = 0;
        nth_arm(NTH_DISK, n, EIO, false);
        enum err err = datadir_drop_journal(datadir, f->why, sizeof f->why);
        fired = nth_disarm();
        datadir_close(datadir);
        assert_true(!err || (fired && f->why[0]));
        if (!err) {
            assert_int_equal(open_dir(f, &store, NULL, &datadir), OK);
            assert_int_equal(store.replayed, 0);
            datadir_close(datadir);
        }
    }
}

static void test_a_path_too_long_is_refused(void **state) {
    struct fixture *f = *state;
    static char path[5000];
    struct datadir *datadir;
    struct datadir_options options = {.dir = path};
    memset(path, 'd', sizeof path - 1);
    assert_int_equal(datadir_open(&options, &datadir, f->why, sizeof f->why), ERR_SYNTAX);
    assert_non_null(strstr(f->why, "too long"));
}

/* The disk fails below a journal that is written to: it never claims what is not there. */
static void test_a_journal_whose_disk_fails_claims_nothing(void **state) {
    struct fixture *f = *state;
    fill_dir(f, NULL);
    bool fired = true;
    for (long n = 1; fired; n++) {
        struct datadir *datadir;
        struct store store;
        unsigned good = 0;
        nth_copy_dir(f->copy, f->dir);
        assert_int_equal(open_dir(f, &store, NULL, &datadir), OK);
        datadir_stop(datadir);
        struct journal *journal = datadir_journal(datadir);
        struct journal_block block = {0};
        nth_arm(NTH_DISK | NTH_MEMORY, n, n % 2 ? EIO : ENOSPC, n % 3 == 0);
        for (bool goes_on = true; goes_on && good < 6;) {
            journal_block_begin(journal, &block);
            char *to = journal_block_add(&block, 3000);
            goes_on = to && !journal_reserve(journal, 3100);
            if (goes_on) {
                memset(to, 'a', 3000);
                goes_on = !journal_append(journal, &block) && !journal_sync(journal);
            }
            good += goes_on;
        }
        enum err err = good == 6 ? journal_skip(journal, 1000, SLICE("a")) : OK;
        (void)err;
        buf_done(&block.bytes);
        datadir_close(datadir);
        fired = nth_disarm();
        if (open_dir(f, &store, NULL, &datadir))
            fail_msg("%ld: %s", n, f->why);
        assert_in_range(store.replayed, RECORDS + good, RECORDS + good + 2);
        datadir_close(datadir);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_rewrite_that_fails_leaves_one_or_the_other_whole),
        CASE(test_a_count_that_fails_says_so),
        CASE(test_keys_that_cannot_be_read_are_none_and_it_says_so),
        CASE(test_what_is_no_file_of_keys_is_refused),
        CASE(test_a_key_is_noted_whole_or_not_at_all),
        CASE(test_what_a_directory_knows_of_its_keys_is_refused_where_it_is_damaged),
        CASE(test_a_directory_that_cannot_be_read_is_not_taken_for_empty),
        CASE(test_keys_that_a_directory_gets_are_known_before_they_seal),
        CASE(test_a_journal_is_dropped_whole_or_it_is_said),
        CASE(test_a_path_too_long_is_refused),
        CASE(test_a_journal_whose_disk_fails_claims_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
