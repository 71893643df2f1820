/* SPDX-License-Identifier: MIT */
/* The LMDB environments, and their rebuild when their number changed: everything is copied into
 * `shards-N.new`, which gets its name only when it is whole and synced; the file `shards` says
 * which number is in force. Whatever a crash leaves is finished or removed at the next start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "kv/hdd.h"

#define PATH_BYTES (HDD_PATH_BYTES + 64)
#define COPY_ENTRIES 32768U
#define COPY_BYTES (64U << 20)

static enum err sync_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_UNAVAILABLE;
    enum err err = fsync(fd) == 0 ? OK : ERR_UNAVAILABLE;
    close(fd);
    return err;
}

enum err hdd_shards_read(const char *dir, unsigned *ret_number) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/shards", dir);
    FILE *file = fopen(path, "re");
    if (!file) {
        *ret_number = 0;
        return errno == ENOENT ? OK : ERR_UNAVAILABLE;
    }
    int found = fscanf(file, "%u", ret_number);
    fclose(file);
    return found == 1 && *ret_number >= 1 && *ret_number <= HDD_SHARDS_MAX ? OK : ERR_CORRUPT;
}

static enum err write_number(const char *dir, unsigned number) {
    char path[PATH_BYTES], fresh[PATH_BYTES];
    snprintf(path, sizeof path, "%s/shards", dir);
    snprintf(fresh, sizeof fresh, "%s/shards.new", dir);
    char text[16];
    int len = snprintf(text, sizeof text, "%u\n", number);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, (size_t)len) == len && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!good || rename(fresh, path) != 0)
        return ERR_UNAVAILABLE;
    return sync_dir(dir);
}

static void remove_tree(const char *dir) {
    DIR *entries = opendir(dir);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[PATH_BYTES + 300];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (unlink(path) != 0 && (errno == EISDIR || errno == EPERM) && strlen(path) < PATH_BYTES)
            remove_tree(path);
    }
    closedir(entries);
    rmdir(dir);
}

/* What is not in force is left over from a crash. */
static void remove_others(const char *dir, unsigned number) {
    char keep[32];
    snprintf(keep, sizeof keep, "shards-%u", number);
    DIR *entries = opendir(dir);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[PATH_BYTES + 300];
        if (strncmp(entry->d_name, "shards-", 7) != 0 || strcmp(entry->d_name, keep) == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        remove_tree(path);
    }
    closedir(entries);
}

static void close_envs(struct env **envs, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (envs[i])
            env_close(envs[i]);
}

static enum err open_envs(const struct kv_hdd *hdd, const char *dir, struct env **envs,
                          unsigned count, char *ret_why, size_t why_bytes) {
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        snprintf(ret_why, why_bytes, "cannot make %s: %s", dir, strerror(errno));
        return ERR_UNAVAILABLE;
    }
    enum err err = OK;
    for (unsigned i = 0; !err && i < count; i++) {
        char path[PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%u", dir, i);
        err = hdd->keys ? env_open_cleared(path, &envs[i], ret_why, why_bytes)
                        : env_open(path, &envs[i], ret_why, why_bytes);
    }
    return err ? err : sync_dir(dir);
}

/* A copy in progress: entries gathered for the environment they now belong to. */
struct rebuild {
    struct kv_hdd *hdd;
    struct env *from[HDD_SHARDS_MAX], *to[HDD_SHARDS_MAX];
    unsigned from_count, to_count;
    struct env_write *writes[HDD_SHARDS_MAX];
    uint64_t done, total;
    unsigned in_txn;
    uint64_t bytes_in_txn;
};

static enum err end_writes(struct rebuild *rebuild, bool commit) {
    enum err err = OK;
    for (unsigned i = 0; i < rebuild->to_count; i++) {
        struct env_write *write = rebuild->writes[i];
        rebuild->writes[i] = NULL;
        if (!write)
            continue;
        if (commit && !err)
            err = env_write_commit(write);
        else
            env_write_abort(write);
    }
    rebuild->in_txn = 0;
    rebuild->bytes_in_txn = 0;
    return err;
}

