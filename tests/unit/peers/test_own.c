/* SPDX-License-Identifier: MIT */
#include "peers/own.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "kv/kv.h"
#include "peers/olivia_filter.h"
#include "peers/wide_filter.h"

#define PARTS 4U
#define STORE_KEYS 40000U

/* The store's part in it: keys by number, four to be shown one after another. */
struct store {
    struct own *own;
    pthread_mutex_t locks[PARTS];
    bool held[STORE_KEYS];
    void (*between)(struct store *store, uint32_t part); /* before a part is shown */
};

static struct store store;
static struct kv *const some_kv = (struct kv *)&store;

static struct slice name_of(char *to, unsigned number) {
    return slice_make(to, (size_t)snprintf(to, 32, "user:%u", number));
}

static uint64_t hash_of(unsigned number) {
    char text[32];
    return wide_filter_hash(name_of(text, number));
}

static void put(unsigned number, bool held) {
    char text[32];
    pthread_mutex_lock(&store.locks[number % PARTS]);
    if (store.held[number] != held) {
        store.held[number] = held;
        own_note(store.own, name_of(text, number), held);
    }
    pthread_mutex_unlock(&store.locks[number % PARTS]);
}

static void put_all(unsigned from, unsigned to, bool held) {
    for (unsigned i = from; i < to; i++)
        put(i, held);
}

bool kv_watch_scan(struct kv *kv, uint32_t *at, void (*each)(void *context, struct slice key),
                   void *context) {
    char text[32];
    assert_ptr_equal(kv, some_kv);
    uint32_t part = (*at)++;
    if (store.between)
        store.between(&store, part);
    pthread_mutex_lock(&store.locks[part]);
    for (unsigned i = part; i < STORE_KEYS; i += PARTS)
        if (store.held[i])
            each(context, name_of(text, i));
    pthread_mutex_unlock(&store.locks[part]);
    return *at < PARTS;
}

static int set_up(void **state) {
    memset(&store, 0, sizeof store);
    for (unsigned i = 0; i < PARTS; i++)
        pthread_mutex_init(&store.locks[i], NULL);
    *state = &store;
    return own_open(false, &store.own) == OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    own_close(store.own);
    for (unsigned i = 0; i < PARTS; i++)
        pthread_mutex_destroy(&store.locks[i]);
    return 0;
}

static struct own_state state_now(void) {
    struct own_state now;
    own_state(store.own, &now);
    return now;
}

/* Steps until there is nothing more to do; true where there was something. */
static bool rebuild(int64_t steady_ms) {
    uint64_t epoch = state_now().epoch;
    for (unsigned steps = 0; own_rebuild_step(store.own, some_kv, steady_ms); steps++)
        assert_true(steps < 1000);
    return state_now().epoch != epoch;
}

static bool olivia_has(unsigned number) {
    struct olivia_filter filter;
    struct buf text;
    char name[32];
    buf_init(&text, 4096);
    assert_true(own_append_olivia(store.own, &text));
    assert_true(olivia_filter_parse(buf_slice(&text), &filter));
    buf_done(&text);
    return olivia_filter_has(&filter, name_of(name, number));
}

/* The whole wide filter as a peer fetches it. */
static void fetch(struct wide_filter *ret_filter, struct own_state *ret_state) {
    *ret_state = state_now();
    assert_int_equal(wide_filter_init(ret_filter, ret_state->bits), OK);
    uint64_t offset = 0;
    while (offset < ret_state->bits / 8) {
        struct buf text;
        size_t len;
        buf_init(&text, OWN_CHUNK_BYTES * 2);
        assert_true(own_append_chunk(store.own, ret_state->epoch, offset, &text));
        uint8_t *bytes = malloc(text.len);
        assert_true(text_base64url_decode(buf_slice(&text), (char *)bytes, &len));
        uint64_t left = ret_state->bits / 8 - offset;
        assert_int_equal(len, left < OWN_CHUNK_BYTES ? left : OWN_CHUNK_BYTES);
        for (size_t i = 0; i < len; i++)
            ret_filter->words[(offset + i) / 8] |= (uint64_t)bytes[i] << i % 8 * 8;
        free(bytes);
        buf_done(&text);
        offset += len;
    }
}

static bool wide_has(unsigned number) {
    struct wide_filter filter;
    struct own_state then;
    fetch(&filter, &then);
    bool has = wide_filter_has(&filter, hash_of(number));
    wide_filter_done(&filter);
    return has;
}

static void assert_all_held_are_found(void) {
    struct wide_filter filter;
    struct own_state then;
    fetch(&filter, &then);
    for (unsigned i = 0; i < STORE_KEYS; i++)
        if (store.held[i] && !wide_filter_has(&filter, hash_of(i)))
            fail_msg("key %u is denied", i);
    wide_filter_done(&filter);
}

