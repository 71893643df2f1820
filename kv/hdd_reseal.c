/* SPDX-License-Identifier: MIT */
/* Values sealed anew, offline: each environment is written into a fresh file. */
#include <stdio.h>
#include <stdlib.h>

#include "journal/rewrite.h"
#include "kv/hdd.h"

#define PATH_BYTES (HDD_PATH_BYTES + 64)

struct reseal {
    const struct seal_keys *keys;
    const struct kv_reseal *with;
    char **names; /* by the number of a space: its length (2), workspace and namespace */
    uint32_t name_count;
    char *room, *plain; /* of one value: sealed anew, and opened */
    size_t room_bytes;
    char *why;
    size_t why_bytes;
};

static bool keep_name(struct reseal *reseal, uint32_t number, struct slice name) {
    if (number >= reseal->name_count) {
        uint32_t count = number < 1024 ? 1024 : 2 * number;
        char **names = realloc(reseal->names, count * sizeof *names);
        if (!names)
            return false;
        memset(names + reseal->name_count, 0, (count - reseal->name_count) * sizeof *names);
        reseal->names = names;
        reseal->name_count = count;
    }
    uint16_t len = (uint16_t)name.len;
    char *copy = malloc(sizeof len + name.len);
    if (!copy)
        return false;
    memcpy(copy, &len, sizeof len);
    memcpy(copy + sizeof len, name.ptr, name.len);
    free(reseal->names[number]);
    reseal->names[number] = copy;
    return true;
}

