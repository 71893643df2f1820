/* SPDX-License-Identifier: MIT */
/* Operations about the server itself. */
#include "base/buf.h"
#include "base/clock.h"
#include "handlers/ops.h"
#include "handlers/render.h"

#define STATS_BYTES_MAX (2U << 20)
#define EACH_MAX 1000U /* queues that are shown one by one */

static const char *const door_names[DOOR_COUNT] = {
    [DOOR_LINE] = "tcp", [DOOR_HTTP] = "http", [DOOR_OLIVIA] = "olivia"};

enum err op_server_ping(struct call *call) {
    call->reply.text = SLICE("pong");
    return OK;
}

enum err op_server_discover(struct call *call) {
    call->reply.text = call->core->openrpc.text;
    return call->reply.text.len ? OK : ERR_UNAVAILABLE;
}

/* What the stores tell: at once where they are here, else in an engine's report. */
struct figures {
    struct kv_stats kv[KV_STORAGES];
    struct broker_stats broker;
    const struct engine_report *report; /* NULL: the stores are here */
};

static void append_storage(struct buf *to, const struct kv_stats *stats, const char *name) {
    buf_printf(to, "\"%s\":{\"keys\":%llu,\"bytes\":%llu,\"shards\":[", name,
               (unsigned long long)stats->keys, (unsigned long long)stats->bytes);
    for (unsigned i = 0; i < stats->shard_count; i++)
        buf_printf(to, "%s%llu", i ? "," : "", (unsigned long long)stats->shard_keys[i]);
    buf_printf(to, "]}");
}

static void append_doors(struct buf *to, struct core *core) {
    buf_printf(to, ",\"connections\":{");
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        buf_printf(to, "%s\"%s\":%llu", i ? "," : "", door_names[i],
                   (unsigned long long)atomic_load(&core->doors[i].connections));
    buf_printf(to, "},\"requests\":{");
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        buf_printf(to, "%s\"%s\":%llu,\"%s_failed\":%llu", i ? "," : "", door_names[i],
                   (unsigned long long)atomic_load(&core->doors[i].requests), door_names[i],
                   (unsigned long long)atomic_load(&core->doors[i].failures));
    buf_printf(to, "}");
}

/* The objects of all queues, where they are not too many. */
static void append_queues(struct buf *to, struct call *call) {
    struct broker *broker = call->core->broker;
    struct slice *names;
    size_t count;
    unsigned shown = 0;
    if (broker_list_queues(broker, call->arena, &names, &count))
        return;
    buf_append(to, SLICE(",\"each\":["));
    for (size_t i = 0; i < count; i++) {
        struct broker_queue_info info;
        if (broker_get_queue(broker, names[i], call->now_ms, call->arena, &info))
            continue; /* deleted meanwhile */
        if (shown++)
            buf_append_char(to, ',');
        render_queue(to, &info);
    }
    buf_append_char(to, ']');
}

static void append_broker(struct buf *to, struct call *call, const struct figures *figures) {
    struct broker *broker = call->core->broker;
    const struct broker_stats *stats = &figures->broker;
    buf_printf(to, ",\"broker\":{\"routers\":%llu,\"queues\":%llu,\"messages\":%llu",
               (unsigned long long)stats->routers, (unsigned long long)stats->queues,
               (unsigned long long)stats->messages);
    buf_printf(to, ",\"published\":%llu,\"delivered\":%llu,\"acked\":%llu",
               (unsigned long long)stats->published, (unsigned long long)stats->delivered,
               (unsigned long long)stats->acked);
    buf_printf(to, ",\"unroutable\":%llu,\"bytes\":%llu", (unsigned long long)stats->unroutable,
               (unsigned long long)stats->bytes);
    if (broker && !broker_is_remote(broker) && stats->queues <= EACH_MAX)
        append_queues(to, call);
    buf_append_char(to, '}');
}

static void append_node(struct buf *to, const struct engine_node *node) {
    buf_append(to, SLICE("{\"id\":"));
    text_append_json(to, slice_of_cstr(node->id));
    buf_append(to, SLICE(",\"address\":"));
    text_append_json(to, slice_of_cstr(node->address));
    buf_append(to, SLICE(",\"version\":"));
    text_append_json(to, slice_of_cstr(node->version));
    buf_printf(to, ",\"started\":%lld,\"heartbeat\":%lld,\"alive\":%s}",
               (long long)node->started_ms, (long long)node->heartbeat_ms,
               node->alive ? "true" : "false");
}

static void append_nodes(struct buf *to, const struct engine_report *report) {
    buf_append(to, SLICE(",\"nodes\":["));
    for (unsigned i = 0; i < report->node_count; i++) {
        if (i)
            buf_append_char(to, ',');
        append_node(to, &report->nodes[i]);
    }
    buf_append_char(to, ']');
}

