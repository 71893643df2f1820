/* SPDX-License-Identifier: MIT */
#include "engine/keyspace.h"

#include "base/hash.h"

_Static_assert(KEY_PREFIX + HASH_SHA256_BYTES == KEY_STORED_MAX, "a long key fills its place");

struct slice key_stored(struct slice key, char *room) {
    uint8_t digest[HASH_SHA256_BYTES];
    if (!key_is_long(key))
        return key;
    hash_sha256(key, digest);
    memcpy(room, key.ptr, KEY_PREFIX);
    memcpy(room + KEY_PREFIX, digest, sizeof digest);
    return slice_make(room, KEY_STORED_MAX);
}

/* The last byte that can be more is one more, and what is behind it falls away; where none can, no
 * key is behind: a run of 0xff that no key reaches. */
struct slice key_behind_prefix(struct slice prefix, char *room) {
    size_t len = prefix.len;
    while (len && (uint8_t)prefix.ptr[len - 1] == 0xFF)
        len--;
    if (len == 0) {
        memset(room, 0xFF, KEY_STORED_MAX + 1);
        return slice_make(room, KEY_STORED_MAX + 1);
    }
    memcpy(room, prefix.ptr, len);
    room[len - 1] = (char)((uint8_t)room[len - 1] + 1);
    return slice_make(room, len);
}
