/* SPDX-License-Identifier: MIT */
/* Statements on messages. */
#include "engine/sql.h"

const struct sql sql_messages[] = {
    {.name = "messages_add", .text = "", .why = ""},
    {.name = "messages_lock", .text = "", .why = ""},
    {.name = "messages_update", .text = "", .why = ""},
    {.name = "messages_delete", .text = "", .why = ""},
    {.name = "messages_flush", .text = "", .why = ""},
    {.name = "messages_head", .text = "", .why = ""},
    {.name = "queues_lock", .text = "", .why = ""},
    {.name = "dedup_read", .text = "", .why = ""},
    {.name = "dedup_add", .text = "", .why = ""},
    {.name = "dedup_sweep", .text = "", .why = ""},
};
