/* SPDX-License-Identifier: MIT */
#include "server/http_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/datadir.h"
#include "server/http_request.h"
#include "snapshot/apply.h"
#include "snapshot/take.h"

#define KEEP_FREE_BYTES (64ULL << 20) /* for what is served from the same disk */
#define READER_IDLE_S 3600U           /* what the file is piped to may be slow */
#define NOTES_BYTES_MAX 65536U
#define VEILED_BYTES 65536U /* read at once */
#define REPLY_BYTES_MAX (NOTES_BYTES_MAX + 4096U)

enum work { WORK_EXPORT, WORK_LOOK, WORK_BEGIN, WORK_BLOCK };

struct http_snapshot {
    struct http_request *request;
    enum work work;
    _Atomic bool stop; /* the caller hung up, or the server stops */
    /* of an export */
    enum snapshot_format format;
    int fd;
    struct seal_veil *veil; /* over the file, where this node is encrypted; else NULL */
    uint64_t size_bytes;
    /* of an import */
    struct apply_options options;
    int64_t largest_bytes; /* its largest value or payload, as the caller says; 0: not told */
    struct apply_state state;
    struct buf notes; /* a JSON array's elements */
    /* outcome */
    enum err err;
    char why[APPLY_WHY_BYTES];
};

_Static_assert(TAKE_WHY_BYTES <= APPLY_WHY_BYTES, "one room for both");

/* ---- the office ---- */

void http_office_open(struct http_office *office) {
    *office = (struct http_office){.running = 0};
    pthread_mutex_init(&office->lock, NULL);
    pthread_cond_init(&office->changed, NULL);
}

void http_office_close(struct http_office *office) {
    pthread_mutex_lock(&office->lock);
    atomic_store(&office->closing, true);
    while (office->running)
        pthread_cond_wait(&office->changed, &office->lock);
    pthread_mutex_unlock(&office->lock);
}

void http_office_done(struct http_office *office) {
    pthread_cond_destroy(&office->changed);
    pthread_mutex_destroy(&office->lock);
}

static bool *desk_of(struct http_office *office, enum work work) {
    return work == WORK_EXPORT ? &office->exports : &office->imports;
}

static bool enter(struct http_office *office, enum work work) {
    pthread_mutex_lock(&office->lock);
    bool free_desk = !*desk_of(office, work) && !atomic_load(&office->closing);
    if (free_desk) {
        *desk_of(office, work) = true;
        office->running++;
    }
    pthread_mutex_unlock(&office->lock);
    return free_desk;
}

static void leave_desk(struct http_office *office, enum work work) {
    pthread_mutex_lock(&office->lock);
    *desk_of(office, work) = false;
    pthread_mutex_unlock(&office->lock);
}

static void leave(struct http_office *office) {
    pthread_mutex_lock(&office->lock);
    office->running--;
    pthread_cond_broadcast(&office->changed);
    pthread_mutex_unlock(&office->lock);
}

/* ---- paths ---- */

#define SNAPSHOT_PATH SLICE("/snapshot")

bool http_snapshot_find(struct slice path, struct http_match *to) {
    if (!slice_starts_with(path, SNAPSHOT_PATH))
        return false;
    path = slice_make(path.ptr + SNAPSHOT_PATH.len, path.len - SNAPSHOT_PATH.len);
    to->target = TARGET_SNAPSHOT;
    to->part_count = 0;
    while (path.len && path.ptr[0] == '/' && to->part_count < 2) {
        path = slice_make(path.ptr + 1, path.len - 1);
        const char *slash = path.len ? memchr(path.ptr, '/', path.len) : NULL;
        size_t len = slash ? (size_t)(slash - path.ptr) : path.len;
        to->parts[to->part_count++] = slice_make(path.ptr, len);
        path = slice_make(path.ptr + len, path.len - len);
    }
    if (path.len)
        return false;
    to->methods = to->part_count == 0   ? HTTP_GET | HTTP_HEAD | HTTP_OPTIONS
                  : to->part_count == 1 ? HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_OPTIONS
                                        : HTTP_PUT | HTTP_OPTIONS;
    return true;
}

size_t http_snapshot_body_max(const struct core *core) {
    uint64_t raw = core->payload_limit_bytes + SNAPSHOT_EXTRA_BYTES;
    if (raw < SNAPSHOT_BLOCK_BYTES)
        raw = SNAPSHOT_BLOCK_BYTES;
    return (size_t)(snapshot_pack_bound(raw) + SNAPSHOT_BLOCK_HEAD_BYTES);
}

/* ---- the work, on its thread ---- */

