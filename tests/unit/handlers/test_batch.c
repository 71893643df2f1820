/* SPDX-License-Identifier: MIT */
/* Batches over a real data directory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "handlers/bind.h"
#include "handlers/render.h"
#include "journal/datadir.h"

struct fixture {
    struct core core;
    struct datadir *datadir;
    struct arena arena;
    struct call call;
    struct auth_grant grant;
    struct args_op ops[8];
    unsigned op_count;
    char dir[64];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken;
};

static void on_wake(struct call *call) {
    struct fixture *f = call->context;
    pthread_mutex_lock(&f->lock);
    f->woken = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void open_stores(struct fixture *f) {
    char why[300] = "";
    struct datadir_options dir = {.dir = f->dir};
    if (datadir_open(&dir, &f->datadir, why, sizeof why))
        fail_msg("%s", why);
    struct kv_options kv = {.datadir = f->datadir};
    struct broker_options broker = {.datadir = f->datadir};
    if (kv_open(&kv, &f->core.kv, why, sizeof why) ||
        broker_open(&broker, &f->core.broker, why, sizeof why) ||
        datadir_start(f->datadir, why, sizeof why))
        fail_msg("%s", why);
    f->core.committer = datadir_committer(f->datadir);
}

static void close_stores(struct fixture *f) {
    broker_drain(f->core.broker);
    datadir_stop(f->datadir);
    broker_close(f->core.broker);
    kv_close(f->core.kv);
    datadir_close(f->datadir);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    op_init();
    f->core.payload_limit_bytes = 1 << 20;
    f->grant = auth_grant_everything;
    arena_init(&f->arena, 1 << 24);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    open_stores(f);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[100];
    close_stores(f);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    arena_done(&f->arena);
    free(f);
    return 0;
}

static struct call *begin(struct fixture *f, const char *op_name) {
    struct call *call = &f->call;
    call_init(call, &f->core, &f->grant, &f->arena, clock_wall_ms());
    call_set_op(call, op_find_name(slice_of_cstr(op_name)));
    call->wake = on_wake;
    call->context = f;
    return call;
}

static enum err finish(struct fixture *f) {
    struct call *call = &f->call;
    f->woken = false;
    if (call_run(call) != ERR_PENDING)
        return call->err;
    pthread_mutex_lock(&f->lock);
    while (!f->woken)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
    return call->err;
}

static struct args_op *add(struct fixture *f, enum args_op_kind kind, const char *key) {
    struct args_op *op = &f->ops[f->op_count++];
    *op = (struct args_op){.kind = kind, .key = slice_of_cstr(key), .by = 1};
    return op;
}

static void add_set(struct fixture *f, const char *key, const char *value) {
    add(f, BATCH_SET, key)->value = slice_of_cstr(value);
}

static struct args_op *add_publish(struct fixture *f, const char *router, const char *key) {
    struct args_op *op = add(f, BATCH_PUBLISH, "");
    op->router = slice_of_cstr(router);
    op->message =
        (struct args_message){.key = slice_of_cstr(key), .payload = SLICE("p"), .id = SLICE("i")};
    return op;
}

static enum err run_batch(struct fixture *f) {
    struct call *call = begin(f, "Storage.Batch");
    call->args.ops = f->ops;
    call->args.op_count = f->op_count;
    f->op_count = 0;
    return finish(f);
}

static void answered(struct fixture *f, const char *results) {
    assert_int_equal(run_batch(f), OK);
    struct slice text = f->call.reply.text;
    if (!slice_equal(text, slice_of_cstr(results)))
        fail_msg("expected\n%s\ngot\n%.*s", results, (int)text.len, text.ptr);
}

static void expect_failure(struct fixture *f, enum err err, unsigned index) {
    assert_int_equal(run_batch(f), err);
    assert_true(f->call.reply.indexed);
    assert_int_equal(f->call.reply.index, index);
}

static void stands(struct fixture *f, const char *key, const char *value) {
    struct kv_ref ref = {KV_HDD, f->core.default_workspace, SLICE("default"), slice_of_cstr(key)};
    struct kv_entry entry;
    enum err err = kv_get(f->core.kv, &ref, clock_wall_ms(), KV_WANT_VALUE, &f->arena, &entry);
    assert_int_equal(err, value ? OK : ERR_KEY_NOT_EXIST);
    if (value)
        assert_true(slice_equal(entry.value, slice_of_cstr(value)));
}

static void test_ops_are_carried_out_in_order_and_answered_each(void **state) {
    struct fixture *f = *state;
    add_set(f, "n", "5");
    add(f, BATCH_INCR, "n")->by = 37;
    add(f, BATCH_DELETE, "n");
    add(f, BATCH_DELETE, "n");
    add(f, BATCH_CHECK, "n")->condition = KV_IF_ABSENT;
    add(f, BATCH_INCR, "n");
    assert_int_equal(run_batch(f), OK);
    struct slice text = f->call.reply.text;
    struct slice end = SLICE("},42,true,false,true,1]}");
    assert_true(slice_starts_with(text, SLICE("{\"results\":[{\"revision\":")));
    assert_true(slice_equal(slice_make(text.ptr + text.len - end.len, end.len), end));
    stands(f, "n", "1");
}

static void test_a_failed_op_undoes_all_and_is_named(void **state) {
    struct fixture *f = *state;
    add_set(f, "a", "old");
    assert_int_equal(run_batch(f), OK);
    add_set(f, "a", "new");
    add(f, BATCH_DELETE, "b");
    add_set(f, "b", "new");
    add(f, BATCH_CHECK, "a")->condition = KV_IF_ABSENT;
    expect_failure(f, ERR_PRECONDITION_FAILED, 3);
    assert_string_equal(call_detail(&f->call), "ops[3]: the condition does not hold");
    stands(f, "a", "old");
    stands(f, "b", NULL);
    add_set(f, "a", "text");
    add(f, BATCH_INCR, "a");
    expect_failure(f, ERR_NOT_A_NUMBER, 1);
    stands(f, "a", "old");
}

static void test_conditions_see_what_stands_before_them(void **state) {
    struct fixture *f = *state;
    struct args_op *check;
    add_set(f, "a", "abc");
    check = add(f, BATCH_CHECK, "a");
    check->condition = KV_IF_ETAG;
    hash_md5(SLICE("abc"), check->etag);
    assert_int_equal(run_batch(f), OK);
    check = add(f, BATCH_CHECK, "a");
    check->condition = KV_IF_ETAG;
    hash_md5(SLICE("abd"), check->etag);
    expect_failure(f, ERR_PRECONDITION_FAILED, 0);
    check = add(f, BATCH_CHECK, "a");
    check->condition = KV_IF_REVISION;
    check->if_revision = 12345;
    expect_failure(f, ERR_PRECONDITION_FAILED, 0);
}

static void test_a_batch_survives_a_restart(void **state) {
    struct fixture *f = *state;
    add_set(f, "a", "1");
    add_set(f, "b", "2");
    assert_int_equal(run_batch(f), OK);
    add_set(f, "a", "3");
    add(f, BATCH_CHECK, "b")->condition = KV_IF_ABSENT;
    expect_failure(f, ERR_PRECONDITION_FAILED, 1);
    close_stores(f);
    open_stores(f);
    stands(f, "a", "1");
    stands(f, "b", "2");
}

static void test_a_message_that_cannot_be_published_undoes_the_keys(void **state) {
    struct fixture *f = *state;
    add_set(f, "a", "1");
    add_publish(f, "nowhere", "k");
    expect_failure(f, ERR_ROUTER_NOT_EXIST, 1);
    stands(f, "a", NULL);
}

static void test_an_ack_that_is_refused_undoes_the_keys(void **state) {
    struct fixture *f = *state;
    add_set(f, "a", "1");
    struct args_op *ack = add(f, BATCH_ACK, "");
    ack->queue = SLICE("nowhere");
    ack->receipt = SLICE("r");
    expect_failure(f, ERR_QUEUE_NOT_EXIST, 1);
    stands(f, "a", NULL);
}

static void make_queue(struct fixture *f, const char *name, enum kv_storage storage) {
    struct call *call = begin(f, "Broker.CreateQueue");
    call->args.queue = slice_of_cstr(name);
    call->args.storage = storage;
    call->args.given = 1U << (unsigned)bind_find_param(call->op, SLICE("type"));
    assert_int_equal(finish(f), OK);
}

/* Receives what there is: how many. */
static unsigned receive(struct fixture *f, const char *queue) {
    struct call *call = begin(f, "Broker.Receive");
    call->args.queue = slice_of_cstr(queue);
    call->args.max = 10;
    assert_int_equal(finish(f), OK);
    return call->broker.receive.count;
}

