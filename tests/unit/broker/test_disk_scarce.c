/* SPDX-License-Identifier: MIT */
/* wrap: malloc calloc realloc */
/* wrap: env_read_begin env_read_get env_cursor_open env_cursor_seek env_cursor_next */
/* wrap: env_write_begin env_write_put env_write_room env_write_delete env_write_seek */
/* wrap: env_write_commit */
/* Queues on hdd while memory or the disk under LMDB fails for a moment: what was answered holds,
 * also where the store is given up and opened anew. */
#include <sched.h>

#include "day_case.h"
#include "rewind.h"
#include "scarce.h"

/* ---- calls of LMDB that fail ---- */

static _Atomic long env_calls, env_from, env_to;
static _Atomic int env_how;
static _Atomic bool env_reads, env_writes; /* which of them */

static void env_begin(long n, long count, enum err how, bool reads, bool writes) {
    atomic_store(&env_reads, reads);
    atomic_store(&env_writes, writes);
    atomic_store(&env_how, (int)how);
    atomic_store(&env_calls, 0);
    atomic_store(&env_to, n + count);
    atomic_store(&env_from, n);
}

/* False where that many were never made. */
static bool env_end(void) {
    long from = atomic_exchange(&env_from, 0);
    return atomic_load(&env_calls) >= from;
}

static void env_stop(void) {
    atomic_store(&env_to, 0);
}

static bool env_fails(bool write) {
    long from = atomic_load(&env_from);
    if (from == 0 || !atomic_load(write ? &env_writes : &env_reads))
        return false;
    long call = atomic_fetch_add(&env_calls, 1) + 1;
    return call >= from && call < atomic_load(&env_to);
}

#define ENV_CALL(write, name, parameters, arguments)                                               \
    enum err __real_##name parameters;                                                             \
    enum err __wrap_##name parameters;                                                             \
    enum err __wrap_##name parameters {                                                            \
        return env_fails(write) ? (enum err)atomic_load(&env_how) : __real_##name arguments;       \
    }

ENV_CALL(false, env_read_begin, (struct env * env, struct env_read **ret), (env, ret))
ENV_CALL(false, env_read_get,
         (struct env_read * read, enum env_db db, struct slice key, struct slice *ret),
         (read, db, key, ret))
ENV_CALL(false, env_cursor_open, (struct env_read * read, enum env_db db, struct env_cursor **ret),
         (read, db, ret))
ENV_CALL(false, env_cursor_seek,
         (struct env_cursor * cursor, struct slice key, struct slice *ret_key, struct slice *ret),
         (cursor, key, ret_key, ret))
ENV_CALL(false, env_cursor_next,
         (struct env_cursor * cursor, struct slice *ret_key, struct slice *ret),
         (cursor, ret_key, ret))
ENV_CALL(true, env_write_begin, (struct env * env, uint64_t more, struct env_write **ret),
         (env, more, ret))
ENV_CALL(true, env_write_put,
         (struct env_write * write, enum env_db db, struct slice key, struct slice value),
         (write, db, key, value))
ENV_CALL(true, env_write_room,
         (struct env_write * write, enum env_db db, struct slice key, size_t size, char **ret),
         (write, db, key, size, ret))
ENV_CALL(true, env_write_delete, (struct env_write * write, enum env_db db, struct slice key),
         (write, db, key))
ENV_CALL(true, env_write_seek,
         (struct env_write * write, enum env_db db, struct slice key, struct slice *ret_key,
          struct slice *ret),
         (write, db, key, ret_key, ret))

/* What fails is undone, as env.h says. */
enum err __real_env_write_commit(struct env_write *write);
enum err __wrap_env_write_commit(struct env_write *write);
enum err __wrap_env_write_commit(struct env_write *write) {
    if (!env_fails(true))
        return __real_env_write_commit(write);
    env_write_abort(write);
    return (enum err)atomic_load(&env_how);
}

/* ---- days ---- */

static void stop_all(void) {
    env_stop();
    atomic_store(&scarce_to, 0);
}

