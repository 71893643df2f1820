/* SPDX-License-Identifier: MIT */
#include "snapshot/apply.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "snapshot/apply_block.h"
#include "snapshot/mark.h"

#define REVISION_MAX (1ULL << 53) /* what numbers of JSON hold */

/* ---- looking ---- */

enum err apply_look(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                    struct apply_state *ret_state) {
    struct mark marks[KV_STORAGES];
    for (int storage = 0; storage < KV_STORAGES; storage++) {
        enum err err = mark_read(stores, (enum kv_storage)storage, id, &marks[storage]);
        if (err)
            return err;
    }
    *ret_state = (struct apply_state){
        .is_known = marks[KV_HDD].is_there,
        .is_done = marks[KV_HDD].is_done,
        .replaces = marks[KV_HDD].replaces,
        .next = {[KV_MEMORY] = marks[KV_HDD].is_there ? marks[KV_MEMORY].next : 0,
                 [KV_HDD] = marks[KV_HDD].next},
    };
    return OK;
}

/* ---- beginning ---- */

/* Somebody else deleted it meanwhile. */
static enum err gone_is_fine(enum err err) {
    return err == ERR_QUEUE_NOT_EXIST || err == ERR_ROUTER_NOT_EXIST ? OK : err;
}

static enum err delete_some(struct snapshot_stores *stores, enum broker_action action,
                            struct slice *names, size_t count) {
    unsigned most = stores->remote ? 1 : BROKER_BATCH_MAX; /* an engine takes them one by one */
    struct broker_op *ops = calloc(most, sizeof *ops);
    enum err err = ops ? OK : ERR_OUT_OF_MEMORY;
    for (size_t at = 0; !err && at < count;) {
        struct broker_write write = {.ops = ops, .now_ms = clock_wall_ms()};
        for (; at < count && write.op_count < most; at++) {
            bool is_router = action == BROKER_DELETE_ROUTER;
            if (is_router && slice_equal(names[at], SLICE("default")))
                continue;
            struct broker_op *op = &ops[write.op_count++];
            *op = (struct broker_op){.action = action};
            *(is_router ? &op->router : &op->queue) = names[at];
        }
        if (write.op_count == 0)
            break;
        err = gone_is_fine(stores_write_queues(stores, &write));
        for (unsigned i = 0; !err && i < write.op_count; i++)
            err = gone_is_fine(ops[i].err);
    }
    free(ops);
    return err;
}

static enum err delete_all(struct snapshot_stores *stores, enum broker_question question,
                           enum broker_action action) {
    struct arena arena;
    arena_init(&arena, SIZE_MAX / 4);
    struct broker_query query = {.question = question, .arena = &arena, .now_ms = clock_wall_ms()};
    enum err err = stores_ask(stores, &query);
    if (!err)
        err = delete_some(stores, action, query.names, query.name_count);
    arena_done(&arena);
    return err;
}

static enum err write_one(struct snapshot_stores *stores, struct kv_op *op) {
    struct kv_write write = {.ops = op, .op_count = 1, .now_ms = clock_wall_ms()};
    return stores_write_keys(stores, &write);
}

/* Cut off before the mark of the beginning, all of it is done again, and nothing of the snapshot
 * was there yet. */
static enum err drop_everything(struct snapshot_stores *stores) {
    enum err err = delete_all(stores, ASK_QUEUES, BROKER_DELETE_QUEUE);
    if (!err)
        err = delete_all(stores, ASK_ROUTERS, BROKER_DELETE_ROUTER);
    for (int storage = 0; !err && storage < KV_STORAGES; storage++) {
        struct kv_op op = {.action = KV_FLUSH_ALL, .ref.storage = (enum kv_storage)storage};
        err = write_one(stores, &op);
    }
    return err;
}

static enum err write_begin(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                            bool replace) {
    struct mark mark = {.is_there = true, .replaces = replace};
    enum err err = replace ? drop_everything(stores) : OK;
    for (int storage = 0; !err && storage < KV_STORAGES; storage++) {
        struct mark_room room;
        struct kv_op op;
        mark_fill(&op, (enum kv_storage)storage, id, &mark, &room);
        err = write_one(stores, &op);
    }
    return err;
}

