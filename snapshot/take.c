/* SPDX-License-Identifier: MIT */
#include "snapshot/take.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "broker/names.h"
#include "engine/transfer.h"
#include "snapshot/cut.h"
#include "snapshot/mark.h"

#define PROGRESS_EVERY 1024U

struct taking {
    const struct take_options *options;
    struct snapshot_writer *writer;
    uint64_t items, about;
    struct names on_memory; /* queues, to tell where bindings and messages belong */
    int error;              /* errno of a write that failed */
    bool wrote_badly;
    char *why;
};

static enum err put(struct taking *taking, const struct snapshot_item *item) {
    const struct take_options *options = taking->options;
    if (options->stop && atomic_load_explicit(options->stop, memory_order_relaxed))
        return ERR_UNAVAILABLE;
    errno = 0;
    enum err err = snapshot_writer_put(taking->writer, item);
    if (err) {
        taking->error = errno;
        taking->wrote_badly = true;
    }
    if (options->progress && taking->items++ % PROGRESS_EVERY == 0)
        options->progress(options->context, taking->items, taking->about);
    return err;
}

static enum err put_entry(void *context, const struct kv_snapshot_entry *entry) {
    struct snapshot_item item = {
        .kind = SNAPSHOT_ENTRY,
        .storage = entry->storage,
        .entry = {.workspace = entry->workspace,
                  .ns = entry->ns,
                  .key = entry->key,
                  .type = entry->content_type,
                  .value = entry->value,
                  .revision = entry->revision,
                  .expires_ms = entry->expires_at_ms},
    };
    return mark_is_namespace(entry->ns) ? OK : put(context, &item);
}

static enum err put_queue(void *context, const struct broker_snapshot_queue *queue) {
    struct snapshot_item item = {
        .kind = SNAPSHOT_QUEUE,
        .storage = queue->options.storage == BROKER_HDD ? KV_HDD : KV_MEMORY,
        .queue = {.name = queue->name, .options = queue->options},
    };
    struct taking *taking = context;
    enum err err = OK;
    if (item.storage == KV_MEMORY)
        err = names_put(&taking->on_memory, queue->name, taking);
    return err ? err : put(taking, &item);
}

static enum err put_router(void *context, const struct broker_snapshot_router *router) {
    struct snapshot_item item = {
        .kind = SNAPSHOT_ROUTER,
        .storage = KV_HDD,
        .router = {.name = router->name, .type = router->type},
    };
    return put(context, &item);
}

static enum kv_storage storage_of(const struct taking *taking, struct slice queue) {
    return names_get(&taking->on_memory, queue) ? KV_MEMORY : KV_HDD;
}

static enum err put_binding(void *context, const struct broker_snapshot_binding *binding) {
    struct snapshot_item item = {
        .kind = SNAPSHOT_BINDING,
        .storage = storage_of(context, binding->queue),
        .binding = {binding->router, binding->queue, binding->pattern},
    };
    return put(context, &item);
}

static enum err put_message(void *context, const struct broker_snapshot_message *message) {
    struct snapshot_item item = {
        .kind = SNAPSHOT_MESSAGE,
        .storage = storage_of(context, message->queue),
        .message = {.queue = message->queue,
                    .id = message->id,
                    .key = message->key,
                    .headers = message->headers,
                    .payload = message->payload,
                    .from = message->from,
                    .reason = message->reason,
                    .dead_attempt = message->dead_attempt,
                    .attempt = message->attempt,
                    .priority = message->priority,
                    .published_ms = message->published_ms,
                    .due_ms = message->due_ms,
                    .expires_ms = message->expires_ms},
    };
    return put(context, &item);
}

/* ---- the stores of this process ---- */

struct cut {
    struct kv_snapshot *keys;
    struct broker_snapshot *queues;
};

static enum err begin(struct taking *taking, int fd, struct snapshot_head *head) {
    hash_random(head->id, sizeof head->id);
    head->made_ms = clock_wall_ms();
    snprintf(head->maker, sizeof head->maker, "hati %s", HATI_VERSION);
    errno = 0;
    enum err err = snapshot_writer_open(fd, taking->options->format, head, &taking->writer);
    taking->error = errno;
    taking->wrote_badly = err != OK;
    if (!err)
        snapshot_writer_keep_free(taking->writer, taking->options->keep_free_bytes);
    if (!err && taking->options->veil)
        snapshot_writer_cover(taking->writer, taking->options->veil);
    return err;
}

