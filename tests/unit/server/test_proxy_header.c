/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/proxy_header.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V2_TCP4 V2 "\x21\x11\0\x0c\xc6\x33\x64\x07\x0a\0\0\x01\x12\x67\x10\x92"

/* Data in memory of its own length, so that a byte read too far is found. */
static enum proxy_state read_exact(const char *bytes, size_t len, struct proxy_header *header,
                                   size_t *need) {
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum proxy_state state = proxy_header_read(slice_make(copy, len), header, need);
    free(copy);
    return state;
}

/* Every cut of it is a part whose need is within the header; the whole, and more, is done. */
static void check_good(const char *bytes, size_t len, const char *client) {
    struct proxy_header header;
    size_t need;
    char more[600];
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(read_exact(bytes, cut, &header, &need), PROXY_PART);
        assert_in_range(need, cut + 1, len);
    }
    memcpy(more, bytes, len);
    memcpy(more + len, "PROXY \r\nx", 9);
    for (size_t extra = 0; extra <= 9; extra++) {
        assert_int_equal(read_exact(more, len + extra, &header, &need), PROXY_DONE);
        assert_int_equal(header.size, len);
        assert_int_equal(header.local || header.unknown, client == NULL);
        char text[ADDRESS_TEXT_BYTES];
        address_format(&header.client, text);
        if (client)
            assert_string_equal(text, client);
    }
}

#define GOOD(bytes, client) check_good(bytes, sizeof(bytes) - 1, client)

static void test_version_1_tells_the_client_at_any_cut(void **state) {
    (void)state;
    GOOD("PROXY TCP4 198.51.100.7 10.0.0.1 4711 4242\r\n", "198.51.100.7");
    GOOD("PROXY TCP6 2001:db8::7 fd00::1 65535 0\r\n", "2001:db8::7");
    GOOD("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    GOOD("PROXY UNKNOWN\r\n", NULL);
    GOOD("PROXY UNKNOWN ffff::1 junk of any kind\r\n", NULL);
}

static void test_version_2_tells_the_client_at_any_cut(void **state) {
    (void)state;
    GOOD(V2_TCP4, "198.51.100.7");
    GOOD(V2 "\x21\x11\0\x13\xc6\x33\x64\x07\x0a\0\0\x01\x12\x67\x10\x92\x04\0\x04\x61\x62\x63\x64",
         "198.51.100.7");
    GOOD(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
            "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x67\x10\x92",
         "2001:db8::7");
    GOOD(V2 "\x20\0\0\0", NULL);
    GOOD(V2 "\x20\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x12\x67\x10\x92", NULL);
    GOOD(V2 "\x21\0\0\x03\x04\0\0", NULL);
}

static void test_a_header_that_is_none_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {
#define BAD(bytes) {bytes, sizeof(bytes) - 1}
        BAD("GET / HTTP/1.1\r\n"),
        BAD("PING\n"),
        BAD("\x16\x03\x01"),
        BAD("PRoXY TCP4"),
        BAD("PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n"),
        BAD("PROXY \r\n"),
        BAD("PROXY\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n"),
        BAD("PROXY TCP4 1.2.3.400 1.2.3.4 1 1\r\n"),
        BAD("PROXY TCP4 ::1 ::1 1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 ::1 1 1\r\n"),
        BAD("PROXY TCP6 ::1 1.2.3.4 1 1\r\n"),
        BAD("PROXY TCP6 ::1 ::g 1 1\r\n"),
        BAD("PROXY TCP4\r\n"),
        BAD("PROXY TCP4 \r\n"),
        BAD("PROXY TCP4 1.2.3.4\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4\r\n"),
        BAD("PROXY TCP4  1.2.3.4 1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4  1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4  1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1 99999999999999999999\r\n"),
        BAD("PROXY\n"),
        BAD("PROXY \n"),
        BAD("\r\n\r\n\0\r\nQUIX"),
        BAD("PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"),
        BAD("PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n"),
        BAD("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n"),
        BAD(V2 "\x11\x11\0\0"),
        BAD(V2 "\x31\x11\0\0"),
        BAD(V2 "\x22\x11\0\0"),
        BAD(V2 "\x21\x11\0\x0b"
               "12345678901"),
        BAD(V2 "\x21\x21\0\x23"
               "12345678901234567890123456789012345"),
        BAD(V2 "\x21\x12\0\x0c"
               "123456789012"),
        BAD(V2 "\x21\x41\0\0"),
        BAD(V2 "\x21\x13\0\0"),
        BAD(V2 "\x21\x31\0\0"),
        BAD(V2 "\x21\x11\xff\xff"),
        BAD("\r\n\r\n\0\r\nQUIT\r"),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct proxy_header header;
        size_t need;
        assert_int_equal(read_exact(wrong[i].bytes, wrong[i].len, &header, &need), PROXY_BAD);
        assert_non_null(header.why);
    }
}

