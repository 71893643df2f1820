/* SPDX-License-Identifier: MIT */
/* `hati export` and `hati import` of snapshots. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/backup.h"
#include "server/commands.h"
#include "snapshot/check.h"
#include "snapshot/ndjson.h"
#include "snapshot/reader.h"

#define PATIENCE_MS 30000 /* for a server that was lost on the way */
#define PAUSE_MS 500
#define PATH_BYTES 4200
#define COPY_BYTES 65536U

static int refuse(const char *command, enum backup_status status, const char *why) {
    backup_progress_end();
    fprintf(stderr, "hati %s: %s\n", command, why);
    return (int)status;
}

static enum backup_status open_place(const struct backup_options *options, bool is_import,
                                     struct backup_place *ret_place, char *why) {
    return options->is_direct ? backup_open_stores(options, is_import, ret_place, why)
                              : backup_open_server(options, ret_place, why);
}

static enum backup_status fail_errno(char *why, enum backup_status status, const char *doing,
                                     const char *path) {
    snprintf(why, BACKUP_WHY_BYTES, "%s %.300s: %s", doing, path, strerror(errno));
    return status;
}

/* ---- export ---- */

/* The whole file as it stands on the disk is read again, before it takes its name. */
static enum backup_status check_written(int fd, enum snapshot_format format, char *why) {
    char fault[SNAPSHOT_WHY_BYTES] = "";
    if (format == SNAPSHOT_NDJSON || snapshot_check(fd, NULL, NULL, NULL, fault))
        return BACKUP_GOOD;
    snprintf(why, BACKUP_WHY_BYTES, "what was written is not what was sent: %s", fault);
    return BACKUP_REFUSED;
}

/* The name is on the disk as well as the bytes. */
static bool sync_directory(const char *path) {
    char copy[PATH_BYTES];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return synced;
}

static enum backup_status export_to_file(const struct backup_options *options,
                                         struct backup_place *place, char *why) {
    char part[PATH_BYTES];
    if ((size_t)snprintf(part, sizeof part, "%s.part-%d", options->file, (int)getpid()) >=
        sizeof part) {
        snprintf(why, BACKUP_WHY_BYTES, "the file's name is too long");
        return BACKUP_USAGE;
    }
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(why, BACKUP_USAGE, "cannot write", part);
    enum backup_status status = place->export(place->context, fd, why);
    if (!status)
        status = check_written(fd, options->format, why);
    if (!status && (fsync(fd) || rename(part, options->file) || !sync_directory(options->file)))
        status = fail_errno(why, BACKUP_REFUSED, "cannot write", options->file);
    close(fd);
    if (status)
        unlink(part);
    return status;
}

static enum backup_status export_to(const struct backup_options *options,
                                    struct backup_place *place, char *why) {
    if (strcmp(options->file, "-") != 0)
        return export_to_file(options, place, why);
    if (options->format == SNAPSHOT_PACKED && isatty(STDOUT_FILENO)) {
        snprintf(why, BACKUP_WHY_BYTES, "a snapshot is no text: name a file, or pipe it");
        return BACKUP_USAGE;
    }
    return place->export(place->context, STDOUT_FILENO, why);
}

int command_export(int argc, char **argv) {
    struct backup_options options;
    struct backup_place place;
    char why[BACKUP_WHY_BYTES] = "";
    signal(SIGPIPE, SIG_IGN);
    enum backup_status status = BACKUP_USAGE;
    if (backup_options_read(argc, argv, false, &options, why)) {
        log_set_level(LOG_WARN);
        status = open_place(&options, false, &place, why);
        if (!status) {
            backup_progress_begin(options.quiet, "export", !options.is_direct);
            status = export_to(&options, &place, why);
            backup_progress_end();
            place.close(place.context);
        }
    }
    backup_options_done(&options);
    return status ? refuse("export", status, why) : 0;
}

/* ---- import: the file ---- */

static int make_temporary(void) {
    const char *named = getenv("TMPDIR");
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/hati-import-XXXXXX", named && *named ? named : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

/* A pipe is read once, and the file twice. Closes from. -1: why. */
static int keep_pipe(int from, char *why) {
    char *bytes = malloc(COPY_BYTES);
    int to = bytes ? make_temporary() : -1;
    ssize_t got = to >= 0 ? 1 : -1;
    uint64_t done = 0;
    while (got > 0) {
        got = snapshot_read_all(from, bytes, COPY_BYTES);
        if (got > 0 && snapshot_write_all(to, slice_make(bytes, (size_t)got)))
            got = -1;
        backup_progress_show(done += got > 0 ? (uint64_t)got : 0, 0);
    }
    if (got < 0) {
        fail_errno(why, BACKUP_USAGE, "cannot keep", "what comes in");
        if (to >= 0)
            close(to);
        to = -1;
    }
    free(bytes);
    close(from);
    return to;
}

/* Lines become blocks. Closes lines. -1: why. */
static int pack_lines(int lines, char *why) {
    char line_why[SNAPSHOT_WHY_BYTES] = "";
    int packed = make_temporary();
    if (packed < 0) {
        fail_errno(why, BACKUP_USAGE, "cannot make", "a temporary file");
    } else if (!ndjson_pack(lines, packed, line_why, sizeof line_why)) {
        snprintf(why, BACKUP_WHY_BYTES, "%s; nothing was changed", line_why);
        close(packed);
        packed = -1;
    }
    close(lines);
    return packed;
}

/* A file of blocks that can be read again and again. -1: why. */
static int open_file(const char *path, char *why) {
    char first = 0;
    struct stat stat;
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat)) {
        fail_errno(why, BACKUP_USAGE, "cannot read", path);
        return -1;
    }
    if (S_ISDIR(stat.st_mode)) {
        errno = EISDIR;
        fail_errno(why, BACKUP_USAGE, "cannot read", path);
        close(fd);
        return -1;
    }
    if (!S_ISREG(stat.st_mode) || is_stdin)
        fd = keep_pipe(fd, why);
    if (fd < 0)
        return -1;
    lseek(fd, 0, SEEK_SET);
    if (pread(fd, &first, 1, 0) == 1 && ndjson_begins(slice_make(&first, 1)))
        fd = pack_lines(fd, why);
    return fd;
}

