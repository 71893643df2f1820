/* SPDX-License-Identifier: MIT */
#include "engine/receive.h"

static enum fate end_of(struct topology *topology, const struct tqueue *queue,
                        enum broker_reason reason, enum broker_reason *ret_reason,
                        struct tqueue **ret_target) {
    struct tqueue *target = queue->options.dead_letter.len
                                ? topology_find_queue(topology, queue->options.dead_letter)
                                : NULL;
    *ret_reason = reason;
    if (!target || target->gone)
        return FATE_DROP;
    *ret_target = target;
    return FATE_MOVE;
}

/* As lease_settle_locked and message_place_locked of the broker on one node decide. */
enum fate message_fate(struct topology *topology, const struct tqueue *queue, int64_t attempt,
                       int64_t expires_ms, bool lease_ended, int64_t delay_ms, int64_t now_ms,
                       enum broker_reason *ret_reason, struct tqueue **ret_target) {
    *ret_reason = REASON_NONE;
    *ret_target = NULL;
    if (!queue || queue->gone)
        return FATE_DROP;
    int64_t most = queue->options.max_deliver;
    if (lease_ended && most && attempt >= most)
        return end_of(topology, queue, REASON_MAX_DELIVER, ret_reason, ret_target);
    if (expires_ms && expires_ms <= now_ms)
        return end_of(topology, queue, REASON_EXPIRED, ret_reason, ret_target);
    return delay_ms > 0 ? FATE_DELAYED : FATE_READY;
}
