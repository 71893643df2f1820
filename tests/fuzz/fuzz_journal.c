/* SPDX-License-Identifier: MIT */
/* Segments that somebody made on purpose: their headers, and as the first byte says the sums of
 * their blocks, are right, so that what stands behind them is reached. And files of keys. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "journal/journal_internal.h"
#include "journal/seal.h"
#include "tests/fuzz/target.h"

#define SALT 7U
#define KEY_FILE_BYTES 1024U

struct seen {
    uint64_t count, last_seq, bytes;
};

/* Each record is next to the one before, and none is longer than all there is. */
static enum err take_record(void *context, uint64_t seq, struct slice record) {
    struct seen *seen = context;
    check(seen->count == 0 || seq > seen->last_seq);
    seen->count++;
    seen->last_seq = seq;
    for (size_t i = 0; i < record.len; i++) /* every byte of it can be read */
        seen->bytes += (uint8_t)record.ptr[i];
    return OK;
}

/* Gives every block the sum that belongs where it stands. */
static void sum_blocks(const struct segment *segment, char *bytes, size_t size) {
    struct block_header header;
    for (uint64_t at = SEGMENT_HEADER_BYTES; block_peek(bytes, size, at, &header);
         at += block_size(header.payload_bytes)) {
        struct slice whole =
            slice_make(bytes + at, BLOCK_HEADER_BYTES + (size_t)header.payload_bytes);
        block_seal(segment, at, &header, &whole, 1);
    }
}

static void make_file(const struct journal *journal, struct segment *segment, struct slice bytes,
                      bool summed) {
    char path[PATH_BYTES];
    size_t size = SEGMENT_HEADER_BYTES + bytes.len;
    char *content = calloc(1, size);
    check(content != NULL);
    memcpy(content + SEGMENT_HEADER_BYTES, bytes.ptr, bytes.len);
    segment->size_bytes = size;
    if (summed)
        sum_blocks(segment, content, size);
    journal_path(journal, segment->number, path);
    segment->fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    check(segment->fd >= 0 && write(segment->fd, content, size) == (ssize_t)size);
    check(segment_begin(segment) == OK);
    close(segment->fd);
    free(content);
}

/* A header as it came, right or not. */
static void spoil_header(const struct journal *journal, uint64_t number, struct slice header) {
    char path[PATH_BYTES];
    journal_path(journal, number, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    check(fd >= 0 && pwrite(fd, header.ptr, header.len, 0) == (ssize_t)header.len);
    close(fd);
}

static void forget(struct journal *journal) {
    char path[PATH_BYTES];
    for (uint64_t number = 1; number <= 2; number++) {
        journal_path(journal, number, path);
        unlink(path);
    }
    for (struct old_segment *old; (old = journal->oldest);) {
        journal->oldest = old->next;
        free(old);
    }
    journal->newest = NULL;
}

static void replay(struct slice bytes) {
    static char dir[] = "/dev/shm/hati-fuzz-XXXXXX";
    static struct journal journal;
    struct seen seen = {0};
    char why[300] = "";
    if (!journal.dir[0]) {
        check(mkdtemp(dir) != NULL);
        snprintf(journal.dir, sizeof journal.dir, "%s", dir);
        journal.segment_bytes = 4096;
    }
    unsigned how = take_byte(&bytes);
    uint64_t applied = take_byte(&bytes), skipped = take_byte(&bytes);
    struct slice header = take_bytes(&bytes, how & 4 ? SEGMENT_HEADER_BYTES : 0);
    struct slice first = take_bytes(&bytes, how & 2 ? take_byte(&bytes) * 8U : bytes.len);
    struct segment one = {.number = 1, .first_seq = 1, .salt = SALT};
    struct segment two = {
        .number = 2, .first_seq = take_byte(&bytes), .salt = SALT, .skipped_from = skipped};
    make_file(&journal, &one, first, how & 1);
    if (how & 2)
        make_file(&journal, &two, bytes, how & 1);
    if (header.len)
        spoil_header(&journal, 1, header);
    struct journal_options options = {journal.dir, 4096, applied, take_record, &seen};
    if (journal_replay(&journal, &options, why, sizeof why)) {
        check(why[0] != '\0');
    } else {
        check(journal.next_seq > applied && journal.next_seq > seen.last_seq);
        check(journal.synced_seq == journal.next_seq - 1);
    }
    forget(&journal);
}

static int file_of(struct slice bytes) {
    int fd = memfd_create("keys", 0);
    check(fd >= 0 && fchmod(fd, 0600) == 0);
    check(write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len);
    return fd;
}

/* What the keys of the file seal they open again, and nothing else of it. */
static void use_keys(const struct seal_keys *keys, struct slice bytes) {
    char sealed[64 + SEAL_BYTES], opened[64];
    struct slice plain = slice_make(bytes.ptr, bytes.len < 64 ? bytes.len : 64);
    check(seal_keys_count(keys) > 0 && seal_keys_count(keys) <= SEAL_KEYS_MAX);
    seal_put(keys, SLICE("bond"), plain, sealed);
    struct slice whole = slice_make(sealed, plain.len + SEAL_BYTES);
    check(seal_take(keys, SLICE("bond"), whole, opened) == OK);
    check(slice_equal(slice_make(opened, plain.len), plain));
    check(seal_take(keys, SLICE("bone"), whole, opened) == ERR_CORRUPT);
    if (bytes.len >= SEAL_BYTES && bytes.len <= sizeof sealed)
        check(seal_take(keys, SLICE("bond"), bytes, opened) == ERR_CORRUPT);
}

static void read_keys(struct slice bytes) {
    struct seal_keys *keys = NULL;
    char path[40], why[300] = "";
    int fd =
        file_of(slice_make(bytes.ptr, bytes.len < KEY_FILE_BYTES ? bytes.len : KEY_FILE_BYTES));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (seal_keys_open(path, &keys, why, sizeof why)) {
        check(why[0] != '\0' && !strchr(why, '\n'));
    } else {
        use_keys(keys, bytes);
        seal_keys_close(keys);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size);
    if (size && data[0] == 'k') {
        take_byte(&bytes);
        read_keys(bytes);
    } else {
        replay(bytes);
    }
    return 0;
}
