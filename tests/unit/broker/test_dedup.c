/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/internal.h"

static struct slice id_of(unsigned number, char text[16]) {
    return slice_make(text, (size_t)snprintf(text, 16, "id-%u", number));
}

static void test_an_id_is_seen_within_its_window_and_forgotten_behind_it(void **state) {
    struct dedup *dedup = dedup_new();
    (void)state;
    assert_false(dedup_seen(dedup, SLICE("a"), 1000));
    dedup_confirm(dedup_add(dedup, SLICE("a"), 1500));
    assert_true(dedup_seen(dedup, SLICE("a"), 1499));
    assert_false(dedup_seen(dedup, SLICE("b"), 1499));
    assert_false(dedup_seen(dedup, SLICE("a"), 1500));
    dedup_free(dedup);
}

static void test_an_id_that_is_taken_back_was_not_seen(void **state) {
    struct dedup *dedup = dedup_new();
    (void)state;
    struct dedup_entry *entry = dedup_add(dedup, SLICE("a"), 1500);
    assert_non_null(dedup_add(dedup, SLICE("b"), 1500));
    dedup_take_back(dedup, entry);
    assert_false(dedup_seen(dedup, SLICE("a"), 1000));
    assert_true(dedup_seen(dedup, SLICE("b"), 1000));
    dedup_free(dedup);
}

static void test_many_ids_are_kept_apart(void **state) {
    struct dedup *dedup = dedup_new();
    char text[16];
    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        dedup_confirm(dedup_add(dedup, id_of(i, text), 1000 + i));
    assert_false(dedup_seen(dedup, id_of(2499, text), 3500 - 1));
    for (unsigned i = 2500; i < 5000; i++)
        assert_true(dedup_seen(dedup, id_of(i, text), 3499));
    dedup_free(dedup);
}

struct taken {
    unsigned count, most;
};

static bool take(void *context, const uint8_t hash[16], int64_t until_ms) {
    struct taken *taken = context;
    (void)hash, (void)until_ms;
    if (taken->count == taken->most)
        return false;
    taken->count++;
    return true;
}

static void test_each_id_is_written_down_once(void **state) {
    struct dedup *dedup = dedup_new();
    struct taken taken = {0, 2};
    (void)state;
    dedup_confirm(dedup_add(dedup, SLICE("a"), 10));
    dedup_confirm(dedup_add(dedup, SLICE("b"), 11));
    dedup_confirm(dedup_add(dedup, SLICE("c"), 12));
    dedup_each_new(dedup, take, &taken);
    assert_int_equal(taken.count, 2); /* the third could not be: it comes again */
    taken.most = 100;
    dedup_each_new(dedup, take, &taken);
    assert_int_equal(taken.count, 3);
    struct dedup_entry *fresh = dedup_add(dedup, SLICE("d"), 13);
    dedup_each_new(dedup, take, &taken);
    assert_int_equal(taken.count, 3); /* its message may still be lost */
    dedup_confirm(fresh);
    dedup_each_new(dedup, take, &taken);
    assert_int_equal(taken.count, 4);
    dedup_free(dedup);
}

static void test_ids_whose_transaction_failed_are_written_again(void **state) {
    struct dedup *dedup = dedup_new();
    struct taken taken = {0, 100};
    (void)state;
    dedup_confirm(dedup_add(dedup, SLICE("a"), 10));
    dedup_confirm(dedup_add(dedup, SLICE("b"), 10));
    dedup_each_new(dedup, take, &taken);
    dedup_write_again(dedup);
    dedup_each_new(dedup, take, &taken);
    assert_int_equal(taken.count, 4);
    dedup_free(dedup);
}

static void test_a_restored_id_is_seen_and_not_written_again(void **state) {
    struct dedup *dedup = dedup_new();
    struct taken taken = {0, 100};
    const uint8_t hash[16] = {1, 2, 3};
    (void)state;
    assert_int_equal(dedup_restore(dedup, hash, 50), OK);
    assert_int_equal(dedup_restore(dedup, hash, 50), OK);
    dedup_each_new(dedup, take, &taken);
    assert_int_equal(taken.count, 0);
    dedup_free(dedup);
}

static void test_a_receipt_reads_back_and_nothing_else_does(void **state) {
    struct message message = {.lane = 9, .seq = 0x123456789, .nonce = 0xFEDCBA9876543210U};
    char text[BROKER_RECEIPT_BYTES];
    uint8_t lane;
    uint64_t seq;
    uint64_t nonce;
    (void)state;
    receipt_write(&message, text);
    assert_int_equal(strlen(text), BROKER_RECEIPT_BYTES - 1);
    assert_true(receipt_read(slice_of_cstr(text), &lane, &seq, &nonce));
    assert_int_equal(lane, 9);
    assert_int_equal(seq, message.seq);
    assert_int_equal(nonce, message.nonce);
    text[5] = 'X';
    assert_false(receipt_read(slice_of_cstr(text), &lane, &seq, &nonce));
    text[5] = 'A'; /* one spelling only */
    assert_false(receipt_read(slice_of_cstr(text), &lane, &seq, &nonce));
    receipt_write(&message, text);
    text[0] = 'a'; /* no such lane */
    assert_false(receipt_read(slice_of_cstr(text), &lane, &seq, &nonce));
    assert_false(receipt_read(SLICE(""), &lane, &seq, &nonce));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_is_seen_within_its_window_and_forgotten_behind_it),
        cmocka_unit_test(test_an_id_that_is_taken_back_was_not_seen),
        cmocka_unit_test(test_many_ids_are_kept_apart),
        cmocka_unit_test(test_each_id_is_written_down_once),
        cmocka_unit_test(test_ids_whose_transaction_failed_are_written_again),
        cmocka_unit_test(test_a_restored_id_is_seen_and_not_written_again),
        cmocka_unit_test(test_a_receipt_reads_back_and_nothing_else_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
