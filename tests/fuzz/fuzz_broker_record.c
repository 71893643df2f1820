/* SPDX-License-Identifier: MIT */
/* What the broker reads from LMDB and from its journal, in plain and sealed: with the checksum that
 * belongs to it, so that what stands behind that is reached. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/disk_record.h"
#include "tests/fuzz/target.h"

static struct seal_keys *open_keys(void) {
    struct seal_keys *keys = NULL;
    char path[40], why[300];
    static const char text[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    int fd = memfd_create("keys", 0);
    check(fd >= 0 && fchmod(fd, 0600) == 0);
    check(write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    check(seal_keys_open(path, &keys, why, sizeof why) == OK);
    close(fd);
    return keys;
}

static bool same_bodies(const struct body *a, const struct body *b) {
    return body_size(a) == body_size(b) && a->id_len == b->id_len && a->key_len == b->key_len &&
           a->from_len == b->from_len && a->headers_len == b->headers_len &&
           memcmp(a->bytes, b->bytes, body_size(a) - sizeof *a) == 0;
}

/* A message that was read, written and read again, is the same; changed, it is none. */
static void write_again(const struct seal_keys *keys, struct slice place, const struct body *body,
                        size_t which) {
    struct spot spot;
    struct stored_message stored;
    struct slice rest;
    enum err err;
    const struct message message = {.attempt = 1};
    if (body->key_len > BROKER_NAME_MAX) /* no door takes such a key */
        return;
    memcpy(spot.bytes, place.ptr, SPOT_BYTES);
    size_t size = stored_message_size(keys, body);
    char *to = malloc(size);
    check(to != NULL);
    stored_message_write(keys, &message, body, MESSAGE_READY, true, &spot, to);
    check(stored_message_read(place, slice_make(to, size), &stored, &rest) == OK);
    struct body *again = stored_message_body(keys, place, &stored, rest, &err);
    check(again && same_bodies(body, again));
    body_unref(again);
    to[which % size] ^= (char)(1U << which % 8);
    check(stored_message_read(place, slice_make(to, size), &stored, &rest) == ERR_CORRUPT);
    stored_message_sum(place, to, size);
    if (stored_message_read(place, slice_make(to, size), &stored, &rest) == OK)
        body_unref(stored_message_body(keys, place, &stored, rest, &err));
    free(to);
}

static void read_stored(const struct seal_keys *keys, struct slice bytes) {
    struct stored_message stored;
    struct slice rest;
    enum err err = OK;
    size_t which = take_byte(&bytes) * 256U;
    which += take_byte(&bytes);
    struct slice place = take_bytes(&bytes, SPOT_BYTES);
    uint32_t store;
    unsigned lane;
    uint64_t seq;
    if (!spot_read(place, &store, &lane, &seq))
        return;
    check(lane < LANES);
    char *copy = copy_of(bytes);
    if (bytes.len >= sizeof stored)
        stored_message_sum(place, copy, bytes.len);
    if (stored_message_read(place, slice_make(copy, bytes.len), &stored, &rest) == OK) {
        check(is_within(rest, slice_make(copy, bytes.len)));
        struct body *body = stored_message_body(keys, place, &stored, rest, &err);
        check((body != NULL) == (err == OK));
        if (body) {
            write_again(NULL, place, body, which);
            write_again(keys, place, body, which);
        }
        body_unref(body);
    }
    free(copy);
}

static void read_queue(struct slice bytes) {
    struct record_queue record;
    struct slice name, rest;
    struct broker_queue_options options;
    if (!queue_record_read(bytes, &record, &name, &options, &rest))
        return;
    check(name.len > 0 && is_within(name, bytes) && is_within(rest, bytes));
    check(is_within(options.dead_letter, bytes));
}

static void read_publish(const struct seal_keys *keys, struct slice bytes) {
    struct record_publish record;
    enum err err = OK;
    if (bytes.len < sizeof record)
        return;
    memcpy(&record, bytes.ptr, sizeof record);
    take_bytes(&bytes, sizeof record);
    struct body *body = body_bytes_read(keys, record.kind == RECORD_SEALED_PUBLISH, SLICE("here"),
                                        &record, bytes, &err);
    check((body != NULL) == (err == OK));
    body_unref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct seal_keys *keys;
    struct slice bytes = slice_make(data, size);
    if (!keys)
        keys = open_keys();
    switch (take_byte(&bytes)) {
    case 'q':
        read_queue(bytes);
        break;
    case 'p':
        read_publish(keys, bytes);
        break;
    default:
        read_stored(keys, bytes);
        break;
    }
    return 0;
}
