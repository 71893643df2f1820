/* SPDX-License-Identifier: MIT */
/* Entries into LMDB, each with its place in the expiry index. */
#include "kv/hdd.h"

/* Takes the entry that stands in a place out of the expiry index. Most stores have nothing that
 * expires, and need not look. */
static enum err forget_due(struct env_write *write, const struct place *place) {
    struct slice bytes;
    struct stored stored;
    char due[DUE_BYTES];
    if (env_write_count(write, ENV_EXPIRY) == 0)
        return OK;
    enum err err = env_write_get(write, ENV_ENTRIES, place_slice(place), &bytes);
    if (err)
        return err == ERR_KEY_NOT_EXIST ? OK : err;
    err = stored_peek(place_slice(place), bytes, &stored);
    if (err || stored.expires_at_ms == 0)
        return OK; /* what is damaged is replaced */
    due_make(stored.expires_at_ms, place_slice(place), due);
    return env_write_delete(write, ENV_EXPIRY, slice_make(due, sizeof due));
}

enum err hdd_pack_put(struct env_write *write, const struct stored *stored) {
    struct place place;
    char due[DUE_BYTES];
    char *room;
    place_make(stored->space, stored->key, &place);
    enum err err = forget_due(write, &place);
    if (!err)
        err = env_write_room(write, ENV_ENTRIES, place_slice(&place), stored_size(stored), &room);
    if (err)
        return err;
    stored_write(stored, &place, room);
    if (stored->expires_at_ms == 0)
        return OK;
    due_make(stored->expires_at_ms, place_slice(&place), due);
    return env_write_put(write, ENV_EXPIRY, slice_make(due, sizeof due), place_slice(&place));
}

enum err hdd_pack_delete(struct env_write *write, uint32_t space, struct slice key) {
    struct place place;
    place_make(space, key, &place);
    enum err err = forget_due(write, &place);
    return err ? err : env_write_delete(write, ENV_ENTRIES, place_slice(&place));
}

enum err hdd_pack_applied(struct env_write *write, uint64_t applied_seq) {
    return env_write_put(write, ENV_META, HDD_META_APPLIED,
                         slice_make(&applied_seq, sizeof applied_seq));
}

enum err hdd_pack_space(struct env_write *write, uint32_t space, const struct uuid *workspace,
                        struct slice ns) {
    char key[4];
    char value[sizeof *workspace + KV_NAMESPACE_MAX];
    put_be32(key, space);
    memcpy(value, workspace, sizeof *workspace);
    memcpy(value + sizeof *workspace, ns.ptr, ns.len);
    return env_write_put(write, ENV_SPACES, slice_make(key, sizeof key),
                         slice_make(value, sizeof *workspace + ns.len));
}