static void begin_day(struct fixture *f, struct ledger *l) {
    *l = (struct ledger){.f = f, .storage = BROKER_HDD, .fillers = 3, .stop = stop_all};
    case_init(f, true);
    f->write_buffer_bytes = 4096; /* the applier has work at all times */
    case_open(f);
}

static void scarce_memory_loses_nothing_that_was_answered(void **state) {
    struct fixture f;
    struct ledger l;
    (void)state;
    bool met = true;
    for (long n = 1; met; n += 1 + n / 15) {
        begin_day(&f, &l);
        scarce_begin(n, 1 + n % 4);
        a_day(&l);
        met = scarce_end();
        end_of_day(&l);
        case_done(&f);
    }
}

static void lmdb_that_cannot_be_written_loses_nothing_that_was_answered(void **state) {
    struct fixture f;
    struct ledger l;
    (void)state;
    for (long n = 1; n < 600; n += 1 + n / 8) {
        begin_day(&f, &l);
        env_begin(n, 1, ERR_UNAVAILABLE, false, true);
        a_day(&l);
        if (env_end()) {
            while (!l.unknown && broker_is_ready(f.broker)) /* the applier is about to give up */
                sched_yield();
            assert_int_equal(l.unknown + !broker_is_ready(f.broker), 1); /* given up, once */
        }
        revive(&l);
        end_of_day(&l);
        case_done(&f);
    }
}

/* ---- the start ---- */

static const struct broker_queue_options *busy_options(void) {
    static struct broker_queue_options options;
    options = options_of(BROKER_HDD);
    options.dedup_window_ms = 3600000;
    return &options;
}

static void take_some(struct fixture *f, unsigned count, enum broker_action how, int64_t delay_ms) {
    struct broker_receive receive;
    assert_int_equal(case_receive(f, "q", count, &receive), OK);
    assert_int_equal(receive.count, count);
    for (unsigned i = 0; how != BROKER_PUBLISH && i < count; i++) {
        struct broker_op op = queue_op(how, "q");
        op.receipt = receipt_of(&receive.deliveries[i]);
        op.delay_ms = delay_ms;
        assert_int_equal(case_run(f, op).err, OK);
    }
    broker_receive_free(&receive);
}

static void publish_some(struct fixture *f, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char id[12];
        snprintf(id, sizeof id, "%u", i);
        struct broker_op op = publish_op("r", "k", id);
        op.id = slice_of_cstr(id);
        op.priority = (uint8_t)(i % 3);
        op.delay_ms = i % 5 == 4 ? 100000 : 0;
        assert_int_equal(case_run(f, op).err, OK);
    }
}

/* Returns up to where the journal is gone. */
static uint64_t leave_much(struct fixture *f) {
    assert_int_equal(case_make_router(f, "r", ROUTER_TOPIC), OK);
    assert_int_equal(case_make_router(f, "gone", ROUTER_FANOUT), OK);
    assert_int_equal(case_make_queue(f, "q", *busy_options()), OK);
    assert_int_equal(case_make_queue(f, "other", options_of(BROKER_HDD)), OK);
    assert_int_equal(case_run(f, binding_op(BROKER_BIND, "r", "q", "k")).err, OK);
    assert_int_equal(case_run(f, binding_op(BROKER_BIND, "gone", "other", "")).err, OK);
    publish_some(f, 0, 40);
    case_reopen(f);
    uint64_t applied_seq = f->broker->disk->applied_seq;
    take_some(f, 8, BROKER_NACK, 0);
    take_some(f, 4, BROKER_ACK, 0);
    take_some(f, 3, BROKER_NACK, 100000);
    publish_some(f, 40, 60);
    take_some(f, 5, BROKER_PUBLISH, 0);
    assert_int_equal(case_publish(f, "other", "flushed"), OK);
    assert_int_equal(case_run(f, queue_op(BROKER_FLUSH, "other")).err, OK);
    assert_int_equal(case_publish(f, "other", "kept"), OK);
    assert_int_equal(case_run(f, binding_op(BROKER_UNBIND, "gone", "other", "")).err, OK);
    assert_int_equal(
        case_run(f, (struct broker_op){.action = BROKER_DELETE_ROUTER, .router = SLICE("gone")})
            .err,
        OK);
    return applied_seq;
}

