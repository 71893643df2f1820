/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "server/address.h"
#include "server/forwarded.h"

static struct address parsed(const char *text) {
    struct address address = {.known = false};
    assert_true(address_parse(slice_of_cstr(text), &address));
    return address;
}

static bool has(const char *list, const char *text) {
    struct networks networks;
    struct address address = parsed(text);
    assert_null(networks_parse(list, &networks));
    return networks_have(&networks, &address);
}

static void test_an_address_of_v4_is_the_same_however_it_came(void **state) {
    (void)state;
    struct sockaddr_in socket = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xC0000201)};
    struct address of_socket = address_of_socket((struct sockaddr *)&socket);
    struct address plain = parsed("192.0.2.1");
    struct address mapped = parsed("::ffff:192.0.2.1");
    char text[ADDRESS_TEXT_BYTES];
    assert_memory_equal(of_socket.bytes, plain.bytes, ADDRESS_BYTES);
    assert_memory_equal(mapped.bytes, plain.bytes, ADDRESS_BYTES);
    address_format(&mapped, text);
    assert_string_equal(text, "192.0.2.1");
}

static void test_what_is_no_address_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",       "1.2.3",   "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ",
        "::1%lo", "12345::", "::1::",     "localhost", "1.2.3.4/8"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct address address = {.known = false};
        assert_false(address_parse(slice_of_cstr(wrong[i]), &address));
        assert_false(address.known);
    }
    struct address address;
    assert_false(address_parse(slice_make("1.2.3.4\0", 8), &address));
}

