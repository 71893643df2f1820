/* SPDX-License-Identifier: MIT */
#include "server/line_follow.h"

#include <stdlib.h>

#include "server/feed_render.h"
#include "server/line_conn.h"
#include "server/line_render.h"

#define ROUNDS_MAX 16U     /* of reading in one turn, so that other connections go on */
#define FOLLOWS_MAX 256U   /* of a connection, subscriptions among them */
#define CHUNK_BYTES 65536U /* rendered before it is looked whether there is room */
#define OPTIONS_MAX 4U     /* words */

enum follow_state {
    FOLLOW_IDLE,   /* may read */
    FOLLOW_WAITS,  /* the feed wakes it */
    FOLLOW_YIELDED /* woken by itself, to go on in the loop's next round */
};

struct line_follow {
    struct line_woken woken;
    struct feed_reader reader;
    struct line_conn *conn; /* NULL: nobody waits any more */
    struct line_follow *next;
    enum follow_state state;
    bool values;
    bool workspace_named;
    struct kv_ref ref; /* its namespace is in bytes */
    size_t enough;     /* where in the loop's out a round ends */
    char bytes[];      /* namespace, prefix */
};

/* WATCH as it was asked. */
struct wanted {
    struct kv_ref ref;
    bool workspace_named, values;
    struct slice prefix;
    enum feed_from from;
    uint64_t revision;
};

static struct slice type_name(const struct line_follow *follow) {
    return follow->ref.storage == KV_MEMORY ? SLICE("memory") : SLICE("hdd");
}

static void free_follow(struct line_follow *follow) {
    feed_close(&follow->reader);
    free(follow);
}

static void come_back(struct line_woken *woken) {
    struct line_follow *follow = (struct line_follow *)woken;
    woken->loop->in_flight--;
    follow->state = FOLLOW_IDLE;
    if (follow->conn)
        line_loop_touch(woken->loop, follow->conn);
    else
        free_follow(follow);
}

static void on_news(struct feed_reader *reader) {
    struct line_follow *follow =
        (struct line_follow *)(void *)((char *)reader - offsetof(struct line_follow, reader));
    line_loop_wake(&follow->woken);
}

/* One that waits is woken, and freed when it has come back. */
static void end_follow(struct line_follow *follow) {
    struct line_conn *conn = follow->conn;
    struct line_follow **at = &conn->follows;
    while (*at != follow)
        at = &(*at)->next;
    *at = follow->next;
    conn->sub_count--;
    follow->conn = NULL;
    if (follow->state == FOLLOW_IDLE)
        free_follow(follow);
    else if (follow->state == FOLLOW_WAITS)
        feed_stop(&follow->reader);
}

void line_follows_end(struct line_conn *conn) {
    while (conn->follows)
        end_follow(conn->follows);
}

/* ---- what is pushed ---- */

static void begin_line(struct line_follow *follow, struct slice word) {
    struct buf *out = &follow->woken.loop->out;
    buf_append(out, word);
    buf_append_char(out, ' ');
    buf_append(out, type_name(follow));
    buf_append_char(out, ' ');
}

static bool render_change(void *context, const struct feed_change *change) {
    struct line_follow *follow = context;
    struct buf *out = &follow->woken.loop->out;
    begin_line(follow, SLICE("CHANGE"));
    feed_render_change(out, change, follow->values);
    buf_append_char(out, '\n');
    return out->len < follow->enough;
}

static void render_place(struct line_follow *follow, struct slice word) {
    struct buf *out = &follow->woken.loop->out;
    begin_line(follow, word);
    feed_render_place(out, follow->reader.revision);
    buf_append_char(out, '\n');
}

/* A watch that ends without being asked to says why, once. */
static void fail_follow(struct line_follow *follow, enum err err) {
    line_render_error(&follow->woken.loop->out, err, "the watch ended");
    end_follow(follow);
}

static enum err may_follow(const struct line_conn *conn, const struct kv_ref *ref,
                           bool workspace_named) {
    enum err err = auth_allows(conn->grant, AUTH_KV_READ, ref->ns, line_loop_now_ms(conn->loop));
    return !err && workspace_named ? auth_allows_workspace(conn->grant, &ref->workspace) : err;
}