static struct slice receipt_of(struct fixture *f, unsigned index) {
    const char *receipt = f->call.broker.receive.deliveries[index].receipt;
    return arena_copy(&f->arena, slice_make(receipt, strnlen(receipt, BROKER_RECEIPT_BYTES)));
}

static void test_a_message_and_a_key_appear_together(void **state) {
    struct fixture *f = *state;
    make_queue(f, "q", KV_HDD);
    add(f, BATCH_INCR, "a");
    add_publish(f, "default", "q");
    add_publish(f, "default", "nobody");
    answered(f, "{\"results\":[1,{\"id\":\"i\",\"queues\":1},{\"id\":\"i\",\"queues\":0}]}");
    stands(f, "a", "1");
    assert_int_equal(receive(f, "q"), 1);
    struct slice receipt = receipt_of(f, 0);
    call_release(&f->call, true);
    add(f, BATCH_INCR, "a");
    struct args_op *ack = add(f, BATCH_ACK, "");
    ack->queue = SLICE("q");
    ack->receipt = receipt;
    answered(f, "{\"results\":[2,true]}");
    add(f, BATCH_INCR, "a");
    ack = add(f, BATCH_ACK, "");
    ack->queue = SLICE("q");
    ack->receipt = receipt;
    expect_failure(f, ERR_RECEIPT_INVALID, 1);
    stands(f, "a", "2");
}

