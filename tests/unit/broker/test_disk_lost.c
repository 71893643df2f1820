/* SPDX-License-Identifier: MIT */
/* wrap: journal_append journal_sync */
/* The journal cannot go on: what is not safe is refused, nothing new is taken, and a new start has
 * all that was answered. And queues longer than one transaction of LMDB takes. */
#include "broker/snapshot.h"
#include "broker_case.h"

#define LONG 9000U /* more than a transaction takes */

static _Atomic bool append_fails, sync_fails;

enum err __real_journal_append(struct journal *journal, struct journal_block *block);
enum err __wrap_journal_append(struct journal *journal, struct journal_block *block);
enum err __real_journal_sync(struct journal *journal);
enum err __wrap_journal_sync(struct journal *journal);

enum err __wrap_journal_append(struct journal *journal, struct journal_block *block) {
    return atomic_load(&append_fails) ? ERR_UNAVAILABLE : __real_journal_append(journal, block);
}

enum err __wrap_journal_sync(struct journal *journal) {
    return atomic_load(&sync_fails) ? ERR_UNAVAILABLE : __real_journal_sync(journal);
}

static void fail_append(bool fail) {
    atomic_store(&append_fails, fail);
}

static void fail_sync(bool fail) {
    atomic_store(&sync_fails, fail);
}

/* ---- the journal is lost ---- */

static void check_lost(struct fixture *f, void (*lose)(bool lost)) {
    struct broker_queue_options options = options_of(BROKER_HDD);
    struct broker_receive receive, later;
    options.max_deliver = 2;
    options.dead_letter = SLICE("dead");
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_make_queue(f, "dead", options_of(BROKER_HDD)), OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(case_publish(f, "q", "answered"), OK);
    assert_int_equal(case_receive(f, "q", 2, &receive), OK);
    lose(true);
    struct broker_op ops[2] = {publish_op("default", "q", "refused"),
                               publish_op("default", "q", "refused")};
    assert_int_equal(case_submit(f, ops, 2), ERR_TIMEOUT); /* it may be there, or not */
    assert_int_equal(ops[1].err, ERR_TIMEOUT);
    assert_int_equal(case_settle(f, BROKER_ACK, "q", &receive.deliveries[0]).err, ERR_UNAVAILABLE);
    assert_false(broker_is_ready(f->broker));
    assert_int_equal(case_make_queue(f, "more", options), ERR_UNAVAILABLE);
    assert_int_equal(case_receive(f, "q", 2, &later), OK); /* what is there may be looked at */
    assert_int_equal(later.count, 2);
    broker_give_back(f->broker, &later);
    broker_receive_free(&later);
    struct broker_snapshot *snapshot;
    assert_int_equal(broker_snapshot_new(f->broker, &snapshot), OK);
    assert_int_equal(broker_snapshot_hold(snapshot, 1), OK);
    assert_int_equal(broker_snapshot_take(snapshot), ERR_UNAVAILABLE);
    broker_snapshot_end(snapshot);
    for (unsigned i = 0; i < 3; i++) { /* leases end; what is to move stays */
        case_advance(f, BROKER_LEASE_DEFAULT_MS);
        assert_int_equal(case_stats(f, "dead").ready, 0);
    }
    broker_receive_free(&receive);
    case_close(f);
    lose(false);
    case_open(f);
    assert_true(broker_is_ready(f->broker));
    struct broker_queue_stats stats = case_stats(f, "q");
    uint64_t count = stats.ready + stats.leased + stats.delayed;
    assert_true(count >= 3 && count <= 6); /* an ack or publish without an answer may be either */
    assert_int_equal(case_publish(f, "q", "again"), OK);
}

static void a_journal_that_cannot_be_written_refuses_all_and_loses_nothing(void **state) {
    check_lost(*state, fail_append);
}

static void a_sync_that_fails_refuses_all_and_loses_nothing(void **state) {
    check_lost(*state, fail_sync);
}