static void test_a_key_is_found_from_its_coming_on(void **state) {
    (void)state;
    assert_false(olivia_has(1));
    assert_false(wide_has(1));
    put(1, true);
    assert_true(olivia_has(1));
    assert_true(wide_has(1));
    assert_int_equal(state_now().keys, 1);
    assert_int_equal(state_now().sequence, 1);
}

static void test_keys_leave_the_olivia_filter_at_once_and_take_no_other_with_them(void **state) {
    (void)state;
    put_all(0, 500, true);
    put_all(100, 500, false);
    for (unsigned i = 0; i < 100; i++)
        assert_true(olivia_has(i));
    unsigned still = 0;
    for (unsigned i = 100; i < 500; i++)
        still += olivia_has(i);
    assert_true(still < 10);
    put_all(0, 100, false);
    struct buf text;
    buf_init(&text, 4096);
    assert_true(own_append_olivia(store.own, &text));
    assert_true(slice_equal(buf_slice(&text), SLICE("A8JXEA1600")));
    buf_done(&text);
    assert_int_equal(state_now().keys, 0);
}

static void test_widening_for_the_text_is_not_remembered(void **state) {
    (void)state;
    put_all(0, 3000, true);
    for (unsigned i = 0; i < 10; i++)
        assert_true(olivia_has(i));
    put_all(0, 3000, false);
    struct buf text;
    buf_init(&text, 4096);
    assert_true(own_append_olivia(store.own, &text));
    assert_true(slice_equal(buf_slice(&text), SLICE("A8JXEA1600")));
    buf_done(&text);
}

static void test_a_filter_grows_when_its_keys_want_more(void **state) {
    (void)state;
    put_all(0, 819, true);
    assert_false(rebuild(0));
    put(819, true);
    uint64_t epoch = state_now().epoch;
    assert_true(rebuild(0));
    assert_int_equal(state_now().bits, 2 * WIDE_FILTER_BITS_MIN);
    assert_int_equal(state_now().epoch, epoch + 1);
    assert_int_equal(state_now().sequence, 820);
    assert_all_held_are_found();
    assert_false(rebuild(1000000));
}

static void test_a_filter_shrinks_when_its_keys_want_less_than_a_quarter(void **state) {
    (void)state;
    put_all(0, 30000, true);
    assert_true(rebuild(0));
    assert_int_equal(state_now().bits, 1U << 19);
    put_all(10000, 30000, false); /* want a quarter of it */
    assert_false(rebuild(1));
    put_all(6000, 10000, false);
    assert_true(rebuild(1));
    assert_int_equal(state_now().bits, 1U << 16);
    put_all(10, 6000, false);
    assert_true(rebuild(2));
    assert_int_equal(state_now().bits, WIDE_FILTER_BITS_MIN);
    assert_all_held_are_found();
}

static void test_keys_leave_the_wide_filter_when_a_tenth_is_gone_and_some_time(void **state) {
    (void)state;
    put_all(0, 1000, true);
    assert_true(rebuild(5000));
    put_all(0, 100, false);
    assert_false(rebuild(100000));
    assert_true(wide_has(0));
    put(100, false);
    assert_false(rebuild(5049));
    assert_true(rebuild(5050));
    for (unsigned i = 0, still = 0; i <= 100; i++) {
        still += wide_has(i);
        assert_true(still < 8);
    }
    assert_all_held_are_found();
    put_all(0, STORE_KEYS, false);
    assert_true(rebuild(6000));
    assert_false(wide_has(500));
}

static void test_a_big_filter_is_made_anew_less_often(void **state) {
    (void)state;
    char name[32];
    for (unsigned i = STORE_KEYS; i < 110000; i++) /* not in the store: gone when it is shown */
        own_note(store.own, name_of(name, i), true);
    put_all(0, 100, true);
    assert_true(rebuild(1000));
    assert_int_equal(state_now().bits, 1U << 20);
    for (unsigned i = STORE_KEYS; i < STORE_KEYS + 10000; i++)
        own_note(store.own, name_of(name, i), false);
    assert_false(rebuild(5999));
    assert_true(rebuild(6000));
    assert_false(rebuild(100000));
}

static void keys_come_and_go_between_parts(struct store *of, uint32_t part) {
    (void)of;
    put_all(20000 + part * 100, 20000 + part * 100 + 100, true);
    put_all(part * 50, part * 50 + 50, false);
}

static void test_keys_that_come_while_it_is_made_anew_are_in_it(void **state) {
    (void)state;
    put_all(0, 1000, true);
    store.between = keys_come_and_go_between_parts;
    assert_true(rebuild(0));
    store.between = NULL;
    assert_int_equal(state_now().keys, 1200);
    assert_int_equal(state_now().sequence, 1400);
    assert_all_held_are_found();
    /* those that went meanwhile were perhaps shown before: a tenth of them is gone, it is said */
    assert_false(rebuild(49));
    assert_true(rebuild(50));
    assert_false(wide_has(0) && wide_has(50) && wide_has(100));
    assert_false(rebuild(1000));
}

