/* SPDX-License-Identifier: MIT */
/* Snapshots of stores that no server has open: a data directory, or the database of an engine. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "journal/datadir.h"
#include "journal/seal.h"
#include "server/backup.h"

struct here {
    const struct backup_options *options;
    struct seal_keys *keys;
    struct datadir *datadir;
    struct engine *engine;
    struct engine_options far; /* how it is reached */
    struct snapshot_stores stores;
    bool told_memory;
};

static void note_progress(void *context, uint64_t items, uint64_t about) {
    (void)context;
    backup_progress_show(items, about);
}

static enum backup_status export_here(void *context, int fd, char *ret_why) {
    struct here *here = context;
    struct take_options options = {.format = here->options->format, .progress = note_progress};
    enum err err = take_snapshot(&here->stores, fd, &options, NULL, ret_why);
    return err ? BACKUP_REFUSED : BACKUP_GOOD;
}

static enum backup_status status_of(enum err err) {
    return err == ERR_UNAVAILABLE || err == ERR_TIMEOUT ? BACKUP_AWAY
           : err                                        ? BACKUP_REFUSED
                                                        : BACKUP_GOOD;
}

static enum backup_status begin_here(void *context, const char head[SNAPSHOT_HEAD_BYTES],
                                     struct apply_state *state, char *ret_why) {
    struct here *here = context;
    struct apply_options options = {.replace = here->options->replace,
                                    .again = here->options->again};
    const char *fault = snapshot_head_read(head, &options.head);
    if (fault) {
        snprintf(ret_why, BACKUP_WHY_BYTES, "%s", fault);
        return BACKUP_USAGE;
    }
    return status_of(apply_begin(&here->stores, &options, state, ret_why));
}

static void print_note(void *context, const char *line) {
    (void)context;
    backup_progress_end();
    fprintf(stderr, "hati import: %s\n", line);
}

/* Once is enough. */
static void tell_memory(struct here *here, struct slice bytes) {
    struct snapshot_block block;
    if (here->told_memory || here->stores.has_memory || snapshot_block_read(bytes.ptr, &block) ||
        block.storage != KV_MEMORY || block.class == SNAPSHOT_DEFINITIONS ||
        block.class == SNAPSHOT_END)
        return;
    print_note(NULL, "entries and messages of memory are left out: a data directory keeps hdd "
                     "alone; an import into a running server brings both");
    here->told_memory = true;
}

static enum backup_status block_here(void *context, const uint8_t id[SNAPSHOT_ID_BYTES],
                                     uint64_t number, struct slice bytes, struct apply_state *state,
                                     char *ret_why) {
    struct here *here = context;
    struct apply_notes notes = {.note = print_note};
    (void)number;
    tell_memory(here, bytes);
    return status_of(
        apply_block(&here->stores, id, bytes, SNAPSHOT_VALUE_MAX, &notes, state, ret_why));
}

static void close_here(void *context) {
    struct here *here = context;
    engine_close(here->engine);
    if (here->datadir)
        datadir_stop(here->datadir);
    broker_close(here->stores.broker);
    kv_close(here->stores.kv);
    datadir_close(here->datadir);
    seal_keys_close(here->keys);
    free(here);
}

/* ---- opening ---- */

static void note_fatal(const char *why) {
    fprintf(stderr, "hati: the store cannot go on: %s\n", why);
    _Exit(BACKUP_REFUSED);
}

static enum err open_stores(struct here *here, char *why) {
    struct kv_options keys = {.remote = NULL};
    struct broker_options queues = {.remote = NULL};
    if (here->engine) {
        keys.remote = engine_kv(here->engine);
        queues.remote = engine_broker(here->engine);
    } else {
        const struct config *config = &here->options->config;
        keys.datadir = queues.datadir = here->datadir;
        keys.hdd_shards = config->hdd_shards;
        keys.write_buffer_bytes = config->write_buffer_bytes;
        keys.fatal = queues.fatal = note_fatal;
        queues.write_buffer_bytes = config->write_buffer_bytes / 4;
    }
    enum err err = kv_open(&keys, &here->stores.kv, why, BACKUP_WHY_BYTES);
    return err ? err : broker_open(&queues, &here->stores.broker, why, BACKUP_WHY_BYTES);
}

static enum err open_engine(struct here *here, char *why) {
    const struct config *config = &here->options->config;
    here->far = (struct engine_options){
        .url = config->engine,
        .schema = config->engine_schema,
        .connections = config->engine_connections,
        .timeout_ms = config->engine_timeout_ms,
        .prepare = config->engine_prepare,
        .version = HATI_VERSION,
        .payload_limit_bytes = SNAPSHOT_VALUE_MAX,
    };
    here->stores.has_memory = true;
    here->stores.remote = &here->far;
    enum err err = engine_open(&here->far, &here->engine, why, BACKUP_WHY_BYTES);
    return err ? err : open_stores(here, why);
}

/* An import may make the directory, an export does not. */
static enum err open_dir(struct here *here, bool makes, char *why) {
    const struct config *config = &here->options->config;
    struct datadir_options options = {.dir = config->data_dir, .fatal = note_fatal};
    struct stat stat_of;
    enum err err = OK;
    if (makes)
        mkdir(config->data_dir, 0700);
    if (stat(config->data_dir, &stat_of) || !S_ISDIR(stat_of.st_mode)) {
        snprintf(why, BACKUP_WHY_BYTES, "there is no data directory %.300s", config->data_dir);
        return ERR_SYNTAX;
    }
    if (config->encryption_key_file)
        err = seal_keys_open(config->encryption_key_file, &here->keys, why, BACKUP_WHY_BYTES);
    options.keys = here->keys;
    if (!err)
        err = datadir_open(&options, &here->datadir, why, BACKUP_WHY_BYTES);
    if (!err)
        err = open_stores(here, why);
    if (!err)
        err = datadir_start(here->datadir, why, BACKUP_WHY_BYTES);
    if (err)
        return err;
    here->stores.datadir = here->datadir;
    here->stores.committer = datadir_committer(here->datadir);
    return OK;
}

enum backup_status backup_open_stores(const struct backup_options *options, bool is_import,
                                      struct backup_place *ret_place, char *ret_why) {
    struct here *here = calloc(1, sizeof *here);
    snprintf(ret_why, BACKUP_WHY_BYTES, "out of memory");
    if (!here)
        return BACKUP_REFUSED;
    here->options = options;
    enum err err =
        options->is_of_engine ? open_engine(here, ret_why) : open_dir(here, is_import, ret_why);
    if (err) {
        if (!options->is_of_engine) /* not all of an engine is taken apart */
            close_here(here);
        return err == ERR_SYNTAX ? BACKUP_USAGE : BACKUP_REFUSED;
    }
    *ret_place = (struct backup_place){.context = here,
                                       .export = export_here,
                                       .begin = begin_here,
                                       .block = block_here,
                                       .close = close_here};
    return BACKUP_GOOD;
}
