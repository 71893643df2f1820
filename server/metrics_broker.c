/* SPDX-License-Identifier: MIT */
/* Routers, queues and messages on the page. */
#include "server/metrics_page.h"

struct queues {
    struct broker_queue_info *infos;
    unsigned count;
};

/* What a family tells of a queue. */
static const struct {
    enum family family;
    size_t at; /* in struct broker_queue_stats */
} counts[] = {
    {F_hati_queue_ready_messages, offsetof(struct broker_queue_stats, ready)},
    {F_hati_queue_leased_messages, offsetof(struct broker_queue_stats, leased)},
    {F_hati_queue_delayed_messages, offsetof(struct broker_queue_stats, delayed)},
    {F_hati_queue_consumers, offsetof(struct broker_queue_stats, consumers)},
    {F_hati_queue_published, offsetof(struct broker_queue_stats, published)},
    {F_hati_queue_delivered, offsetof(struct broker_queue_stats, delivered)},
    {F_hati_queue_acked, offsetof(struct broker_queue_stats, acked)},
    {F_hati_queue_redelivered, offsetof(struct broker_queue_stats, redelivered)},
    {F_hati_queue_dead_lettered, offsetof(struct broker_queue_stats, dead_lettered)},
    {F_hati_queue_expired, offsetof(struct broker_queue_stats, expired)},
    {F_hati_queue_dropped, offsetof(struct broker_queue_stats, dropped)},
};

/* All of them, or none where they are too many, or memory is short. */
static void read_queues(const struct metrics_source *source, struct queues *queues) {
    struct broker *broker = source->core->broker;
    struct slice *names;
    size_t count;
    queues->count = 0;
    if (broker_list_queues(broker, source->arena, &names, &count) || count > METRICS_QUEUES_MAX)
        return;
    queues->infos = arena_alloc(source->arena, (count + 1) * sizeof *queues->infos);
    for (size_t i = 0; i < count && queues->infos; i++)
        if (!broker_get_queue(broker, names[i], source->now_ms, source->arena,
                              &queues->infos[queues->count]))
            queues->count++; /* else it was deleted meanwhile */
}

static void write_ages(struct page *page, const struct queues *queues) {
    page_family(page, F_hati_queue_oldest_age_seconds);
    for (unsigned i = 0; i < queues->count; i++) {
        int64_t age_ms = queues->infos[i].stats.oldest_ms;
        page_begin(page, "");
        page_label(page, "queue", queues->infos[i].name);
        page_seconds(page, age_ms > 0 ? (uint64_t)age_ms * 1000000 : 0);
    }
}

/* A family's samples stand together, so each family goes through all queues. */
static void write_queues(struct page *page, const struct queues *queues) {
    page_single(page, F_hati_queues_listed, queues->count);
    if (queues->count == 0)
        return;
    for (size_t f = 0; f < sizeof counts / sizeof counts[0]; f++) {
        page_family(page, counts[f].family);
        for (unsigned i = 0; i < queues->count; i++) {
            uint64_t value;
            memcpy(&value, (const char *)&queues->infos[i].stats + counts[f].at, sizeof value);
            page_begin(page, "");
            page_label(page, "queue", queues->infos[i].name);
            page_number(page, value);
        }
    }
    write_ages(page, queues);
}

static void write_totals(struct page *page, const struct broker_stats *stats, bool is_here) {
    page_single(page, F_hati_routers, stats->routers);
    page_single(page, F_hati_queues, stats->queues);
    page_single(page, F_hati_messages, stats->messages);
    if (is_here)
        page_single(page, F_hati_messages_bytes, stats->bytes);
    page_single(page, F_hati_messages_published, stats->published);
    page_single(page, F_hati_messages_delivered, stats->delivered);
    page_single(page, F_hati_messages_acked, stats->acked);
    page_single(page, F_hati_messages_unroutable, stats->unroutable);
}

void metrics_page_broker(struct page *page, const struct metrics_source *source) {
    struct broker *broker = source->core->broker;
    if (source->report)
        write_totals(page, &source->report->broker, false);
    if (source->core->engine || !broker)
        return;
    struct broker_stats stats;
    struct queues queues = {NULL, 0};
    broker_stats(broker, &stats);
    write_totals(page, &stats, true);
    if (stats.queues <= METRICS_QUEUES_MAX)
        read_queues(source, &queues);
    write_queues(page, &queues);
}
