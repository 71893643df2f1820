/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "server/client_table.h"
#include "server/limits.h"

#define S 1000000000LL

static const struct client_allowance ten_a_second = {.per = 10, .burst = 10, .unit_ns = S};

static struct client_key key_of(uint64_t number) {
    struct client_key key = {.is_subject = false};
    memcpy(key.bytes, &number, sizeof number);
    return key;
}

static bool take(struct client_table *table, uint64_t who, uint64_t n, int64_t now_ns,
                 struct client_rest *rest) {
    struct client_key key = key_of(who);
    return client_table_take(table, &key, CLIENT_REQUESTS, &ten_a_second, n, now_ns, rest);
}

static void test_a_bucket_gives_its_burst_and_then_its_rate(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    for (unsigned i = 0; i < 10; i++) {
        assert_true(take(table, 1, 1, 5 * S, &rest));
        assert_int_equal(rest.left, 9 - i);
    }
    assert_false(take(table, 1, 1, 5 * S, &rest));
    assert_int_equal(rest.left, 0);
    assert_int_equal(rest.another_in_ns, S / 10);
    assert_int_equal(rest.full_in_ns, S);
    assert_false(take(table, 1, 1, 5 * S + S / 10 - 2, &rest));
    assert_true(take(table, 1, 1, 5 * S + S / 10, &rest));
    assert_false(take(table, 1, 1, 5 * S + S / 10, &rest));
    assert_true(take(table, 1, 10, 7 * S, &rest));
    client_table_close(table);
}

static void test_a_refusal_takes_nothing(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    assert_true(take(table, 1, 8, 0, &rest));
    for (unsigned i = 0; i < 100; i++)
        assert_false(take(table, 1, 3, 0, &rest));
    assert_int_equal(rest.left, 2);
    assert_true(take(table, 1, 2, 0, &rest));
    client_table_close(table);
}

static void test_clients_have_buckets_of_their_own(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    struct client_key subject = key_of(1);
    subject.is_subject = true;
    assert_true(take(table, 1, 10, 0, &rest));
    assert_false(take(table, 1, 1, 0, &rest));
    assert_true(take(table, 2, 10, 0, &rest));
    assert_true(client_table_take(table, &subject, CLIENT_REQUESTS, &ten_a_second, 10, 0, &rest));
    client_table_close(table);
}

static void test_what_is_owed_has_to_come_first(void **state) {
    (void)state;
    static const struct client_allowance kb = {.per = 1024, .burst = 2048, .unit_ns = S};
    struct client_table *table = client_table_open();
    struct client_key key = key_of(7);
    struct client_rest rest;
    assert_true(client_table_look(table, &key, CLIENT_BYTES, &kb, 0, &rest));
    client_table_owe(table, &key, CLIENT_BYTES, &kb, 2048 + 4096, 0);
    assert_false(client_table_look(table, &key, CLIENT_BYTES, &kb, 4 * S, &rest));
    assert_true(client_table_look(table, &key, CLIENT_BYTES, &kb, 4 * S + S / 1000, &rest));
    client_table_owe(table, &key, CLIENT_BYTES, &kb, UINT64_MAX, 10 * S);
    assert_false(client_table_look(table, &key, CLIENT_BYTES, &kb, 11 * S, &rest));
    assert_true(rest.full_in_ns <= 700 * S);
    client_table_close(table);
}

static void test_ten_thousand_clients_are_all_known(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    for (uint64_t i = 0; i < 10000; i++)
        assert_true(take(table, i, 10, 0, &rest));
    assert_int_equal(client_table_count(table), 10000);
    for (uint64_t i = 0; i < 10000; i++)
        assert_false(take(table, i, 1, 0, &rest));
    client_table_close(table);
}

static void test_a_flood_of_clients_neither_grows_the_table_nor_frees_anybody(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    assert_true(take(table, 1000000, 10, 0, &rest));
    for (uint64_t i = 0; i < 4 * CLIENT_TABLE_MAX; i++)
        (void)take(table, i, 10, 0, &rest);
    assert_true(client_table_count(table) <= CLIENT_TABLE_MAX);
    assert_false(take(table, 1000000, 1, 0, &rest));
    assert_true(take(table, 1000000, 1, S, &rest));
    client_table_close(table);
}

static void test_those_without_debt_make_room_first(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    for (uint64_t i = 0; i < 4 * CLIENT_TABLE_MAX; i++)
        (void)take(table, i, 1, 0, &rest);
    /* all of them are as good as forgotten a second later: newcomers begin with all of it */
    for (uint64_t i = 0; i < CLIENT_TABLE_MAX / 2; i++)
        assert_true(take(table, 10000000 + i, 10, 2 * S, &rest));
    client_table_close(table);
}

static void test_who_has_something_open_is_never_forgotten(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_key key = key_of(1000000);
    struct client_rest rest;
    assert_true(client_table_hold(table, &key, CLIENT_CONNECTIONS, 2, 0));
    assert_true(client_table_hold(table, &key, CLIENT_CONNECTIONS, 2, 0));
    for (uint64_t i = 0; i < 2 * CLIENT_TABLE_MAX; i++)
        (void)take(table, i, 10, 0, &rest);
    assert_false(client_table_hold(table, &key, CLIENT_CONNECTIONS, 2, 0));
    client_table_let_go(table, &key, CLIENT_CONNECTIONS);
    assert_true(client_table_hold(table, &key, CLIENT_CONNECTIONS, 2, 0));
    assert_true(client_table_hold(table, &key, CLIENT_CALLS, 1, 0));
    assert_false(client_table_hold(table, &key, CLIENT_CALLS, 1, 0));
    client_table_close(table);
}

