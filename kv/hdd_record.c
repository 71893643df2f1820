/* SPDX-License-Identifier: MIT */
#include "kv/hdd_record.h"

/* Fixed seeds: what is written today is read by another process tomorrow. */
#define STORED_SEED 0x6861746953544F52ULL
#define DUE_SEED 0x6861746944554531ULL
#define STORED_VERSION 1
#define STORED_SEALED_VERSION 2

struct raw_record {
    uint8_t kind, type_len;
    uint16_t key_len;
    uint32_t space;
    int64_t expires_at_ms;
    uint32_t value_len, unused;
};

struct raw_stored {
    uint64_t checksum;
    uint64_t revision;
    int64_t expires_at_ms;
    uint32_t value_len;
    uint16_t key_len; /* of a key that does not stand whole in its place; else 0 */
    uint8_t type_len, version;
};

_Static_assert(sizeof(struct raw_record) == 24 && sizeof(struct raw_stored) == 32, "fixed");

static char *append(char *to, struct slice bytes) {
    if (bytes.len && bytes.ptr)
        memcpy(to, bytes.ptr, bytes.len);
    return to + bytes.len;
}

size_t record_size(const struct record *record) {
    return sizeof(struct raw_record) + record->key.len + record->type.len + record->value.len;
}

void record_write(const struct record *record, char *to) {
    bool sealed = record->kind == RECORD_ENTRY && record->sealed;
    struct raw_record raw = {sealed ? RECORD_SEALED : (uint8_t)record->kind,
                             (uint8_t)record->type.len,
                             (uint16_t)record->key.len,
                             record->space,
                             record->expires_at_ms,
                             (uint32_t)record->value.len,
                             0};
    memcpy(to, &raw, sizeof raw);
    to = append(to + sizeof raw, record->key);
    to = append(to, record->type);
    append(to, record->value);
}

bool record_read(struct slice bytes, struct record *ret_record) {
    struct raw_record raw;
    if (bytes.len < sizeof raw)
        return false;
    memcpy(&raw, bytes.ptr, sizeof raw);
    if (bytes.len != sizeof raw + raw.key_len + raw.type_len + (size_t)raw.value_len)
        return false;
    const char *at = bytes.ptr + sizeof raw;
    ret_record->sealed = raw.kind == RECORD_SEALED;
    ret_record->kind = ret_record->sealed ? RECORD_ENTRY : (enum record_kind)raw.kind;
    ret_record->space = raw.space;
    ret_record->expires_at_ms = raw.expires_at_ms;
    ret_record->key = slice_make(at, raw.key_len);
    ret_record->type = slice_make(at + raw.key_len, raw.type_len);
    ret_record->value = slice_make(at + raw.key_len + raw.type_len, raw.value_len);
    return true;
}

void place_make(uint32_t space, struct slice key, struct place *ret_place) {
    put_be32(ret_place->bytes, space);
    char *at = ret_place->bytes + 4;
    if (key.len <= PLACE_KEY_MAX) {
        at = append(at, key);
    } else {
        uint8_t digest[HASH_SHA256_BYTES];
        hash_sha256(key, digest);
        at = append(at, slice_make(key.ptr, PLACE_PREFIX_BYTES));
        at = append(at, slice_make(digest, sizeof digest));
        *at++ = 0; /* no key holds NUL: none that stands whole looks like this */
    }
    ret_place->len = (uint16_t)(at - ret_place->bytes);
}

static bool is_long(struct slice key) {
    return key.len > PLACE_KEY_MAX;
}

size_t stored_size(const struct stored *stored) {
    return sizeof(struct raw_stored) + (is_long(stored->key) ? stored->key.len : 0) +
           stored->type.len + stored->value.len;
}

static uint64_t sum_of(struct slice place, struct slice behind_sum) {
    return hash_seeded(behind_sum, hash_seeded(place, STORED_SEED));
}

void stored_write(const struct stored *stored, const struct place *place, char *to) {
    struct slice key = is_long(stored->key) ? stored->key : (struct slice){NULL, 0};
    struct raw_stored raw = {0,
                             stored->revision,
                             stored->expires_at_ms,
                             (uint32_t)stored->value.len,
                             (uint16_t)key.len,
                             (uint8_t)stored->type.len,
                             stored->sealed ? STORED_SEALED_VERSION : STORED_VERSION};
    memcpy(to, &raw, sizeof raw);
    char *end = append(to + sizeof raw, stored->type);
    end = append(end, key);
    end = append(end, stored->value);
    struct slice behind =
        slice_make(to + sizeof raw.checksum, (size_t)(end - to) - sizeof raw.checksum);
    uint64_t checksum = sum_of(place_slice(place), behind);
    memcpy(to, &checksum, sizeof checksum);
}

enum err stored_peek(struct slice place, struct slice bytes, struct stored *ret_stored) {
    struct raw_stored raw;
    if (bytes.len < sizeof raw || place.len < 4)
        return ERR_CORRUPT;
    memcpy(&raw, bytes.ptr, sizeof raw);
    if ((raw.version != STORED_VERSION && raw.version != STORED_SEALED_VERSION) ||
        bytes.len != sizeof raw + raw.type_len + raw.key_len + (size_t)raw.value_len)
        return ERR_CORRUPT;
    const char *at = bytes.ptr + sizeof raw;
    *ret_stored = (struct stored){
        .revision = raw.revision,
        .expires_at_ms = raw.expires_at_ms,
        .space = get_be32(place.ptr),
        .type = slice_make(at, raw.type_len),
        .key = raw.key_len ? slice_make(at + raw.type_len, raw.key_len)
                           : slice_make(place.ptr + 4, place.len - 4),
        .value = slice_make(at + raw.type_len + raw.key_len, raw.value_len),
        .sealed = raw.version == STORED_SEALED_VERSION,
    };
    return OK;
}

enum err stored_read(struct slice place, struct slice bytes, struct stored *ret_stored) {
    struct stored stored;
    uint64_t checksum;
    enum err err = stored_peek(place, bytes, &stored);
    if (err)
        return err;
    memcpy(&checksum, bytes.ptr, sizeof checksum);
    struct slice behind = slice_make(bytes.ptr + sizeof checksum, bytes.len - sizeof checksum);
    if (checksum != sum_of(place, behind))
        return ERR_CORRUPT;
    *ret_stored = stored;
    return OK;
}

void due_make(int64_t expires_at_ms, struct slice place, char to[DUE_BYTES]) {
    uint64_t hash = hash_seeded(place, DUE_SEED);
    put_be32(to, (uint32_t)((uint64_t)expires_at_ms >> 32));
    put_be32(to + 4, (uint32_t)expires_at_ms);
    put_be32(to + 8, (uint32_t)(hash >> 32));
    put_be32(to + 12, (uint32_t)hash);
}

int64_t due_time(struct slice due) {
    return (int64_t)((uint64_t)get_be32(due.ptr) << 32 | get_be32(due.ptr + 4));
}
