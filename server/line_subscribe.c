/* SPDX-License-Identifier: MIT */
#include "server/line_subscribe.h"

#include <stdlib.h>

#include "handlers/spans.h"
#include "server/line_conn.h"
#include "server/line_held.h"
#include "server/line_render.h"

#define PREFETCH_DEFAULT 16
#define ASK_MAX 256U           /* messages asked for at once */
#define ROUNDS_MAX 16U         /* of asking in one turn, so that other connections go on */
#define SUBSCRIPTIONS_MAX 256U /* of a connection */

enum sub_state {
    SUB_IDLE,    /* may ask */
    SUB_ASKED,   /* the broker has the receive: done comes */
    SUB_READY,   /* the receive is back */
    SUB_YIELDED, /* woken by itself, to go on in the loop's next round */
    SUB_OVER     /* the broker drains: nothing comes any more */
};

struct line_sub {
    struct line_woken woken;
    struct line_conn *conn; /* NULL: nobody waits any more */
    struct line_sub *next;
    enum sub_state state;
    unsigned written; /* of the receive's messages */
    int64_t prefetch;
    struct broker_consumer consumer;
    struct broker_receive receive;
    size_t name_len;
    char name[];
};

static struct slice name_of(const struct line_sub *sub) {
    return slice_make(sub->name, sub->name_len);
}

/* What came and was not written is ready again at once. */
static void give_back_rest(struct line_sub *sub) {
    struct broker *broker = sub->woken.loop->core->broker;
    struct broker_receive rest = sub->receive;
    rest.deliveries += sub->written;
    rest.count -= sub->written;
    if (rest.count)
        broker_give_back(broker, &rest);
    broker_receive_free(&sub->receive);
}

static void is_ready(struct line_sub *sub) {
    sub->state = SUB_READY;
    spans_delivered(sub->woken.loop->core, NULL, name_of(sub), &sub->receive);
}

/* The loop has it back from the broker, or from itself. */
static void come_back(struct line_woken *woken) {
    struct line_sub *sub = (struct line_sub *)woken;
    struct line_loop *loop = woken->loop;
    loop->in_flight--;
    if (!sub->conn) {
        if (sub->state == SUB_ASKED)
            give_back_rest(sub);
        free(sub);
        return;
    }
    if (sub->state == SUB_ASKED)
        is_ready(sub);
    else
        sub->state = SUB_IDLE;
    line_loop_touch(loop, sub->conn);
}

static void on_done(struct broker_receive *receive) {
    struct line_sub *sub = receive->context;
    line_loop_wake(&sub->woken);
}

static struct line_sub *find_sub(struct line_conn *conn, struct slice name) {
    struct line_sub *sub = conn->subs;
    while (sub && !slice_equal(name_of(sub), name))
        sub = sub->next;
    return sub;
}

/* The object stays until the broker has let go of its receive. */
static void end_sub(struct line_sub *sub) {
    struct line_conn *conn = sub->conn;
    struct line_sub **at = &conn->subs;
    while (*at != sub)
        at = &(*at)->next;
    *at = sub->next;
    conn->sub_count--;
    if (conn->broken) /* nor is it known what of this receive was heard */
        sub->written = 0;
    sub->conn = NULL;
    broker_consumer_close(sub->woken.loop->core->broker, &sub->consumer);
    if (sub->state == SUB_ASKED || sub->state == SUB_YIELDED)
        return;
    if (sub->state == SUB_READY)
        give_back_rest(sub);
    free(sub);
}

void line_subscriptions_end(struct line_conn *conn) {
    while (conn->subs)
        end_sub(conn->subs);
}

/* A subscription that ends without being asked to says why, once. */
static void fail_sub(struct line_sub *sub, enum err err) {
    struct buf *out = &sub->woken.loop->out;
    char text[BROKER_NAME_MAX + 64];
    snprintf(text, sizeof text, "the subscription to %.*s ended: %s", (int)sub->name_len, sub->name,
             err_text(err));
    line_render_error(out, err, text);
    if (out->failed)
        sub->conn->broken = true;
    end_sub(sub);
}

