/* SPDX-License-Identifier: MIT */
/* Many threads at once: each message is acknowledged once in each queue it reached, whatever
 * leaves, waits, gives back or looks on meanwhile. Mostly for the thread sanitizer.
 *
 * HATI_STRESS_MESSAGES   of each producer (300) */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "journal/datadir.h"

#define QUEUES 4 /* two in memory, two on hdd */
#define PRODUCERS 3
#define CONSUMERS 2 /* of each queue, and as many that are pushed to */
#define MESSAGES_MAX 100000
#define LEASE_MS 100

static struct {
    struct broker *broker;
    struct datadir *datadir;
    char dir[64];
    unsigned messages;                                        /* of each producer */
    _Atomic uint32_t acked[QUEUES][PRODUCERS * MESSAGES_MAX]; /* attempt it was acked at; 0: not */
    _Atomic unsigned left;                                    /* copies not yet acked */
    _Atomic unsigned wrong;
} all;

static const char *const names[QUEUES] = {"m0", "m1", "h0", "h1"};

struct flag {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool came;
};

static void flag_init(struct flag *flag) {
    pthread_mutex_init(&flag->lock, NULL);
    pthread_cond_init(&flag->changed, NULL);
    flag->came = false;
}

static void flag_set(struct flag *flag) {
    pthread_mutex_lock(&flag->lock);
    flag->came = true;
    pthread_cond_signal(&flag->changed);
    pthread_mutex_unlock(&flag->lock);
}

static void flag_wait(struct flag *flag) {
    pthread_mutex_lock(&flag->lock);
    while (!flag->came)
        pthread_cond_wait(&flag->changed, &flag->lock);
    pthread_mutex_unlock(&flag->lock);
    pthread_mutex_destroy(&flag->lock);
    pthread_cond_destroy(&flag->changed);
}

static void write_came(struct broker_write *write) {
    flag_set(write->context);
}

static void receive_came(struct broker_receive *receive) {
    flag_set(receive->context);
}

static enum err submit(struct broker_op *ops, unsigned count) {
    struct flag flag;
    flag_init(&flag);
    struct broker_write write = {.ops = ops,
                                 .op_count = count,
                                 .now_ms = clock_wall_ms(),
                                 .done = write_came,
                                 .context = &flag};
    enum err err = broker_submit(all.broker, &write);
    if (err != ERR_PENDING)
        return err;
    flag_wait(&flag);
    return write.err;
}

static uint64_t next(uint64_t *random, uint64_t below) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % below;
}

/* --- producers --- */

static void *produce(void *context) {
    unsigned me = (unsigned)(uintptr_t)context;
    uint64_t random = me + 77;
    for (unsigned i = 0; i < all.messages;) {
        struct broker_op ops[8];
        char payloads[8][16];
        unsigned count = 0;
        for (; count < 1 + next(&random, 8) && i < all.messages; i++, count++) {
            int len =
                snprintf(payloads[count], sizeof payloads[count], "%u", me * all.messages + i);
            ops[count] = (struct broker_op){.action = BROKER_PUBLISH,
                                            .router = SLICE("fan"),
                                            .payload = slice_make(payloads[count], (size_t)len),
                                            .priority = (uint8_t)next(&random, 3),
                                            .delay_ms = (int64_t)(next(&random, 10) == 0)};
        }
        if (submit(ops, count) != OK)
            atomic_fetch_add(&all.wrong, 1);
    }
    return NULL;
}

/* --- consumers --- */

static void note_delivery(unsigned q, const struct broker_delivery *got, unsigned *ret_number) {
    char digits[16] = "";
    memcpy(digits, got->payload.ptr, got->payload.len < 15 ? got->payload.len : 15);
    *ret_number = (unsigned)strtoul(digits, NULL, 10);
    uint32_t acked = atomic_load(&all.acked[q][*ret_number]);
    if (acked && got->attempt > acked) {
        print_error("%s: %u came as attempt %u after its ack at %u\n", names[q], *ret_number,
                    got->attempt, acked);
        atomic_fetch_add(&all.wrong, 1);
    }
}

static void settle(unsigned q, const struct broker_delivery *got, uint64_t *random) {
    unsigned number;
    note_delivery(q, got, &number);
    uint64_t dice = next(random, 100);
    struct broker_op op = {.action = dice < 80   ? BROKER_ACK
                                     : dice < 90 ? BROKER_NACK
                                                 : BROKER_EXTEND,
                           .queue = slice_of_cstr(names[q]),
                           .receipt = slice_make(got->receipt, BROKER_RECEIPT_BYTES - 1),
                           .delay_ms = (int64_t)next(random, 3),
                           .lease_ms = 1 + (int64_t)next(random, 20)};
    if (dice >= 97)
        return; /* its lease ends */
    enum err err = submit(&op, 1);
    if (err && err != ERR_RECEIPT_INVALID) {
        print_error("%s: settling: %d\n", names[q], (int)err);
        atomic_fetch_add(&all.wrong, 1);
    }
    if (err || op.action != BROKER_ACK)
        return;
    if (atomic_exchange(&all.acked[q][number], got->attempt) != 0) {
        print_error("%s: %u was acked twice\n", names[q], number);
        atomic_fetch_add(&all.wrong, 1);
    }
    atomic_fetch_sub(&all.left, 1);
}

