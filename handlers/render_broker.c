/* SPDX-License-Identifier: MIT */
/* JSON of queues, routers and messages. */
#include "handlers/headers.h"
#include "handlers/render.h"

static void append_member(struct buf *to, const char *name, uint64_t number) {
    buf_append(to, SLICE(",\""));
    buf_append(to, slice_of_cstr(name));
    buf_append(to, SLICE("\":"));
    buf_append_u64(to, number);
}

static void append_text(struct buf *to, const char *name, struct slice text) {
    buf_append(to, SLICE(",\""));
    buf_append(to, slice_of_cstr(name));
    buf_append(to, SLICE("\":"));
    text_append_json(to, text);
}

static void append_options(struct buf *to, const struct broker_queue_options *options) {
    append_text(to, "type", options->storage == BROKER_MEMORY ? SLICE("memory") : SLICE("hdd"));
    append_member(to, "lease", (uint64_t)options->lease_ms);
    append_member(to, "max-deliver", options->max_deliver);
    if (options->dead_letter.len)
        append_text(to, "dead-letter", options->dead_letter);
    else
        buf_append(to, SLICE(",\"dead-letter\":null"));
    append_member(to, "ttl", (uint64_t)options->ttl_ms);
    append_member(to, "max-length", options->max_length);
    append_text(to, "overflow",
                options->overflow == OVERFLOW_REJECT ? SLICE("reject") : SLICE("drop-head"));
    append_member(to, "dedup-window", (uint64_t)options->dedup_window_ms);
    buf_append(to, options->paused ? SLICE(",\"paused\":true") : SLICE(",\"paused\":false"));
}

bool render_queue(struct buf *to, const struct broker_queue_info *info) {
    const struct broker_queue_stats *stats = &info->stats;
    buf_append(to, SLICE("{\"name\":"));
    text_append_json(to, info->name);
    append_options(to, &info->options);
    append_member(to, "ready", stats->ready);
    append_member(to, "leased", stats->leased);
    append_member(to, "delayed", stats->delayed);
    append_member(to, "published", stats->published);
    append_member(to, "delivered", stats->delivered);
    append_member(to, "acked", stats->acked);
    append_member(to, "redelivered", stats->redelivered);
    append_member(to, "dead_lettered", stats->dead_lettered);
    append_member(to, "expired", stats->expired);
    append_member(to, "dropped", stats->dropped);
    append_member(to, "consumers", stats->consumers);
    append_member(to, "oldest_ms", (uint64_t)stats->oldest_ms);
    return buf_append_char(to, '}') && !to->failed;
}

static const struct slice router_types[] = {[ROUTER_DIRECT] = {"direct", 6},
                                            [ROUTER_FANOUT] = {"fanout", 6},
                                            [ROUTER_TOPIC] = {"topic", 5}};

bool render_router(struct buf *to, const struct broker_router_info *info) {
    buf_append(to, SLICE("{\"name\":"));
    text_append_json(to, info->name);
    append_text(to, "type", router_types[info->type]);
    append_member(to, "published", info->published);
    append_member(to, "unroutable", info->unroutable);
    buf_append(to, SLICE(",\"bindings\":["));
    for (size_t i = 0; i < info->binding_count; i++) {
        buf_append(to, i ? SLICE(",{\"queue\":") : SLICE("{\"queue\":"));
        text_append_json(to, info->bindings[i].queue);
        append_text(to, "pattern", info->bindings[i].pattern);
        buf_append_char(to, '}');
    }
    buf_append(to, SLICE("]}"));
    return !to->failed;
}

static bool is_ours(struct slice member) {
    static const char *const names[] = {"\"reason\"", "\"from\"", "\"attempt\""};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (slice_starts_with(member, slice_of_cstr(names[i])))
            return true;
    return false;
}

static void append_death(struct buf *to, const struct broker_delivery *delivery) {
    append_text(to, "reason", slice_of_cstr(broker_reason_word(delivery->reason)));
    append_text(to, "from", delivery->from);
}

/* The publisher's headers (compact: a door wrote them), and why it is here; a header of the
 * publisher's that has the name of one of these gives way, for no member may stand twice. */
static void append_dead_headers(struct buf *to, const struct broker_delivery *delivery) {
    struct slice json = delivery->headers;
    buf_append(to, SLICE("{\"attempt\":"));
    buf_append_u64(to, delivery->dead_attempt);
    append_death(to, delivery);
    struct slice member;
    for (size_t at = 1; headers_next(json, &at, &member);)
        if (!is_ours(member)) {
            buf_append_char(to, ',');
            buf_append(to, member);
        }
    buf_append_char(to, '}');
}

static void append_payload(struct buf *to, struct slice payload) {
    if (text_is_utf8(payload)) {
        append_text(to, "payload", payload);
        return;
    }
    buf_append(to, SLICE(",\"payload\":\""));
    text_append_base64(to, payload);
    buf_append(to, SLICE("\",\"encoding\":\"base64\""));
}

/* {"receipt":…, was written but for its end; or {. */
static bool render_rest(struct buf *to, const struct broker_delivery *delivery) {
    buf_append(to, SLICE("\"id\":"));
    text_append_json(to, delivery->id);
    append_member(to, "attempt", delivery->attempt);
    append_text(to, "key", delivery->key);
    append_payload(to, delivery->payload);
    buf_append(to, SLICE(",\"headers\":"));
    if (delivery->reason)
        append_dead_headers(to, delivery);
    else
        buf_append(to, delivery->headers.len ? delivery->headers : SLICE("{}"));
    append_member(to, "published_at", (uint64_t)delivery->published_ms);
    if (delivery->reason)
        append_death(to, delivery);
    return buf_append_char(to, '}') && !to->failed;
}

bool render_delivery(struct buf *to, const struct broker_delivery *delivery) {
    size_t len = strnlen(delivery->receipt, sizeof delivery->receipt);
    buf_append(to, SLICE("{\"receipt\":\""));
    buf_append(to, slice_make(delivery->receipt, len));
    buf_append(to, SLICE("\","));
    return render_rest(to, delivery);
}

bool render_peeked(struct buf *to, const struct broker_delivery *delivery) {
    buf_append_char(to, '{');
    return render_rest(to, delivery);
}

bool render_messages(struct buf *to, const struct broker_receive *receive) {
    buf_append(to, SLICE("{\"messages\":["));
    for (unsigned i = 0; i < receive->count; i++) {
        if (i)
            buf_append_char(to, ',');
        render_delivery(to, &receive->deliveries[i]);
    }
    return buf_append(to, SLICE("]}")) && !to->failed;
}
