/* SPDX-License-Identifier: MIT */
/* Snapshots that somebody made on purpose: the checks are right, so that what stands behind them is
 * reached. The first byte says what the rest is. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/ndjson.h"
#include "snapshot/reader.h"
#include "snapshot/writer.h"

#define RAW_MAX (4U << 20)

static const uint8_t id[SNAPSHOT_ID_BYTES] = {1, 2, 3};

static void check(bool holds) {
    if (!holds)
        abort();
}

static bool is_within(struct slice part, struct slice whole) {
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static int file_of(struct slice bytes) {
    int fd = memfd_create("fuzz", 0);
    check(fd >= 0 && snapshot_write_all(fd, bytes) == OK && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* An item that was taken is what a door would take, and comes out as it went in. */
static void read_items(struct slice bytes) {
    struct snapshot_item item;
    struct buf again;
    buf_init(&again, RAW_MAX);
    for (struct slice left = bytes; left.len;) {
        struct slice before = left;
        if (snapshot_item_take(&left, KV_HDD, &item))
            break;
        check(left.len < before.len && !snapshot_item_fault(&item));
        buf_clear(&again);
        check(snapshot_item_append(&again, &item));
        check(slice_equal(buf_slice(&again), slice_make(before.ptr, before.len - left.len)));
        if (item.kind == SNAPSHOT_ENTRY)
            check(is_within(item.entry.value, bytes) && is_within(item.entry.key, bytes));
        if (item.kind == SNAPSHOT_MESSAGE)
            check(is_within(item.message.payload, bytes));
        buf_clear(&again);
        check(ndjson_append_item(&again, &item));
    }
    buf_done(&again);
}

/* A block's head and content, with the check that belongs to it. */
static void read_block(struct slice bytes) {
    char file[8192 + SNAPSHOT_BLOCK_HEAD_BYTES];
    struct snapshot_block block;
    struct buf raw;
    if (bytes.len < 24 || bytes.len > 8192)
        return;
    block = (struct snapshot_block){.class = (enum snapshot_class)(uint8_t)bytes.ptr[0],
                                    .storage = (enum kv_storage)(uint8_t)bytes.ptr[1],
                                    .items = (uint8_t)bytes.ptr[2]};
    memcpy(&block.raw_bytes, bytes.ptr + 8, sizeof block.raw_bytes);
    struct slice content = slice_make(bytes.ptr + 24, bytes.len - 24);
    snapshot_block_write(&block, id, content, file);
    memcpy(file + SNAPSHOT_BLOCK_HEAD_BYTES, content.ptr, content.len);
    buf_init(&raw, RAW_MAX);
    (void)snapshot_block_each(slice_make(file, SNAPSHOT_BLOCK_HEAD_BYTES + content.len), id,
                              RAW_MAX, &raw, &block, NULL, NULL);
    buf_done(&raw);
}

static void read_file(struct slice bytes) {
    struct snapshot_reader reader;
    int fd = file_of(bytes);
    if (snapshot_reader_open(&reader, fd, NULL, NULL))
        while (snapshot_reader_next(&reader) == SNAPSHOT_READ_BLOCK)
            check(reader.at <= bytes.len);
    snapshot_reader_done(&reader);
    close(fd);
}

/* Lines that were taken are a file that is good. */
static void read_lines(struct slice bytes) {
    struct snapshot_reader reader;
    enum snapshot_read read = SNAPSHOT_READ_BAD;
    char why[SNAPSHOT_WHY_BYTES] = "";
    int from = file_of(bytes), to = file_of(SLICE(""));
    if (ndjson_pack(from, to, why, sizeof why)) {
        check(lseek(to, 0, SEEK_SET) == 0 && snapshot_reader_open(&reader, to, NULL, NULL));
        do
            read = snapshot_reader_next(&reader);
        while (read == SNAPSHOT_READ_BLOCK);
        check(read == SNAPSHOT_READ_END);
        snapshot_reader_done(&reader);
    } else {
        check(why[0] != '\0');
    }
    close(from);
    close(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice rest = slice_make(data + 1, size ? size - 1 : 0);
    if (size == 0)
        return 0;
    if (data[0] == 'i')
        read_items(rest);
    else if (data[0] == 'b')
        read_block(rest);
    else if (data[0] == '{')
        read_lines(slice_make(data, size));
    else
        read_file(slice_make(data, size));
    return 0;
}
