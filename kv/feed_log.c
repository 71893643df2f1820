/* SPDX-License-Identifier: MIT */
/* The log of a feed: chunks in a ring, numbered one after another. */
#include <stdlib.h>

#include "kv/feeds.h"

#define RING_FIRST 8U
#define CHUNKS_OF_SHARE 4U
#define CHUNK_MIN 1024U
#define SHARE_AMONG 8U /* a feed's part of all bytes where there are fewer feeds */

struct raw_change {
    uint64_t revision;
    int64_t expires_at_ms;
    uint64_t value_bytes;
    uint32_t kept_bytes; /* of the value */
    uint16_t key_len;
    uint8_t kind, has_value;
    uint8_t etag[HASH_MD5_BYTES];
};

_Static_assert(sizeof(struct raw_change) % 8 == 0, "changes stand aligned");

static size_t size_of(const struct feed_change *change) {
    size_t size = sizeof(struct raw_change) + change->key.len + change->value.len;
    return (size + 7) & ~(size_t)7;
}

size_t feed_log_change(const struct feed_chunk *chunk, size_t at, struct feed_change *ret_change) {
    struct raw_change raw;
    const char *from = chunk->bytes + at;
    memcpy(&raw, from, sizeof raw);
    from += sizeof raw;
    *ret_change = (struct feed_change){
        .kind = (enum feed_kind)raw.kind,
        .revision = raw.revision,
        .expires_at_ms = raw.expires_at_ms,
        .key = slice_make(from, raw.key_len),
        .value = slice_make(raw.has_value ? from + raw.key_len : NULL, raw.kept_bytes),
        .value_bytes = raw.value_bytes,
    };
    memcpy(ret_change->etag, raw.etag, sizeof raw.etag);
    return at + size_of(ret_change);
}

static void write_change(char *to, const struct feed_change *change) {
    struct raw_change raw = {
        .revision = change->revision,
        .expires_at_ms = change->expires_at_ms,
        .value_bytes = change->value_bytes,
        .kept_bytes = (uint32_t)change->value.len,
        .key_len = (uint16_t)change->key.len,
        .kind = (uint8_t)change->kind,
        .has_value = change->value.ptr != NULL,
    };
    memcpy(raw.etag, change->etag, sizeof raw.etag);
    memcpy(to, &raw, sizeof raw);
    to += sizeof raw;
    if (change->key.len)
        memcpy(to, change->key.ptr, change->key.len);
    if (change->value.len)
        memcpy(to + change->key.len, change->value.ptr, change->value.len);
}

struct feed_chunk *feed_log_chunk_locked(const struct feed *feed, uint64_t serial) {
    if (serial < feed->first_serial || serial >= feed->next_serial)
        return NULL;
    return feed->chunks[serial & (feed->chunk_cap - 1)];
}

static size_t cost_of(const struct feed_chunk *chunk) {
    return sizeof *chunk + chunk->cap;
}

void feed_log_let_go_locked(struct feed *feed, struct feed_chunk *chunk) {
    if (--chunk->holds)
        return;
    feed->bytes -= cost_of(chunk);
    atomic_fetch_sub_explicit(&feed->feeds->bytes, cost_of(chunk), memory_order_relaxed);
    free(chunk);
}

static void drop_first_locked(struct feed *feed) {
    struct feed_chunk *chunk = feed_log_chunk_locked(feed, feed->first_serial);
    feed->first_serial++;
    feed->floor = chunk->last_revision;
    feed_log_let_go_locked(feed, chunk);
}

static uint64_t share_of(const struct feed *feed) {
    const struct feeds *feeds = feed->feeds;
    unsigned count = atomic_load_explicit(&feeds->count, memory_order_relaxed);
    return feeds->limit_bytes / (count > SHARE_AMONG ? count : SHARE_AMONG);
}

static bool widen_ring_locked(struct feed *feed) {
    if (feed->next_serial - feed->first_serial < feed->chunk_cap)
        return true;
    uint32_t cap = feed->chunk_cap ? feed->chunk_cap * 2 : RING_FIRST;
    struct feed_chunk **ring = calloc(cap, sizeof(struct feed_chunk *));
    if (!ring)
        return false;
    for (uint64_t at = feed->first_serial; at < feed->next_serial; at++)
        ring[at & (cap - 1)] = feed_log_chunk_locked(feed, at);
    free(feed->chunks);
    feed->chunks = ring;
    feed->chunk_cap = cap;
    return true;
}

/* Small where many feeds share what there is. */
static size_t usual_chunk(const struct feed *feed) {
    uint64_t part = share_of(feed) / CHUNKS_OF_SHARE;
    return part > FEED_CHUNK_BYTES ? FEED_CHUNK_BYTES : part < CHUNK_MIN ? CHUNK_MIN : (size_t)part;
}

static struct feed_chunk *add_chunk_locked(struct feed *feed, size_t size) {
    size_t usual = usual_chunk(feed);
    size_t cap = size > usual ? size : usual;
    struct feed_chunk *chunk = widen_ring_locked(feed) ? malloc(sizeof *chunk + cap) : NULL;
    if (!chunk)
        return NULL;
    *chunk = (struct feed_chunk){.holds = 1, .cap = (uint32_t)cap};
    feed->chunks[feed->next_serial++ & (feed->chunk_cap - 1)] = chunk;
    feed->bytes += cost_of(chunk);
    atomic_fetch_add_explicit(&feed->feeds->bytes, cost_of(chunk), memory_order_relaxed);
    while (feed->bytes > share_of(feed) && feed->next_serial - feed->first_serial > 1)
        drop_first_locked(feed);
    return chunk;
}

/* Whoever has not read all of it cannot go on: the serial of where the end was is used up. */
void feed_log_empty_locked(struct feed *feed, uint64_t revision) {
    while (feed->first_serial < feed->next_serial)
        drop_first_locked(feed);
    feed->first_serial = ++feed->next_serial;
    feed->floor = feed->last = revision;
}

void feed_log_append_locked(struct feed *feed, const struct feed_change *change) {
    size_t size = size_of(change);
    struct feed_chunk *chunk = feed->next_serial > feed->first_serial
                                   ? feed_log_chunk_locked(feed, feed->next_serial - 1)
                                   : NULL;
    if (!chunk || chunk->cap - chunk->used < size)
        chunk = add_chunk_locked(feed, size);
    feed->last = change->revision;
    if (!chunk) {
        feed_log_empty_locked(feed, change->revision);
        return;
    }
    write_change(chunk->bytes + chunk->used, change);
    chunk->used += (uint32_t)size;
    chunk->last_revision = change->revision;
}

void feed_log_done(struct feed *feed) {
    while (feed->first_serial < feed->next_serial)
        drop_first_locked(feed);
    free(feed->chunks);
}
