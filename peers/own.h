/* SPDX-License-Identifier: MIT */
/* Which keys this node holds, as it tells its peers: the filter for Olivia nodes, which counts, and
 * that for hati nodes, which is made anew when too many keys have left it. Both never say no to a
 * key that is held. Any thread.
 *
 *   kv (memory, namespace default) ──own_note──> counts, wide filter, ring of new hashes
 *   door  <──own_append_…── the same          peers' thread ──own_rebuild_step──> a fresh filter
 */
#ifndef HATI_PEERS_OWN_H
#define HATI_PEERS_OWN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct kv;
struct own;

#define OWN_CHUNK_BYTES 196608U /* of a wide filter in one answer; a multiple of 8 and of 3 */
#define OWN_PULSE_MAX 8192U     /* new hashes in one answer */
#define OWN_RING 262144U        /* new hashes that are remembered */

/* everything: there is no telling which keys there are (they are in a database that others share):
 * every filter says maybe to all. */
enum err own_open(bool everything, struct own **ret_own) MUST_USE;
void own_close(struct own *own);

/* For struct kv_watch: a key came or went. Called with a lock of the store held. */
void own_note(void *own, struct slice key, bool came);

/* Appends the text of the filter for Olivia nodes (olivia_filter_append). */
bool own_append_olivia(struct own *own, struct buf *to);

/* The wide filter at one moment. A filter is known by its epoch, the keys added to it by their
 * sequence. */
struct own_state {
    uint64_t epoch;    /* under 2^63, never 0; another after each rebuild, and in another process */
    uint64_t sequence; /* keys that came since own_open */
    uint64_t keys;     /* held now */
    uint64_t bits;
};

void own_state(struct own *own, struct own_state *ret_state);

/* Appends the hashes of keys that came behind *sequence, as base64url of 8 little-endian bytes
 * each, at most OWN_PULSE_MAX, and moves *sequence behind them. False, nothing appended, where the
 * whole filter is wanted: the epoch is another, or so many came that they are forgotten. */
bool own_append_since(struct own *own, uint64_t epoch, uint64_t *sequence, struct buf *to);

/* Appends OWN_CHUNK_BYTES (fewer at the end) of the filter from offset (a multiple of
 * OWN_CHUNK_BYTES), as base64url. False, nothing appended: the epoch is another, or there is
 * nothing at the offset. */
bool own_append_chunk(struct own *own, uint64_t epoch, uint64_t offset, struct buf *to);

/* One short step (under a millisecond) of making the wide filter anew, where that is due: its size
 * no longer fits the keys, or a tenth of those in it are gone and the last rebuild was some time
 * ago (steady clock, ms). True while the next step should come soon. The peers' thread only. */
bool own_rebuild_step(struct own *own, struct kv *kv, int64_t steady_ms);

#endif
