/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/receive_inside.h"

static void those_who_came_first_get_as_many_as_they_want(void **state) {
    (void)state;
    const uint64_t sizes[] = {10, 10, 10, 10, 10};
    struct share shares[] = {{2, 0, 0}, {1, 0, 0}, {5, 0, 0}, {5, 0, 7}};
    assert_int_equal(receive_deal(sizes, 5, shares, 4), 5);
    assert_int_equal(shares[0].count, 2);
    assert_int_equal(shares[1].count, 1);
    assert_int_equal(shares[2].count, 2);
    assert_int_equal(shares[3].count, 0);
}

static void the_first_message_comes_whatever_its_size(void **state) {
    (void)state;
    const uint64_t sizes[] = {1000, 10, 1000, 10, 10};
    struct share shares[] = {{5, 100, 0}, {5, 100, 0}, {5, 2000, 0}};
    assert_int_equal(receive_deal(sizes, 5, shares, 3), 5);
    assert_int_equal(shares[0].count, 1);
    assert_int_equal(shares[1].count, 1);
    assert_int_equal(shares[2].count, 3);
}

static void what_fits_nobody_is_left(void **state) {
    (void)state;
    const uint64_t sizes[] = {60, 60, 60};
    struct share shares[] = {{5, 100, 0}, {0, 0, 9}};
    assert_int_equal(receive_deal(sizes, 3, shares, 2), 1);
    assert_int_equal(shares[0].count, 1);
    assert_int_equal(shares[1].count, 0);
    assert_int_equal(receive_deal(sizes, 3, shares, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_came_first_get_as_many_as_they_want),
        cmocka_unit_test(the_first_message_comes_whatever_its_size),
        cmocka_unit_test(what_fits_nobody_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