static void append_tokens(struct buf *to, struct core *core) {
    uint64_t hits = 0;
    uint64_t misses = 0;
    if (core->auth)
        auth_stats(core->auth, &hits, &misses);
    buf_printf(to, ",\"tokens\":{\"cached\":%llu,\"verified\":%llu}", (unsigned long long)hits,
               (unsigned long long)misses);
}

static const char *const state_names[] = {
    [PEERS_CONNECTING] = "connecting",
    [PEERS_ALIVE] = "alive",
    [PEERS_DEAD] = "dead",
    [PEERS_SELF] = "self",
};

/* What kind it is of is known of one that was reached: its time there and back is known too. */
static const char *kind_of(const struct peers_peer *peer) {
    bool reached = peer->state == PEERS_ALIVE || (peer->state == PEERS_DEAD && peer->rtt_us);
    return !reached ? "null" : peer->is_hati ? "\"hati\"" : "\"olivia\"";
}

static void append_peer(struct buf *to, struct peers *peers, unsigned index) {
    struct peers_peer peer;
    peers_get(peers, index, &peer);
    buf_append(to, SLICE("{\"address\":"));
    text_append_json(to, slice_of_cstr(peer.address));
    buf_printf(to, ",\"state\":\"%s\",\"kind\":%s,\"filter\":%s", state_names[peer.state],
               kind_of(&peer), peer.has_filter ? "true" : "false");
    buf_printf(to, ",\"keys\":%llu,\"rtt_us\":%lld,\"missed_beats\":%u}",
               (unsigned long long)peer.keys, (long long)peer.rtt_us, peer.missed);
}

static void append_peers(struct buf *to, struct peers *peers) {
    struct peers_figures figures;
    unsigned count = peers_count(peers);
    peers_figures(peers, &figures);
    buf_printf(to, ",\"peers\":{\"misses\":%llu,\"asked\":%llu,\"hits\":%llu",
               (unsigned long long)figures.misses, (unsigned long long)figures.asked,
               (unsigned long long)figures.hits);
    buf_printf(to, ",\"saved\":%llu,\"false_positives\":%llu,\"timeouts\":%llu,\"nodes\":[",
               (unsigned long long)figures.saved, (unsigned long long)figures.false_positives,
               (unsigned long long)figures.timeouts);
    for (unsigned i = 0; i < count && i < PEERS_MAX; i++) {
        if (i)
            buf_append_char(to, ',');
        append_peer(to, peers, i);
    }
    buf_append(to, SLICE("]}"));
}

static enum err keep_stats(struct call *call, const struct figures *figures) {
    struct core *core = call->core;
    struct buf text;
    int64_t uptime_ms = clock_steady_ms() - core->started_steady_ms;
    buf_init(&text, STATS_BYTES_MAX);
    buf_printf(&text, "{\"version\":\"%s\",\"uptime\":%lld,\"storage\":{", HATI_VERSION,
               (long long)uptime_ms);
    append_storage(&text, &figures->kv[KV_MEMORY], "memory");
    buf_append_char(&text, ',');
    append_storage(&text, &figures->kv[KV_HDD], "hdd");
    buf_append_char(&text, '}');
    append_doors(&text, core);
    append_broker(&text, call, figures);
    append_tokens(&text, core);
    if (figures->report)
        append_nodes(&text, figures->report);
    if (core->peers)
        append_peers(&text, core->peers);
    buf_append_char(&text, '}');
    call->reply.text =
        text.failed ? (struct slice){NULL, 0} : arena_copy(call->arena, buf_slice(&text));
    buf_done(&text);
    return call->reply.text.ptr ? OK : ERR_OUT_OF_MEMORY;
}

static void report_done(struct engine_report *report) {
    struct call *call = report->context;
    struct figures figures = {.broker = report->broker, .report = report};
    memcpy(figures.kv, report->kv, sizeof figures.kv);
    call->err = report->err ? report->err : keep_stats(call, &figures);
    call->wake(call);
}

static enum err ask_engine(struct call *call) {
    struct engine_report *report = arena_alloc(call->arena, sizeof *report);
    if (!report)
        return ERR_OUT_OF_MEMORY;
    *report = (struct engine_report){.arena = call->arena, .done = report_done, .context = call};
    return engine_ask_report(call->core->engine, report);
}

enum err op_server_stats(struct call *call) {
    struct core *core = call->core;
    struct figures figures = {0};
    if (core->engine)
        return ask_engine(call);
    kv_stats(core->kv, KV_MEMORY, &figures.kv[KV_MEMORY]);
    kv_stats(core->kv, KV_HDD, &figures.kv[KV_HDD]);
    if (core->broker)
        broker_stats(core->broker, &figures.broker);
    return keep_stats(call, &figures);
}
