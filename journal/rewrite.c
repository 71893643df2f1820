/* SPDX-License-Identifier: MIT */
#include "journal/rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 600
#define STEP_ENTRIES 8192U
#define STEP_BYTES (16U << 20)
#define DONE SLICE("rewritten")      /* in `meta`: struct position of a whole one */
#define SOURCE SLICE("rewrite")      /* in `meta` of one that is not whole: what it is made from */
#define PLACE SLICE("rewrite-place") /* and the last key that it has */

/* Of what a file is made, and when: by the number of a transaction. */
struct position {
    uint64_t number;
    uint32_t mark, db;
};

struct copy {
    const struct rewrite *rewrite;
    struct env *from, *to;
    struct env_read *read;
    struct env_cursor *cursor;
    struct position at;
    struct slice key, value; /* under the cursor */
    char place[ENV_KEY_MAX];
    size_t place_len;
};

static enum err read_position(struct env_read *read, struct slice name,
                              struct position *ret_position) {
    struct slice value;
    enum err err = env_read_get(read, ENV_META, name, &value);
    if (!err && value.len != sizeof *ret_position)
        err = ERR_KEY_NOT_EXIST;
    if (!err)
        memcpy(ret_position, value.ptr, sizeof *ret_position);
    return err;
}

static enum err write_position(struct env_write *write, struct slice name,
                               const struct position *position) {
    return env_write_put(write, ENV_META, name, slice_make(position, sizeof *position));
}

static void remove_fresh(const char *dir) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/lock.mdb", dir);
    (void)unlink(path);
    (void)rmdir(dir);
}

/* Where the fresh one ends, if it is of what is there now; the key is kept. */
static enum err find_place(struct copy *copy) {
    struct env_read *read;
    struct position source;
    struct slice place;
    enum err err = env_read_begin(copy->to, &read);
    if (err)
        return err;
    err = read_position(read, SOURCE, &source);
    if (!err)
        err = env_read_get(read, ENV_META, PLACE, &place);
    if (!err && (source.number != copy->at.number || source.mark != copy->at.mark ||
                 source.db >= ENV_DBS || place.len > sizeof copy->place))
        err = ERR_KEY_NOT_EXIST;
    if (!err) {
        copy->at.db = source.db;
        copy->place_len = place.len;
        memcpy(copy->place, place.ptr, place.len);
    }
    env_read_end(read);
    return err;
}

static enum err open_fresh(struct copy *copy, char *ret_why, size_t why_bytes) {
    enum err err = env_open_cleared(copy->rewrite->fresh, &copy->to, ret_why, why_bytes);
    if (err)
        return err;
    err = find_place(copy);
    if (err != ERR_KEY_NOT_EXIST)
        return err;
    env_close(copy->to); /* of something else, or empty */
    copy->to = NULL;
    remove_fresh(copy->rewrite->fresh);
    return env_open_cleared(copy->rewrite->fresh, &copy->to, ret_why, why_bytes);
}

/* The cursor onto the first key of the database that is not yet copied. */
static enum err seek(struct copy *copy) {
    struct slice place = slice_make(copy->place, copy->place_len);
    enum err err = env_cursor_open(copy->read, (enum env_db)copy->at.db, &copy->cursor);
    if (err)
        return err;
    err = env_cursor_seek(copy->cursor, place, &copy->key, &copy->value);
    if (!err && copy->place_len && slice_equal(copy->key, place))
        err = env_cursor_next(copy->cursor, &copy->key, &copy->value);
    return err;
}

static enum err copy_one(const struct copy *copy, struct env_write *write) {
    if (copy->at.db == ENV_ENTRIES)
        return copy->rewrite->entry(copy->rewrite->context, write, copy->key, copy->value);
    bool own = copy->at.db == ENV_META && slice_equal(copy->key, DONE);
    return own ? OK : env_write_put(write, (enum env_db)copy->at.db, copy->key, copy->value);
}

/* One transaction; ERR_KEY_NOT_EXIST: the database is copied. */
static enum err copy_some(struct copy *copy) {
    struct env_write *write;
    uint64_t bytes = 0, count = 0;
    enum err err = env_write_begin(copy->to, 4ULL * STEP_BYTES + copy->value.len * 2, &write);
    if (err)
        return err;
    enum err moved = OK;
    while (!err && !moved && count < STEP_ENTRIES && bytes < STEP_BYTES) {
        err = copy_one(copy, write);
        count++;
        bytes += copy->key.len + copy->value.len;
        copy->place_len = copy->key.len;
        memcpy(copy->place, copy->key.ptr, copy->key.len);
        if (!err)
            moved = env_cursor_next(copy->cursor, &copy->key, &copy->value);
    }
    if (!err && moved && moved != ERR_KEY_NOT_EXIST)
        err = moved;
    if (!err)
        err = write_position(write, SOURCE, &copy->at);
    if (!err)
        err = env_write_put(write, ENV_META, PLACE, slice_make(copy->place, copy->place_len));
    if (err) {
        env_write_abort(write);
        return err == ERR_KEY_NOT_EXIST ? ERR_CORRUPT : err;
    }
    err = env_write_commit(write);
    if (!err && copy->at.db == ENV_ENTRIES)
        copy->rewrite->progress(copy->rewrite->context, count);
    return err ? err : moved;
}

