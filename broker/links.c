/* SPDX-License-Identifier: MIT */
#include "broker/broker.h"
void broker_receive_free(struct broker_receive *receive) { (void)receive; }
void broker_give_back(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; }
void broker_receive_stop(struct broker *broker, struct broker_receive *receive) { (void)broker; (void)receive; }
