/* SPDX-License-Identifier: MIT */
#include "snapshot/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "snapshot/ndjson.h"

#define LINES_BYTES 65536U
#define VEIL_BYTES 16384U

/* A block that is being filled. */
struct open_block {
    struct buf raw;
    enum snapshot_class class;
    uint32_t items;
};

struct snapshot_writer {
    int fd;
    enum snapshot_format format;
    struct snapshot_head head;
    struct snapshot_totals totals;
    struct open_block open[KV_STORAGES];
    struct buf item;
    struct buf packed; /* a block's content, or lines that are not written yet */
    uint64_t keep_free_bytes;
    struct seal_veil *veil; /* NULL: there is none */
    uint64_t at;            /* bytes written so far */
};

bool snapshot_format_parse(struct slice word, enum snapshot_format *ret_format) {
    if (!slice_equal(word, SLICE("hati")) && !slice_equal(word, SLICE("ndjson")))
        return false;
    *ret_format = word.ptr[0] == 'n' ? SNAPSHOT_NDJSON : SNAPSHOT_PACKED;
    return true;
}

enum err snapshot_write_all(int fd, struct slice bytes) {
    while (bytes.len) {
        ssize_t put = write(fd, bytes.ptr, bytes.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_STORAGE_FULL
                                                                        : ERR_UNAVAILABLE;
        bytes = slice_make(bytes.ptr + put, bytes.len - (size_t)put);
    }
    return OK;
}

void snapshot_writer_keep_free(struct snapshot_writer *writer, uint64_t bytes) {
    writer->keep_free_bytes = bytes;
}

void snapshot_writer_cover(struct snapshot_writer *writer, struct seal_veil *veil) {
    writer->veil = veil;
    seal_veil_begin(veil, writer->at);
}

/* As snapshot_write_all, through the veil. */
static enum err write_on(struct snapshot_writer *writer, struct slice bytes) {
    char covered[VEIL_BYTES];
    enum err err = OK;
    if (!writer->veil) {
        writer->at += bytes.len;
        return snapshot_write_all(writer->fd, bytes);
    }
    while (!err && bytes.len) {
        size_t len = bytes.len < sizeof covered ? bytes.len : sizeof covered;
        seal_veil_turn(writer->veil, writer->at, slice_make(bytes.ptr, len), covered);
        err = snapshot_write_all(writer->fd, slice_make(covered, len));
        writer->at += len;
        bytes = slice_make(bytes.ptr + len, bytes.len - len);
    }
    return err;
}

/* A disk that the snapshot shares with what is served is not filled to the brim. */
static enum err put_bytes(struct snapshot_writer *writer, struct slice bytes) {
    struct statvfs disk;
    if (writer->keep_free_bytes && fstatvfs(writer->fd, &disk) == 0 &&
        (uint64_t)disk.f_bavail * disk.f_frsize < bytes.len + writer->keep_free_bytes) {
        errno = ENOSPC;
        return ERR_STORAGE_FULL;
    }
    return write_on(writer, bytes);
}

/* Lines are written many at a time. */
static enum err flush_lines(struct snapshot_writer *writer, size_t over_bytes) {
    enum err err = OK;
    if (writer->packed.len > over_bytes) {
        err = put_bytes(writer, buf_slice(&writer->packed));
        buf_clear(&writer->packed);
    }
    if (writer->packed.cap > 4 * SNAPSHOT_BLOCK_BYTES && writer->packed.len == 0)
        buf_done(&writer->packed);
    return err;
}

static enum err write_head(struct snapshot_writer *writer) {
    char head[SNAPSHOT_HEAD_BYTES];
    snapshot_head_write(&writer->head, head);
    snapshot_totals_begin(&writer->totals, head);
    if (writer->format == SNAPSHOT_PACKED)
        return write_on(writer, slice_make(head, sizeof head));
    buf_clear(&writer->item);
    if (!ndjson_append_head(&writer->item, &writer->head))
        return ERR_OUT_OF_MEMORY;
    ndjson_check_line(&writer->totals, buf_slice(&writer->item));
    return write_on(writer, buf_slice(&writer->item));
}

enum err snapshot_writer_open(int fd, enum snapshot_format format, const struct snapshot_head *head,
                              struct snapshot_writer **ret_writer) {
    struct snapshot_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return ERR_OUT_OF_MEMORY;
    writer->fd = fd;
    writer->format = format;
    writer->head = *head;
    for (unsigned i = 0; i < KV_STORAGES; i++)
        buf_init(&writer->open[i].raw, SNAPSHOT_BLOCK_BYTES);
    buf_init(&writer->item, SIZE_MAX / 4);
    buf_init(&writer->packed, SIZE_MAX / 4);
    enum err err = write_head(writer);
    if (err)
        snapshot_writer_free(writer);
    else
        *ret_writer = writer;
    return err;
}

static enum err write_block(struct snapshot_writer *writer, struct snapshot_block *block,
                            struct slice payload) {
    char head[SNAPSHOT_BLOCK_HEAD_BYTES];
    block->number = writer->totals.blocks;
    snapshot_block_write(block, writer->head.id, payload, head);
    enum err err = put_bytes(writer, slice_make(head, sizeof head));
    return err ? err : put_bytes(writer, payload);
}

static enum err pack_block(struct snapshot_writer *writer, struct snapshot_block *block,
                           struct slice raw) {
    block->raw_bytes = raw.len;
    buf_clear(&writer->packed);
    if (!snapshot_pack(&writer->packed, raw))
        return ERR_OUT_OF_MEMORY;
    enum err err = write_block(writer, block, buf_slice(&writer->packed));
    snapshot_totals_add(&writer->totals, block);
    return err;
}

static enum err flush(struct snapshot_writer *writer, enum kv_storage storage) {
    struct open_block *open = &writer->open[storage];
    struct snapshot_block block = {.class = open->class, .storage = storage, .items = open->items};
    if (open->items == 0)
        return OK;
    enum err err = pack_block(writer, &block, buf_slice(&open->raw));
    open->items = 0;
    buf_clear(&open->raw);
    return err;
}

/* A large one is a block by itself, packed from where it lies; its memory is given back. */
static enum err put_large(struct snapshot_writer *writer, const struct snapshot_item *item) {
    struct snapshot_block block = {
        .class = snapshot_class_of(item->kind), .storage = item->storage, .items = 1};
    enum err err = flush(writer, item->storage);
    if (!err)
        err = pack_block(writer, &block, buf_slice(&writer->item));
    buf_done(&writer->item);
    buf_done(&writer->packed);
    return err;
}

/* What is defined on memory may name what is defined on hdd, never the other way. */
static enum err flush_both(struct snapshot_writer *writer) {
    enum err err = flush(writer, KV_HDD);
    return err ? err : flush(writer, KV_MEMORY);
}

static enum err put_packed(struct snapshot_writer *writer, const struct snapshot_item *item) {
    struct open_block *open = &writer->open[item->storage];
    enum snapshot_class class = snapshot_class_of(item->kind);
    enum err err = OK;
    buf_clear(&writer->item);
    if (!snapshot_item_append(&writer->item, item))
        return ERR_OUT_OF_MEMORY;
    if (writer->item.len > SNAPSHOT_RAW_MAX)
        return ERR_VALUE_TOO_LARGE;
    if (writer->item.len > SNAPSHOT_BLOCK_BYTES)
        return put_large(writer, item);
    bool is_full = open->items == SNAPSHOT_BLOCK_ITEMS ||
                   open->raw.len + writer->item.len > SNAPSHOT_BLOCK_BYTES;
    if (open->items && (is_full || open->class != class))
        err =
            open->class == SNAPSHOT_DEFINITIONS ? flush_both(writer) : flush(writer, item->storage);
    if (err)
        return err;
    open->class = class;
    open->items++;
    return buf_append(&open->raw, buf_slice(&writer->item)) ? OK : ERR_OUT_OF_MEMORY;
}

/* Definitions are all there before anything else is written. */
static enum err end_definitions(struct snapshot_writer *writer, const struct snapshot_item *item) {
    bool pending = false;
    for (unsigned i = 0; i < KV_STORAGES; i++)
        pending =
            pending || (writer->open[i].items && writer->open[i].class == SNAPSHOT_DEFINITIONS);
    bool is_one = snapshot_class_of(item->kind) == SNAPSHOT_DEFINITIONS;
    return pending && !is_one ? flush_both(writer) : OK;
}

static enum err put_line(struct snapshot_writer *writer, const struct snapshot_item *item) {
    size_t began = writer->packed.len;
    if (!ndjson_append_item(&writer->packed, item))
        return ERR_OUT_OF_MEMORY;
    ndjson_check_line(&writer->totals,
                      slice_make(writer->packed.ptr + began, writer->packed.len - began));
    return flush_lines(writer, LINES_BYTES);
}

enum err snapshot_writer_put(struct snapshot_writer *writer, const struct snapshot_item *item) {
    writer->totals.count[item->kind]++;
    if (writer->format == SNAPSHOT_NDJSON)
        return put_line(writer, item);
    enum err err = end_definitions(writer, item);
    return err ? err : put_packed(writer, item);
}

enum err snapshot_writer_end(struct snapshot_writer *writer) {
    if (writer->format == SNAPSHOT_NDJSON) {
        return ndjson_append_end(&writer->packed, &writer->totals) ? flush_lines(writer, 0)
                                                                   : ERR_OUT_OF_MEMORY;
    }
    enum err err = flush_both(writer);
    if (err)
        return err;
    char totals[SNAPSHOT_TOTAL_BYTES];
    struct snapshot_block block = {.class = SNAPSHOT_END, .raw_bytes = sizeof totals};
    snapshot_totals_write(&writer->totals, totals);
    return write_block(writer, &block, slice_make(totals, sizeof totals));
}

const struct snapshot_totals *snapshot_writer_totals(const struct snapshot_writer *writer) {
    return &writer->totals;
}

void snapshot_writer_free(struct snapshot_writer *writer) {
    if (!writer)
        return;
    for (unsigned i = 0; i < KV_STORAGES; i++)
        buf_done(&writer->open[i].raw);
    buf_done(&writer->item);
    buf_done(&writer->packed);
    free(writer);
}
