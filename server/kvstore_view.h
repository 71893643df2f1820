/* SPDX-License-Identifier: MIT */
/* A view of /kv-store: which nodes there are, and how they and the keys fall into shards. */
#ifndef HATI_SERVER_KVSTORE_VIEW_H
#define HATI_SERVER_KVSTORE_VIEW_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define KVSTORE_MEMBERS_MAX 4096

struct json_t;

struct kvstore_view {
    struct slice *members; /* host:port */
    unsigned member_count;
    unsigned repl_factor; /* 1 to member_count */
};

/* Each returns NULL and fills *ret_view, whose members are copied into the arena, or says what is
 * wrong (static), ret untouched. Any thread. */

/* {"view":["host:port",…],"repl-factor":1} */
const char *kvstore_view_of_json(const struct json_t *object, struct arena *arena,
                                 struct kvstore_view *ret_view);
/* The same as text. */
const char *kvstore_view_of_entry(struct slice text, struct arena *arena,
                                  struct kvstore_view *ret_view);
/* host:port parted by commas, spaces around them. */
const char *kvstore_view_of_list(struct slice text, unsigned repl_factor, struct arena *arena,
                                 struct kvstore_view *ret_view);

/* Writes the form that kvstore_view_of_entry reads. */
bool kvstore_view_append(struct buf *to, const struct kvstore_view *view);

/* Members by replication factor, at least 1. */
unsigned kvstore_view_shards(const struct kvstore_view *view);
/* In which of them, from 0 on, a key is: the same on every node. */
unsigned kvstore_view_shard_of(struct slice key, unsigned shard_count);
/* The members of a shard, ["host:port",…]: runs of the view, all of whose members are in one. */
bool kvstore_view_append_replicas(struct buf *to, const struct kvstore_view *view, unsigned shard);

#endif
