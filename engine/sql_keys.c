/* SPDX-License-Identifier: MIT */
/* Statements on keys. */
#include "engine/sql.h"

const struct sql sql_keys[] = {
    {.name = "keys_read", .text = "", .why = ""},
    {.name = "keys_lock", .text = "", .why = ""},
    {.name = "keys_upsert", .text = "", .why = ""},
    {.name = "keys_insert", .text = "", .why = ""},
    {.name = "keys_update", .text = "", .why = ""},
    {.name = "keys_delete", .text = "", .why = ""},
    {.name = "keys_flush", .text = "", .why = ""},
    {.name = "keys_list", .text = "", .why = ""},
    {.name = "keys_list_long", .text = "", .why = ""},
    {.name = "keys_count", .text = "", .why = ""},
    {.name = "keys_sweep", .text = "", .why = ""},
};
