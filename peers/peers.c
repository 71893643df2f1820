/* SPDX-License-Identifier: MIT */
#include "peers/peers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "peers/inside.h"
#include "peers/list.h"
#include "peers/talk.h"

#define REBUILD_BUSY_MS 2U
#define REBUILD_TURN_NS 500000 /* then questions and heartbeats have theirs */
#define REBUILD_IDLE_MS 100U

/* ---- the thread ---- */

/* Alive before others, those that miss no heartbeats before those that do, nearest first. */
static bool is_nearer(const struct link *a, const struct link *b) {
    if ((a->shown.state == PEERS_ALIVE) != (b->shown.state == PEERS_ALIVE))
        return a->shown.state == PEERS_ALIVE;
    if ((a->shown.missed > 0) != (b->shown.missed > 0))
        return b->shown.missed > 0;
    if ((a->shown.rtt_us > 0) != (b->shown.rtt_us > 0))
        return a->shown.rtt_us > 0;
    return a->shown.rtt_us < b->shown.rtt_us;
}

/* From one heartbeat to the next their order hardly changes. */
static void rank(struct peers *peers) {
    for (unsigned i = 1; i < peers->link_count; i++) {
        struct link *link = peers->ranked[i];
        unsigned at = i;
        for (; at > 0 && is_nearer(link, peers->ranked[at - 1]); at--)
            peers->ranked[at] = peers->ranked[at - 1];
        peers->ranked[at] = link;
    }
}

static void on_beat(uv_timer_t *timer) {
    struct peers *peers = timer->data;
    for (unsigned i = 0; i < peers->link_count; i++)
        talk_beat(&peers->links[i]);
    rank(peers);
}

static void on_rebuild(uv_timer_t *timer) {
    struct peers *peers = timer->data;
    int64_t turn_ends_ns = clock_steady_ns() + REBUILD_TURN_NS;
    bool more;
    do
        more = own_rebuild_step(peers->options.own, peers->options.kv, clock_steady_ms());
    while (more && clock_steady_ns() < turn_ends_ns);
    (void)uv_timer_start(timer, on_rebuild, more ? REBUILD_BUSY_MS : REBUILD_IDLE_MS, 0);
}

/* What was said since the last round is written at once, as few writes. */
static void on_prepare(uv_prepare_t *prepare) {
    struct peers *peers = prepare->data;
    while (peers->dirty) {
        struct link *link = peers->dirty;
        peers->dirty = link->dirty_next;
        link->dirty = false;
        link_flush(link);
    }
}

static void close_own(struct peers *peers) {
    uv_close((uv_handle_t *)&peers->async, NULL);
    uv_close((uv_handle_t *)&peers->prepare, NULL);
    uv_close((uv_handle_t *)&peers->beats, NULL);
    uv_close((uv_handle_t *)&peers->deadlines, NULL);
    uv_close((uv_handle_t *)&peers->rebuilds, NULL);
}

static void stop(struct peers *peers) {
    peers->stopping = true;
    ask_end_all(peers);
    for (unsigned i = 0; i < peers->link_count; i++)
        link_stop(&peers->links[i]);
    close_own(peers);
}

static void on_async(uv_async_t *async) {
    struct peers *peers = async->data;
    pthread_mutex_lock(&peers->inbox_lock);
    bool stops = peers->stop_wanted;
    pthread_mutex_unlock(&peers->inbox_lock);
    ask_take_inbox(peers);
    if (stops && !peers->stopping)
        stop(peers);
}

static void *run(void *context) {
    struct peers *peers = context;
    uint64_t beat_ms = (uint64_t)peers->options.beat_ms;
    if (peers->link_count)
        (void)uv_timer_start(&peers->beats, on_beat, beat_ms, beat_ms);
    if (peers->options.own)
        (void)uv_timer_start(&peers->rebuilds, on_rebuild, 0, 0);
    for (unsigned i = 0; i < peers->link_count; i++)
        link_start(&peers->links[i]);
    uv_run(&peers->uv, UV_RUN_DEFAULT);
    return NULL;
}

/* Handles that are open need no undoing but by the loop: they are walked where it never ran. */
static int open_loop(struct peers *peers) {
    int status = uv_loop_init(&peers->uv);
    peers->loop_open = status == 0;
    status = status ? status : uv_async_init(&peers->uv, &peers->async, on_async);
    status = status ? status : uv_prepare_init(&peers->uv, &peers->prepare);
    status = status ? status : uv_timer_init(&peers->uv, &peers->beats);
    status = status ? status : uv_timer_init(&peers->uv, &peers->deadlines);
    status = status ? status : uv_timer_init(&peers->uv, &peers->rebuilds);
    if (status)
        return status;
    peers->async.data = peers->prepare.data = peers->beats.data = peers;
    peers->deadlines.data = peers->rebuilds.data = peers;
    return uv_prepare_start(&peers->prepare, on_prepare);
}

