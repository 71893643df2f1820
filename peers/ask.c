/* SPDX-License-Identifier: MIT */
#include "peers/ask.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "peers/inside.h"
#include "peers/talk.h"

#define SPARE_MAX 4096U

static struct ask *new_ask(struct peers *peers) {
    struct ask *ask = peers->spare_asks;
    if (!ask)
        return malloc(sizeof *ask);
    peers->spare_asks = ask->next;
    peers->spare_count--;
    return ask;
}

/* Where the question is over and no answer is to come. */
static void free_if_over(struct peers *peers, struct ask *ask) {
    if (ask->question || ask->waits)
        return;
    if (peers->spare_count >= SPARE_MAX) {
        free(ask);
        return;
    }
    ask->next = peers->spare_asks;
    peers->spare_asks = ask;
    peers->spare_count++;
}

void ask_free_spare(struct peers *peers) {
    while (peers->spare_asks) {
        struct ask *ask = peers->spare_asks;
        peers->spare_asks = ask->next;
        free(ask);
    }
}

/* Deadlines come nearly in order: the place is at the end, or a few before it. */
static void put_in_order(struct peers *peers, struct ask *ask) {
    struct ask *before = peers->last_ask;
    while (before && before->deadline_ms > ask->deadline_ms)
        before = before->prev;
    ask->prev = before;
    ask->next = before ? before->next : peers->first_ask;
    *(before ? &before->next : &peers->first_ask) = ask;
    *(ask->next ? &ask->next->prev : &peers->last_ask) = ask;
}

static void finish(struct peers *peers, struct ask *ask, enum err err) {
    struct peers_question *question = ask->question;
    *(ask->prev ? &ask->prev->next : &peers->first_ask) = ask->next;
    *(ask->next ? &ask->next->prev : &peers->last_ask) = ask->prev;
    ask->question = NULL;
    if (!err)
        peers_add(&peers->counters.hits, 1);
    question->err = err;
    question->done(question);
}

static struct link *pick(struct peers *peers, struct peers_question *question) {
    for (unsigned i = 0; i < peers->link_count; i++) {
        struct link *link = peers->ranked[i];
        uint8_t bit = (uint8_t)(1U << link->index % 8);
        if (question->tried[link->index / 8] & bit)
            continue;
        question->tried[link->index / 8] |= bit;
        if (link->phase == LINK_READY && link->questions < LINK_QUESTIONS_MAX)
            return link;
    }
    return NULL;
}

static void ask_more(struct peers *peers, struct ask *ask) {
    while (ask->waits < ASK_AT_ONCE) {
        struct link *link = pick(peers, ask->question);
        if (!link)
            break;
        if (!talk_ask(link, ask))
            continue;
        ask->waits++;
        peers_add(&peers->counters.asked, 1);
    }
    if (ask->waits == 0)
        finish(peers, ask, ERR_KEY_NOT_EXIST);
}

static void begin(struct peers *peers, struct peers_question *question) {
    struct ask *ask = new_ask(peers);
    if (!ask) {
        question->err = ERR_OUT_OF_MEMORY;
        question->done(question);
        return;
    }
    *ask = (struct ask){.question = question, .deadline_ms = question->deadline_ms};
    put_in_order(peers, ask);
    if (peers->stopping)
        finish(peers, ask, ERR_KEY_NOT_EXIST);
    else
        ask_more(peers, ask);
    free_if_over(peers, ask);
}

static void on_deadline(uv_timer_t *timer) {
    ask_expire(timer->data);
}

static void set_timer(struct peers *peers) {
    if (!peers->first_ask || peers->stopping || uv_is_active((uv_handle_t *)&peers->deadlines))
        return;
    int64_t left_ms = peers->first_ask->deadline_ms - clock_steady_ms();
    uint64_t delay_ms = left_ms > 1 ? (uint64_t)left_ms : 1;
    (void)uv_timer_start(&peers->deadlines, on_deadline, delay_ms, 0);
}

void ask_take_inbox(struct peers *peers) {
    struct peers_question *oldest = NULL;
    pthread_mutex_lock(&peers->inbox_lock);
    struct peers_question *newest = peers->inbox;
    peers->inbox = NULL;
    pthread_mutex_unlock(&peers->inbox_lock);
    while (newest) {
        struct peers_question *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct peers_question *next = oldest->next;
        begin(peers, oldest);
        oldest = next;
    }
    set_timer(peers);
}

void ask_expire(struct peers *peers) {
    int64_t now_ms = clock_steady_ms();
    while (peers->first_ask && peers->first_ask->deadline_ms <= now_ms) {
        struct ask *ask = peers->first_ask;
        ask->late = true;
        peers_add(&peers->counters.timeouts, ask->waits);
        finish(peers, ask, ERR_KEY_NOT_EXIST);
        free_if_over(peers, ask);
    }
    set_timer(peers);
}

void ask_end_all(struct peers *peers) {
    while (peers->first_ask) {
        struct ask *ask = peers->first_ask;
        finish(peers, ask, ERR_KEY_NOT_EXIST);
        free_if_over(peers, ask);
    }
}

static void next_after_no(struct peers *peers, struct ask *ask) {
    ask->waits--;
    if (ask->question)
        ask_more(peers, ask);
    free_if_over(peers, ask);
}

void ask_answered_no(struct peers *peers, struct ask *ask) {
    if (!ask->late)
        peers_add(&peers->counters.false_positives, 1);
    next_after_no(peers, ask);
}

void ask_not_answered(struct peers *peers, struct ask *ask) {
    if (!ask->late)
        peers_add(&peers->counters.timeouts, 1);
    next_after_no(peers, ask);
}

static int64_t expiry(int64_t now_ms, int64_t ttl_ms) {
    int64_t at_ms;
    if (ttl_ms <= 0)
        return 0;
    return __builtin_add_overflow(now_ms, ttl_ms, &at_ms) ? INT64_MAX : at_ms;
}

/* ERR_SYNTAX where it is no base64url. */
static enum err copy_value(struct arena *arena, const struct ask_found *found,
                           struct slice *ret_value) {
    if (!found->is_base64url) {
        struct slice value = arena_copy(arena, found->value);
        *ret_value = value;
        return value.ptr ? OK : ERR_OUT_OF_MEMORY;
    }
    size_t len;
    char *bytes = arena_alloc(arena, found->value.len + 1);
    if (!bytes)
        return ERR_OUT_OF_MEMORY;
    if (!text_base64url_decode(found->value, bytes, &len))
        return ERR_SYNTAX;
    *ret_value = slice_make(bytes, len);
    return OK;
}

static enum err copy(struct peers_question *question, const struct ask_found *found) {
    struct kv_entry entry = {.expires_at_ms = expiry(question->now_ms, found->ttl_ms)};
    enum err err = copy_value(question->arena, found, &entry.value);
    if (err)
        return err;
    entry.content_type = arena_copy(question->arena, found->type);
    if (!entry.content_type.ptr)
        return ERR_OUT_OF_MEMORY;
    question->entry = entry;
    return OK;
}

bool ask_found(struct peers *peers, struct ask *ask, const struct ask_found *found) {
    enum err err = ask->question ? copy(ask->question, found) : OK;
    if (err == ERR_SYNTAX) {
        ask_not_answered(peers, ask);
        return false;
    }
    ask->waits--;
    if (ask->question)
        finish(peers, ask, err);
    free_if_over(peers, ask);
    return true;
}