static enum err keep_names(struct reseal *reseal, struct env_read *read) {
    struct env_cursor *cursor;
    struct slice key, value;
    enum err err = env_cursor_open(read, ENV_SPACES, &cursor);
    if (err)
        return err;
    err = env_cursor_seek(cursor, (struct slice){NULL, 0}, &key, &value);
    while (!err) {
        if (key.len != 4 || get_be32(key.ptr) >= SPACES_MAX || value.len > UINT16_MAX)
            err = ERR_CORRUPT;
        else if (!keep_name(reseal, get_be32(key.ptr), value))
            err = ERR_OUT_OF_MEMORY;
        else
            err = env_cursor_next(cursor, &key, &value);
    }
    env_cursor_close(cursor);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

/* They are in the first environment. */
static enum err read_names(struct reseal *reseal, const char *dir) {
    struct env *env;
    struct env_read *read;
    enum err err = env_open(dir, &env, reseal->why, reseal->why_bytes);
    if (err)
        return err;
    err = env_read_begin(env, &read);
    if (!err) {
        err = keep_names(reseal, read);
        env_read_end(read);
    }
    env_close(env);
    if (err)
        snprintf(reseal->why, reseal->why_bytes, "cannot read %s: %s", dir, err_text(err));
    return err;
}

/* The names of an entry, as values are bound to them. */
static enum err ref_of(const struct reseal *reseal, const struct stored *stored,
                       struct kv_ref *ret_ref) {
    const char *name = stored->space < reseal->name_count ? reseal->names[stored->space] : NULL;
    uint16_t len = 0;
    if (name)
        memcpy(&len, name, sizeof len);
    if (len <= sizeof ret_ref->workspace)
        return ERR_CORRUPT;
    *ret_ref = (struct kv_ref){.storage = KV_HDD, .key = stored->key};
    name += sizeof len;
    memcpy(&ret_ref->workspace, name, sizeof ret_ref->workspace);
    ret_ref->ns = slice_make(name + sizeof ret_ref->workspace, len - sizeof ret_ref->workspace);
    return OK;
}

static bool make_room(struct reseal *reseal, size_t bytes) {
    if (bytes <= reseal->room_bytes)
        return true;
    char *room = realloc(reseal->room, bytes);
    if (room)
        reseal->room = room;
    char *plain = room ? realloc(reseal->plain, bytes) : NULL;
    if (plain)
        reseal->plain = plain;
    reseal->room_bytes = plain ? bytes : reseal->room_bytes;
    return plain != NULL;
}

static bool is_by_first(const struct seal_keys *keys, const struct stored *stored) {
    uint32_t id;
    return stored->sealed && seal_read_id(stored->value, &id) && id == seal_keys_id(keys, 0);
}

/* *stored's value becomes one that the first key sealed. */
static enum err seal_anew(struct reseal *reseal, const struct kv_ref *ref, struct stored *stored) {
    struct slice plain = stored->value;
    if (!make_room(reseal, plain.len + SEAL_BYTES))
        return ERR_OUT_OF_MEMORY;
    if (stored->sealed) {
        enum err err = plain.len < SEAL_BYTES
                           ? ERR_CORRUPT
                           : hdd_unseal(reseal->keys, ref, stored->type, plain, reseal->plain);
        if (err)
            return err;
        plain = slice_make(reseal->plain, plain.len - SEAL_BYTES);
    }
    hdd_seal(reseal->keys, ref, stored->type, plain, reseal->room);
    stored->value = slice_make(reseal->room, plain.len + SEAL_BYTES);
    stored->sealed = true;
    return OK;
}

static void tell_of_damage(const struct reseal *reseal, struct slice place) {
    char key[64];
    size_t len = place.len < 4 ? 0 : place.len - 4;
    if (len > sizeof key)
        len = sizeof key;
    for (size_t i = 0; i < len; i++) {
        char c = place.ptr[4 + i];
        key[i] = c < ' ' || c == 127 ? '?' : c;
    }
    snprintf(reseal->why, reseal->why_bytes,
             "the entry `%.*s` is damaged and cannot be sealed anew: write its key again, or take "
             "the directory from a backup",
             (int)len, key);
}

static enum err rewrite_entry(void *context, struct env_write *to, struct slice place,
                              struct slice value) {
    struct reseal *reseal = context;
    struct stored stored;
    struct kv_ref ref;
    struct place where;
    char *room;
    enum err err = stored_read(place, value, &stored);
    if (!err && !stored.sealed && seal_refuses_plain(reseal->keys))
        err = ERR_CORRUPT;
    if (!err && !is_by_first(reseal->keys, &stored)) {
        err = ref_of(reseal, &stored, &ref);
        if (!err)
            err = seal_anew(reseal, &ref, &stored);
    }
    if (err == ERR_CORRUPT)
        tell_of_damage(reseal, place);
    if (err)
        return err;
    place_make(stored.space, stored.key, &where);
    err = env_write_room(to, ENV_ENTRIES, place_slice(&where), stored_size(&stored), &room);
    if (!err)
        stored_write(&stored, &where, room);
    return err;
}

static void pass_on(void *context, uint64_t more) {
    const struct reseal *reseal = context;
    reseal->with->progress(reseal->with->context, more);
}

static enum err read_count(const char *dir, unsigned *ret_count, char *ret_why, size_t why_bytes) {
    enum err err = hdd_shards_read(dir, ret_count);
    if (err || *ret_count == 0)
        snprintf(ret_why, why_bytes, "%s/shards does not say how many there are", dir);
    return err ? err : *ret_count ? OK : ERR_CORRUPT;
}

static void path_of(const char *dir, unsigned count, unsigned shard, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%s/shards-%u/%u", dir, count, shard);
}

static enum err rewrite_shards(struct reseal *reseal, const char *dir, unsigned count) {
    char path[PATH_BYTES], fresh[PATH_BYTES];
    enum err err = OK;
    for (unsigned i = 0; !err && i < count; i++) {
        path_of(dir, count, i, path);
        snprintf(fresh, sizeof fresh, "%s/rewrite-%u", dir, i);
        struct rewrite rewrite = {.dir = path,
                                  .fresh = fresh,
                                  .mark = seal_keys_id(reseal->keys, 0),
                                  .entry = rewrite_entry,
                                  .progress = pass_on,
                                  .context = reseal};
        err = rewrite_env(&rewrite, reseal->why, reseal->why_bytes);
    }
    return err;
}

enum err kv_reseal_count(struct datadir *datadir, uint64_t *ret_entries, char *ret_why,
                         size_t why_bytes) {
    char path[PATH_BYTES];
    unsigned count;
    uint64_t entries = 0, more;
    enum err err = read_count(datadir_path(datadir), &count, ret_why, why_bytes);
    for (unsigned i = 0; !err && i < count; i++) {
        path_of(datadir_path(datadir), count, i, path);
        err = rewrite_count(path, &more, ret_why, why_bytes);
        entries += err ? 0 : more;
    }
    *ret_entries = entries;
    return err;
}

enum err kv_reseal(struct datadir *datadir, const struct kv_reseal *with, char *ret_why,
                   size_t why_bytes) {
    char path[PATH_BYTES];
    unsigned count;
    struct reseal reseal = {
        .keys = datadir_keys(datadir), .with = with, .why = ret_why, .why_bytes = why_bytes};
    const char *dir = datadir_path(datadir);
    enum err err = read_count(dir, &count, ret_why, why_bytes);
    if (err)
        return err;
    path_of(dir, count, 0, path);
    err = read_names(&reseal, path);
    if (!err)
        err = rewrite_shards(&reseal, dir, count);
    for (uint32_t i = 0; i < reseal.name_count; i++)
        free(reseal.names[i]);
    free(reseal.names);
    if (reseal.plain)
        explicit_bzero(reseal.plain, reseal.room_bytes);
    free(reseal.plain);
    free(reseal.room);
    return err;
}
