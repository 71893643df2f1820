/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/http_route.h"

#define UUID "11111111-2222-3333-4444-555555555555"

static struct http_match match;

static const char *find(enum http_method method, const char *path) {
    enum err err = http_route_find(slice_of_cstr(path), method, &match);
    if (err)
        return err_word(err);
    return match.op ? match.op->name : "";
}

static void assert_part(unsigned index, const char *name, const char *text) {
    assert_true(index < match.part_count);
    assert_string_equal(match.op->params[match.params[index]].name, name);
    assert_true(slice_equal(match.parts[index], slice_of_cstr(text)));
}

static void test_methods_of_a_key_are_rows(void **state) {
    (void)state;
    assert_string_equal(find(HTTP_PUT, "/api2/" UUID "/ns/k"), "Storage.Set");
    assert_string_equal(find(HTTP_GET, "/api2/" UUID "/ns/k"), "Storage.GetEntry");
    assert_string_equal(find(HTTP_HEAD, "/api2/" UUID "/ns/k"), "Storage.GetEntry");
    assert_string_equal(find(HTTP_DELETE, "/api2/" UUID "/ns/k"), "Storage.Delete");
    assert_string_equal(find(HTTP_POST, "/api2/" UUID "/ns/k"), "Storage.Increment");
    assert_string_equal(find(HTTP_POST, "/api/ns/k"), "Storage.Set");
    assert_string_equal(find(HTTP_PUT, "/api/ns/k"), "Storage.Set");
    assert_string_equal(find(HTTP_GET, "/stats"), "Server.Stats");
}

static void test_parts_come_as_they_stand(void **state) {
    (void)state;
    assert_string_equal(find(HTTP_GET, "/api2/w%20/n%2Fs/a%2Fb"), "Storage.GetEntry");
    assert_int_equal(match.part_count, 3);
    assert_part(0, "workspace", "w%20");
    assert_part(1, "namespace", "n%2Fs");
    assert_part(2, "key", "a%2Fb");
}

static void test_a_key_takes_the_rest_of_the_path(void **state) {
    (void)state;
    assert_string_equal(find(HTTP_GET, "/api/ns/a/b//c/"), "Storage.GetEntry");
    assert_part(1, "key", "a/b//c/");
    assert_string_equal(find(HTTP_GET, "/api/ns/"), "Storage.GetEntry");
    assert_part(1, "key", "");
}

static void test_a_path_without_a_key_is_a_listing(void **state) {
    (void)state;
    assert_string_equal(find(HTTP_GET, "/api2/" UUID "/ns"), "Storage.List");
    assert_string_equal(find(HTTP_GET, "/api/ns"), "Storage.List");
    assert_part(0, "namespace", "ns");
}

static void test_unknown_paths_are_unknown(void **state) {
    static const char *const paths[] = {"/nope", "/api", "/api2/w", "/stats/",
                                        "/rpc/", "//",   "/Status", "/api3/a/b"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_string_equal(find(HTTP_GET, paths[i]), "UNKNOWN_COMMAND");
}

static void assert_allowed(const char *path, const char *methods) {
    char allow[HTTP_ALLOW_BYTES];
    assert_string_equal(find(HTTP_OTHER, path), "METHOD_NOT_ALLOWED");
    http_route_allow(match.methods, allow);
    assert_string_equal(allow, methods);
}

static void test_a_wrong_method_learns_the_right_ones(void **state) {
    (void)state;
    assert_allowed("/api2/" UUID "/ns/k", "GET, HEAD, PUT, POST, DELETE, OPTIONS");
    assert_allowed("/api/ns", "GET, HEAD, OPTIONS");
    assert_allowed("/rpc", "POST, OPTIONS");
    assert_allowed("/", "GET, HEAD, POST, OPTIONS");
    assert_allowed("/status", "GET, HEAD, OPTIONS");
    assert_string_equal(find(HTTP_GET, "/rpc"), "METHOD_NOT_ALLOWED");
    assert_int_equal(match.target, TARGET_RPC);
}

static void test_options_is_fine_on_every_known_path(void **state) {
    (void)state;
    assert_string_equal(find(HTTP_OPTIONS, "/api/ns/k"), "");
    assert_string_equal(find(HTTP_OPTIONS, "/rpc"), "");
    assert_string_equal(find(HTTP_OPTIONS, "/nope"), "UNKNOWN_COMMAND");
}

static void test_own_routes_have_their_targets(void **state) {
    (void)state;
    assert_string_equal(find(HTTP_POST, "/"), "");
    assert_int_equal(match.target, TARGET_RPC);
    assert_string_equal(find(HTTP_GET, "/healthz"), "");
    assert_int_equal(match.target, TARGET_HEALTH);
    assert_string_equal(find(HTTP_HEAD, "/readyz"), "");
    assert_int_equal(match.target, TARGET_READY);
    assert_string_equal(find(HTTP_POST, "/internal/poke"), "");
    assert_int_equal(match.target, TARGET_POKE);
}

static void test_method_names_are_exact(void **state) {
    (void)state;
    assert_int_equal(http_method_of(SLICE("GET")), HTTP_GET);
    assert_int_equal(http_method_of(SLICE("OPTIONS")), HTTP_OPTIONS);
    assert_int_equal(http_method_of(SLICE("get")), HTTP_OTHER);
    assert_int_equal(http_method_of(SLICE("GE")), HTTP_OTHER);
    assert_int_equal(http_method_of(SLICE("PATCH")), HTTP_OTHER);
}

static int read_rows(void **state) {
    (void)state;
    http_route_init();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods_of_a_key_are_rows),
        cmocka_unit_test(test_parts_come_as_they_stand),
        cmocka_unit_test(test_a_key_takes_the_rest_of_the_path),
        cmocka_unit_test(test_a_path_without_a_key_is_a_listing),
        cmocka_unit_test(test_unknown_paths_are_unknown),
        cmocka_unit_test(test_a_wrong_method_learns_the_right_ones),
        cmocka_unit_test(test_options_is_fine_on_every_known_path),
        cmocka_unit_test(test_own_routes_have_their_targets),
        cmocka_unit_test(test_method_names_are_exact),
    };
    return cmocka_run_group_tests(tests, read_rows, NULL);
}
