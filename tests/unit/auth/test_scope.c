/* SPDX-License-Identifier: MIT */
/* What a grant allows: scopes, patterns, workspaces, and the end of a token's time. */
#include "token_case.h"

#include "auth/scope.h"

static struct auth_grant grant;

static void read_scope(const char *text) {
    grant = (struct auth_grant){.signed_in = true, .expires_at_ms = INT64_MAX};
    assert_true(scope_read(slice_of_cstr(text), &grant));
}

static void assert_allows(enum auth_scope scope, const char *name, enum err expected) {
    enum err err = auth_allows(&grant, scope, slice_of_cstr(name), NOW_MS);
    if (err != expected)
        fail_msg("scope %d of \"%s\" answers %s", (int)scope, name, err ? err_word(err) : "OK");
}

static void test_without_a_scope_claim_a_token_may_do_all(void **state) {
    (void)state;
    grant = (struct auth_grant){.signed_in = true, .expires_at_ms = INT64_MAX};
    assert_allows(AUTH_KV_READ, "a", OK);
    assert_allows(AUTH_KV_WRITE, "", OK);
    assert_allows(AUTH_BROKER_PUBLISH, "r", OK);
    assert_allows(AUTH_BROKER_CONSUME, "q", OK);
    assert_allows(AUTH_ADMIN, "", OK);
}

static void test_a_scope_opens_itself_and_nothing_else(void **state) {
    (void)state;
    read_scope("kv:read");
    assert_allows(AUTH_NOTHING, "", OK);
    assert_allows(AUTH_ANY, "", OK);
    assert_allows(AUTH_KV_READ, "a", OK);
    assert_allows(AUTH_KV_READ, "", OK);
    assert_allows(AUTH_KV_WRITE, "a", ERR_FORBIDDEN);
    assert_allows(AUTH_BROKER_CONSUME, "a", ERR_FORBIDDEN);
    assert_allows(AUTH_ADMIN, "", ERR_FORBIDDEN);
    read_scope("admin");
    assert_allows(AUTH_ADMIN, "", OK);
    assert_allows(AUTH_KV_READ, "", ERR_FORBIDDEN);
}

static void test_an_empty_scope_allows_nothing_but_being_known(void **state) {
    (void)state;
    read_scope("");
    assert_allows(AUTH_ANY, "", OK);
    assert_allows(AUTH_KV_READ, "a", ERR_FORBIDDEN);
    read_scope("  ");
    assert_allows(AUTH_KV_READ, "a", ERR_FORBIDDEN);
}

static void test_a_pattern_is_a_name_or_the_start_of_names(void **state) {
    (void)state;
    read_scope("kv:read:orders kv:write:tmp-* broker:consume:*");
    assert_allows(AUTH_KV_READ, "orders", OK);
    assert_allows(AUTH_KV_READ, "orders2", ERR_FORBIDDEN);
    assert_allows(AUTH_KV_READ, "order", ERR_FORBIDDEN);
    assert_allows(AUTH_KV_READ, "Orders", ERR_FORBIDDEN);
    assert_allows(AUTH_KV_READ, "", ERR_FORBIDDEN);
    assert_allows(AUTH_KV_WRITE, "tmp-", OK);
    assert_allows(AUTH_KV_WRITE, "tmp-1", OK);
    assert_allows(AUTH_KV_WRITE, "tmp", ERR_FORBIDDEN);
    assert_allows(AUTH_KV_WRITE, "orders", ERR_FORBIDDEN);
    assert_allows(AUTH_KV_WRITE, "", ERR_FORBIDDEN);
    assert_allows(AUTH_BROKER_CONSUME, "any", OK);
    assert_allows(AUTH_BROKER_CONSUME, "", OK);
}

static void test_a_pattern_may_hold_colons(void **state) {
    (void)state;
    read_scope("kv:read:a:b");
    assert_allows(AUTH_KV_READ, "a:b", OK);
    assert_allows(AUTH_KV_READ, "a", ERR_FORBIDDEN);
}

static void test_rules_add_up(void **state) {
    (void)state;
    read_scope("kv:read:a  kv:read:b kv:write:a");
    assert_allows(AUTH_KV_READ, "a", OK);
    assert_allows(AUTH_KV_READ, "b", OK);
    assert_allows(AUTH_KV_WRITE, "b", ERR_FORBIDDEN);
}

static void test_words_of_other_systems_allow_nothing(void **state) {
    (void)state;
    read_scope("openid profile kv kv: kv:reader kv:readx:a KV:READ administrator kv:* *");
    assert_int_equal(grant.rule_count, 0);
    assert_allows(AUTH_KV_READ, "a", ERR_FORBIDDEN);
    assert_allows(AUTH_ADMIN, "a", ERR_FORBIDDEN);
}

