/* SPDX-License-Identifier: MIT */
/* The functions of the rows. Each is a struct op's run: see there. */
#ifndef HATI_HANDLERS_OPS_H
#define HATI_HANDLERS_OPS_H

#include "handlers/call.h"

#define OP_TTL_MAX_MS 3153600000000 /* a hundred years */

enum err op_storage_set(struct call *call);
enum err op_storage_get(struct call *call);
enum err op_storage_get_entry(struct call *call);
enum err op_storage_has(struct call *call);
enum err op_storage_delete(struct call *call);
enum err op_storage_flush_all(struct call *call);
enum err op_storage_count(struct call *call);
enum err op_storage_list(struct call *call);
enum err op_storage_get_many(struct call *call);
enum err op_storage_set_many(struct call *call);
enum err op_storage_increment(struct call *call);
enum err op_storage_touch(struct call *call);
enum err op_storage_ttl(struct call *call);
enum err op_server_ping(struct call *call);
enum err op_server_stats(struct call *call);

#endif
