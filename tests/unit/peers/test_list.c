/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "peers/list.h"
#include "peers/peers.h"

static void assert_split(const char *address, const char *host, const char *port) {
    struct slice host_part, port_part;
    assert_true(peers_split_address(slice_of_cstr(address), &host_part, &port_part));
    assert_true(slice_equal(host_part, slice_of_cstr(host)));
    assert_true(slice_equal(port_part, slice_of_cstr(port)));
}

static void an_address_is_host_and_port(void **state) {
    (void)state;
    assert_split("node-1.example:5454", "node-1.example", "5454");
    assert_split("127.0.0.1:1", "127.0.0.1", "1");
    assert_split("[::1]:65535", "::1", "65535");
    assert_split("[fe80::1%eth0]:80", "fe80::1%eth0", "80");
}

static void what_is_no_address_is_refused(void **state) {
    static const char *const bad[] = {
        "",        "host",    ":80",      "host:",     "host:0",  "host:65536",     "host:-1",
        "host:+1", "host:08", "host:80 ", " host:80",  "::1:80",  "[::1]",          "[::1]80",
        "[]:80",   "[::1:80", "ho]st:80", "ho\tst:80", "host:8a", "h\xc3\xb6st:80",
    };
    struct slice host = SLICE("kept"), port = SLICE("kept");
    char wide[PEERS_ADDRESS_BYTES + 4];
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(peers_split_address(slice_of_cstr(bad[i]), &host, &port));
    memset(wide, 'a', sizeof wide);
    memcpy(wide + PEERS_ADDRESS_BYTES - 3, ":80", 3);
    assert_false(peers_split_address(slice_make(wide, PEERS_ADDRESS_BYTES), &host, &port));
    assert_true(slice_equal(host, SLICE("kept")) && slice_equal(port, SLICE("kept")));
}

static void a_list_is_parted_by_commas(void **state) {
    struct slice rest = SLICE("a:1,b:2,,c:3"), one;
    (void)state;
    assert_true(peers_take_address(&rest, &one) && slice_equal(one, SLICE("a:1")));
    assert_true(peers_take_address(&rest, &one) && slice_equal(one, SLICE("b:2")));
    assert_true(peers_take_address(&rest, &one) && one.len == 0);
    assert_true(peers_take_address(&rest, &one) && slice_equal(one, SLICE("c:3")));
    assert_false(peers_take_address(&rest, &one));
}

static void a_list_is_good_whole_or_not_at_all(void **state) {
    static const char *const bad[] = {"", ",", "a:1,", ",a:1", "a:1,,b:2", "a:1,b", "a:1 b:2"};
    (void)state;
    assert_null(peers_check_list("a:1"));
    assert_null(peers_check_list("a:1,[::1]:2,10.0.0.1:3"));
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_non_null(peers_check_list(bad[i]));
}

static void a_list_has_1024_peers_at_most(void **state) {
    struct buf list;
    (void)state;
    buf_init(&list, 100000);
    for (unsigned i = 1; i <= PEERS_MAX; i++)
        assert_true(buf_printf(&list, "%sa:%u", i > 1 ? "," : "", i));
    assert_true(buf_append_char(&list, '\0'));
    assert_null(peers_check_list(list.ptr));
    list.len--;
    assert_true(buf_append(&list, slice_make(",b:1", 5)));
    assert_non_null(peers_check_list(list.ptr));
    buf_done(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_host_and_port),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_list_is_parted_by_commas),
        cmocka_unit_test(a_list_is_good_whole_or_not_at_all),
        cmocka_unit_test(a_list_has_1024_peers_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
