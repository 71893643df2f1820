/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/http_guard.h"

/* Judges header lines `name: value`, parted by `\n`. */
static const char *judge(const char *method, const char *target, const char *version,
                         const char *lines) {
    struct http_headers headers = {0};
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        const char *colon = memchr(lines, ':', len);
        size_t name_len = (size_t)(colon - lines);
        http_headers_add(&headers, slice_make(lines, name_len),
                         slice_make(colon + 2, len - name_len - 2));
        lines += len + (lines[len] == '\n');
    }
    return http_guard_check(&headers, slice_of_cstr(method), slice_of_cstr(target),
                            slice_of_cstr(version));
}

#define SERVED(lines) assert_null(judge("PUT", "/a", "HTTP/1.1", "Host: a\n" lines))
#define REFUSED(lines) assert_non_null(judge("PUT", "/a", "HTTP/1.1", "Host: a\n" lines))

static void test_a_length_or_one_chunked_is_served(void **state) {
    (void)state;
    SERVED("");
    SERVED("Content-Length: 5");
    SERVED("Content-Length: 0");
    SERVED("Transfer-Encoding: chunked");
    SERVED("transfer-encoding: Chunked");
}

static void test_a_length_beside_an_encoding_is_refused(void **state) {
    (void)state;
    REFUSED("Content-Length: 5\nTransfer-Encoding: chunked");
    REFUSED("transfer-encoding: chunked\ncontent-length: 5");
}

static void test_an_encoding_other_than_one_chunked_is_refused(void **state) {
    (void)state;
    REFUSED("Transfer-Encoding: xchunked");
    REFUSED("Transfer-Encoding: gzip, chunked");
    REFUSED("Transfer-Encoding: chunked, chunked");
    REFUSED("Transfer-Encoding: identity");
    REFUSED("Transfer-Encoding: ");
    REFUSED("Transfer-Encoding: chunked\nTransfer-Encoding: chunked");
}

static void test_an_encoding_in_the_old_version_is_refused(void **state) {
    (void)state;
    assert_non_null(judge("PUT", "/a", "HTTP/1.0", "Transfer-Encoding: chunked"));
    assert_null(judge("PUT", "/a", "HTTP/1.0", "Content-Length: 1"));
}

static void test_what_stands_twice_is_refused(void **state) {
    (void)state;
    REFUSED("Content-Length: 5\nContent-Length: 5");
    REFUSED("Host: b");
    REFUSED("Authorization: Bearer a\nauthorization: Bearer b");
    REFUSED("If-Match: *\nIf-Match: *");
    REFUSED("If-None-Match: *\nIf-None-Match: *");
    REFUSED("Content-Type: a/b\nContent-Type: a/c");
    SERVED("X-Other: a\nX-Other: b");
}

static void test_a_length_that_is_no_number_is_refused(void **state) {
    (void)state;
    REFUSED("Content-Length: +3");
    REFUSED("Content-Length: -1");
    REFUSED("Content-Length: 0x3");
    REFUSED("Content-Length: 3, 3");
    REFUSED("Content-Length: ");
    REFUSED("Content-Length: 99999999999999999999999");
}

static void test_a_name_that_is_no_token_is_refused(void **state) {
    (void)state;
    REFUSED("Transfer-Encoding : chunked");
    REFUSED("X(Y): a");
    REFUSED(": a");
    SERVED("X-Y_z!#1: a");
}

static void test_a_control_character_in_a_value_is_refused(void **state) {
    (void)state;
    REFUSED("X: a\rb");
    REFUSED("X: a\x01");
    REFUSED("X: a\x7F");
    SERVED("X: a\tb");
    SERVED("X: \xC3\xA4");
}

static void test_the_new_version_needs_a_host(void **state) {
    (void)state;
    assert_non_null(judge("GET", "/a", "HTTP/1.1", ""));
    assert_null(judge("GET", "/a", "HTTP/1.0", ""));
}

static void test_other_versions_are_refused(void **state) {
    (void)state;
    assert_non_null(judge("GET", "/a", "HTTP/1.9", "Host: a"));
    assert_non_null(judge("GET", "/a", "HTTP/2.0", "Host: a"));
    assert_non_null(judge("GET", "/a", "", "Host: a"));
}

