/* SPDX-License-Identifier: MIT */
#include "peers/own.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/text.h"
#include "kv/kv.h"
#include "peers/olivia_filter.h"
#include "peers/wide_filter.h"

#define EPOCH_MAX ((1ULL << 63) - 1)
#define GONE_PART 10U           /* more than one key in so many gone: make it anew */
#define CHEAP_BITS (1ULL << 20) /* a filter that may be sent often */
#define CHEAP_PAUSE_MS 50
#define PAUSE_MS 5000
#define PIECE_WORDS 1536U /* copied under the lock at once; base64 of them needs no padding */
#define STEP_BLANK_BYTES (1U << 20)
#define BATCH 128U /* hashes added under one lock */

struct own {
    bool everything;
    pthread_mutex_t lock; /* taken within a lock of the store; guards what follows */
    struct olivia_filter olivia;
    uint32_t counts[OLIVIA_FILTER_BITS]; /* keys that have the bit */
    struct wide_filter wide;
    struct wide_filter fresh; /* being made; 0 bits: none */
    uint64_t epoch, sequence, keys;
    uint64_t gone;       /* keys in wide that are held no more */
    uint64_t gone_fresh; /* the same of fresh, perhaps too many */
    uint64_t ring[OWN_RING];
    /* the peers' thread only */
    struct wide_filter blank; /* on its way to be fresh; 0 bits: none */
    uint64_t blank_ready;     /* bytes of it that have memory behind them */
    bool built;
    int64_t built_ms;
    uint32_t scan_at;
};

static void say_yes_to_all(struct own *own) {
    memset(&own->olivia, 0xFF, sizeof own->olivia);
    memset(own->wide.words, 0xFF, own->wide.bits / 8);
}

enum err own_open(bool everything, struct own **ret_own) {
    struct own *own = calloc(1, sizeof *own);
    if (!own)
        return ERR_OUT_OF_MEMORY;
    enum err err = wide_filter_init(&own->wide, WIDE_FILTER_BITS_MIN);
    if (err == OK && pthread_mutex_init(&own->lock, NULL) != 0)
        err = ERR_OUT_OF_MEMORY;
    if (err != OK) {
        wide_filter_done(&own->wide);
        free(own);
        return err;
    }
    own->everything = everything;
    if (everything)
        say_yes_to_all(own);
    hash_random(&own->epoch, sizeof own->epoch);
    own->epoch = own->epoch % EPOCH_MAX + 1;
    *ret_own = own;
    return OK;
}

void own_close(struct own *own) {
    if (!own)
        return;
    pthread_mutex_destroy(&own->lock);
    wide_filter_done(&own->wide);
    wide_filter_done(&own->fresh);
    wide_filter_done(&own->blank);
    free(own);
}

/* Equal places of a key are one: a bit counts keys. */
static unsigned distinct_places(struct slice key, uint32_t places[OLIVIA_FILTER_PLACES]) {
    olivia_filter_places(key, places);
    unsigned count = 1;
    for (unsigned i = 1; i < OLIVIA_FILTER_PLACES; i++)
        if (places[i] != places[0] && (count == 1 || places[i] != places[1]))
            places[count++] = places[i];
    return count;
}

static void come_locked(struct own *own, const uint32_t *places, unsigned count, uint64_t hash) {
    for (unsigned i = 0; i < count; i++)
        if (own->counts[places[i]]++ == 0)
            own->olivia.words[places[i] / 64] |= 1ULL << places[i] % 64;
    wide_filter_add(&own->wide, hash);
    if (own->fresh.bits)
        wide_filter_add(&own->fresh, hash);
    own->ring[own->sequence++ % OWN_RING] = hash;
    own->keys++;
}

static void go_locked(struct own *own, const uint32_t *places, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (--own->counts[places[i]] == 0)
            own->olivia.words[places[i] / 64] &= ~(1ULL << places[i] % 64);
    own->keys--;
    own->gone++;
    own->gone_fresh++;
}