/* Signals are the main thread's; a write to a closed socket is an error here, not a signal. */
static bool start_thread(struct peers *peers) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    peers->started = pthread_create(&peers->thread, NULL, run, peers) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return peers->started;
}

/* ---- opening and closing ---- */

static bool is_listed_before(struct slice list, struct slice address) {
    struct slice one;
    while (peers_take_address(&list, &one) && one.ptr < address.ptr)
        if (slice_equal(one, address))
            return true;
    return false;
}

static bool open_links(struct peers *peers, const char *list) {
    struct slice rest = slice_of_cstr(list), address;
    unsigned count = 0;
    while (peers_take_address(&rest, &address))
        count += !is_listed_before(slice_of_cstr(list), address);
    if (count == 0)
        return true;
    peers->links = calloc(count, sizeof *peers->links);
    peers->ranked = calloc(count, sizeof(struct link *));
    if (!peers->links || !peers->ranked)
        return false;
    rest = slice_of_cstr(list);
    while (peers_take_address(&rest, &address)) {
        if (is_listed_before(slice_of_cstr(list), address))
            continue;
        struct link *link = &peers->links[peers->link_count];
        if (!link_init(link, peers, peers->link_count, address))
            return false;
        peers->ranked[peers->link_count++] = link;
    }
    return true;
}

static bool copy_text(const char *text, const char **ret_copy) {
    *ret_copy = text ? strdup(text) : NULL;
    return !text || *ret_copy;
}

static void init(struct peers *peers, const struct peers_options *options) {
    pthread_rwlockattr_t writers_first;
    uint64_t id;
    hash_random(&id, sizeof id);
    snprintf(peers->node_id, sizeof peers->node_id, "%016llx", (unsigned long long)id);
    peers->options = *options;
    peers->options.list = peers->options.self = peers->options.token = NULL;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&peers->filters_lock, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    pthread_mutex_init(&peers->visitors_lock, NULL);
    pthread_mutex_init(&peers->inbox_lock, NULL);
}

enum err peers_open(const struct peers_options *options, struct peers **ret_peers, char *ret_why,
                    size_t why_bytes) {
    const char *wrong = options->list ? peers_check_list(options->list) : NULL;
    if (wrong) {
        snprintf(ret_why, why_bytes, "the list of peers: %s", wrong);
        return ERR_SYNTAX;
    }
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers) {
        init(peers, options);
        bool needs_thread = options->list || options->own;
        if (copy_text(options->self, &peers->options.self) &&
            copy_text(options->token, &peers->options.token) &&
            (!needs_thread ||
             (open_loop(peers) == 0 && open_links(peers, options->list) && start_thread(peers)))) {
            *ret_peers = peers;
            return OK;
        }
        peers_close(peers);
    }
    snprintf(ret_why, why_bytes, "no memory for the thread of peers");
    return ERR_OUT_OF_MEMORY;
}

static void close_one(uv_handle_t *handle, void *context) {
    (void)context;
    uv_close(handle, NULL);
}

static void stop_thread(struct peers *peers) {
    pthread_mutex_lock(&peers->inbox_lock);
    peers->stop_wanted = true;
    uv_async_send(&peers->async);
    pthread_mutex_unlock(&peers->inbox_lock);
    pthread_join(peers->thread, NULL);
}

void peers_close(struct peers *peers) {
    if (!peers)
        return;
    if (peers->started)
        stop_thread(peers);
    if (peers->loop_open && !peers->started) { /* its handles never got a thread */
        uv_walk(&peers->uv, close_one, NULL);
        uv_run(&peers->uv, UV_RUN_DEFAULT);
    }
    if (peers->loop_open && uv_loop_close(&peers->uv) != 0)
        log_error("peers: handles are left open");
    for (unsigned i = 0; i < peers->link_count; i++)
        link_free(&peers->links[i]);
    ask_free_spare(peers);
    free(peers->links);
    free(peers->ranked);
    free(peers->visitors);
    free((char *)peers->options.self);
    free((char *)peers->options.token);
    pthread_rwlock_destroy(&peers->filters_lock);
    pthread_mutex_destroy(&peers->visitors_lock);
    pthread_mutex_destroy(&peers->inbox_lock);
    free(peers);
}
