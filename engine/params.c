/* SPDX-License-Identifier: MIT */
/* PostgreSQL's binary formats: big-endian numbers; an array is its dimensions, whether it has
 * NULLs, the element's type, length and lower bound, then each element behind its length
 * (array_send in src/backend/utils/adt/arrayfuncs.c). */
#include "engine/params.h"

#include "base/bytes.h"

#define PARAMS_BYTES_MAX (1U << 30) /* what PostgreSQL takes in one message */
#define ARRAY_HEAD_BYTES 20

void params_init(struct params *params) {
    buf_init(&params->bytes, PARAMS_BYTES_MAX);
    params->count = 0;
}

void params_done(struct params *params) {
    buf_done(&params->bytes);
    params->count = 0;
}

bool params_failed(const struct params *params) {
    return params->bytes.failed;
}

static void begin(struct params *params) {
    if (params->count == PARAMS_MAX) {
        params->bytes.failed = true;
        params->count--;
    }
    params->starts[params->count] = params->bytes.len;
}

static void end(struct params *params) {
    params->lengths[params->count] = (int)(params->bytes.len - params->starts[params->count]);
    params->count++;
}

static void put32(struct params *params, uint32_t value) {
    char bytes[4];
    put_be32(bytes, value);
    buf_append(&params->bytes, slice_make(bytes, sizeof bytes));
}

static void put64(struct params *params, uint64_t value) {
    char bytes[8];
    put_be64(bytes, value);
    buf_append(&params->bytes, slice_make(bytes, sizeof bytes));
}

void params_int8(struct params *params, int64_t value) {
    begin(params);
    put64(params, (uint64_t)value);
    end(params);
}

void params_bool(struct params *params, bool value) {
    begin(params);
    buf_append_char(&params->bytes, value ? 1 : 0);
    end(params);
}

void params_bytea(struct params *params, struct slice value) {
    begin(params);
    buf_append(&params->bytes, value);
    end(params);
}

void params_text(struct params *params, struct slice value) {
    params_bytea(params, value);
}

void params_uuid(struct params *params, const struct uuid *value) {
    params_bytea(params, slice_make((const char *)value->bytes, sizeof value->bytes));
}

void params_null(struct params *params) {
    begin(params);
    params->lengths[params->count++] = -1;
}

void params_array(struct params *params, enum params_element type) {
    begin(params);
    params->array_at = params->bytes.len;
    params->array_count = 0;
    put32(params, 1); /* dimensions */
    put32(params, 0); /* no NULLs, until there is one */
    put32(params, (uint32_t)type);
    put32(params, 0); /* length */
    put32(params, 1); /* lower bound */
}

void params_add_bytea(struct params *params, struct slice value) {
    put32(params, (uint32_t)value.len);
    buf_append(&params->bytes, value);
    params->array_count++;
}

void params_add_int8(struct params *params, int64_t value) {
    put32(params, 8);
    put64(params, (uint64_t)value);
    params->array_count++;
}

void params_add_bool(struct params *params, bool value) {
    put32(params, 1);
    buf_append_char(&params->bytes, value ? 1 : 0);
    params->array_count++;
}

void params_add_uuid(struct params *params, const struct uuid *value) {
    params_add_bytea(params, slice_make((const char *)value->bytes, sizeof value->bytes));
}

void params_add_null(struct params *params) {
    put32(params, UINT32_MAX);
    if (!params->bytes.failed)
        put_be32(params->bytes.ptr + params->array_at + 4, 1);
    params->array_count++;
}

/* An array of nothing has no dimensions. */
void params_array_end(struct params *params) {
    if (!params->bytes.failed && params->array_count == 0) {
        put_be32(params->bytes.ptr + params->array_at, 0);
        params->bytes.len = params->array_at + ARRAY_HEAD_BYTES - 8;
    } else if (!params->bytes.failed) {
        put_be32(params->bytes.ptr + params->array_at + 12, params->array_count);
    }
    end(params);
}

/* ---- results ---- */

bool result_is_null(const PGresult *result, int row, int column) {
    return PQgetisnull(result, row, column) != 0;
}

struct slice result_bytes(const PGresult *result, int row, int column) {
    return slice_make(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

int64_t result_int8(const PGresult *result, int row, int column) {
    struct slice bytes = result_bytes(result, row, column);
    return bytes.len == 8 ? (int64_t)get_be64(bytes.ptr) : 0;
}

bool result_bool(const PGresult *result, int row, int column) {
    struct slice bytes = result_bytes(result, row, column);
    return bytes.len == 1 && bytes.ptr[0] != 0;
}

void result_uuid(const PGresult *result, int row, int column, struct uuid *ret_uuid) {
    struct slice bytes = result_bytes(result, row, column);
    if (bytes.len == sizeof ret_uuid->bytes)
        memcpy(ret_uuid->bytes, bytes.ptr, bytes.len);
    else
        memset(ret_uuid->bytes, 0, sizeof ret_uuid->bytes);
}

int result_rows(const PGresult *result) {
    return result ? PQntuples(result) : 0;
}