/* A revision that somebody knows from elsewhere is given to nothing else here. A store that is not
 * there has none to raise. One near the end of numbers would leave none. */
static enum err raise_revision(struct snapshot_stores *stores, enum kv_storage storage,
                               const struct snapshot_head *head) {
    if (head->revision[storage] > REVISION_MAX)
        return ERR_SYNTAX;
    if (storage == KV_HDD && !stores->committer)
        return OK;
    return kv_raise_revision(stores->kv, storage, head->revision[storage]);
}

static enum err refuse(char *why, enum err err, const char *text) {
    snprintf(why, APPLY_WHY_BYTES, "%s", text);
    return err;
}

enum err apply_begin(struct snapshot_stores *stores, const struct apply_options *options,
                     struct apply_state *ret_state, char ret_why[APPLY_WHY_BYTES]) {
    struct apply_state state;
    enum err err = apply_look(stores, options->head.id, &state);
    if (err)
        return refuse(ret_why, err, err_text(err));
    bool anew = !state.is_known || options->again || (state.is_done && options->replace);
    if (!anew && state.is_done)
        return refuse(ret_why, ERR_CONFLICT,
                      "this snapshot was imported here already; --again does it once more: "
                      "messages are there twice then");
    if (!anew && state.replaces != options->replace)
        return refuse(ret_why, ERR_CONFLICT,
                      state.replaces ? "an import of this snapshot with --replace was cut off: go "
                                       "on with --replace, or begin anew with --again"
                                     : "an import of this snapshot without --replace was cut off: "
                                       "go on without, or begin anew with --again");
    for (int storage = 0; !err && storage < KV_STORAGES; storage++)
        err = raise_revision(stores, (enum kv_storage)storage, &options->head);
    if (!err && anew)
        err = write_begin(stores, options->head.id, options->replace);
    if (!err)
        err = apply_look(stores, options->head.id, &state);
    if (err)
        return refuse(ret_why, err, err_text(err));
    *ret_state = state;
    return OK;
}

/* ---- blocks ---- */

static enum err judge(const struct snapshot_block *block, const struct apply_state *state,
                      char *why) {
    uint64_t most =
        state->next[KV_MEMORY] > state->next[KV_HDD] ? state->next[KV_MEMORY] : state->next[KV_HDD];
    if (!state->is_known)
        return refuse(why, ERR_PRECONDITION_FAILED,
                      "this import was not begun here, or everything was flushed since");
    if (block->number > most) {
        snprintf(why, APPLY_WHY_BYTES, "block %llu is wanted before block %llu",
                 (unsigned long long)most, (unsigned long long)block->number);
        return ERR_PRECONDITION_FAILED;
    }
    return OK;
}

enum err apply_block(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                     struct slice bytes, uint64_t value_max, const struct apply_notes *notes,
                     struct apply_state *ret_state, char ret_why[APPLY_WHY_BYTES]) {
    struct apply_state state;
    struct apply_work work = {.stores = stores, .id = id, .notes = notes, .why = ret_why};
    enum err err = apply_look(stores, id, &state);
    if (err)
        return refuse(ret_why, err, err_text(err));
    buf_init(&work.raw, SNAPSHOT_RAW_MAX);
    ret_why[0] = '\0';
    err = apply_work_open(&work, bytes, value_max);
    if (!err)
        err = judge(&work.block, &state, ret_why);
    bool is_in = !err && (work.block.class == SNAPSHOT_END
                              ? state.is_done
                              : work.block.number < state.next[work.block.storage]);
    if (!err && !is_in)
        err = apply_work_do(&work);
    apply_work_done(&work);
    if (!err)
        err = apply_look(stores, id, ret_state);
    if (err && !ret_why[0])
        refuse(ret_why, err, err_text(err));
    return err;
}
