/* SPDX-License-Identifier: MIT */
#include "journal/env.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "journal/env_fault.h"

#define MAP_FIRST_BYTES (1ULL << 30)
#define MAP_SPARE_BYTES (256ULL << 20) /* beyond what a transaction says it writes */
#define READERS_MAX 1022U
#define FULL_BYTES (1U << 20) /* a disk with less is full */
#define META_PAGES 2U
#define FREE_DBI 0U /* LMDB's own list of pages to use again */

struct env_read {
    struct env *env;
    MDB_txn *txn;
    struct env_read *next;
};

struct env {
    MDB_env *lmdb;
    char *dir;
    MDB_dbi dbis[ENV_DBS];
    uint64_t map_bytes;    /* the writer's */
    pthread_rwlock_t gate; /* held for reading while a read is active */
    pthread_mutex_t lock;  /* of the spare reads */
    struct env_read *spares;
};

struct env_write {
    struct env *env;
    MDB_txn *txn;
};

static const char *const db_names[ENV_DBS] = {"entries", "expiry", "spaces", "meta"};

static enum err err_of(int code) {
    switch (code) {
    case 0:
        return OK;
    case MDB_NOTFOUND:
        return ERR_KEY_NOT_EXIST;
    case ENOSPC:
    case EDQUOT:
    case MDB_MAP_FULL:
        return ERR_STORAGE_FULL;
    case ENOMEM:
        return ERR_OUT_OF_MEMORY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return ERR_CORRUPT;
    default:
        return ERR_UNAVAILABLE;
    }
}

static MDB_val val_of(struct slice slice) {
    return (MDB_val){slice.len, (void *)(uintptr_t)slice.ptr};
}

static struct slice slice_of(MDB_val val) {
    return slice_make(val.mv_data, val.mv_size);
}

static int open_dbs(struct env *env) {
    MDB_txn *txn;
    int code = mdb_txn_begin(env->lmdb, NULL, 0, &txn);
    if (code)
        return code;
    for (int i = 0; !code && i < ENV_DBS; i++)
        code = mdb_dbi_open(txn, db_names[i], MDB_CREATE, &env->dbis[i]);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* What LMDB held for sure is not so. */
static void asserted(MDB_env *lmdb, const char *text) {
    const char *dir = "?";
    (void)text;
    mdb_env_get_path(lmdb, &dir);
    env_fault_end(dir);
}

static int open_lmdb(struct env *env, const char *dir, unsigned flags) {
    MDB_envinfo info;
    int dead;
    int code = mdb_env_create(&env->lmdb);
    if (!code)
        code = mdb_env_set_assert(env->lmdb, asserted);
    if (!code)
        code = mdb_env_set_maxdbs(env->lmdb, ENV_DBS);
    if (!code)
        code = mdb_env_set_maxreaders(env->lmdb, READERS_MAX);
    if (!code)
        code = mdb_env_set_mapsize(env->lmdb, MAP_FIRST_BYTES);
    if (!code)
        code = mdb_env_open(env->lmdb, dir, MDB_NOTLS | MDB_NORDAHEAD | flags, 0600);
    if (!code)
        code = mdb_reader_check(env->lmdb, &dead);
    if (!code)
        code = mdb_env_info(env->lmdb, &info);
    if (!code)
        env->map_bytes = info.me_mapsize; /* a file larger than asked for sets its own */
    return code ? code : open_dbs(env);
}

static int sync_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return code;
}

/* The directory that holds `dir`. */
static int sync_parent(const char *dir) {
    char parent[PATH_MAX];
    if ((size_t)snprintf(parent, sizeof parent, "%s/..", dir) >= sizeof parent)
        return ENAMETOOLONG;
    return sync_dir(parent);
}

static void remove_files(const char *dir, bool data_too) {
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/lock.mdb", dir) < sizeof path)
        unlink(path);
    if (data_too && (size_t)snprintf(path, sizeof path, "%s/data.mdb", dir) < sizeof path)
        unlink(path);
}

/* LMDB fills a new file bit by bit: it is made aside, and gets its name once it is safe and whole.
 */