static struct snapshot_stores stores_of(const struct core *core,
                                        const struct engine_options *remote) {
    return (struct snapshot_stores){
        .kv = core->kv,
        .broker = core->broker,
        .committer = core->committer,
        .datadir = core->datadir,
        .remote = core->engine ? remote : NULL,
        .has_memory = true,
    };
}

/* Nobody sees the file, and nothing is left of it however this ends. */
static int open_spool(const struct config *config) {
    const char *named = getenv("TMPDIR");
    const char *dirs[] = {named && *named ? named : NULL, config->engine ? NULL : config->data_dir,
                          "/tmp"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        char path[4200];
        int fd = dirs[i] ? open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
        if (fd >= 0)
            return fd;
        snprintf(path, sizeof path, "%s/.hati-snapshot-XXXXXX", dirs[i] ? dirs[i] : "");
        fd = dirs[i] ? mkostemp(path, O_CLOEXEC) : -1;
        if (fd >= 0) {
            unlink(path);
            return fd;
        }
    }
    return -1;
}

static void do_export(struct http_snapshot *snapshot, struct snapshot_stores *stores) {
    struct take_options options = {
        .format = snapshot->format, .stop = &snapshot->stop, .keep_free_bytes = KEEP_FREE_BYTES};
    struct stat stat;
    const struct datadir *datadir = snapshot->request->server->core->datadir;
    if (datadir && datadir_keys(datadir)) /* what it keeps is plain nowhere, for no moment */
        snapshot->err = seal_veil_new(&snapshot->veil);
    if (snapshot->err)
        return;
    options.veil = snapshot->veil;
    snapshot->fd = open_spool(snapshot->request->server->config);
    if (snapshot->fd < 0) {
        snapshot->err = ERR_UNAVAILABLE;
        snprintf(snapshot->why, sizeof snapshot->why, "no temporary file can be made: %s",
                 strerror(errno));
        return;
    }
    snapshot->err = take_snapshot(stores, snapshot->fd, &options, NULL, snapshot->why);
    if (!snapshot->err && fstat(snapshot->fd, &stat))
        snapshot->err = ERR_UNAVAILABLE;
    if (snapshot->err) {
        close(snapshot->fd);
        snapshot->fd = -1;
        return;
    }
    snapshot->size_bytes = (uint64_t)stat.st_size;
}

static void keep_note(void *context, const char *line) {
    struct http_snapshot *snapshot = context;
    if (snapshot->notes.len + strlen(line) * 6 + 16 > NOTES_BYTES_MAX)
        return;
    if (snapshot->notes.len)
        buf_append_char(&snapshot->notes, ',');
    text_append_json(&snapshot->notes, slice_of_cstr(line));
}

static void refuse_largest(struct http_snapshot *snapshot) {
    snapshot->err = ERR_VALUE_TOO_LARGE;
    snprintf(snapshot->why, sizeof snapshot->why,
             "a value of %lld bytes is over the payload limit of this server (--payload-limit); "
             "nothing was changed",
             (long long)snapshot->largest_bytes);
}

static void do_import(struct http_snapshot *snapshot, struct snapshot_stores *stores) {
    const struct core *core = snapshot->request->server->core;
    struct apply_notes notes = {.note = keep_note, .context = snapshot};
    struct slice body = buf_slice(&snapshot->request->body);
    const uint8_t *id = snapshot->options.head.id;
    if (snapshot->work == WORK_LOOK)
        snapshot->err = apply_look(stores, id, &snapshot->state);
    else if (snapshot->work == WORK_BEGIN &&
             (uint64_t)snapshot->largest_bytes > core->payload_limit_bytes)
        refuse_largest(snapshot); /* before --replace drops what is there */
    else if (snapshot->work == WORK_BEGIN)
        snapshot->err = apply_begin(stores, &snapshot->options, &snapshot->state, snapshot->why);
    else
        snapshot->err = apply_block(stores, id, body, core->payload_limit_bytes, &notes,
                                    &snapshot->state, snapshot->why);
}

static void *work(void *context) {
    struct http_snapshot *snapshot = context;
    struct http_request *request = snapshot->request;
    struct http_office *office = &request->server->office;
    const struct config *config = request->server->config;
    struct engine_options remote = {.url = config->engine,
                                    .schema = config->engine_schema,
                                    .timeout_ms = config->engine_timeout_ms};
    struct snapshot_stores stores = stores_of(request->server->core, &remote);
    if (snapshot->work == WORK_EXPORT)
        do_export(snapshot, &stores);
    else
        do_import(snapshot, &stores);
    leave_desk(office, snapshot->work);
    http_request_wake(request);
    leave(office);
    return NULL;
}

/* Threads leave signals to main. */
static bool start_thread(struct http_snapshot *snapshot) {
    pthread_attr_t detached;
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &detached, work, snapshot) == 0;
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* ---- answering ---- */