/* Asks the broker. False where the answer comes later, or it must not be asked (any more). */
static bool ask(struct line_sub *sub) {
    struct line_loop *loop = sub->woken.loop;
    enum err err =
        auth_allows(sub->conn->grant, AUTH_BROKER_CONSUME, name_of(sub), line_loop_now_ms(loop));
    if (err) {
        fail_sub(sub, err);
        return false;
    }
    sub->receive = (struct broker_receive){
        .consumer = &sub->consumer,
        .max = sub->prefetch < ASK_MAX ? (unsigned)sub->prefetch : ASK_MAX,
        .wait_ms = -1,
        .max_bytes = core_receive_bytes(loop->core),
        .done = on_done,
        .context = sub,
    };
    sub->written = 0;
    sub->state = SUB_ASKED;
    loop->in_flight++;
    err = broker_receive(loop->core->broker, &sub->receive);
    if (err == ERR_PENDING)
        return false;
    loop->in_flight--;
    sub->receive.err = err;
    is_ready(sub);
    return true;
}

static bool has_room(struct line_conn *conn) {
    if (conn->loop->out.len >= LINE_FLUSH_BYTES)
        line_conn_flush(conn);
    return !conn->broken && conn->backlog_bytes <= LINE_BACKLOG_BYTES;
}

/* Writes what came. False where it is not all written yet, or the subscription ended. */
static bool write_ready(struct line_sub *sub) {
    struct line_conn *conn = sub->conn;
    struct broker_receive *receive = &sub->receive;
    if (receive->err) {
        fail_sub(sub, receive->err);
        return false;
    }
    while (sub->written < receive->count && has_room(conn)) {
        line_render_message(&conn->loop->out, &receive->deliveries[sub->written]);
        if (conn->loop->out.failed) {
            conn->broken = true;
            return false;
        }
        sub->written++;
    }
    if (sub->written < receive->count)
        return false;
    sub->state = receive->count ? SUB_IDLE : SUB_OVER;
    if (receive->count)
        line_held_add(conn->loop, receive);
    else
        broker_receive_free(receive);
    return true;
}

static void yield_turn(struct line_sub *sub) {
    sub->state = SUB_YIELDED;
    sub->woken.loop->in_flight++;
    line_loop_wake(&sub->woken);
}

static void go_on(struct line_sub *sub) {
    for (unsigned round = 0; has_room(sub->conn); round++) {
        if (sub->state == SUB_IDLE && round == ROUNDS_MAX) {
            yield_turn(sub);
            return;
        }
        if (sub->state == SUB_IDLE && !ask(sub))
            return;
        if (sub->state != SUB_READY || !write_ready(sub))
            return;
    }
}

void line_subscriptions_go_on(struct line_conn *conn) {
    if (conn->loop->stopping || conn->quitting || conn->eof) {
        line_subscriptions_end(conn);
        return;
    }
    struct line_sub *next;
    for (struct line_sub *sub = conn->subs; sub; sub = next) {
        next = sub->next;
        go_on(sub);
    }
}

static enum err answer_error(struct buf *to, enum err err, const char *text) {
    line_render_error(to, err, text);
    return err;
}

static enum err answer_ok(struct buf *to) {
    return buf_append(to, SLICE("+OK\n")) ? OK : ERR_OUT_OF_MEMORY;
}

/* Splits <queue> [prefetch]. */
static bool parse_args(struct slice args, struct slice *ret_queue, int64_t *ret_prefetch) {
    const char *space = args.len ? memchr(args.ptr, ' ', args.len) : NULL;
    struct slice queue = args;
    int64_t prefetch = PREFETCH_DEFAULT;
    if (space) {
        queue.len = (size_t)(space - args.ptr);
        struct slice word = slice_make(space + 1, args.len - queue.len - 1);
        if (!slice_parse_i64(word, &prefetch))
            return false;
    }
    if (queue.len == 0 || queue.len > BROKER_NAME_MAX || prefetch < 1 ||
        prefetch > BROKER_PREFETCH_MAX)
        return false;
    *ret_queue = queue;
    *ret_prefetch = prefetch;
    return true;
}

