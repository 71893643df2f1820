/* SPDX-License-Identifier: MIT */
/* The page of /metrics: everything that is counted, written down. */
#ifndef HATI_SERVER_METRICS_PAGE_H
#define HATI_SERVER_METRICS_PAGE_H

#include "handlers/call.h"
#include "server/metrics_text.h"

#define METRICS_QUEUES_MAX 1000U /* with series of their own; where there are more none has */
#define METRICS_PAGE_BYTES_MAX (64U << 20)

struct metrics_source {
    struct core *core;
    uint64_t memory_limit_bytes; /* 0: none */
    int64_t now_ms;
    struct arena *arena; /* room to work in */
    /* Of an engine: what it told; NULL: it could not be asked, so that its figures are left out. */
    const struct engine_report *report;
};

/* Writes the page. Any thread; short locks alone. */
void metrics_page_write(struct page *page, const struct metrics_source *source);

/* metrics_broker.c */
void metrics_page_broker(struct page *page, const struct metrics_source *source);
/* metrics_process.c */
void metrics_page_process(struct page *page, const struct core *core);

/* True where an Accept header (empty: none) rather wants OpenMetrics 1.0 than Prometheus text. */
bool metrics_wants_openmetrics(struct slice accept);

#endif
