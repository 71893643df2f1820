/* SPDX-License-Identifier: MIT */
/* Statements on routers, queues and bindings. */
#include "engine/sql.h"

const struct sql sql_topology[] = {
    {.name = "topology_version", .text = "", .why = ""},
    {.name = "topology_routers", .text = "", .why = ""},
    {.name = "topology_queues", .text = "", .why = ""},
    {.name = "topology_bindings", .text = "", .why = ""},
    {.name = "topology_step", .text = "", .why = ""},
    {.name = "router_put", .text = "", .why = ""},
    {.name = "queue_put", .text = "", .why = ""},
    {.name = "binding_put", .text = "", .why = ""},
    {.name = "bindings_gone", .text = "", .why = ""},
    {.name = "topology_sweep", .text = "", .why = ""},
};
