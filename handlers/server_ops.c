/* SPDX-License-Identifier: MIT */
/* Operations about the server itself. */
#include "base/buf.h"
#include "handlers/ops.h"
#include "handlers/render.h"

#define STATS_BYTES_MAX (2U << 20)
#define EACH_MAX 1000U /* queues that are shown one by one */

static const char *const door_names[DOOR_COUNT] = {[DOOR_LINE] = "tcp", [DOOR_HTTP] = "http"};

enum err op_server_ping(struct call *call) {
    call->reply.text = SLICE("pong");
    return OK;
}

static void append_storage(struct buf *to, struct core *core, enum kv_storage storage,
                           const char *name) {
    struct kv_stats stats;
    kv_stats(core->kv, storage, &stats);
    buf_printf(to, "\"%s\":{\"keys\":%llu,\"bytes\":%llu,\"shards\":[", name,
               (unsigned long long)stats.keys, (unsigned long long)stats.bytes);
    for (unsigned i = 0; i < stats.shard_count; i++)
        buf_printf(to, "%s%llu", i ? "," : "", (unsigned long long)stats.shard_keys[i]);
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

static void append_broker(struct buf *to, struct call *call) {
    struct core *core = call->core;
    struct broker_stats stats = {0};
    if (core->broker)
        broker_stats(core->broker, &stats);
    buf_printf(to, ",\"broker\":{\"routers\":%llu,\"queues\":%llu,\"messages\":%llu",
               (unsigned long long)stats.routers, (unsigned long long)stats.queues,
               (unsigned long long)stats.messages);
    buf_printf(to, ",\"published\":%llu,\"delivered\":%llu,\"acked\":%llu",
               (unsigned long long)stats.published, (unsigned long long)stats.delivered,
               (unsigned long long)stats.acked);
    buf_printf(to, ",\"unroutable\":%llu,\"bytes\":%llu", (unsigned long long)stats.unroutable,
               (unsigned long long)stats.bytes);
    if (core->broker && stats.queues <= EACH_MAX)
        append_queues(to, call);
    buf_append_char(to, '}');
}

static void append_tokens(struct buf *to, struct core *core) {
    uint64_t hits = 0;
    uint64_t misses = 0;
    if (core->auth)
        auth_stats(core->auth, &hits, &misses);
    buf_printf(to, ",\"tokens\":{\"cached\":%llu,\"verified\":%llu}", (unsigned long long)hits,
               (unsigned long long)misses);
}

enum err op_server_stats(struct call *call) {
    struct core *core = call->core;
    struct buf text;
    buf_init(&text, STATS_BYTES_MAX);
    buf_printf(&text, "{\"version\":\"%s\",\"uptime\":%lld,\"storage\":{", HATI_VERSION,
               (long long)(call->now_ms - core->started_ms));
    append_storage(&text, core, KV_MEMORY, "memory");
    buf_append_char(&text, ',');
    append_storage(&text, core, KV_HDD, "hdd");
    buf_append_char(&text, '}');
    append_doors(&text, core);
    append_broker(&text, call);
    append_tokens(&text, core);
    buf_append_char(&text, '}');
    call->reply.text =
        text.failed ? (struct slice){NULL, 0} : arena_copy(call->arena, buf_slice(&text));
    buf_done(&text);
    return call->reply.text.ptr ? OK : ERR_OUT_OF_MEMORY;
}
