/* SPDX-License-Identifier: MIT */
#include "peers/wide_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEYS 100000U

static uint64_t hash_of(const char *before, unsigned number) {
    char text[32];
    int len = snprintf(text, sizeof text, "%s%u", before, number);
    return wide_filter_hash(slice_make(text, (size_t)len));
}

static void test_bits_are_ten_to_twenty_a_key_within_the_limits(void **state) {
    (void)state;
    assert_int_equal(wide_filter_bits_for(0), WIDE_FILTER_BITS_MIN);
    assert_int_equal(wide_filter_bits_for(819), WIDE_FILTER_BITS_MIN);
    assert_int_equal(wide_filter_bits_for(820), 2 * WIDE_FILTER_BITS_MIN);
    for (uint64_t keys = 820; keys < 100000000; keys += keys / 3) {
        uint64_t bits = wide_filter_bits_for(keys);
        assert_int_equal(bits & (bits - 1), 0);
        assert_in_range(bits, keys * 10, keys * 20);
    }
    assert_int_equal(wide_filter_bits_for(1ULL << 40), WIDE_FILTER_BITS_MAX);
    assert_int_equal(wide_filter_bits_for(UINT64_MAX), WIDE_FILTER_BITS_MAX);
}

/* A number on the wire: every node of every version finds a key by the same. */
static void test_the_hash_of_a_key_is_the_same_in_every_process(void **state) {
    (void)state;
    assert_true(wide_filter_hash(SLICE("")) == 0x2D06800538D394C2ULL);
    assert_true(wide_filter_hash(SLICE("a")) == 0xE6C632B61E964E1FULL);
}

static void test_every_key_is_found_and_few_others_where_it_is_fullest(void **state) {
    (void)state;
    for (unsigned keys = 819; keys <= KEYS; keys = keys * 2 + 1) {
        struct wide_filter filter;
        assert_int_equal(wide_filter_init(&filter, wide_filter_bits_for(keys)), OK);
        for (unsigned i = 0; i < keys; i++)
            wide_filter_add(&filter, hash_of("user:", i));
        for (unsigned i = 0; i < keys; i++)
            assert_true(wide_filter_has(&filter, hash_of("user:", i)));
        unsigned false_ones = 0;
        for (unsigned i = 0; i < KEYS; i++)
            false_ones += wide_filter_has(&filter, hash_of("other/", i));
        assert_in_range(false_ones, 1, KEYS / 100);
        wide_filter_done(&filter);
    }
}

static void test_a_hundred_thousand_keys_are_told_from_others(void **state) {
    (void)state;
    struct wide_filter filter;
    assert_int_equal(wide_filter_init(&filter, wide_filter_bits_for(KEYS)), OK);
    assert_int_equal(filter.bits, 1U << 20);
    for (unsigned i = 0; i < KEYS; i++)
        wide_filter_add(&filter, hash_of("", i));
    unsigned false_ones = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        assert_true(wide_filter_has(&filter, hash_of("", i)));
        false_ones += wide_filter_has(&filter, hash_of("", KEYS + i));
    }
    assert_in_range(false_ones, 1, KEYS / 50);
    wide_filter_done(&filter);
    assert_int_equal(filter.bits, 0);
}

static void test_an_empty_filter_says_no_and_a_key_has_six_bits(void **state) {
    (void)state;
    struct wide_filter filter;
    assert_int_equal(wide_filter_init(&filter, WIDE_FILTER_BITS_MIN), OK);
    for (unsigned i = 0; i < 1000; i++)
        assert_false(wide_filter_has(&filter, hash_of("", i)));
    wide_filter_add(&filter, 0); /* a hash whose halves have nothing to go on */
    unsigned bits = 0;
    for (uint64_t i = 0; i < filter.bits / 64; i++)
        bits += (unsigned)__builtin_popcountll(filter.words[i]);
    assert_int_equal(bits, WIDE_FILTER_HASHES);
    wide_filter_done(&filter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_are_ten_to_twenty_a_key_within_the_limits),
        cmocka_unit_test(test_the_hash_of_a_key_is_the_same_in_every_process),
        cmocka_unit_test(test_every_key_is_found_and_few_others_where_it_is_fullest),
        cmocka_unit_test(test_a_hundred_thousand_keys_are_told_from_others),
        cmocka_unit_test(test_an_empty_filter_says_no_and_a_key_has_six_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