static void test_a_pattern_that_cannot_be_meant_spoils_the_claim(void **state) {
    (void)state;
    assert_false(scope_read(SLICE("kv:read:"), &grant));
    assert_false(scope_read(SLICE("kv:read: kv:write"), &grant));
    assert_false(scope_read(SLICE("kv:read:a*b"), &grant));
    assert_false(scope_read(SLICE("kv:read:a**"), &grant));
    char text[80] = "kv:read:";
    memset(text + 8, 'n', 63);
    assert_false(scope_read(slice_make(text, 8 + 63), &grant));
    grant = (struct auth_grant){.signed_in = true, .expires_at_ms = INT64_MAX};
    assert_true(scope_read(slice_make(text, 8 + 62), &grant));
    assert_int_equal(auth_allows(&grant, AUTH_KV_READ, slice_make(text + 8, 62), NOW_MS), OK);
    assert_int_equal(auth_allows(&grant, AUTH_KV_READ, slice_make(text + 8, 63), NOW_MS),
                     ERR_FORBIDDEN);
}

static void test_more_rules_than_fit_spoil_the_claim(void **state) {
    (void)state;
    char text[200] = "";
    for (unsigned i = 0; i < AUTH_RULES_MAX; i++)
        strcat(text, "kv:read ");
    grant = (struct auth_grant){.signed_in = true};
    assert_true(scope_read(slice_of_cstr(text), &grant));
    strcat(text, "kv:write");
    grant = (struct auth_grant){.signed_in = true};
    assert_false(scope_read(slice_of_cstr(text), &grant));
}

static void test_callers_without_a_token_get_only_what_is_open(void **state) {
    (void)state;
    grant = auth_grant_nothing;
    assert_allows(AUTH_NOTHING, "", OK);
    assert_allows(AUTH_ANY, "", ERR_AUTH_REQUIRED);
    assert_allows(AUTH_KV_READ, "a", ERR_AUTH_REQUIRED);
    assert_allows(AUTH_ADMIN, "", ERR_AUTH_REQUIRED);
    struct uuid workspace = {{1}};
    assert_int_equal(auth_allows_workspace(&grant, &workspace), ERR_AUTH_REQUIRED);
    grant = auth_grant_everything;
    assert_allows(AUTH_ADMIN, "", OK);
    assert_int_equal(auth_allows_workspace(&grant, &workspace), OK);
}

static void test_a_grant_ends_with_its_token_even_the_systems(void **state) {
    (void)state;
    grant = (struct auth_grant){.signed_in = true, .expires_at_ms = NOW_MS + 1};
    assert_allows(AUTH_KV_READ, "a", OK);
    grant.expires_at_ms = NOW_MS;
    assert_allows(AUTH_KV_READ, "a", ERR_AUTH_REQUIRED);
    assert_allows(AUTH_NOTHING, "", OK);
    grant.everything = true;
    assert_allows(AUTH_KV_READ, "a", ERR_AUTH_REQUIRED);
}

static void test_a_workspace_opens_for_its_own_token_and_the_system(void **state) {
    (void)state;
    struct uuid own = {{1, 2}}, other = {{1, 3}};
    grant = (struct auth_grant){
        .signed_in = true, .has_workspace = true, .workspace = own, .expires_at_ms = INT64_MAX};
    assert_int_equal(auth_allows_workspace(&grant, &own), OK);
    assert_int_equal(auth_allows_workspace(&grant, &other), ERR_FORBIDDEN);
    grant.has_workspace = false;
    assert_int_equal(auth_allows_workspace(&grant, &own), ERR_FORBIDDEN);
    struct uuid zero = {{0}};
    grant.workspace = zero;
    assert_int_equal(auth_allows_workspace(&grant, &zero), ERR_FORBIDDEN);
    grant.everything = true;
    assert_int_equal(auth_allows_workspace(&grant, &other), OK);
}

static void test_a_scope_narrows_the_system_account_in_every_workspace(void **state) {
    (void)state;
    read_scope("kv:read");
    grant.everything = true;
    assert_allows(AUTH_KV_READ, "a", OK);
    assert_allows(AUTH_KV_WRITE, "a", ERR_FORBIDDEN);
    struct uuid workspace = {{9}};
    assert_int_equal(auth_allows_workspace(&grant, &workspace), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_scope_claim_a_token_may_do_all),
        cmocka_unit_test(test_a_scope_opens_itself_and_nothing_else),
        cmocka_unit_test(test_an_empty_scope_allows_nothing_but_being_known),
        cmocka_unit_test(test_a_pattern_is_a_name_or_the_start_of_names),
        cmocka_unit_test(test_a_pattern_may_hold_colons),
        cmocka_unit_test(test_rules_add_up),
        cmocka_unit_test(test_words_of_other_systems_allow_nothing),
        cmocka_unit_test(test_a_pattern_that_cannot_be_meant_spoils_the_claim),
        cmocka_unit_test(test_more_rules_than_fit_spoil_the_claim),
        cmocka_unit_test(test_callers_without_a_token_get_only_what_is_open),
        cmocka_unit_test(test_a_grant_ends_with_its_token_even_the_systems),
        cmocka_unit_test(test_a_workspace_opens_for_its_own_token_and_the_system),
        cmocka_unit_test(test_a_scope_narrows_the_system_account_in_every_workspace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
