/* SPDX-License-Identifier: MIT */
/* Changes of a store behind a network, which tells of none by itself: while somebody follows a
 * namespace, it is gone through again and again, and compared with what it was.
 *
 *   tick ──> pass: a page of keys ──> what they hold ──> the next page ... ──> tell what differs
 *
 * So whoever wrote, on whichever node, is heard of, deletes and all; of several changes of a key
 * between two passes the last. A pass and its rest are as one to ten, so that a large namespace is
 * asked for more seldom, not harder. */
#include "kv/remote_feed.h"

#include <stdlib.h>

#include "base/clock.h"

#define PAGE_KEYS 500U
#define KEYS_MAX 100000U /* of a namespace that is followed */
#define REST_MS 400      /* between passes, at least */
#define REST_TIMES 10
#define ARENA_BYTES (1ULL << 30)

struct known {
    struct known *next; /* in order of keys */
    uint64_t revision;
    int64_t expires_at_ms;
    uint16_t key_len;
    char key[];
};

/* A change to be told at the end of a pass. */
struct change {
    struct feed_change told;
    char bytes[];
};

/* What a feed knows of its namespace; the keeper's between passes, then that of who has the answer.
 */
struct remote_state {
    struct remote_feeds *remote;
    struct feed *feed;
    _Atomic bool busy;
    bool begun;
    int64_t started_ms, next_ms; /* steady clock */
    struct known *old, **at;     /* as it was; where the pass stands in that */
    struct known *fresh, **end;  /* as it is */
    unsigned count;
    struct change **changes;
    unsigned change_count, change_cap;
    uint64_t last; /* place of the last change */
    struct arena arena;
    struct slice after;
    char after_bytes[KV_KEY_MAX];
    bool more;
    struct kv_list list;
    struct kv_read read;
};

static void free_known(struct known *known) {
    while (known) {
        struct known *next = known->next;
        free(known);
        known = next;
    }
}

static void forget_changes(struct remote_state *state) {
    for (unsigned i = 0; i < state->change_count; i++)
        free(state->changes[i]);
    state->change_count = 0;
}

static void free_state(void *context) {
    struct remote_state *state = context;
    forget_changes(state);
    free(state->changes);
    free_known(state->old);
    free_known(state->fresh);
    arena_done(&state->arena);
    free(state);
}

/* ---- what differs ---- */

static bool add_change(struct remote_state *state, const struct feed_change *change) {
    if (state->change_count == state->change_cap) {
        unsigned cap = state->change_cap ? state->change_cap * 2 : 16;
        struct change **wider = realloc(state->changes, cap * sizeof(struct change *));
        if (!wider)
            return false;
        state->changes = wider;
        state->change_cap = cap;
    }
    size_t value_len = change->value.len <= FEED_VALUE_MAX ? change->value.len : 0;
    struct change *copy = malloc(sizeof *copy + change->key.len + value_len);
    if (!copy)
        return false;
    copy->told = *change;
    memcpy(copy->bytes, change->key.ptr, change->key.len);
    if (value_len)
        memcpy(copy->bytes + change->key.len, change->value.ptr, value_len);
    copy->told.key.ptr = copy->bytes;
    copy->told.value.ptr = copy->bytes + change->key.len;
    state->changes[state->change_count++] = copy;
    return true;
}

static struct slice key_of(const struct known *known) {
    return slice_make(known->key, known->key_len);
}

/* Those known before `until` (all, where it is NULL) that the pass did not meet are gone. */
static bool pass_over(struct remote_state *state, const struct slice *until) {
    for (; *state->at && (!until || slice_compare(key_of(*state->at), *until) < 0);
         state->at = &(*state->at)->next) {
        const struct known *gone = *state->at;
        bool expired = gone->expires_at_ms && gone->expires_at_ms <= clock_wall_ms() + 1000;
        struct feed_change change = {.kind = expired ? FEED_EXPIRED : FEED_DELETE,
                                     .key = key_of(gone)};
        if (!add_change(state, &change))
            return false;
    }
    return true;
}

static bool meet(struct remote_state *state, struct slice key, const struct kv_entry *entry) {
    if (!pass_over(state, &key) || ++state->count > KEYS_MAX)
        return false;
    const struct known *before = *state->at;
    bool was_there = before && slice_equal(key_of(before), key);
    if (was_there)
        state->at = &(*state->at)->next;
    struct known *known = malloc(sizeof *known + key.len);
    if (!known)
        return false;
    *known = (struct known){NULL, entry->revision, entry->expires_at_ms, (uint16_t)key.len};
    memcpy(known->key, key.ptr, key.len);
    *state->end = known;
    state->end = &known->next;
    if (was_there && before->revision == entry->revision)
        return true;
    struct feed_change change = {.kind = FEED_SET,
                                 .revision = entry->revision,
                                 .expires_at_ms = entry->expires_at_ms,
                                 .key = key,
                                 .value = entry->value};
    hash_md5(entry->value, change.etag);
    return !state->begun || add_change(state, &change);
}

static int compare_changes(const void *a, const void *b) {
    const struct change *x = *(struct change *const *)a;
    const struct change *y = *(struct change *const *)b;
    return (x->told.revision > y->told.revision) - (x->told.revision < y->told.revision);
}

/* What went has no revision of its own, and what came late may have one from before: places in the
 * feed grow all the same. */
