/* SPDX-License-Identifier: MIT */
/* A cut of keys and queues, memory and hdd: what is in it, and what is not, while others write. */
#include "cut_case.h"

#include <sched.h>

static void change_everything(struct fixture *f) {
    char text[40];
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++) {
        for (unsigned i = 0; i < 300; i++) {
            snprintf(text, sizeof text, "key-%u", i);
            struct kv_op op = key_op(i % 3 ? KV_SET : KV_DELETE, (enum kv_storage)storage, text,
                                     i % 2 ? "changed" : "changed-to-something-longer-than-it-was");
            assert_int_equal(write_keys(f, &op, 1), OK);
            snprintf(text, sizeof text, "fresh-%u", i);
            set(f, (enum kv_storage)storage, text, text);
        }
        struct kv_op touch = key_op(KV_TOUCH, (enum kv_storage)storage, "lives-an-hour", "");
        touch.ttl_ms = 86400000;
        assert_int_equal(write_keys(f, &touch, 1), OK);
    }
    struct broker_op go_on = {.action = BROKER_PAUSE, .queue = SLICE("on-hdd")};
    assert_int_equal(do_broker(f, &go_on), OK);
    for (unsigned i = 0; i < 5; i++)
        publish(f, i % 2 ? "on-hdd" : "on-memory", "later");
    assert_int_equal(receive(f, "on-hdd", 20, true), 20);
    assert_int_equal(receive(f, "on-memory", 20, true), 20);
    struct broker_op flush = {.action = BROKER_FLUSH, .queue = SLICE("on-hdd")};
    assert_int_equal(do_broker(f, &flush), OK);
    struct broker_op unbind = {
        .action = BROKER_UNBIND, .router = SLICE("both"), .queue = SLICE("on-hdd")};
    assert_int_equal(do_broker(f, &unbind), OK);
    struct broker_op drop = {.action = BROKER_DELETE_QUEUE, .queue = SLICE("on-memory")};
    assert_int_equal(do_broker(f, &drop), OK);
}

static void test_a_cut_is_what_was_there_whatever_changes_before_it_is_read(void **state) {
    struct fixture *f = *state;
    struct told before, later;
    fill_everything(f);
    before = tell_all(f);
    assert_int_equal(count_of(&before, "memory "), 301);
    assert_int_equal(count_of(&before, "hdd "), 301);
    assert_int_equal(count_of(&before, "message on-hdd "), 38);
    assert_int_equal(count_of(&before, "message on-memory "), 39);
    assert_int_equal(count_of(&before, "queue "), 3);
    assert_int_equal(count_of(&before, "queue on-hdd storage 1 paused 1"), 1);
    assert_int_equal(count_of(&before, "binding both"), 2);
    struct cut cut = take(f);
    assert_in_range(kv_snapshot_count(cut.keys) + broker_snapshot_count(cut.queues), 300, 700);
    change_everything(f);
    begin_told(&later);
    read_cut(cut.keys, cut.queues, &later);
    end(&cut);
    assert_same(&before, &later);
    free(before.lines);
    free(later.lines);
}

static void test_a_cut_of_memory_alone_needs_no_data_directory(void **state) {
    struct fixture f;
    (void)state;
    open_new(&f, false);
    set(&f, KV_MEMORY, "a", "1");
    make_queue(&f, "q", BROKER_MEMORY, NULL);
    publish(&f, "q", "one");
    struct cut cut = take(&f);
    set(&f, KV_MEMORY, "a", "2");
    publish(&f, "q", "two");
    struct told told;
    begin_told(&told);
    read_cut(cut.keys, cut.queues, &told);
    end(&cut);
    assert_int_equal(number_of(&told, "memory ns/a [text/x] "), 1);
    assert_int_equal(count_of(&told, "message q "), 1);
    free(told.lines);
    close_and_remove(&f);
}

static void test_what_has_expired_is_not_in_it(void **state) {
    struct fixture *f = *state;
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++) {
        set_ttl(f, (enum kv_storage)storage, "short", 60000);
        set_ttl(f, (enum kv_storage)storage, "long", 600000);
    }
    clock_move_for_test(120000);
    struct told told = tell_all(f);
    clock_move_for_test(-120000);
    assert_int_equal(count_of(&told, "memory "), 1);
    assert_int_equal(count_of(&told, "hdd "), 1);
    assert_int_equal(count_of(&told, "hdd ns/long"), 1);
    free(told.lines);
}