static void assert_pulse(struct slice text, unsigned first, size_t count) {
    char *bytes = malloc(text.len + 1);
    size_t len;
    assert_true(text_base64url_decode(text, bytes, &len));
    assert_int_equal(len, count * 8);
    for (unsigned i = 0; i < count; i++) {
        uint64_t hash = 0;
        for (unsigned byte = 8; byte-- > 0;)
            hash = hash << 8 | (uint8_t)bytes[i * 8 + byte];
        assert_true(hash == hash_of(first + i));
    }
    free(bytes);
}

static void test_a_pulse_has_the_hashes_behind_a_sequence_in_order(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 20);
    put_all(0, 10, true);
    uint64_t epoch = state_now().epoch, sequence = 7;
    assert_true(own_append_since(store.own, epoch, &sequence, &text));
    assert_int_equal(sequence, 10);
    assert_pulse(buf_slice(&text), 7, 3);
    buf_clear(&text);
    assert_true(own_append_since(store.own, epoch, &sequence, &text));
    assert_int_equal(text.len, 0);
    assert_int_equal(sequence, 10);
    put_all(10, 10000, true);
    assert_true(own_append_since(store.own, epoch, &sequence, &text));
    assert_int_equal(sequence, 10 + OWN_PULSE_MAX);
    assert_pulse(buf_slice(&text), 10, OWN_PULSE_MAX);
    buf_clear(&text);
    assert_true(own_append_since(store.own, epoch, &sequence, &text));
    assert_int_equal(sequence, 10000);
    assert_pulse(buf_slice(&text), 10 + OWN_PULSE_MAX, 10000 - 10 - OWN_PULSE_MAX);
    buf_done(&text);
}

static void test_what_no_pulse_can_tell_wants_the_whole_filter(void **state) {
    (void)state;
    struct buf text;
    char name[32];
    buf_init(&text, 1 << 20);
    buf_append(&text, SLICE("before"));
    put(0, true);
    uint64_t epoch = state_now().epoch, sequence = 2;
    assert_false(own_append_since(store.own, epoch, &sequence, &text));
    sequence = UINT64_MAX;
    assert_false(own_append_since(store.own, epoch, &sequence, &text));
    sequence = 0;
    assert_false(own_append_since(store.own, epoch + 1, &sequence, &text));
    assert_false(own_append_since(store.own, 0, &sequence, &text));
    for (unsigned i = 1; i < OWN_RING; i++)
        own_note(store.own, name_of(name, i), true);
    assert_true(own_append_since(store.own, epoch, &sequence, &text));
    assert_int_equal(sequence, OWN_PULSE_MAX);
    sequence = 0;
    own_note(store.own, name_of(name, OWN_RING), true);
    size_t len = text.len;
    assert_false(own_append_since(store.own, epoch, &sequence, &text));
    assert_int_equal(sequence, 0);
    assert_int_equal(text.len, len);
    buf_done(&text);
}

static void test_a_pulse_of_an_older_epoch_wants_the_whole_filter(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 20);
    put_all(0, 820, true);
    uint64_t epoch = state_now().epoch, sequence = 819;
    assert_true(rebuild(0));
    assert_false(own_append_since(store.own, epoch, &sequence, &text));
    assert_true(own_append_since(store.own, epoch + 1, &sequence, &text));
    assert_pulse(buf_slice(&text), 819, 1);
    buf_done(&text);
}

static void test_chunks_are_refused_beside_the_filter(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 20);
    put_all(0, STORE_KEYS, true);
    assert_true(rebuild(0));
    struct own_state now = state_now();
    assert_int_equal(now.bits, 1U << 19);
    assert_true(own_append_chunk(store.own, now.epoch, 0, &text));
    assert_int_equal(text.len, ((1U << 16) * 4 + 2) / 3);
    size_t len = text.len;
    assert_false(own_append_chunk(store.own, now.epoch, 8, &text));
    assert_false(own_append_chunk(store.own, now.epoch, OWN_CHUNK_BYTES, &text));
    assert_false(own_append_chunk(store.own, now.epoch, UINT64_MAX / 3 / OWN_CHUNK_BYTES, &text));
    assert_false(own_append_chunk(store.own, now.epoch,
                                  UINT64_MAX / OWN_CHUNK_BYTES * OWN_CHUNK_BYTES, &text));
    assert_false(own_append_chunk(store.own, now.epoch - 1, 0, &text));
    text.max_bytes = text.len + 100;
    assert_false(own_append_chunk(store.own, now.epoch, 0, &text));
    assert_int_equal(text.len, len);
    buf_done(&text);
}

