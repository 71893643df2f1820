/* SPDX-License-Identifier: MIT */
/* Causal contexts of calls, on a store that is here and on one that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "handlers/position.h"
#include "kv/remote.h"

static struct core core;
static struct arena arena;
static struct call call;

static void open_store(const struct kv_remote *remote) {
    char why[256];
    struct kv_options options = {.remote = remote};
    assert_int_equal(kv_open(&options, &core.kv, why, sizeof why), OK);
    arena_init(&arena, 1U << 16);
    call_init(&call, &core, &auth_grant_everything, &arena, 1);
}

static int open_here(void **state) {
    (void)state;
    open_store(NULL);
    return 0;
}

static int open_remote(void **state) {
    static const struct kv_remote remote;
    (void)state;
    open_store(&remote);
    return 0;
}

static int close_store(void **state) {
    (void)state;
    kv_close(core.kv);
    arena_done(&arena);
    return 0;
}

static enum err check_word(const char *word) {
    call.position.want = slice_of_cstr(word);
    return position_check(&call);
}

static void expect_position(const char *expected) {
    char room[POSITION_MAX];
    assert_true(slice_equal(call_position(&call, room), slice_of_cstr(expected)));
}

/* Without a data directory its revision is 0. */
static void test_a_revision_is_reached_or_not(void **state) {
    (void)state;
    assert_int_equal(check_word(""), OK);
    expect_position("r0");
    assert_int_equal(check_word("r0"), OK);
    expect_position("r0");
    static const char *const unreached[] = {"r1",
                                            "r18446744073709551615",
                                            "r18446744073709551616",
                                            "r99999999999999999999999",
                                            "r",
                                            "r-1",
                                            "r0x",
                                            "p0",
                                            "0",
                                            "R0"};
    for (size_t i = 0; i < sizeof unreached / sizeof unreached[0]; i++) {
        assert_int_equal(check_word(unreached[i]), ERR_UNAVAILABLE);
        assert_int_equal(call.err, ERR_UNAVAILABLE);
        expect_position(unreached[i]);
    }
}

static void test_a_call_that_asks_too_much_is_not_run(void **state) {
    (void)state;
    op_init();
    call_set_op(&call, op_find_name(SLICE("Storage.Set")));
    call.args.key = SLICE("k");
    call.args.storage = KV_MEMORY;
    call.position.want = SLICE("r1");
    assert_int_equal(call_run(&call), ERR_UNAVAILABLE);
    call.position.want = SLICE("r0");
    call_set_op(&call, op_find_name(SLICE("Storage.Get")));
    call.args.key = SLICE("k");
    call.args.storage = KV_MEMORY;
    assert_int_equal(call_run(&call), ERR_KEY_NOT_EXIST);
}

static void test_words_of_an_engine_are_the_engines_to_judge(void **state) {
    (void)state;
    assert_int_equal(check_word("p16B3748"), OK);
    assert_int_equal(check_word("r5"), OK);
    expect_position("r5");
    memcpy(call.position.reached, "p17", 3);
    call.position.reached_len = 3;
    expect_position("p17");
    call.err = ERR_UNAVAILABLE;
    expect_position("r5");
}

static void test_words_are_plain(void **state) {
    char long_word[POSITION_MAX + 1];
    (void)state;
    memset(long_word, 'r', sizeof long_word);
    assert_true(position_is_word(slice_make(long_word, POSITION_MAX)));
    assert_false(position_is_word(slice_make(long_word, POSITION_MAX + 1)));
    assert_true(position_is_word(SLICE("p1/16B3748:._+=-")));
    assert_false(position_is_word(SLICE("")));
    assert_false(position_is_word(SLICE("a b")));
    assert_false(position_is_word(SLICE("a\"")));
    assert_false(position_is_word(SLICE("a\0b")));
    assert_false(position_is_word(SLICE("a\r\nb")));
    assert_false(position_is_word(SLICE("\xC3\xA9")));
}

static void test_the_newer_word_is_the_longer_or_greater(void **state) {
    (void)state;
    assert_true(position_is_newer(SLICE("r10"), SLICE("r9")));
    assert_true(position_is_newer(SLICE("r19"), SLICE("r18")));
    assert_true(position_is_newer(SLICE("r1"), SLICE("")));
    assert_false(position_is_newer(SLICE("r9"), SLICE("r10")));
    assert_false(position_is_newer(SLICE("r9"), SLICE("r9")));
}

#define HERE(name) cmocka_unit_test_setup_teardown(name, open_here, close_store)
#define REMOTE(name) cmocka_unit_test_setup_teardown(name, open_remote, close_store)

int main(void) {
    const struct CMUnitTest tests[] = {
        HERE(test_a_revision_is_reached_or_not),
        HERE(test_a_call_that_asks_too_much_is_not_run),
        REMOTE(test_words_of_an_engine_are_the_engines_to_judge),
        HERE(test_words_are_plain),
        HERE(test_the_newer_word_is_the_longer_or_greater),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
