/* SPDX-License-Identifier: MIT */
/* A peer made up for tests, a hati or an Olivia node: one thread that serves one connection at a
 * time on a loopback port, as the test says. Included by one program each. */
#ifndef HATI_TESTS_FAKE_PEER_H
#define HATI_TESTS_FAKE_PEER_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"

#include "base/text.h"
#include "peers/olivia_filter.h"
#include "peers/peers.h"
#include "peers/wide_filter.h"
#include "peers/wire.h"

#define FAKE_KEYS 64
#define WAIT_MS 60000

struct fake_key {
    char key[64], value[64], type[64];
    int64_t ttl_ms;
};

struct fake {
    bool is_hati;
    int listener, conn, wake;
    unsigned port;
    char address[64];
    pthread_t thread;
    pthread_mutex_t lock;
    /* with the lock: */
    bool stops, frozen, hangs_up; /* frozen: reads nothing, answers nothing */
    char node_id[17];
    const char *token;       /* that it wants */
    const char *hati_answer; /* instead of a good one: %s is the hash, as in the others */
    const char *beat_answer;
    const char *question_answer;
    const char *chunk_answer;
    const char *bloom_answer;
    bool holds_all;
    struct fake_key keys[FAKE_KEYS];
    unsigned key_count;
    struct wide_filter wide;
    struct olivia_filter olivia;
    uint64_t epoch, sequence;
    uint64_t news[FAKE_KEYS];
    unsigned connections, beats, questions, chunks, blooms;
    char self[64];
    struct buf in, out;
};

static inline void fake_lock(struct fake *fake) {
    pthread_mutex_lock(&fake->lock);
}

static inline void fake_unlock(struct fake *fake) {
    pthread_mutex_unlock(&fake->lock);
}

/* ---- what it answers ---- */

static inline void fake_say(struct fake *fake, const char *hash, const char *words) {
    buf_printf(&fake->out, "%s:%s\n", hash, words);
}

/* A made-up answer, with the hash where it has %s. */
static inline void fake_say_instead(struct fake *fake, const char *hash, const char *answer) {
    const char *at = strstr(answer, "%s");
    if (at) {
        buf_append(&fake->out, slice_make(answer, (size_t)(at - answer)));
        buf_append(&fake->out, slice_of_cstr(hash));
        answer = at + 2;
    }
    buf_append(&fake->out, slice_of_cstr(answer));
    buf_append_char(&fake->out, '\n');
}

static inline void fake_pulse(struct fake *fake, const char *hash, struct slice rest) {
    uint64_t epoch = 0, sequence = 0;
    assert_true(wire_take_u64(&rest, &epoch) && wire_take_u64(&rest, &sequence));
    fake->beats++;
    if (fake->beat_answer) {
        fake_say_instead(fake, hash, fake->beat_answer);
        return;
    }
    bool knows = epoch == fake->epoch && sequence <= fake->sequence;
    /* two at most, so that it has to ask again at once */
    uint64_t last = fake->sequence - sequence > 2 ? sequence + 2 : fake->sequence;
    buf_printf(&fake->out, "%s:FULFILLED %llu:%llu:%llu:%u:%llu:", hash,
               (unsigned long long)fake->epoch, (unsigned long long)(knows ? last : fake->sequence),
               (unsigned long long)fake->sequence, fake->key_count,
               (unsigned long long)fake->wide.bits);
    if (!knows)
        buf_append_char(&fake->out, '-');
    else
        text_append_base64url(&fake->out,
                              slice_make(&fake->news[sequence], (size_t)(last - sequence) * 8));
    buf_append_char(&fake->out, '\n');
}

