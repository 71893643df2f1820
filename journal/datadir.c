/* SPDX-License-Identifier: MIT */
#include "journal/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "journal/keycheck.h"

#define FORMAT_TEXT "hati data 1\n"
#define FORMAT_SEALED_TEXT "hati data 2\n" /* some of it may be sealed */
#define DIR_BYTES 384                      /* names in it have room behind it in every PATH_BYTES */
#define PATH_BYTES (DIR_BYTES + 16)
#define GROWTH 2U                  /* what waits takes more in LMDB than in memory */
#define MARGIN_BYTES (16ULL << 20) /* for deletes */

struct datadir {
    struct datadir_options options;
    char dir[DIR_BYTES];
    int lock_fd;
    struct journal *journal;
    struct committer *committer; /* while it runs */
    struct datadir_store *stores, *last_store;
    uint64_t left_seq;    /* the least that a store which left had applied */
    uint64_t replayed;    /* records, at start */
    pthread_mutex_t lock; /* applied_seq of the stores; trimming */
};

static enum err lock_dir(struct datadir *datadir, char *ret_why, size_t why_bytes) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/LOCK", datadir->dir);
    datadir->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (datadir->lock_fd < 0) {
        snprintf(ret_why, why_bytes, "data-dir: cannot write to %s: %s", datadir->dir,
                 strerror(errno));
        return ERR_UNAVAILABLE;
    }
    if (flock(datadir->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(ret_why, why_bytes, "data-dir: another process serves %s", datadir->dir);
        return ERR_CONFLICT;
    }
    return OK;
}

struct format {
    bool sealed; /* it was opened with keys before */
    bool fresh;  /* there is nothing in it */
};

static bool has_journal(const struct datadir *datadir) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/journal", datadir->dir);
    return access(path, F_OK) == 0;
}

/* The directory says in which format it is, so that another version does not guess. */
static enum err check_format(const struct datadir *datadir, struct format *ret_format,
                             char *ret_why, size_t why_bytes) {
    char path[PATH_BYTES];
    char text[64] = {0};
    snprintf(path, sizeof path, "%s/format", datadir->dir);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    bool good = len > 0 && strcmp(text, FORMAT_TEXT) == 0;
    ret_format->sealed = len > 0 && strcmp(text, FORMAT_SEALED_TEXT) == 0;
    ret_format->fresh = len == 0 && !has_journal(datadir);
    if (len == 0)
        good = write(fd, FORMAT_TEXT, strlen(FORMAT_TEXT)) == (ssize_t)strlen(FORMAT_TEXT) &&
               fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (good || ret_format->sealed)
        return OK;
    if (len <= 0) {
        snprintf(ret_why, why_bytes, "data-dir: cannot read or write %s: %s", path,
                 strerror(error));
        return ERR_UNAVAILABLE;
    }
    snprintf(ret_why, why_bytes, "data-dir: %s is in a format this version does not know", path);
    return ERR_CORRUPT;
}