static void test_a_flush_behind_the_cut_takes_nothing_out_of_it(void **state) {
    struct fixture *f = *state;
    fill_everything(f);
    struct told before = tell_all(f), later;
    struct cut cut = take(f);
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++) {
        struct kv_op flush = {.action = KV_FLUSH_ALL, .ref = {.storage = (enum kv_storage)storage}};
        assert_int_equal(write_keys(f, &flush, 1), OK);
        set(f, (enum kv_storage)storage, "key-1", "after the flush");
    }
    begin_told(&later);
    read_cut(cut.keys, cut.queues, &later);
    end(&cut);
    assert_same(&before, &later);
    struct told now = tell_all(f);
    assert_int_equal(count_of(&now, "memory "), 1);
    assert_int_equal(count_of(&now, "hdd "), 1);
    free(before.lines);
    free(later.lines);
    free(now.lines);
}

static enum err stop_at_once(void *context, const struct kv_snapshot_entry *entry) {
    (void)context, (void)entry;
    return ERR_TIMEOUT;
}

static void test_there_is_one_at_a_time_and_it_may_end_unread(void **state) {
    struct fixture *f = *state;
    struct kv_snapshot *keys;
    struct broker_snapshot *queues;
    fill_everything(f);
    struct cut cut = take(f);
    assert_int_equal(cut_take(f->kv, f->broker, f->datadir, &keys, &queues), ERR_CONFLICT);
    change_everything(f);
    assert_int_equal(kv_snapshot_each(cut.keys, KV_MEMORY, stop_at_once, NULL), ERR_TIMEOUT);
    assert_int_equal(kv_snapshot_each(cut.keys, KV_HDD, stop_at_once, NULL), ERR_TIMEOUT);
    end(&cut);
    cut = take(f);
    end(&cut);
}

static void test_a_queue_longer_than_memory_holds_is_told_in_order(void **state) {
    struct fixture *f = *state;
    char text[40];
    struct told told;
    make_queue(f, "long", BROKER_HDD, NULL);
    for (unsigned i = 0; i < 6000; i += 100) {
        struct broker_op ops[100];
        char payloads[100][16];
        for (unsigned j = 0; j < 100; j++) {
            snprintf(payloads[j], sizeof payloads[j], "n-%05u", i + j);
            ops[j] = publish_op("default", "long", payloads[j]);
        }
        struct waited waited = WAITED;
        struct broker_write write = {.ops = ops,
                                     .op_count = 100,
                                     .now_ms = clock_wall_ms(),
                                     .done = queues_done,
                                     .context = &waited};
        assert_int_equal(broker_submit(f->broker, &write), ERR_PENDING);
        await(&waited);
    }
    close_all(f); /* all of it is in LMDB then */
    open_all(f);
    assert_int_equal(receive(f, "long", 10, true), 10);
    assert_int_equal(receive(f, "long", 10, false), 10);
    publish(f, "long", "n-06000");
    struct cut cut = take(f);
    assert_int_equal(receive(f, "long", 500, true), 500);
    assert_int_equal(receive(f, "long", 500, true), 500);
    publish(f, "long", "n-06001");
    begin_told(&told);
    read_cut(cut.keys, cut.queues, &told);
    end(&cut);
    assert_int_equal(count_of(&told, "message long "), 5991);
    unsigned at = 0;
    for (unsigned i = 0; i < told.count; i++) {
        if (strncmp(told.lines[i], "message", 7) != 0)
            continue;
        snprintf(text, sizeof text, " n-%05u ", 10 + at++);
        assert_non_null(strstr(told.lines[i], text));
    }
    free(told.lines);
}

/* It is walked through in steps: what is consumed, flushed or added meanwhile changes nothing. */
static enum err count_message(void *context, const struct broker_snapshot_message *message) {
    (void)message;
    ++*(unsigned *)context;
    return OK;
}

