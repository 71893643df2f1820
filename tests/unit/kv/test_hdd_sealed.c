/* SPDX-License-Identifier: MIT */
/* The durable store in a directory that is encrypted. */
#include "kv_case.h"

#include <unistd.h>

#include "base/log.h"
#include "kv/hdd.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n"
#define SECRET "nobody may read this"
#define FAR_MS 3000000000000 /* what has expired by the real clock is swept */

struct fixture {
    struct kv_case c; /* first */
    struct datadir *datadir;
    struct seal_keys *keys;
    char path[100];
    char why[600];
    uint64_t resealed;
};

static struct seal_keys *keys_of(struct fixture *f, const char *text) {
    struct seal_keys *keys;
    FILE *file = fopen(f->path, "w");
    fputs(text, file);
    fclose(file);
    if (seal_keys_open(f->path, &keys, f->why, sizeof f->why))
        fail_msg("%s", f->why);
    return keys;
}

static void open_dir(struct fixture *f, const char *keys) {
    f->keys = keys ? keys_of(f, keys) : NULL;
    struct datadir_options dir = {.dir = f->c.dir, .keys = f->keys};
    if (datadir_open(&dir, &f->datadir, f->why, sizeof f->why))
        fail_msg("%s", f->why);
}

static void open_with(struct fixture *f, const char *keys, unsigned shards, uint64_t cache_bytes) {
    open_dir(f, keys);
    struct kv_options options = {
        .datadir = f->datadir, .hdd_shards = shards, .read_cache_bytes = cache_bytes};
    if (kv_open(&options, &f->c.kv, f->why, sizeof f->why) ||
        datadir_start(f->datadir, f->why, sizeof f->why))
        fail_msg("%s", f->why);
}

static void close_dir(struct fixture *f) {
    datadir_close(f->datadir);
    seal_keys_close(f->keys);
}

static void close_store(struct fixture *f) {
    datadir_stop(f->datadir);
    kv_close(f->c.kv);
    close_dir(f);
}

