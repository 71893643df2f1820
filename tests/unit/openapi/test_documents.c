/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "openapi/doc.h"
#include "server/http_route.h"

static json_t *parse(char *text) {
    json_error_t error;
    assert_non_null(text);
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(document);
    free(text);
    return document;
}

static void every_operation_has_a_sample_and_every_sample_an_operation(void **state) {
    (void)state;
    for (unsigned i = 0; i < op_count; i++) {
        const struct doc_sample *sample = doc_find_sample(ops[i].name);
        if (!sample || (ops[i].reply == REPLY_JSON) != (sample->schema != NULL))
            fail_msg("openapi/samples.c: %s lacks a sample, or a schema", ops[i].name);
    }
    for (unsigned i = 0; i < doc_sample_count; i++)
        if (!op_find_name(slice_of_cstr(doc_samples[i].op)))
            fail_msg("openapi/samples.c: there is no %s", doc_samples[i].op);
}

/* What a reference names, or NULL. */
static const json_t *resolve(const json_t *document, const char *ref) {
    char name[DOC_NAME_MAX * 2];
    const json_t *at = document;
    assert_int_equal(strncmp(ref, "#/", 2), 0);
    for (ref += 2; at && *ref;) {
        size_t len = strcspn(ref, "/");
        assert_true(len < sizeof name);
        memcpy(name, ref, len);
        name[len] = '\0';
        at = json_object_get(at, name);
        ref += len + (ref[len] == '/');
    }
    return at;
}

static void check_refs(const json_t *document, json_t *value) {
    const char *name;
    size_t i;
    json_t *element;
    const json_t *ref = json_object_get(value, "$ref");
    if (ref && !resolve(document, json_string_value(ref)))
        fail_msg("%s is not there", json_string_value(ref));
    json_object_foreach(value, name, element) check_refs(document, element);
    if (json_is_array(value))
        json_array_foreach(value, i, element) check_refs(document, element);
}

static void whatever_is_referred_to_is_there(void **state) {
    (void)state;
    json_t *rest = parse(openapi_document(http_doors, http_door_count, NULL, false));
    json_t *rpc = parse(openrpc_document(true));
    check_refs(rest, rest);
    check_refs(rpc, rpc);
    json_decref(rest);
    json_decref(rpc);
}

static void no_two_operations_have_one_id(void **state) {
    (void)state;
    json_t *document = parse(openapi_document(http_doors, http_door_count, NULL, false));
    json_t *seen = json_object();
    const char *path;
    const char *method;
    json_t *item;
    json_t *operation;
    json_object_foreach(json_object_get(document, "paths"), path, item)
        json_object_foreach(item, method, operation) {
        const char *id = json_string_value(json_object_get(operation, "operationId"));
        if (id && json_object_get(seen, id))
            fail_msg("%s stands twice", id);
        if (id)
            doc_set(seen, id, json_true());
    }
    assert_true(json_object_size(seen) > op_count);
    json_decref(seen);
    json_decref(document);
}

static void a_literal_refers_with_an_at_sign_outside_of_strings(void **state) {
    (void)state;
    json_t *value = doc_literal("{'a':@Key,'b':'x@y'}");
    assert_string_equal(json_string_value(json_object_get(json_object_get(value, "a"), "$ref")),
                        "#/components/schemas/Key");
    assert_string_equal(json_string_value(json_object_get(value, "b")), "x@y");
    json_decref(value);
}

/* Of the row of a parameter of 64 bits no bound is told that every number keeps. */
static void numbers_are_told_with_their_bounds(void **state) {
    (void)state;
    struct param param = {.name = "n", .type = PARAM_INT, .min = 1, .max = 9, .doc = "d"};
    json_t *schema = doc_param_schema(&param, true);
    assert_int_equal(json_integer_value(json_object_get(schema, "minimum")), 1);
    assert_int_equal(json_integer_value(json_object_get(schema, "maximum")), 9);
    json_decref(schema);
    param.min = INT64_MIN;
    param.max = INT64_MAX;
    schema = doc_param_schema(&param, true);
    assert_null(json_object_get(schema, "minimum"));
    assert_null(json_object_get(schema, "maximum"));
    json_decref(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_has_a_sample_and_every_sample_an_operation),
        cmocka_unit_test(whatever_is_referred_to_is_there),
        cmocka_unit_test(no_two_operations_have_one_id),
        cmocka_unit_test(a_literal_refers_with_an_at_sign_outside_of_strings),
        cmocka_unit_test(numbers_are_told_with_their_bounds),
    };
    op_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
