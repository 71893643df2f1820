/* SPDX-License-Identifier: MIT */
#include "broker/internal.h"

enum err route_find(struct broker *broker, const struct router *router, struct slice key,
                    struct match_result *result) {
    if (router->set)
        return match_find(router->set, key, result);
    void *queue = names_get(&broker->queues, key); /* `default`: each queue under its name */
    result->count = queue ? 1 : 0;
    result->targets[0] = queue;
    return OK;
}