/* Everything is in LMDB, and read from there. */
static void open_again(struct fixture *f, const char *keys) {
    close_store(f);
    open_with(f, keys, 0, 0);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    log_set_level(LOG_OFF);
    f->c.storage = KV_HDD;
    arena_init(&f->c.arena, 1 << 26);
    snprintf(f->c.dir, sizeof f->c.dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->c.dir));
    snprintf(f->path, sizeof f->path, "%s.keys", f->c.dir);
    open_with(f, KEY_A, 1, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[200];
    close_store(f);
    arena_done(&f->c.arena);
    snprintf(command, sizeof command, "rm -rf %s %s", f->c.dir, f->path);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* Does any file of the directory hold the text? */
static bool is_on_disk(const struct fixture *f, const char *text) {
    char command[300];
    snprintf(command, sizeof command, "grep -rqaF '%s' %s", text, f->c.dir);
    return system(command) == 0;
}

static void test_no_value_is_on_disk_in_plain_but_keys_are(void **state) {
    struct fixture *f = *state;
    set_key(&f->c, "readable-name", SECRET);
    assert_value(&f->c, "readable-name", SECRET);
    assert_false(is_on_disk(f, SECRET)); /* of the journal */
    open_again(f, KEY_A);
    assert_value(&f->c, "readable-name", SECRET);
    assert_false(is_on_disk(f, SECRET)); /* and LMDB */
    assert_true(is_on_disk(f, "readable-name"));
}

static void check_all(struct fixture *f) {
    struct kv_case *c = &f->c;
    struct kv_entry entry;
    assert_value(c, "text", SECRET);
    assert_value(c, "count", "42");
    assert_value(c, "empty", "");
    assert_int_equal(get_at(c, "typed", NOW, &entry), OK);
    assert_true(slice_equal(entry.content_type, SLICE("text/x")));
    assert_int_equal(get_at(c, "touched", NOW, &entry), OK);
    assert_int_equal(entry.expires_at_ms, NOW + FAR_MS);
    assert_value(c, "touched", SECRET);
    assert_absent_at(c, "deleted", NOW);
    assert_string_equal(list_at(c, "", "", 10, NOW), "count,empty,text,touched,typed");
    arena_done(&c->arena);
}

static void test_every_change_and_read_is_as_without_encryption(void **state) {
    struct fixture *f = *state;
    struct kv_case *c = &f->c;
    set_key(c, "text", SECRET);
    set_key(c, "count", "41");
    set_key(c, "empty", "");
    set_key(c, "touched", SECRET);
    set_key(c, "deleted", SECRET);
    struct kv_op typed = set_op(c, "typed", "x");
    typed.content_type = SLICE("text/x");
    assert_int_equal(submit_at(c, &typed, NOW), OK);
    struct kv_op add = {.action = KV_INCREMENT, .ref = ref_of(c, "count"), .by = 1};
    assert_int_equal(submit_at(c, &add, NOW), OK);
    assert_int_equal(add.number, 42);
    struct kv_op touch = {.action = KV_TOUCH, .ref = ref_of(c, "touched"), .ttl_ms = FAR_MS};
    assert_int_equal(submit_at(c, &touch, NOW), OK);
    assert_true(delete_key(c, "deleted"));
    check_all(f);
    open_again(f, KEY_A);
    check_all(f);
    close_store(f);
    open_with(f, KEY_A, 3, 1 << 20); /* other shards, and a cache */
    check_all(f);
    check_all(f);
}

static void test_an_etag_is_of_the_plain_value(void **state) {
    struct fixture *f = *state;
    struct kv_case *c = &f->c;
    uint8_t etag[HASH_MD5_BYTES];
    uint8_t etags[1][HASH_MD5_BYTES];
    struct kv_entry entry;
    hash_md5(slice_of_cstr(SECRET), etag);
    set_key(c, "k", SECRET);
    for (unsigned round = 0; round < 2; round++) {
        struct kv_ref ref = ref_of(c, "k");
        assert_int_equal(kv_get(c->kv, &ref, NOW, KV_WANT_ETAG, &c->arena, &entry), OK);
        assert_memory_equal(entry.etag, etag, sizeof etag);
        assert_null(entry.value.ptr);
        struct kv_op touch = {.action = KV_TOUCH,
                              .ref = ref_of(c, "k"),
                              .ttl_ms = FAR_MS,
                              .condition = KV_IF_ETAG,
                              .etags = (const uint8_t(*)[HASH_MD5_BYTES])etags,
                              .etag_count = 1};
        memcpy(etags[0], etag, sizeof etag);
        assert_int_equal(submit_at(c, &touch, NOW), OK);
        etags[0][0] ^= 1;
        assert_int_equal(submit_at(c, &touch, NOW), ERR_PRECONDITION_FAILED);
        assert_value(c, "k", SECRET);
        open_again(f, KEY_A);
    }
}

/* LMDB's record of one key, changed. */
struct raw {
    struct place place;
    char bytes[2000];
    size_t len;
};

static struct env *open_env(struct fixture *f) {
    char dir[100];
    struct env *env;
    snprintf(dir, sizeof dir, "%s/shards-1/0", f->c.dir);
    assert_int_equal(env_open(dir, &env, f->why, sizeof f->why), OK);
    return env;
}

static void read_raw(struct env *env, const char *key, struct raw *raw, struct stored *stored) {
    struct env_read *read;
    struct slice bytes;
    place_make(0, slice_of_cstr(key), &raw->place);
    assert_int_equal(env_read_begin(env, &read), OK);
    assert_int_equal(env_read_get(read, ENV_ENTRIES, place_slice(&raw->place), &bytes), OK);
    raw->len = bytes.len;
    memcpy(raw->bytes, bytes.ptr, bytes.len);
    env_read_end(read);
    assert_int_equal(
        stored_read(place_slice(&raw->place), slice_make(raw->bytes, raw->len), stored), OK);
}

/* With a checksum that is right. */
static void write_raw(struct env *env, const struct stored *stored) {
    struct env_write *write;
    assert_int_equal(env_write_begin(env, 4096, &write), OK);
    assert_int_equal(hdd_pack_put(write, stored), OK);
    assert_int_equal(env_write_commit(write), OK);
}

static void test_values_that_were_swapped_in_lmdb_are_corrupt(void **state) {
    struct fixture *f = *state;
    struct raw raw_a, raw_b;
    struct stored a, b;
    struct kv_entry entry;
    set_key(&f->c, "a", "value of a");
    set_key(&f->c, "b", "value of b");
    close_store(f);
    struct env *env = open_env(f);
    read_raw(env, "a", &raw_a, &a);
    read_raw(env, "b", &raw_b, &b);
    struct slice value = a.value;
    a.value = b.value;
    b.value = value;
    write_raw(env, &a);
    write_raw(env, &b);
    env_close(env);
    open_with(f, KEY_A, 1, 1 << 20);
    for (unsigned round = 0; round < 2; round++) { /* the second from the cache */
        assert_int_equal(get_at(&f->c, "a", NOW, &entry), ERR_CORRUPT);
        assert_int_equal(get_at(&f->c, "b", NOW, &entry), ERR_CORRUPT);
    }
    struct kv_op add = {.action = KV_INCREMENT, .ref = ref_of(&f->c, "a"), .by = 1};
    assert_int_equal(submit_at(&f->c, &add, NOW), ERR_CORRUPT);
    set_key(&f->c, "a", "anew");
    assert_value(&f->c, "a", "anew");
}

static void test_a_value_under_another_type_or_called_plain_is_not_given_as_it_was(void **state) {
    struct fixture *f = *state;
    struct raw raw;
    struct stored stored;
    struct kv_entry entry;
    set_key(&f->c, "a", SECRET);
    close_store(f);
    struct env *env = open_env(f);
    read_raw(env, "a", &raw, &stored);
    assert_true(stored.sealed);
    stored.type = SLICE("text/html");
    write_raw(env, &stored);
    env_close(env);
    open_with(f, KEY_A, 1, 0);
    assert_int_equal(get_at(&f->c, "a", NOW, &entry), ERR_CORRUPT);
}

static void plant(struct fixture *f, const char *key, const char *value) {
    struct raw raw;
    struct stored stored;
    close_store(f);
    struct env *env = open_env(f);
    read_raw(env, key, &raw, &stored);
    stored.value = slice_of_cstr(value);
    stored.sealed = false;
    write_raw(env, &stored);
    env_close(env);
}

static void test_a_plain_value_that_was_planted_is_corrupt_where_all_were_sealed(void **state) {
    struct fixture *f = *state;
    struct kv_entry entry;
    set_key(&f->c, "a", SECRET);
    plant(f, "a", "planted");
    open_with(f, KEY_B KEY_A, 1, 0); /* a new key changes nothing about it */
    assert_int_equal(get_at(&f->c, "a", NOW, &entry), ERR_CORRUPT);
    open_again(f, KEY_B KEY_A);
    assert_int_equal(get_at(&f->c, "a", NOW, &entry), ERR_CORRUPT);
}

static void test_a_directory_may_hold_plain_and_sealed_values(void **state) {
    struct fixture *f = *state;
    char dir[100];
    close_store(f);
    snprintf(dir, sizeof dir, "rm -rf %s/*", f->c.dir);
    assert_int_equal(system(dir), 0);
    open_with(f, NULL, 1, 0);
    set_key(&f->c, "old", SECRET);
    open_again(f, KEY_A);
    set_key(&f->c, "new", "sealed");
    assert_value(&f->c, "old", SECRET);
    open_again(f, KEY_A);
    assert_value(&f->c, "old", SECRET);
    assert_value(&f->c, "new", "sealed");
    struct kv_op touch = {.action = KV_TOUCH, .ref = ref_of(&f->c, "old"), .ttl_ms = FAR_MS};
    assert_int_equal(submit_at(&f->c, &touch, NOW), OK);
    assert_value(&f->c, "old", SECRET);
    open_again(f, KEY_A);
    assert_value(&f->c, "old", SECRET);
    assert_true(is_on_disk(f, SECRET));
}

static void count(void *context, uint64_t more) {
    ((struct fixture *)context)->resealed += more;
}

static enum err reseal(struct fixture *f, const char *keys) {
    struct kv_reseal with = {count, f};
    close_store(f);
    open_with(f, keys, 0, 0);
    datadir_stop(f->datadir);
    kv_close(f->c.kv);
    assert_true(datadir_is_applied(f->datadir));
    f->resealed = 0;
    enum err err = kv_reseal(f->datadir, &with, f->why, sizeof f->why);
    if (!err)
        err = datadir_drop_journal(f->datadir, f->why, sizeof f->why);
    if (!err)
        err = datadir_forget_keys(f->datadir, f->why, sizeof f->why);
    close_dir(f);
    return err;
}

static void fill(struct fixture *f, unsigned count_of) {
    char key[700];
    for (unsigned i = 0; i < count_of; i++) {
        memset(key, 'k', sizeof key); /* some past what stands whole in LMDB */
        snprintf(key + (i % 7 == 0 ? 600 : 0), 20, "%u", i);
        assert_int_equal(set_ttl(&f->c, key, i % 2 ? SECRET : "another", i % 3 ? 0 : FAR_MS), OK);
    }
}

static void check_filled(struct fixture *f, unsigned count_of) {
    char key[700];
    assert_int_equal(count_at(&f->c, NOW), count_of + 1);
    assert_value(&f->c, "once", "no longer that");
    for (unsigned i = 0; i < count_of; i++) {
        memset(key, 'k', sizeof key);
        snprintf(key + (i % 7 == 0 ? 600 : 0), 20, "%u", i);
        assert_value(&f->c, key, i % 2 ? SECRET : "another");
    }
    arena_done(&f->c.arena);
}

static void test_rewriting_leaves_nothing_in_plain_or_under_another_key(void **state) {
    struct fixture *f = *state;
    char command[100];
    close_store(f);
    snprintf(command, sizeof command, "rm -rf %s/*", f->c.dir);
    assert_int_equal(system(command), 0);
    open_with(f, NULL, 2, 0);
    fill(f, 100);
    set_key(&f->c, "once", SECRET);
    open_again(f, NULL);
    set_key(&f->c, "once", "no longer that"); /* a free page of LMDB has it, and the journal */
    uint64_t revision = kv_revision(f->c.kv);
    assert_int_equal(reseal(f, KEY_A), OK);
    assert_int_equal(f->resealed, 101);
    assert_false(is_on_disk(f, SECRET));
    open_with(f, KEY_A, 0, 0);
    assert_true(kv_revision(f->c.kv) >= revision);
    check_filled(f, 100);
    set_key(&f->c, "fresh", SECRET);
    assert_int_equal(reseal(f, KEY_B KEY_A), OK);
    assert_false(is_on_disk(f, SECRET));
    open_with(f, KEY_B, 1, 0);
    assert_value(&f->c, "fresh", SECRET);
    plant(f, "fresh", "planted");
    open_with(f, KEY_B, 1, 0);
    struct kv_entry entry;
    assert_int_equal(get_at(&f->c, "fresh", NOW, &entry), ERR_CORRUPT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_no_value_is_on_disk_in_plain_but_keys_are),
        CASE(test_every_change_and_read_is_as_without_encryption),
        CASE(test_an_etag_is_of_the_plain_value),
        CASE(test_values_that_were_swapped_in_lmdb_are_corrupt),
        CASE(test_a_value_under_another_type_or_called_plain_is_not_given_as_it_was),
        CASE(test_a_plain_value_that_was_planted_is_corrupt_where_all_were_sealed),
        CASE(test_a_directory_may_hold_plain_and_sealed_values),
        CASE(test_rewriting_leaves_nothing_in_plain_or_under_another_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
