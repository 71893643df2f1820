/* SPDX-License-Identifier: MIT */
/* How the durable store writes things down: records of the journal, and keys and records of LMDB.
 * docs/storage.md has the format. */
#ifndef HATI_KV_HDD_RECORD_H
#define HATI_KV_HDD_RECORD_H

#include "base/bytes.h"
#include "journal/env.h"
#include "kv/kv.h"

enum record_kind {
    RECORD_SPACE = 'S',
    RECORD_ENTRY = 'E',
    RECORD_DELETE = 'D',
    RECORD_TOUCH = 'T', /* another expiry; value and type stay */
    RECORD_FLUSH = 'F',
    RECORD_RAISE = 'R' /* nothing: the first record behind numbers that were skipped */
};
#define RECORD_KINDS "SECDTFR"

#define RECORD_SEALED 'C' /* as an entry's kind stands in the journal where its value is sealed */

/* A change as it stands in the journal: its result, not what was asked. */
struct record {
    enum record_kind kind;
    bool sealed; /* of an entry: its value is */
    uint32_t space;
    int64_t expires_at_ms;
    struct slice key; /* RECORD_SPACE: the namespace */
    struct slice type;
    struct slice value; /* RECORD_SPACE: the workspace, 16 bytes */
};

size_t record_size(const struct record *record);
/* Writes record_size bytes; where value.ptr is NULL its bytes, the last, are left to the caller. */
void record_write(const struct record *record, char *to);
/* Slices point into bytes. False where it is none. */
bool record_read(struct slice bytes, struct record *ret_record);

/* The key of an entry in LMDB: its space, then the key, or, where it is longer than fits, its
 * beginning and the SHA-256 of all of it. */
#define PLACE_KEY_MAX 507U      /* longest key that stands there whole */
#define PLACE_PREFIX_BYTES 470U /* of a longer one */

struct place {
    uint16_t len;
    char bytes[ENV_KEY_MAX];
};

void place_make(uint32_t space, struct slice key, struct place *ret_place);
static inline struct slice place_slice(const struct place *place) {
    return slice_make(place->bytes, place->len);
}

/* An entry as LMDB holds it. */
struct stored {
    uint64_t revision;
    int64_t expires_at_ms;
    uint32_t space;
    struct slice key;
    struct slice type;
    struct slice value;
    bool sealed; /* the value is */
};

size_t stored_size(const struct stored *stored);
void stored_write(const struct stored *stored, const struct place *place, char *to);
/* Slices point into place and bytes. ERR_CORRUPT where the checksum says so. */
enum err stored_read(struct slice place, struct slice bytes, struct stored *ret_stored) MUST_USE;

/* The same without looking at the checksum, nor at the value's pages: for listings. */
enum err stored_peek(struct slice place, struct slice bytes, struct stored *ret_stored) MUST_USE;

/* The key under which an entry that expires stands in the expiry index. */
#define DUE_BYTES 16U
void due_make(int64_t expires_at_ms, struct slice place, char to[DUE_BYTES]);
int64_t due_time(struct slice due);

#endif