static inline void fake_chunk(struct fake *fake, const char *hash, struct slice rest) {
    uint64_t epoch = 0, offset = 0, bytes = fake->wide.bits / 8;
    assert_true(wire_take_u64(&rest, &epoch) && wire_take_u64(&rest, &offset));
    fake->chunks++;
    if (fake->chunk_answer) {
        fake_say_instead(fake, hash, fake->chunk_answer);
        return;
    }
    buf_printf(&fake->out, "%s:FULFILLED %llu:%llu:", hash, (unsigned long long)epoch,
               (unsigned long long)offset);
    if (epoch != fake->epoch || offset >= bytes) {
        buf_append_char(&fake->out, '-');
    } else {
        uint64_t len = bytes - offset < OWN_CHUNK_BYTES ? bytes - offset : OWN_CHUNK_BYTES;
        text_append_base64url(&fake->out, slice_make((char *)fake->wide.words + offset, len));
    }
    buf_append_char(&fake->out, '\n');
}

static inline const struct fake_key *fake_find(struct fake *fake, struct slice key) {
    static _Thread_local struct fake_key made;
    for (unsigned i = 0; i < fake->key_count; i++)
        if (slice_equal(slice_of_cstr(fake->keys[i].key), key))
            return &fake->keys[i];
    if (!fake->holds_all)
        return NULL;
    snprintf(made.value, sizeof made.value, "of %.*s", (int)key.len, key.ptr);
    return &made;
}

static inline void fake_question(struct fake *fake, const char *hash, struct slice key) {
    const struct fake_key *found = fake_find(fake, key);
    fake->questions++;
    if (fake->question_answer) {
        fake_say_instead(fake, hash, fake->question_answer);
        return;
    }
    buf_printf(&fake->out, "%s:%s ", hash, fake->is_hati ? "FETCHED" : "GOT");
    if (fake->is_hati && found) {
        buf_printf(&fake->out, "%lld:", (long long)found->ttl_ms);
        text_append_base64url(&fake->out, slice_of_cstr(found->type));
        buf_append_char(&fake->out, ':');
        text_append_base64url(&fake->out, slice_of_cstr(found->value));
    } else if (fake->is_hati) {
        buf_append_char(&fake->out, '-');
    } else if (found) {
        buf_printf(&fake->out, "%.*s:%s", (int)key.len, key.ptr, found->value);
    }
    buf_append_char(&fake->out, '\n');
}

static inline void fake_bloomfilter(struct fake *fake, const char *hash) {
    if (fake->bloom_answer) {
        fake_say_instead(fake, hash, fake->bloom_answer);
        return;
    }
    buf_printf(&fake->out, "%s:FULFILLED ", hash);
    olivia_filter_append(&fake->out, &fake->olivia);
    buf_append_char(&fake->out, '\n');
}

static inline bool fake_starts(struct slice *words, const char *prefix) {
    struct slice start = slice_of_cstr(prefix);
    if (!slice_starts_with(*words, start))
        return false;
    *words = slice_make(words->ptr + start.len, words->len - start.len);
    return true;
}

static inline void fake_hati(struct fake *fake, const char *hash, struct slice self) {
    char words[64];
    snprintf(fake->self, sizeof fake->self, "%.*s", (int)self.len, self.ptr);
    snprintf(words, sizeof words, "FULFILLED hati:1:%s", fake->node_id);
    if (fake->hati_answer)
        fake_say_instead(fake, hash, fake->hati_answer);
    else if (!fake->is_hati)
        buf_append(&fake->out, SLICE("Invalid command sent in.\n"));
    else
        fake_say(fake, hash, words);
}