/* Takes some; hangs up sometimes. */
static void take(unsigned q, struct broker_consumer *consumer, uint64_t *random) {
    struct flag flag;
    flag_init(&flag);
    struct broker_receive receive = {.queue = slice_of_cstr(names[q]),
                                     .consumer = consumer,
                                     .max = 1 + (unsigned)next(random, 20),
                                     .wait_ms = consumer ? -1 : (int64_t)next(random, 30),
                                     .done = receive_came,
                                     .context = &flag};
    enum err err = broker_receive(all.broker, &receive);
    if (err == ERR_PENDING) {
        if (consumer || next(random, 5) == 0)
            broker_receive_stop(all.broker, &receive);
        flag_wait(&flag);
        err = receive.err;
    }
    if (err) {
        print_error("%s: receive: %d\n", names[q], (int)err);
        atomic_fetch_add(&all.wrong, 1);
        return;
    }
    if (next(random, 4) == 0)
        broker_give_back(all.broker, &receive);
    else
        for (unsigned i = 0; i < receive.count; i++)
            settle(q, &receive.deliveries[i], random);
    broker_receive_free(&receive);
}

static void *pull(void *context) {
    unsigned q = (unsigned)(uintptr_t)context % QUEUES;
    uint64_t random = (uintptr_t)context + 1234;
    while (atomic_load(&all.left))
        take(q, NULL, &random);
    return NULL;
}

static void *be_pushed(void *context) {
    unsigned q = (unsigned)(uintptr_t)context % QUEUES;
    uint64_t random = (uintptr_t)context + 4321;
    while (atomic_load(&all.left)) {
        struct broker_consumer consumer;
        enum err err = broker_consumer_open(all.broker, slice_of_cstr(names[q]),
                                            1 + (unsigned)next(&random, 30), &consumer);
        if (err) {
            atomic_fetch_add(&all.wrong, 1);
            return NULL;
        }
        for (uint64_t turns = next(&random, 20); turns > 0; turns--)
            take(q, &consumer, &random);
        broker_consumer_close(all.broker, &consumer);
    }
    return NULL;
}

/* --- others --- */

/* A queue that comes and goes, with somebody waiting at it. */
static void come_and_go(uint64_t *random) {
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.storage = next(random, 2) ? BROKER_HDD : BROKER_MEMORY;
    struct broker_op op = {
        .action = BROKER_CREATE_QUEUE, .queue = SLICE("passing"), .options = &options};
    if (submit(&op, 1))
        atomic_fetch_add(&all.wrong, 1);
    struct broker_op bind = {
        .action = BROKER_BIND, .router = SLICE("fan"), .queue = SLICE("passing")};
    if (submit(&bind, 1))
        atomic_fetch_add(&all.wrong, 1);
    struct flag flag;
    flag_init(&flag);
    struct broker_receive receive = {.queue = SLICE("passing"),
                                     .max = 5,
                                     .wait_ms = 60000,
                                     .done = receive_came,
                                     .context = &flag};
    enum err err = broker_receive(all.broker, &receive);
    struct broker_op flush = {.action = BROKER_FLUSH, .queue = SLICE("passing")};
    if (submit(&flush, 1))
        atomic_fetch_add(&all.wrong, 1);
    struct broker_op remove = {.action = BROKER_DELETE_QUEUE, .queue = SLICE("passing")};
    if (submit(&remove, 1))
        atomic_fetch_add(&all.wrong, 1);
    if (err == ERR_PENDING) {
        flag_wait(&flag);
        err = receive.err;
    }
    if (err && err != ERR_QUEUE_NOT_EXIST)
        atomic_fetch_add(&all.wrong, 1);
    if (next(random, 2))
        broker_give_back(all.broker, &receive);
    broker_receive_free(&receive);
}

static void look(unsigned q) {
    struct arena arena;
    arena_init(&arena, 1U << 22);
    struct broker_queue_info info;
    struct broker_router_info router;
    struct broker_cursor cursor = {0, 0};
    struct broker_delivery *deliveries;
    struct broker_stats stats;
    unsigned count;
    bool more;
    if (broker_get_queue(all.broker, slice_of_cstr(names[q]), clock_wall_ms(), &arena, &info) ||
        broker_get_router(all.broker, SLICE("fan"), &arena, &router) ||
        broker_peek(all.broker, slice_of_cstr(names[q]), &cursor, 50, &arena, &deliveries, &count,
                    &more))
        atomic_fetch_add(&all.wrong, 1);
    broker_stats(all.broker, &stats);
    arena_done(&arena);
}

