/* SPDX-License-Identifier: MIT */
#include "snapshot/apply_block.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "broker/snapshot.h"
#include "engine/transfer.h"
#include "snapshot/mark.h"

static enum err refuse(struct apply_work *work, enum err err, const char *what) {
    snprintf(work->why, APPLY_WHY_BYTES, "block %llu: %.*s", (unsigned long long)work->block.number,
             (int)APPLY_WHY_BYTES - 40, what);
    return err;
}

/* ---- reading ---- */

static const char *keep_item(void *context, const struct snapshot_item *item) {
    struct apply_work *work = context;
    struct slice value = item->kind == SNAPSHOT_ENTRY     ? item->entry.value
                         : item->kind == SNAPSHOT_MESSAGE ? item->message.payload
                                                          : SLICE("");
    if (value.len > work->value_max)
        return "a value is over the payload limit of this server (--payload-limit)";
    if (!work->items)
        work->items = calloc(work->block.items, sizeof *work->items);
    if (!work->items)
        return "no memory for a block";
    work->items[work->count++] = *item;
    return NULL;
}

enum err apply_work_open(struct apply_work *work, struct slice bytes, uint64_t value_max) {
    work->value_max = value_max;
    work->now_ms = clock_wall_ms();
    uint64_t raw_max = value_max + SNAPSHOT_EXTRA_BYTES + SNAPSHOT_BLOCK_BYTES;
    const char *fault =
        snapshot_block_each(bytes, work->id, raw_max, &work->raw, &work->block, keep_item, work);
    if (!fault)
        return OK;
    bool too_large = strstr(fault, "payload limit") || strstr(fault, "larger than");
    return refuse(work, too_large ? ERR_VALUE_TOO_LARGE : ERR_SYNTAX, fault);
}

void apply_work_done(struct apply_work *work) {
    free(work->items);
    buf_done(&work->raw);
}

/* ---- definitions ---- */

static void note(struct apply_work *work, const char *what, struct slice name, const char *text) {
    char line[BROKER_NAME_MAX + 200];
    snprintf(line, sizeof line, "%s %.*s: %s", what, (int)name.len, name.ptr, text);
    if (work->notes)
        work->notes->note(work->notes->context, line);
}

static struct broker_op op_of(const struct snapshot_item *item) {
    switch (item->kind) {
    case SNAPSHOT_ROUTER:
        return (struct broker_op){.action = BROKER_CREATE_ROUTER,
                                  .router = item->router.name,
                                  .router_type = item->router.type};
    case SNAPSHOT_QUEUE:
        return (struct broker_op){.action = BROKER_CREATE_QUEUE,
                                  .queue = item->queue.name,
                                  .options = &item->queue.options};
    default:
        return (struct broker_op){.action = BROKER_BIND,
                                  .router = item->binding.router,
                                  .queue = item->binding.queue,
                                  .pattern = item->binding.pattern,
                                  .pattern_given = true};
    }
}

/* Its messages would have no place to go to: told before anything of the block is made. */
static enum err check_queue(struct apply_work *work, const struct snapshot_item *item) {
    struct arena arena;
    if (item->kind != SNAPSHOT_QUEUE)
        return OK;
    arena_init(&arena, 1U << 20);
    struct broker_query query = {
        .question = ASK_QUEUE, .name = item->queue.name, .now_ms = work->now_ms, .arena = &arena};
    enum err err = stores_ask(work->stores, &query);
    if (err == ERR_QUEUE_NOT_EXIST) {
        err = OK;
    } else if (!err && query.queue.options.storage != item->queue.options.storage) {
        char text[BROKER_NAME_MAX + 160];
        snprintf(text, sizeof text,
                 "the queue %.*s is on %s here, and on %s in the snapshot: delete one, or use "
                 "--replace",
                 (int)item->queue.name.len, item->queue.name.ptr,
                 item->storage == KV_HDD ? "memory" : "hdd",
                 item->storage == KV_HDD ? "hdd" : "memory");
        err = refuse(work, ERR_CONFLICT, text);
    }
    arena_done(&arena);
    return err;
}

/* What is there already stays as it is. */
static enum err settle(struct apply_work *work, const struct snapshot_item *item,
                       const struct broker_op *op) {
    if (op->err == ERR_CONFLICT && item->kind == SNAPSHOT_QUEUE)
        note(work, "queue", item->queue.name, "it is there with other options, which it keeps");
    else if (op->err == ERR_CONFLICT && item->kind == SNAPSHOT_ROUTER)
        note(work, "router", item->router.name, "it is there with another type, which it keeps");
    else if ((op->err == ERR_CONFLICT || op->err == ERR_SYNTAX) && item->kind == SNAPSHOT_BINDING)
        note(work, "router", item->binding.router, "a binding does not fit the type it has here");
    else
        return op->err ? refuse(work, op->err,
                                op->at_limit ? "there are as many queues or routers as may be"
                                             : err_text(op->err))
                       : OK;
    return OK;
}