void own_note(void *context, struct slice key, bool came) {
    struct own *own = context;
    if (own->everything)
        return;
    uint32_t places[OLIVIA_FILTER_PLACES];
    unsigned count = distinct_places(key, places);
    uint64_t hash = came ? wide_filter_hash(key) : 0;
    pthread_mutex_lock(&own->lock);
    if (came)
        come_locked(own, places, count, hash);
    else
        go_locked(own, places, count);
    pthread_mutex_unlock(&own->lock);
}

bool own_append_olivia(struct own *own, struct buf *to) {
    struct olivia_filter filter;
    pthread_mutex_lock(&own->lock);
    filter = own->olivia;
    pthread_mutex_unlock(&own->lock);
    return olivia_filter_append(to, &filter);
}

void own_state(struct own *own, struct own_state *ret_state) {
    pthread_mutex_lock(&own->lock);
    *ret_state = (struct own_state){
        .epoch = own->epoch,
        .sequence = own->sequence,
        .keys = own->keys,
        .bits = own->wide.bits,
    };
    pthread_mutex_unlock(&own->lock);
}

static bool append_words(struct buf *to, const uint64_t *words, size_t count) {
    char bytes[PIECE_WORDS * 8];
    for (size_t i = 0; i < count * 8; i++)
        bytes[i] = (char)(words[i / 8] >> i % 8 * 8 & 0xFF);
    return text_append_base64url(to, slice_make(bytes, count * 8));
}

/* Copies words that begin at a number: SIZE_MAX where there are none such, 0 at the end. Those of
 * the ring are numbered by sequence, those of the filter by their place in it. */
static size_t copy_hashes(struct own *own, uint64_t epoch, uint64_t from, uint64_t *words) {
    size_t count = SIZE_MAX;
    pthread_mutex_lock(&own->lock);
    if (epoch == own->epoch && from <= own->sequence && own->sequence - from <= OWN_RING)
        for (count = 0; count < PIECE_WORDS && from + count < own->sequence; count++)
            words[count] = own->ring[(from + count) % OWN_RING];
    pthread_mutex_unlock(&own->lock);
    return count;
}

static size_t copy_filter(struct own *own, uint64_t epoch, uint64_t from, uint64_t *words) {
    size_t count = SIZE_MAX;
    pthread_mutex_lock(&own->lock);
    if (epoch == own->epoch) {
        uint64_t left = from < own->wide.bits / 64 ? own->wide.bits / 64 - from : 0;
        count = left < PIECE_WORDS ? (size_t)left : PIECE_WORDS;
        if (count)
            memcpy(words, own->wide.words + from, count * sizeof *words);
    }
    pthread_mutex_unlock(&own->lock);
    return count;
}

/* Piece by piece, so that writers of keys need not wait for the whole. */
static bool
append_pieces(struct own *own,
              size_t (*copy)(struct own *own, uint64_t epoch, uint64_t from, uint64_t *words),
              uint64_t epoch, uint64_t from, size_t most, struct buf *to, size_t *ret_count) {
    uint64_t words[PIECE_WORDS];
    size_t start = to->len, total = 0, count = PIECE_WORDS;
    while (total < most && count == PIECE_WORDS) {
        count = copy(own, epoch, from + total, words);
        size_t take = count < most - total ? count : most - total;
        if (count == SIZE_MAX || !append_words(to, words, take)) {
            to->len = start;
            return false;
        }
        total += take;
    }
    *ret_count = total;
    return true;
}

bool own_append_since(struct own *own, uint64_t epoch, uint64_t *sequence, struct buf *to) {
    size_t count;
    if (!append_pieces(own, copy_hashes, epoch, *sequence, OWN_PULSE_MAX, to, &count))
        return false;
    *sequence += count;
    return true;
}

