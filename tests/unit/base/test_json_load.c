/* SPDX-License-Identifier: MIT */
#include "base/json_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "{\"key\":[1,2.5,null,true,\"a longer string, so that a buffer has to "
                           "grow over and over again while it is read\"],\"other\":{\"n\":{}}}";

static void a_document_is_read_as_jansson_reads_it(void **state) {
    (void)state;
    json_error_t error;
    json_t *json = json_load_slice(slice_make(text, strlen(text)), 0, &error);
    json_t *plain = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_true(json_equal(json, plain));
    json_decref(json);
    json_decref(plain);
}

static void a_fault_of_the_text_is_told(void **state) {
    (void)state;
    json_error_t error;
    assert_null(json_load_slice(SLICE("{\"a\":1,\"a\":2}"), JSON_REJECT_DUPLICATES, &error));
    assert_int_equal(json_error_code(&error), json_error_duplicate_key);
    assert_null(json_load_slice(SLICE(""), 0, &error));
}

static void many_blocks_are_kept_and_given_back(void **state) {
    (void)state;
    size_t count = 5000;
    char *many = malloc(count * 6 + 2);
    assert_non_null(many);
    char *at = many;
    *at++ = '[';
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, i ? ",\"ab\"" : "\"ab\"");
    *at++ = ']';
    json_t *json = json_load_slice(slice_make(many, (size_t)(at - many)), 0, NULL);
    assert_int_equal(json_array_size(json), count);
    json_decref(json);
    free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_read_as_jansson_reads_it),
        cmocka_unit_test(a_fault_of_the_text_is_told),
        cmocka_unit_test(many_blocks_are_kept_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
