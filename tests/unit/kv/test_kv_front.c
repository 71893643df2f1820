/* SPDX-License-Identifier: MIT */
/* The front where one of its stores is not there, and where all of them are behind a network. */
#include "kv_case.h"

#include "kv/kv_snapshot.h"
#include "kv/remote.h"

static int setup(void **state) {
    struct kv_case *c = calloc(1, sizeof *c);
    arena_init(&c->arena, 1 << 20);
    *state = c;
    return 0;
}

static int teardown(void **state) {
    struct kv_case *c = *state;
    kv_close(c->kv);
    arena_done(&c->arena);
    free(c);
    return 0;
}

static void open_with(struct kv_case *c, const struct kv_remote *remote) {
    char why[300];
    struct kv_options options = {.remote = remote};
    assert_int_equal(kv_open(&options, &c->kv, why, sizeof why), OK);
}

static void test_without_hdd_its_calls_are_refused_and_those_of_memory_are_not(void **state) {
    struct kv_case *c = *state;
    struct kv_entry entry;
    struct slice key = SLICE("key");
    open_with(c, NULL);
    assert_false(kv_is_remote(c->kv));
    assert_true(kv_is_ready(c->kv));
    assert_int_equal(kv_revision(c->kv), 0);
    assert_int_equal(kv_newest_revision(c->kv, KV_HDD), 0);
    c->storage = KV_HDD;
    struct kv_op op = set_op(c, "key", "value");
    struct kv_ref ref = op.ref;
    struct kv_read read = {.storage = KV_HDD, .keys = &key, .key_count = 1, .arena = &c->arena};
    struct kv_list list = {.storage = KV_HDD, .limit = 1, .arena = &c->arena};
    struct kv_count count = {.storage = KV_HDD};
    assert_int_equal(submit_at(c, &op, NOW), ERR_UNAVAILABLE);
    assert_int_equal(get_at(c, "key", NOW, &entry), ERR_UNAVAILABLE);
    assert_int_equal(kv_read(c->kv, &read), ERR_UNAVAILABLE);
    assert_int_equal(kv_list_keys(c->kv, &list), ERR_UNAVAILABLE);
    assert_int_equal(kv_count_keys(c->kv, &count), ERR_UNAVAILABLE);
    assert_int_equal(kv_prefetch(c->kv, &ref), 0);
    assert_int_equal(kv_raise_revision(c->kv, KV_HDD, 7), ERR_UNAVAILABLE);
    assert_int_equal(kv_raise_revision(c->kv, KV_MEMORY, KV_REVISION_RAISE_MAX), ERR_SYNTAX);
    assert_int_equal(kv_raise_revision(c->kv, KV_MEMORY, 1000), OK);
    c->storage = KV_MEMORY;
    op = set_op(c, "key", "value");
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_true(op.revision > 1000);
}

static void test_a_read_without_room_in_its_arena_is_refused(void **state) {
    struct kv_case *c = *state;
    struct slice keys[2] = {SLICE("key"), SLICE("absent")};
    struct arena small;
    char value[3000];
    open_with(c, NULL);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    set_key(c, "key", value);
    struct kv_read read = {.workspace = {{1}},
                           .ns = SLICE("default"),
                           .keys = keys,
                           .key_count = 2,
                           .want = KV_WANT_ALL,
                           .now_ms = NOW,
                           .arena = &small};
    arena_init(&small, 10);
    assert_int_equal(kv_read(c->kv, &read), ERR_OUT_OF_MEMORY);
    arena_done(&small);
    char room[256]; /* the entries fit, their values do not */
    arena_init_with(&small, 0, room, sizeof room);
    assert_int_equal(kv_read(c->kv, &read), ERR_OUT_OF_MEMORY);
    arena_done(&small);
    read.arena = &c->arena;
    assert_int_equal(kv_read(c->kv, &read), OK);
    assert_int_equal(read.entries[0]->value.len, sizeof value - 1);
    assert_null(read.entries[1]);
}

/* Says which call came. */
struct far {
    unsigned reads, submits, lists, counts;
};

static enum err far_read(void *context, struct kv_read *read) {
    (void)read;
    ((struct far *)context)->reads++;
    return ERR_PENDING;
}

static enum err far_submit(void *context, struct kv_write *write) {
    ((struct far *)context)->submits++;
    return write->err = ERR_UNAVAILABLE;
}

static enum err far_list(void *context, struct kv_list *list) {
    (void)list;
    ((struct far *)context)->lists++;
    return ERR_PENDING;
}

static enum err far_count(void *context, struct kv_count *count) {
    (void)count;
    ((struct far *)context)->counts++;
    return ERR_PENDING;
}

static void far_stats(void *context, enum kv_storage storage, struct kv_stats *ret_stats) {
    (void)context;
    *ret_stats = (struct kv_stats){.keys = 40U + storage};
}

static bool far_is_ready(void *context) {
    return ((struct far *)context)->reads > 0;
}

static void test_behind_a_network_every_call_goes_there(void **state) {
    struct kv_case *c = *state;
    struct far far = {0};
    struct kv_remote remote = {&far,      far_read,  far_submit,  far_list,
                               far_count, far_stats, far_is_ready};
    struct kv_read read = {.storage = KV_HDD};
    struct kv_list list = {.storage = KV_HDD};
    struct kv_count count = {.storage = KV_MEMORY};
    struct kv_snapshot *snapshot;
    struct kv_stats stats;
    struct kv_entry entry;
    open_with(c, &remote);
    struct kv_op op = set_op(c, "key", "value");
    struct kv_ref ref = op.ref;
    assert_true(kv_is_remote(c->kv));
    assert_false(kv_is_ready(c->kv));
    assert_int_equal(kv_read(c->kv, &read), ERR_PENDING);
    assert_true(kv_is_ready(c->kv));
    assert_int_equal(submit_at(c, &op, NOW), ERR_UNAVAILABLE);
    assert_int_equal(kv_list_keys(c->kv, &list), ERR_PENDING);
    assert_int_equal(kv_count_keys(c->kv, &count), ERR_PENDING);
    assert_true(far.reads == 1 && far.submits == 1 && far.lists == 1 && far.counts == 1);
    kv_stats(c->kv, KV_HDD, &stats);
    assert_int_equal(stats.keys, 41);
    assert_int_equal(get_at(c, "key", NOW, &entry), ERR_INTERNAL);
    assert_int_equal(kv_raise_revision(c->kv, KV_HDD, 7), OK);
    assert_int_equal(kv_newest_revision(c->kv, KV_HDD), 0);
    assert_int_equal(kv_prefetch(c->kv, &ref), 0);
    assert_int_equal(kv_snapshot_new(c->kv, &snapshot), ERR_UNAVAILABLE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_without_hdd_its_calls_are_refused_and_those_of_memory_are_not),
        CASE(test_a_read_without_room_in_its_arena_is_refused),
        CASE(test_behind_a_network_every_call_goes_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