static void a_redrive_that_cannot_be_written_leaves_all_where_it_is(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_HDD);
    struct broker_receive receive;
    options.max_deliver = 1;
    options.dead_letter = SLICE("dead");
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_make_queue(f, "dead", options_of(BROKER_HDD)), OK);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(case_publish(f, "q", "letter"), OK);
    assert_int_equal(case_receive(f, "q", 5, &receive), OK);
    broker_receive_free(&receive);
    case_advance(f, BROKER_LEASE_DEFAULT_MS);
    assert_int_equal(case_stats(f, "dead").ready, 5);
    fail_append(true);
    struct broker_op op = case_run(f, queue_op(BROKER_REDRIVE, "dead"));
    assert_int_equal(op.err, ERR_TIMEOUT);
    assert_int_equal(op.count, 0);
    assert_int_equal(case_stats(f, "q").ready, 0);
    case_advance(f, 1000);
    assert_int_equal(case_stats(f, "dead").ready, 5);
    case_close(f);
    fail_append(false);
    case_open(f);
    assert_int_equal(case_run(f, queue_op(BROKER_REDRIVE, "dead")).count, 5);
    assert_int_equal(case_stats(f, "q").ready, 5);
}

/* ---- long queues ---- */

static void publish_long(struct fixture *f) {
    static struct broker_op ops[1000];
    static char ids[1000][12];
    for (unsigned from = 0; from < LONG; from += 1000) {
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(ids[i], sizeof ids[i], "%u", from + i);
            ops[i] = publish_op("default", "q", ids[i]);
            ops[i].id = slice_of_cstr(ids[i]);
        }
        assert_int_equal(case_submit(f, ops, 1000), OK);
    }
}

static void hold_long(struct fixture *f) {
    for (unsigned held = 0; held < LONG; held += 1000) {
        struct broker_receive receive;
        assert_int_equal(case_receive(f, "q", 1000, &receive), OK);
        assert_int_equal(receive.count, 1000);
        broker_receive_free(&receive);
    }
}

static uint64_t count_entries(const struct fixture *f, enum env_db db) {
    struct env_read *read;
    assert_int_equal(env_read_begin(f->broker->disk->env, &read), OK);
    uint64_t count = env_read_count(read, db);
    env_read_end(read);
    return count;
}

static void a_flush_keeps_all_that_is_leased_however_much_it_is(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_HDD)), OK);
    publish_long(f);
    hold_long(f);
    assert_int_equal(case_publish(f, "q", "flushed"), OK);
    assert_int_equal(case_run(f, queue_op(BROKER_FLUSH, "q")).count, 1);
    case_reopen(f);
    assert_int_equal(case_stats(f, "q").leased, LONG);
    assert_int_equal(case_stats(f, "q").ready, 0);
    case_advance(f, BROKER_LEASE_DEFAULT_MS);
    for (unsigned i = 0; case_stats(f, "q").leased && i < 100; i++)
        case_advance(f, 1);
    assert_int_equal(case_stats(f, "q").ready, LONG);
}

static void a_long_queue_that_is_deleted_leaves_nothing_on_disk(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_HDD);
    options.dedup_window_ms = 3600000;
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_make_queue(f, "r", options_of(BROKER_HDD)), OK);
    publish_long(f);
    case_reopen(f);
    assert_int_equal(count_entries(f, ENV_ENTRIES), LONG);
    assert_true(count_entries(f, ENV_SPACES) > LONG); /* ids that were seen */
    f->now_ms += 3600000;
    case_advance(f, 1);
    struct broker_op op = publish_op("default", "q", "0");
    op.id = SLICE("0");
    assert_int_equal(case_run(f, op).err, OK); /* forgotten: their time is over */
    assert_int_equal(case_stats(f, "q").ready, LONG + 1);
    for (unsigned i = 0; i < 2; i++) { /* a share with each transaction */
        case_reopen(f);
        assert_int_equal(case_publish(f, "q", "more"), OK);
    }
    case_reopen(f);
    assert_true(count_entries(f, ENV_SPACES) < 10);
    assert_int_equal(case_run(f, queue_op(BROKER_DELETE_QUEUE, "q")).err, OK);
    case_reopen(f);
    assert_true(count_entries(f, ENV_ENTRIES) < 1000); /* the rest with the next one */
    case_reopen(f);
    assert_int_equal(count_entries(f, ENV_ENTRIES), 0);
    assert_int_equal(count_entries(f, ENV_EXPIRY), 0);
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_stats(f, "q").ready, 0);
}

int main(void) {
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, set_up_disk, tear_down)
    const struct CMUnitTest tests[] = {
        ON_DISK(a_journal_that_cannot_be_written_refuses_all_and_loses_nothing),
        ON_DISK(a_sync_that_fails_refuses_all_and_loses_nothing),
        ON_DISK(a_redrive_that_cannot_be_written_leaves_all_where_it_is),
        ON_DISK(a_flush_keeps_all_that_is_leased_however_much_it_is),
        ON_DISK(a_long_queue_that_is_deleted_leaves_nothing_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