static void test_a_filter_of_several_chunks_comes_whole(void **state) {
    (void)state;
    char name[32];
    put_all(0, STORE_KEYS, true);
    for (unsigned i = STORE_KEYS; i < 220000; i++)
        own_note(store.own, name_of(name, i), true);
    assert_true(rebuild(0));
    assert_true(state_now().bits / 8 > OWN_CHUNK_BYTES);
    assert_all_held_are_found();
    assert_false(wide_has(1000000) && wide_has(1000001) && wide_has(1000002));
}

static void test_a_node_that_cannot_tell_says_maybe_to_all(void **state) {
    (void)state;
    own_close(store.own);
    assert_int_equal(own_open(true, &store.own), OK);
    for (unsigned i = 0; i < 100; i++)
        assert_true(olivia_has(i) && wide_has(i));
    put(1, true);
    put(1, false);
    assert_true(olivia_has(1) && wide_has(1));
    assert_int_equal(state_now().bits, WIDE_FILTER_BITS_MIN);
    assert_int_equal(state_now().keys, 0);
    assert_false(own_rebuild_step(store.own, NULL, 1000000));
    assert_false(rebuild(1000000));
}

static void test_every_process_has_its_epoch_and_none_is_zero(void **state) {
    (void)state;
    uint64_t before = state_now().epoch;
    for (unsigned i = 0; i < 50; i++) {
        own_close(store.own);
        assert_int_equal(own_open(false, &store.own), OK);
        uint64_t epoch = state_now().epoch;
        assert_true(epoch > 0 && epoch < 1ULL << 63 && epoch != before);
        before = epoch;
    }
}

/* Each writer has a quarter of the numbers: they come, and every third goes again. */
static void *write_keys(void *context) {
    unsigned first = *(unsigned *)context;
    for (unsigned i = first; i < STORE_KEYS; i += PARTS) {
        put(i, true);
        if (i % 3 == 0)
            put(i, false);
    }
    return NULL;
}

static void *read_filters(void *context) {
    atomic_bool *stop = context;
    struct buf text;
    buf_init(&text, 1 << 20);
    while (!atomic_load(stop)) {
        struct own_state now = state_now();
        uint64_t sequence = now.sequence > 2000 ? now.sequence - 2000 : 0;
        buf_clear(&text);
        (void)own_append_since(store.own, now.epoch, &sequence, &text);
        (void)own_append_chunk(store.own, now.epoch, 0, &text);
        (void)own_append_olivia(store.own, &text);
    }
    buf_done(&text);
    return NULL;
}

static void test_writers_readers_and_a_rebuild_at_once_lose_no_key(void **state) {
    (void)state;
    pthread_t writers[PARTS], reader;
    unsigned first[PARTS];
    atomic_bool stop = false;
    int64_t steady_ms = 0;
    assert_int_equal(pthread_create(&reader, NULL, read_filters, &stop), 0);
    for (unsigned i = 0; i < PARTS; i++) {
        first[i] = i;
        assert_int_equal(pthread_create(&writers[i], NULL, write_keys, &first[i]), 0);
    }
    while (state_now().sequence < STORE_KEYS)
        rebuild(steady_ms += 50);
    for (unsigned i = 0; i < PARTS; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&stop, true);
    pthread_join(reader, NULL);
    assert_all_held_are_found();
    rebuild(steady_ms + 50);
    assert_all_held_are_found();
    assert_int_equal(state_now().keys, STORE_KEYS - (STORE_KEYS + 2) / 3);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_key_is_found_from_its_coming_on),
        CASE(test_keys_leave_the_olivia_filter_at_once_and_take_no_other_with_them),
        CASE(test_widening_for_the_text_is_not_remembered),
        CASE(test_a_filter_grows_when_its_keys_want_more),
        CASE(test_a_filter_shrinks_when_its_keys_want_less_than_a_quarter),
        CASE(test_keys_leave_the_wide_filter_when_a_tenth_is_gone_and_some_time),
        CASE(test_a_big_filter_is_made_anew_less_often),
        CASE(test_keys_that_come_while_it_is_made_anew_are_in_it),
        CASE(test_a_pulse_has_the_hashes_behind_a_sequence_in_order),
        CASE(test_what_no_pulse_can_tell_wants_the_whole_filter),
        CASE(test_a_pulse_of_an_older_epoch_wants_the_whole_filter),
        CASE(test_chunks_are_refused_beside_the_filter),
        CASE(test_a_filter_of_several_chunks_comes_whole),
        CASE(test_a_node_that_cannot_tell_says_maybe_to_all),
        CASE(test_every_process_has_its_epoch_and_none_is_zero),
        CASE(test_writers_readers_and_a_rebuild_at_once_lose_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
