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

static char path_of_file[32];

/* A file of these bytes; its name. */
static const char *file_of(struct slice bytes) {
    strcpy(path_of_file, "/tmp/hati-config-XXXXXX");
    int fd = mkstemp(path_of_file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.ptr, bytes.len), (ssize_t)bytes.len);
    close(fd);
    return path_of_file;
}

static void expect_file_refused(struct slice bytes, const char *word) {
    expect_refusal(FLAGS("--config", file_of(bytes)), word);
    unlink(path_of_file);
}

static void test_a_file_says_which_of_its_lines_is_wrong(void **state) {
    (void)state;
    expect_file_refused(SLICE("tcp-port = 1\nwhat\n"), "line 2: `name = value` is expected");
    expect_file_refused(SLICE("\n\r\n# x\nwhat = 1"), "line 4: there is no setting `what`");
    expect_file_refused(SLICE("config = x"), "line 1: there is no setting `config`");
    expect_file_refused(SLICE(" = x"), "no setting ``");
    expect_file_refused(SLICE("tcp-port = x"), "line 1: tcp-port: a port");
    expect_file_refused(SLICE("no-auth ="), "line 1: no-auth: true or false");
    expect_file_refused(SLICE("tcp-port = 1\n\0no-auth = false\n"), "NUL");
    expect_refusal(FLAGS("--config", "/tmp"), "cannot read /tmp: Is a directory");
    expect_refusal(FLAGS("--config="), "cannot read");
}

