/* SPDX-License-Identifier: MIT */
/* A filter is fetched chunk by chunk into a new one, to which the keys that come meanwhile are
 * added as well as to the one in use; when it is whole they are swapped. Chunks are or-ed in, so
 * that neither order loses a key.
 *
 *   PULSE ──hashes──> added        PULSE ──`-`──> FILTER 0 ──> FILTER 1 ──> ... ──> swap
 */
#include "peers/sync.h"

#include "base/text.h"
#include "peers/inside.h"
#include "peers/wire.h"

#define HASH_BYTES 8U
#define ADDED_AT_ONCE 512U /* while those who ask have to wait */
#define ROUNDS_MAX 64U     /* pulses in a row, without waiting for a heartbeat */

static uint64_t get_le64(const char *from) {
    uint64_t number = 0;
    for (int i = 7; i >= 0; i--)
        number = number << 8 | (uint8_t)from[i];
    return number;
}

void sync_end_fetch(struct link *link) {
    struct sync *sync = &link->sync;
    if (!sync->fetching)
        return;
    wide_filter_done(&sync->next);
    sync->fetching = false;
    sync->epoch = 0;
    sync->chunk_number = 0;
}

void sync_forget(struct link *link) {
    struct wide_filter old = link->wide;
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->wide = (struct wide_filter){NULL, 0};
    link->shown.has_filter = false;
    link->shown.keys = 0;
    pthread_rwlock_unlock(&link->peers->filters_lock);
    if (old.bits)
        wide_filter_done(&old);
    if (!link->sync.fetching)
        link->sync.epoch = 0;
}

/* ---- pulses ---- */

void sync_say_pulse(struct link *link) {
    link->beat_waits = true;
    struct buf *to = link_begin(link, SENT_PULSE, NULL);
    if (!to)
        return;
    buf_append(to, SLICE("REQUEST PULSE:"));
    buf_append_u64(to, link->sync.epoch);
    buf_append_char(to, ':');
    buf_append_u64(to, link->sync.epoch ? link->sync.sequence : 0);
    link_end(link);
}

struct pulse {
    uint64_t epoch, sequence, last, keys, bits;
    struct slice hashes;
};

static bool parse_pulse(struct slice rest, struct pulse *ret_pulse) {
    return wire_take_u64(&rest, &ret_pulse->epoch) && wire_take_u64(&rest, &ret_pulse->sequence) &&
           wire_take_u64(&rest, &ret_pulse->last) && wire_take_u64(&rest, &ret_pulse->keys) &&
           wire_take_u64(&rest, &ret_pulse->bits) && wire_take_field(&rest, &ret_pulse->hashes) &&
           !rest.ptr && ret_pulse->epoch != 0 && ret_pulse->bits >= WIDE_FILTER_BITS_MIN &&
           ret_pulse->bits <= WIDE_FILTER_BITS_MAX &&
           (ret_pulse->bits & (ret_pulse->bits - 1)) == 0;
}

static void add_hashes(struct link *link, const char *bytes, size_t count) {
    struct sync *sync = &link->sync;
    for (size_t i = 0; sync->fetching && i < count; i++)
        wide_filter_add(&sync->next, get_le64(bytes + i * HASH_BYTES));
    for (size_t i = 0; link->wide.bits && i < count;) {
        size_t end = count - i > ADDED_AT_ONCE ? i + ADDED_AT_ONCE : count;
        pthread_rwlock_wrlock(&link->peers->filters_lock);
        for (; i < end; i++)
            wide_filter_add(&link->wide, get_le64(bytes + i * HASH_BYTES));
        pthread_rwlock_unlock(&link->peers->filters_lock);
    }
}

static void say_chunk(struct link *link) {
    struct buf *to = link_begin(link, SENT_CHUNK, NULL);
    if (!to)
        return;
    link->sync.chunk_number = link->last_number;
    buf_append(to, SLICE("REQUEST FILTER:"));
    buf_append_u64(to, link->sync.epoch);
    buf_append_char(to, ':');
    buf_append_u64(to, link->sync.next_offset);
    link_end(link);
}