static void check_much(struct fixture *f) {
    struct broker_queue_stats stats = case_stats(f, "q");
    assert_int_equal(stats.delayed, 12 + 3);
    assert_int_equal(stats.leased, 5);
    assert_int_equal(stats.ready, 60 - 4 - 15 - 5);
    struct broker_op again = publish_op("r", "k", "again");
    again.id = SLICE("59");
    assert_int_equal(case_run(f, again).err, OK); /* seen */
    assert_int_equal(case_stats(f, "q").ready, stats.ready);
    assert_string_equal(case_drain(f, "other", 10), "kept ");
}

static void copy_dir(const char *from, const char *to) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s", to, from, to);
    assert_int_equal(system(command), 0);
}

static void remove_dir(const char *dir) {
    char command[150];
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void check_start(void (*begin)(long n), bool (*end)(void), enum err wanted) {
    struct fixture f;
    unsigned refused = 0;
    bool met = true;
    case_init(&f, true);
    case_open(&f);
    uint64_t applied_seq = leave_much(&f);
    case_close(&f);
    rewind_position(f.dir, applied_seq);
    char kept[80];
    snprintf(kept, sizeof kept, "%s.kept", f.dir);
    copy_dir(f.dir, kept);
    for (long n = 1; met; n += 1 + n / 25) {
        begin(n);
        enum err err = case_try_open(&f);
        met = end();
        if (err) {
            assert_int_equal(err, wanted);
            assert_string_not_equal(f.why, "");
            refused++;
            case_open(&f);
        } else if (met) {
            case_reopen(&f); /* it may hold the disk for full, for a moment */
        }
        check_much(&f);
        case_close(&f);
        copy_dir(kept, f.dir);
    }
    assert_true(refused > 20);
    case_done(&f);
    remove_dir(kept);
}

static void begin_scarce(long n) {
    scarce_begin(n, 1);
}

static void begin_unreadable(long n) {
    env_begin(n, 1, ERR_UNAVAILABLE, true, false);
}

static void a_start_without_memory_says_so_and_the_next_one_has_all(void **state) {
    (void)state;
    check_start(begin_scarce, scarce_end, ERR_OUT_OF_MEMORY);
}

static void a_start_that_cannot_read_says_so_and_the_next_one_has_all(void **state) {
    (void)state;
    check_start(begin_unreadable, env_end, ERR_UNAVAILABLE);
}

/* ---- the disk is full, for a while ---- */

static void a_full_disk_refuses_publishes_and_lets_the_rest_go_on(void **state) {
    struct fixture *f = *state;
    struct disk *disk = f->broker->disk;
    assert_int_equal(case_make_queue(f, "q", *busy_options()), OK);
    assert_int_equal(case_publish(f, "q", "first"), OK);
    env_begin(1, 1000000, ERR_STORAGE_FULL, false, true);
    pthread_mutex_lock(&disk->lock);
    while (!atomic_load(&disk->full))
        pthread_cond_wait(&disk->changed, &disk->lock);
    pthread_mutex_unlock(&disk->lock);
    assert_int_equal(case_publish(f, "q", "second"), ERR_STORAGE_FULL);
    assert_int_equal(case_make_queue(f, "other", *busy_options()), ERR_STORAGE_FULL);
    assert_true(broker_is_ready(f->broker));
    assert_string_equal(case_drain(f, "q", 10), "first ");
    env_end();
    pthread_mutex_lock(&disk->lock);
    while (atomic_load(&disk->full))
        pthread_cond_wait(&disk->changed, &disk->lock);
    pthread_mutex_unlock(&disk->lock);
    assert_int_equal(case_publish(f, "q", "third"), OK);
    case_reopen(f);
    assert_string_equal(case_drain(f, "q", 10), "third ");
}

static void a_queue_that_cannot_be_read_for_a_moment_hands_out_all_of_it_afterwards(void **state) {
    struct fixture *f = *state;
    struct broker_receive receive;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_HDD)), OK);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(case_publish(f, "q", "m"), OK);
    case_reopen(f); /* but for the first only LMDB has them */
    for (long n = 1; n < 4; n++) {
        env_begin(n, 1, ERR_UNAVAILABLE, true, false);
        assert_int_equal(case_receive(f, "q", 10, &receive), OK);
        env_end();
        broker_give_back(f->broker, &receive);
        broker_receive_free(&receive);
    }
    case_barrier(f);
    struct answer answer = {f, false}; /* who waits is served when it can be read again */
    struct broker_consumer consumer;
    assert_int_equal(broker_consumer_open(f->broker, SLICE("q"), 10, &consumer), OK);
    receive = (struct broker_receive){.consumer = &consumer,
                                      .max = 10,
                                      .wait_ms = -1,
                                      .now_ms = f->now_ms,
                                      .done = case_receive_came,
                                      .context = &answer};
    assert_int_equal(broker_receive(f->broker, &receive), ERR_PENDING);
    case_advance(f, 1000);
    case_await(&answer);
    assert_true(receive.count > 0);
    broker_give_back(f->broker, &receive);
    broker_receive_free(&receive);
    broker_consumer_close(f->broker, &consumer);
    unsigned count = 0;
    while (case_drain(f, "q", 1)[0])
        count++;
    assert_int_equal(count, 5);
}

