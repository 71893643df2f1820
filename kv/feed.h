/* SPDX-License-Identifier: MIT */
/* Changes of one namespace, told in order to any number of readers: a bounded log that all of them
 * share, and a place in it for each.
 *
 *   a store ──feed.c──> feed_log.c: chunks, oldest dropped ──feed_read──> each reader at its pace
 *                          │ news
 *                          └──> feed_keeper.c: one thread wakes who waits, many at once
 *
 * A namespace has a log from its first reader on, and for a while after its last. A reader that
 * falls behind the log is told so (FEED_RESYNC) and goes on from its end: it costs nobody anything.
 */
#ifndef HATI_KV_FEED_H
#define HATI_KV_FEED_H

#include "kv/kv.h"

#define FEED_BEAT_MS 15000    /* a reader hears something at least so often */
#define FEED_VALUE_MAX 65536U /* longer values are told without their bytes */
#define FEED_BYTES_DEFAULT (64U << 20)
#define FEED_READERS_DEFAULT 20000U

enum feed_kind {
    FEED_SET, /* the entry is as told now, whatever made it so */
    FEED_DELETE,
    FEED_EXPIRED,
    FEED_EVICTED, /* dropped under the memory limit */
    FEED_FLUSH    /* all keys are gone */
};

struct feed_change {
    enum feed_kind kind;
    uint64_t revision;
    int64_t expires_at_ms; /* FEED_SET; 0: never */
    struct slice key;      /* FEED_FLUSH: empty */
    struct slice value;    /* FEED_SET; ptr NULL where it is longer than FEED_VALUE_MAX */
    uint64_t value_bytes;
    uint8_t etag[HASH_MD5_BYTES]; /* FEED_SET */
};

enum feed_from {
    FEED_FROM_NOW,
    FEED_FROM_REVISION, /* any revision that the caller has seen of the storage */
    FEED_FROM_ID        /* one that a reader of this namespace was told, exactly */
};

enum feed_news {
    FEED_READY,   /* first of all: changes behind reader->revision come */
    FEED_RESYNC,  /* changes are missing; those behind reader->revision come */
    FEED_CHANGES, /* some were shown, or passed over as not wanted */
    FEED_BEAT,    /* nothing new for FEED_BEAT_MS; reader->revision is a place to resume from */
    FEED_WAIT,    /* nothing new: wake comes once */
    FEED_OVER     /* the storage cannot tell any more */
};

struct feed;

/* Somebody who hears of changes. The caller owns it, and its memory stays until feed_close, which
 * may come only when no wake is due. Used by one thread at a time. */
struct feed_reader {
    /* the caller's, set before feed_open */
    struct slice prefix; /* only keys that begin so (and flushes); outlives the reader */
    /* Once for each FEED_WAIT; on a thread of the feed's or that of feed_stop. Must not block. */
    void (*wake)(struct feed_reader *reader);
    /* outcome of feed_read */
    uint64_t revision;
    /* the feed's */
    struct feed *feed;
    struct feed_reader *next, *prev;
    int64_t beat_at_ms; /* steady clock */
    uint64_t serial;    /* of the chunk it reads */
    size_t at;          /* in it */
    uint64_t from_revision;
    enum feed_from from;
    bool placed, waits, must_beat;
};

/* Opens a reader on one namespace of a storage (ref's key is not looked at), which need not exist.
 * ERR_UNAVAILABLE where there are too many readers or the storage tells nothing;
 * ERR_OUT_OF_MEMORY. Any thread; does not wait for a disk. */
enum err feed_open(struct kv *kv, const struct kv_ref *ref, enum feed_from from, uint64_t revision,
                   struct feed_reader *reader) MUST_USE;
/* Ends it. No wake is due, and none comes. */
void feed_close(struct feed_reader *reader);

/* What is new for the reader. Changes are given to each, which answers false where it wants no more
 * for now; their slices live until it returns. Locks nobody out while it shows. */
enum feed_news feed_read(struct feed_reader *reader,
                         bool (*each)(void *context, const struct feed_change *change),
                         void *context);
/* A reader that waits is woken now. Any thread, while its memory is there. */
void feed_stop(struct feed_reader *reader);

/* Nobody is woken any more, and no store is asked for changes; before a remote store is closed. No
 * reader is open. */
void feed_stop_all(struct kv *kv);

struct feed_figures {
    uint64_t readers;   /* open now */
    uint64_t feeds;     /* namespaces that have a log */
    uint64_t log_bytes; /* of all logs */
    uint64_t changes;   /* put into logs so far */
    uint64_t resyncs;   /* told so far */
};
/* Any thread. */
void feed_figures(struct kv *kv, struct feed_figures *ret_figures);

#endif