static uint64_t size_of(int fd) {
    struct stat stat;
    return fstat(fd, &stat) ? 0 : (uint64_t)stat.st_size;
}

static void show_check(uint64_t at_bytes, void *context) {
    backup_progress_show(at_bytes, *(const uint64_t *)context);
}

/* Every byte is judged before anything is changed. */
static bool check_file(int fd, uint64_t *ret_largest_bytes, char *why) {
    char fault[SNAPSHOT_WHY_BYTES] = "";
    uint64_t size_bytes = size_of(fd);
    if (snapshot_check(fd, show_check, &size_bytes, ret_largest_bytes, fault))
        return true;
    snprintf(why, BACKUP_WHY_BYTES, "%s; nothing was changed", fault);
    return false;
}

/* ---- import: sending ---- */

struct sending {
    struct backup_options *options;
    struct backup_place *place;
    int fd;
    uint64_t size_bytes;
    bool has_begun;
    uint64_t sent; /* blocks, so far */
    struct apply_state state;
    char *why;
};

static bool is_wanted(const struct sending *sending, const struct snapshot_block *block) {
    return block->class == SNAPSHOT_END ? !sending->state.is_done
                                        : block->number >= sending->state.next[block->storage];
}

static enum backup_status send_blocks(struct sending *sending, struct snapshot_reader *reader) {
    struct backup_place *place = sending->place;
    enum backup_status status = BACKUP_GOOD;
    enum snapshot_read read = SNAPSHOT_READ_BLOCK;
    while (!status && read == SNAPSHOT_READ_BLOCK) {
        read = snapshot_reader_next(reader);
        if (read == SNAPSHOT_READ_BAD) {
            snprintf(sending->why, BACKUP_WHY_BYTES, "the file changed meanwhile: %.300s",
                     reader->why);
            return BACKUP_USAGE;
        }
        if (is_wanted(sending, &reader->block)) {
            status = place->block(place->context, reader->head.id, reader->block.number,
                                  buf_slice(&reader->bytes), &sending->state, sending->why);
            sending->sent += !status;
        }
        backup_progress_show(reader->at, sending->size_bytes);
    }
    return status;
}

/* From where it was cut off. */
static enum backup_status send_file(struct sending *sending) {
    struct snapshot_reader reader;
    enum backup_status status = BACKUP_USAGE;
    lseek(sending->fd, 0, SEEK_SET);
    if (snapshot_reader_open(&reader, sending->fd, NULL, NULL))
        status = sending->place->begin(sending->place->context, reader.bytes.ptr, &sending->state,
                                       sending->why);
    else
        snprintf(sending->why, BACKUP_WHY_BYTES, "%.300s", reader.why);
    if (!status) {
        sending->has_begun = true;
        status = send_blocks(sending, &reader);
    }
    snapshot_reader_done(&reader);
    return status;
}

static void pause_ms(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* A server that was lost on the way may come back: what it has taken in it knows. One that was
 * never there is told at once. */
static enum backup_status send_until_done(struct sending *sending) {
    bool again = sending->options->again;
    uint64_t sent = 0;
    int64_t lost_ms = 0;
    for (;;) {
        enum backup_status status = send_file(sending);
        if (status != BACKUP_AWAY || !sending->has_begun || sending->options->is_direct)
            return status;
        sending->options->again = false; /* it did begin anew */
        int64_t now_ms = clock_steady_ms();
        if (!lost_ms || sending->sent > sent)
            lost_ms = now_ms;
        sent = sending->sent;
        if (now_ms - lost_ms > PATIENCE_MS)
            break;
        pause_ms(PAUSE_MS);
    }
    size_t len = strlen(sending->why);
    snprintf(sending->why + len, BACKUP_WHY_BYTES - len,
             "; the same command%s goes on where it was", again ? " without --again" : "");
    return BACKUP_AWAY;
}

static enum backup_status import_from(struct backup_options *options, int fd, char *why) {
    struct backup_place place;
    struct sending sending = {
        .options = options, .place = &place, .fd = fd, .size_bytes = size_of(fd), .why = why};
    enum backup_status status = open_place(options, true, &place, why);
    if (status)
        return status;
    backup_progress_begin(options->quiet, "import", true);
    status = send_until_done(&sending);
    backup_progress_end();
    place.close(place.context);
    return status;
}

int command_import_snapshot(int argc, char **argv) {
    struct backup_options options;
    char why[BACKUP_WHY_BYTES] = "";
    signal(SIGPIPE, SIG_IGN);
    enum backup_status status = BACKUP_USAGE;
    if (backup_options_read(argc, argv, true, &options, why)) {
        log_set_level(LOG_WARN);
        backup_progress_begin(options.quiet, "check", true);
        int fd = open_file(options.file, why);
        bool good = fd >= 0 && check_file(fd, &options.largest_bytes, why);
        backup_progress_end();
        if (good)
            status = import_from(&options, fd, why);
        if (fd >= 0)
            close(fd);
    }
    backup_options_done(&options);
    return status ? refuse("import", status, why) : 0;
}