/* ---- a snapshot ---- */

static void a_snapshot_that_cannot_be_read_says_so_and_the_next_one_has_all(void **state) {
    struct fixture *f = *state;
    (void)!leave_much(f);
    case_reopen(f); /* most of it is in LMDB alone */
    struct broker_stats stats;
    broker_stats(f->broker, &stats);
    unsigned refused = 0;
    for (long n = 1;; n++) {
        struct ledger l = {.f = f};
        unsigned count = 0;
        bool scarce = n % 2;
        if (scarce)
            scarce_begin_here(n / 2 + 1, 1); /* the journal makes its spares meanwhile */
        else
            env_begin(n / 2, 1, n % 4 ? ERR_CORRUPT : ERR_UNAVAILABLE, true, false);
        enum err err = try_snapshot(&l, &count);
        bool met = scarce ? scarce_end() : env_end();
        if (!met && !scarce) {
            assert_int_equal(err, OK);
            assert_int_equal(count, stats.messages);
            break;
        }
        assert_int_equal(err, !met     ? OK
                              : scarce ? ERR_OUT_OF_MEMORY
                              : n % 4  ? ERR_CORRUPT
                                       : ERR_UNAVAILABLE);
        refused += met;
    }
    assert_true(refused > 10);
    struct broker_snapshot *first, *second = NULL;
    assert_int_equal(broker_snapshot_new(f->broker, &first), OK);
    assert_int_equal(broker_snapshot_new(f->broker, &second), ERR_CONFLICT);
    broker_snapshot_end(first);
    assert_null(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scarce_memory_loses_nothing_that_was_answered),
        cmocka_unit_test(lmdb_that_cannot_be_written_loses_nothing_that_was_answered),
        cmocka_unit_test(a_start_without_memory_says_so_and_the_next_one_has_all),
        cmocka_unit_test(a_start_that_cannot_read_says_so_and_the_next_one_has_all),
        cmocka_unit_test_setup_teardown(
            a_snapshot_that_cannot_be_read_says_so_and_the_next_one_has_all, set_up_disk,
            tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_publishes_and_lets_the_rest_go_on,
                                        set_up_disk, tear_down),
        cmocka_unit_test_setup_teardown(
            a_queue_that_cannot_be_read_for_a_moment_hands_out_all_of_it_afterwards, set_up_disk,
            tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
