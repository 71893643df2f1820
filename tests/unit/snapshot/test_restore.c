/* SPDX-License-Identifier: MIT */
/* What a cut told, put into other stores: it is the same there, and after their restart; revisions
 * are new ones. */
#include "cut_case.h"

/* ---- putting back ---- */

static enum err put_queue(void *context, const struct broker_snapshot_queue *queue) {
    struct broker_op op = {
        .action = BROKER_CREATE_QUEUE, .queue = queue->name, .options = &queue->options};
    assert_int_equal(do_broker(context, &op), OK);
    struct broker_op pause = {
        .action = BROKER_PAUSE, .queue = queue->name, .pause = queue->options.paused};
    assert_int_equal(do_broker(context, &pause), OK);
    return OK;
}

static enum err put_router(void *context, const struct broker_snapshot_router *router) {
    struct broker_op op = {
        .action = BROKER_CREATE_ROUTER, .router = router->name, .router_type = router->type};
    assert_int_equal(do_broker(context, &op), OK);
    return OK;
}

static enum err put_binding(void *context, const struct broker_snapshot_binding *binding) {
    struct broker_op op = {.action = BROKER_BIND,
                           .router = binding->router,
                           .queue = binding->queue,
                           .pattern = binding->pattern,
                           .pattern_given = true};
    assert_int_equal(do_broker(context, &op), OK);
    return OK;
}

static enum err put_message(void *context, const struct broker_snapshot_message *message) {
    struct broker_op op = {.action = BROKER_RESTORE, .restore = message};
    assert_int_equal(do_broker(context, &op), OK);
    assert_int_equal(op.queues, 1);
    return OK;
}

static void copy_queues(struct fixture *from, struct fixture *to) {
    struct cut cut = take(from);
    struct broker_snapshot_sink sink = {to, put_queue, put_router, put_binding, put_message};
    assert_int_equal(broker_snapshot_each(cut.queues, &sink), OK);
    end(&cut);
}

static void keep_queues_only(struct told *told) {
    unsigned kept = 0;
    for (unsigned i = 0; i < told->count; i++)
        if (strncmp(told->lines[i], "hdd ", 4) != 0 && strncmp(told->lines[i], "memory ", 7) != 0)
            memmove(told->lines[kept++], told->lines[i], LINE_BYTES);
    told->count = kept;
}

static void dead_letter_one(struct fixture *f) {
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.max_deliver = 1;
    options.dead_letter = SLICE("dead");
    make_queue(f, "fails", BROKER_HDD, &options);
    publish(f, "fails", "poison");
    assert_int_equal(receive(f, "fails", 1, false), 1);
    clock_move_for_test(60000);
    broker_tick(f->broker, clock_wall_ms());
    publish(f, "dead", "behind it"); /* the committer has moved it then */
}

static void test_messages_are_the_same_in_other_stores_and_after_their_restart(void **state) {
    struct fixture *f = *state;
    struct fixture other;
    fill_everything(f);
    dead_letter_one(f);
    struct told before = tell_all(f);
    keep_queues_only(&before);
    assert_int_equal(count_of(&before, "message dead "), 2);
    open_new(&other, true);
    copy_queues(f, &other);
    struct told after = tell_all(&other);
    assert_same(&before, &after);
    free(after.lines);
    char command[200];
    char copy[64] = "/tmp/hati-unit-XXXXXX";
    assert_non_null(mkdtemp(copy)); /* as a crash leaves it: the journal alone has the messages */
    snprintf(command, sizeof command, "cp -r %s/. %s", other.dir, copy);
    assert_int_equal(system(command), 0);
    struct fixture crashed = {0};
    snprintf(crashed.dir, sizeof crashed.dir, "%s", copy);
    open_all(&crashed);
    broker_tick(crashed.broker, clock_wall_ms());
    after = tell_all(&crashed);
    assert_int_equal(count_of(&after, "message on-hdd "), count_of(&before, "message on-hdd "));
    for (unsigned i = 0; i < before.count; i++)
        if (strncmp(before.lines[i], "message on-hdd ", 15) == 0 ||
            strncmp(before.lines[i], "message dead ", 13) == 0)
            assert_int_equal(count_of(&after, before.lines[i]), 1);
    free(after.lines);
    free(before.lines);
    close_and_remove(&crashed);
    close_and_remove(&other);
    clock_move_for_test(-60000);
}

