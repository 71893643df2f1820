/* SPDX-License-Identifier: MIT */
#include "broker/broker.h"
void broker_receive_free(struct broker_receive *receive) { (void)receive; }
void broker_give_back(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; }
void broker_receive_stop(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; }
enum err broker_receive(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; return ERR_UNAVAILABLE; }
enum err broker_consumer_open(struct broker *broker, struct slice queue, unsigned prefetch, struct broker_consumer *ret_consumer) { (void)broker; (void)queue; (void)prefetch; (void)ret_consumer; return ERR_UNAVAILABLE; }
void broker_consumer_close(struct broker *broker, struct broker_consumer *consumer) { (void)broker; (void)consumer; }
