/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/config.h"
#include "server/config_value.h"

static enum err read_flags(struct config *config, char *why, const char *const *flags) {
    int count = 0;
    while (flags[count])
        count++;
    return config_read(count, (char **)(uintptr_t)flags, config, why, 300);
}

#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_FLAGS ((const char *const[]){NULL})

static int clear_environment(void **state) {
    (void)state;
    static const char *const names[] = {
        "HATI_TCP_PORT",      "HATI_CONFIG",        "HATI_JWT_SECRET",
        "HULY_TOKEN_SECRET",  "HULY_BIND_PORT",     "HULY_BIND_HOST",
        "HATI_PAYLOAD_LIMIT", "HULY_DB_CONNECTION", "HULY_DB_SCHEME"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    return 0;
}

static void test_without_anything_the_defaults_stand(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_true(config.tcp && config.rpc);
    assert_int_equal(config.tcp_port, 4242);
    assert_int_equal(config.rpc_port, 6767);
    assert_string_equal(config.tcp_host, "0.0.0.0");
    assert_string_equal(config.data_dir, "./data");
    assert_int_equal(config.payload_limit_bytes, 2 << 20);
    assert_true(config.cpu_num >= 1);
    assert_null(config.secret.text);
    config_done(&config);
}

static void test_one_listener_named_is_the_only_one(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    assert_int_equal(read_flags(&config, why, FLAGS("--rpc", "--rpc-port=1")), OK);
    assert_true(config.rpc && !config.tcp);
    assert_int_equal(config.rpc_port, 1);
    config_done(&config);
}

static void test_a_flag_stands_over_the_environment_and_that_over_the_file(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    char path[] = "/tmp/hati-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char text[] = "# a comment\n\n tcp-port = 1 \npayload-limit=4kb\n";
    assert_int_equal(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    assert_int_equal(read_flags(&config, why, FLAGS("--config", path)), OK);
    assert_int_equal(config.tcp_port, 1);
    assert_int_equal(config.payload_limit_bytes, 4096);
    config_done(&config);
    setenv("HATI_TCP_PORT", "2", 1);
    assert_int_equal(read_flags(&config, why, FLAGS("--config", path)), OK);
    assert_int_equal(config.tcp_port, 2);
    config_done(&config);
    assert_int_equal(read_flags(&config, why, FLAGS("--tcp-port", "3", "--config", path)), OK);
    assert_int_equal(config.tcp_port, 3);
    config_done(&config);
    unlink(path);
}

static void test_the_variables_of_hulykvs_work(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    setenv("HULY_BIND_PORT", "8094", 1);
    setenv("HULY_BIND_HOST", "127.0.0.1", 1);
    setenv("HULY_TOKEN_SECRET", "a secret of hulykvs", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_int_equal(config.rpc_port, 8094);
    assert_string_equal(config.rpc_host, "127.0.0.1");
    assert_string_equal(config.secret.text, "a secret of hulykvs");
    assert_null(getenv("HULY_TOKEN_SECRET")); /* a child would inherit it */
    config_done(&config);
}

static void test_a_service_link_of_an_orchestrator_is_no_port(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    setenv("HATI_TCP_PORT", "tcp://10.0.0.1:4242", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_int_equal(config.tcp_port, 4242);
    config_done(&config);
}

static void expect_refusal(const char *const *flags, const char *word) {
    struct config config;
    char why[300] = "";
    assert_int_not_equal(read_flags(&config, why, flags), OK);
    if (!strstr(why, word))
        fail_msg("`%s` does not say `%s`", why, word);
}

static void test_what_is_wrong_is_named(void **state) {
    (void)state;
    expect_refusal(FLAGS("--no-such-flag"), "--no-such-flag");
    expect_refusal(FLAGS("tcp"), "`tcp`");
    expect_refusal(FLAGS("--tcp-port"), "needs a value");
    expect_refusal(FLAGS("--tcp-port", "70000"), "0 to 65535");
    expect_refusal(FLAGS("--tcp=perhaps"), "true or false");
    expect_refusal(FLAGS("--hdd-shards", "0"), "1 to 64");
    expect_refusal(FLAGS("--default-workspace", "x"), "UUID");
    expect_refusal(FLAGS("--cors-origin", "evil\r\nX: y"), "origin");
    expect_refusal(FLAGS("--base-path", "hati"), "base-path");
    expect_refusal(FLAGS("--base-path", "/"), "base-path");
    expect_refusal(FLAGS("--base-path", "/hati/"), "base-path");
    expect_refusal(FLAGS("--base-path", "/a//b"), "base-path");
    expect_refusal(FLAGS("--base-path", "/a/../b"), "base-path");
    expect_refusal(FLAGS("--base-path", "/a\r\nX: y"), "base-path");
    expect_refusal(FLAGS("--jwt-secret-file", "/none/such"), "/none/such");
    expect_refusal(FLAGS("--tls-cert", "a.pem"), "tls-key");
    expect_refusal(FLAGS("--config", "/none/such"), "/none/such");
    setenv("HATI_JWT_SECRET", "", 1);
    expect_refusal(NO_FLAGS, "empty");
    unsetenv("HATI_JWT_SECRET");
    expect_refusal(FLAGS("--engine-read", "postgresql://replica/x"), "engine");
    expect_refusal(FLAGS("--engine-schema", ""), "schema");
    expect_refusal(FLAGS("--engine-schema", "pg_toast"), "schema");
    expect_refusal(FLAGS("--engine-connections", "1"), "2 to 1000");
    expect_refusal(FLAGS("--engine-prepare", "perhaps"), "auto, on or off");
    expect_refusal(FLAGS("--engine-timeout", "50"), "100 ms");
}

static void test_the_engine_has_the_names_of_hulykvs_too(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    setenv("HULY_DB_CONNECTION", "postgresql://root@cockroach:26257/defaultdb?sslmode=disable", 1);
    setenv("HULY_DB_SCHEME", "hulykvs", 1);
    assert_int_equal(read_flags(&config, why, FLAGS("--engine-timeout", "2s")), OK);
    assert_string_equal(config.engine,
                        "postgresql://root@cockroach:26257/defaultdb?sslmode=disable");
    assert_string_equal(config.engine_schema, "hulykvs");
    assert_int_equal(config.engine_timeout_ms, 2000);
    config_done(&config);
    setenv("HULY_DB_CONNECTION", "", 1);
    assert_int_equal(read_flags(&config, why, FLAGS("--engine-prepare=off")), OK);
    assert_null(config.engine);
    assert_int_equal(config.engine_prepare, ENGINE_PREPARE_OFF);
    assert_int_equal(config.engine_connections, 10);
    config_done(&config);
}

static void test_a_connection_string_is_never_shown(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    assert_null(config_value_database("host=db dbname=x password=hush"));
    assert_int_equal(read_flags(&config, why, FLAGS("--engine", "mysql://me:hush@db/x")),
                     ERR_SYNTAX);
    assert_non_null(strstr(why, "postgresql://"));
    assert_null(strstr(why, "hush"));
}

static void test_an_address_is_host_and_port(void **state) {
    (void)state;
    static const char *const fine[] = {"node-1:6767", "10.0.0.1:80", "[fd00::1]:6767", "a.b_c:1"};
    static const char *const wrong[] = {"node",    ":6767", "node:", "node:0", "node:70000",
                                        "no de:1", "x/y:1", "[]:1",  "::1:80", "[x]:1"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        assert_null(config_value_address(fine[i]));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_non_null(config_value_address(wrong[i]));
}

static void test_sizes_and_times_have_units(void **state) {
    (void)state;
    uint64_t bytes = 0;
    int64_t ms = 0;
    assert_null(config_value_bytes("2mb", &bytes));
    assert_int_equal(bytes, 2 << 20);
    assert_null(config_value_bytes("1G", &bytes));
    assert_int_equal(bytes, 1 << 30);
    assert_non_null(config_value_bytes("-1", &bytes));
    assert_non_null(config_value_bytes("9999999999g", &bytes));
    assert_non_null(config_value_bytes("12 mb", &bytes));
    assert_non_null(config_value_bytes("", &bytes));
    assert_null(config_value_ms("1500", &ms));
    assert_int_equal(ms, 1500);
    assert_null(config_value_ms("2m", &ms));
    assert_int_equal(ms, 120000);
    assert_non_null(config_value_ms("soon", &ms));
    assert_null(config_value_durability("commit", &ms));
    assert_int_equal(ms, 0);
    assert_null(config_value_durability("interval:100", &ms));
    assert_int_equal(ms, 100);
    assert_non_null(config_value_durability("interval:0", &ms));
}

#define CASE(name) cmocka_unit_test_setup(name, clear_environment)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_without_anything_the_defaults_stand),
        CASE(test_one_listener_named_is_the_only_one),
        CASE(test_a_flag_stands_over_the_environment_and_that_over_the_file),
        CASE(test_the_variables_of_hulykvs_work),
        CASE(test_a_service_link_of_an_orchestrator_is_no_port),
        CASE(test_what_is_wrong_is_named),
        CASE(test_the_engine_has_the_names_of_hulykvs_too),
        CASE(test_a_connection_string_is_never_shown),
        CASE(test_an_address_is_host_and_port),
        CASE(test_sizes_and_times_have_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
