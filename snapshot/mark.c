/* SPDX-License-Identifier: MIT */
#include "snapshot/mark.h"

#include <stdio.h>

#include "base/clock.h"

static struct kv_ref ref_of(enum kv_storage storage, const uint8_t id[SNAPSHOT_ID_BYTES],
                            char room[SNAPSHOT_ID_TEXT]) {
    snapshot_id_format(id, room);
    return (struct kv_ref){
        .storage = storage, .ns = MARK_NAMESPACE, .key = slice_make(room, SNAPSHOT_ID_TEXT - 1)};
}

static void parse(struct slice value, struct mark *to) {
    char text[64] = "";
    unsigned replaces = 0, is_done = 0;
    unsigned long long next = 0, item = 0;
    if (value.len < sizeof text)
        memcpy(text, value.ptr, value.len);
    if (sscanf(text, "1 %u %u %llu %llu", &replaces, &is_done, &next, &item) != 4)
        return;
    *to = (struct mark){.is_there = true,
                        .is_done = is_done != 0,
                        .replaces = replaces != 0,
                        .next = next,
                        .item = item};
}

enum err mark_read(struct snapshot_stores *stores, enum kv_storage storage,
                   const uint8_t id[SNAPSHOT_ID_BYTES], struct mark *ret_mark) {
    char room[SNAPSHOT_ID_TEXT];
    struct arena arena;
    struct kv_ref ref = ref_of(storage, id, room);
    arena_init(&arena, 65536);
    struct kv_read read = {.storage = storage,
                           .workspace = ref.workspace,
                           .ns = ref.ns,
                           .keys = &ref.key,
                           .key_count = 1,
                           .want = KV_WANT_VALUE,
                           .now_ms = clock_wall_ms(),
                           .arena = &arena};
    enum err err = stores_read_keys(stores, &read);
    *ret_mark = (struct mark){.is_there = false};
    if (!err && read.entries[0])
        parse(read.entries[0]->value, ret_mark);
    arena_done(&arena);
    return err;
}

void mark_fill(struct kv_op *op, enum kv_storage storage, const uint8_t id[SNAPSHOT_ID_BYTES],
               const struct mark *mark, struct mark_room *room) {
    int len =
        snprintf(room->value, sizeof room->value, "1 %d %d %llu %llu", mark->replaces,
                 mark->is_done, (unsigned long long)mark->next, (unsigned long long)mark->item);
    *op = (struct kv_op){.action = KV_SET,
                         .ref = ref_of(storage, id, room->key),
                         .value = slice_make(room->value, (size_t)len),
                         .ttl_ms = mark->is_done ? APPLY_DONE_KEPT_MS : APPLY_KEPT_MS};
}

bool mark_is_namespace(struct slice ns) {
    return ns.len && ns.ptr[0] == '\0';
}