static enum err write_ops(struct apply_work *work, struct broker_op *ops, unsigned count) {
    struct broker_write write = {.ops = ops, .op_count = count, .now_ms = work->now_ms};
    if (count == 0)
        return OK;
    enum err err = stores_write_queues(work->stores, &write);
    for (unsigned i = 0; err && i < count; i++)
        if (ops[i].err)
            return OK; /* told by its op */
    return err;
}

/* Queues of these items that were made now, and are to hand out nothing. */
static enum err pause_some(struct apply_work *work, const struct snapshot_item *items,
                           struct broker_op *ops, unsigned count) {
    unsigned pauses = 0;
    for (unsigned i = 0; i < count; i++) {
        bool made = items[i].kind == SNAPSHOT_QUEUE && !ops[i].err && ops[i].flag;
        if (made && items[i].queue.options.paused)
            ops[pauses++] = (struct broker_op){
                .action = BROKER_PAUSE, .queue = items[i].queue.name, .pause = true};
    }
    enum err err = write_ops(work, ops, pauses);
    for (unsigned i = 0; !err && i < pauses; i++)
        err = ops[i].err;
    return err;
}

static enum err define_some(struct apply_work *work, const struct snapshot_item *items,
                            struct broker_op *ops, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        ops[i] = op_of(&items[i]);
    enum err err = write_ops(work, ops, count);
    for (unsigned i = 0; !err && i < count; i++)
        err = settle(work, &items[i], &ops[i]);
    return err ? err : pause_some(work, items, ops, count);
}

/* Each is there or is made: doing it twice is doing it once. */
static enum err do_definitions(struct apply_work *work) {
    unsigned most = work->stores->remote ? 1 : work->count; /* an engine takes them one by one */
    struct broker_op *ops = calloc(most, sizeof *ops);
    enum err err = ops ? OK : ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; !err && i < work->count; i++)
        err = check_queue(work, &work->items[i]);
    for (uint32_t i = 0; !err && i < work->count; i += most)
        err = define_some(work, &work->items[i], ops, most);
    free(ops);
    return err;
}

/* ---- entries ---- */

/* Those that expired since are left out. */
static unsigned add_entries(struct apply_work *work, uint32_t from, struct kv_op *ops) {
    unsigned count = 0;
    for (uint32_t i = from; i < work->count; i++) {
        const struct snapshot_entry *entry = &work->items[i].entry;
        if (entry->expires_ms && entry->expires_ms <= work->now_ms)
            continue;
        ops[count++] = (struct kv_op){
            .action = KV_SET,
            .ref = {work->block.storage, entry->workspace, entry->ns, entry->key},
            .value = entry->value,
            .content_type = entry->type,
            .ttl_ms = entry->expires_ms ? entry->expires_ms - work->now_ms : 0,
        };
    }
    return count;
}

/* The same keys get the same values where it is done twice; on hdd the mark goes with them. */
static enum err do_entries(struct apply_work *work, const struct mark *mark) {
    struct kv_op *ops = calloc(work->count + 1, sizeof *ops);
    struct mark_room room;
    if (!ops)
        return ERR_OUT_OF_MEMORY;
    unsigned count = add_entries(work, 0, ops);
    mark_fill(&ops[count++], work->block.storage, work->id, mark, &room);
    struct kv_write write = {.ops = ops, .op_count = count, .now_ms = work->now_ms};
    enum err err = stores_write_keys(work->stores, &write);
    free(ops);
    return err;
}

/* ---- messages ---- */

static struct broker_snapshot_message message_of(const struct snapshot_message *from) {
    return (struct broker_snapshot_message){
        .queue = from->queue,
        .id = from->id,
        .key = from->key,
        .payload = from->payload,
        .headers = from->headers,
        .from = from->from,
        .reason = from->reason,
        .dead_attempt = from->dead_attempt,
        .attempt = from->attempt,
        .priority = from->priority,
        .published_ms = from->published_ms,
        .expires_ms = from->expires_ms,
        .due_ms = from->due_ms,
    };
}

static struct broker_op restore_of(const struct broker_snapshot_message *message) {
    return (struct broker_op){
        .action = BROKER_RESTORE, .queue = message->queue, .restore = message};
}

static enum err tell_queue(struct apply_work *work, uint32_t index, enum err err) {
    char text[BROKER_NAME_MAX + 200];
    if (index >= work->count || (err != ERR_QUEUE_NOT_EXIST && err != ERR_SYNTAX))
        return err;
    struct slice queue = work->items[index].message.queue;
    snprintf(text, sizeof text, "a message of the queue %.*s: %s", (int)queue.len, queue.ptr,
             err_text(err));
    return refuse(work, err, text);
}

