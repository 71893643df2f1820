/* SPDX-License-Identifier: MIT */
/* Messages of a snapshot in, with the entry that tells that they are. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/direct.h"
#include "engine/internal.h"
#include "engine/keyspace.h"
#include "engine/transfer.h"

#define TRIES_MAX 10U

struct restorer {
    struct direct direct;
    const struct engine_options *options;
    struct sql_book *book;
    bool memory;
    const struct broker_snapshot_message *messages;
    unsigned count;
    const struct kv_op *mark;
    bool is_unknown; /* the commit's outcome */
};

static PGresult *run(struct restorer *restorer, enum sql_number number, struct params *params) {
    PGresult *result =
        direct_run(&restorer->direct, restorer->book->texts[number][restorer->memory].text, params);
    if (params)
        params_done(params);
    return result;
}

static int64_t number_of(const struct broker_snapshot_message *message, unsigned column) {
    switch (column) {
    case 1:
        return BROKER_PRIORITY_MAX - message->priority;
    case 2:
        return message->due_ms;
    case 3:
        return message->attempt;
    case 4:
        return message->expires_ms;
    case 5:
        return message->published_ms;
    case 10:
        return message->reason;
    default:
        return message->dead_attempt;
    }
}

static struct slice bytes_of(const struct broker_snapshot_message *message, unsigned column) {
    switch (column) {
    case 0:
        return message->queue;
    case 6:
        return message->id;
    case 7:
        return message->key;
    case 8:
        return message->headers;
    case 9:
        return message->payload;
    default:
        return message->from;
    }
}

static bool is_number(unsigned column) {
    return (column >= 1 && column <= 5) || column == 10 || column == 12;
}

static void add_column(struct params *params, const struct restorer *restorer, unsigned column) {
    params_array(params, is_number(column) ? PARAMS_INT8 : PARAMS_BYTEA);
    for (unsigned i = 0; i < restorer->count; i++) {
        const struct broker_snapshot_message *message = &restorer->messages[i];
        if (is_number(column))
            params_add_int8(params, number_of(message, column));
        else
            params_add_bytea(params, bytes_of(message, column));
    }
    params_array_end(params);
}

static enum err add_messages(struct restorer *restorer) {
    struct params params;
    params_init(&params);
    for (unsigned column = 0; column <= 12; column++)
        add_column(&params, restorer, column);
    params_int8(&params, restorer->memory ? BROKER_MEMORY : BROKER_HDD);
    PGresult *made = run(restorer, SQL_RESTORE_MESSAGES, &params);
    enum err err = !made                                                ? ERR_UNAVAILABLE
                   : result_int8(made, 0, 0) < (int64_t)restorer->count ? ERR_QUEUE_NOT_EXIST
                                                                        : OK;
    PQclear(made);
    return err;
}

static enum err add_ids(struct restorer *restorer) {
    struct params params;
    params_init(&params);
    add_column(&params, restorer, 0);
    params_array(&params, PARAMS_BYTEA);
    for (unsigned i = 0; i < restorer->count; i++) {
        uint8_t hash[HASH_MD5_BYTES];
        hash_md5(restorer->messages[i].id, hash);
        params_add_bytea(&params, slice_make(hash, sizeof hash));
    }
    params_array_end(&params);
    add_column(&params, restorer, 5);
    PGresult *result = run(restorer, SQL_RESTORE_IDS, &params);
    PQclear(result);
    return result ? OK : ERR_UNAVAILABLE;
}

static void add_one_bytea(struct params *params, struct slice bytes) {
    params_array(params, PARAMS_BYTEA);
    params_add_bytea(params, bytes);
    params_array_end(params);
}

static void add_one_int8(struct params *params, int64_t number) {
    params_array(params, PARAMS_INT8);
    params_add_int8(params, number);
    params_array_end(params);
}

