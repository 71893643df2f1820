/* SPDX-License-Identifier: MIT */
#include "peers/olivia_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DIGITS 1611U

struct fixture {
    struct olivia_filter filter, back;
    struct buf text;
};

static int set_up(void **state) {
    static struct fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    buf_init(&fixture.text, 4096);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    buf_done(&fixture->text);
    return 0;
}

static struct slice key_of(char *to, unsigned set, unsigned number) {
    int len = snprintf(to, 32, "%c%u/%u", (char)(200 + set % 50), number, set * 7919);
    return slice_make(to, (size_t)len);
}

static bool has_bit(const struct olivia_filter *filter, uint32_t bit) {
    return filter->words[bit / 64] >> bit % 64 & 1;
}

static int value_of(char digit) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *found = memchr(digits, digit, 64);
    return found ? (int)(found - digits) : -1;
}

/* As an Olivia node reads: each character as often as the number behind it says, then base64 of
 * big-endian numbers. Returns how many digits there were. */
static size_t read_as_the_others(struct slice text, bool *ret_bits, uint64_t *ret_length) {
    static char digits[100000];
    size_t len = 0;
    for (size_t i = 0; i < text.len;) {
        char digit = text.ptr[i++];
        size_t count = 0;
        while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
            count = count * 10 + (size_t)(text.ptr[i++] - '0');
        for (size_t n = count ? count : 1; n > 0 && len < sizeof digits; n--)
            digits[len++] = digit;
    }
    *ret_length = 0;
    for (size_t i = 0; i < len * 6 && i < 64 + 9600; i++) { /* i: bits from the first byte's top */
        bool bit = value_of(digits[i / 6]) >> (5 - i % 6) & 1;
        if (i < 64)
            *ret_length = *ret_length << 1 | bit;
        else
            ret_bits[(i - 64) / 64 * 64 + 63 - i % 64] = bit;
    }
    return len;
}

static void test_a_known_key_sets_its_known_bits(void **state) {
    struct fixture *f = *state;
    olivia_filter_add(&f->filter, SLICE("hello"));
    assert_true(has_bit(&f->filter, 0xB6FA7167U % 9585));
    assert_true(has_bit(&f->filter, 0x248BFA47U % 9585));
    assert_true(has_bit(&f->filter, 0xC8FD181BU % 9585));
    unsigned bits = 0;
    for (uint32_t i = 0; i < 9600; i++)
        bits += has_bit(&f->filter, i);
    assert_int_equal(bits, 3);
    assert_true(olivia_filter_has(&f->filter, SLICE("hello")));
    assert_false(olivia_filter_has(&f->filter, SLICE("hello2")));
}

static void test_an_empty_filter_has_its_known_text(void **state) {
    struct fixture *f = *state;
    assert_true(olivia_filter_append(&f->text, &f->filter));
    /* 48 bits of zero, 0x2571 and 1200 bytes of zero, in sixes */
    assert_string_equal((buf_append_char(&f->text, 0), f->text.ptr), "A8JXEA1600");
    assert_true(olivia_filter_parse(SLICE("A8JXEA1600"), &f->back));
    assert_memory_equal(&f->filter, &f->back, sizeof f->filter);
}

static void test_what_follows_other_text_is_left_after_it(void **state) {
    struct fixture *f = *state;
    buf_append(&f->text, SLICE("0:FULFILLED "));
    assert_true(olivia_filter_append(&f->text, &f->filter));
    assert_true(slice_equal(buf_slice(&f->text), SLICE("0:FULFILLED A8JXEA1600")));
}

static void test_others_read_every_bit_and_find_every_key(void **state) {
    struct fixture *f = *state;
    static bool bits[9600];
    char text[32];
    unsigned added = 0;
    for (unsigned set = 0; set < 400; set++) {
        unsigned keys = set < 200 ? set : set * 20;
        memset(&f->filter, 0, sizeof f->filter);
        for (unsigned i = 0; i < keys; i++)
            olivia_filter_add(&f->filter, key_of(text, set, i));
        struct olivia_filter before = f->filter;
        buf_clear(&f->text);
        assert_true(olivia_filter_append(&f->text, &f->filter));
        assert_memory_equal(&before, &f->filter, sizeof before);
        uint64_t length;
        assert_int_equal(read_as_the_others(buf_slice(&f->text), bits, &length), DIGITS);
        assert_int_equal(length, 9585);
        assert_true(olivia_filter_parse(buf_slice(&f->text), &f->back));
        for (uint32_t i = 0; i < 9585; i++) {
            assert_int_equal(bits[i], has_bit(&f->back, i));
            assert_true(bits[i] || !has_bit(&f->filter, i));
            added += bits[i] && !has_bit(&f->filter, i);
        }
        for (unsigned i = 0; i < keys; i++)
            assert_true(olivia_filter_has(&f->back, key_of(text, set, i)));
    }
    assert_in_range(added, 1, 400 * 9585 / 8);
}

