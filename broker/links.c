/* SPDX-License-Identifier: MIT */
#include "broker/broker.h"
__attribute__((weak)) void broker_receive_free(struct broker_receive *receive) { (void)receive; }
__attribute__((weak)) void broker_give_back(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; }
__attribute__((weak)) void broker_receive_stop(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; }
__attribute__((weak)) enum err broker_consumer_open(struct broker *broker, struct slice queue, unsigned prefetch, struct broker_consumer *ret_consumer) { (void)broker; (void)queue; (void)prefetch; (void)ret_consumer; return ERR_UNAVAILABLE; }
__attribute__((weak)) void broker_consumer_close(struct broker *broker, struct broker_consumer *consumer) { (void)broker; (void)consumer; }
__attribute__((weak)) enum err broker_submit(struct broker *broker, struct broker_write *write) { (void)broker; return write->err = ERR_UNAVAILABLE; }
__attribute__((weak)) enum err broker_receive(struct broker *broker, struct broker_receive *receive) { (void)broker; return receive->err = ERR_UNAVAILABLE; }
__attribute__((weak)) enum err broker_get_queue(struct broker *broker, struct slice name, int64_t now_ms, struct arena *arena, struct broker_queue_info *ret_info) { (void)broker; (void)name; (void)now_ms; (void)arena; (void)ret_info; return ERR_UNAVAILABLE; }
__attribute__((weak)) enum err broker_get_router(struct broker *broker, struct slice name, struct arena *arena, struct broker_router_info *ret_info) { (void)broker; (void)name; (void)arena; (void)ret_info; return ERR_UNAVAILABLE; }
__attribute__((weak)) enum err broker_list_queues(struct broker *broker, struct arena *arena, struct slice **ret_names, size_t *ret_count) { (void)broker; (void)arena; (void)ret_names; (void)ret_count; return ERR_UNAVAILABLE; }
__attribute__((weak)) enum err broker_list_routers(struct broker *broker, struct arena *arena, struct slice **ret_names, size_t *ret_count) { (void)broker; (void)arena; (void)ret_names; (void)ret_count; return ERR_UNAVAILABLE; }
__attribute__((weak)) enum err broker_peek(struct broker *broker, struct slice queue, struct broker_cursor *cursor, unsigned limit, struct arena *arena, struct broker_delivery **ret_deliveries, unsigned *ret_count, bool *ret_more) { (void)broker; (void)queue; (void)cursor; (void)limit; (void)arena; (void)ret_deliveries; (void)ret_count; (void)ret_more; return ERR_UNAVAILABLE; }
__attribute__((weak)) void broker_stats(struct broker *broker, struct broker_stats *ret_stats) { (void)broker; *ret_stats = (struct broker_stats){0}; }
__attribute__((weak)) bool broker_is_ready(struct broker *broker) { (void)broker; return true; }
