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
enum err op_storage_batch(struct call *call);
enum err op_broker_create_router(struct call *call);
enum err op_broker_delete_router(struct call *call);
enum err op_broker_get_router(struct call *call);
enum err op_broker_list_routers(struct call *call);
enum err op_broker_create_queue(struct call *call);
enum err op_broker_delete_queue(struct call *call);
enum err op_broker_get_queue(struct call *call);
enum err op_broker_list_queues(struct call *call);
enum err op_broker_pause(struct call *call);
enum err op_broker_resume(struct call *call);
enum err op_broker_bind(struct call *call);
enum err op_broker_unbind(struct call *call);
enum err op_broker_publish(struct call *call);
enum err op_broker_publish_many(struct call *call);
enum err op_broker_receive(struct call *call);
enum err op_broker_ack(struct call *call);
enum err op_broker_ack_many(struct call *call);
enum err op_broker_nack(struct call *call);
enum err op_broker_extend(struct call *call);
enum err op_broker_flush(struct call *call);
enum err op_broker_redrive(struct call *call);
enum err op_broker_peek(struct call *call);
enum err op_server_ping(struct call *call);
enum err op_server_discover(struct call *call);
enum err op_server_stats(struct call *call);

#endif