static void test_a_malformed_request_line_is_refused(void **state) {
    (void)state;
    assert_non_null(judge("G\x01T", "/a", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("", "/a", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("GET", "a", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("GET", "http://a/b", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("GET", "/a b", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("GET", "/a\tb", "HTTP/1.1", "Host: a"));
    assert_null(judge("PATCH", "/%00", "HTTP/1.1", "Host: a"));
}

static void assert_token(const char *header, const char *token) {
    struct slice found = http_bearer_token(slice_of_cstr(header));
    assert_true(slice_equal(found, slice_of_cstr(token)));
}

static void test_the_token_is_what_follows_bearer(void **state) {
    (void)state;
    assert_token("Bearer abc", "abc");
    assert_token("bearer  abc ", "abc");
    assert_token("Bearer", "");
    assert_token("Bearer ", "");
    assert_token("Basic abc", "");
    assert_token("", "");
}

static void test_a_sane_request_id_is_kept(void **state) {
    char text[129];
    (void)state;
    memset(text, 'a', sizeof text);
    assert_true(http_request_id_is_sane(SLICE("Az09._-")));
    assert_true(http_request_id_is_sane(slice_make(text, 128)));
    assert_false(http_request_id_is_sane(slice_make(text, 129)));
    assert_false(http_request_id_is_sane(SLICE("")));
    assert_false(http_request_id_is_sane(SLICE("a b")));
    assert_true(http_request_id_is_sane(SLICE("Root=1-67891233-abcdef012345678912345678;a+b/c=")));
    assert_false(http_request_id_is_sane(SLICE("<b>")));
    assert_false(http_request_id_is_sane(SLICE("a\"b")));
    assert_false(http_request_id_is_sane(SLICE("a\0b")));
}

static bool is_letter(unsigned c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 9110 section 5.6.2 and 5.5, byte by byte. */
static void test_each_byte_of_a_name_and_of_a_value_is_judged(void **state) {
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char bytes[3] = {'a', (char)c, 'b'};
        struct http_headers of_name = {0}, of_value = {0};
        http_headers_add(&of_name, slice_make(bytes, 3), SLICE("v"));
        http_headers_add(&of_value, SLICE("n"), slice_make(bytes, 3));
        bool is_token = is_letter(c) || (c && strchr("!#$%&'*+-.^_`|~", (int)c));
        assert_int_equal(of_name.bad_name, !is_token);
        assert_int_equal(of_value.bad_value, (c < 0x20 && c != '\t') || c == 0x7F);
        assert_false(of_name.bad_value || of_value.bad_name);
        bool in_id = is_letter(c) || (c && strchr("-._~:/=+@,;", (int)c));
        assert_int_equal(http_request_id_is_sane(slice_make(bytes, 3)), in_id);
        struct slice target = slice_make((char[]){'/', (char)c}, 2);
        struct http_headers one_host = {.hosts = 1};
        assert_int_equal(http_guard_check(&one_host, SLICE("GET"), target, SLICE("HTTP/1.1")) ==
                             NULL,
                         c > 0x20 && c != 0x7F);
    }
}

/* Each name that counts has neighbours of its length that do not. */
static void test_a_name_counts_in_any_case_and_no_other_does(void **state) {
    (void)state;
    static const char *const names[] = {
        "Host",           "Range",          "Origin",          "Expect",
        "If-Match",       "If-Range",       "tracestate",      "traceparent",
        "Content-Type",   "X-Request-Id",   "Authorization",   "If-None-Match",
        "Content-Length", "Causal-Context", "X-Forwarded-For", "Transfer-Encoding"};
    static const struct http_headers none;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[20];
        size_t len = strlen(names[i]);
        for (size_t at = 0; at <= len; at++) {
            struct http_headers headers = {0};
            memcpy(name, names[i], len + 1);
            if (at < len)
                name[at] = name[at] == 'x' ? 'y' : 'x';
            if (at < len && names[i][at] == 'X') /* the same in another case */
                continue;
            http_headers_add(&headers, slice_make(name, len), SLICE("v"));
            assert_int_equal(memcmp(&headers, &none, sizeof none) != 0, at == len);
            for (size_t j = 0; j < len; j++)
                name[j] = (char)toupper((unsigned char)name[j]);
            struct http_headers shouted = {0};
            http_headers_add(&shouted, slice_make(name, len), SLICE("v"));
            assert_int_equal(memcmp(&shouted, &none, sizeof none) != 0, at == len);
        }
    }
}

static void test_lengths_end_where_numbers_do(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {{"0", 0},
                {"00012", 12},
                {"9007199254740993", 9007199254740993},
                {"9223372036854775807", INT64_MAX},
                {"9223372036854775808", UINT64_C(9223372036854775808)},
                {"18446744073709551614", UINT64_MAX - 1},
                {"18446744073709551616", UINT64_MAX},
                {"18446744073709551620", UINT64_MAX},
                {"184467440737095516150", UINT64_MAX},
                {"", UINT64_MAX},
                {"1 ", UINT64_MAX},
                {" 1", UINT64_MAX},
                {"1:", UINT64_MAX},
                {"1/", UINT64_MAX}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(http_content_length(slice_of_cstr(rows[i].text)) == rows[i].bytes);
    assert_true(http_content_length(SLICE("1\0")) == UINT64_MAX);
}

static void test_the_last_lines_of_forwarded_for_are_kept(void **state) {
    (void)state;
    struct http_headers headers = {0};
    char lines[HTTP_FORWARDED_MAX + 3][8];
    for (unsigned i = 0; i < HTTP_FORWARDED_MAX + 3; i++) {
        snprintf(lines[i], sizeof lines[i], "%u", i);
        http_headers_add(&headers, SLICE("X-Forwarded-For"), slice_of_cstr(lines[i]));
        unsigned count = i + 1 < HTTP_FORWARDED_MAX ? i + 1 : HTTP_FORWARDED_MAX;
        assert_true(slice_equal(headers.forwarded_for[count - 1], slice_of_cstr(lines[i])));
        assert_true(slice_equal(headers.forwarded_for[0], slice_of_cstr(lines[i + 1 - count])));
    }
}

static void test_a_star_is_a_target_and_spaces_alone_are_no_token(void **state) {
    (void)state;
    assert_null(judge("OPTIONS", "*", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("OPTIONS", "**", "HTTP/1.1", "Host: a"));
    assert_non_null(judge("GET", "", "HTTP/1.1", "Host: a"));
    REFUSED("Causal-Context: {}\nCausal-Context: {}");
    assert_token("Bearer    ", "");
    assert_token("Bearerx abc", "");
    assert_token("Bearer a b", "a b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_length_or_one_chunked_is_served),
        cmocka_unit_test(test_a_length_beside_an_encoding_is_refused),
        cmocka_unit_test(test_an_encoding_other_than_one_chunked_is_refused),
        cmocka_unit_test(test_an_encoding_in_the_old_version_is_refused),
        cmocka_unit_test(test_what_stands_twice_is_refused),
        cmocka_unit_test(test_a_length_that_is_no_number_is_refused),
        cmocka_unit_test(test_a_name_that_is_no_token_is_refused),
        cmocka_unit_test(test_a_control_character_in_a_value_is_refused),
        cmocka_unit_test(test_the_new_version_needs_a_host),
        cmocka_unit_test(test_other_versions_are_refused),
        cmocka_unit_test(test_a_malformed_request_line_is_refused),
        cmocka_unit_test(test_the_token_is_what_follows_bearer),
        cmocka_unit_test(test_a_sane_request_id_is_kept),
        cmocka_unit_test(test_each_byte_of_a_name_and_of_a_value_is_judged),
        cmocka_unit_test(test_a_name_counts_in_any_case_and_no_other_does),
        cmocka_unit_test(test_lengths_end_where_numbers_do),
        cmocka_unit_test(test_the_last_lines_of_forwarded_for_are_kept),
        cmocka_unit_test(test_a_star_is_a_target_and_spaces_alone_are_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
