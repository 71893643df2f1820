/* SPDX-License-Identifier: MIT */
/* One instant of keys and queues, memory and hdd, of a running process. */
#ifndef HATI_SNAPSHOT_CUT_H
#define HATI_SNAPSHOT_CUT_H

#include "broker/snapshot.h"
#include "kv/kv_snapshot.h"

struct datadir;

/* Takes a snapshot of both at one instant: every write that was answered before this began is in
 * it, none that began after it returned is, and what belongs together (a write of several keys, a
 * publish to several queues, a batch over keys and queues) is in it as a whole or not at all. Of
 * two writes one after another the later is never in it without the earlier.
 *
 * datadir: what kv and broker share, started; NULL where there is no hdd. Blocks for some
 * milliseconds (behind what waits for the committer), so not on a door's thread, nor the
 * committer's. Writers are held up for microseconds here, and later as kv/kv_snapshot.h and
 * broker/snapshot.h say. ERR_UNAVAILABLE: an engine has the entries, or the journal cannot go on;
 * ERR_CONFLICT: another snapshot is not yet ended; ERR_OUT_OF_MEMORY. Both are ended by the caller,
 * before datadir_stop. */
enum err cut_take(struct kv *kv, struct broker *broker, struct datadir *datadir,
                  struct kv_snapshot **ret_keys, struct broker_snapshot **ret_queues) MUST_USE;

#endif