static inline void fake_serve_line(struct fake *fake, struct slice line) {
    char hash[32] = "", key[KV_KEY_MAX];
    struct slice words = line;
    size_t len = 0;
    if (line.ptr[0] >= '0' && line.ptr[0] <= '9') {
        len = (size_t)((const char *)memchr(line.ptr, ':', line.len) - line.ptr);
        snprintf(hash, sizeof hash, "%.*s", (int)len, line.ptr);
        words = slice_make(line.ptr + len + 1, line.len - len - 1);
    }
    if (fake_starts(&words, "AUTH "))
        buf_append(&fake->out, fake->token && slice_equal(words, slice_of_cstr(fake->token))
                                   ? SLICE("+OK\n")
                                   : SLICE("+ERR FORBIDDEN no\n"));
    else if (fake_starts(&words, "REQUEST HATI:1:"))
        fake_hati(fake, hash, words);
    else if (fake_starts(&words, "REQUEST PULSE:"))
        fake_pulse(fake, hash, words);
    else if (fake_starts(&words, "REQUEST FILTER:"))
        fake_chunk(fake, hash, words);
    else if (fake_starts(&words, "FETCH ") && text_base64url_decode(words, key, &len))
        fake_question(fake, hash, slice_make(key, len));
    else if (fake_starts(&words, "REQUEST CONNECT"))
        fake_bloomfilter(fake, ""); /* the original forgets the hash */
    else if (fake_starts(&words, "REQUEST BLOOMFILTER")) {
        fake->blooms++;
        fake_bloomfilter(fake, hash);
    } else if (fake_starts(&words, "PING ")) {
        fake->beats++;
        fake_say(fake, "0", "PONG 1");
    } else if (fake_starts(&words, "GET "))
        fake_question(fake, hash, words);
    else
        buf_append(&fake->out, SLICE("[]Invalid command sent in.\n"));
}

/* ---- its thread ---- */

static inline void fake_hang_up(struct fake *fake) {
    if (fake->conn >= 0)
        close(fake->conn);
    fake->conn = -1;
    buf_clear(&fake->in);
    buf_clear(&fake->out);
}

static inline void fake_read(struct fake *fake) {
    char *to = buf_reserve(&fake->in, 65536);
    ssize_t count = recv(fake->conn, to, 65536, MSG_DONTWAIT);
    const char *newline;
    if (count <= 0) {
        fake_hang_up(fake);
        return;
    }
    fake->in.len += (size_t)count;
    while (fake->in.len && (newline = memchr(fake->in.ptr, '\n', fake->in.len))) {
        size_t len = (size_t)(newline - fake->in.ptr);
        fake_serve_line(fake, slice_make(fake->in.ptr, len));
        buf_drop_front(&fake->in, len + 1);
    }
}

static inline void fake_write(struct fake *fake) {
    ssize_t count = send(fake->conn, fake->out.ptr, fake->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0)
        buf_drop_front(&fake->out, (size_t)count);
}

/* An answer does not wait until the one before it is acknowledged, which may be what a question
 * with the next packet does: every answer would be one question late. */
static inline void fake_accept(struct fake *fake) {
    int on = 1;
    fake->conn = accept(fake->listener, NULL, NULL);
    fake->connections++;
    (void)setsockopt(fake->conn, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline void *fake_run(void *context) {
    struct fake *fake = context;
    uint64_t wakes;
    fake_lock(fake);
    while (!fake->stops) {
        bool serves = fake->conn >= 0 && !fake->frozen;
        struct pollfd fds[] = {{.fd = fake->wake, .events = POLLIN},
                               {.fd = fake->listener, .events = POLLIN},
                               {.fd = serves ? fake->conn : -1,
                                .events = (short)(POLLIN | (fake->out.len ? POLLOUT : 0))}};
        fake_unlock(fake);
        (void)poll(fds, 3, -1);
        fake_lock(fake);
        if (fds[0].revents)
            (void)!read(fake->wake, &wakes, sizeof wakes);
        if (fake->hangs_up || (fds[1].revents && fake->conn >= 0))
            fake_hang_up(fake);
        else if (fds[2].revents & POLLOUT)
            fake_write(fake);
        else if (fds[2].revents && !fake->frozen)
            fake_read(fake);
        fake->hangs_up = false;
        if (fds[1].revents)
            fake_accept(fake);
    }
    fake_unlock(fake);
    return NULL;
}

static inline void fake_wake(struct fake *fake) {
    uint64_t one = 1;
    assert_int_equal(write(fake->wake, &one, sizeof one), sizeof one);
}

/* port: 0 chooses one. */
static inline void fake_bind(struct fake *fake, unsigned port) {
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int on = 1;
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fake->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fake->listener, (struct sockaddr *)&at, &len), 0);
    fake->port = ntohs(at.sin_port);
}

