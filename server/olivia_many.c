/* SPDX-License-Identifier: MIT */
#include "server/olivia_many.h"

#include <stdlib.h>

#include "base/hash.h"
#include "server/line_conn.h"
#include "server/line_count.h"
#include "server/olivia.h"

#define WINDOW 32U       /* calls in flight */
#define TURN_PAIRS 2048U /* then the other connections have their turn */
#define ROOM_BYTES 512U  /* of a call, before its arena takes more */

struct entry {
    struct olivia_pair pair;
    uint32_t next; /* of the same bucket, + 1; 0: none */
};

struct olivia_many {
    struct line_slot *slot;
    const struct olivia_verb *verb;
    const struct op *op;     /* of its pairs, once one was bound */
    struct auth_grant grant; /* a copy: the line may outlive its connection */
    struct line_context context;
    struct entry *entries;    /* in the slot's arena, each key once */
    unsigned count, at;       /* pairs; the first of the window at hand */
    unsigned shown;           /* pairs in the reply so far */
    unsigned unset;           /* of SETEX: their seconds are no number */
    bool parked;              /* its deadline is set */
    bool window_runs;         /* calls of it are out */
    bool unbalanced;          /* a SETEX with too few seconds */
    enum err err;             /* of the whole line */
    const char *why;          /* static, or in the slot's arena */
    struct buf out;           /* the pairs so far */
    _Atomic unsigned waiting; /* calls of the window that are not back; + 1 while it is begun */
    size_t arena_max_bytes;
    struct arena arenas[WINDOW]; /* one a call: another thread may fill one meanwhile */
    struct call calls[WINDOW];
    int64_t seconds[WINDOW];
    _Alignas(16) char rooms[WINDOW][ROOM_BYTES];
};

void olivia_many_free(struct olivia_many *many) {
    if (many)
        buf_done(&many->out);
    free(many);
}

void olivia_many_release(struct line_loop *loop, struct olivia_many *many) {
    for (unsigned i = 0; i < WINDOW; i++)
        arena_done(&many->arenas[i]);
    buf_done(&many->out);
    if (loop->spare_many)
        free(many);
    else
        loop->spare_many = many;
}

static struct olivia_many *take_many(struct line_conn *conn, struct line_slot *slot) {
    struct line_loop *loop = conn->loop;
    struct olivia_many *many = loop->spare_many ? loop->spare_many : malloc(sizeof *many);
    loop->spare_many = NULL;
    if (!many)
        return NULL;
    memset(many, 0, offsetof(struct olivia_many, calls));
    many->slot = slot;
    many->grant = *conn->grant;
    many->arena_max_bytes = loop->arena_max_bytes;
    many->context = (struct line_context){
        .core = loop->core,
        .grant = &many->grant,
        .now_ms = line_loop_now_ms(loop),
        .line_limit_bytes = loop->config->line_limit_bytes,
        .is_peer = conn->is_peer,
    };
    buf_init(&many->out, core_receive_bytes(loop->core) + loop->config->line_limit_bytes);
    return many;
}

static enum err fail(struct olivia_many *many, enum err err, const char *why) {
    struct slice kept = arena_copy(&many->slot->arena, slice_of_cstr(why));
    many->why = kept.ptr ? kept.ptr : err_text(err);
    return many->err = err;
}

/* The pairs as a map has them: a key that comes again changes its pair. */
static void add_pair(struct olivia_many *many, const struct olivia_pair *pair, uint32_t *buckets,
                     uint32_t mask) {
    uint32_t *bucket = &buckets[(uint32_t)hash_seeded(pair->key, hash_process_seed()) & mask];
    for (uint32_t at = *bucket; at; at = many->entries[at - 1].next) {
        struct olivia_pair *known = &many->entries[at - 1].pair;
        if (!slice_equal(known->key, pair->key))
            continue;
        known->value = pair->value;
        if (pair->seconds.ptr)
            known->seconds = pair->seconds;
        return;
    }
    many->entries[many->count] = (struct entry){*pair, *bucket};
    *bucket = ++many->count;
}