static struct broker_snapshot_message message_for(const char *queue, const char *id,
                                                  int64_t published_ms) {
    return (struct broker_snapshot_message){.queue = slice_of_cstr(queue),
                                            .id = slice_of_cstr(id),
                                            .key = SLICE("k"),
                                            .payload = SLICE("p"),
                                            .published_ms = published_ms};
}

static void test_an_id_is_remembered_for_what_is_left_of_the_window(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.dedup_window_ms = 60000;
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i ? "on-hdd" : "on-memory";
        make_queue(f, name, i ? BROKER_HDD : BROKER_MEMORY, &options);
        struct broker_snapshot_message fresh = message_for(name, "fresh", clock_wall_ms() - 1000);
        struct broker_snapshot_message old = message_for(name, "old", clock_wall_ms() - 61000);
        put_message(f, &fresh);
        put_message(f, &old);
        put_message(f, &old); /* a snapshot may have one id twice */
        struct broker_op op = publish_op("default", name, "again");
        op.id = SLICE("fresh");
        assert_int_equal(do_broker(f, &op), OK);
        op = publish_op("default", name, "again");
        op.id = SLICE("old");
        assert_int_equal(do_broker(f, &op), OK);
        assert_int_equal(receive(f, name, 10, false), 4);
    }
}

static void test_an_id_is_free_again_when_its_window_is_over_whatever_came_before_it(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.dedup_window_ms = 60000;
    make_queue(f, "q", BROKER_MEMORY, &options);
    struct broker_op op = publish_op("default", "q", "here");
    op.id = SLICE("longer");
    assert_int_equal(do_broker(f, &op), OK);
    struct broker_snapshot_message shorter = message_for("q", "shorter", clock_wall_ms() - 50000);
    put_message(f, &shorter);
    clock_move_for_test(20000);
    op = publish_op("default", "q", "again");
    op.id = SLICE("shorter");
    assert_int_equal(do_broker(f, &op), OK);
    assert_int_equal(receive(f, "q", 10, false), 3);
    clock_move_for_test(-20000);
}

static void test_what_had_its_last_delivery_is_dead_lettered(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.max_deliver = 3;
    options.dead_letter = SLICE("dead");
    make_queue(f, "dead", BROKER_HDD, NULL);
    make_queue(f, "q", BROKER_HDD, &options);
    struct broker_snapshot_message last = message_for("q", "last", clock_wall_ms());
    last.attempt = 3;
    put_message(f, &last);
    struct broker_snapshot_message one = message_for("q", "one", clock_wall_ms());
    one.attempt = 2;
    put_message(f, &one);
    struct told told = tell_all(f);
    assert_int_equal(count_of(&told, "message q "), 1);
    assert_int_equal(count_of(&told, "message dead 00000 id last key k [] p prio 0 attempt 0 "
                                     "from q 1 3 "),
                     1);
    free(told.lines);
}

static void test_a_message_without_its_queue_is_refused(void **state) {
    struct fixture *f = *state;
    struct broker_snapshot_message message = message_for("nowhere", "id", 1);
    struct broker_op op = {.action = BROKER_RESTORE, .restore = &message};
    assert_int_equal(do_broker(f, &op), ERR_QUEUE_NOT_EXIST);
}

/* ---- revisions ---- */

static uint64_t revision_of(struct fixture *f, enum kv_storage storage, const char *key) {
    struct kv_op op = key_op(KV_SET, storage, key, "v");
    assert_int_equal(write_keys(f, &op, 1), OK);
    return op.revision;
}

