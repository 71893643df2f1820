/* SPDX-License-Identifier: MIT */
/* Operations of the broker. */
#include "handlers/ops.h"

enum err op_broker_create_router(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_delete_router(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_get_router(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_list_routers(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_create_queue(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_delete_queue(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_get_queue(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_list_queues(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_pause(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_resume(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_bind(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_unbind(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_publish(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_publish_many(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_receive(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_ack(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_ack_many(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_nack(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_extend(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_flush(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_redrive(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_broker_peek(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}

enum err op_storage_batch(struct call *call) {
    return call_fail(call, ERR_UNAVAILABLE, "the broker is not there yet");
}