static uint32_t count_pairs(struct slice args) {
    uint32_t count = 1;
    for (size_t i = 0; i < args.len; i++)
        count += args.ptr[i] == ',';
    return count;
}

static enum err read_pairs(struct olivia_many *many, struct slice args) {
    struct arena *arena = &many->slot->arena;
    struct olivia_pair pair;
    uint32_t most = count_pairs(args), room = 4;
    if (most > OLIVIA_PAIRS_MAX)
        return many->err = ERR_SYNTAX;
    while (room < 2 * most)
        room *= 2;
    uint32_t *buckets = arena_alloc(arena, room * sizeof *buckets);
    many->entries = arena_alloc(arena, most * sizeof *many->entries);
    if (!buckets || !many->entries)
        return fail(many, ERR_OUT_OF_MEMORY, err_text(ERR_OUT_OF_MEMORY));
    memset(buckets, 0, room * sizeof *buckets);
    while (olivia_take_pair(&args, &pair))
        add_pair(many, &pair, buckets, room - 1);
    for (unsigned i = 0; i < many->count && many->verb->kind == OLIVIA_SETEX; i++)
        many->unbalanced = many->unbalanced || !many->entries[i].pair.seconds.ptr;
    return OK;
}

static enum err bind_one(struct olivia_many *many, unsigned at, unsigned place) {
    struct arena *arena = &many->arenas[place];
    arena_done(arena);
    arena_init_with(arena, many->arena_max_bytes, many->rooms[place], ROOM_BYTES);
    many->context.arena = arena;
    enum err err = olivia_bind_pair(&many->context, many->verb, &many->entries[at].pair,
                                    &many->calls[place], &many->seconds[place]);
    if (err == ERR_SYNTAX)
        many->err = err;
    else if (err)
        (void)fail(many, err, call_detail(&many->calls[place]));
    if (many->calls[place].op)
        many->op = many->calls[place].op;
    return err;
}

/* Nothing of a line that is not good is carried out. */
static bool check_pairs(struct olivia_many *many) {
    for (unsigned i = 0; i < many->count && !many->unbalanced; i++)
        if (bind_one(many, i, 0))
            return false;
    return !many->unbalanced;
}

static void on_wake(struct call *call) {
    struct olivia_many *many = call->context;
    if (atomic_fetch_sub_explicit(&many->waiting, 1, memory_order_acq_rel) == 1)
        line_loop_wake(&many->slot->woken);
}

static unsigned window_of(const struct olivia_many *many) {
    return many->count - many->at < WINDOW ? many->count - many->at : WINDOW;
}

/* False where some are answered later: the last of them wakes the slot. */
static bool run_window(struct olivia_many *many) {
    unsigned count = window_of(many);
    atomic_store(&many->waiting, 1);
    for (unsigned i = 0; i < count; i++) {
        struct call *call = &many->calls[i];
        if (bind_one(many, many->at + i, i) || !call->op)
            continue;
        call->wake = on_wake;
        call->context = many;
        atomic_fetch_add_explicit(&many->waiting, 1, memory_order_relaxed);
        if (call_run(call) != ERR_PENDING)
            atomic_fetch_sub_explicit(&many->waiting, 1, memory_order_relaxed);
    }
    return atomic_fetch_sub_explicit(&many->waiting, 1, memory_order_acq_rel) == 1;
}

static void append_call(struct olivia_many *many, const struct call *call, int64_t seconds) {
    struct buf *out = &many->out;
    size_t start = out->len;
    enum err err = olivia_error_of(many->verb, call);
    if (err) {
        (void)fail(many, err, olivia_why(err, call));
        return;
    }
    if (many->shown)
        buf_append_char(out, ',');
    size_t before = out->len;
    olivia_render_pair(out, many->verb, call, seconds);
    if (out->len == before)
        out->len = start;
    else
        many->shown++;
    if (out->failed)
        (void)fail(many, ERR_OUT_OF_MEMORY, "the reply is too large");
}

