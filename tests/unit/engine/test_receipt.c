/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/receive.h"

static void check_round(int64_t place, int64_t seq, int64_t lease) {
    struct receipt made = {.place = place, .seq = seq, .lease = lease};
    struct receipt read;
    char text[BROKER_RECEIPT_BYTES];
    receipt_format(&made, text);
    assert_int_equal(strlen(text), 23);
    assert_true(receipt_parse(slice_of_cstr(text), &read));
    assert_int_equal(read.place, place);
    assert_int_equal(read.seq, seq);
    assert_int_equal(read.lease, lease);
}

static void a_receipt_is_read_as_it_was_written(void **state) {
    (void)state;
    check_round(0, 1, 1);
    check_round(9, INT64_MAX, INT64_MIN);
    check_round(4, 0x0102030405060708, -1);
    check_round(9, 1795259037228000, 0x7edcba9876543210);
}

static void other_texts_are_no_receipts(void **state) {
    (void)state;
    struct receipt read = {.seq = 7};
    struct receipt made = {.place = 9, .seq = 5, .lease = 3};
    char text[BROKER_RECEIPT_BYTES];
    receipt_format(&made, text);
    assert_false(receipt_parse(SLICE(""), &read));
    assert_false(receipt_parse(SLICE("900000000000000590e1ec9a9ef9d5a4"), &read));
    assert_false(receipt_parse(slice_make(text, 22), &read));
    text[5] = '+';
    assert_false(receipt_parse(slice_make(text, 23), &read));
    receipt_format(&made, text);
    text[22] = 'B'; /* bits that stand for nothing: a second spelling of the same bytes */
    assert_false(receipt_parse(slice_make(text, 23), &read));
    made.place = 10;
    receipt_format(&made, text);
    assert_false(receipt_parse(slice_make(text, 23), &read));
    assert_int_equal(read.seq, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_is_read_as_it_was_written),
        cmocka_unit_test(other_texts_are_no_receipts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