/* Every value of every sextet: those that would be digits get the fewest bits that avail. */
static void test_a_filter_is_widened_by_no_more_than_it_must(void **state) {
    struct fixture *f = *state;
    for (unsigned value = 0; value < 64; value++) {
        memset(&f->filter, 0, sizeof f->filter);
        for (unsigned i = 0; i < 6; i++) /* the low six of the first byte */
            if (value >> i & 1)
                f->filter.words[0] |= 1ULL << (56 + i);
        buf_clear(&f->text);
        assert_true(olivia_filter_append(&f->text, &f->filter));
        assert_true(olivia_filter_parse(buf_slice(&f->text), &f->back));
        unsigned least = 6;
        for (unsigned other = 0; other < 64; other++)
            if ((other & value) == value && (other < 52 || other > 61)) {
                unsigned more = (unsigned)__builtin_popcount(other & ~value);
                least = more < least ? more : least;
            }
        unsigned more = 0;
        for (unsigned i = 0; i < OLIVIA_FILTER_WORDS; i++)
            more += (unsigned)__builtin_popcountll(f->back.words[i] & ~f->filter.words[i]);
        assert_int_equal(more, least);
    }
}

static void test_a_full_filter_is_short_and_comes_back(void **state) {
    struct fixture *f = *state;
    memset(&f->filter, 0xFF, sizeof f->filter);
    assert_true(olivia_filter_append(&f->text, &f->filter));
    assert_true(f->text.len < 32);
    assert_true(olivia_filter_parse(buf_slice(&f->text), &f->back));
    for (uint32_t i = 0; i < 9585; i++)
        assert_true(has_bit(&f->back, i));
    assert_true(f->back.words[149] >> 49 == 0);
}

static void test_padding_of_another_kind_is_taken(void **state) {
    struct fixture *f = *state;
    assert_true(olivia_filter_parse(SLICE("A8JXEA1599B"), &f->back));
    assert_memory_equal(&f->filter, &f->back, sizeof f->filter);
    assert_true(olivia_filter_parse(SLICE("A8JXEA1599E"), &f->back));
    assert_false(f->back.words[149] == 0);
}

static void test_counts_written_in_other_ways_are_taken(void **state) {
    struct fixture *f = *state;
    assert_true(olivia_filter_parse(SLICE("A1A1A6J1X1E1A1600"), &f->back));
    assert_true(olivia_filter_parse(SLICE("AAAAAAA1AJXEA800A0800"), &f->back));
}

static void test_hostile_texts_are_refused_and_leave_all_as_it_was(void **state) {
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "A",
        "8",
        "1600",
        "8AJXEA1600",
        "A8JXEA1599",
        "A8JXEA1601",
        "A8JXEA1600A",
        "A8JXEA1600=",
        "A8JXEA1599=",
        "A8JXEA1599+",
        "A8JXEA800/A799",
        "A8JXFA99999999999999999999999999999999999999999",
        "A18446744073709551624JXEA1600",
        "A8JXEA0A1600",
        "A1611",
        "A8JXAA1600",
        "_1611",
        "A8JXE\3771600",
        "A8JXE 1600",
        "A8JXE-1600-",
    };
    memset(&f->back, 0x5A, sizeof f->back);
    struct olivia_filter before = f->back;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        /* what a good text leaves in memory completes none that is too short */
        assert_true(olivia_filter_parse(SLICE("A8JXEA1600"), &f->filter));
        if (olivia_filter_parse(slice_of_cstr(texts[i]), &f->back))
            fail_msg("taken: %s", texts[i]);
    }
    assert_false(olivia_filter_parse(slice_make("A8JXEA1600\0", 11), &f->back));
    assert_memory_equal(&before, &f->back, sizeof before);
}

static void test_a_buffer_without_room_is_left_as_it_was(void **state) {
    struct fixture *f = *state;
    buf_done(&f->text);
    buf_init(&f->text, DIGITS + 4);
    buf_append(&f->text, SLICE("12345"));
    assert_false(olivia_filter_append(&f->text, &f->filter));
    assert_true(slice_equal(buf_slice(&f->text), SLICE("12345")));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_known_key_sets_its_known_bits),
        CASE(test_an_empty_filter_has_its_known_text),
        CASE(test_what_follows_other_text_is_left_after_it),
        CASE(test_others_read_every_bit_and_find_every_key),
        CASE(test_a_filter_is_widened_by_no_more_than_it_must),
        CASE(test_a_full_filter_is_short_and_comes_back),
        CASE(test_padding_of_another_kind_is_taken),
        CASE(test_counts_written_in_other_ways_are_taken),
        CASE(test_hostile_texts_are_refused_and_leave_all_as_it_was),
        CASE(test_a_buffer_without_room_is_left_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