static bool has_room(struct line_conn *conn) {
    if (conn->loop->out.len >= LINE_FLUSH_BYTES)
        line_conn_flush(conn);
    return !conn->broken && conn->backlog_bytes <= LINE_BACKLOG_BYTES;
}

/* False where there is nothing more to do now. */
static bool read_some(struct line_follow *follow) {
    struct line_loop *loop = follow->woken.loop;
    enum err err = may_follow(follow->conn, &follow->ref, follow->workspace_named);
    if (err) {
        fail_follow(follow, err);
        return false;
    }
    follow->enough = loop->out.len + CHUNK_BYTES;
    switch (feed_read(&follow->reader, render_change, follow)) {
    case FEED_READY:
        render_place(follow, SLICE("READY"));
        return true;
    case FEED_RESYNC:
        render_place(follow, SLICE("RESYNC"));
        return true;
    case FEED_CHANGES:
    case FEED_BEAT:
        return true;
    case FEED_WAIT:
        follow->state = FOLLOW_WAITS;
        loop->in_flight++;
        return false;
    case FEED_OVER:
        fail_follow(follow, ERR_UNAVAILABLE);
        return false;
    }
    return false;
}

static void go_on(struct line_follow *follow) {
    struct line_loop *loop = follow->woken.loop;
    struct line_conn *conn = follow->conn;
    for (unsigned round = 0; follow->state == FOLLOW_IDLE && has_room(conn); round++) {
        if (round == ROUNDS_MAX) {
            follow->state = FOLLOW_YIELDED;
            loop->in_flight++;
            line_loop_wake(&follow->woken);
            return;
        }
        if (!read_some(follow))
            return;
        if (loop->out.failed) {
            conn->broken = true;
            return;
        }
    }
}

void line_follows_go_on(struct line_conn *conn) {
    if (conn->loop->stopping || conn->quitting || conn->eof) {
        line_follows_end(conn);
        return;
    }
    struct line_follow *next;
    for (struct line_follow *follow = conn->follows; follow; follow = next) {
        next = follow->next;
        go_on(follow);
    }
}

/* ---- the words ---- */

static enum err answer_error(struct buf *to, enum err err, const char *text) {
    line_render_error(to, err, text);
    return err;
}

static enum err answer_ok(struct buf *to) {
    return buf_append(to, SLICE("+OK\n")) ? OK : ERR_OUT_OF_MEMORY;
}

static struct slice take_word(struct slice *args) {
    const char *space = args->len ? memchr(args->ptr, ' ', args->len) : NULL;
    struct slice word = slice_make(args->ptr, space ? (size_t)(space - args->ptr) : args->len);
    size_t taken = word.len + (space != NULL);
    *args = slice_make(args->ptr + taken, args->len - taken);
    return word;
}

static bool parse_option(struct slice word, struct wanted *wanted) {
    struct slice since = SLICE("since=");
    int64_t revision;
    if (slice_equal(word, SLICE("values"))) {
        wanted->values = true;
        return true;
    }
    if (!slice_starts_with(word, since) ||
        !slice_parse_i64(slice_make(word.ptr + since.len, word.len - since.len), &revision) ||
        revision < 0)
        return false;
    wanted->from = FEED_FROM_REVISION;
    wanted->revision = (uint64_t)revision;
    return true;
}

static enum err parse_type(struct slice word, enum kv_storage *ret_storage) {
    if (slice_equal(word, SLICE("memory")))
        *ret_storage = KV_MEMORY;
    else if (slice_equal(word, SLICE("hdd")))
        *ret_storage = KV_HDD;
    else
        return ERR_STORAGE_TYPE_INVALID;
    return OK;
}

/* <type> [prefix] [option ...] */
static enum err parse(const struct line_conn *conn, struct slice args, struct wanted *wanted) {
    const struct line_place *place = conn->place;
    *wanted = (struct wanted){
        .ref = {.workspace = conn->loop->core->default_workspace, .ns = SLICE("default")}};
    if (place) {
        wanted->ref.workspace = place->workspace;
        wanted->ref.ns = place->ns;
        wanted->workspace_named = place->workspace_named;
    }
    if (args.len == 0)
        return ERR_SYNTAX;
    enum err err = parse_type(take_word(&args), &wanted->ref.storage);
    if (err)
        return err;
    wanted->prefix = take_word(&args);
    if (slice_equal(wanted->prefix, SLICE("*")))
        wanted->prefix = SLICE("");
    if (wanted->prefix.len > KV_KEY_MAX ||
        (wanted->prefix.len && memchr(wanted->prefix.ptr, '\0', wanted->prefix.len)))
        return ERR_KEY_INVALID;
    for (unsigned i = 0; args.len; i++)
        if (i == OPTIONS_MAX || !parse_option(take_word(&args), wanted))
            return ERR_SYNTAX;
    return OK;
}