/* The same in a transaction of an engine's database, for both storages. */
static enum err do_messages_far(struct apply_work *work, const struct mark *mark,
                                const struct broker_snapshot_message *messages) {
    struct mark_room room;
    struct kv_op op;
    mark_fill(&op, work->block.storage, work->id, mark, &room);
    enum err err = engine_restore(work->stores->remote, work->block.storage, messages, work->count,
                                  &op, work->why, APPLY_WHY_BYTES);
    return err == ERR_QUEUE_NOT_EXIST ? refuse(work, err, "a queue of its messages is not there")
                                      : err;
}

/* All of them and the mark, or nothing. */
static enum err do_messages_hdd(struct apply_work *work, const struct mark *mark,
                                const struct broker_snapshot_message *messages) {
    struct engine_item *items = calloc(work->count + 1, sizeof *items);
    struct mark_room room;
    unsigned failed = 0;
    if (!items)
        return ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < work->count; i++)
        items[i].message = restore_of(&messages[i]);
    items[work->count].is_key = true;
    mark_fill(&items[work->count].key, KV_HDD, work->id, mark, &room);
    enum err err = stores_write_both(work->stores, items, work->count + 1, work->now_ms, &failed);
    free(items);
    return err ? tell_queue(work, failed, err) : OK;
}

static enum err write_mark(struct apply_work *work, const struct mark *mark) {
    struct kv_op op;
    struct mark_room room;
    mark_fill(&op, work->block.storage, work->id, mark, &room);
    struct kv_write write = {.ops = &op, .op_count = 1, .now_ms = work->now_ms};
    return stores_write_keys(work->stores, &write);
}

/* Nobody asks for it any more. */
static enum err drop_memory_mark(struct apply_work *work, const struct mark *mark) {
    struct kv_op op;
    struct mark_room room;
    mark_fill(&op, KV_MEMORY, work->id, mark, &room);
    op.action = KV_DELETE;
    struct kv_write write = {.ops = &op, .op_count = 1, .now_ms = work->now_ms};
    return stores_write_keys(work->stores, &write);
}

/* One by one, up to the first that is not taken: what memory took before it was full is noted, so
 * that it is not taken twice. */
static enum err do_messages_memory(struct apply_work *work, struct mark *mark,
                                   const struct broker_snapshot_message *messages) {
    struct mark before;
    enum err err = mark_read(work->stores, KV_MEMORY, work->id, &before);
    if (err)
        return err;
    uint32_t at = before.is_there && before.next == work->block.number ? (uint32_t)before.item : 0;
    for (; at < work->count; at++) {
        struct broker_op op = restore_of(&messages[at]);
        struct broker_write write = {.ops = &op, .op_count = 1, .now_ms = work->now_ms};
        err = stores_write_queues(work->stores, &write);
        if (err)
            break;
    }
    if (!err)
        return write_mark(work, mark);
    struct mark half = *mark;
    half.next = work->block.number;
    half.item = at;
    enum err marked = write_mark(work, &half);
    return marked ? marked : tell_queue(work, at, err);
}

static enum err do_messages(struct apply_work *work, struct mark *mark) {
    struct broker_snapshot_message *messages = calloc(work->count, sizeof *messages);
    if (!messages)
        return ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < work->count; i++)
        messages[i] = message_of(&work->items[i].message);
    enum err err = work->stores->remote            ? do_messages_far(work, mark, messages)
                   : work->block.storage == KV_HDD ? do_messages_hdd(work, mark, messages)
                                                   : do_messages_memory(work, mark, messages);
    free(messages);
    return err;
}

/* ---- all ---- */

enum err apply_work_do(struct apply_work *work) {
    struct mark begun;
    enum err err = mark_read(work->stores, KV_HDD, work->id, &begun);
    struct mark mark = {
        .is_there = true, .replaces = begun.replaces, .next = work->block.number + 1};
    if (err)
        return err;
    bool is_kept = work->block.storage == KV_HDD || work->stores->has_memory ||
                   work->block.class == SNAPSHOT_DEFINITIONS || work->block.class == SNAPSHOT_END;
    if (!is_kept)
        return write_mark(work, &mark);
    switch (work->block.class) {
    case SNAPSHOT_DEFINITIONS:
        err = do_definitions(work);
        return err ? err : write_mark(work, &mark);
    case SNAPSHOT_ENTRIES:
        return do_entries(work, &mark);
    case SNAPSHOT_MESSAGES:
        return do_messages(work, &mark);
    case SNAPSHOT_END:
        break;
    }
    work->block.storage = KV_HDD;
    mark.is_done = true;
    err = write_mark(work, &mark);
    return err ? err : drop_memory_mark(work, &mark);
}