static enum err copy_entry(struct rebuild *rebuild, const struct stored *stored) {
    unsigned shard = hdd_shard_of(stored->space, stored->key, rebuild->to_count);
    enum err err = OK;
    if (!rebuild->writes[shard])
        err =
            env_write_begin(rebuild->to[shard], 4 * (uint64_t)COPY_BYTES, &rebuild->writes[shard]);
    if (!err)
        err = hdd_pack_put(rebuild->writes[shard], stored);
    rebuild->in_txn++;
    rebuild->bytes_in_txn += stored_size(stored);
    rebuild->done++;
    if (!err && (rebuild->in_txn >= COPY_ENTRIES || rebuild->bytes_in_txn >= COPY_BYTES)) {
        err = end_writes(rebuild, true);
        if (rebuild->hdd->progress)
            rebuild->hdd->progress("rebuilding hdd shards", rebuild->done, rebuild->total);
    }
    return err;
}

static enum err copy_entries(struct rebuild *rebuild, struct env_read *read) {
    struct env_cursor *cursor;
    struct slice place, bytes;
    enum err err = env_cursor_open(read, ENV_ENTRIES, &cursor);
    if (err)
        return err;
    err = env_cursor_seek(cursor, (struct slice){NULL, 0}, &place, &bytes);
    while (!err) {
        struct stored stored;
        err = stored_read(place, bytes, &stored);
        if (!err)
            err = copy_entry(rebuild, &stored);
        if (!err)
            err = env_cursor_next(cursor, &place, &bytes);
    }
    env_cursor_close(cursor);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static enum err copy_spaces(struct env_read *read, struct env_write *write) {
    struct env_cursor *cursor;
    struct slice key, value;
    enum err err = env_cursor_open(read, ENV_SPACES, &cursor);
    if (err)
        return err;
    err = env_cursor_seek(cursor, (struct slice){NULL, 0}, &key, &value);
    while (!err) {
        err = env_write_put(write, ENV_SPACES, key, value);
        if (!err)
            err = env_cursor_next(cursor, &key, &value);
    }
    env_cursor_close(cursor);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static enum err read_applied(struct env *env, uint64_t *ret_applied) {
    struct env_read *read;
    struct slice value;
    enum err err = env_read_begin(env, &read);
    if (err)
        return err;
    *ret_applied = 0;
    err = env_read_get(read, ENV_META, HDD_META_APPLIED, &value);
    if (!err && value.len == sizeof *ret_applied)
        memcpy(ret_applied, value.ptr, sizeof *ret_applied);
    env_read_end(read);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static enum err least_applied(struct env *const *envs, unsigned count, uint64_t *ret_applied) {
    uint64_t least = UINT64_MAX;
    enum err err = OK;
    for (unsigned i = 0; !err && i < count; i++) {
        uint64_t applied;
        err = read_applied(envs[i], &applied);
        if (!err && applied < least)
            least = applied;
    }
    *ret_applied = least;
    return err;
}

static enum err finish_one(struct rebuild *rebuild, unsigned shard, struct env_read *spaces,
                           uint64_t applied) {
    struct env_write *write;
    enum err err = env_write_begin(rebuild->to[shard], 0, &write);
    if (err)
        return err;
    if (shard == 0)
        err = copy_spaces(spaces, write);
    if (!err)
        err = hdd_pack_applied(write, applied);
    if (!err)
        return env_write_commit(write);
    env_write_abort(write);
    return err;
}

/* Spaces and positions, once every entry is there. */
static enum err finish_copy(struct rebuild *rebuild) {
    uint64_t applied;
    struct env_read *spaces;
    enum err err = least_applied(rebuild->from, rebuild->from_count, &applied);
    if (!err)
        err = env_read_begin(rebuild->from[0], &spaces);
    if (err)
        return err;
    for (unsigned i = 0; !err && i < rebuild->to_count; i++)
        err = finish_one(rebuild, i, spaces, applied);
    env_read_end(spaces);
    return err;
}

static enum err copy_all(struct rebuild *rebuild) {
    enum err err = OK;
    for (unsigned i = 0; i < rebuild->from_count; i++) {
        struct env_read *read;
        if (env_read_begin(rebuild->from[i], &read))
            return ERR_UNAVAILABLE;
        rebuild->total += env_read_count(read, ENV_ENTRIES);
        env_read_end(read);
    }
    for (unsigned i = 0; !err && i < rebuild->from_count; i++) {
        struct env_read *read;
        err = env_read_begin(rebuild->from[i], &read);
        if (err)
            break;
        err = copy_entries(rebuild, read);
        env_read_end(read);
    }
    enum err ended = end_writes(rebuild, !err);
    if (!err)
        err = ended;
    return err ? err : finish_copy(rebuild);
}

static enum err rebuild_shards(struct kv_hdd *hdd, unsigned had, unsigned wanted, char *ret_why,
                               size_t why_bytes) {
    char from[PATH_BYTES], to[PATH_BYTES], fresh[PATH_BYTES];
    snprintf(from, sizeof from, "%s/shards-%u", hdd->dir, had);
    snprintf(to, sizeof to, "%s/shards-%u", hdd->dir, wanted);
    snprintf(fresh, sizeof fresh, "%s/shards-%u.new", hdd->dir, wanted);
    struct rebuild *rebuild = calloc(1, sizeof *rebuild);
    if (!rebuild)
        return ERR_OUT_OF_MEMORY;
    *rebuild = (struct rebuild){.hdd = hdd, .from_count = had, .to_count = wanted};
    log_info("rebuilding hdd shards: %u become %u", had, wanted);
    enum err err = open_envs(hdd, from, rebuild->from, had, ret_why, why_bytes);
    if (!err)
        err = open_envs(hdd, fresh, rebuild->to, wanted, ret_why, why_bytes);
    if (!err) {
        err = copy_all(rebuild);
        if (err)
            snprintf(ret_why, why_bytes, "cannot rebuild the shards in %s: %s", fresh,
                     err_text(err));
    }
    close_envs(rebuild->from, had);
    close_envs(rebuild->to, wanted);
    free(rebuild);
    if (!err && (rename(fresh, to) != 0 || sync_dir(hdd->dir) || write_number(hdd->dir, wanted))) {
        snprintf(ret_why, why_bytes, "cannot put the rebuilt shards in force in %s", hdd->dir);
        err = ERR_UNAVAILABLE;
    }
    return err;
}

static enum err load_spaces(struct kv_hdd *hdd) {
    struct env_read *read;
    struct env_cursor *cursor;
    struct slice key, value;
    enum err err = env_read_begin(hdd->envs[0], &read);
    if (err)
        return err;
    err = env_cursor_open(read, ENV_SPACES, &cursor);
    if (!err) {
        err = env_cursor_seek(cursor, (struct slice){NULL, 0}, &key, &value);
        while (!err) {
            struct uuid workspace;
            if (key.len != 4 || value.len <= sizeof workspace) {
                err = ERR_CORRUPT;
                break;
            }
            memcpy(&workspace, value.ptr, sizeof workspace);
            err = spaces_restore(
                hdd->spaces, get_be32(key.ptr), &workspace,
                slice_make(value.ptr + sizeof workspace, value.len - sizeof workspace));
            if (!err)
                err = env_cursor_next(cursor, &key, &value);
        }
        env_cursor_close(cursor);
    }
    env_read_end(read);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

enum err hdd_shards_open(struct kv_hdd *hdd, unsigned wanted, char *ret_why, size_t why_bytes) {
    unsigned had;
    char path[PATH_BYTES];
    enum err err = hdd_shards_read(hdd->dir, &had);
    if (err) {
        snprintf(ret_why, why_bytes, "%s/shards does not say how many there are", hdd->dir);
        return err;
    }
    if (wanted == 0)
        wanted = had ? had : 1;
    remove_others(hdd->dir, had);
    if (had && had != wanted) {
        err = rebuild_shards(hdd, had, wanted, ret_why, why_bytes);
        if (err)
            return err;
        remove_others(hdd->dir, wanted);
    }
    snprintf(path, sizeof path, "%s/shards-%u", hdd->dir, wanted);
    hdd->shard_count = wanted;
    err = open_envs(hdd, path, hdd->envs, wanted, ret_why, why_bytes);
    if (!err && !had)
        err = write_number(hdd->dir, wanted);
    if (!err)
        err = load_spaces(hdd);
    if (!err)
        err = least_applied(hdd->envs, wanted, &hdd->applied_seq);
    if (err && !ret_why[0])
        snprintf(ret_why, why_bytes, "cannot read %s: %s", path, err_text(err));
    return err;
}

void hdd_shards_close(struct kv_hdd *hdd) {
    close_envs(hdd->envs, hdd->shard_count);
}
