/* SPDX-License-Identifier: MIT */
#include "peers/hash.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct slice fox = {"The quick brown fox jumps over the lazy dog", 43};

static void test_fnv1_gives_its_published_values(void **state) {
    (void)state;
    assert_int_equal(peers_hash_fnv1((struct slice){NULL, 0}), 0x811C9DC5U);
    assert_int_equal(peers_hash_fnv1(SLICE("a")), 0x050C5D7EU);
    assert_int_equal(peers_hash_fnv1(SLICE("foobar")), 0x31F0B262U);
}

static void test_murmur3_gives_its_published_values(void **state) {
    (void)state;
    assert_int_equal(peers_hash_murmur3((struct slice){NULL, 0}), 0);
    assert_int_equal(peers_hash_murmur3(SLICE("hello")), 0x248BFA47U);
    assert_int_equal(peers_hash_murmur3(SLICE("hello, world")), 0x149BBB7FU);
    assert_int_equal(peers_hash_murmur3(fox), 0x2E4FF723U);
}

static void test_jenkins_gives_its_published_values(void **state) {
    (void)state;
    assert_int_equal(peers_hash_jenkins((struct slice){NULL, 0}), 0);
    assert_int_equal(peers_hash_jenkins(SLICE("a")), 0xCA2E9442U);
    assert_int_equal(peers_hash_jenkins(fox), 0x519E91F5U);
}

static void test_bytes_over_127_are_no_negative_numbers(void **state) {
    (void)state;
    assert_int_equal(peers_hash_fnv1(SLICE("\xF0")), 0x050C5DEFU);
    assert_int_equal(peers_hash_murmur3(SLICE("\xF0")), 0x0BCD766DU);
    assert_int_equal(peers_hash_jenkins(SLICE("\xF0")), 0x26034BC2U);
    assert_int_equal(peers_hash_fnv1(SLICE("\xF0\xF1\xF2\xF3\xF4\xF5\xF6")), 0x298541D6U);
    assert_int_equal(peers_hash_murmur3(SLICE("\xF0\xF1\xF2\xF3\xF4\xF5\xF6")), 0x8237426AU);
    assert_int_equal(peers_hash_jenkins(SLICE("\xF0\xF1\xF2\xF3\xF4\xF5\xF6")), 0xDF0074F1U);
}

static void test_a_key_may_begin_anywhere_in_memory(void **state) {
    (void)state;
    char bytes[64];
    for (size_t at = 0; at < 8; at++) {
        memcpy(bytes + at, fox.ptr, fox.len);
        assert_int_equal(peers_hash_murmur3(slice_make(bytes + at, fox.len)), 0x2E4FF723U);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fnv1_gives_its_published_values),
        cmocka_unit_test(test_murmur3_gives_its_published_values),
        cmocka_unit_test(test_jenkins_gives_its_published_values),
        cmocka_unit_test(test_bytes_over_127_are_no_negative_numbers),
        cmocka_unit_test(test_a_key_may_begin_anywhere_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
