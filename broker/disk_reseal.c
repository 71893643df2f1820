/* SPDX-License-Identifier: MIT */
/* Messages sealed anew, offline: the environment is written into a fresh file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/disk_inside.h"
#include "journal/rewrite.h"

#define PATH_BYTES 600

struct reseal {
    const struct seal_keys *keys;
    const struct broker_reseal *with;
    char *why;
    size_t why_bytes;
};

static bool is_by_first(const struct seal_keys *keys, const struct stored_message *stored,
                        struct slice rest) {
    uint32_t id;
    size_t names = (size_t)stored->id_len + stored->key_len + stored->from_len;
    return stored_message_is_sealed(stored) && rest.len > names &&
           seal_read_id(slice_make(rest.ptr + names, rest.len - names), &id) &&
           id == seal_keys_id(keys, 0);
}

/* Its state goes with it as it is. */
static enum err seal_anew(const struct reseal *reseal, struct env_write *to,
                          const struct spot *spot, const struct stored_message *stored,
                          struct slice rest) {
    struct slice key = spot_slice(spot);
    enum err err;
    char *room;
    struct body *body = stored_message_body(reseal->keys, key, stored, rest, &err);
    if (!body)
        return err;
    struct message message = {.expires_ms = stored->expires_ms,
                              .due_ms = stored->due_ms,
                              .nonce = stored->nonce,
                              .attempt = stored->attempt};
    err = env_write_room(to, ENV_ENTRIES, key, stored_message_size(reseal->keys, body), &room);
    if (!err)
        stored_message_write(reseal->keys, &message, body, (enum message_state)stored->state,
                             stored->plain, spot, room);
    body_unref(body);
    return err;
}

static enum err rewrite_message(void *context, struct env_write *to, struct slice key,
                                struct slice value) {
    struct reseal *reseal = context;
    struct stored_message stored;
    struct slice rest;
    uint32_t store;
    unsigned lane;
    uint64_t seq;
    if (!spot_read(key, &store, &lane, &seq))
        return ERR_CORRUPT;
    enum err err = stored_message_read(key, value, &stored, &rest);
    if (!err && is_by_first(reseal->keys, &stored, rest))
        return env_write_put(to, ENV_ENTRIES, key, value);
    struct spot spot;
    spot_make(store, lane, seq, &spot);
    if (!err)
        err = seal_anew(reseal, to, &spot, &stored, rest);
    if (err == ERR_CORRUPT)
        snprintf(reseal->why, reseal->why_bytes,
                 "message number %" PRIu64 " is damaged and cannot be sealed anew: delete its "
                 "queue, or take the directory from a backup",
                 seq);
    return err;
}

static void pass_on(void *context, uint64_t more) {
    const struct reseal *reseal = context;
    reseal->with->progress(reseal->with->context, more);
}

enum err broker_reseal(struct datadir *datadir, const struct broker_reseal *with, char *ret_why,
                       size_t why_bytes) {
    char path[PATH_BYTES], fresh[PATH_BYTES];
    struct reseal reseal = {datadir_keys(datadir), with, ret_why, why_bytes};
    snprintf(path, sizeof path, "%s/broker", datadir_path(datadir));
    snprintf(fresh, sizeof fresh, "%s/rewrite-broker", datadir_path(datadir));
    struct rewrite rewrite = {.dir = path,
                              .fresh = fresh,
                              .mark = seal_keys_id(reseal.keys, 0),
                              .entry = rewrite_message,
                              .progress = pass_on,
                              .context = &reseal};
    return rewrite_env(&rewrite, ret_why, why_bytes);
}

enum err broker_reseal_count(struct datadir *datadir, uint64_t *ret_messages, char *ret_why,
                             size_t why_bytes) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/broker", datadir_path(datadir));
    return rewrite_count(path, ret_messages, ret_why, why_bytes);
}
