/* SPDX-License-Identifier: MIT */
/* Tickets: once, for a while, where they say, and of nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "auth/ticket.h"
#include "base/clock.h"
#include "base/hash.h"

#define NOW 1700000000000
#define SECRET SLICE("a secret of more than thirty-two bytes")
#define OTHER SLICE("another secret of more than 32 bytes!!")
#define NOWHERE SLICE("")

static const struct auth_grant some = {
    .signed_in = true,
    .has_workspace = true,
    .has_scope = true,
    .workspace = {{7}},
    .subject = UINT64_C(0xfedcba9876543211),
    .expires_at_ms = NOW + 1000000,
    .rule_count = 2,
    .rules = {{.scope = AUTH_KV_READ, .pattern_len = 3, .prefix = true, .pattern = "abc"},
              {.scope = AUTH_BROKER_CONSUME}},
};

static enum err take(struct tickets *tickets, const char *ticket, struct slice path,
                     int64_t now_ms) {
    struct auth_grant grant;
    return ticket_take(tickets, slice_of_cstr(ticket), path, now_ms, &grant);
}

static void make(struct tickets *tickets, const struct auth_grant *grant, struct slice path,
                 int64_t now_ms, char ticket[AUTH_TICKET_MAX]) {
    assert_int_equal(ticket_make(tickets, grant, path, now_ms, ticket), OK);
}

static void test_a_ticket_gives_its_grant_once(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    struct auth_grant grant;
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    make(tickets, &some, NOWHERE, NOW, ticket);
    assert_int_equal(ticket_take(tickets, slice_of_cstr(ticket), SLICE("/a"), NOW, &grant), OK);
    assert_int_equal(grant.expires_at_ms, some.expires_at_ms);
    assert_true(grant.subject == some.subject); /* its limits go with it */
    assert_memory_equal(&grant.workspace, &some.workspace, sizeof grant.workspace);
    assert_int_equal(auth_allows(&grant, AUTH_KV_READ, SLICE("abcd"), NOW), OK);
    assert_int_equal(auth_allows(&grant, AUTH_KV_READ, SLICE("xyz"), NOW), ERR_FORBIDDEN);
    assert_int_equal(auth_allows(&grant, AUTH_BROKER_CONSUME, SLICE("q"), NOW), OK);
    assert_int_equal(auth_allows(&grant, AUTH_KV_WRITE, SLICE("abcd"), NOW), ERR_FORBIDDEN);
    assert_int_equal(take(tickets, ticket, SLICE("/a"), NOW), ERR_AUTH_REQUIRED);
    tickets_close(tickets);
}

static void test_a_ticket_is_good_for_half_a_minute(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    make(tickets, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW + AUTH_TICKET_MS), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW - 60000), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW + AUTH_TICKET_MS - 1), OK);
    tickets_close(tickets);
}

static void test_a_ticket_that_names_a_path_is_good_there_alone(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    make(tickets, &some, SLICE("/a"), NOW, ticket);
    assert_int_equal(take(tickets, ticket, SLICE("/b"), NOW), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, SLICE("/a"), NOW), OK);
    tickets_close(tickets);
}

