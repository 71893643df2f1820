/* SPDX-License-Identifier: MIT */
/* Queues on hdd in a directory that is encrypted. */
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
#include "base/log.h"
#include "broker/disk_inside.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n"
#define SECRET "nobody may read this"
#define HEADERS "{\"secret\":\"nor that\"}"

struct fixture {
    struct broker *broker;
    struct datadir *datadir;
    struct seal_keys *keys;
    char dir[64], path[100], why[600];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    uint64_t resealed;
};

static void open_all(struct fixture *f, const char *text) {
    FILE *file = fopen(f->path, "w");
    fputs(text, file);
    fclose(file);
    f->keys = NULL;
    if (text[0] && seal_keys_open(f->path, &f->keys, f->why, sizeof f->why))
        fail_msg("%s", f->why);
    struct datadir_options dir = {.dir = f->dir, .keys = f->keys};
    struct broker_options options = {.manual_clock = true};
    if (datadir_open(&dir, &f->datadir, f->why, sizeof f->why))
        fail_msg("%s", f->why);
    options.datadir = f->datadir;
    if (broker_open(&options, &f->broker, f->why, sizeof f->why) ||
        datadir_start(f->datadir, f->why, sizeof f->why))
        fail_msg("%s", f->why);
}

static void stop(struct fixture *f) {
    broker_drain(f->broker);
    datadir_stop(f->datadir);
    broker_close(f->broker);
}