static enum err open_sub(struct line_conn *conn, struct slice queue, int64_t prefetch) {
    struct line_sub *sub = calloc(1, sizeof *sub + queue.len);
    if (!sub)
        return ERR_OUT_OF_MEMORY;
    enum err err =
        broker_consumer_open(conn->loop->core->broker, queue, (unsigned)prefetch, &sub->consumer);
    if (err) {
        free(sub);
        return err;
    }
    sub->woken = (struct line_woken){.loop = conn->loop, .come_back = come_back};
    sub->conn = conn;
    sub->prefetch = prefetch;
    sub->name_len = queue.len;
    memcpy(sub->name, queue.ptr, queue.len);
    sub->next = conn->subs;
    conn->subs = sub;
    conn->sub_count++;
    return OK;
}

static enum err answer(struct line_conn *conn, struct slice queue, int64_t prefetch, enum err err,
                       struct buf *to) {
    if (!err)
        err = open_sub(conn, queue, prefetch);
    if (err)
        return answer_error(to, err, err_text(err));
    return answer_ok(to);
}

enum err line_subscribe_answer(struct line_conn *conn, struct line_slot *slot) {
    const struct call *call = &slot->call;
    return answer(conn, call->args.queue, slot->prefetch, call->err, &conn->loop->out);
}

static void on_asked(struct call *call) {
    line_slot_wake(call->context);
}

/* A remote broker subscribes to what is not there, too: it is asked first. That takes no right but
 * the one to consume. */
static enum err ask_first(struct line_conn *conn, struct slice queue, int64_t prefetch,
                          struct buf *to) {
    struct line_loop *loop = conn->loop;
    struct line_slot *slot = line_slot_take(loop);
    if (!slot)
        return answer_error(to, ERR_OUT_OF_MEMORY, err_text(ERR_OUT_OF_MEMORY));
    struct call *call = &slot->call;
    call_init(call, loop->core, conn->grant, &slot->arena, line_loop_now_ms(loop));
    call_set_op(call, op_find_name(SLICE("Broker.GetQueue")));
    call->args.queue = arena_copy(&slot->arena, queue);
    call->wake = on_asked;
    call->context = slot;
    slot->prefetch = prefetch;
    line_slot_queue(slot, conn);
    enum err err = call->args.queue.ptr ? call->op->run(call) : ERR_OUT_OF_MEMORY;
    if (err == ERR_PENDING) {
        line_slot_park(slot);
        return OK;
    }
    line_slot_finish(slot);
    line_slot_dequeue(slot);
    return answer(conn, queue, prefetch, err, to);
}

enum err line_subscribe_run(struct line_conn *conn, struct slice args, struct buf *to) {
    int64_t now_ms = line_loop_now_ms(conn->loop);
    struct slice queue;
    int64_t prefetch;
    enum err err = auth_allows(conn->grant, AUTH_ANY, SLICE(""), now_ms);
    if (err)
        return answer_error(to, err, err_text(err));
    if (!parse_args(args, &queue, &prefetch))
        return answer_error(to, ERR_SYNTAX, "SUBSCRIBE <queue> [prefetch, 1 to 65535]");
    err = auth_allows(conn->grant, AUTH_BROKER_CONSUME, queue, now_ms);
    if (err)
        return answer_error(to, err, err_text(err));
    const struct line_sub *old = find_sub(conn, queue);
    if (old && old->prefetch != prefetch)
        return answer_error(to, ERR_CONFLICT, "subscribed with another prefetch");
    if (!old && conn->sub_count == SUBSCRIPTIONS_MAX)
        return answer_error(to, ERR_UNAVAILABLE, "a connection has 256 subscriptions at most");
    if (old)
        return answer_ok(to);
    if (broker_is_remote(conn->loop->core->broker))
        return ask_first(conn, queue, prefetch, to);
    return answer(conn, queue, prefetch, OK, to);
}

enum err line_unsubscribe_run(struct line_conn *conn, struct slice args, struct buf *to) {
    int64_t now_ms = line_loop_now_ms(conn->loop);
    enum err err = auth_allows(conn->grant, AUTH_ANY, SLICE(""), now_ms);
    if (err)
        return answer_error(to, err, err_text(err));
    if (args.len == 0 || args.len > BROKER_NAME_MAX || memchr(args.ptr, ' ', args.len))
        return answer_error(to, ERR_SYNTAX, "UNSUBSCRIBE <queue>");
    struct line_sub *sub = find_sub(conn, args);
    if (sub)
        end_sub(sub);
    return answer_ok(to);
}
