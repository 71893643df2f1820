/* SPDX-License-Identifier: MIT */
/* What other threads call: questions, figures, visitors, the list. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "peers/inside.h"
#include "peers/talk.h"

/* ---- questions ---- */

/* A key's places in both kinds of filter, of which the second is looked for when it is needed. */
struct look {
    struct slice key;
    uint64_t hash;
    bool has_places, fits_olivia;
    uint32_t places[OLIVIA_FILTER_PLACES];
};

static bool olivia_may_have(const struct olivia_filter *filter, struct look *look) {
    if (!look->has_places) {
        olivia_filter_places(look->key, look->places);
        look->has_places = true;
    }
    for (unsigned i = 0; i < OLIVIA_FILTER_PLACES; i++)
        if (!(filter->words[look->places[i] / 64] >> look->places[i] % 64 & 1))
            return false;
    return true;
}

static bool is_looked_at(const struct link *link, const struct look *look) {
    return link->shown.state == PEERS_ALIVE && link->shown.has_filter &&
           (link->shown.is_hati || look->fits_olivia);
}

static bool may_have(const struct link *link, struct look *look) {
    return link->shown.is_hati ? wide_filter_has(&link->wide, look->hash)
                               : olivia_may_have(&link->olivia, look);
}

static struct look look_for(struct slice key) {
    return (struct look){
        .key = key, .hash = wide_filter_hash(key), .fits_olivia = talk_key_fits(false, key)};
}

bool peers_may_have(struct peers *peers, struct slice key) {
    struct look look = look_for(key);
    bool found = false;
    pthread_rwlock_rdlock(&peers->filters_lock);
    for (unsigned i = 0; i < peers->link_count && !found; i++)
        found = is_looked_at(&peers->links[i], &look) && may_have(&peers->links[i], &look);
    pthread_rwlock_unlock(&peers->filters_lock);
    return found;
}

/* Marks those that are not to be asked; returns how many are left. ret_saved: filters that say no.
 */
static unsigned choose(struct peers *peers, struct peers_question *question, unsigned *ret_saved) {
    struct look look = look_for(question->key);
    unsigned chosen = 0, looked_at = 0;
    memset(question->tried, 0xFF, sizeof question->tried);
    pthread_rwlock_rdlock(&peers->filters_lock);
    for (unsigned i = 0; i < peers->link_count; i++) {
        if (!is_looked_at(&peers->links[i], &look))
            continue;
        looked_at++;
        if (!may_have(&peers->links[i], &look))
            continue;
        chosen++;
        question->tried[i / 8] &= (uint8_t) ~(1U << i % 8);
    }
    pthread_rwlock_unlock(&peers->filters_lock);
    *ret_saved = looked_at - chosen;
    return chosen;
}

/* The thread is woken with the lock held: a question that is taken is not being sent for any more,
 * so that the loop may go when all are answered. False: it goes. */
static bool put(struct peers *peers, struct peers_question *question) {
    pthread_mutex_lock(&peers->inbox_lock);
    bool goes_on = !peers->stop_wanted;
    if (goes_on) {
        question->next = peers->inbox;
        peers->inbox = question;
        if (!question->next)
            uv_async_send(&peers->async);
    }
    pthread_mutex_unlock(&peers->inbox_lock);
    return goes_on;
}

enum err peers_ask(struct peers *peers, struct peers_question *question) {
    unsigned saved;
    question->err = ERR_KEY_NOT_EXIST;
    question->entry = (struct kv_entry){0};
    if (peers->link_count == 0)
        return ERR_KEY_NOT_EXIST;
    unsigned chosen = choose(peers, question, &saved);
    if (chosen && question->at_once)
        return ERR_WOULD_WAIT;
    peers_add(&peers->counters.misses, 1);
    peers_add(&peers->counters.saved, saved);
    question->deadline_ms = clock_steady_ms() + peers->options.timeout_ms;
    return chosen && put(peers, question) ? ERR_PENDING : ERR_KEY_NOT_EXIST;
}

/* ---- visitors and the list ---- */

static bool has_room(struct peers *peers) {
    if (peers->visitor_count < peers->visitor_cap)
        return true;
    unsigned cap = peers->visitor_cap ? peers->visitor_cap * 2 : 16;
    if (peers->visitor_count == PEERS_MAX)
        return false;
    struct visitor *grown = realloc(peers->visitors, cap * sizeof *grown);
    if (!grown)
        return false;
    peers->visitors = grown;
    peers->visitor_cap = cap;
    return true;
}

uint64_t peers_visitor_add(struct peers *peers, const char *address) {
    uint64_t number = 0;
    if (strlen(address) >= PEERS_ADDRESS_BYTES)
        return 0;
    pthread_mutex_lock(&peers->visitors_lock);
    if (has_room(peers)) {
        struct visitor *visitor = &peers->visitors[peers->visitor_count++];
        number = visitor->number = ++peers->last_visitor;
        snprintf(visitor->address, sizeof visitor->address, "%s", address);
    }
    pthread_mutex_unlock(&peers->visitors_lock);
    return number;
}

bool peers_visitor_remove(struct peers *peers, uint64_t visitor) {
    unsigned at = 0;
    pthread_mutex_lock(&peers->visitors_lock);
    while (at < peers->visitor_count && peers->visitors[at].number != visitor)
        at++;
    bool found = at < peers->visitor_count;
    if (found)
        memmove(&peers->visitors[at], &peers->visitors[at + 1],
                (--peers->visitor_count - at) * sizeof peers->visitors[0]);
    pthread_mutex_unlock(&peers->visitors_lock);
    return found;
}

static bool append_one(struct buf *to, size_t start, const char *address) {
    return (to->len == start || buf_append_char(to, ',')) && buf_append(to, slice_of_cstr(address));
}

bool peers_append_list(struct peers *peers, struct buf *to) {
    size_t start = to->len;
    bool fits = true;
    for (unsigned i = 0; i < peers->link_count && fits; i++)
        fits = append_one(to, start, peers->links[i].shown.address);
    pthread_mutex_lock(&peers->visitors_lock);
    for (unsigned i = 0; i < peers->visitor_count && fits; i++)
        fits = append_one(to, start, peers->visitors[i].address);
    pthread_mutex_unlock(&peers->visitors_lock);
    if (!fits)
        to->len = start;
    return fits;
}

/* ---- what is told of them ---- */

const char *peers_node_id(const struct peers *peers) {
    return peers->node_id;
}

void peers_figures(struct peers *peers, struct peers_figures *ret_figures) {
    const struct peers_counters *from = &peers->counters;
    ret_figures->misses = atomic_load(&from->misses);
    ret_figures->asked = atomic_load(&from->asked);
    ret_figures->hits = atomic_load(&from->hits);
    ret_figures->saved = atomic_load(&from->saved);
    ret_figures->false_positives = atomic_load(&from->false_positives);
    ret_figures->timeouts = atomic_load(&from->timeouts);
}

unsigned peers_count(const struct peers *peers) {
    return peers->link_count;
}

void peers_get(struct peers *peers, unsigned index, struct peers_peer *ret_peer) {
    pthread_rwlock_rdlock(&peers->filters_lock);
    *ret_peer = peers->links[index].shown;
    pthread_rwlock_unlock(&peers->filters_lock);
}
