/* SPDX-License-Identifier: MIT */
#include "server/line_held.h"

#include <stdlib.h>

#include "server/line_loop.h"

#define SPARE_MAX 2048U

static struct line_held *take_held(struct line_loop *loop) {
    struct line_held *held = loop->spare_held;
    if (!held)
        return malloc(sizeof *held);
    loop->spare_held = held->next;
    loop->spare_held_count--;
    return held;
}

static void put_held(struct line_loop *loop, struct line_held *held) {
    if (loop->spare_held_count == SPARE_MAX) {
        free(held);
        return;
    }
    held->next = loop->spare_held;
    loop->spare_held = held;
    loop->spare_held_count++;
}

void line_held_add(struct line_loop *loop, const struct broker_receive *receive) {
    struct line_held *held = receive->count ? take_held(loop) : NULL;
    struct broker_receive copy = *receive;
    copy.consumer = NULL; /* it may be gone by then */
    if (!held) {
        broker_receive_free(&copy); /* where it is not sent, its leases end in time */
        return;
    }
    held->receive = copy;
    held->next = loop->held;
    loop->held = held;
}

void line_held_add_call(struct line_loop *loop, struct call *call) {
    if (!call->broker.holds)
        return;
    call->broker.holds = false;
    line_held_add(loop, &call->broker.receive);
}

void line_held_release(struct line_loop *loop, struct line_held *list, bool was_sent) {
    while (list) {
        struct line_held *next = list->next;
        if (!was_sent)
            broker_give_back(loop->core->broker, &list->receive);
        broker_receive_free(&list->receive);
        put_held(loop, list);
        list = next;
    }
}

void line_held_close(struct line_loop *loop) {
    while (loop->spare_held) {
        struct line_held *held = loop->spare_held;
        loop->spare_held = held->next;
        free(held);
    }
}