static int make_lmdb(const char *dir, unsigned flags) {
    char fresh[PATH_MAX];
    struct env made = {0};
    if ((size_t)snprintf(fresh, sizeof fresh, "%s.new", dir) >= sizeof fresh)
        return ENAMETOOLONG;
    if (mkdir(fresh, 0700) != 0 && errno != EEXIST)
        return errno;
    remove_files(fresh, true);
    int code = open_lmdb(&made, fresh, flags);
    if (made.lmdb)
        mdb_env_close(made.lmdb);
    remove_files(fresh, false);
    remove_files(dir, false);
    if (!code)
        code = sync_dir(fresh);
    if (!code && rename(fresh, dir) != 0)
        code = errno;
    return code ? code : sync_parent(dir);
}

static bool has_data(const char *dir) {
    char path[PATH_MAX];
    return (size_t)snprintf(path, sizeof path, "%s/data.mdb", dir) < sizeof path &&
           access(path, F_OK) == 0;
}

static enum err open_env(const char *dir, unsigned flags, struct env **ret_env, char *ret_why,
                         size_t why_bytes) {
    struct env *env = calloc(1, sizeof *env);
    if (!env) {
        snprintf(ret_why, why_bytes, "no memory to open %s", dir);
        return ERR_OUT_OF_MEMORY;
    }
    env_fault_watch();
    env_fault_enter(dir);
    int code = has_data(dir) ? 0 : make_lmdb(dir, flags);
    env->dir = strdup(dir);
    if (!code)
        code = env->dir ? open_lmdb(env, dir, flags) : ENOMEM;
    env_fault_leave();
    if (code) {
        snprintf(ret_why, why_bytes, "cannot open %s: %s", dir, mdb_strerror(code));
        if (env->lmdb)
            mdb_env_close(env->lmdb);
        free(env->dir);
        free(env);
        return err_of(code);
    }
    pthread_rwlockattr_t writer_first; /* or readers that never pause keep the map from growing */
    pthread_rwlockattr_init(&writer_first);
    pthread_rwlockattr_setkind_np(&writer_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&env->gate, &writer_first);
    pthread_rwlockattr_destroy(&writer_first);
    pthread_mutex_init(&env->lock, NULL);
    *ret_env = env;
    return OK;
}

enum err env_open(const char *dir, struct env **ret_env, char *ret_why, size_t why_bytes) {
    return open_env(dir, MDB_NOMEMINIT, ret_env, ret_why, why_bytes);
}

enum err env_open_cleared(const char *dir, struct env **ret_env, char *ret_why, size_t why_bytes) {
    return open_env(dir, 0, ret_env, ret_why, why_bytes);
}

void env_close(struct env *env) {
    while (env->spares) {
        struct env_read *next = env->spares->next;
        mdb_txn_abort(env->spares->txn);
        free(env->spares);
        env->spares = next;
    }
    mdb_env_close(env->lmdb);
    pthread_rwlock_destroy(&env->gate);
    pthread_mutex_destroy(&env->lock);
    free(env->dir);
    free(env);
}

static struct env_read *take_spare(struct env *env) {
    pthread_mutex_lock(&env->lock);
    struct env_read *read = env->spares;
    if (read)
        env->spares = read->next;
    pthread_mutex_unlock(&env->lock);
    return read;
}

static void give_spare(struct env_read *read) {
    struct env *env = read->env;
    pthread_mutex_lock(&env->lock);
    read->next = env->spares;
    env->spares = read;
    pthread_mutex_unlock(&env->lock);
}

enum err env_read_begin(struct env *env, struct env_read **ret_read) {
    struct env_read *read = take_spare(env);
    int code;
    pthread_rwlock_rdlock(&env->gate);
    env_fault_enter(env->dir);
    if (read) {
        code = mdb_txn_renew(read->txn);
        if (code)
            mdb_txn_abort(read->txn);
    } else {
        read = calloc(1, sizeof *read);
        code = read ? mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &read->txn) : ENOMEM;
    }
    if (code) {
        env_fault_leave();
        pthread_rwlock_unlock(&env->gate);
        free(read);
        return err_of(code);
    }
    read->env = env;
    *ret_read = read;
    return OK;
}