/* The file behind its veil; both are the response's. */
struct veiled {
    int fd;
    struct seal_veil *veil;
};

static ssize_t read_veiled(void *context, uint64_t at, char *to, size_t room) {
    const struct veiled *veiled = context;
    ssize_t got = pread(veiled->fd, to, room, (off_t)at);
    if (got <= 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    seal_veil_turn(veiled->veil, at, slice_make(to, (size_t)got), to);
    return got;
}

static void free_veiled(void *context) {
    struct veiled *veiled = context;
    close(veiled->fd);
    seal_veil_free(veiled->veil);
    free(veiled);
}

static struct MHD_Response *veiled_response(struct http_snapshot *snapshot) {
    struct veiled *veiled = malloc(sizeof *veiled);
    if (!veiled)
        return NULL;
    *veiled = (struct veiled){snapshot->fd, snapshot->veil};
    struct MHD_Response *response = MHD_create_response_from_callback(
        snapshot->size_bytes, VEILED_BYTES, read_veiled, veiled, free_veiled);
    if (response)
        snapshot->veil = NULL;
    else
        free(veiled);
    return response;
}

static struct MHD_Response *file_response(struct http_snapshot *snapshot) {
    if (snapshot->fd < 0)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    return snapshot->veil ? veiled_response(snapshot)
                          : MHD_create_response_from_fd64(snapshot->size_bytes, snapshot->fd);
}

static enum MHD_Result reply_file(struct http_request *request, struct http_snapshot *snapshot) {
    bool is_lines = snapshot->format == SNAPSHOT_NDJSON;
    char name[96], day[32] = "";
    time_t seconds = (time_t)(request->now_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc))
        strftime(day, sizeof day, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(name, sizeof name, "attachment; filename=\"hati-%s.%s\"", day,
             is_lines ? "ndjson" : "snapshot");
    struct MHD_Response *response = file_response(snapshot);
    if (response)
        snapshot->fd = -1;
    if (response &&
        !(http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                          is_lines ? "application/x-ndjson" : "application/vnd.hati.snapshot") &&
          http_add_header(response, "Content-Disposition", name) &&
          http_add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    request->out_bytes += snapshot->size_bytes;
    request->close = true; /* nobody waits for it but who asked for it, and that may take long */
    MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT, READER_IDLE_S);
    return http_reply(request, MHD_HTTP_OK, response);
}

static enum MHD_Result reply_state(struct http_request *request,
                                   const struct http_snapshot *snapshot) {
    const struct apply_state *state = &snapshot->state;
    buf_init(&request->answer, REPLY_BYTES_MAX);
    buf_printf(&request->answer,
               "{\"known\":%s,\"done\":%s,\"replace\":%s,\"next\":{\"memory\":%llu,\"hdd\":%llu},"
               "\"notes\":[",
               state->is_known ? "true" : "false", state->is_done ? "true" : "false",
               state->replaces ? "true" : "false", (unsigned long long)state->next[KV_MEMORY],
               (unsigned long long)state->next[KV_HDD]);
    buf_append(&request->answer, buf_slice(&snapshot->notes));
    buf_append(&request->answer, SLICE("]}\n"));
    if (request->answer.failed)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, NULL);
    return http_reply_kept(request, MHD_HTTP_OK, "application/json", buf_slice(&request->answer));
}

static enum MHD_Result finish(struct http_request *request) {
    struct http_snapshot *snapshot = request->snapshot;
    if (snapshot->err)
        return http_reply_error(request, snapshot->err,
                                snapshot->why[0] ? snapshot->why : err_text(snapshot->err));
    return snapshot->work == WORK_EXPORT ? reply_file(request, snapshot)
                                         : reply_state(request, snapshot);
}

/* An export ends when nobody waits for it. What comes in is taken to the end of its block. */
static void stop(struct http_parked *parked) {
    struct http_snapshot *snapshot = http_request_of(parked)->snapshot;
    atomic_store(&snapshot->stop, true);
}

/* ---- asking ---- */

struct query_pass {
    struct http_snapshot *snapshot;
    const char *fault;
};

static bool take_flag(struct slice value, bool *to) {
    *to = slice_equal(value, SLICE("true"));
    return *to || slice_equal(value, SLICE("false"));
}