static void test_a_message_is_taken_back_with_the_keys_behind_it(void **state) {
    struct fixture *f = *state;
    make_queue(f, "q", KV_HDD);
    add_publish(f, "default", "q");
    add_set(f, "a", "1");
    add_publish(f, "default", "q");
    add(f, BATCH_CHECK, "a")->condition = KV_IF_ABSENT;
    expect_failure(f, ERR_PRECONDITION_FAILED, 3);
    assert_int_equal(receive(f, "q"), 0);
    call_release(&f->call, true);
    stands(f, "a", NULL);
    close_stores(f);
    open_stores(f);
    assert_int_equal(receive(f, "q"), 0);
    call_release(&f->call, true);
}

static void test_an_ack_that_is_taken_back_leaves_the_lease(void **state) {
    struct fixture *f = *state;
    make_queue(f, "q", KV_HDD);
    add_publish(f, "default", "q");
    assert_int_equal(run_batch(f), OK);
    assert_int_equal(receive(f, "q"), 1);
    struct slice receipt = receipt_of(f, 0);
    call_release(&f->call, true);
    struct args_op *ack = add(f, BATCH_ACK, "");
    ack->queue = SLICE("q");
    ack->receipt = receipt;
    add(f, BATCH_CHECK, "a")->condition = KV_IF_PRESENT;
    expect_failure(f, ERR_PRECONDITION_FAILED, 1);
    ack = add(f, BATCH_ACK, "");
    ack->queue = SLICE("q");
    ack->receipt = receipt;
    answered(f, "{\"results\":[true]}");
}

static void test_a_batch_of_both_survives_a_restart(void **state) {
    struct fixture *f = *state;
    make_queue(f, "q", KV_HDD);
    add_set(f, "a", "1");
    add_publish(f, "default", "q");
    assert_int_equal(run_batch(f), OK);
    close_stores(f);
    open_stores(f);
    stands(f, "a", "1");
    assert_int_equal(receive(f, "q"), 1);
    call_release(&f->call, true);
}