/* Its key is short. */
static enum err set_mark(struct restorer *restorer) {
    const struct kv_op *mark = restorer->mark;
    struct params params;
    params_init(&params);
    params_array(&params, PARAMS_UUID);
    params_add_uuid(&params, &mark->ref.workspace);
    params_array_end(&params);
    add_one_bytea(&params, mark->ref.ns);
    add_one_bytea(&params, mark->ref.key);
    params_array(&params, PARAMS_BYTEA);
    params_add_null(&params);
    params_array_end(&params);
    add_one_bytea(&params, mark->value);
    add_one_bytea(&params, mark->content_type);
    add_one_int8(&params, mark->ttl_ms);
    add_one_int8(&params, 0);
    params_int8(&params, 1);
    PGresult *result = run(restorer, SQL_KEYS_UPSERT, &params);
    PQclear(result);
    return result ? OK : ERR_UNAVAILABLE;
}

static enum err finish(struct restorer *restorer, bool keep) {
    PGresult *result = run(restorer, keep ? SQL_COMMIT : SQL_ROLLBACK, NULL);
    PQclear(result);
    restorer->is_unknown = keep && !result && !restorer->direct.sqlstate[0];
    return result ? OK : ERR_UNAVAILABLE;
}

static enum err try_once(struct restorer *restorer) {
    PGresult *begun = run(restorer, SQL_BEGIN, NULL);
    PQclear(begun);
    enum err err = begun ? add_messages(restorer) : ERR_UNAVAILABLE;
    if (!err)
        err = add_ids(restorer);
    if (!err)
        err = set_mark(restorer);
    if (!err)
        return finish(restorer, true);
    char sqlstate[sizeof restorer->direct.sqlstate], trouble[sizeof restorer->direct.trouble];
    memcpy(sqlstate, restorer->direct.sqlstate, sizeof sqlstate);
    memcpy(trouble, restorer->direct.trouble, sizeof trouble);
    if (restorer->direct.conn)
        (void)!finish(restorer, false);
    memcpy(restorer->direct.sqlstate, sqlstate, sizeof sqlstate);
    memcpy(restorer->direct.trouble, trouble, sizeof trouble);
    return err;
}

/* What failed whole is done again; what may have been done is not. */
static enum err restore(struct restorer *restorer) {
    enum err err = ERR_UNAVAILABLE;
    for (unsigned i = 0; i < TRIES_MAX && err == ERR_UNAVAILABLE; i++) {
        if (i && restorer->direct.sqlstate[0] && !direct_may_retry(&restorer->direct))
            break;
        if (!restorer->direct.conn &&
            direct_open(&restorer->direct, restorer->options->url,
                        clock_steady_ms() + restorer->options->timeout_ms))
            break;
        restorer->direct.deadline_ms = clock_steady_ms() + restorer->options->timeout_ms;
        if (i)
            direct_pause(&restorer->direct, i);
        err = try_once(restorer);
        if (restorer->is_unknown)
            return ERR_TIMEOUT;
    }
    return err;
}

enum err engine_restore(const struct engine_options *options, enum kv_storage storage,
                        const struct broker_snapshot_message *messages, unsigned count,
                        const struct kv_op *mark, char *ret_why, size_t why_bytes) {
    struct restorer restorer = {.options = options,
                                .book = malloc(sizeof(struct sql_book)),
                                .memory = storage == KV_MEMORY,
                                .messages = messages,
                                .count = count,
                                .mark = mark};
    if (!restorer.book || !sql_book_init(restorer.book, options->schema)) {
        free(restorer.book);
        return ERR_OUT_OF_MEMORY;
    }
    enum err err = restore(&restorer);
    if (err && err != ERR_QUEUE_NOT_EXIST)
        snprintf(ret_why, why_bytes, "the database did not take a block of messages: %.250s",
                 restorer.direct.trouble);
    direct_close(&restorer.direct);
    sql_book_done(restorer.book);
    free(restorer.book);
    return err;
}