/* Without memory for it the filter in use stays, and the next heartbeat tries again. */
static void begin_fetch(struct link *link, const struct pulse *pulse) {
    struct sync *sync = &link->sync;
    sync_end_fetch(link);
    sync->epoch = 0;
    if (wide_filter_init(&sync->next, pulse->bits) != OK)
        return;
    sync->fetching = true;
    sync->epoch = pulse->epoch;
    sync->sequence = pulse->last;
    sync->next_offset = 0;
    say_chunk(link);
}

static const char *take_hashes(struct link *link, const struct pulse *pulse) {
    char *bytes = link->peers->scratch;
    struct sync *sync = &link->sync;
    uint64_t bits = sync->fetching ? sync->next.bits : link->wide.bits;
    size_t len = 0;
    if (pulse->epoch != sync->epoch || pulse->bits != bits || pulse->sequence < sync->sequence ||
        pulse->last < pulse->sequence)
        return "a heartbeat of another filter";
    if (pulse->hashes.len > sizeof link->peers->scratch ||
        !text_base64url_decode(pulse->hashes, bytes, &len) || len % HASH_BYTES != 0 ||
        len / HASH_BYTES > OWN_PULSE_MAX)
        return "a heartbeat that does not parse";
    add_hashes(link, bytes, len / HASH_BYTES);
    bool went_on = pulse->sequence > sync->sequence;
    sync->sequence = pulse->sequence;
    if (went_on && pulse->sequence < pulse->last && ++sync->rounds < ROUNDS_MAX)
        sync_say_pulse(link);
    return NULL;
}

const char *sync_take_pulse(struct link *link, struct slice rest) {
    struct pulse pulse;
    if (!parse_pulse(rest, &pulse))
        return "a heartbeat that does not parse";
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->shown.keys = pulse.keys;
    pthread_rwlock_unlock(&link->peers->filters_lock);
    if (!slice_equal(pulse.hashes, SLICE("-")))
        return take_hashes(link, &pulse);
    begin_fetch(link, &pulse);
    return NULL;
}

/* ---- whole filters ---- */

static void swap(struct link *link) {
    struct wide_filter old = link->wide;
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->wide = link->sync.next;
    link->shown.has_filter = true;
    pthread_rwlock_unlock(&link->peers->filters_lock);
    link->sync.next = (struct wide_filter){NULL, 0};
    link->sync.fetching = false;
    if (old.bits)
        wide_filter_done(&old);
}

const char *sync_take_chunk(struct link *link, uint64_t number, struct slice rest) {
    struct sync *sync = &link->sync;
    struct slice text;
    uint64_t epoch, offset;
    size_t len = 0;
    if (!sync->fetching || number != sync->chunk_number)
        return NULL; /* of a filter that was given up */
    if (!wire_take_u64(&rest, &epoch) || !wire_take_u64(&rest, &offset) ||
        !wire_take_field(&rest, &text) || rest.ptr)
        return "a part of a filter that does not parse";
    if (slice_equal(text, SLICE("-"))) { /* the next heartbeat begins again */
        sync_end_fetch(link);
        return NULL;
    }
    uint64_t left = sync->next.bits / 8 - sync->next_offset;
    uint64_t want = left < OWN_CHUNK_BYTES ? left : OWN_CHUNK_BYTES;
    if (epoch != sync->epoch || offset != sync->next_offset || text.len > (want * 4 + 2) / 3 ||
        !text_base64url_decode(text, link->peers->scratch, &len) || len != want)
        return "a part of another filter";
    for (size_t i = 0; i < len / 8; i++)
        sync->next.words[offset / 8 + i] |= get_le64(link->peers->scratch + i * 8);
    sync->next_offset += len;
    if (sync->next_offset == sync->next.bits / 8)
        swap(link);
    else
        say_chunk(link);
    return NULL;
}

void sync_take_olivia(struct link *link, struct slice text) {
    struct olivia_filter filter;
    if (!olivia_filter_parse(text, &filter))
        return;
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->olivia = filter;
    link->shown.has_filter = true;
    pthread_rwlock_unlock(&link->peers->filters_lock);
}
