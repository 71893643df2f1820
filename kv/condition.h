/* SPDX-License-Identifier: MIT */
/* Whether the condition of a change holds: the same for every store. */
#ifndef HATI_KV_CONDITION_H
#define HATI_KV_CONDITION_H

#include "kv/kv.h"

/* present: there is a live entry; revision and etag are its own (etag is looked at for KV_IF_ETAG
 * alone, and may be NULL otherwise). Any thread. */
bool kv_condition_holds(const struct kv_op *op, bool present, uint64_t revision,
                        const uint8_t *etag);

#endif