static void test_networks_hold_what_their_prefix_says(void **state) {
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert_true(has("192.0.2.128/25", "192.0.2.129"));
    assert_false(has("192.0.2.128/25", "192.0.2.127"));
    assert_true(has("192.0.2.7", "192.0.2.7"));
    assert_false(has("192.0.2.7", "192.0.2.6"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("0.0.0.0/0", "8.8.8.8"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_true(has("::/0", "8.8.8.8"));
    assert_true(has("10.0.0.0/8, ::1 ,127.0.0.1", "::1"));
}

static void test_a_list_of_networks_is_judged_whole(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",          ",",           "10.0.0.0/8,", "10.0.0.0/33", "10.0.0.1/8",    "::/129",
        "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "proxy",       "2001:db8::1/32"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_non_null(networks_parse(wrong[i], NULL));
    char many[257 * 8 + 1];
    for (unsigned i = 0; i < 257; i++)
        memcpy(many + i * 8, "1.2.3.4,", 8);
    many[256 * 8 - 1] = '\0';
    assert_null(networks_parse(many, NULL));
    many[256 * 8 - 1] = ',';
    many[257 * 8 - 1] = '\0';
    assert_non_null(networks_parse(many, NULL));
}

static void test_a_client_of_v6_is_its_slash_64(void **state) {
    (void)state;
    struct address a = parsed("2001:db8:1:2::1"), b = parsed("2001:db8:1:2:ffff::9");
    struct address c = parsed("2001:db8:1:3::1"), v4 = parsed("192.0.2.1");
    struct address client_a = address_of_client(&a), client_b = address_of_client(&b);
    struct address client_c = address_of_client(&c), client_v4 = address_of_client(&v4);
    assert_memory_equal(client_a.bytes, client_b.bytes, ADDRESS_BYTES);
    assert_memory_not_equal(client_a.bytes, client_c.bytes, ADDRESS_BYTES);
    assert_memory_equal(client_v4.bytes, v4.bytes, ADDRESS_BYTES);
}

static void test_loopback_is_127_and_1(void **state) {
    (void)state;
    struct address none = {.known = false};
    static const struct {
        const char *text;
        bool is;
    } all[] = {{"127.0.0.1", true},        {"127.9.9.9", true},  {"::1", true},
               {"::ffff:127.0.0.1", true}, {"128.0.0.1", false}, {"::2", false},
               {"126.255.255.255", false}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct address address = parsed(all[i].text);
        assert_int_equal(address_is_loopback(&address), all[i].is);
    }
    assert_false(address_is_loopback(&none));
}

/* ---- X-Forwarded-For ---- */

static struct networks trusted;

static void check_client(const char *peer, const char *const *lines, const char *wanted,
                         bool vague) {
    struct slice slices[8];
    struct address from = parsed(peer);
    unsigned count = 0;
    for (; lines[count]; count++)
        slices[count] = slice_of_cstr(lines[count]);
    struct address client = forwarded_client(&trusted, &from, slices, count);
    char text[ADDRESS_TEXT_BYTES];
    address_format(&client, text);
    assert_string_equal(text, wanted);
    assert_int_equal(client.vague, vague);
}

#define CHECK(peer, wanted, vague, ...)                                                            \
    do {                                                                                           \
        const char *const lines[] = {__VA_ARGS__, NULL};                                           \
        check_client(peer, lines, wanted, vague);                                                  \
    } while (0)

static void test_the_rightmost_address_that_is_not_trusted_is_the_client(void **state) {
    (void)state;
    assert_null(networks_parse("10.0.0.0/8,127.0.0.1,fd00::/8", &trusted));
    CHECK("10.0.0.1", "198.51.100.7", false, "198.51.100.7");
    CHECK("10.0.0.1", "198.51.100.7", false, "1.1.1.1, 198.51.100.7");
    CHECK("10.0.0.1", "198.51.100.7", false, "127.0.0.1, 198.51.100.7, 10.9.9.9");
    CHECK("10.0.0.1", "198.51.100.7", false, "6.6.6.6", "198.51.100.7,10.0.0.2", "10.0.0.3");
    CHECK("10.0.0.1", "10.0.0.4", false, "10.0.0.4, 10.0.0.3");
    CHECK("10.0.0.1", "198.51.100.7", false, "198.51.100.7:4711");
    CHECK("fd00::1", "2001:db8::7", false, "[2001:db8::7]:4711");
    CHECK("fd00::1", "2001:db8::7", false, "[2001:db8::7]");
    CHECK("fd00::1", "2001:db8::7", false, " 2001:db8::7\t");
}

static void test_what_an_untrusted_peer_says_is_not_believed(void **state) {
    (void)state;
    assert_null(networks_parse("10.0.0.0/8", &trusted));
    CHECK("198.51.100.9", "198.51.100.9", false, "127.0.0.1");
    struct networks nobody = {.count = 0};
    struct address peer = parsed("127.0.0.1");
    struct slice line = SLICE("1.2.3.4");
    struct address client = forwarded_client(&nobody, &peer, &line, 1);
    assert_memory_equal(client.bytes, peer.bytes, ADDRESS_BYTES);
}

static void test_what_is_no_address_ends_the_walk_and_is_never_loopback(void **state) {
    (void)state;
    static const char *const odd[] = {"unknown",
                                      "",
                                      ",",
                                      "1.2.3.4,",
                                      "_hidden",
                                      "[::1",
                                      "[1.2.3.4]",
                                      "[::1]x",
                                      "1.2.3.4:x",
                                      "1.2.3.4:70000",
                                      "127.0.0.1 127.0.0.1",
                                      "\"127.0.0.1\""};
    assert_null(networks_parse("127.0.0.1", &trusted));
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct slice line = slice_of_cstr(odd[i]);
        struct address peer = parsed("127.0.0.1");
        struct address client = forwarded_client(&trusted, &peer, &line, 1);
        assert_true(client.vague);
        assert_false(address_is_loopback(&client));
    }
}

static void test_an_address_of_another_family_or_length_is_unknown(void **state) {
    (void)state;
    static const uint8_t bytes[16] = {1, 2, 3, 4};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr.s6_addr = {[15] = 1}};
    struct sockaddr other = {.sa_family = AF_UNIX};
    char text[ADDRESS_TEXT_BYTES];
    struct address of_v6 = address_of_socket((struct sockaddr *)&v6);
    assert_true(of_v6.known && address_is_loopback(&of_v6));
    address_format(&of_v6, text);
    assert_string_equal(text, "::1");
    assert_false(address_of_socket(&other).known);
    assert_false(address_of_socket(NULL).known);
    for (size_t len = 0; len <= 16; len++)
        assert_int_equal(address_of_bytes(bytes, len).known, len == 4 || len == 16);
    struct address none = address_of_bytes(bytes, 5);
    address_format(&none, text);
    assert_string_equal(text, "unix");
}

static void test_the_longest_text_of_an_address_is_read_and_no_longer_one(void **state) {
    (void)state;
    struct address address;
    char text[60] = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
    assert_int_equal(strlen(text), ADDRESS_TEXT_BYTES - 1);
    assert_true(address_parse(slice_of_cstr(text), &address));
    strcat(text, "0");
    assert_false(address_parse(slice_of_cstr(text), &address));
    assert_false(address_parse(slice_make(text, sizeof text), &address));
}

static void test_hops_are_read_to_their_last_byte(void **state) {
    (void)state;
    assert_null(networks_parse("127.0.0.1,10.0.0.0/8", &trusted));
    CHECK("10.0.0.1", "198.51.100.7", false, "198.51.100.7:0");
    CHECK("10.0.0.1", "198.51.100.7", false, "198.51.100.7:65535");
    CHECK("10.0.0.1", "2001:db8::7", false, "[2001:db8::7]:65535");
    CHECK("10.0.0.1", "2001:db8::7", false, "\t \t2001:db8::7 \t ");
    CHECK("10.0.0.1", "198.51.100.7", false, "198.51.100.7\t,\t10.0.0.2");
    CHECK("10.0.0.1", "10.0.0.1", true, "198.51.100.7:65536");
    CHECK("10.0.0.1", "10.0.0.1", true, "198.51.100.7:-1");
    CHECK("10.0.0.1", "10.0.0.1", true, "198.51.100.7:");
    CHECK("10.0.0.1", "10.0.0.1", true, "[2001:db8::7]:65536");
    CHECK("10.0.0.1", "10.0.0.1", true, "[2001:db8::7]:");
    CHECK("10.0.0.1", "10.0.0.1", true, "[2001:db8::7]:-1");
    CHECK("10.0.0.1", "10.0.0.1", true, "[]");
    CHECK("10.0.0.1", "10.0.0.1", true, "[:]");
    CHECK("10.0.0.1", "10.0.0.1", true, "[");
    CHECK("10.0.0.1", "10.0.0.1", true, "   \t");
    CHECK("10.0.0.1", "10.0.0.2", true, "198.51.100.7,,10.0.0.2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_of_v4_is_the_same_however_it_came),
        cmocka_unit_test(test_what_is_no_address_is_refused),
        cmocka_unit_test(test_networks_hold_what_their_prefix_says),
        cmocka_unit_test(test_a_list_of_networks_is_judged_whole),
        cmocka_unit_test(test_a_client_of_v6_is_its_slash_64),
        cmocka_unit_test(test_loopback_is_127_and_1),
        cmocka_unit_test(test_the_rightmost_address_that_is_not_trusted_is_the_client),
        cmocka_unit_test(test_what_an_untrusted_peer_says_is_not_believed),
        cmocka_unit_test(test_what_is_no_address_ends_the_walk_and_is_never_loopback),
        cmocka_unit_test(test_an_address_of_another_family_or_length_is_unknown),
        cmocka_unit_test(test_the_longest_text_of_an_address_is_read_and_no_longer_one),
        cmocka_unit_test(test_hops_are_read_to_their_last_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
