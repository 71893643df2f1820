/* SPDX-License-Identifier: MIT */
/* Looks at every record of LMDB once after the start, in the background: its checksum, its order,
 * and that a search finds it. LMDB does not check its pages, and where a bit of a key has turned,
 * what is there seems not to be: once such a place is known, no miss is believed any more. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kv/hdd.h"

#define VERIFY_STEP 512U /* records of one read transaction */

struct walk {
    struct kv_hdd *hdd;
    unsigned shard;
    struct place last; /* the record looked at last; len 0: none */
    uint64_t records, damaged;
};

static bool stops(struct kv_hdd *hdd) {
    pthread_mutex_lock(&hdd->lock);
    bool stopping = hdd->lister_stopping;
    pthread_mutex_unlock(&hdd->lock);
    return stopping;
}

static void note_damage(struct walk *walk, const char *what) {
    atomic_store(&walk->hdd->damaged, true);
    if (walk->damaged++ == 0)
        log_error("hdd shard %u is damaged (%s): keys that are not found are answered CORRUPT; "
                  "bring the data back from an export",
                  walk->shard, what);
}

static void look_at(struct walk *walk, struct env_read *read, struct slice place,
                    struct slice bytes) {
    struct stored stored;
    struct slice found;
    if (place.len > sizeof walk->last.bytes || place.len < 4) {
        note_damage(walk, "a key of no known form");
        return;
    }
    if (walk->last.len && slice_compare(place, place_slice(&walk->last)) <= 0)
        note_damage(walk, "keys out of order");
    else if (stored_read(place, bytes, &stored))
        note_damage(walk, "a record that fails its checksum");
    else if (env_read_get(read, ENV_ENTRIES, place, &found) || found.ptr != bytes.ptr)
        note_damage(walk, "a record that a search does not find");
    walk->last.len = (uint16_t)place.len;
    memcpy(walk->last.bytes, place.ptr, place.len);
    walk->records++;
}

/* Some records behind the last; false behind all, or where there is damage. */
static bool look_on(struct walk *walk) {
    struct env_read *read;
    struct env_cursor *cursor;
    struct slice place, bytes;
    if (env_read_begin(walk->hdd->envs[walk->shard], &read))
        return false;
    enum err err = env_cursor_open(read, ENV_ENTRIES, &cursor);
    if (err) {
        env_read_end(read);
        return false;
    }
    err = env_cursor_seek(cursor, place_slice(&walk->last), &place, &bytes);
    if (!err && walk->last.len && slice_equal(place, place_slice(&walk->last)))
        err = env_cursor_next(cursor, &place, &bytes);
    for (unsigned i = 0; !err && i < VERIFY_STEP && !walk->damaged; i++) {
        look_at(walk, read, place, bytes);
        err = env_cursor_next(cursor, &place, &bytes);
    }
    if (err && err != ERR_KEY_NOT_EXIST)
        note_damage(walk, "pages that cannot be followed");
    env_cursor_close(cursor);
    env_read_end(read);
    return !err && !walk->damaged;
}

static void *verify(void *context) {
    struct kv_hdd *hdd = context;
    uint64_t records = 0;
    bool whole = true;
    for (unsigned shard = 0; shard < hdd->shard_count; shard++) {
        struct walk walk = {.hdd = hdd, .shard = shard};
        bool more = true;
        while (more && !stops(hdd))
            more = look_on(&walk);
        whole &= !more;
        records += walk.records;
    }
    if (whole && !atomic_load(&hdd->damaged))
        log_info("verified %llu records of hdd", (unsigned long long)records);
    return NULL;
}

enum err hdd_verifier_start(struct kv_hdd *hdd) {
    hdd->verifier_runs = pthread_create(&hdd->verifier, NULL, verify, hdd) == 0;
    return hdd->verifier_runs ? OK : ERR_OUT_OF_MEMORY;
}

void hdd_verifier_stop(struct kv_hdd *hdd) {
    if (hdd->verifier_runs)
        pthread_join(hdd->verifier, NULL);
    hdd->verifier_runs = false;
}