static void open_copy(const struct fixture *f, struct fixture *copy) {
    char command[500];
    *copy = (struct fixture){.dir = "/tmp/hati-unit-XXXXXX"};
    assert_non_null(mkdtemp(copy->dir));
    /* where a segment was given away meanwhile it is no moment */
    snprintf(command, sizeof command,
             "until a=$(ls -d %s/journal/segment-*) && rm -rf %s && cp -r %s %s 2>/dev/null &&"
             " test \"$a\" = \"$(ls -d %s/journal/segment-*)\"; do :; done",
             f->dir, copy->dir, f->dir, copy->dir, f->dir);
    assert_int_equal(system(command), 0);
    open_all(copy);
}

static void test_revisions_go_on_from_where_they_are_raised_to(void **state) {
    struct fixture *f = *state;
    struct fixture copy;
    uint64_t far = 5000000000000000;
    make_queue(f, "q", BROKER_HDD, NULL);
    publish(f, "q", "before");
    assert_true(revision_of(f, KV_HDD, "before") < far);
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++) {
        assert_int_equal(kv_raise_revision(f->kv, (enum kv_storage)storage, far), OK);
        assert_int_equal(kv_raise_revision(f->kv, (enum kv_storage)storage, far - 1000), OK);
        uint64_t revision = revision_of(f, (enum kv_storage)storage, "after");
        assert_in_range(revision, far + 1, far + 10);
    }
    publish(f, "q", "after");
    open_copy(f, &copy); /* a crash */
    assert_true(revision_of(&copy, KV_HDD, "after") > far + 2);
    struct told told = tell_all(&copy);
    assert_int_equal(count_of(&told, "hdd ns/before"), 1);
    assert_int_equal(count_of(&told, "hdd ns/after"), 1);
    assert_int_equal(count_of(&told, "message q "), 2);
    free(told.lines);
    assert_int_equal(receive(&copy, "q", 2, true), 2);
    close_all(&copy); /* and an end in order */
    open_all(&copy);
    assert_int_equal(receive(&copy, "q", 2, true), 0);
    assert_true(revision_of(&copy, KV_HDD, "after") > far + 3);
    close_and_remove(&copy);
}

static void test_revisions_raised_right_before_a_crash_stay_raised(void **state) {
    struct fixture *f = *state;
    struct fixture copy;
    uint64_t far = 7000000000000000;
    set(f, KV_HDD, "a", "1");
    assert_int_equal(kv_raise_revision(f->kv, KV_HDD, far), OK);
    open_copy(f, &copy);
    assert_true(revision_of(&copy, KV_HDD, "a") > far);
    close_and_remove(&copy);
}

static void test_revisions_given_behind_the_cut_are_not_given_again(void **state) {
    struct fixture *f = *state;
    struct fixture other;
    open_new(&other, true);
    struct cut cut = take(f);
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++) {
        uint64_t revision = kv_snapshot_revision(cut.keys, (enum kv_storage)storage);
        assert_int_equal(kv_raise_revision(other.kv, (enum kv_storage)storage, revision), OK);
        uint64_t old = 0;
        for (unsigned i = 0; i < 100; i++)
            old = revision_of(f, (enum kv_storage)storage, "a");
        assert_true(revision_of(&other, (enum kv_storage)storage, "a") > old);
    }
    end(&cut);
    close_and_remove(&other);
}

static void test_a_revision_beyond_all_is_refused(void **state) {
    struct fixture *f = *state;
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++)
        assert_int_equal(kv_raise_revision(f->kv, (enum kv_storage)storage, UINT64_MAX),
                         ERR_SYNTAX);
    assert_true(revision_of(f, KV_HDD, "a") < 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_messages_are_the_same_in_other_stores_and_after_their_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_id_is_remembered_for_what_is_left_of_the_window,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_an_id_is_free_again_when_its_window_is_over_whatever_came_before_it, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_what_had_its_last_delivery_is_dead_lettered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_message_without_its_queue_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_revisions_go_on_from_where_they_are_raised_to, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_revisions_raised_right_before_a_crash_stay_raised,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_revisions_given_behind_the_cut_are_not_given_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_revision_beyond_all_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
