/* SPDX-License-Identifier: MIT */
/* What the durable store tells those who follow a space. The committer notes changes as it puts
 * them, and tells them when they are published: nobody hears of what a power cut could take back.
 */
#include <stdlib.h>

#include "kv/hdd.h"

static void add_note(struct kv_hdd *hdd, struct feed_note *note) {
    note->next = NULL;
    note->prev = hdd->last_note;
    if (hdd->last_note)
        hdd->last_note->next = note;
    else
        hdd->first_note = note;
    hdd->last_note = note;
}

static void free_note(struct feed_note *note) {
    if (note->feed)
        feed_drop(note->feed);
    free(note);
}

void hdd_feed_lose(struct kv_hdd *hdd, uint32_t space, uint64_t seq) {
    struct feed *feed = feeds_find(hdd->feeds, KV_HDD, space);
    if (!feed)
        return;
    feed_lose(feed, NULL, seq);
    feed_drop(feed);
}

void hdd_feed_note(struct kv_hdd *hdd, enum feed_kind kind, uint64_t seq,
                   const struct record *record, struct slice value) {
    struct feed *feed = NULL;
    if (kind != FEED_FLUSH && !(feed = feeds_find(hdd->feeds, KV_HDD, record->space)))
        return;
    size_t key_len = kind == FEED_FLUSH ? 0 : record->key.len;
    bool keeps_value = kind == FEED_SET && value.len <= FEED_VALUE_MAX;
    size_t kept_len = keeps_value ? value.len : 0;
    struct feed_note *note = malloc(sizeof *note + key_len + kept_len);
    if (!note) {
        if (feed)
            feed_drop(feed);
        hdd_feed_lose(hdd, record->space, seq);
        return;
    }
    if (key_len)
        memcpy(note->bytes, record->key.ptr, key_len);
    if (kept_len)
        memcpy(note->bytes + key_len, value.ptr, kept_len);
    note->feed = feed;
    note->change = (struct feed_change){
        .kind = kind,
        .revision = seq,
        .expires_at_ms = kind == FEED_SET ? record->expires_at_ms : 0,
        .key = slice_make(note->bytes, key_len),
        .value = slice_make(note->bytes + key_len, kind == FEED_SET ? value.len : 0),
    };
    if (kind == FEED_SET)
        hash_md5(value, note->change.etag);
    add_note(hdd, note);
}

void hdd_feed_undo(struct kv_hdd *hdd, const struct feed_note *last) {
    while (hdd->last_note != last) {
        struct feed_note *note = hdd->last_note;
        hdd->last_note = note->prev;
        if (note->prev)
            note->prev->next = NULL;
        else
            hdd->first_note = NULL;
        free_note(note);
    }
}

static void tell(struct kv_hdd *hdd, struct feed_note *note) {
    if (note->change.kind == FEED_FLUSH) {
        feeds_flush(hdd->feeds, KV_HDD, NULL, note->change.revision);
        return;
    }
    if (note->change.kind == FEED_SET && note->change.expires_at_ms)
        hdd_feed_due_note(hdd, note->feed, &note->change);
    (void)feed_append(note->feed, NULL, &note->change);
}

void hdd_feed_publish(struct kv_hdd *hdd, uint64_t last_seq) {
    while (hdd->first_note && hdd->first_note->change.revision <= last_seq) {
        struct feed_note *note = hdd->first_note;
        hdd->first_note = note->next;
        if (note->next)
            note->next->prev = NULL;
        else
            hdd->last_note = NULL;
        tell(hdd, note);
        free_note(note);
    }
}

/* ---- a feed begins: as a job of the committer, which knows what it has noted ---- */

static struct feed *feed_of(struct commit_job *job) {
    return (struct feed *)(void *)((char *)job - offsetof(struct feed, job));
}

static uint64_t size_of_job(const struct commit_job *job) {
    (void)job;
    return 0;
}

/* What was put before in this batch was not noted, perhaps: the feed begins behind it. What expired
 * and was dropped untold since may be missing in a listing that is as new as that. */
static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    struct kv_hdd *hdd = context;
    struct feed *feed = feed_of(job);
    (void)block;
    uint64_t visible = atomic_load(&hdd->visible_seq);
    uint64_t begins = hdd->pending_own_seq > visible ? hdd->pending_own_seq : visible;
    uint32_t space = spaces_find(hdd->spaces, &feed->workspace, slice_make(feed->ns, feed->ns_len));
    if (space != SPACE_NONE)
        feed_bind(feed, space);
    feed_begin(feed, NULL, begins);
    uint64_t swept_seq = atomic_load(&hdd->swept_seq);
    if (swept_seq && swept_seq >= begins)
        feed_doubt(feed);
    hdd_feed_due_await(hdd, begins, 0);
}

static void finish(struct commit_job *job) {
    struct feed *feed = feed_of(job);
    feed_show(feed);
    feed_drop(feed);
}

static void refuse(struct commit_job *job, enum err err) {
    struct feed *feed = feed_of(job);
    (void)err;
    feed_fail(feed);
    feed_drop(feed);
}

static void begin(void *context, struct feed *feed) {
    struct kv_hdd *hdd = context;
    atomic_fetch_add(&feed->holds, 1);
    feed->job = (struct commit_job){.user = &hdd->feed_user};
    pthread_mutex_lock(&hdd->lock);
    bool closing = hdd->closing;
    if (!closing)
        commit_submit(hdd->committer, &feed->job);
    pthread_mutex_unlock(&hdd->lock);
    if (closing)
        refuse(&feed->job, ERR_UNAVAILABLE);
}

void hdd_feed_open(struct kv_hdd *hdd) {
    hdd->feed_user = (struct commit_user){hdd, size_of_job, prepare, refuse, finish};
    hdd->feeds->sources[KV_HDD] = (struct feed_source){
        .context = hdd, .begin = begin, .tick = hdd_feed_due_tick, .newest = &hdd->visible_seq};
}

void hdd_feed_close(struct kv_hdd *hdd) {
    hdd_feed_undo(hdd, NULL);
    hdd_feed_due_close(hdd);
}