static void *meddle(void *context) {
    uint64_t random = 99;
    (void)context;
    while (atomic_load(&all.left)) {
        unsigned q = (unsigned)next(&random, QUEUES);
        struct broker_op pause = {
            .action = BROKER_PAUSE, .queue = slice_of_cstr(names[q]), .pause = true};
        struct broker_op go_on = {.action = BROKER_PAUSE, .queue = slice_of_cstr(names[q])};
        struct broker_op redrive = {.action = BROKER_REDRIVE, .queue = slice_of_cstr(names[q])};
        if (submit(&pause, 1) || submit(&redrive, 1))
            atomic_fetch_add(&all.wrong, 1);
        look(q);
        if (submit(&go_on, 1))
            atomic_fetch_add(&all.wrong, 1);
        come_and_go(&random);
    }
    return NULL;
}

/* --- the test --- */

static void open_all(void) {
    char why[200] = "";
    snprintf(all.dir, sizeof all.dir, "/tmp/hati-stress-XXXXXX");
    assert_non_null(mkdtemp(all.dir));
    struct datadir_options dir = {.dir = all.dir};
    assert_int_equal(datadir_open(&dir, &all.datadir, why, sizeof why), OK);
    struct broker_options options = {.datadir = all.datadir, .write_buffer_bytes = 1U << 16};
    assert_int_equal(broker_open(&options, &all.broker, why, sizeof why), OK);
    assert_int_equal(datadir_start(all.datadir, why, sizeof why), OK);
    struct broker_op router = {
        .action = BROKER_CREATE_ROUTER, .router = SLICE("fan"), .router_type = ROUTER_FANOUT};
    assert_int_equal(submit(&router, 1), OK);
    for (unsigned q = 0; q < QUEUES; q++) {
        struct broker_queue_options queue;
        broker_queue_options_init(&queue);
        queue.storage = q < QUEUES / 2 ? BROKER_MEMORY : BROKER_HDD;
        queue.lease_ms = LEASE_MS;
        struct broker_op op = {
            .action = BROKER_CREATE_QUEUE, .queue = slice_of_cstr(names[q]), .options = &queue};
        assert_int_equal(submit(&op, 1), OK);
        struct broker_op bind = {
            .action = BROKER_BIND, .router = SLICE("fan"), .queue = slice_of_cstr(names[q])};
        assert_int_equal(submit(&bind, 1), OK);
    }
}

static void close_all(void) {
    char command[100];
    broker_drain(all.broker);
    datadir_stop(all.datadir);
    broker_close(all.broker);
    datadir_close(all.datadir);
    snprintf(command, sizeof command, "rm -rf %s", all.dir);
    assert_int_equal(system(command), 0);
}

static void test_each_message_is_acked_once_in_each_queue(void **state) {
    (void)state;
    const char *given = getenv("HATI_STRESS_MESSAGES");
    all.messages = given ? (unsigned)strtoul(given, NULL, 10) : 300;
    assert_in_range(all.messages, 1, MESSAGES_MAX);
    open_all();
    atomic_store(&all.left, QUEUES * PRODUCERS * all.messages);
    pthread_t threads[PRODUCERS + 2 * QUEUES * CONSUMERS + 1];
    unsigned count = 0;
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        pthread_create(&threads[count++], NULL, produce, (void *)i);
    for (uintptr_t i = 0; i < QUEUES * CONSUMERS; i++) {
        pthread_create(&threads[count++], NULL, pull, (void *)i);
        pthread_create(&threads[count++], NULL, be_pushed, (void *)i);
    }
    pthread_create(&threads[count++], NULL, meddle, NULL);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (unsigned q = 0; q < QUEUES; q++) {
        struct arena arena;
        arena_init(&arena, 1U << 16);
        struct broker_queue_info info;
        assert_int_equal(
            broker_get_queue(all.broker, slice_of_cstr(names[q]), clock_wall_ms(), &arena, &info),
            OK);
        assert_int_equal(info.stats.ready + info.stats.leased + info.stats.delayed, 0);
        assert_int_equal(info.stats.acked, PRODUCERS * all.messages);
        assert_int_equal(info.stats.consumers, 0);
        arena_done(&arena);
    }
    struct broker_stats stats;
    broker_stats(all.broker, &stats);
    assert_int_equal(stats.messages, 0);
    assert_int_equal(atomic_load(&all.wrong), 0);
    close_all();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_message_is_acked_once_in_each_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
