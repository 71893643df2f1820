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

#define NOW 1700000000000
#define SECRET SLICE("a secret of more than thirty-two bytes")
#define OTHER SLICE("another secret of more than 32 bytes!!")
#define NOWHERE SLICE("")

static const struct auth_grant some = {
    .signed_in = true,
    .has_workspace = true,
    .has_scope = true,
    .workspace = {{7}},
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

static void test_a_ticket_gives_its_grant_once(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    struct auth_grant grant;
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    ticket_make(tickets, &some, NOWHERE, NOW, ticket);
    assert_int_equal(ticket_take(tickets, slice_of_cstr(ticket), SLICE("/a"), NOW, &grant), OK);
    assert_int_equal(grant.expires_at_ms, some.expires_at_ms);
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
    ticket_make(tickets, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW + AUTH_TICKET_MS), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW - 60000), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW + AUTH_TICKET_MS - 1), OK);
    tickets_close(tickets);
}

static void test_a_ticket_that_names_a_path_is_good_there_alone(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    ticket_make(tickets, &some, SLICE("/a"), NOW, ticket);
    assert_int_equal(take(tickets, ticket, SLICE("/b"), NOW), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
    assert_int_equal(take(tickets, ticket, SLICE("/a"), NOW), OK);
    tickets_close(tickets);
}

static void test_no_byte_of_a_ticket_may_be_another(void **state) {
    struct tickets *tickets = tickets_open(SECRET, NOWHERE);
    char ticket[AUTH_TICKET_MAX];
    (void)state;
    ticket_make(tickets, &some, NOWHERE, NOW, ticket);
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
    ticket_make(one, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(none, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
    assert_int_equal(take(two, ticket, NOWHERE, NOW), OK);
    ticket_make(two, &some, NOWHERE, NOW, ticket);
    assert_int_equal(take(one, ticket, NOWHERE, NOW), ERR_AUTH_REQUIRED);
    tickets_rekey(one, OTHER, SECRET);
    assert_int_equal(take(one, ticket, NOWHERE, NOW), OK);
    ticket_make(none, &some, NOWHERE, NOW, ticket);
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
        ticket_make(tickets, &some, NOWHERE, NOW, used[i]);
        assert_int_equal(take(tickets, used[i], NOWHERE, NOW), OK);
        if (i % 500 == 0)
            clock_move_for_test(7000);
    }
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(take(tickets, used[i], NOWHERE, NOW + 29000), ERR_AUTH_REQUIRED);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
