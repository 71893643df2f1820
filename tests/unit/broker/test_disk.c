/* SPDX-License-Identifier: MIT */
/* Queues on hdd over restarts, where LMDB is ahead of the position that is written down in it. */
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
#include "broker/disk_inside.h"
#include "rewind.h"

struct fixture {
    struct broker *broker;
    struct datadir *datadir;
    char dir[64];
    int64_t now_ms;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void open_all(struct fixture *f) {
    char why[300] = "";
    struct datadir_options dir = {.dir = f->dir};
    struct broker_options options = {.manual_clock = true};
    assert_int_equal(datadir_open(&dir, &f->datadir, why, sizeof why), OK);
    options.datadir = f->datadir;
    if (broker_open(&options, &f->broker, why, sizeof why))
        fail_msg("%s", why);
    if (datadir_start(f->datadir, why, sizeof why))
        fail_msg("%s", why);
    broker_tick(f->broker, f->now_ms);
}

static void close_all(struct fixture *f) {
    broker_drain(f->broker);
    datadir_stop(f->datadir);
    broker_close(f->broker);
    datadir_close(f->datadir);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->now_ms = clock_wall_ms();
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    open_all(f);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[100];
    close_all(f);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static void wake(struct fixture *f) {
    pthread_mutex_lock(&f->lock);
    f->done = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void await(struct fixture *f) {
    pthread_mutex_lock(&f->lock);
    while (!f->done)
        pthread_cond_wait(&f->changed, &f->lock);
    f->done = false;
    pthread_mutex_unlock(&f->lock);
}

static void write_done(struct broker_write *write) {
    wake(write->context);
}

static void receive_done(struct broker_receive *receive) {
    wake(receive->context);
}

static struct broker_op run(struct fixture *f, struct broker_op op) {
    struct broker_write write = {
        .ops = &op, .op_count = 1, .now_ms = f->now_ms, .done = write_done, .context = f};
    enum err err = broker_submit(f->broker, &write);
    if (err == ERR_PENDING)
        await(f);
    else
        op.err = err;
    return op;
}

static void create(struct fixture *f, const struct broker_queue_options *options) {
    struct broker_op op = {.action = BROKER_CREATE_QUEUE, .queue = SLICE("q"), .options = options};
    assert_int_equal(run(f, op).err, OK);
}

static void create_plain(struct fixture *f) {
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    create(f, &options);
}

static void publish(struct fixture *f, const char *payload, const char *id) {
    struct broker_op op = {.action = BROKER_PUBLISH,
                           .router = SLICE("default"),
                           .routing_key = SLICE("q"),
                           .id = slice_make(id, strlen(id)),
                           .payload = slice_make(payload, strlen(payload))};
    op = run(f, op);
    assert_int_equal(op.err, OK);
    assert_int_equal(op.queues, 1);
}

static void flush(struct fixture *f) {
    assert_int_equal(run(f, (struct broker_op){.action = BROKER_FLUSH, .queue = SLICE("q")}).err,
                     OK);
}

static struct broker_queue_stats stats(struct fixture *f) {
    struct arena arena;
    struct broker_queue_info info;
    arena_init(&arena, 1 << 16);
    assert_int_equal(broker_get_queue(f->broker, SLICE("q"), f->now_ms, &arena, &info), OK);
    arena_done(&arena);
    return info.stats;
}

/* How many came; acks them where it is told to. The first one's payload goes to first. */
static unsigned take(struct fixture *f, unsigned max, bool ack, char first[32]) {
    struct broker_receive receive = {
        .queue = SLICE("q"), .max = max, .now_ms = f->now_ms, .done = receive_done, .context = f};
    enum err err = broker_receive(f->broker, &receive);
    if (err == ERR_PENDING)
        await(f);
    else
        assert_int_equal(err, OK);
    for (unsigned i = 0; ack && i < receive.count; i++) {
        struct broker_op op = {
            .action = BROKER_ACK,
            .queue = SLICE("q"),
            .receipt = slice_make(receive.deliveries[i].receipt, BROKER_RECEIPT_BYTES - 1)};
        assert_int_equal(run(f, op).err, OK);
    }
    if (first && receive.count)
        snprintf(first, 32, "%.*s", (int)receive.deliveries[0].payload.len,
                 receive.deliveries[0].payload.ptr);
    unsigned count = receive.count;
    broker_receive_free(&receive);
    return count;
}

static void what_came_after_two_flushes_outlives_a_replay_of_both(void **state) {
    struct fixture *f = *state;
    char first[32];
    create_plain(f);
    publish(f, "before", "");
    close_all(f);
    open_all(f);
    uint64_t applied_seq = f->broker->disk->applied_seq;
    flush(f);
    publish(f, "between", "");
    flush(f);
    publish(f, "after", "");
    close_all(f);
    rewind_position(f->dir, applied_seq);
    for (unsigned i = 0; i < 2; i++) {
        open_all(f);
        assert_int_equal(stats(f).ready, 1);
        close_all(f);
    }
    open_all(f);
    assert_int_equal(take(f, 10, true, first), 1);
    assert_string_equal(first, "after");
}

static void a_deleted_queue_leaves_nothing_in_the_write_buffer(void **state) {
    struct fixture *f = *state;
    create_plain(f);
    for (unsigned i = 0; i < 50; i++)
        publish(f, "payload", "");
    close_all(f); /* LMDB has them now */
    open_all(f);
    assert_int_equal(take(f, 50, true, NULL), 50);
    struct broker_op drop = {.action = BROKER_DELETE_QUEUE, .queue = SLICE("q")};
    assert_int_equal(run(f, drop).err, OK);
    broker_tick(f->broker, f->now_ms);
    assert_int_equal(atomic_load(&f->broker->disk->dirty_bytes), 0);
}

static void replaying_what_LMDB_has_already_changes_nothing(void **state) {
    struct fixture *f = *state;
    char first[32];
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.dedup_window_ms = 3600000;
    create(f, &options);
    uint64_t applied_seq = f->broker->disk->applied_seq;
    for (unsigned round = 0; round < 3; round++) {
        char id[] = {(char)('a' + round), '0', 0};
        for (; id[1] < '9'; id[1]++)
            publish(f, id, id);
        assert_int_equal(take(f, 3, true, NULL), 3);
        if (round == 1)
            flush(f);
    }
    assert_int_equal(take(f, 1, false, NULL), 1);
    close_all(f);
    rewind_position(f->dir, applied_seq);
    open_all(f);
    assert_int_equal(stats(f).ready, 5);
    assert_int_equal(stats(f).leased, 1);
    publish(f, "again", "c8");
    assert_int_equal(stats(f).ready, 5); /* seen before */
    assert_int_equal(take(f, 10, true, first), 5);
    assert_string_equal(first, "c4");
}

static void what_expires_on_disk_alone_expires_after_a_restart(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.ttl_ms = 1000;
    create(f, &options);
    for (unsigned i = 0; i < 3; i++)
        publish(f, "payload", "");
    close_all(f);
    open_all(f);
    const struct queue *queue = names_get(&f->broker->queues, SLICE("q"));
    f->now_ms += 1000;
    for (unsigned i = 0; i < 3; i++)
        broker_tick(f->broker, f->now_ms); /* nobody looks at the queue meanwhile */
    assert_int_equal(queue->ready, 0);
}

static void a_message_delayed_for_long_is_not_held_in_memory_after_a_restart(void **state) {
    struct fixture *f = *state;
    char first[32];
    create_plain(f);
    struct broker_op op = {.action = BROKER_PUBLISH,
                           .router = SLICE("default"),
                           .routing_key = SLICE("q"),
                           .payload = SLICE("later"),
                           .delay_ms = 3600000};
    assert_int_equal(run(f, op).err, OK);
    close_all(f);
    open_all(f);
    const struct queue *queue = names_get(&f->broker->queues, SLICE("q"));
    const struct message *message = heap_top(&queue->waits);
    assert_null(message->body);
    f->now_ms += 3600000;
    broker_tick(f->broker, f->now_ms);
    assert_int_equal(take(f, 1, true, first), 1);
    assert_string_equal(first, "later");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_came_after_two_flushes_outlives_a_replay_of_both,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_queue_leaves_nothing_in_the_write_buffer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(replaying_what_LMDB_has_already_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_expires_on_disk_alone_expires_after_a_restart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_message_delayed_for_long_is_not_held_in_memory_after_a_restart, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
