/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
