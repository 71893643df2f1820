/* SPDX-License-Identifier: MIT */
/* The part of a made-up broker that looks and finds nothing, and takes part in no transaction. */
#ifndef HATI_TESTS_BROKER_QUERY_FAKE_H
#define HATI_TESTS_BROKER_QUERY_FAKE_H

#include "broker/broker.h"

enum err broker_get_queue(struct broker *broker, struct slice name, int64_t now_ms,
                          struct arena *arena, struct broker_queue_info *ret_info) {
    (void)broker, (void)name, (void)now_ms, (void)arena, (void)ret_info;
    return ERR_QUEUE_NOT_EXIST;
}

enum err broker_get_router(struct broker *broker, struct slice name, struct arena *arena,
                           struct broker_router_info *ret_info) {
    (void)broker, (void)name, (void)arena, (void)ret_info;
    return ERR_ROUTER_NOT_EXIST;
}

enum err broker_list_queues(struct broker *broker, struct arena *arena, struct slice **ret_names,
                            size_t *ret_count) {
    (void)broker, (void)arena, (void)ret_names;
    *ret_count = 0;
    return OK;
}

enum err broker_list_routers(struct broker *broker, struct arena *arena, struct slice **ret_names,
                             size_t *ret_count) {
    return broker_list_queues(broker, arena, ret_names, ret_count);
}

enum err broker_peek(struct broker *broker, struct slice queue, struct broker_cursor *cursor,
                     unsigned limit, struct arena *arena, struct broker_delivery **ret_deliveries,
                     unsigned *ret_count, bool *ret_more) {
    (void)broker, (void)queue, (void)cursor, (void)limit, (void)arena, (void)ret_deliveries;
    *ret_count = 0;
    *ret_more = false;
    return OK;
}

bool broker_is_remote(const struct broker *broker) {
    (void)broker;
    return false;
}

enum err broker_ask(struct broker *broker, struct broker_query *query) {
    (void)broker, (void)query;
    return ERR_INTERNAL;
}

void broker_stats(struct broker *broker, struct broker_stats *ret_stats) {
    (void)broker;
    *ret_stats = (struct broker_stats){0};
}

bool broker_is_ready(struct broker *broker) {
    (void)broker;
    return true;
}

enum err broker_stage_op(struct broker *broker, struct broker_op *op, int64_t now_ms,
                         struct journal_block *block) {
    (void)broker, (void)op, (void)now_ms, (void)block;
    return ERR_UNAVAILABLE;
}

void broker_stage_undo(struct broker *broker, struct broker_op *op) {
    (void)broker, (void)op;
}

void broker_stage_finish(struct broker *broker, struct broker_op *op) {
    (void)broker, (void)op;
}

uint64_t broker_stage_size(struct broker *broker, struct broker_op *op) {
    (void)broker;
    (void)op;
    return 0;
}

#endif
