/* SPDX-License-Identifier: MIT */
#include "snapshot/check.h"

#include <stdio.h>
#include <unistd.h>

#include "broker/names.h"

struct checking {
    struct names routers;
    struct names queues[KV_STORAGES];
    uint64_t largest_bytes; /* value or payload */
};

static void measure(struct checking *checking, struct slice value) {
    if (value.len > checking->largest_bytes)
        checking->largest_bytes = value.len;
}

static const char *define(struct names *names, struct slice name, void *value) {
    if (names_get(names, name))
        return "a router or a queue is defined twice";
    return names_put(names, name, value) ? "no memory for names" : NULL;
}

static const char *check_item(void *context, const struct snapshot_item *item) {
    struct checking *checking = context;
    struct names *queues = &checking->queues[item->storage];
    switch (item->kind) {
    case SNAPSHOT_ROUTER:
        return define(&checking->routers, item->router.name, checking);
    case SNAPSHOT_QUEUE:
        if (names_get(&checking->queues[!item->storage], item->queue.name))
            return "a queue is defined twice";
        return define(queues, item->queue.name, checking);
    case SNAPSHOT_BINDING:
        if (!names_get(&checking->routers, item->binding.router) ||
            !names_get(queues, item->binding.queue))
            return "a binding is of a router or a queue that is not defined";
        break;
    case SNAPSHOT_MESSAGE:
        if (!names_get(queues, item->message.queue))
            return "a message is of a queue that is not defined";
        measure(checking, item->message.payload);
        break;
    case SNAPSHOT_ENTRY:
        measure(checking, item->entry.value);
        break;
    case SNAPSHOT_KINDS:
        break;
    }
    return NULL;
}

static bool read_all(struct snapshot_reader *reader,
                     void (*progress)(uint64_t at_bytes, void *context), void *context) {
    enum snapshot_read read;
    do {
        read = snapshot_reader_next(reader);
        if (progress)
            progress(reader->at, context);
    } while (read == SNAPSHOT_READ_BLOCK);
    return read == SNAPSHOT_READ_END;
}

bool snapshot_check(int fd, void (*progress)(uint64_t at_bytes, void *context), void *context,
                    uint64_t *ret_largest_bytes, char ret_why[SNAPSHOT_WHY_BYTES]) {
    struct checking checking = {.largest_bytes = 0};
    struct snapshot_reader reader;
    names_init(&checking.routers);
    for (int storage = 0; storage < KV_STORAGES; storage++)
        names_init(&checking.queues[storage]);
    lseek(fd, 0, SEEK_SET);
    bool good = snapshot_reader_open(&reader, fd, check_item, &checking) &&
                read_all(&reader, progress, context);
    if (!good)
        snprintf(ret_why, SNAPSHOT_WHY_BYTES, "%s", reader.why);
    else if (ret_largest_bytes)
        *ret_largest_bytes = checking.largest_bytes;
    snapshot_reader_done(&reader);
    names_done(&checking.routers);
    for (int storage = 0; storage < KV_STORAGES; storage++)
        names_done(&checking.queues[storage]);
    return good;
}