static void check_long_memory_queue(struct fixture *f, enum broker_action how) {
    unsigned count = 0;
    struct broker_snapshot_sink sink = {.context = &count, .message = count_message};
    make_queue(f, "long", BROKER_MEMORY, NULL);
    for (unsigned i = 0; i < 5000; i++)
        publish(f, "long", "m");
    struct cut cut = take(f);
    if (how == BROKER_ACK) {
        assert_int_equal(receive(f, "long", 700, true), 700);
        assert_int_equal(receive(f, "long", 700, false), 700);
    } else {
        struct broker_op op = {.action = how, .queue = SLICE("long")};
        assert_int_equal(do_broker(f, &op), OK);
    }
    if (how != BROKER_DELETE_QUEUE)
        publish(f, "long", "later");
    assert_int_equal(broker_snapshot_each(cut.queues, &sink), OK);
    assert_int_equal(count, 5000);
    end(&cut);
    if (how == BROKER_DELETE_QUEUE)
        return;
    struct broker_op drop = {.action = BROKER_DELETE_QUEUE, .queue = SLICE("long")};
    assert_int_equal(do_broker(f, &drop), OK);
}

static void test_a_long_memory_queue_is_told_whole_whatever_leaves_it(void **state) {
    check_long_memory_queue(*state, BROKER_ACK);
    check_long_memory_queue(*state, BROKER_FLUSH);
    check_long_memory_queue(*state, BROKER_DELETE_QUEUE);
}

/* ---- while others write ---- */

struct writer {
    struct fixture *f;
    _Atomic bool *stop;
    pthread_t thread;
    _Atomic uint64_t writes;
    _Atomic bool over;
};

/* What is told is what was there, however much is written before it is read. */
static void let_write(struct writer *writers, unsigned count, unsigned writes) {
    for (unsigned i = 0; i < count; i++) {
        uint64_t until = atomic_load(&writers[i].writes) + writes;
        while (atomic_load(&writers[i].writes) < until && !atomic_load(&writers[i].over))
            sched_yield();
    }
}

static void *move_between_keys(void *context) {
    struct writer *writer = context;
    char from[16], to[16];
    for (unsigned i = 0; !atomic_load(writer->stop); i++) {
        enum kv_storage storage = i % 2 ? KV_HDD : KV_MEMORY;
        snprintf(from, sizeof from, "sum-%u", i % 13);
        snprintf(to, sizeof to, "sum-%u", (i + 5) % 13);
        struct kv_op ops[2] = {add_op(storage, from, -3), add_op(storage, to, 3)};
        assert_int_equal(write_keys(writer->f, ops, 2), OK);
        writer->writes++;
    }
    atomic_store(&writer->over, true);
    return NULL;
}

static void *write_batches(void *context) {
    struct writer *writer = context;
    for (; !atomic_load(writer->stop) && writer->writes < 3000; writer->writes++)
        assert_int_equal(run_batch(writer->f, add_op(KV_HDD, "batches", 1),
                                   publish_op("default", "of-batches", "b")),
                         OK);
    atomic_store(&writer->over, true);
    return NULL;
}

static void *publish_to_both(void *context) {
    struct writer *writer = context;
    for (; !atomic_load(writer->stop) && writer->writes < 3000; writer->writes++) {
        struct broker_op op = publish_op("fan", "", "f");
        assert_int_equal(do_broker(writer->f, &op), OK);
    }
    atomic_store(&writer->over, true);
    return NULL;
}

/* Each only after the one before was answered. */
static void *write_one_after_another(void *context) {
    struct writer *writer = context;
    for (; !atomic_load(writer->stop) && writer->writes < 3000; writer->writes++) {
        struct kv_op first = add_op(KV_HDD, "chain-1", 1);
        struct kv_op second = add_op(KV_MEMORY, "chain-2", 1);
        assert_int_equal(write_keys(writer->f, &first, 1), OK);
        assert_int_equal(write_keys(writer->f, &second, 1), OK);
        publish(writer->f, "chain-3", "c");
        struct kv_op fourth = add_op(KV_MEMORY, "chain-4", 1);
        assert_int_equal(write_keys(writer->f, &fourth, 1), OK);
        publish(writer->f, "chain-5", "c");
    }
    atomic_store(&writer->over, true);
    return NULL;
}

static long sum_of(const struct told *told, const char *storage) {
    long sum = 0;
    char prefix[40];
    for (unsigned i = 0; i < 13; i++) {
        snprintf(prefix, sizeof prefix, "%s ns/sum-%u [] ", storage, i);
        sum += number_of(told, prefix);
    }
    return sum;
}

