/* SPDX-License-Identifier: MIT */
/* Questions of tests to peers, and what came of them. */
#ifndef HATI_TESTS_ASK_CASE_H
#define HATI_TESTS_ASK_CASE_H

#include <errno.h>
#include <time.h>

#include "tests/unit/peers/fake_peer.h"

#define BEAT_MS 200 /* a peer that a busy machine keeps waiting for ten is not dead */
#define BEAT_FAST_MS 20
#define LIMIT_BYTES 1000U

/* A question that one thread waits for. */
struct asked {
    struct peers_question question;
    struct arena arena;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static inline void asked_done(struct peers_question *question) {
    struct asked *asked = question->context;
    pthread_mutex_lock(&asked->lock);
    asked->done = true;
    pthread_cond_signal(&asked->changed);
    pthread_mutex_unlock(&asked->lock);
}

static inline void asked_init(struct asked *asked, const char *key) {
    memset(asked, 0, sizeof *asked);
    pthread_mutex_init(&asked->lock, NULL);
    pthread_cond_init(&asked->changed, NULL);
    arena_init(&asked->arena, 65536);
    asked->question.key = slice_of_cstr(key);
    asked->question.arena = &asked->arena;
    asked->question.done = asked_done;
    asked->question.context = asked;
    asked->question.now_ms = 1000;
}

static inline void asked_free(struct asked *asked) {
    arena_done(&asked->arena);
    pthread_mutex_destroy(&asked->lock);
    pthread_cond_destroy(&asked->changed);
}

static inline void asked_wait(struct asked *asked) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&asked->lock);
    while (!asked->done)
        assert_int_not_equal(pthread_cond_timedwait(&asked->changed, &asked->lock, &until),
                             ETIMEDOUT);
    pthread_mutex_unlock(&asked->lock);
}

/* Asks and waits. The caller frees. */
static inline enum err ask_for(struct peers *peers, struct asked *asked, const char *key) {
    asked_init(asked, key);
    enum err err = peers_ask(peers, &asked->question);
    if (err != ERR_PENDING)
        return err;
    asked_wait(asked);
    return asked->question.err;
}

static inline enum err ask_once(struct peers *peers, const char *key) {
    struct asked asked;
    enum err err = ask_for(peers, &asked, key);
    asked_free(&asked);
    return err;
}

static inline void assert_found(struct peers *peers, const char *key, const char *value) {
    struct asked asked;
    assert_int_equal(ask_for(peers, &asked, key), OK);
    assert_int_equal(asked.question.entry.value.len, strlen(value));
    assert_memory_equal(asked.question.entry.value.ptr, value, strlen(value));
    asked_free(&asked);
}

static inline struct peers_options options_of(const char *list) {
    return (struct peers_options){.list = list,
                                  .beat_ms = BEAT_MS,
                                  .refresh_ms = BEAT_MS,
                                  .timeout_ms = 10 * WAIT_MS, /* a test that waits for it fails */
                                  .retry_max_ms = 20,
                                  .value_limit_bytes = LIMIT_BYTES};
}

static inline struct peers *open_with(const struct peers_options *options) {
    struct peers *peers = NULL;
    char why[256] = "";
    assert_int_equal(peers_open(options, &peers, why, sizeof why), OK);
    return peers;
}

static inline struct peers *open_to(const struct fake *fake) {
    struct peers_options options = options_of(fake->address);
    return open_with(&options);
}

static inline struct peers_peer peer_of(struct peers *peers, unsigned index) {
    struct peers_peer peer;
    peers_get(peers, index, &peer);
    return peer;
}

static inline struct peers_figures figures_of(struct peers *peers) {
    struct peers_figures figures;
    peers_figures(peers, &figures);
    return figures;
}

static inline bool has_filter(struct peers *peers, unsigned index) {
    struct peers_peer peer = peer_of(peers, index);
    return peer.state == PEERS_ALIVE && peer.has_filter;
}

static inline bool may_have(struct peers *peers, const char *key) {
    return peers_may_have(peers, slice_of_cstr(key));
}

#endif
