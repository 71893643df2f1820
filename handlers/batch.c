/* SPDX-License-Identifier: MIT */
/* Keys and queues changed together, all or none. */
#include "handlers/ops.h"

enum err op_storage_batch(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "batches are not there yet");
}
