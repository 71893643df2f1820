/* SPDX-License-Identifier: MIT */
/* A store that is reached over a network: kv.c gives it every call in place of its own stores.
 * Contracts as in kv.h, but that every call is ERR_PENDING, or fails with nothing done. */
#ifndef HATI_KV_REMOTE_H
#define HATI_KV_REMOTE_H

#include "kv/kv.h"

struct kv_remote {
    void *context;
    enum err (*read)(void *context, struct kv_read *read);
    enum err (*submit)(void *context, struct kv_write *write);
    enum err (*list)(void *context, struct kv_list *list);
    enum err (*count)(void *context, struct kv_count *count);
    void (*stats)(void *context, enum kv_storage storage, struct kv_stats *ret_stats);
    bool (*is_ready)(void *context);
};

#endif
