/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/rest_range.h"

#define SIZE 100

static void parts_are_what_rfc_9110_says(void **state) {
    (void)state;
    static const struct {
        const char *range;
        uint64_t first, len;
    } cases[] = {{"bytes=0-0", 0, 1},      {"bytes=0-99", 0, 100},
                 {"bytes=10-19", 10, 10},  {"bytes=90-", 90, 10},
                 {"bytes=90-500", 90, 10}, {"bytes=99-99999999999999999999999", 99, 1},
                 {"bytes=-1", 99, 1},      {"bytes=-100", 0, 100},
                 {"bytes=-101", 0, 100},   {"bytes=-99999999999999999999999", 0, 100},
                 {"BYTES=5-5", 5, 1}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t first = 0, len = 0;
        assert_int_equal(rest_range_parse(slice_of_cstr(cases[i].range), SIZE, &first, &len),
                         RANGE_PART);
        assert_int_equal(first, cases[i].first);
        assert_int_equal(len, cases[i].len);
    }
}

static void what_is_not_there_is_nowhere(void **state) {
    (void)state;
    static const char *const ranges[] = {"bytes=100-", "bytes=100-200", "bytes=-0",
                                         "bytes=18446744073709551616-"};
    uint64_t first = 7, len = 8;
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        assert_int_equal(rest_range_parse(slice_of_cstr(ranges[i]), SIZE, &first, &len),
                         RANGE_NOWHERE);
    assert_int_equal(rest_range_parse(SLICE("bytes=0-"), 0, &first, &len), RANGE_NOWHERE);
    assert_int_equal(rest_range_parse(SLICE("bytes=-5"), 0, &first, &len), RANGE_NOWHERE);
    assert_int_equal(first, 7);
    assert_int_equal(len, 8);
}

static void everything_else_is_the_whole(void **state) {
    (void)state;
    static const char *const ranges[] = {
        "",          "bytes",      "bytes=",        "bytes=-",    "bytes=5",
        "bytes=9-5", "bytes=a-b",  "bytes=1-2,4-5", "bytes= 1-2", "bytes=1-2 ",
        "lines=1-2", "bytes=+1-2", "bytes=1--2",    "bytes=--1",  "bytes=0x1-0x2"};
    uint64_t first, len;
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        assert_int_equal(rest_range_parse(slice_of_cstr(ranges[i]), SIZE, &first, &len),
                         RANGE_WHOLE);
}

static void if_range_is_an_etag_of_the_value(void **state) {
    (void)state;
    uint8_t etag[HASH_MD5_BYTES];
    hash_md5(SLICE("abc"), etag);
    assert_true(rest_range_if((struct slice){NULL, 0}, etag));
    assert_true(rest_range_if(SLICE("\"900150983cd24fb0d6963f7d28e17f72\""), etag));
    assert_false(rest_range_if(SLICE("W/\"900150983cd24fb0d6963f7d28e17f72\""), etag));
    assert_false(rest_range_if(SLICE("\"900150983cd24fb0d6963f7d28e17f73\""), etag));
    assert_false(rest_range_if(SLICE(""), etag));
    assert_false(rest_range_if(SLICE("Sat, 21 Nov 2026 17:00:00 GMT"), etag));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_what_rfc_9110_says),
        cmocka_unit_test(what_is_not_there_is_nowhere),
        cmocka_unit_test(everything_else_is_the_whole),
        cmocka_unit_test(if_range_is_an_etag_of_the_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