static void test_a_header_that_does_not_end_is_refused(void **state) {
    (void)state;
    char line[200];
    struct proxy_header header;
    size_t need;
    memset(line, 'a', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(read_exact(line, 106, &header, &need), PROXY_PART);
    assert_int_equal(read_exact(line, 107, &header, &need), PROXY_BAD);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(read_exact(line, 107, &header, &need), PROXY_DONE);
}

/* Each byte of a good header changed to each other value: never a read past the end, and what is
 * taken for a header is no longer than what is there. */
static void test_no_changed_byte_leads_out_of_the_header(void **state) {
    (void)state;
    char bytes[] = V2_TCP4;
    struct proxy_header header;
    size_t need;
    for (size_t at = 0; at < sizeof bytes - 1; at++) {
        char was = bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (char)value;
            if (read_exact(bytes, sizeof bytes - 1, &header, &need) == PROXY_DONE)
                assert_in_range(header.size, 16, sizeof bytes - 1);
        }
        bytes[at] = was;
    }
}

static void test_a_unix_socket_behind_a_proxy_has_no_address(void **state) {
    (void)state;
    char bytes[16 + 216] = V2;
    memcpy(bytes + 12, "\x21\x31\0\xd8", 4);
    check_good(bytes, sizeof bytes, NULL);
    struct proxy_header header;
    size_t need;
    bytes[15] = (char)0xd7; /* a byte short of its addresses */
    assert_int_equal(read_exact(bytes, sizeof bytes, &header, &need), PROXY_BAD);
    bytes[13] = 0x30; /* without a transport they are not looked at */
    assert_int_equal(read_exact(bytes, sizeof bytes, &header, &need), PROXY_DONE);
    assert_true(header.unknown);
}

static void test_version_2_is_as_long_as_it_may_be(void **state) {
    (void)state;
    static char bytes[PROXY_HEADER_MAX + 16] = V2_TCP4;
    struct proxy_header header;
    size_t need, most = PROXY_HEADER_MAX - 16;
    bytes[14] = (char)(most >> 8);
    bytes[15] = (char)most;
    assert_int_equal(read_exact(bytes, PROXY_HEADER_MAX - 1, &header, &need), PROXY_PART);
    assert_int_equal(need, PROXY_HEADER_MAX);
    assert_int_equal(read_exact(bytes, PROXY_HEADER_MAX, &header, &need), PROXY_DONE);
    assert_int_equal(header.size, PROXY_HEADER_MAX);
    most++;
    bytes[14] = (char)(most >> 8);
    bytes[15] = (char)most;
    assert_int_equal(read_exact(bytes, PROXY_HEADER_MAX + 1, &header, &need), PROXY_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1_tells_the_client_at_any_cut),
        cmocka_unit_test(test_version_2_tells_the_client_at_any_cut),
        cmocka_unit_test(test_a_header_that_is_none_is_refused),
        cmocka_unit_test(test_a_header_that_does_not_end_is_refused),
        cmocka_unit_test(test_no_changed_byte_leads_out_of_the_header),
        cmocka_unit_test(test_a_unix_socket_behind_a_proxy_has_no_address),
        cmocka_unit_test(test_version_2_is_as_long_as_it_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