static enum MHD_Result take_query(void *context, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len) {
    struct query_pass *pass = context;
    struct http_snapshot *snapshot = pass->snapshot;
    struct slice word = slice_make(name, name_len);
    struct slice text = slice_make(value ? value : "", value ? value_len : 0);
    bool begins = snapshot->work == WORK_BEGIN;
    (void)kind;
    if (snapshot->work == WORK_EXPORT && slice_equal(word, SLICE("format"))) {
        if (!snapshot_format_parse(text, &snapshot->format))
            pass->fault = "format is hati or ndjson";
    } else if (begins && slice_equal(word, SLICE("replace"))) {
        if (!take_flag(text, &snapshot->options.replace))
            pass->fault = "replace is true or false";
    } else if (begins && slice_equal(word, SLICE("again"))) {
        if (!take_flag(text, &snapshot->options.again))
            pass->fault = "again is true or false";
    } else if (begins && slice_equal(word, SLICE("largest"))) {
        if (!slice_parse_i64(text, &snapshot->largest_bytes) || snapshot->largest_bytes < 0)
            pass->fault = "largest is a number of bytes";
    } else {
        pass->fault = "the query has a parameter that is unknown";
    }
    return pass->fault ? MHD_NO : MHD_YES;
}

/* NULL, or what is wrong. */
static const char *read_request(struct http_request *request, struct http_snapshot *snapshot) {
    const struct http_match *match = &request->match;
    struct query_pass pass = {.snapshot = snapshot};
    struct slice body = buf_slice(&request->body);
    uint8_t id[SNAPSHOT_ID_BYTES];
    int64_t number;
    snapshot->work = match->part_count == 0         ? WORK_EXPORT
                     : match->part_count == 2       ? WORK_BLOCK
                     : request->method == HTTP_POST ? WORK_BEGIN
                                                    : WORK_LOOK;
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, take_query, &pass);
    if (pass.fault || snapshot->work == WORK_EXPORT)
        return pass.fault;
    if (!snapshot_id_parse(match->parts[0], id))
        return "a snapshot's id has 32 hexadecimal digits";
    if (snapshot->work == WORK_BEGIN) {
        if (body.len != SNAPSHOT_HEAD_BYTES)
            return "the body is the head of the file";
        const char *fault = snapshot_head_read(body.ptr, &snapshot->options.head);
        if (fault)
            return fault;
        if (memcmp(id, snapshot->options.head.id, sizeof id) != 0)
            return "the path names another file than the body";
    }
    memcpy(snapshot->options.head.id, id, sizeof id);
    if (snapshot->work != WORK_BLOCK)
        return NULL;
    struct snapshot_block block;
    const char *fault = body.len < SNAPSHOT_BLOCK_HEAD_BYTES
                            ? "a block is cut off"
                            : snapshot_block_read(body.ptr, &block);
    if (!fault && (!slice_parse_i64(match->parts[1], &number) || number < 0 ||
                   (uint64_t)number != block.number))
        fault = "the path names another block than the body";
    return fault;
}

void http_snapshot_free(struct http_snapshot *snapshot) {
    if (!snapshot)
        return;
    if (snapshot->fd >= 0)
        close(snapshot->fd);
    seal_veil_free(snapshot->veil);
    buf_done(&snapshot->notes);
    free(snapshot);
}

static enum MHD_Result begin(struct http_request *request, struct http_snapshot *snapshot) {
    struct http_office *office = &request->server->office;
    if (!enter(office, snapshot->work))
        return http_reply_error(request, ERR_UNAVAILABLE,
                                snapshot->work == WORK_EXPORT ? "another snapshot is being taken"
                                                              : "another import is at work");
    http_request_begin_wait(request, stop);
    if (start_thread(snapshot))
        return http_request_park(request, finish);
    http_request_settle(request);
    leave_desk(office, snapshot->work);
    leave(office);
    return http_reply_error(request, ERR_OUT_OF_MEMORY, "no thread can be started");
}

/* Everything of everybody goes out, or comes in: a token that opens one workspace is none for that,
 * unless it says admin. */
static enum err may(const struct auth_grant *grant, int64_t now_ms) {
    bool of_one = !grant->everything && grant->has_workspace && !grant->has_scope;
    enum err err = auth_allows(grant, AUTH_ADMIN, SLICE(""), now_ms);
    return !err && of_one ? ERR_FORBIDDEN : err;
}

enum MHD_Result http_snapshot_run(struct http_request *request) {
    enum err err = may(request->grant, request->now_ms);
    if (err)
        return http_reply_error(request, err,
                                err == ERR_FORBIDDEN ? "a snapshot takes a token with scope admin"
                                                     : NULL);
    struct http_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, NULL);
    snapshot->request = request;
    snapshot->fd = -1;
    buf_init(&snapshot->notes, NOTES_BYTES_MAX);
    request->snapshot = snapshot;
    const char *fault = read_request(request, snapshot);
    if (!fault && request->method == HTTP_HEAD && snapshot->work == WORK_EXPORT)
        return reply_file(request, snapshot); /* none is taken to be thrown away */
    return fault ? http_reply_error(request, ERR_SYNTAX, fault) : begin(request, snapshot);
}