bool own_append_chunk(struct own *own, uint64_t epoch, uint64_t offset, struct buf *to) {
    size_t count;
    return offset % OWN_CHUNK_BYTES == 0 &&
           append_pieces(own, copy_filter, epoch, offset / 8, OWN_CHUNK_BYTES / 8, to, &count) &&
           count > 0;
}

static bool is_due(struct own *own, int64_t steady_ms, uint64_t *ret_bits) {
    pthread_mutex_lock(&own->lock);
    uint64_t bits = own->wide.bits, gone = own->gone, keys = own->keys;
    pthread_mutex_unlock(&own->lock);
    uint64_t want = wide_filter_bits_for(keys);
    int64_t pause = bits < CHEAP_BITS ? CHEAP_PAUSE_MS : PAUSE_MS;
    bool rested = !own->built || steady_ms - own->built_ms >= pause;
    *ret_bits = want;
    return want > bits || want < bits / 4 || (gone > (keys + gone) / GONE_PART && rested);
}

/* The kernel gives memory when it is first written to, and takes its time: not under the lock. */
static void ready_blank(struct own *own) {
    uint64_t left = own->blank.bits / 8 - own->blank_ready;
    size_t take = left < STEP_BLANK_BYTES ? (size_t)left : STEP_BLANK_BYTES;
    memset((char *)own->blank.words + own->blank_ready, 0, take);
    own->blank_ready += take;
}

/* From here on keys that come are in both; those that are there already will be shown. */
static void start_fresh(struct own *own) {
    pthread_mutex_lock(&own->lock);
    own->fresh = own->blank;
    own->gone_fresh = 0;
    pthread_mutex_unlock(&own->lock);
    own->blank = (struct wide_filter){NULL, 0};
    own->scan_at = 0;
}

/* True where there is a fresh filter to be filled, or will be. */
static bool make_fresh(struct own *own, int64_t steady_ms) {
    uint64_t bits;
    if (own->fresh.bits)
        return true;
    if (!own->blank.bits) {
        if (!is_due(own, steady_ms, &bits) || wide_filter_init(&own->blank, bits) != OK)
            return false;
        own->blank_ready = 0;
    }
    ready_blank(own);
    if (own->blank_ready == own->blank.bits / 8)
        start_fresh(own);
    return true;
}

static void swap_fresh(struct own *own, int64_t steady_ms) {
    pthread_mutex_lock(&own->lock);
    struct wide_filter old = own->wide;
    own->wide = own->fresh;
    own->fresh = (struct wide_filter){NULL, 0};
    own->gone = own->gone_fresh;
    own->epoch = own->epoch % EPOCH_MAX + 1;
    pthread_mutex_unlock(&own->lock);
    wide_filter_done(&old);
    own->built = true;
    own->built_ms = steady_ms;
}

struct batch {
    struct own *own;
    unsigned count;
    uint64_t hashes[BATCH];
};

static void add_batch(struct batch *batch) {
    pthread_mutex_lock(&batch->own->lock);
    for (unsigned i = 0; i < batch->count; i++)
        wide_filter_add(&batch->own->fresh, batch->hashes[i]);
    pthread_mutex_unlock(&batch->own->lock);
    batch->count = 0;
}

static void show(void *context, struct slice key) {
    struct batch *batch = context;
    if (batch->count == BATCH)
        add_batch(batch);
    batch->hashes[batch->count++] = wide_filter_hash(key);
}

bool own_rebuild_step(struct own *own, struct kv *kv, int64_t steady_ms) {
    if (own->everything || !kv)
        return false;
    if (!make_fresh(own, steady_ms))
        return false;
    if (!own->fresh.bits)
        return true;
    struct batch batch = {.own = own};
    bool more = kv_watch_scan(kv, &own->scan_at, show, &batch);
    add_batch(&batch);
    if (!more)
        swap_fresh(own, steady_ms);
    return more;
}
