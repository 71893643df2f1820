/* SPDX-License-Identifier: MIT */
#include "broker/disk.h"
#include "broker/internal.h"

void effects_run(struct queue *queue, struct effects *effects) {
    struct broker *broker = queue->broker;
    if (effects->moves)
        move_run(queue, effects->moves);
    struct broker_receive *receive = effects->receives;
    while (receive) {
        struct broker_receive *next = receive->next; /* done lets go of it */
        if (queue_is_hdd(queue) && receive->count)
            disk_submit_leases(broker, receive);
        else
            receive->done(receive);
        receive = next;
    }
}
