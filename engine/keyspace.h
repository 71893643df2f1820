/* SPDX-License-Identifier: MIT */
/* How a key stands in the database's index. */
#ifndef HATI_ENGINE_KEYSPACE_H
#define HATI_ENGINE_KEYSPACE_H

#include "base/slice.h"

/* PostgreSQL takes no index row over about 2700 bytes: a key up to KEY_DIRECT_MAX bytes stands
 * there as it is, a longer one as its first KEY_PREFIX bytes and a SHA-256 of the whole. Both are
 * of KEY_DIRECT_MAX bytes then, and none is of the other's kind by chance: a longer one says so in
 * its row. */
#define KEY_DIRECT_MAX 1999U
#define KEY_PREFIX 1968U
#define KEY_STORED_MAX 2000U

/* Writes the stored form to room (KEY_STORED_MAX bytes) where it is another than the key; returns
 * it. */
struct slice key_stored(struct slice key, char *room);
static inline bool key_is_long(struct slice key) {
    return key.len > KEY_DIRECT_MAX;
}

/* The first bytes behind every key that begins with the prefix, written to room (prefix.len bytes,
 * at least KEY_STORED_MAX + 1); at most that many bytes are looked at. */
struct slice key_behind_prefix(struct slice prefix, char *room);

#endif
