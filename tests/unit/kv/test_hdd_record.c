/* SPDX-License-Identifier: MIT */
/* Records of journal and LMDB as they may stand after damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kv/hdd_record.h"

#define ROOM 4096U

static void test_a_record_is_read_as_written_and_no_shorter_or_longer(void **state) {
    (void)state;
    static const enum record_kind kinds[] = {RECORD_SPACE, RECORD_ENTRY, RECORD_DELETE,
                                             RECORD_TOUCH, RECORD_FLUSH, RECORD_RAISE};
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (unsigned sealed = 0; sealed < 2; sealed++) {
            struct record record = {kinds[i],
                                    sealed && kinds[i] == RECORD_ENTRY,
                                    7,
                                    1234567890123,
                                    SLICE("a key"),
                                    SLICE("text/plain"),
                                    SLICE("0123456789abcdef")};
            struct record got;
            char bytes[ROOM];
            size_t size = record_size(&record);
            record_write(&record, bytes);
            assert_true(record_read(slice_make(bytes, size), &got));
            assert_int_equal(got.kind, record.kind);
            assert_int_equal(got.sealed, record.sealed);
            assert_int_equal(got.space, 7);
            assert_int_equal(got.expires_at_ms, record.expires_at_ms);
            assert_true(slice_equal(got.key, record.key) && slice_equal(got.value, record.value) &&
                        slice_equal(got.type, record.type));
            for (size_t len = 0; len < size; len++)
                assert_false(record_read(slice_make(bytes, len), &got));
            assert_false(record_read(slice_make(bytes, size + 1), &got));
        }
}

static size_t store(struct stored *stored, struct place *place, char *bytes) {
    place_make(stored->space, stored->key, place);
    stored_write(stored, place, bytes);
    return stored_size(stored);
}

static void test_each_bit_of_a_stored_entry_counts(void **state) {
    (void)state;
    struct stored stored = {9, 0, 7, SLICE("a key"), SLICE("text/plain"), SLICE("a value"), false};
    struct stored got;
    struct place place;
    char bytes[ROOM];
    size_t size = store(&stored, &place, bytes);
    struct slice at = place_slice(&place);
    assert_int_equal(stored_read(at, slice_make(bytes, size), &got), OK);
    assert_true(slice_equal(got.key, stored.key) && slice_equal(got.value, stored.value));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(stored_read(at, slice_make(bytes, size), &got), ERR_CORRUPT);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * at.len; bit++) {
        place.bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(stored_read(at, slice_make(bytes, size), &got), ERR_CORRUPT);
        place.bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void test_a_stored_entry_of_another_length_is_none(void **state) {
    (void)state;
    char long_key[1000], bytes[ROOM];
    memset(long_key, 'k', sizeof long_key);
    struct slice keys[] = {SLICE("a key"), slice_make(long_key, sizeof long_key)};
    for (unsigned i = 0; i < 2; i++) {
        struct stored stored = {9, 5, 7, keys[i], SLICE("text/plain"), SLICE("a value"), i == 1};
        struct stored got;
        struct place place;
        size_t size = store(&stored, &place, bytes);
        struct slice at = place_slice(&place);
        assert_int_equal(stored_read(at, slice_make(bytes, size), &got), OK);
        assert_int_equal(stored_peek(at, slice_make(bytes, size), &got), OK);
        assert_true(slice_equal(got.key, keys[i]));
        for (size_t len = 0; len <= size + 1; len += len == size - 1 ? 2 : 1) {
            assert_int_equal(stored_read(at, slice_make(bytes, len), &got), ERR_CORRUPT);
            assert_int_equal(stored_peek(at, slice_make(bytes, len), &got), ERR_CORRUPT);
        }
        assert_int_equal(stored_peek(slice_make(at.ptr, 3), slice_make(bytes, size), &got),
                         ERR_CORRUPT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_is_read_as_written_and_no_shorter_or_longer),
        cmocka_unit_test(test_each_bit_of_a_stored_entry_counts),
        cmocka_unit_test(test_a_stored_entry_of_another_length_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