static void test_a_queue_on_memory_gets_its_message_with_the_batch_or_not_at_all(void **state) {
    struct fixture *f = *state;
    make_queue(f, "m", KV_MEMORY);
    add_publish(f, "default", "m");
    add(f, BATCH_CHECK, "a")->condition = KV_IF_PRESENT;
    expect_failure(f, ERR_PRECONDITION_FAILED, 1);
    assert_int_equal(receive(f, "m"), 0);
    call_release(&f->call, true);
    add_publish(f, "default", "m");
    answered(f, "{\"results\":[{\"id\":\"i\",\"queues\":1}]}");
    assert_int_equal(receive(f, "m"), 1);
    call_release(&f->call, true);
}

static void test_every_op_wants_its_own_right(void **state) {
    struct fixture *f = *state;
    const struct auth_rule rule = {.scope = AUTH_KV_WRITE, .pattern_len = 7, .pattern = "default"};
    f->grant = (struct auth_grant){.signed_in = true,
                                   .has_scope = true,
                                   .expires_at_ms = INT64_MAX,
                                   .rule_count = 1,
                                   .rules = {rule}};
    add_set(f, "a", "1");
    assert_int_equal(run_batch(f), OK);
    add_set(f, "a", "2");
    add(f, BATCH_CHECK, "a")->condition = KV_IF_PRESENT;
    expect_failure(f, ERR_FORBIDDEN, 1);
    add_publish(f, "default", "k");
    expect_failure(f, ERR_FORBIDDEN, 0);
    add(f, BATCH_ACK, "")->queue = SLICE("q");
    expect_failure(f, ERR_FORBIDDEN, 0);
    stands(f, "a", "1");
    f->grant = auth_grant_nothing;
    add_set(f, "a", "3");
    assert_int_equal(run_batch(f), ERR_AUTH_REQUIRED);
}

static void test_a_batch_is_no_larger_than_a_payload(void **state) {
    struct fixture *f = *state;
    f->core.payload_limit_bytes = 10;
    add_set(f, "a", "12345");
    add_set(f, "b", "123456");
    expect_failure(f, ERR_VALUE_TOO_LARGE, 1);
    stands(f, "a", NULL);
}

static void test_a_batch_is_not_begun_where_the_caller_is_in_a_hurry(void **state) {
    struct fixture *f = *state;
    struct call *call = begin(f, "Storage.Batch");
    add_set(f, "a", "1");
    call->args.ops = f->ops;
    call->args.op_count = f->op_count;
    call->broker.at_once = true;
    assert_int_equal(call_run(call), ERR_WOULD_WAIT);
    stands(f, "a", NULL);
}

static void test_a_batch_of_nothing_is_answered(void **state) {
    struct fixture *f = *state;
    answered(f, "{\"results\":[]}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_ops_are_carried_out_in_order_and_answered_each),
        TEST(test_a_failed_op_undoes_all_and_is_named),
        TEST(test_conditions_see_what_stands_before_them),
        TEST(test_a_batch_survives_a_restart),
        TEST(test_a_message_that_cannot_be_published_undoes_the_keys),
        TEST(test_an_ack_that_is_refused_undoes_the_keys),
        TEST(test_a_message_and_a_key_appear_together),
        TEST(test_a_message_is_taken_back_with_the_keys_behind_it),
        TEST(test_an_ack_that_is_taken_back_leaves_the_lease),
        TEST(test_a_batch_of_both_survives_a_restart),
        TEST(test_a_queue_on_memory_gets_its_message_with_the_batch_or_not_at_all),
        TEST(test_every_op_wants_its_own_right),
        TEST(test_a_batch_is_no_larger_than_a_payload),
        TEST(test_a_batch_is_not_begun_where_the_caller_is_in_a_hurry),
        TEST(test_a_batch_of_nothing_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