static void check_invariants(const struct told *told) {
    assert_int_equal(sum_of(told, "memory"), 0);
    assert_int_equal(sum_of(told, "hdd"), 0);
    assert_int_equal(number_of(told, "hdd ns/batches [] "), count_of(told, "message of-batches "));
    assert_int_equal(count_of(told, "message fan-a "), count_of(told, "message fan-b "));
    long chain[5] = {number_of(told, "hdd ns/chain-1 [] "),
                     number_of(told, "memory ns/chain-2 [] "), count_of(told, "message chain-3 "),
                     number_of(told, "memory ns/chain-4 [] "), count_of(told, "message chain-5 ")};
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(chain[i] - chain[i + 1], 0, 1);
    assert_in_range(chain[0] - chain[4], 0, 1);
}

static void test_every_cut_has_a_transaction_whole_or_not_at_all(void **state) {
    struct fixture *f = *state;
    _Atomic bool stop = false;
    void *(*const kinds[])(void *) = {move_between_keys, move_between_keys, write_batches,
                                      publish_to_both, write_one_after_another};
    struct writer writers[5];
    make_queue(f, "of-batches", BROKER_HDD, NULL);
    make_queue(f, "fan-a", BROKER_MEMORY, NULL);
    make_queue(f, "fan-b", BROKER_MEMORY, NULL);
    make_queue(f, "chain-3", BROKER_MEMORY, NULL);
    make_queue(f, "chain-5", BROKER_HDD, NULL);
    make_fanout(f, "fan", "fan-a", "fan-b");
    for (unsigned i = 0; i < 5; i++) {
        writers[i] = (struct writer){.f = f, .stop = &stop};
        pthread_create(&writers[i].thread, NULL, kinds[i], &writers[i]);
    }
    for (unsigned i = 0; i < 12; i++) {
        struct told told;
        struct cut cut = take(f);
        begin_told(&told);
        let_write(writers, 5, 3);
        read_cut(cut.keys, cut.queues, &told);
        end(&cut);
        check_invariants(&told);
        free(told.lines);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 5; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_true(writers[i].writes > 0);
    }
    struct told last = tell_all(f);
    check_invariants(&last);
    assert_int_equal(number_of(&last, "hdd ns/batches [] "), writers[2].writes);
    free(last.lines);
}

/* ---- the same on memory, where a write is a microsecond ---- */

static void *move_on_memory(void *context) {
    struct writer *writer = context;
    char from[16], to[16];
    for (unsigned i = 0; !atomic_load(writer->stop); i++) {
        snprintf(from, sizeof from, "sum-%u", i % 13);
        snprintf(to, sizeof to, "sum-%u", (i + 5) % 13);
        struct kv_op ops[2] = {add_op(KV_MEMORY, from, -3), add_op(KV_MEMORY, to, 3)};
        assert_int_equal(write_keys(writer->f, ops, 2), OK);
        atomic_fetch_add(&writer->writes, 1);
    }
    return NULL;
}

static void *number_on_memory(void *context) {
    struct writer *writer = context;
    char text[32];
    while (!atomic_load(writer->stop)) {
        snprintf(text, sizeof text, "%llu",
                 (unsigned long long)atomic_fetch_add(&writer->writes, 1) + 1);
        set(writer->f, KV_MEMORY, "number", text);
        struct broker_op op = publish_op("fan", "", text);
        assert_int_equal(do_broker(writer->f, &op), OK);
    }
    return NULL;
}

static void *flush_and_set(void *context) {
    struct writer *writer = context;
    while (!atomic_load(writer->stop)) {
        struct kv_op flush = {.action = KV_FLUSH_ALL, .ref = {.storage = KV_MEMORY}};
        assert_int_equal(write_keys(writer->f, &flush, 1), OK);
        for (unsigned i = 0; i < 40; i++) {
            struct kv_op ops[13];
            char keys[13][16];
            for (unsigned k = 0; k < 13; k++) {
                snprintf(keys[k], sizeof keys[k], "row-%u", k);
                ops[k] = add_op(KV_MEMORY, keys[k], 1);
            }
            assert_int_equal(write_keys(writer->f, ops, 13), OK);
        }
        atomic_fetch_add(&writer->writes, 1);
    }
    return NULL;
}

struct seen {
    long sum;
    unsigned rows, row_values;
    long row, number;
    char last[2][32]; /* of each queue */
};