static enum err copy_db(struct copy *copy) {
    enum err err = seek(copy);
    while (!err)
        err = copy_some(copy);
    if (copy->cursor)
        env_cursor_close(copy->cursor);
    copy->cursor = NULL;
    copy->place_len = 0;
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

/* What an earlier run copied is told of at once. */
static void tell_of_earlier(const struct copy *copy) {
    struct env_read *read;
    if (env_read_begin(copy->to, &read))
        return;
    copy->rewrite->progress(copy->rewrite->context, env_read_count(read, ENV_ENTRIES));
    env_read_end(read);
}

static enum err finish(struct copy *copy) {
    struct env_write *write;
    enum err err = env_write_begin(copy->to, 4096, &write);
    if (err)
        return err;
    struct position done = {.number = env_write_number(write), .mark = copy->at.mark};
    err = env_write_delete(write, ENV_META, SOURCE);
    if (!err)
        err = env_write_delete(write, ENV_META, PLACE);
    if (!err)
        err = write_position(write, DONE, &done);
    if (!err)
        return env_write_commit(write);
    env_write_abort(write);
    return err;
}

/* OK where the environment is as a run before left it: there is nothing to do. */
static enum err is_done(struct copy *copy) {
    struct position done;
    enum err err = read_position(copy->read, DONE, &done);
    bool same = !err && done.mark == copy->at.mark && done.number == copy->at.number;
    if (same)
        copy->rewrite->progress(copy->rewrite->context, env_read_count(copy->read, ENV_ENTRIES));
    return err ? err : same ? OK : ERR_KEY_NOT_EXIST;
}

static enum err copy_all(struct copy *copy, char *ret_why, size_t why_bytes) {
    enum err err = open_fresh(copy, ret_why, why_bytes);
    if (err)
        return err;
    tell_of_earlier(copy);
    for (; !err && copy->at.db < ENV_DBS; copy->at.db++)
        err = copy_db(copy);
    return err ? err : finish(copy);
}

/* The old file is gone with its last name; readers' locks are of no meaning to the new one. */
static enum err put_in_place(const struct rewrite *rewrite) {
    char from[PATH_BYTES], to[PATH_BYTES], lock[PATH_BYTES];
    snprintf(from, sizeof from, "%s/data.mdb", rewrite->fresh);
    snprintf(to, sizeof to, "%s/data.mdb", rewrite->dir);
    snprintf(lock, sizeof lock, "%s/lock.mdb", rewrite->dir);
    int dir = open(rewrite->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = dir >= 0 && rename(from, to) == 0 && fsync(dir) == 0;
    if (dir >= 0)
        close(dir);
    (void)unlink(lock);
    remove_fresh(rewrite->fresh);
    return good ? OK : ERR_UNAVAILABLE;
}

enum err rewrite_env(const struct rewrite *rewrite, char *ret_why, size_t why_bytes) {
    struct copy *copy = calloc(1, sizeof *copy);
    if (!copy) {
        snprintf(ret_why, why_bytes, "no memory to write %s anew", rewrite->dir);
        return ERR_OUT_OF_MEMORY;
    }
    copy->rewrite = rewrite;
    ret_why[0] = 0;
    enum err err = env_open(rewrite->dir, &copy->from, ret_why, why_bytes);
    if (!err)
        err = env_read_begin(copy->from, &copy->read);
    bool done = false;
    if (!err) {
        copy->at = (struct position){.number = env_read_number(copy->read), .mark = rewrite->mark};
        err = is_done(copy);
        done = !err;
        if (err == ERR_KEY_NOT_EXIST)
            err = copy_all(copy, ret_why, why_bytes);
    }
    if (copy->read)
        env_read_end(copy->read);
    if (copy->from)
        env_close(copy->from);
    if (copy->to)
        env_close(copy->to);
    free(copy);
    if (err == ERR_STORAGE_FULL)
        remove_fresh(rewrite->fresh); /* the room is wanted more than what is done */
    if (!err && !done)
        err = put_in_place(rewrite);
    if (err && !ret_why[0])
        snprintf(ret_why, why_bytes, "cannot write %s anew: %s", rewrite->dir, err_text(err));
    return err;
}

enum err rewrite_count(const char *dir, uint64_t *ret_count, char *ret_why, size_t why_bytes) {
    struct env *env;
    struct env_read *read;
    enum err err = env_open(dir, &env, ret_why, why_bytes);
    if (err)
        return err;
    err = env_read_begin(env, &read);
    if (!err) {
        *ret_count = env_read_count(read, ENV_ENTRIES);
        env_read_end(read);
    } else {
        snprintf(ret_why, why_bytes, "cannot read %s: %s", dir, err_text(err));
    }
    env_close(env);
    return err;
}
