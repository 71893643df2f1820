/* SPDX-License-Identifier: MIT */
#include "snapshot/reader.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define CHUNK_BYTES (1U << 20) /* what is asked for before the file has shown it has more */

ssize_t snapshot_read_all(int fd, void *to, size_t len) {
    size_t got = 0;
    while (got < len) {
        ssize_t more = read(fd, (char *)to + got, len - got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0)
            return -1;
        if (more == 0)
            break;
        got += (size_t)more;
    }
    return (ssize_t)got;
}

static bool fail(struct snapshot_reader *reader, uint64_t at, const char *what) {
    snprintf(reader->why, sizeof reader->why, "byte %llu: %s", (unsigned long long)at, what);
    return false;
}

/* A length that is a lie costs no more memory than the file has bytes. */
static bool take(struct snapshot_reader *reader, uint64_t len) {
    while (len) {
        size_t step = len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES;
        char *to = buf_reserve(&reader->bytes, step);
        if (!to)
            return fail(reader, reader->at, "no memory for a block");
        ssize_t got = snapshot_read_all(reader->fd, to, step);
        if (got < 0)
            return fail(reader, reader->at, strerror(errno));
        reader->at += (uint64_t)got;
        reader->bytes.len += (size_t)got;
        if ((size_t)got < step)
            return fail(reader, reader->at, "the file ends here: it is cut off");
        len -= step;
    }
    return true;
}

bool snapshot_reader_open(struct snapshot_reader *reader, int fd,
                          const char *(*each)(void *context, const struct snapshot_item *item),
                          void *context) {
    *reader = (struct snapshot_reader){.fd = fd, .each = each, .context = context};
    buf_init(&reader->bytes, SIZE_MAX / 4);
    buf_init(&reader->raw, SNAPSHOT_RAW_MAX);
    if (!take(reader, SNAPSHOT_HEAD_BYTES))
        return false;
    const char *fault = snapshot_head_read(reader->bytes.ptr, &reader->head);
    snapshot_totals_begin(&reader->totals, reader->bytes.ptr);
    return fault ? fail(reader, 0, fault) : true;
}

static enum snapshot_read end(struct snapshot_reader *reader, uint64_t began) {
    char byte;
    if (!snapshot_totals_match(&reader->totals, buf_slice(&reader->raw)))
        fail(reader, began, "the totals are not those of this file");
    else if (snapshot_read_all(reader->fd, &byte, 1) != 0)
        fail(reader, reader->at, "something stands behind the end");
    else
        return SNAPSHOT_READ_END;
    return SNAPSHOT_READ_BAD;
}

static const char *count_item(void *context, const struct snapshot_item *item) {
    struct snapshot_reader *reader = context;
    reader->totals.count[item->kind]++;
    return reader->each ? reader->each(reader->context, item) : NULL;
}

enum snapshot_read snapshot_reader_next(struct snapshot_reader *reader) {
    uint64_t began = reader->at;
    if (reader->bytes.cap > 8 * CHUNK_BYTES)
        buf_done(&reader->bytes);
    buf_clear(&reader->bytes);
    if (!take(reader, SNAPSHOT_BLOCK_HEAD_BYTES))
        return SNAPSHOT_READ_BAD;
    const char *fault = snapshot_block_read(reader->bytes.ptr, &reader->block);
    if (!fault && reader->block.number != reader->totals.blocks)
        fault = "a block is missing, or stands here twice";
    if (!fault && !take(reader, reader->block.packed_bytes))
        return SNAPSHOT_READ_BAD;
    if (!fault)
        fault = snapshot_block_each(buf_slice(&reader->bytes), reader->head.id, SNAPSHOT_RAW_MAX,
                                    &reader->raw, &reader->block, count_item, reader);
    if (fault) {
        char what[200];
        snprintf(what, sizeof what, "block %llu: %s", (unsigned long long)reader->totals.blocks,
                 fault);
        fail(reader, began, what);
        return SNAPSHOT_READ_BAD;
    }
    if (reader->block.class == SNAPSHOT_END)
        return end(reader, began);
    snapshot_totals_add(&reader->totals, &reader->block);
    return SNAPSHOT_READ_BLOCK;
}

void snapshot_reader_done(struct snapshot_reader *reader) {
    buf_done(&reader->bytes);
    buf_done(&reader->raw);
}