static long number_in(struct slice value) {
    int64_t number = 0;
    assert_true(slice_parse_i64(value, &number));
    return (long)number;
}

static enum err see_key(void *context, const struct kv_snapshot_entry *entry) {
    struct seen *seen = context;
    long number = number_in(entry->value);
    if (memcmp(entry->key.ptr, "sum", 3) == 0)
        seen->sum += number;
    else if (memcmp(entry->key.ptr, "num", 3) == 0)
        seen->number = number;
    else {
        seen->row_values += seen->rows++ == 0 || number != seen->row;
        seen->row = number;
    }
    return OK;
}

static enum err see_message(void *context, const struct broker_snapshot_message *message) {
    struct seen *seen = context;
    snprintf(seen->last[message->queue.ptr[4] - 'a'], sizeof seen->last[0], "%.*s",
             (int)message->payload.len, message->payload.ptr);
    return OK;
}

static struct seen see(struct fixture *f, struct writer *writers, unsigned count) {
    struct seen seen = {0};
    struct cut cut = take(f);
    struct broker_snapshot_sink sink = {.context = &seen, .message = see_message};
    let_write(writers, count, 5);
    assert_int_equal(kv_snapshot_each(cut.keys, KV_MEMORY, see_key, &seen), OK);
    assert_int_equal(broker_snapshot_each(cut.queues, &sink), OK);
    end(&cut);
    return seen;
}

static void run_on_memory(unsigned cuts, void *(*const kinds[])(void *), unsigned count,
                          void (*check)(const struct seen *seen)) {
    struct fixture f;
    struct writer writers[3];
    _Atomic bool stop = false;
    struct broker_queue_options options;
    open_new(&f, false);
    broker_queue_options_init(&options);
    options.max_length = 5;
    options.overflow = OVERFLOW_DROP_HEAD;
    make_queue(&f, "fan-a", BROKER_MEMORY, &options);
    make_queue(&f, "fan-b", BROKER_MEMORY, &options);
    make_fanout(&f, "fan", "fan-a", "fan-b");
    for (unsigned i = 0; i < count; i++) {
        writers[i] = (struct writer){.f = &f, .stop = &stop};
        pthread_create(&writers[i].thread, NULL, kinds[i], &writers[i]);
    }
    for (unsigned i = 0; i < cuts; i++) {
        struct seen seen = see(&f, writers, count);
        check(&seen);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < count; i++)
        pthread_join(writers[i].thread, NULL);
    close_and_remove(&f);
}

/* The number is set before it is published, to both queues. */
static void check_sum_and_number(const struct seen *seen) {
    assert_int_equal(seen->sum, 0);
    assert_string_equal(seen->last[0], seen->last[1]);
    long published = seen->last[0][0] ? strtol(seen->last[0], NULL, 10) : 0;
    assert_in_range(seen->number - published, 0, 1);
}

static void test_on_memory_a_write_of_several_keys_and_a_publish_are_whole(void **state) {
    void *(*const kinds[])(void *) = {move_on_memory, number_on_memory};
    (void)state;
    run_on_memory(150, kinds, 2, check_sum_and_number);
}

/* All rows or none, and all the same. */
static void check_rows(const struct seen *seen) {
    assert_true(seen->rows == 0 || seen->rows == 13);
    assert_in_range(seen->row_values, 0, 1);
}

static void test_on_memory_a_flush_is_whole(void **state) {
    void *(*const kinds[])(void *) = {flush_and_set};
    (void)state;
    run_on_memory(60, kinds, 1, check_rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_cut_is_what_was_there_whatever_changes_before_it_is_read, set_up, tear_down),
        cmocka_unit_test(test_a_cut_of_memory_alone_needs_no_data_directory),
        cmocka_unit_test_setup_teardown(test_what_has_expired_is_not_in_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_flush_behind_the_cut_takes_nothing_out_of_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_there_is_one_at_a_time_and_it_may_end_unread, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_queue_longer_than_memory_holds_is_told_in_order,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_memory_queue_is_told_whole_whatever_leaves_it,
                                        set_up, tear_down),
        cmocka_unit_test(test_on_memory_a_write_of_several_keys_and_a_publish_are_whole),
        cmocka_unit_test(test_on_memory_a_flush_is_whole),
        cmocka_unit_test_setup_teardown(test_every_cut_has_a_transaction_whole_or_not_at_all,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