static void finish_window(struct olivia_many *many) {
    unsigned count = window_of(many);
    for (unsigned i = 0; i < count && !many->err; i++) {
        if (many->calls[i].op)
            append_call(many, &many->calls[i], many->seconds[i]);
        else if (many->verb->kind == OLIVIA_SETEX)
            many->unset++;
    }
    for (unsigned i = 0; i < count; i++)
        arena_done(&many->arenas[i]);
    many->at += count;
}

static void park(struct olivia_many *many) {
    if (!many->parked)
        line_slot_park(many->slot);
    many->parked = true;
}

/* Runs windows until one waits (false), or the line is done, or nobody waits for it any more. */
static bool go_on(struct olivia_many *many) {
    struct line_slot *slot = many->slot;
    unsigned turn_ends = many->at + TURN_PAIRS;
    while (many->at < many->count && !many->err && slot->conn && slot->state == SLOT_RUNNING) {
        if (many->at >= turn_ends) {
            park(many);
            line_loop_wake(&slot->woken);
            return false;
        }
        many->window_runs = true;
        if (!run_window(many)) {
            park(many);
            return false;
        }
        many->window_runs = false;
        finish_window(many);
    }
    return true;
}

/* A turn that ended by itself has no window to finish. */
static void come_back(struct line_woken *woken) {
    struct line_slot *slot = (struct line_slot *)woken;
    struct olivia_many *many = slot->many;
    if (many->window_runs)
        finish_window(many);
    many->window_runs = false;
    if (go_on(many))
        line_slot_come_back(woken);
}

static enum err fill(struct olivia_many *many, struct slice text) {
    struct line_slot *slot = many->slot;
    struct slice copy = arena_copy(&slot->arena, text);
    struct olivia_line line;
    if (!copy.ptr)
        return fail(many, ERR_OUT_OF_MEMORY, err_text(ERR_OUT_OF_MEMORY));
    (void)olivia_line_split(copy, &line);
    many->verb = olivia_find_verb(line.command);
    slot->answer = (struct line_answer){.verb = many->verb, .hash = line.hash};
    return read_pairs(many, line.args);
}

void olivia_many_run(struct line_conn *conn, struct slice text) {
    struct line_loop *loop = conn->loop;
    struct line_slot *slot = line_slot_take(loop);
    if (slot && !(slot->many = take_many(conn, slot))) {
        line_slot_release(slot);
        slot = NULL;
    }
    if (!slot) {
        olivia_render_error(&loop->out, (struct slice){NULL, 0}, ERR_OUT_OF_MEMORY,
                            err_text(ERR_OUT_OF_MEMORY));
        line_count(conn, metrics_op(NULL, METRICS_NONE), ERR_OUT_OF_MEMORY);
        return;
    }
    struct olivia_many *many = slot->many;
    slot->woken.come_back = come_back;
    line_slot_queue(slot, conn);
    bool good = fill(many, text) == OK && check_pairs(many);
    if (good && !go_on(many))
        return;
    line_slot_finish(slot);
    line_conn_settle(conn);
}

const struct op *olivia_many_op(const struct olivia_many *many) {
    return many->op;
}

enum err olivia_many_render(struct buf *to, struct olivia_many *many) {
    const struct line_answer *answer = &many->slot->answer;
    if (many->unbalanced) {
        buf_append(to, SLICE("Invalid command sent in. Unbalanced keys:expirations.\n"));
    } else if (many->err == ERR_SYNTAX) {
        olivia_render_invalid(to);
    } else if (many->err) {
        olivia_render_error(to, answer->hash, many->err, many->why);
    } else {
        buf_append(to, answer->hash);
        buf_append_char(to, ':');
        buf_append(to, slice_of_cstr(many->verb->answer));
        buf_append_char(to, ' ');
        buf_append(to, buf_slice(&many->out));
        for (unsigned i = 0; i < many->unset; i++, many->shown++)
            if (many->shown)
                buf_append_char(to, ',');
        buf_append_char(to, '\n');
    }
    return many->unbalanced ? ERR_SYNTAX : many->err;
}
