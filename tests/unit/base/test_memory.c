/* SPDX-License-Identifier: MIT */
/* Arena and buffer: what grows, and where it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"

static void test_an_arena_ends_at_its_ceiling_and_lives_on(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    assert_non_null(arena_alloc(&arena, 9000));
    assert_null(arena_alloc(&arena, 9000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    arena_done(&arena);
    assert_non_null(arena_alloc(&arena, 9000));
    arena_done(&arena);
}

static void test_an_arena_uses_the_memory_it_was_given_first(void **state) {
    (void)state;
    char room[300];
    struct arena arena;
    arena_init_with(&arena, 10000, room, sizeof room);
    char *piece = arena_alloc(&arena, 100);
    assert_true(piece >= room && piece + 100 <= room + sizeof room);
    assert_int_equal((uintptr_t)piece % 16, 0);
    assert_int_equal(arena.used_bytes, 0);
    char *large = arena_alloc(&arena, 5000);
    assert_true(large < room || large >= room + sizeof room);
    arena_done(&arena);
}

static void test_a_copy_in_an_arena_has_a_nul_behind_it(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    struct slice copy = arena_copy(&arena, slice_make("abc", 2));
    assert_string_equal(copy.ptr, "ab");
    assert_int_equal(copy.len, 2);
    assert_string_equal(arena_printf(&arena, "%d-%s", 7, "x"), "7-x");
    arena_done(&arena);
}

static void test_a_buffer_refuses_what_passes_its_maximum_and_keeps_the_rest(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_true(buf_append(&buf, SLICE("abc")));
    assert_false(buf_append(&buf, SLICE("def")));
    assert_true(buf.failed);
    assert_true(slice_equal(buf_slice(&buf), SLICE("abc")));
    buf_clear(&buf);
    assert_false(buf.failed);
    assert_true(buf_append(&buf, SLICE("12345")));
    buf_done(&buf);
}

static void test_numbers_are_appended_up_to_their_ends(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, 100);
    buf_append_i64(&buf, INT64_MIN);
    buf_append_char(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_char(&buf, ' ');
    buf_append_i64(&buf, 0);
    assert_true(slice_equal(buf_slice(&buf), SLICE("-9223372036854775808 18446744073709551615 0")));
    buf_drop_front(&buf, 21);
    assert_true(slice_equal(buf_slice(&buf), SLICE("18446744073709551615 0")));
    buf_done(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_arena_ends_at_its_ceiling_and_lives_on),
        cmocka_unit_test(test_an_arena_uses_the_memory_it_was_given_first),
        cmocka_unit_test(test_a_copy_in_an_arena_has_a_nul_behind_it),
        cmocka_unit_test(test_a_buffer_refuses_what_passes_its_maximum_and_keeps_the_rest),
        cmocka_unit_test(test_numbers_are_appended_up_to_their_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
