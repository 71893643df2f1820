/* SPDX-License-Identifier: MIT */
/* What the durable store reads from its journal and from LMDB: any bytes are refused or read within
 * their bounds, and what was written is read as it was, or not at all where a bit of it changed. */
#include "kv/hdd_record.h"
#include "tests/fuzz/target.h"

static void read_journal(struct slice bytes) {
    struct record record, again;
    if (!record_read(bytes, &record))
        return;
    check(is_within(record.key, bytes) && is_within(record.type, bytes));
    check(is_within(record.value, bytes) && record_size(&record) == bytes.len);
    char *written = malloc(bytes.len);
    check(written != NULL);
    record_write(&record, written);
    check(record_read(slice_make(written, bytes.len), &again));
    check(again.kind == record.kind && again.space == record.space);
    check(again.expires_at_ms == record.expires_at_ms && again.sealed == record.sealed);
    check(slice_equal(again.key, record.key) && slice_equal(again.type, record.type));
    check(slice_equal(again.value, record.value));
    free(written);
}

static void write_and_spoil(const struct stored *stored, size_t which) {
    struct place place;
    struct stored again;
    place_make(stored->space, stored->key, &place);
    check(place.len <= ENV_KEY_MAX);
    size_t size = stored_size(stored);
    char *written = malloc(size);
    check(written != NULL);
    stored_write(stored, &place, written);
    check(stored_read(place_slice(&place), slice_make(written, size), &again) == OK);
    check(slice_equal(again.key, stored->key) && slice_equal(again.type, stored->type));
    check(slice_equal(again.value, stored->value) && again.space == stored->space);
    check(again.revision == stored->revision && again.expires_at_ms == stored->expires_at_ms);
    written[which % size] ^= (char)(1U << which % 8);
    check(stored_read(place_slice(&place), slice_make(written, size), &again) == ERR_CORRUPT);
    free(written);
}

static void read_stored(struct slice bytes) {
    size_t which = take_byte(&bytes) * 256U;
    which += take_byte(&bytes);
    struct slice place = take_bytes(&bytes, take_byte(&bytes));
    struct stored stored;
    if (stored_read(place, bytes, &stored) == OK)
        check(is_within(stored.value, bytes));
    if (stored_peek(place, bytes, &stored))
        return;
    check(is_within(stored.key, bytes) || is_within(stored.key, place));
    check(is_within(stored.type, bytes) && is_within(stored.value, bytes));
    write_and_spoil(&stored, which);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size);
    if (take_byte(&bytes) == 'j')
        read_journal(bytes);
    else
        read_stored(bytes);
    return 0;
}
