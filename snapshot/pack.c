/* SPDX-License-Identifier: MIT */
#include <zstd.h>

#include "snapshot/block.h"

#define LEVEL 3

uint64_t snapshot_pack_bound(uint64_t raw_bytes) {
    return raw_bytes + raw_bytes / 128 + 1024; /* somewhat over what zstd makes of noise */
}

bool snapshot_pack(struct buf *to, struct slice raw) {
    size_t bound = ZSTD_compressBound(raw.len);
    char *at = buf_reserve(to, bound);
    size_t len = at ? ZSTD_compress(at, bound, raw.ptr, raw.len, LEVEL) : 0;
    if (!at || ZSTD_isError(len))
        return false;
    to->len += len;
    return true;
}

/* The frame says how long it becomes, and is believed only where that is what the block says. */
const char *snapshot_unpack(struct buf *to, struct slice packed, uint64_t raw_bytes) {
    buf_clear(to);
    if (ZSTD_getFrameContentSize(packed.ptr, packed.len) != raw_bytes ||
        ZSTD_findFrameCompressedSize(packed.ptr, packed.len) != packed.len)
        return "a block's content is no zstd frame of its length";
    char *at = buf_reserve(to, raw_bytes);
    if (!at)
        return "no memory for a block";
    if (ZSTD_decompress(at, raw_bytes, packed.ptr, packed.len) != raw_bytes)
        return "a block's content cannot be unpacked";
    to->len = raw_bytes;
    return NULL;
}