static struct line_follow *find(const struct line_conn *conn, const struct wanted *wanted) {
    struct line_follow *at = conn->follows;
    while (at &&
           !(at->ref.storage == wanted->ref.storage &&
             memcmp(&at->ref.workspace, &wanted->ref.workspace, sizeof at->ref.workspace) == 0 &&
             slice_equal(at->ref.ns, wanted->ref.ns) &&
             slice_equal(at->reader.prefix, wanted->prefix)))
        at = at->next;
    return at;
}

static enum err open_follow(struct line_conn *conn, const struct wanted *wanted) {
    size_t ns_len = wanted->ref.ns.len;
    struct line_follow *follow = calloc(1, sizeof *follow + ns_len + wanted->prefix.len);
    if (!follow)
        return ERR_OUT_OF_MEMORY;
    memcpy(follow->bytes, wanted->ref.ns.ptr, ns_len);
    if (wanted->prefix.len)
        memcpy(follow->bytes + ns_len, wanted->prefix.ptr, wanted->prefix.len);
    follow->ref = wanted->ref;
    follow->ref.ns = slice_make(follow->bytes, ns_len);
    follow->reader.prefix = slice_make(follow->bytes + ns_len, wanted->prefix.len);
    follow->reader.wake = on_news;
    follow->values = wanted->values;
    follow->workspace_named = wanted->workspace_named;
    follow->woken = (struct line_woken){.loop = conn->loop, .come_back = come_back};
    enum err err = feed_open(conn->loop->core->kv, &follow->ref, wanted->from, wanted->revision,
                             &follow->reader);
    if (err) {
        free(follow);
        return err;
    }
    follow->conn = conn;
    follow->next = conn->follows;
    conn->follows = follow;
    conn->sub_count++;
    return OK;
}

enum err line_watch_run(struct line_conn *conn, struct slice args, struct buf *to) {
    struct wanted wanted;
    enum err err = auth_allows(conn->grant, AUTH_ANY, SLICE(""), line_loop_now_ms(conn->loop));
    if (err)
        return answer_error(to, err, err_text(err));
    err = parse(conn, args, &wanted);
    if (err == ERR_SYNTAX)
        return answer_error(to, err, "WATCH <type> [prefix] [since=<revision>] [values]");
    if (!err)
        err = may_follow(conn, &wanted.ref, wanted.workspace_named);
    if (err)
        return answer_error(to, err, err_text(err));
    if (find(conn, &wanted))
        return answer_error(to, ERR_CONFLICT, "this connection watches that already");
    if (conn->sub_count >= FOLLOWS_MAX)
        return answer_error(to, ERR_UNAVAILABLE, "a connection has 256 subscriptions at most");
    err = open_follow(conn, &wanted);
    if (err == ERR_UNAVAILABLE)
        return answer_error(to, err, "too many watch already, or this storage cannot be watched");
    return err ? answer_error(to, err, err_text(err)) : answer_ok(to);
}

enum err line_unwatch_run(struct line_conn *conn, struct slice args, struct buf *to) {
    struct wanted wanted;
    enum err err = auth_allows(conn->grant, AUTH_ANY, SLICE(""), line_loop_now_ms(conn->loop));
    if (err)
        return answer_error(to, err, err_text(err));
    err = parse(conn, args, &wanted);
    if (err == ERR_SYNTAX || (!err && (wanted.values || wanted.from != FEED_FROM_NOW)))
        return answer_error(to, ERR_SYNTAX, "UNWATCH <type> [prefix]");
    if (err)
        return answer_error(to, err, err_text(err));
    struct line_follow *follow = find(conn, &wanted);
    if (follow)
        end_follow(follow);
    return answer_ok(to);
}