static inline void fake_open(struct fake *fake, bool is_hati, uint64_t bits) {
    *fake = (struct fake){.is_hati = is_hati, .conn = -1, .epoch = 7};
    snprintf(fake->node_id, sizeof fake->node_id, "00000000000000aa");
    pthread_mutex_init(&fake->lock, NULL);
    buf_init(&fake->in, SIZE_MAX / 2);
    buf_init(&fake->out, SIZE_MAX / 2);
    assert_int_equal(wide_filter_init(&fake->wide, bits), OK);
    fake->wake = eventfd(0, EFD_CLOEXEC);
    fake_bind(fake, 0);
    assert_int_equal(listen(fake->listener, 16), 0);
    snprintf(fake->address, sizeof fake->address, "127.0.0.1:%u", fake->port);
}

static inline void fake_start(struct fake *fake) {
    assert_int_equal(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

static inline void fake_close(struct fake *fake) {
    fake_lock(fake);
    fake->stops = true;
    fake_unlock(fake);
    fake_wake(fake);
    pthread_join(fake->thread, NULL);
    fake_hang_up(fake);
    close(fake->listener);
    close(fake->wake);
    buf_done(&fake->in);
    buf_done(&fake->out);
    wide_filter_done(&fake->wide);
    pthread_mutex_destroy(&fake->lock);
}

/* ---- what a test tells it ---- */

/* The key gets into its filters, and is told by its next pulse. */
static inline void fake_promise(struct fake *fake, const char *key) {
    uint64_t hash = wide_filter_hash(slice_of_cstr(key));
    fake_lock(fake);
    wide_filter_add(&fake->wide, hash);
    olivia_filter_add(&fake->olivia, slice_of_cstr(key));
    fake->news[fake->sequence++] = hash;
    fake_unlock(fake);
}

static inline void fake_hold(struct fake *fake, const char *key, const char *value,
                             const char *type, int64_t ttl_ms) {
    fake_lock(fake);
    struct fake_key *entry = &fake->keys[fake->key_count++];
    snprintf(entry->key, sizeof entry->key, "%s", key);
    snprintf(entry->value, sizeof entry->value, "%s", value);
    snprintf(entry->type, sizeof entry->type, "%s", type);
    entry->ttl_ms = ttl_ms;
    fake_unlock(fake);
    fake_promise(fake, key);
}

/* Holds every key there is. */
static inline void fake_hold_all(struct fake *fake) {
    memset(fake->wide.words, 0xFF, fake->wide.bits / 8);
    memset(fake->olivia.words, 0xFF, sizeof fake->olivia.words);
    fake->holds_all = true;
}

static inline void fake_freeze(struct fake *fake, bool frozen) {
    fake_lock(fake);
    fake->frozen = frozen;
    fake_unlock(fake);
    fake_wake(fake);
}

/* Ends the connection it has. */
static inline void fake_hang(struct fake *fake) {
    fake_lock(fake);
    fake->hangs_up = true;
    fake_unlock(fake);
    fake_wake(fake);
}

/* Its connection was closed by the other side. */
static inline bool fake_is_left(struct fake *fake) {
    fake_lock(fake);
    bool left = fake->connections > 0 && fake->conn < 0;
    fake_unlock(fake);
    return left;
}

static inline unsigned fake_read_count(struct fake *fake, const unsigned *count) {
    fake_lock(fake);
    unsigned value = *count;
    fake_unlock(fake);
    return value;
}

/* Waits for what another thread does, for as long as a test may take. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until_ms = clock_steady_ms() + WAIT_MS;                                            \
        while (!(condition)) {                                                                     \
            assert_true(clock_steady_ms() < until_ms);                                             \
            sched_yield();                                                                         \
        }                                                                                          \
    } while (0)

#endif