/* A transaction without cursors points nowhere into the map: it has numbers of pages, and LMDB (to
 * 0.9.x) asks the environment where the map is each time it looks at one. */
void env_read_pause(struct env_read *read) {
    env_fault_leave();
    pthread_rwlock_unlock(&read->env->gate);
}

void env_read_resume(struct env_read *read) {
    pthread_rwlock_rdlock(&read->env->gate);
    env_fault_enter(read->env->dir);
}

void env_read_end(struct env_read *read) {
    mdb_txn_reset(read->txn);
    env_fault_leave();
    pthread_rwlock_unlock(&read->env->gate);
    give_spare(read);
}

static enum err get(MDB_txn *txn, MDB_dbi dbi, struct slice key, struct slice *ret_value) {
    MDB_val k = val_of(key);
    MDB_val v;
    int code = mdb_get(txn, dbi, &k, &v);
    if (!code)
        *ret_value = slice_of(v);
    return err_of(code);
}

static uint64_t count(MDB_txn *txn, MDB_dbi dbi) {
    MDB_stat stat = {0};
    mdb_stat(txn, dbi, &stat); /* fails for a transaction that failed before */
    return stat.ms_entries;
}

enum err env_read_get(struct env_read *read, enum env_db db, struct slice key,
                      struct slice *ret_value) {
    return get(read->txn, read->env->dbis[db], key, ret_value);
}

uint64_t env_read_count(struct env_read *read, enum env_db db) {
    return count(read->txn, read->env->dbis[db]);
}

/* An env_cursor is LMDB's own. */
static MDB_cursor *lmdb_of(struct env_cursor *cursor) {
    return (MDB_cursor *)cursor;
}

enum err env_cursor_open(struct env_read *read, enum env_db db, struct env_cursor **ret_cursor) {
    MDB_cursor *cursor;
    int code = mdb_cursor_open(read->txn, read->env->dbis[db], &cursor);
    if (!code)
        *ret_cursor = (struct env_cursor *)cursor;
    return err_of(code);
}

void env_cursor_close(struct env_cursor *cursor) {
    mdb_cursor_close(lmdb_of(cursor));
}

static enum err move(MDB_cursor *cursor, struct slice key, MDB_cursor_op how, struct slice *ret_key,
                     struct slice *ret_value) {
    MDB_val k = val_of(key);
    MDB_val v;
    int code = mdb_cursor_get(cursor, &k, &v, how);
    if (!code) {
        *ret_key = slice_of(k);
        *ret_value = slice_of(v);
    }
    return err_of(code);
}

/* LMDB takes no empty key. */
static MDB_cursor_op seek_how(struct slice key) {
    return key.len ? MDB_SET_RANGE : MDB_FIRST;
}

enum err env_cursor_seek(struct env_cursor *cursor, struct slice key, struct slice *ret_key,
                         struct slice *ret_value) {
    return move(lmdb_of(cursor), key, seek_how(key), ret_key, ret_value);
}

enum err env_cursor_next(struct env_cursor *cursor, struct slice *ret_key,
                         struct slice *ret_value) {
    return move(lmdb_of(cursor), (struct slice){NULL, 0}, MDB_NEXT, ret_key, ret_value);
}

uint64_t env_used_bytes(struct env *env) {
    MDB_envinfo info; /* neither call fails for an environment that is open */
    MDB_stat stat;
    mdb_env_info(env->lmdb, &info);
    mdb_env_stat(env->lmdb, &stat);
    return (info.me_last_pgno + 1) * stat.ms_psize;
}

static uint64_t pages_of(const MDB_stat *stat) {
    return stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages;
}

uint64_t env_free_bytes(struct env *env) {
    MDB_stat stat = {0};
    struct env_read *read;
    if (env_read_begin(env, &read))
        return 0;
    mdb_env_stat(env->lmdb, &stat);
    uint64_t page_bytes = stat.ms_psize;
    uint64_t used = META_PAGES + pages_of(&stat);
    mdb_stat(read->txn, FREE_DBI, &stat);
    used += pages_of(&stat);
    for (int i = 0; i < ENV_DBS; i++) {
        mdb_stat(read->txn, env->dbis[i], &stat);
        used += pages_of(&stat);
    }
    env_read_end(read);
    uint64_t all = env_used_bytes(env);
    return all > used * page_bytes ? all - used * page_bytes : 0;
}

