/* SPDX-License-Identifier: MIT */
/* A broker that is reached over a network: the front gives it every call. Contracts as in broker.h,
 * but that every call is ERR_PENDING (ERR_WOULD_WAIT where asked for), or fails with nothing done.
 */
#ifndef HATI_BROKER_REMOTE_H
#define HATI_BROKER_REMOTE_H

#include "broker/broker.h"

struct broker_remote {
    void *context;
    enum err (*submit)(void *context, struct broker_write *write);
    enum err (*receive)(void *context, struct broker_receive *receive);
    void (*receive_stop)(void *context, struct broker_receive *receive);
    void (*give_back)(void *context, struct broker_receive *receive);
    void (*receive_free)(void *context, struct broker_receive *receive);
    /* May open a consumer of a queue it does not know yet: its first receive tells. */
    enum err (*consumer_open)(void *context, struct slice queue, unsigned prefetch,
                              struct broker_consumer *ret_consumer);
    void (*consumer_close)(void *context, struct broker_consumer *consumer);
    enum err (*ask)(void *context, struct broker_query *query);
    void (*drain)(void *context);
    void (*stats)(void *context, struct broker_stats *ret_stats);
    bool (*is_ready)(void *context);
};

#endif
