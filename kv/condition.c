/* SPDX-License-Identifier: MIT */
#include "kv/condition.h"

static bool is_one_of(const struct kv_op *op, const uint8_t *etag) {
    for (unsigned i = 0; i < op->etag_count; i++)
        if (memcmp(op->etags[i], etag, HASH_MD5_BYTES) == 0)
            return true;
    return false;
}

bool kv_condition_holds(const struct kv_op *op, bool present, uint64_t revision,
                        const uint8_t *etag) {
    switch (op->condition) {
    case KV_ALWAYS:
        return true;
    case KV_IF_ABSENT:
        return !present;
    case KV_IF_PRESENT:
        return present;
    case KV_IF_ETAG:
        return present && is_one_of(op, etag);
    case KV_IF_REVISION:
        return present && revision == op->if_revision;
    }
    return false;
}
