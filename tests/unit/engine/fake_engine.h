/* SPDX-License-Identifier: MIT */
/* An engine that has a topology and nothing else, and results as the database would answer. */
#ifndef HATI_TESTS_FAKE_ENGINE_H
#define HATI_TESTS_FAKE_ENGINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "engine/topology_inside.h"

static struct engine fake;

static inline void add_router(const char *name, int64_t id, enum broker_router_type type) {
    struct router_row row = {.name = slice_of_cstr(name), .id = id, .type = type};
    assert_int_equal(topology_take_router(fake.topology, &row), OK);
}

static inline struct queue_row queue_row(const char *name, int64_t id) {
    struct queue_row row = {.name = slice_of_cstr(name), .id = id};
    broker_queue_options_init(&row.options);
    return row;
}

static inline struct tqueue *add_queue(const struct queue_row *row) {
    assert_int_equal(topology_take_queue(fake.topology, row), OK);
    return topology_find_queue(fake.topology, row->name);
}

static inline void bind_rows(int64_t router, int64_t queue, const char *pattern, bool gone) {
    struct binding_row row = {router, queue, slice_of_cstr(pattern), gone};
    assert_int_equal(topology_take_binding(fake.topology, &row), OK);
}

/* Rows of int8, in binary format. */
static inline PGresult *make_result(int columns, int rows, const int64_t *numbers) {
    static char name[] = "n";
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc attributes[8] = {{0}};
    for (int i = 0; i < columns; i++)
        attributes[i] = (PGresAttDesc){.name = name, .format = 1, .typid = 20, .typlen = 8};
    assert_true(PQsetResultAttrs(result, columns, attributes));
    for (int i = 0; i < rows * columns; i++) {
        char bytes[8];
        put_be64(bytes, (uint64_t)numbers[i]);
        assert_true(PQsetvalue(result, i / columns, i % columns, bytes, sizeof bytes));
    }
    return result;
}

static inline int begin_fake(void **state) {
    (void)state;
    fake = (struct engine){0};
    fake.topology = topology_new(&fake);
    add_router("default", 1, ROUTER_DIRECT);
    return fake.topology ? 0 : -1;
}

static inline int end_fake(void **state) {
    (void)state;
    topology_free(fake.topology);
    return 0;
}

#endif
