/* SPDX-License-Identifier: MIT */
/* Peers that are not there, in place of peers.c: what their filters and stores hold is the test's
 * to say, and questions that pend are answered when the test lets them. */
#ifndef HATI_TESTS_PEERS_DOUBLE_H
#define HATI_TESTS_PEERS_DOUBLE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handlers/call.h"
#include "peers/peers.h"

#define PEERS_DOUBLE_KEYS 16

/* A key that a filter says maybe to. */
struct peers_double_key {
    const char *key;
    const char *value; /* NULL: nobody has it */
    int64_t expires_at_ms;
};

struct peers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct peers_double_key keys[PEERS_DOUBLE_KEYS];
    unsigned key_count;
    struct peers_question *first, **last; /* pending */
    unsigned pending, most_pending;
    struct peers_figures figures;
    struct peers_peer nodes[4];
    unsigned node_count;
    enum err fail; /* every question is answered so, where not OK */
    bool wake_before_return;
};

static struct peers peers_double = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                    .changed = PTHREAD_COND_INITIALIZER};

static inline const struct peers_double_key *peers_double_find(struct slice key) {
    for (unsigned i = 0; i < peers_double.key_count; i++)
        if (slice_equal(slice_of_cstr(peers_double.keys[i].key), key))
            return &peers_double.keys[i];
    return NULL;
}

static inline void peers_double_answer(struct peers_question *question) {
    const struct peers_double_key *key = peers_double_find(question->key);
    question->err = peers_double.fail;
    if (!question->err && (!key || !key->value))
        question->err = ERR_KEY_NOT_EXIST;
    if (!question->err)
        question->entry = (struct kv_entry){
            .value = arena_copy(question->arena, slice_of_cstr(key->value)),
            .expires_at_ms = key->expires_at_ms,
        };
    question->done(question);
}

enum err peers_ask(struct peers *peers, struct peers_question *question) {
    pthread_mutex_lock(&peers->lock);
    bool may_have = peers_double_find(question->key) != NULL;
    if (may_have && question->at_once) {
        pthread_mutex_unlock(&peers->lock);
        return ERR_WOULD_WAIT;
    }
    peers->figures.misses++;
    peers->figures.asked += may_have;
    bool wake = may_have && peers->wake_before_return;
    if (may_have && !wake) {
        question->next = NULL;
        *peers->last = question;
        peers->last = &question->next;
        peers->pending++;
        if (peers->pending > peers->most_pending)
            peers->most_pending = peers->pending;
        pthread_cond_broadcast(&peers->changed);
    }
    pthread_mutex_unlock(&peers->lock);
    if (wake)
        peers_double_answer(question);
    return may_have ? ERR_PENDING : ERR_KEY_NOT_EXIST;
}

bool peers_may_have(struct peers *peers, struct slice key) {
    (void)peers;
    return peers_double_find(key) != NULL;
}

enum err peers_open(const struct peers_options *options, struct peers **ret_peers, char *ret_why,
                    size_t why_bytes) {
    (void)options, (void)ret_peers, (void)ret_why, (void)why_bytes;
    return ERR_UNAVAILABLE;
}

void peers_close(struct peers *peers) {
    (void)peers;
}

uint64_t peers_visitor_add(struct peers *peers, const char *address) {
    (void)peers, (void)address;
    return 0;
}

bool peers_visitor_remove(struct peers *peers, uint64_t visitor) {
    (void)peers, (void)visitor;
    return false;
}

bool peers_append_list(struct peers *peers, struct buf *to) {
    (void)peers, (void)to;
    return true;
}

const char *peers_node_id(const struct peers *peers) {
    (void)peers;
    return "0123456789abcdef";
}

void peers_figures(struct peers *peers, struct peers_figures *ret_figures) {
    pthread_mutex_lock(&peers->lock);
    *ret_figures = peers->figures;
    pthread_mutex_unlock(&peers->lock);
}

unsigned peers_count(const struct peers *peers) {
    return peers->node_count;
}

void peers_get(struct peers *peers, unsigned index, struct peers_peer *ret_peer) {
    *ret_peer = peers->nodes[index];
}

/* Before the doors are opened. One peer, which has nothing. */
static inline void peers_double_open(struct core *core) {
    peers_double.key_count = peers_double.pending = peers_double.most_pending = 0;
    peers_double.first = NULL;
    peers_double.last = &peers_double.first;
    peers_double.figures = (struct peers_figures){0};
    peers_double.nodes[0] = (struct peers_peer){.address = "a:1", .state = PEERS_CONNECTING};
    peers_double.node_count = 1;
    peers_double.fail = OK;
    peers_double.wake_before_return = false;
    core->peers = &peers_double;
    core->peer_reads = true;
}

/* value NULL: a filter says maybe and no peer has it. */
static inline void peers_double_put(const char *key, const char *value, int64_t expires_at_ms) {
    pthread_mutex_lock(&peers_double.lock);
    assert_true(peers_double.key_count < PEERS_DOUBLE_KEYS);
    peers_double.keys[peers_double.key_count++] =
        (struct peers_double_key){key, value, expires_at_ms};
    pthread_mutex_unlock(&peers_double.lock);
}

static inline unsigned peers_double_pending(void) {
    pthread_mutex_lock(&peers_double.lock);
    unsigned pending = peers_double.pending;
    pthread_mutex_unlock(&peers_double.lock);
    return pending;
}

static inline void peers_double_await(unsigned count) {
    pthread_mutex_lock(&peers_double.lock);
    while (peers_double.pending < count)
        pthread_cond_wait(&peers_double.changed, &peers_double.lock);
    assert_int_equal(peers_double.pending, count);
    pthread_mutex_unlock(&peers_double.lock);
}

/* The oldest question is answered, or the newest; false where there is none. */
static inline bool peers_double_come_back(bool newest) {
    pthread_mutex_lock(&peers_double.lock);
    struct peers_question **at = &peers_double.first;
    while (newest && *at && (*at)->next)
        at = &(*at)->next;
    struct peers_question *question = *at;
    if (question) {
        *at = question->next;
        if (!*at)
            peers_double.last = at;
        peers_double.pending--;
    }
    pthread_mutex_unlock(&peers_double.lock);
    if (question)
        peers_double_answer(question);
    return question != NULL;
}

#endif
