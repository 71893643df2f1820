/* SPDX-License-Identifier: MIT */
/* Feeds of a store behind a network, made by comparing. */
#ifndef HATI_KV_REMOTE_FEED_H
#define HATI_KV_REMOTE_FEED_H

#include "kv/feeds.h"
#include "kv/remote.h"

struct remote_feeds {
    struct feeds *feeds;
    const struct kv_remote *remote;
    enum kv_storage storage;
    _Atomic uint64_t newest; /* place of the last change that was told */
};

/* Namespaces of the storage may be followed from now on; remote lives as long as feeds. */
void remote_feeds_open(struct remote_feeds *remote, struct feeds *feeds,
                       const struct kv_remote *store, enum kv_storage storage);

#endif