static void test_no_byte_of_a_ticket_may_be_another(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    make(tickets, &some, NOWHERE, NOW, ticket);
    for (size_t i = 0; ticket[i]; i++) {
        char was = ticket[i];
        ticket[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(take(tickets, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
        ticket[i] = was;
    }
    for (size_t len = strlen(ticket); len-- > 0;) {
        struct auth_grant grant;
        assert_int_equal(ticket_take(tickets, slice_make(ticket, len), NOWHERE, NOW, &grant),
                         ERR_AUTH_REQUIRED);
    }
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW), OK);
    tickets_close(tickets);
}

static void test_nodes_with_the_same_secret_take_each_others(void **state) {
    struct tickets *one = tickets_open(SECRET, NOWHERE);
    struct tickets *two = tickets_open(OTHER, SECRET);
    struct tickets *none = tickets_open(NOWHERE, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    make(one, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(none, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
    assert_int_equal(take(two, ticket, NOWHERE, NOW), OK);
    make(two, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(one, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
    tickets_rekey(one, OTHER, SECRET);
    assert_int_equal(take(one, ticket, NOWHERE, NOW), OK);
    make(none, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(none, ticket, NOWHERE, NOW), OK);
    tickets_close(one);
    tickets_close(two);
    tickets_close(none);
}

static void test_used_tickets_are_remembered_for_as_long_as_they_were_good(void **state) {
    static char used[2000][AUTH_TICKET_MAX];
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        make(tickets, &some, NOWHERE, NOW, used[i]);
        assert_int_equal(take(tickets, used[i], NOWHERE, NOW), OK);
        if (i % 500 == 0)
            clock_move_for_test(7000);
    }
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(take(tickets, used[i], NOWHERE, NOW + 29000), ERR_AUTH_REQUIRED);
    tickets_close(tickets);
}

static void test_the_longest_ticket_fits_and_a_longer_text_is_none(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    struct auth_grant full = some, grant;
    char ticket[AUTH_TICKET_MAX], longer[AUTH_TICKET_MAX + 1];
    (void)state;
    full.rule_count = AUTH_RULES_MAX;
    for (unsigned i = 0; i < AUTH_RULES_MAX; i++) {
        full.rules[i] = (struct auth_rule){.scope = AUTH_KV_READ, .pattern_len = 62};
        memset(full.rules[i].pattern, 'a' + (int)i, 62);
    }
    make(tickets, &full, SLICE("/a"), NOW, ticket);
    assert_int_equal(ticket_take(tickets, slice_of_cstr(ticket), SLICE("/a"), NOW, &grant), OK);
    assert_int_equal(grant.rule_count, AUTH_RULES_MAX);
    assert_memory_equal(grant.rules[15].pattern, full.rules[15].pattern, 62);
    memset(longer, 'A', sizeof longer);
    for (size_t len = AUTH_TICKET_MAX - 2; len <= sizeof longer; len++)
        assert_int_equal(ticket_take(tickets, slice_make(longer, len), NOWHERE, NOW, &grant),
                         ERR_AUTH_REQUIRED);
    tickets_close(tickets);
}

/* Only who has the secret could make one: another release, say. */
static void test_a_signed_ticket_of_another_form_is_none(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    static const struct {
        size_t at, cut;
        char value;
    } changes[] = {
        {0, 0, 1},   /* version */
        {74, 0, 17}, /* more rules than there may be */
        {74, 0, 3},  /* more than there are */
        {74, 0, 1},  /* fewer */
        {77, 0, 63}, /* a longer pattern than there may be */
        {77, 0, 10}, /* longer than what is left */
        {0, 1, 2},   /* the last byte missing */
        {0, 4, 2},   /* within a rule */
        {0, 100, 2}, /* shorter than any */
    };
    uint8_t key[HASH_SHA256_BYTES], mac[HASH_SHA256_BYTES];
    (void)state;
    hash_hmac_sha256(SECRET, SLICE("hati ticket 1"), key);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char ticket[AUTH_TICKET_MAX], raw[AUTH_TICKET_MAX];
        struct buf text;
        size_t len;
        make(tickets, &some, NOWHERE, NOW, ticket);
        assert_true(text_base64url_decode(slice_of_cstr(ticket), raw, &len));
        len -= sizeof mac;
        assert_int_equal(len, 84);
        raw[changes[i].at] = changes[i].value;
        len -= changes[i].cut < len ? changes[i].cut : len;
        hash_hmac_sha256(slice_make(key, sizeof key), slice_make(raw, len), mac);
        memcpy(raw + len, mac, sizeof mac);
        buf_init(&text, AUTH_TICKET_MAX);
        assert_true(text_append_base64url(&text, slice_make(raw, len + sizeof mac)));
        assert_true(buf_append_char(&text, '\0'));
        assert_int_equal(take(tickets, text.ptr, NOWHERE, NOW), ERR_AUTH_REQUIRED);
        buf_done(&text);
    }
    tickets_close(tickets);
}

static void test_what_was_used_is_forgotten_once_it_is_good_no_more(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char used[3][AUTH_TICKET_MAX];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        make(tickets, &some, NOWHERE, NOW, used[i]);
        assert_int_equal(take(tickets, used[i], NOWHERE, NOW), OK);
        assert_int_equal(take(tickets, used[0], NOWHERE, NOW), i < 2 ? ERR_AUTH_REQUIRED : OK);
        clock_move_for_test(i ? 80000 : 35000);
    }
    assert_int_equal(take(tickets, used[2], NOWHERE, NOW), OK);
    tickets_close(tickets);
}

static void test_too_many_used_of_late_wait_for_the_next_turn(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    for (unsigned i = 0; i < 1U << 17; i++) {
        make(tickets, &some, NOWHERE, NOW, ticket);
        if (take(tickets, ticket, NOWHERE, NOW))
            fail_msg("the %u-th is refused", i);
    }
    make(tickets, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW), ERR_UNAVAILABLE);
    clock_move_for_test(35000);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW), OK);
    tickets_close(tickets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_ticket_gives_its_grant_once),
        cmocka_unit_test(test_a_ticket_is_good_for_half_a_minute),
        cmocka_unit_test(test_a_ticket_that_names_a_path_is_good_there_alone),
        cmocka_unit_test(test_no_byte_of_a_ticket_may_be_another),
        cmocka_unit_test(test_nodes_with_the_same_secret_take_each_others),
        cmocka_unit_test(test_used_tickets_are_remembered_for_as_long_as_they_were_good),
        cmocka_unit_test(test_the_longest_ticket_fits_and_a_longer_text_is_none),
        cmocka_unit_test(test_a_signed_ticket_of_another_form_is_none),
        cmocka_unit_test(test_what_was_used_is_forgotten_once_it_is_good_no_more),
        cmocka_unit_test(test_too_many_used_of_late_wait_for_the_next_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