#define THREADS 4
#define ROUNDS 20000

static struct client_table *shared;

static void *use_table(void *context) {
    uint64_t own = *(uint64_t *)context, granted = 0;
    struct client_key key = key_of(5);
    struct client_rest rest;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        granted += take(shared, 1, 1, 0, &rest);
        (void)take(shared, 100 + own * ROUNDS + i, 1, 0, &rest);
        if (client_table_hold(shared, &key, CLIENT_CALLS, 2, 0))
            client_table_let_go(shared, &key, CLIENT_CALLS);
    }
    *(uint64_t *)context = granted;
    return NULL;
}

static void test_threads_share_what_is_there(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    uint64_t numbers[THREADS], granted = 0;
    shared = client_table_open();
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, use_table, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        granted += numbers[i];
    }
    assert_int_equal(granted, 10);
    client_table_close(shared);
}

/* Nobody is forgotten, so nobody new is known: who is not known is let in neither. */
static void test_a_table_of_those_who_have_something_open_is_full(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    struct client_rest rest;
    uint64_t held = 0;
    for (uint64_t i = 0; i < 3 * CLIENT_TABLE_MAX; i++) {
        struct client_key key = key_of(i);
        held += client_table_hold(table, &key, i % 2 ? CLIENT_CONNECTIONS : CLIENT_CALLS, 0, 0);
    }
    assert_int_equal(held, CLIENT_TABLE_MAX);
    assert_int_equal(client_table_count(table), CLIENT_TABLE_MAX);
    struct client_key late = key_of(UINT64_MAX);
    assert_false(client_table_hold(table, &late, CLIENT_CALLS, 5, 0));
    assert_false(take(table, UINT64_MAX, 1, 0, &rest));
    assert_int_equal(rest.left, 0);
    assert_true(rest.another_in_ns > 0);
    client_table_owe(table, &late, CLIENT_REQUESTS, &ten_a_second, 5, 0);
    client_table_let_go(table, &late, CLIENT_CALLS);
    for (uint64_t i = 0; i < 3 * CLIENT_TABLE_MAX; i++) {
        struct client_key key = key_of(i);
        client_table_let_go(table, &key, i % 2 ? CLIENT_CONNECTIONS : CLIENT_CALLS);
        client_table_let_go(table, &key, CLIENT_CALLS); /* once too often */
    }
    assert_true(client_table_hold(table, &late, CLIENT_CALLS, 5, 0));
    assert_true(take(table, UINT64_MAX, 1, 2 * S, &rest));
    client_table_close(table);
}

static void test_a_subject_is_not_the_address_of_the_same_bytes(void **state) {
    (void)state;
    struct client_table *table = client_table_open();
    for (uint64_t i = 0; i < 2000; i++) {
        struct client_key address = key_of(i), subject = address;
        subject.is_subject = true;
        assert_true(client_table_hold(table, &address, CLIENT_CALLS, 1, 0));
        assert_true(client_table_hold(table, &subject, CLIENT_CALLS, 1, 0));
        assert_false(client_table_hold(table, &subject, CLIENT_CALLS, 1, 0));
    }
    for (uint64_t i = 0; i < 4 * CLIENT_TABLE_MAX; i++) { /* subjects without debt go first */
        struct client_rest rest;
        struct client_key subject = key_of(i + 10000);
        subject.is_subject = true;
        (void)client_table_take(table, &subject, CLIENT_BYTES, &ten_a_second, 5, 0, &rest);
    }
    assert_int_equal(client_table_count(table), CLIENT_TABLE_MAX);
    client_table_close(table);
}

static void test_the_largest_allowances_and_debts_do_not_overflow(void **state) {
    (void)state;
    const struct client_allowance slow = {.per = 1, .burst = UINT64_MAX, .unit_ns = 3600 * S};
    const struct client_allowance fast = {.per = UINT64_MAX, .burst = UINT64_MAX, .unit_ns = S};
    const struct client_allowance *const all[] = {&slow, &fast};
    for (unsigned i = 0; i < 2; i++) {
        struct client_table *table = client_table_open();
        struct client_key key = key_of(1);
        struct client_rest rest;
        int64_t late_ns = INT64_MAX / 8;
        client_table_owe(table, &key, CLIENT_BYTES, all[i], UINT64_MAX, late_ns);
        client_table_owe(table, &key, CLIENT_BYTES, all[i], UINT64_MAX, late_ns);
        (void)client_table_take(table, &key, CLIENT_BYTES, all[i], 1, late_ns, &rest);
        assert_true(rest.full_in_ns >= 0);
        assert_true(rest.another_in_ns >= 0);
        client_table_close(table);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test(test_a_refusal_takes_nothing),
        cmocka_unit_test(test_clients_have_buckets_of_their_own),
        cmocka_unit_test(test_what_is_owed_has_to_come_first),
        cmocka_unit_test(test_ten_thousand_clients_are_all_known),
        cmocka_unit_test(test_a_flood_of_clients_neither_grows_the_table_nor_frees_anybody),
        cmocka_unit_test(test_those_without_debt_make_room_first),
        cmocka_unit_test(test_who_has_something_open_is_never_forgotten),
        cmocka_unit_test(test_threads_share_what_is_there),
        cmocka_unit_test(test_a_table_of_those_who_have_something_open_is_full),
        cmocka_unit_test(test_a_subject_is_not_the_address_of_the_same_bytes),
        cmocka_unit_test(test_the_largest_allowances_and_debts_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