/* Doubles the map until there is room, with every reader outside. */
static int grow(struct env *env, uint64_t more_bytes) {
    uint64_t needed = env_used_bytes(env) + more_bytes + MAP_SPARE_BYTES;
    if (needed <= env->map_bytes)
        return 0;
    uint64_t wider = env->map_bytes;
    while (wider < needed)
        wider *= 2;
    pthread_rwlock_wrlock(&env->gate);
    int code = mdb_env_set_mapsize(env->lmdb, wider);
    pthread_rwlock_unlock(&env->gate);
    if (!code)
        env->map_bytes = wider;
    return code;
}

enum err env_write_begin(struct env *env, uint64_t more_bytes, struct env_write **ret_write) {
    struct env_write *write = calloc(1, sizeof *write);
    int code = write ? grow(env, more_bytes) : ENOMEM;
    env_fault_enter(env->dir);
    if (!code)
        code = mdb_txn_begin(env->lmdb, NULL, 0, &write->txn);
    if (code) {
        env_fault_leave();
        free(write);
        return err_of(code);
    }
    write->env = env;
    *ret_write = write;
    return OK;
}

enum err env_write_put(struct env_write *write, enum env_db db, struct slice key,
                       struct slice value) {
    MDB_val k = val_of(key);
    MDB_val v = val_of(value);
    return err_of(mdb_put(write->txn, write->env->dbis[db], &k, &v, 0));
}

enum err env_write_room(struct env_write *write, enum env_db db, struct slice key,
                        size_t size_bytes, char **ret_room) {
    MDB_val k = val_of(key);
    MDB_val v = {size_bytes, NULL};
    int code = mdb_put(write->txn, write->env->dbis[db], &k, &v, MDB_RESERVE);
    if (!code)
        *ret_room = v.mv_data;
    return err_of(code);
}

enum err env_write_delete(struct env_write *write, enum env_db db, struct slice key) {
    MDB_val k = val_of(key);
    int code = mdb_del(write->txn, write->env->dbis[db], &k, NULL);
    return code == MDB_NOTFOUND ? OK : err_of(code);
}

enum err env_write_get(struct env_write *write, enum env_db db, struct slice key,
                       struct slice *ret_value) {
    return get(write->txn, write->env->dbis[db], key, ret_value);
}

uint64_t env_write_count(struct env_write *write, enum env_db db) {
    return count(write->txn, write->env->dbis[db]);
}

enum err env_write_seek(struct env_write *write, enum env_db db, struct slice key,
                        struct slice *ret_key, struct slice *ret_value) {
    MDB_cursor *cursor;
    int code = mdb_cursor_open(write->txn, write->env->dbis[db], &cursor);
    if (code)
        return err_of(code);
    enum err err = move(cursor, key, seek_how(key), ret_key, ret_value);
    mdb_cursor_close(cursor);
    return err;
}

enum err env_write_empty(struct env_write *write, enum env_db db) {
    return err_of(mdb_drop(write->txn, write->env->dbis[db], 0));
}

/* LMDB calls a write that the disk had room for a part of an input/output error. */
static bool is_disk_full(struct env *env) {
    struct statvfs disk;
    mdb_filehandle_t fd;
    return mdb_env_get_fd(env->lmdb, &fd) == 0 && fstatvfs(fd, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize < FULL_BYTES;
}

enum err env_write_commit(struct env_write *write) {
    struct env *env = write->env;
    int code = mdb_txn_commit(write->txn);
    env_fault_leave();
    free(write);
    return code == EIO && is_disk_full(env) ? ERR_STORAGE_FULL : err_of(code);
}

void env_write_abort(struct env_write *write) {
    mdb_txn_abort(write->txn);
    env_fault_leave();
    free(write);
}

uint64_t env_read_number(struct env_read *read) {
    return mdb_txn_id(read->txn);
}

uint64_t env_write_number(struct env_write *write) {
    return mdb_txn_id(write->txn);
}