static enum err write_sealed_format(const struct datadir *datadir, char *ret_why,
                                    size_t why_bytes) {
    static const char text[] = FORMAT_SEALED_TEXT;
    char path[PATH_BYTES], fresh[PATH_BYTES];
    snprintf(path, sizeof path, "%s/format", datadir->dir);
    snprintf(fresh, sizeof fresh, "%s/format.new", datadir->dir);
    int fd = open(fresh, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    bool good =
        fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    good = good && rename(fresh, path) == 0;
    int dir = good ? open(datadir->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    good = dir >= 0 && fsync(dir) == 0;
    if (dir >= 0)
        close(dir);
    if (good)
        return OK;
    snprintf(ret_why, why_bytes, "data-dir: cannot write %s: %s", path, strerror(errno));
    return ERR_UNAVAILABLE;
}

/* The keys are those the directory needs; and it knows the first before that seals anything, in a
 * format that a version which cannot open what is sealed does not take. */
static enum err check_keys(const struct datadir *datadir, const struct format *format,
                           char *ret_why, size_t why_bytes) {
    const struct seal_keys *keys = datadir->options.keys;
    bool whole;
    if (format->sealed && !keycheck_is_there(datadir->dir)) {
        snprintf(ret_why, why_bytes,
                 "data-dir: %s/encryption is missing, and says by which keys the directory is "
                 "encrypted",
                 datadir->dir);
        return ERR_CORRUPT;
    }
    enum err err = keycheck_test(datadir->dir, keys, &whole, ret_why, why_bytes);
    whole |= format->fresh;
    if (!err && keys && whole)
        seal_keys_refuse_plain(datadir->options.keys);
    if (!err && keys)
        err = keycheck_note(datadir->dir, keys, whole, ret_why, why_bytes);
    if (!err && keys && !whole)
        log_warn("%s: some of what it holds may be in plain, until `hati reencrypt` has run",
                 datadir->dir);
    return err || !keys || format->sealed ? err : write_sealed_format(datadir, ret_why, why_bytes);
}

enum err datadir_open(const struct datadir_options *options, struct datadir **ret_datadir,
                      char *ret_why, size_t why_bytes) {
    if (strlen(options->dir) >= DIR_BYTES) {
        snprintf(ret_why, why_bytes, "data-dir: the path is too long");
        return ERR_SYNTAX;
    }
    struct datadir *datadir = calloc(1, sizeof *datadir);
    if (!datadir) {
        snprintf(ret_why, why_bytes, "no memory for the data directory");
        return ERR_OUT_OF_MEMORY;
    }
    datadir->options = *options;
    datadir->left_seq = UINT64_MAX;
    snprintf(datadir->dir, sizeof datadir->dir, "%s", options->dir);
    pthread_mutex_init(&datadir->lock, NULL);
    struct format format = {false, false};
    enum err err = lock_dir(datadir, ret_why, why_bytes);
    if (!err)
        err = check_format(datadir, &format, ret_why, why_bytes);
    if (!err)
        err = check_keys(datadir, &format, ret_why, why_bytes);
    if (err) {
        datadir_close(datadir);
        return err;
    }
    *ret_datadir = datadir;
    return OK;
}

void datadir_add(struct datadir *datadir, struct datadir_store *store) {
    store->next = NULL;
    if (datadir->last_store)
        datadir->last_store->next = store;
    else
        datadir->stores = store;
    datadir->last_store = store;
}

static enum err replay(void *context, uint64_t seq, struct slice record) {
    struct datadir *datadir = context;
    if (record.len == 0 || record.ptr[0] == 0)
        return ERR_CORRUPT;
    datadir->replayed++;
    for (const struct datadir_store *store = datadir->stores; store; store = store->next) {
        if (!strchr(store->kinds, record.ptr[0]))
            continue;
        if (store->is_new)
            return ERR_CORRUPT;
        return seq > store->applied_seq ? store->replay(store->context, seq, record) : OK;
    }
    return ERR_CORRUPT;
}

static void before(void *context) {
    const struct datadir *datadir = context;
    for (const struct datadir_store *store = datadir->stores; store; store = store->next)
        store->before(store->context);
}

static void publish(void *context, uint64_t last_seq) {
    const struct datadir *datadir = context;
    for (const struct datadir_store *store = datadir->stores; store; store = store->next)
        store->publish(store->context, last_seq);
}

static void lost(void *context) {
    const struct datadir *datadir = context;
    for (const struct datadir_store *store = datadir->stores; store; store = store->next)
        if (store->lost)
            store->lost(store->context);
}

/* Up to where all stores came, and one of them. */
static void find_applied(const struct datadir *datadir, uint64_t *ret_least, uint64_t *ret_most) {
    *ret_least = datadir->left_seq;
    *ret_most = 0;
    for (const struct datadir_store *store = datadir->stores; store; store = store->next) {
        if (store->is_new)
            continue;
        if (store->applied_seq < *ret_least)
            *ret_least = store->applied_seq;
        if (store->applied_seq > *ret_most)
            *ret_most = store->applied_seq;
    }
    if (*ret_least == UINT64_MAX)
        *ret_least = 0;
}

/* What one store has and another has not is still in the journal, or something took it away. */
static enum err open_journal(struct datadir *datadir, char *ret_why, size_t why_bytes) {
    char dir[PATH_BYTES];
    uint64_t least, most;
    find_applied(datadir, &least, &most);
    snprintf(dir, sizeof dir, "%s/journal", datadir->dir);
    struct journal_options options = {.dir = dir,
                                      .segment_bytes = datadir->options.segment_bytes,
                                      .applied_seq = least,
                                      .replay = replay,
                                      .context = datadir};
    enum err err = journal_open(&options, &datadir->journal, ret_why, why_bytes);
    if (err)
        return err;
    uint64_t last_seq = journal_next_seq(datadir->journal) - 1;
    if (last_seq < most) {
        snprintf(ret_why, why_bytes,
                 "%s ends with record %" PRIu64 ", but one store has %" PRIu64
                 " already, and another only %" PRIu64 ": some of the journal is missing",
                 dir, last_seq, most, least);
        return ERR_CORRUPT;
    }
    if (datadir->replayed)
        log_info("replayed %" PRIu64 " records of the journal", datadir->replayed);
    return OK;
}

static enum err start_stores(struct datadir *datadir, char *ret_why, size_t why_bytes) {
    struct committer_options options = {.journal = datadir->journal,
                                        .interval_ms = datadir->options.durability_ms,
                                        .fatal = datadir->options.fatal,
                                        .context = datadir,
                                        .before = before,
                                        .publish = publish,
                                        .lost = lost};
    uint64_t last_seq = journal_next_seq(datadir->journal) - 1;
    for (struct datadir_store *store = datadir->stores; store; store = store->next) {
        if (store->is_new)
            store->applied_seq = last_seq;
        store->is_new = false;
    }
    enum err err = committer_open(&options, &datadir->committer);
    for (struct datadir_store *store = datadir->stores; store && !err; store = store->next)
        err = store->started(store->context);
    if (!err)
        err = committer_run(datadir->committer);
    if (err)
        snprintf(ret_why, why_bytes, "cannot start what is kept in %s: %s", datadir->dir,
                 err_text(err));
    return err;
}

enum err datadir_start(struct datadir *datadir, char *ret_why, size_t why_bytes) {
    ret_why[0] = 0;
    enum err err = open_journal(datadir, ret_why, why_bytes);
    if (!err)
        err = start_stores(datadir, ret_why, why_bytes);
    if (err && !ret_why[0])
        snprintf(ret_why, why_bytes, "cannot open the journal in %s: %s", datadir->dir,
                 err_text(err));
    if (err)
        datadir_stop(datadir);
    return err;
}

void datadir_stop(struct datadir *datadir) {
    if (!datadir->committer)
        return;
    for (const struct datadir_store *store = datadir->stores; store; store = store->next)
        store->closing(store->context);
    committer_stop(datadir->committer);
    datadir->committer = NULL;
}

void datadir_close(struct datadir *datadir) {
    if (!datadir)
        return;
    datadir_stop(datadir);
    if (datadir->journal)
        journal_close(datadir->journal);
    if (datadir->lock_fd >= 0)
        close(datadir->lock_fd);
    pthread_mutex_destroy(&datadir->lock);
    free(datadir);
}

const char *datadir_path(const struct datadir *datadir) {
    return datadir->dir;
}

const struct seal_keys *datadir_keys(const struct datadir *datadir) {
    return datadir->options.keys;
}

enum err datadir_renew_keys(struct datadir *datadir, struct seal_keys *fresh, char *ret_why,
                            size_t why_bytes) {
    bool whole;
    enum err err = keycheck_test(datadir->dir, fresh, &whole, ret_why, why_bytes);
    if (!err)
        err = keycheck_note(datadir->dir, fresh, whole, ret_why, why_bytes);
    if (err)
        seal_keys_close(fresh);
    else
        seal_keys_renew(datadir->options.keys, fresh);
    return err;
}

bool datadir_is_tight(const struct datadir *datadir, uint64_t free_bytes, uint64_t waiting_bytes) {
    struct statvfs disk;
    if (fstatvfs(datadir->lock_fd, &disk) != 0)
        return false;
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize + free_bytes;
    return room < GROWTH * waiting_bytes + MARGIN_BYTES;
}

struct journal *datadir_journal(struct datadir *datadir) {
    return datadir->journal;
}

struct committer *datadir_committer(struct datadir *datadir) {
    return datadir->committer;
}

void datadir_leave(struct datadir *datadir, struct datadir_store *store) {
    pthread_mutex_lock(&datadir->lock);
    struct datadir_store **link = &datadir->stores;
    while (*link && *link != store)
        link = &(*link)->next;
    if (*link)
        *link = store->next;
    if (store->applied_seq < datadir->left_seq)
        datadir->left_seq = store->applied_seq;
    pthread_mutex_unlock(&datadir->lock);
}

void datadir_trim(struct datadir *datadir, struct datadir_store *store, uint64_t applied_seq) {
    uint64_t least, most;
    pthread_mutex_lock(&datadir->lock);
    if (store->applied_seq < applied_seq)
        store->applied_seq = applied_seq;
    find_applied(datadir, &least, &most);
    journal_trim(datadir->journal, least);
    pthread_mutex_unlock(&datadir->lock);
}

void datadir_figures(struct datadir *datadir, struct datadir_figures *ret_figures) {
    uint64_t least, most;
    committer_figures(datadir->committer, &ret_figures->committer);
    pthread_mutex_lock(&datadir->lock);
    find_applied(datadir, &least, &most);
    pthread_mutex_unlock(&datadir->lock);
    journal_figures(datadir->journal, &ret_figures->journal);
    uint64_t last_seq = ret_figures->journal.last_seq;
    ret_figures->lag_records = last_seq > least ? last_seq - least : 0;
    uint64_t from = ret_figures->journal.skipped_from, to = ret_figures->journal.skipped_to;
    if (least + 1 < to && to <= last_seq) /* what was skipped is nothing to wait for */
        ret_figures->lag_records -= to - (from > least ? from : least + 1);
}

bool datadir_is_applied(struct datadir *datadir) {
    pthread_mutex_lock(&datadir->lock);
    bool applied = !datadir->stores && datadir->left_seq + 1 >= journal_next_seq(datadir->journal);
    pthread_mutex_unlock(&datadir->lock);
    return applied;
}

enum err datadir_drop_journal(struct datadir *datadir, char *ret_why, size_t why_bytes) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/journal", datadir->dir);
    journal_close(datadir->journal);
    datadir->journal = NULL;
    DIR *dir = opendir(path);
    bool good = dir != NULL;
    errno = 0;
    for (struct dirent *entry; good && (entry = readdir(dir));)
        if (strncmp(entry->d_name, "segment-", 8) == 0 || strncmp(entry->d_name, "spare-", 6) == 0)
            good = unlinkat(dirfd(dir), entry->d_name, 0) == 0;
    good = good && errno == 0 && fsync(dirfd(dir)) == 0;
    if (!good)
        snprintf(ret_why, why_bytes, "cannot delete the files in %s: %s", path, strerror(errno));
    if (dir)
        closedir(dir);
    return good ? OK : ERR_UNAVAILABLE;
}

enum err datadir_forget_keys(struct datadir *datadir, char *ret_why, size_t why_bytes) {
    return keycheck_note_alone(datadir->dir, datadir->options.keys, ret_why, why_bytes);
}
