/* SPDX-License-Identifier: MIT */
/* Parameters of a statement in PostgreSQL's binary format, and the fields of its result. */
#ifndef HATI_ENGINE_PARAMS_H
#define HATI_ENGINE_PARAMS_H

#include <libpq-fe.h>

#include "base/buf.h"
#include "base/text.h"

#define PARAMS_MAX 24

/* Parameters are added in the order of $1, $2 ... A failed one (no memory) shows in params_failed.
 */
struct params {
    struct buf bytes;
    unsigned count;
    size_t starts[PARAMS_MAX];
    int lengths[PARAMS_MAX]; /* -1: NULL */
    size_t array_at;         /* of the array being made */
    unsigned array_count;
};

enum params_element { PARAMS_BOOL = 16, PARAMS_BYTEA = 17, PARAMS_INT8 = 20, PARAMS_UUID = 2950 };

void params_init(struct params *params);
void params_done(struct params *params);
bool params_failed(const struct params *params);

void params_int8(struct params *params, int64_t value);
void params_bool(struct params *params, bool value);
void params_bytea(struct params *params, struct slice value);
void params_text(struct params *params,
                 struct slice value); /* the same bytes; the cast says text */
void params_uuid(struct params *params, const struct uuid *value);
void params_null(struct params *params);

/* An array: begin, add every element, end. */
void params_array(struct params *params, enum params_element type);
void params_add_int8(struct params *params, int64_t value);
void params_add_bool(struct params *params, bool value);
void params_add_bytea(struct params *params, struct slice value);
void params_add_null(struct params *params);
void params_add_uuid(struct params *params, const struct uuid *value);
void params_array_end(struct params *params);

/* Fields of a result in binary format; a field of another size than its type is 0. Slices live as
 * long as the result. */
int64_t result_int8(const PGresult *result, int row, int column);
bool result_bool(const PGresult *result, int row, int column);
struct slice result_bytes(const PGresult *result, int row, int column);
bool result_is_null(const PGresult *result, int row, int column);
void result_uuid(const PGresult *result, int row, int column, struct uuid *ret_uuid);
int result_rows(const PGresult *result); /* 0 for NULL */

#endif
