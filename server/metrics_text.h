/* SPDX-License-Identifier: MIT */
/* Writes figures as Prometheus text 0.0.4 or OpenMetrics 1.0
 * (prometheus.io/docs/instrumenting/exposition_formats, openmetrics.io). */
#ifndef HATI_SERVER_METRICS_TEXT_H
#define HATI_SERVER_METRICS_TEXT_H

#include "base/buf.h"
#include "base/metrics.h"

enum family_type { FAMILY_COUNTER, FAMILY_GAUGE, FAMILY_HISTOGRAM, FAMILY_INFO };

/* Every family of the page, in its order: X(name, type, unit, help). A counter's samples are named
 * name_total, an info's name_info. docs/metrics.md says more of each (lint compares). */
#define FAMILY_LIST(X)                                                                             \
    X(hati_build, INFO, "", "The version that runs.")                                              \
    X(hati_uptime_seconds, GAUGE, "seconds", "Time since the start.")                              \
    X(hati_ready, GAUGE, "", "1 while /readyz says so, else 0.")                                   \
    X(hati_requests, COUNTER, "", "Requests answered.")                                            \
    X(hati_request_duration_seconds, HISTOGRAM, "seconds",                                         \
      "From reading a request to its answer.")                                                     \
    X(hati_refusals, COUNTER, "", "Requests answered with an error.")                              \
    X(hati_limited, COUNTER, "", "Clients turned away or cut off.")                                \
    X(hati_limited_clients, GAUGE, "", "Clients that the limits know of.")                         \
    X(hati_received_bytes, COUNTER, "bytes", "Bytes of requests.")                                 \
    X(hati_sent_bytes, COUNTER, "bytes", "Bytes of answers.")                                      \
    X(hati_connections, GAUGE, "", "Open connections.")                                            \
    X(hati_parked_calls, GAUGE, "", "Calls that wait for a disk, a database or a message.")        \
    X(hati_keys, GAUGE, "", "Keys in a storage.")                                                  \
    X(hati_storage_bytes, GAUGE, "bytes", "Memory of entries, or LMDB's map in use.")              \
    X(hati_memory_limit_bytes, GAUGE, "bytes", "--memory-limit; 0: none.")                         \
    X(hati_expired_keys, COUNTER, "", "Keys dropped since their time was over.")                   \
    X(hati_evicted_keys, COUNTER, "", "Keys dropped to make room.")                                \
    X(hati_hdd_damaged, GAUGE, "", "1 where files of hdd were found to be damaged.")               \
    X(hati_routers, GAUGE, "", "Routers.")                                                         \
    X(hati_queues, GAUGE, "", "Queues.")                                                           \
    X(hati_messages, GAUGE, "", "Messages in all queues.")                                         \
    X(hati_messages_bytes, GAUGE, "bytes", "Memory of the messages of memory queues.")             \
    X(hati_messages_published, COUNTER, "", "Messages published.")                                 \
    X(hati_messages_delivered, COUNTER, "", "Messages handed to consumers.")                       \
    X(hati_messages_acked, COUNTER, "", "Messages acknowledged.")                                  \
    X(hati_messages_unroutable, COUNTER, "", "Messages published that no queue took.")             \
    X(hati_queues_listed, GAUGE, "", "Queues that have series of their own below.")                \
    X(hati_queue_ready_messages, GAUGE, "", "Messages ready to be handed out.")                    \
    X(hati_queue_leased_messages, GAUGE, "", "Messages that a consumer holds.")                    \
    X(hati_queue_delayed_messages, GAUGE, "", "Messages whose delay is not over.")                 \
    X(hati_queue_oldest_age_seconds, GAUGE, "seconds", "Age of the oldest ready message.")         \
    X(hati_queue_consumers, GAUGE, "", "Subscriptions and waiting receives.")                      \
    X(hati_queue_published, COUNTER, "", "Messages that came into the queue.")                     \
    X(hati_queue_delivered, COUNTER, "", "Messages handed out.")                                   \
    X(hati_queue_acked, COUNTER, "", "Messages acknowledged.")                                     \
    X(hati_queue_redelivered, COUNTER, "", "Deliveries that were not the first.")                  \
    X(hati_queue_dead_lettered, COUNTER, "", "Messages that went to the dead-letter queue.")       \
    X(hati_queue_expired, COUNTER, "", "Messages whose time was over.")                            \
    X(hati_queue_dropped, COUNTER, "",                                                             \
      "Messages dropped by drop-head, or for want of a "                                           \
      "dead-letter queue.")                                                                        \
    X(hati_commit_batch_jobs, HISTOGRAM, "", "Durable writes that one commit carried.")            \
    X(hati_journal_sync_duration_seconds, HISTOGRAM, "seconds", "Time of a sync of the journal.")  \
    X(hati_journal_written_bytes, COUNTER, "bytes", "Bytes appended to the journal.")              \
    X(hati_journal_segments, GAUGE, "", "Segments that are still needed.")                         \
    X(hati_journal_segments_bytes, GAUGE, "bytes", "Size of those segments.")                      \
    X(hati_watchers, GAUGE, "", "Who watches namespaces now, on all doors.")                       \
    X(hati_watched_namespaces, GAUGE, "", "Namespaces that have a log of changes.")                \
    X(hati_watch_log_bytes, GAUGE, "", "Bytes of these logs.")                                     \
    X(hati_watch_changes, COUNTER, "", "Changes put into these logs.")                             \
    X(hati_watch_resyncs, COUNTER, "", "Watchers that were told to look again.")                   \
    X(hati_journal_lag_records, GAUGE, "", "Records that are not in LMDB yet.")                    \
    X(hati_engine_connections, GAUGE, "", "Connections to the database.")                          \
    X(hati_engine_waiting_requests, GAUGE, "", "Requests that wait for a connection.")             \
    X(hati_engine_transactions_in_flight, GAUGE, "", "Transactions of writes under way.")          \
    X(hati_engine_transactions, COUNTER, "", "Transactions of writes carried out.")                \
    X(hati_engine_retries, COUNTER, "", "Transactions tried anew.")                                \
    X(hati_engine_nodes, GAUGE, "", "Nodes of the database that were heard of lately.")            \
    X(hati_token_cache_hits, COUNTER, "", "Tokens found in the cache of verified ones.")           \
    X(hati_token_cache_misses, COUNTER, "", "Tokens that had to be verified.")                     \
    X(hati_spans_exported, COUNTER, "", "Spans that the collector took.")                          \
    X(hati_spans_dropped, COUNTER, "", "Spans that it did not get, or did not take.")              \
    X(hati_spans_waiting, GAUGE, "", "Spans that wait to be sent.")                                \
    X(hati_traces_left_out, COUNTER, "", "Messages whose headers had no room for their trace.")    \
    X(process_resident_memory_bytes, GAUGE, "bytes", "Resident memory.")                           \
    X(process_virtual_memory_bytes, GAUGE, "bytes", "Address space.")                              \
    X(process_cpu_seconds, COUNTER, "seconds", "CPU time, of user and system.")                    \
    X(process_open_fds, GAUGE, "", "Open file descriptors.")                                       \
    X(process_max_fds, GAUGE, "", "Limit of open file descriptors.")                               \
    X(process_threads, GAUGE, "", "Threads.")                                                      \
    X(process_start_time_seconds, GAUGE, "seconds", "Start, in seconds since 1970.")

enum family {
#define X(name, type, unit, help) F_##name,
    FAMILY_LIST(X)
#undef X
        FAMILY_COUNT
};

struct page {
    struct buf *to;
    bool openmetrics;
    enum family family; /* that is being written */
    bool labelled;      /* the sample at hand has a label */
};

/* Begins a family: its samples follow. */
void page_family(struct page *page, enum family family);

/* A sample: page_begin, its labels, its value. suffix: behind the sample's usual name; "". */
void page_begin(struct page *page, const char *suffix);
void page_label(struct page *page, const char *name, struct slice value);
void page_number(struct page *page, uint64_t value);
/* The value in seconds. */
void page_seconds(struct page *page, uint64_t ns);

/* A family of one sample. */
void page_single(struct page *page, enum family family, uint64_t value);

struct page_label {
    const char *name;
    const char *value;
};

/* The samples of a histogram; its bounds and sum are ns where the family is in seconds. labels end
 * with a NULL name. */
void page_histogram(struct page *page, const struct page_label *labels,
                    const struct metrics_bounds *bounds, const struct metrics_counts *counts);

/* What stands behind the last family. */
void page_end(struct page *page);

#endif
