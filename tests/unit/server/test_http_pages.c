/* SPDX-License-Identifier: MIT */
#include "server/http_pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "openapi/pages.h"

static bool takes_gzip(const char *header) {
    return http_pages_accepts(slice_of_cstr(header), SLICE("gzip"), true);
}

static void test_a_word_is_accepted_by_its_name_and_weight(void **state) {
    (void)state;
    static const char *const yes[] = {"gzip",       "GZIP",         "br, gzip",   "gzip;q=0.001",
                                      "*",          "deflate,*",    "gzip ; q=1", ",,gzip,,",
                                      "*;q=0,gzip", "gzip;x=y;q=1", "\tgzip\t"};
    static const char *const no[] = {"",           ",",        ";",          "gzi",
                                     "gzipp",      "gzip;q=0", "gzip;q=0.0", "*;q=0",
                                     "gzip;q=0,*", "x-gzip",   "br;q=1",     ";q=1"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(takes_gzip(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(takes_gzip(no[i]));
}

static void test_a_star_speaks_for_no_word_where_only_names_count(void **state) {
    (void)state;
    assert_false(http_pages_accepts(SLICE("*/*"), SLICE("text/html"), false));
    assert_false(http_pages_accepts(SLICE("*"), SLICE("text/html"), false));
    assert_true(http_pages_accepts(SLICE("text/html,*/*;q=0.8"), SLICE("text/html"), false));
}

static void assert_stripped(const char *path, const char *base, const char *wanted) {
    struct slice got = http_pages_strip(slice_of_cstr(path), base);
    assert_true(slice_equal(got, slice_of_cstr(wanted)));
}

static void test_a_base_path_is_taken_off_whole_and_once(void **state) {
    (void)state;
    assert_stripped("/a/b", NULL, "/a/b");
    assert_stripped("/hati/a", "/hati", "/a");
    assert_stripped("/hati", "/hati", "/");
    assert_stripped("/hati/", "/hati", "/");
    assert_stripped("/hati/hati/a", "/hati", "/hati/a");
    assert_stripped("/hatix/a", "/hati", "/hatix/a");
    assert_stripped("/HATI/a", "/hati", "/HATI/a");
    assert_stripped("/a/hati", "/hati", "/a/hati");
    assert_stripped("", "/hati", "");
    assert_stripped("*", "/hati", "*");
}

static void test_every_page_is_found_by_its_path_alone(void **state) {
    (void)state;
    assert_true(web_page_count > 4);
    for (unsigned i = 0; i < web_page_count; i++) {
        struct slice path = slice_of_cstr(web_pages[i].path);
        assert_ptr_equal(web_page_find(path), &web_pages[i]);
        assert_null(web_page_find(slice_make(path.ptr, path.len - 1)));
    }
    assert_null(web_page_find(SLICE("")));
    assert_non_null(web_page_find(SLICE("/console")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_word_is_accepted_by_its_name_and_weight),
        cmocka_unit_test(test_a_star_speaks_for_no_word_where_only_names_count),
        cmocka_unit_test(test_a_base_path_is_taken_off_whole_and_once),
        cmocka_unit_test(test_every_page_is_found_by_its_path_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