/* What a service file or a compose file leaves empty is left out; no door opens by it. */
static void test_an_empty_variable_of_yes_or_no_is_left_out(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    setenv("HATI_NO_AUTH", "", 1);
    setenv("HATI_ALLOW_WEAK_SECRET", "", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_false(config.no_auth || config.allow_weak_secret);
    config_done(&config);
    setenv("HATI_NO_AUTH", "on", 1);
    assert_int_equal(read_flags(&config, why, FLAGS("--allow-weak-secret")), OK);
    assert_true(config.no_auth && config.allow_weak_secret);
    config_done(&config);
    assert_int_equal(read_flags(&config, why, FLAGS("--no-auth=false")), OK);
    assert_false(config.no_auth);
    config_done(&config);
    unsetenv("HATI_NO_AUTH");
    unsetenv("HATI_ALLOW_WEAK_SECRET");
    expect_refusal(FLAGS("--no-auth="), "true or false");
}

static void test_a_secret_file_is_text_up_to_a_mebibyte(void **state) {
    (void)state;
    static char large[(1 << 20) + 1];
    struct config config;
    char why[300] = "";
    memset(large, 'x', sizeof large);
    assert_int_equal(
        read_flags(&config, why, FLAGS("--jwt-secret-file", file_of(SLICE("a b\r\n\n")))), OK);
    assert_string_equal(config.secret.text, "a b");
    char *again = NULL;
    assert_int_equal(config_read_again(&config.secret, &again, why, sizeof why), OK);
    assert_string_equal(again, "a b");
    free(again);
    unlink(path_of_file);
    assert_int_equal(config_read_again(&config.secret, &again, why, sizeof why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, path_of_file));
    config_done(&config);
    assert_int_equal(
        read_flags(&config, why,
                   FLAGS("--jwt-secret-file", file_of(slice_make(large, sizeof large - 1)))),
        OK);
    assert_int_equal(strlen(config.secret.text), 1 << 20);
    config_done(&config);
    unlink(path_of_file);
    expect_refusal(FLAGS("--jwt-secret-file", file_of(slice_make(large, sizeof large))),
                   "too large");
    unlink(path_of_file);
    expect_refusal(FLAGS("--jwt-secret-file", file_of(SLICE("thirty-two bytes and\0 more of it"))),
                   "NUL");
    unlink(path_of_file);
    expect_refusal(FLAGS("--jwt-key-file", file_of(SLICE("\n\n"))), "is empty");
    assert_int_equal(read_flags(&config, why, FLAGS("--jwt-secret-file-old", path_of_file)), OK);
    assert_string_equal(config.old_secret.text, "");
    config_done(&config);
    unlink(path_of_file);
}

static void test_bounds_that_hang_together_are_judged_together(void **state) {
    (void)state;
    static const struct {
        const char *flag, *low, *least, *most, *high;
    } rows[] = {
        {"jwks-refresh", "999ms", "1s", "24h", "86400001"},
        {"jwks-cooldown", "99", "100ms", "1h", "3600001"},
        {"payload-limit", "1023", "1k", "1g", "1073741825"},
        {"line-limit", "8191", "8k", "1g", "1073741825"},
        {"write-buffer", "1048575", "1m", "1048576g", NULL},
        {"request-timeout", "99", "100", "876000h", NULL},
        {"engine-timeout", "99", "100", "876000h", NULL},
        {"peer-beat", "9", "10", "876000h", NULL},
        {"peer-refresh", "9", "10", "876000h", NULL},
        {"peer-timeout", "0", "1", "876000h", NULL},
        {"inflight-limit", "2097151", "2m", "1048576g", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const values[] = {rows[i].low, rows[i].high, rows[i].least, rows[i].most};
        for (unsigned v = 0; v < 4; v++) {
            char flag[80], why[300] = "";
            struct config config;
            if (!values[v])
                continue;
            snprintf(flag, sizeof flag, "--%s=%s", rows[i].flag, values[v]);
            if (v < 2)
                expect_refusal(FLAGS(flag), rows[i].flag);
            else if (read_flags(&config, why, FLAGS(flag)))
                fail_msg("%s: %s", flag, why);
            else
                config_done(&config);
        }
    }
}

static void test_what_follows_from_the_largest_value(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    assert_int_equal(read_flags(&config, why, FLAGS("--payload-limit=1g", "--write-buffer=1m")),
                     OK);
    assert_true(config.write_buffer_bytes == UINT64_C(2) << 30);
    assert_true(config.line_limit_bytes == 1U << 30);
    assert_true(config.inflight_limit_bytes == UINT64_C(4) << 30);
    config_done(&config);
    assert_int_equal(read_flags(&config, why, FLAGS("--payload-limit=1k")), OK);
    assert_true(config.line_limit_bytes == 1536 + 65536);
    assert_true(config.inflight_limit_bytes == 1U << 30);
    config_done(&config);
}

static void test_what_goes_together_is_named_where_half_is_missing(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    expect_refusal(FLAGS("--rate-limit-burst=5"), "rate-limit-burst");
    expect_refusal(FLAGS("--tcp-proxy-protocol"), "trusted-proxies");
    expect_refusal(FLAGS("--olivia-proxy-protocol"), "trusted-proxies");
    expect_refusal(FLAGS("--rpc-proxy-protocol"), "trusted-proxies");
    expect_refusal(FLAGS("--trusted-proxies=10.0.0.0/33"), "trusted-proxies");
    expect_refusal(FLAGS("--tls-key=a.pem"), "tls-cert");
    expect_refusal(FLAGS("--encryption-key-file=a", "--engine=dbname=x"), "encryption-key-file");
    expect_refusal(FLAGS("--peers=a"), "peers");
    expect_refusal(FLAGS("--advertise=a"), "advertise");
    expect_refusal(FLAGS("--view=a:1,a:1"), "view");
    expect_refusal(FLAGS("--tcp-host="), "tcp-host: a text");
    expect_refusal(FLAGS("-"), "is no flag");
    expect_refusal(FLAGS(""), "is no flag");
    expect_refusal(FLAGS("--"), "no flag `--`");
    expect_refusal(FLAGS("--=1"), "no flag `--`");
    assert_int_equal(
        read_flags(&config, why,
                   FLAGS("--rate-limit=5/m", "--rate-limit-burst=9", "--base-path=/a",
                         "--rpc-proxy-protocol", "--trusted-proxies=10.0.0.0/8", "--peers=a:1",
                         "--advertise", "a:2", "--otlp-sample=.5", "--durability=interval:5",
                         "--memory-eviction=lru", "--log-level=off", "--tls-cert=a", "--tls-key=b",
                         "--engine=dbname=x", "--engine-read=dbname=y")),
        OK);
    assert_string_equal(config.base_path, "/a");
    assert_int_equal(config.durability_ms, 5);
    config_done(&config); /* a leak of one of them is seen under the sanitizer */
}

static void test_the_variables_of_key_value_store_count_where_it_names_a_view(void **state) {
    (void)state;
    struct config config;
    char why[300] = "";
    setenv("ADDRESS", "10.0.0.1", 1);
    setenv("PORT", "nonsense", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK); /* PORT may be anybody's */
    assert_null(config.advertise);
    config_done(&config);
    setenv("VIEW", "10.0.0.1:8085,10.0.0.2:8085", 1);
    expect_refusal(NO_FLAGS, "by PORT in the environment");
    setenv("PORT", "8085", 1);
    setenv("REPL_FACTOR", "2", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_string_equal(config.advertise, "10.0.0.1:8085");
    assert_int_equal(config.rpc_port, 8085);
    assert_int_equal(config.repl_factor, 2);
    config_done(&config);
    setenv("ADDRESS", "10.0.0.1:9", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_string_equal(config.advertise, "10.0.0.1:9");
    config_done(&config);
    setenv("ADDRESS", "no host", 1);
    expect_refusal(NO_FLAGS, "by ADDRESS in the environment");
    setenv("ADDRESS", "", 1);
    assert_int_equal(read_flags(&config, why, NO_FLAGS), OK);
    assert_null(config.advertise);
    config_done(&config);
    unsetenv("VIEW");
    setenv("ADDRESS", "node", 1); /* nodes of an engine are found by it too */
    assert_int_equal(read_flags(&config, why, FLAGS("--engine=dbname=x")), OK);
    assert_string_equal(config.advertise, "node:6767");
    config_done(&config);
    unsetenv("ADDRESS");
    unsetenv("PORT");
    unsetenv("REPL_FACTOR");
}

static unsigned counted;

static void count_option(const char *name, const char *value, const char *doc) {
    assert_true(name[0] && value && doc[0]);
    counted++;
}

static void test_every_option_has_a_name_and_a_line(void **state) {
    (void)state;
    config_each_option(count_option);
    assert_true(counted > 80);
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
        CASE(test_a_file_says_which_of_its_lines_is_wrong),
        CASE(test_an_empty_variable_of_yes_or_no_is_left_out),
        CASE(test_a_secret_file_is_text_up_to_a_mebibyte),
        CASE(test_bounds_that_hang_together_are_judged_together),
        CASE(test_what_follows_from_the_largest_value),
        CASE(test_what_goes_together_is_named_where_half_is_missing),
        CASE(test_the_variables_of_key_value_store_count_where_it_names_a_view),
        CASE(test_every_option_has_a_name_and_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