static enum err end(struct taking *taking) {
    errno = 0;
    enum err err = snapshot_writer_end(taking->writer);
    taking->error = errno;
    taking->wrote_badly = err != OK;
    return err;
}

static enum err write_cut(struct taking *taking, int fd, const struct cut *cut) {
    const struct broker_snapshot_sink sink = {.context = taking,
                                              .queue = put_queue,
                                              .router = put_router,
                                              .binding = put_binding,
                                              .message = put_message};
    struct snapshot_head head = {.made_ms = 0};
    for (int storage = 0; storage < KV_STORAGES; storage++)
        head.revision[storage] = kv_snapshot_revision(cut->keys, (enum kv_storage)storage);
    taking->about = kv_snapshot_count(cut->keys) + broker_snapshot_count(cut->queues);
    enum err err = begin(taking, fd, &head);
    if (!err)
        err = broker_snapshot_each(cut->queues, &sink);
    for (int storage = KV_STORAGES - 1; !err && storage >= 0; storage--)
        err = kv_snapshot_each(cut->keys, (enum kv_storage)storage, put_entry, taking);
    return err ? err : end(taking);
}

/* ---- the database of an engine ---- */

struct far {
    struct taking *taking;
    int fd;
};

static enum err begin_far(void *context, uint64_t revision) {
    struct far *far = context;
    struct snapshot_head head = {.revision = {revision, revision}};
    return begin(far->taking, far->fd, &head);
}

static enum err put_far_entry(void *context, const struct kv_snapshot_entry *entry) {
    return put_entry(((struct far *)context)->taking, entry);
}

static enum err take_far(struct taking *taking, struct snapshot_stores *stores, int fd) {
    struct far far = {.taking = taking, .fd = fd};
    const struct engine_export to = {.context = &far,
                                     .begin = begin_far,
                                     .queues = {.context = taking,
                                                .queue = put_queue,
                                                .router = put_router,
                                                .binding = put_binding,
                                                .message = put_message},
                                     .entry = put_far_entry};
    enum err err = engine_export(stores->remote, &to, taking->why, TAKE_WHY_BYTES);
    return err ? err : end(taking);
}

/* ---- either ---- */

static enum err take_here(struct taking *taking, struct snapshot_stores *stores, int fd) {
    struct cut cut = {NULL, NULL};
    enum err err = cut_take(stores->kv, stores->broker, stores->datadir, &cut.keys, &cut.queues);
    if (err)
        return err;
    err = write_cut(taking, fd, &cut);
    broker_snapshot_end(cut.queues);
    kv_snapshot_end(cut.keys);
    return err;
}

static enum err tell(const struct taking *taking, enum err err) {
    const struct take_options *options = taking->options;
    bool stopped = options->stop && atomic_load(options->stop);
    if (taking->why[0] || !err)
        return err;
    if (stopped)
        snprintf(taking->why, TAKE_WHY_BYTES, "it was stopped");
    else if (err == ERR_CONFLICT)
        snprintf(taking->why, TAKE_WHY_BYTES, "another snapshot is being taken");
    else if (err == ERR_CORRUPT)
        snprintf(taking->why, TAKE_WHY_BYTES, "a record fails its checksum; the log tells which");
    else if (taking->wrote_badly && taking->error)
        snprintf(taking->why, TAKE_WHY_BYTES, "the snapshot cannot be written: %s",
                 strerror(taking->error));
    else
        snprintf(taking->why, TAKE_WHY_BYTES, "%s", err_text(err));
    return err;
}

enum err take_snapshot(struct snapshot_stores *stores, int fd, const struct take_options *options,
                       struct snapshot_totals *ret_totals, char ret_why[TAKE_WHY_BYTES]) {
    struct taking taking = {.options = options, .why = ret_why};
    ret_why[0] = '\0';
    names_init(&taking.on_memory);
    enum err err = stores->remote ? take_far(&taking, stores, fd) : take_here(&taking, stores, fd);
    if (!err && ret_totals)
        *ret_totals = *snapshot_writer_totals(taking.writer);
    snapshot_writer_free(taking.writer);
    names_done(&taking.on_memory);
    return tell(&taking, err);
}