static void tell(struct remote_state *state) {
    if (state->change_count)
        qsort(state->changes, state->change_count, sizeof *state->changes, compare_changes);
    for (unsigned i = 0; i < state->change_count; i++) {
        struct feed_change *change = &state->changes[i]->told;
        change->revision = change->revision > state->last ? change->revision : state->last + 1;
        state->last = change->revision;
        (void)feed_append(state->feed, NULL, change);
    }
    atomic_store(&state->remote->newest, state->last);
}

/* ---- a pass ---- */

/* Not the newest revision: another node may have told of that, and of deletes since, and whoever
 * comes from there with it as an id must not be taken for one who missed nothing. Not ahead of the
 * clock either: what is written from now on is told by its own revision. */
static uint64_t first_place(const struct remote_state *state) {
    uint64_t place = (uint64_t)(clock_wall_ms() - 1) * 1000 + hash_process_seed() % 1000;
    for (const struct known *at = state->fresh; at; at = at->next)
        if (at->revision >= place)
            place = at->revision + 1;
    return place;
}

static void end_pass(struct remote_state *state, bool whole) {
    struct feed *feed = state->feed;
    bool too_many = state->count > KEYS_MAX;
    bool begins = whole && !state->begun;
    int64_t now_ms = clock_steady_ms();
    int64_t rest_ms = (now_ms - state->started_ms) * REST_TIMES;
    state->next_ms = now_ms + (rest_ms > REST_MS ? rest_ms : REST_MS);
    if (begins) {
        state->last = first_place(state);
        feed_begin(feed, NULL, state->last);
    } else if (whole) {
        tell(state);
    }
    forget_changes(state);
    free_known(whole ? state->old : state->fresh);
    if (whole)
        state->old = state->fresh;
    state->fresh = NULL;
    arena_done(&state->arena);
    state->begun |= begins;
    atomic_store(&state->busy, false);
    if (begins)
        feed_show(feed);
    if (too_many)
        feed_fail(feed);
    feed_drop(feed);
}

static void ask_page(struct remote_state *state);

static void on_read(struct kv_read *read) {
    struct remote_state *state = read->context;
    bool good = !read->err;
    for (unsigned i = 0; good && i < read->key_count; i++)
        if (read->entries[i])
            good = meet(state, read->keys[i], read->entries[i]);
    if (good && state->more) {
        ask_page(state);
        return;
    }
    end_pass(state, good && pass_over(state, NULL));
}

static void ask_values(struct remote_state *state) {
    const struct kv_list *list = &state->list;
    state->read = (struct kv_read){.storage = list->storage,
                                   .workspace = list->workspace,
                                   .ns = list->ns,
                                   .keys = list->keys,
                                   .key_count = list->key_count,
                                   .want = KV_WANT_VALUE,
                                   .now_ms = clock_wall_ms(),
                                   .arena = &state->arena,
                                   .done = on_read,
                                   .context = state};
    if (state->remote->remote->read(state->remote->remote->context, &state->read) != ERR_PENDING)
        end_pass(state, false);
}

static void on_page(struct kv_list *list) {
    struct remote_state *state = list->context;
    state->more = list->more && list->key_count > 0;
    if (list->err) {
        end_pass(state, false);
    } else if (list->key_count == 0) {
        end_pass(state, pass_over(state, NULL));
    } else {
        struct slice last = list->keys[list->key_count - 1];
        memcpy(state->after_bytes, last.ptr, last.len);
        state->after = slice_make(state->after_bytes, last.len);
        ask_values(state);
    }
}

static void ask_page(struct remote_state *state) {
    const struct feed *feed = state->feed;
    arena_done(&state->arena);
    state->list = (struct kv_list){.storage = feed->storage,
                                   .workspace = feed->workspace,
                                   .ns = slice_make(feed->ns, feed->ns_len),
                                   .after = state->after,
                                   .limit = PAGE_KEYS,
                                   .now_ms = clock_wall_ms(),
                                   .arena = &state->arena,
                                   .done = on_page,
                                   .context = state};
    if (feeds_are_stopping(feed->feeds) ||
        state->remote->remote->list(state->remote->remote->context, &state->list) != ERR_PENDING)
        end_pass(state, false);
}

static void start_pass(struct feed *feed, void *context) {
    struct remote_state *state = feed->own;
    int64_t now_ms = clock_steady_ms();
    (void)context;
    if (!state || atomic_load(&state->busy) || now_ms < state->next_ms ||
        atomic_load(&feed->holds) == 0)
        return;
    atomic_store(&state->busy, true);
    atomic_fetch_add(&feed->holds, 1);
    state->started_ms = now_ms;
    state->count = 0;
    state->at = &state->old;
    state->end = &state->fresh;
    state->after = SLICE("");
    ask_page(state);
}

static void tick(void *context) {
    struct remote_feeds *remote = context;
    feeds_each(remote->feeds, remote->storage, start_pass, NULL);
}

/* The keeper starts the first pass. */
static void begin(void *context, struct feed *feed) {
    struct remote_state *state = calloc(1, sizeof *state);
    if (!state) {
        feed_fail(feed);
        return;
    }
    state->remote = context;
    state->feed = feed;
    arena_init(&state->arena, ARENA_BYTES);
    feed_set_own(feed, state, free_state);
}

void remote_feeds_open(struct remote_feeds *remote, struct feeds *feeds,
                       const struct kv_remote *store, enum kv_storage storage) {
    *remote = (struct remote_feeds){.feeds = feeds, .remote = store, .storage = storage};
    feeds->sources[storage] = (struct feed_source){
        .context = remote, .begin = begin, .tick = tick, .newest = &remote->newest};
}
