/* SPDX-License-Identifier: MIT */
/* Heads as libmicrohttpd 0.9.75 reads them in place, and what of them is seen to be not plain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/http_raw.h"

#define HEAD_BYTES 1024

/* Where a line ends, with NULs in the place of its end; the next one in *at. */
static char *take_line(char **at, const char *end) {
    char *line = *at, *lf = memchr(line, '\n', (size_t)(end - line));
    assert_non_null(lf);
    *at = lf + 1;
    *lf = 0;
    if (lf > line && lf[-1] == '\r')
        lf[-1] = 0;
    return line;
}

/* A line that begins with a space is joined with the one before, in other memory; one without a
 * colon is dropped; a value ends at its first NUL. */
static void take_headers(struct http_raw *raw, char *at, char *end) {
    static char joined[HEAD_BYTES];
    char *line = take_line(&at, end);
    while (*line) {
        char *next = take_line(&at, end), *colon = strchr(line, ':');
        if (colon) {
            char *value = colon + 1 + strspn(colon + 1, " \t");
            if (*next == ' ') {
                snprintf(joined, sizeof joined, "%s%s", value, next);
                value = joined;
                next = take_line(&at, end);
            }
            http_raw_header(raw, line, (size_t)(colon - line), value, strlen(value));
        }
        line = next;
    }
}

static bool is_plain(const char *head, size_t size) {
    static char bytes[HEAD_BYTES];
    assert_true(size < sizeof bytes);
    memcpy(bytes, head, size);
    struct http_raw raw;
    char *at = bytes;
    char *method = take_line(&at, bytes + size);
    char *url = strchr(method, ' ');
    *url++ = 0;
    char *version = strrchr(url, ' ');
    *version++ = 0;
    http_raw_begin(&raw, method, url, http_raw_target_len(url), version);
    take_headers(&raw, at, bytes + size);
    return http_raw_end(&raw, url, (size_t)(bytes + size - url));
}

#define ASSERT_PLAIN(head) assert_true(is_plain(head, sizeof(head) - 1))
#define ASSERT_NOT_PLAIN(head) assert_false(is_plain(head, sizeof(head) - 1))

static void test_lines_that_end_in_crlf_are_plain(void **state) {
    (void)state;
    ASSERT_PLAIN("GET / HTTP/1.1\r\n\r\n");
    ASSERT_PLAIN("GET /a?b=c HTTP/1.1\r\nHost: x\r\nA:\t y\r\nB:z\r\nC:\r\n\r\n");
}

static void test_a_bare_lf_is_seen_on_each_line(void **state) {
    (void)state;
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\nHost: x\r\nA: y\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\nA: y\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\r\nA: y\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\r\nA: y\r\n\n");
}

static void test_what_the_library_joins_drops_or_cuts_is_seen(void **state) {
    (void)state;
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\r\n y\r\nA: z\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nno colon\r\nHost: x\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / HTTP/1.1\r\nHost: x\0\r\n\r\n");
}

static void test_a_value_stands_right_behind_its_name(void **state) {
    (void)state;
    char head[HEAD_BYTES];
    for (int gap = 254; gap <= 256; gap++) {
        int size = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nA:%*s\r\n\r\n", gap + 1, "x");
        assert_int_equal(is_plain(head, (size_t)size), gap < 255);
    }
    struct http_raw raw = {.next = head, .plain = true};
    http_raw_header(&raw, head, 1, NULL, 0);
    assert_false(raw.plain);
    raw = (struct http_raw){.next = head + 8, .plain = true};
    http_raw_header(&raw, head + 8, 1, head, 1);
    assert_false(raw.plain);
}

static void test_a_target_ends_where_others_see_its_end(void **state) {
    (void)state;
    assert_int_equal(http_raw_target_len("/a?b"), 4);
    assert_int_equal(http_raw_target_len("/\xC3\xA4"), 3);
    static const char *const wrong[] = {"/a b", "/a\tb", "/a\rb", "/a\x01", "/\x7F", " "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(http_raw_target_len(wrong[i]), 0);
    ASSERT_NOT_PLAIN("GET /a b HTTP/1.1\r\n\r\n");
    ASSERT_NOT_PLAIN("GET  /a HTTP/1.1\r\n\r\n");
    ASSERT_NOT_PLAIN("GET /\x7F HTTP/1.1\r\n\r\n");
    ASSERT_NOT_PLAIN("GET / \0HTTP/1.1\r\n\r\n");
}

static void test_the_line_of_a_chunk_ends_in_crlf(void **state) {
    (void)state;
    static const char body[] = "3\r\nabc\r\n2\ndef\n\n4\r\ngh";
    assert_true(http_raw_chunk_is_plain(body, sizeof body, body));
    assert_true(http_raw_chunk_is_plain(body, sizeof body, body + 3));
    assert_false(http_raw_chunk_is_plain(body, sizeof body, body + 10));
    assert_false(http_raw_chunk_is_plain(body, sizeof body, body + 1));
    assert_true(http_raw_chunk_is_plain(body, sizeof body, body + 18));
    assert_true(http_raw_chunk_is_plain(body + 4, sizeof body, body));
    assert_true(http_raw_chunk_is_plain(body, 2, body + 10));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_that_end_in_crlf_are_plain),
        cmocka_unit_test(test_a_bare_lf_is_seen_on_each_line),
        cmocka_unit_test(test_what_the_library_joins_drops_or_cuts_is_seen),
        cmocka_unit_test(test_a_value_stands_right_behind_its_name),
        cmocka_unit_test(test_a_target_ends_where_others_see_its_end),
        cmocka_unit_test(test_the_line_of_a_chunk_ends_in_crlf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
