/* SPDX-License-Identifier: MIT */
/* Pages of keys and counts of the durable store. LMDB is in order and counts its entries, so the
 * lister first lets the applier bring it up to what may be seen, then reads.
 *
 * Keys too long to stand whole in LMDB are in order only up to PLACE_PREFIX_BYTES: all that share
 * so much are gathered and sorted by their full keys. */
#include <stdlib.h>

#include "base/log.h"
#include "kv/hdd.h"

/* Keys of one environment in byte order, from list->after or the prefix on. */
struct stream {
    struct env_read *read;
    struct env_cursor *cursor;
    bool at_end;               /* the cursor is behind everything that is asked for */
    enum err err;              /* at the end: why it could not go on */
    struct slice place, bytes; /* where the cursor stands */
    struct slice head;         /* the next key; ptr NULL: none */
    struct slice *group;       /* keys sorted apart; those from group_at on are to come */
    size_t group_count, group_cap, group_at;
};

struct listing {
    struct kv_hdd *hdd;
    struct kv_list *list;
    uint32_t space;
    struct stream streams[HDD_SHARDS_MAX];
};

static int compare_slices(const void *a, const void *b) {
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static struct slice start_of(const struct kv_list *list) {
    return slice_compare(list->after, list->prefix) > 0 ? list->after : list->prefix;
}

/* The place's bytes that are the beginning of its key. */
static struct slice key_part(struct slice place) {
    size_t len = place.len - 4;
    return slice_make(place.ptr + 4, len > PLACE_PREFIX_BYTES ? PLACE_PREFIX_BYTES : len);
}

static struct slice cut(struct slice text, size_t len) {
    return slice_make(text.ptr, text.len < len ? text.len : len);
}

static void check_end(const struct listing *listing, struct stream *stream, enum err err) {
    struct slice prefix = cut(listing->list->prefix, PLACE_PREFIX_BYTES);
    stream->err = err == ERR_KEY_NOT_EXIST ? OK : err;
    stream->at_end = err || stream->place.len < 4 ||
                     get_be32(stream->place.ptr) != listing->space ||
                     !slice_starts_with(key_part(stream->place), prefix);
}

static void step(const struct listing *listing, struct stream *stream) {
    check_end(listing, stream, env_cursor_next(stream->cursor, &stream->place, &stream->bytes));
}

/* True where the entry under the cursor is one that is asked for. */
static bool is_wanted(const struct listing *listing, const struct stream *stream,
                      struct slice *ret_key) {
    const struct kv_list *list = listing->list;
    struct stored stored;
    if (stored_peek(stream->place, stream->bytes, &stored))
        return false;
    *ret_key = stored.key;
    return (stored.expires_at_ms == 0 || stored.expires_at_ms > list->now_ms) &&
           slice_starts_with(stored.key, list->prefix) &&
           (list->after.len == 0 || slice_compare(stored.key, list->after) > 0);
}

/* Keeps the smallest keys only: no page needs more than its limit and one. */
static void shorten_group(const struct listing *listing, struct stream *stream) {
    size_t most = (size_t)listing->list->limit + 1;
    qsort(stream->group, stream->group_count, sizeof *stream->group, compare_slices);
    if (stream->group_count > most)
        stream->group_count = most;
}

static enum err add_to_group(const struct listing *listing, struct stream *stream,
                             struct slice key) {
    if (stream->group_count == stream->group_cap) {
        size_t cap = 2 * ((size_t)listing->list->limit + 1) + 16;
        if (stream->group_cap == 0) {
            stream->group = malloc(cap * sizeof *stream->group);
            if (!stream->group)
                return ERR_OUT_OF_MEMORY;
            stream->group_cap = cap;
        } else {
            shorten_group(listing, stream);
        }
    }
    stream->group[stream->group_count++] = key;
    return OK;
}

/* Everything that shares its first PLACE_PREFIX_BYTES with the entry under the cursor. */
static enum err gather_group(const struct listing *listing, struct stream *stream) {
    struct slice shared = key_part(stream->place);
    enum err err = OK;
    stream->group_count = stream->group_at = 0;
    while (!err && !stream->at_end && slice_equal(key_part(stream->place), shared)) {
        struct slice key;
        if (is_wanted(listing, stream, &key))
            err = add_to_group(listing, stream, key);
        step(listing, stream);
    }
    if (stream->group_count)
        shorten_group(listing, stream);
    return err ? err : stream->err; /* some of the group are not known */
}

/* Finds the stream's next key. */
static enum err advance(const struct listing *listing, struct stream *stream) {
    stream->head = (struct slice){NULL, 0};
    for (;;) {
        if (stream->group_at < stream->group_count) {
            stream->head = stream->group[stream->group_at++];
            return OK;
        }
        if (stream->at_end)
            return stream->err;
        if (key_part(stream->place).len == PLACE_PREFIX_BYTES) {
            enum err err = gather_group(listing, stream);
            if (err)
                return err;
            continue;
        }
        struct slice key;
        bool wanted = is_wanted(listing, stream, &key);
        step(listing, stream);
        if (wanted) {
            stream->head = key;
            return OK;
        }
    }
}

static enum err open_stream(const struct listing *listing, unsigned shard) {
    struct stream *stream = (struct stream *)&listing->streams[shard];
    char from[4 + PLACE_PREFIX_BYTES];
    struct slice start = cut(start_of(listing->list), PLACE_PREFIX_BYTES);
    put_be32(from, listing->space);
    if (start.len)
        memcpy(from + 4, start.ptr, start.len);
    enum err err = env_read_begin(listing->hdd->envs[shard], &stream->read);
    if (!err)
        err = env_cursor_open(stream->read, ENV_ENTRIES, &stream->cursor);
    if (err)
        return err;
    check_end(listing, stream,
              env_cursor_seek(stream->cursor, slice_make(from, 4 + start.len), &stream->place,
                              &stream->bytes));
    return advance(listing, stream);
}

static void close_streams(struct listing *listing) {
    for (unsigned i = 0; i < listing->hdd->shard_count; i++) {
        struct stream *stream = &listing->streams[i];
        if (stream->cursor)
            env_cursor_close(stream->cursor);
        if (stream->read)
            env_read_end(stream->read);
        free(stream->group);
    }
}

static struct stream *find_least(struct listing *listing) {
    struct stream *least = NULL;
    for (unsigned i = 0; i < listing->hdd->shard_count; i++) {
        struct stream *stream = &listing->streams[i];
        if (stream->head.ptr && (!least || slice_compare(stream->head, least->head) < 0))
            least = stream;
    }
    return least;
}

static enum err read_page(struct listing *listing) {
    struct kv_list *list = listing->list;
    enum err err = OK;
    for (unsigned i = 0; !err && i < listing->hdd->shard_count; i++)
        err = open_stream(listing, i);
    for (struct stream *least; !err && (least = find_least(listing));) {
        if (list->key_count == list->limit) {
            list->more = true;
            break;
        }
        struct slice copy = arena_copy(list->arena, least->head);
        if (!copy.ptr)
            return ERR_OUT_OF_MEMORY;
        list->keys[list->key_count++] = copy;
        err = advance(listing, least);
    }
    return err;
}

static enum err read_list(struct kv_hdd *hdd, struct kv_list *list) {
    uint32_t space = spaces_find(hdd->spaces, &list->workspace, list->ns);
    list->key_count = 0;
    list->more = false;
    list->keys = arena_alloc(list->arena, sizeof *list->keys * list->limit);
    if (!list->keys)
        return ERR_OUT_OF_MEMORY;
    if (space == SPACE_NONE)
        return OK;
    struct listing *listing = calloc(1, sizeof *listing);
    if (!listing)
        return ERR_OUT_OF_MEMORY;
    listing->hdd = hdd;
    listing->list = list;
    listing->space = space;
    enum err err = read_page(listing);
    close_streams(listing);
    free(listing);
    return err;
}

static enum err read_count(struct kv_hdd *hdd, struct kv_count *count) {
    uint64_t keys = 0;
    for (unsigned i = 0; i < hdd->shard_count; i++) {
        struct env_read *read;
        uint64_t expired = 0;
        enum err err = env_read_begin(hdd->envs[i], &read);
        if (err)
            return err;
        err = hdd_count_expired(read, count->now_ms, &expired);
        keys += env_read_count(read, ENV_ENTRIES) - expired;
        env_read_end(read);
        if (err)
            return err;
    }
    count->keys = keys;
    return OK;
}

static void answer(struct kv_hdd *hdd, struct kv_list *lists, struct kv_count *counts,
                   bool applied) {
    while (lists) {
        struct kv_list *next = lists->next;
        lists->err = applied ? read_list(hdd, lists) : ERR_UNAVAILABLE;
        lists->done(lists);
        lists = next;
    }
    while (counts) {
        struct kv_count *next = counts->next;
        counts->err = applied ? read_count(hdd, counts) : ERR_UNAVAILABLE;
        counts->done(counts);
        counts = next;
    }
}

static void *list_keys(void *context) {
    struct kv_hdd *hdd = context;
    for (;;) {
        pthread_mutex_lock(&hdd->lock);
        while (!hdd->lists && !hdd->counts && !hdd->lister_stopping)
            pthread_cond_wait(&hdd->changed, &hdd->lock);
        struct kv_list *lists = hdd->lists;
        struct kv_count *counts = hdd->counts;
        hdd->lists = hdd->last_list = NULL;
        hdd->counts = hdd->last_count = NULL;
        pthread_mutex_unlock(&hdd->lock);
        if (!lists && !counts)
            return NULL;
        answer(hdd, lists, counts, hdd_wait_applied(hdd));
    }
}

enum err kv_hdd_list(struct kv_hdd *hdd, struct kv_list *list) {
    list->next = NULL;
    pthread_mutex_lock(&hdd->lock);
    if (hdd->last_list)
        hdd->last_list->next = list;
    else
        hdd->lists = list;
    hdd->last_list = list;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    return ERR_PENDING;
}

enum err kv_hdd_count(struct kv_hdd *hdd, struct kv_count *count) {
    count->next = NULL;
    pthread_mutex_lock(&hdd->lock);
    if (hdd->last_count)
        hdd->last_count->next = count;
    else
        hdd->counts = count;
    hdd->last_count = count;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    return ERR_PENDING;
}

enum err hdd_lister_start(struct kv_hdd *hdd) {
    hdd->lister_runs = pthread_create(&hdd->lister, NULL, list_keys, hdd) == 0;
    return hdd->lister_runs ? OK : ERR_OUT_OF_MEMORY;
}

void hdd_lister_stop(struct kv_hdd *hdd) {
    pthread_mutex_lock(&hdd->lock);
    hdd->lister_stopping = true;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    if (hdd->lister_runs)
        pthread_join(hdd->lister, NULL);
}
