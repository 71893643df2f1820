/* SPDX-License-Identifier: MIT */
/* Statements on queues, counters and nodes. */
#include "engine/sql.h"

const struct sql sql_queues[] = {
    {.name = "receive", .text = "", .why = ""},
    {.name = "give_back", .text = "", .why = ""},
    {.name = "due_lock", .text = "", .why = ""},
    {.name = "expired_lock", .text = "", .why = ""},
    {.name = "due_next", .text = "", .why = ""},
    {.name = "redrive_lock", .text = "", .why = ""},
    {.name = "peek", .text = "", .why = ""},
    {.name = "queue_counts", .text = "", .why = ""},
    {.name = "message_count", .text = "", .why = ""},
    {.name = "orphans_sweep", .text = "", .why = ""},
    {.name = "counters_put", .text = "", .why = ""},
    {.name = "counters_read", .text = "", .why = ""},
    {.name = "router_counters_put", .text = "", .why = ""},
    {.name = "router_counters_read", .text = "", .why = ""},
    {.name = "node_put", .text = "", .why = ""},
    {.name = "nodes_read", .text = "", .why = ""},
    {.name = "node_leave", .text = "", .why = ""},
    {.name = "nodes_sweep", .text = "", .why = ""},
};