static void close_all(struct fixture *f) {
    stop(f);
    datadir_close(f->datadir);
    seal_keys_close(f->keys);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    log_set_level(LOG_OFF);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s.keys", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[200];
    close_all(f);
    snprintf(command, sizeof command, "rm -rf %s %s", f->dir, f->path);
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

static enum err run(struct fixture *f, struct broker_op op) {
    struct broker_write write = {
        .ops = &op, .op_count = 1, .now_ms = clock_wall_ms(), .done = write_done, .context = f};
    enum err err = broker_submit(f->broker, &write);
    if (err != ERR_PENDING)
        return err;
    await(f);
    return op.err;
}

static void create(struct fixture *f, const char *queue) {
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    struct broker_op op = {
        .action = BROKER_CREATE_QUEUE, .queue = slice_of_cstr(queue), .options = &options};
    assert_int_equal(run(f, op), OK);
}

static void publish(struct fixture *f, const char *queue, const char *payload) {
    struct broker_op op = {.action = BROKER_PUBLISH,
                           .router = SLICE("default"),
                           .routing_key = slice_of_cstr(queue),
                           .headers = SLICE(HEADERS),
                           .payload = slice_of_cstr(payload)};
    assert_int_equal(run(f, op), OK);
}

/* Of a queue: how many messages come with this payload. */
static unsigned take(struct fixture *f, const char *queue, unsigned max, const char *payload) {
    struct broker_receive receive = {.queue = slice_of_cstr(queue),
                                     .max = max,
                                     .now_ms = clock_wall_ms(),
                                     .done = receive_done,
                                     .context = f};
    enum err err = broker_receive(f->broker, &receive);
    if (err == ERR_PENDING)
        await(f);
    else
        assert_int_equal(err, OK);
    for (unsigned i = 0; i < receive.count; i++) {
        assert_true(slice_equal(receive.deliveries[i].payload, slice_of_cstr(payload)));
        assert_true(slice_equal(receive.deliveries[i].headers, SLICE(HEADERS)));
    }
    unsigned count = receive.count;
    broker_receive_free(&receive);
    return count;
}

static bool is_on_disk(const struct fixture *f, const char *text) {
    char command[300];
    snprintf(command, sizeof command, "grep -rqaF '%s' %s", text, f->dir);
    return system(command) == 0;
}

static void messages_are_sealed_in_the_journal_and_in_lmdb(void **state) {
    struct fixture *f = *state;
    open_all(f, KEY_A);
    create(f, "readable");
    publish(f, "readable", SECRET);
    publish(f, "readable", SECRET);
    assert_false(is_on_disk(f, SECRET));
    close_all(f);
    open_all(f, KEY_A);
    assert_false(is_on_disk(f, SECRET));
    assert_false(is_on_disk(f, "nor that"));
    assert_true(is_on_disk(f, "readable"));
    assert_int_equal(take(f, "readable", 10, SECRET), 2);
}

/* As after a crash before LMDB was told of anything. */
static void they_come_back_from_the_journal(void **state) {
    struct fixture *f = *state;
    char command[300];
    open_all(f, KEY_A);
    create(f, "q");
    publish(f, "q", SECRET);
    publish(f, "q", SECRET);
    snprintf(command, sizeof command, "rm -rf %s.copy && cp -r %s %s.copy", f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
    close_all(f);
    snprintf(command, sizeof command, "rm -rf %s && mv %s.copy %s", f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
    open_all(f, KEY_A);
    assert_int_equal(take(f, "q", 10, SECRET), 2);
}

/* The record of the first message of a queue goes where that of another's stands, by a checksum
 * that is right. */
static void a_message_that_was_put_in_anothers_place_is_not_delivered(void **state) {
    struct fixture *f = *state;
    struct env *env;
    struct env_read *read;
    struct env_write *write;
    struct env_cursor *cursor;
    struct slice key, value, rest;
    struct stored_message stored;
    char dir[100], bytes[500];
    struct spot from, to;
    open_all(f, KEY_A);
    create(f, "a");
    create(f, "b");
    publish(f, "a", SECRET);
    publish(f, "b", SECRET);
    close_all(f);
    snprintf(dir, sizeof dir, "%s/broker", f->dir);
    assert_int_equal(env_open(dir, &env, f->why, sizeof f->why), OK);
    assert_int_equal(env_read_begin(env, &read), OK);
    assert_int_equal(env_cursor_open(read, ENV_ENTRIES, &cursor), OK);
    assert_int_equal(env_cursor_seek(cursor, SLICE(""), &key, &value), OK);
    assert_int_equal(stored_message_read(key, value, &stored, &rest), OK);
    memcpy(from.bytes, key.ptr, SPOT_BYTES);
    memcpy(bytes, value.ptr, value.len);
    size_t len = value.len;
    assert_int_equal(env_cursor_next(cursor, &key, &value), OK);
    memcpy(to.bytes, key.ptr, SPOT_BYTES);
    env_cursor_close(cursor);
    env_read_end(read);
    stored_message_sum(spot_slice(&to), bytes, len);
    assert_int_equal(env_write_begin(env, 4096, &write), OK);
    assert_int_equal(env_write_put(write, ENV_ENTRIES, spot_slice(&to), slice_make(bytes, len)),
                     OK);
    assert_int_equal(env_write_commit(write), OK);
    env_close(env);
    open_all(f, KEY_A);
    assert_int_equal(take(f, "b", 10, SECRET), 0);
    assert_int_equal(take(f, "a", 10, SECRET), 1);
}

static void count(void *context, uint64_t more) {
    ((struct fixture *)context)->resealed += more;
}

static void rewriting_leaves_nothing_in_plain_or_under_another_key(void **state) {
    struct fixture *f = *state;
    struct broker_reseal with = {count, f};
    open_all(f, "");
    create(f, "q");
    for (unsigned i = 0; i < 50; i++)
        publish(f, "q", SECRET);
    close_all(f);
    assert_true(is_on_disk(f, SECRET));
    const char *const keys[] = {KEY_A, KEY_B KEY_A};
    for (unsigned round = 0; round < 2; round++) {
        open_all(f, keys[round]);
        assert_int_equal(take(f, "q", 2, SECRET), 2); /* leased: the state goes with them */
        publish(f, "q", SECRET);
        stop(f);
        assert_true(datadir_is_applied(f->datadir));
        f->resealed = 0;
        assert_int_equal(broker_reseal(f->datadir, &with, f->why, sizeof f->why), OK);
        assert_int_equal(f->resealed, 51 + round);
        assert_int_equal(datadir_drop_journal(f->datadir, f->why, sizeof f->why), OK);
        assert_int_equal(datadir_forget_keys(f->datadir, f->why, sizeof f->why), OK);
        datadir_close(f->datadir);
        seal_keys_close(f->keys);
        assert_false(is_on_disk(f, SECRET));
    }
    open_all(f, KEY_B);
    assert_int_equal(take(f, "q", 100, SECRET), 48);
}

/* One bit of the first message turns, or its key is none. */
static void damage(const struct fixture *f, bool key_too) {
    char dir[100], why[300] = "", bytes[500];
    struct env *env;
    struct env_write *write;
    struct slice key, value;
    snprintf(dir, sizeof dir, "%s/broker", f->dir);
    assert_int_equal(env_open(dir, &env, why, sizeof why), OK);
    assert_int_equal(env_write_begin(env, 4096, &write), OK);
    assert_int_equal(env_write_seek(write, ENV_ENTRIES, SLICE("\0"), &key, &value), OK);
    assert_true(value.len < sizeof bytes);
    memcpy(bytes, value.ptr, value.len);
    bytes[value.len - 1] ^= 1;
    struct slice to = slice_make(bytes, value.len);
    char same[SPOT_BYTES];
    memcpy(same, key.ptr, SPOT_BYTES);
    key = key_too ? SLICE("no place") : slice_make(same, SPOT_BYTES);
    assert_int_equal(env_write_put(write, ENV_ENTRIES, key, to), OK);
    assert_int_equal(env_write_commit(write), OK);
    env_close(env);
}

static void rewriting_stops_at_a_damaged_message_with_all_as_it_was(void **state) {
    struct fixture *f = *state;
    struct broker_reseal with = {count, f};
    uint64_t messages = 0;
    open_all(f, KEY_A);
    create(f, "q");
    for (unsigned i = 0; i < 3; i++)
        publish(f, "q", SECRET);
    close_all(f);
    damage(f, false);
    for (unsigned round = 0; round < 2; round++) {
        open_all(f, KEY_B KEY_A);
        stop(f);
        f->why[0] = '\0';
        assert_int_equal(broker_reseal(f->datadir, &with, f->why, sizeof f->why), ERR_CORRUPT);
        assert_non_null(f->why[0] ? f->why : NULL);
        assert_int_equal(broker_reseal_count(f->datadir, &messages, f->why, sizeof f->why), OK);
        assert_int_equal(messages, 3 + round);
        datadir_close(f->datadir);
        seal_keys_close(f->keys);
        if (round == 0)
            damage(f, true);
    }
    open_all(f, KEY_B KEY_A);
    assert_int_equal(take(f, "q", 10, SECRET), 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(messages_are_sealed_in_the_journal_and_in_lmdb),
        CASE(they_come_back_from_the_journal),
        CASE(a_message_that_was_put_in_anothers_place_is_not_delivered),
        CASE(rewriting_leaves_nothing_in_plain_or_under_another_key),
        CASE(rewriting_stops_at_a_damaged_message_with_all_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
