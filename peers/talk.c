/* SPDX-License-Identifier: MIT */
#include "peers/talk.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "peers/inside.h"
#include "peers/sync.h"
#include "peers/wire.h"

#define LINE_SHORT 1024U   /* of an answer without bytes */
#define LINE_OLIVIA 16384U /* with an Olivia node's filter */
#define FIELDS_BYTES 256U  /* of an answer, beside its bytes */
#define RTT_PART 8         /* of a new measurement in the smoothed one */
#define BASE64URL(bytes) (((bytes) + 2) / 3 * 4)

/* ---- what is said ---- */

static void say(struct link *link, enum sent_kind kind, const char *words, const char *more) {
    struct buf *to = link_begin(link, kind, NULL);
    if (!to)
        return;
    buf_append(to, slice_of_cstr(words));
    buf_append(to, slice_of_cstr(more));
    link_end(link);
}

static void say_hati(struct link *link) {
    const char *self = link->peers->options.self;
    say(link, SENT_HATI, "REQUEST HATI:1:", self ? self : "-");
}

void talk_greet(struct link *link) {
    if (link->peers->options.token)
        say(link, SENT_AUTH, "AUTH ", link->peers->options.token);
    else
        say_hati(link);
}

static void say_bloomfilter(struct link *link) {
    link->bloom_waits = true;
    link->refreshed_ms = clock_steady_ms();
    say(link, SENT_BLOOMFILTER, "REQUEST BLOOMFILTER", NULL);
}

static void say_beat(struct link *link) {
    link->sync.rounds = 0;
    if (link->shown.is_hati) {
        sync_say_pulse(link);
        return;
    }
    link->beat_waits = true;
    say(link, SENT_PING, "PING 1", NULL);
    int64_t due_ms = link->refreshed_ms + link->peers->options.refresh_ms;
    if (!link->bloom_waits && clock_steady_ms() >= due_ms)
        say_bloomfilter(link);
}

static void note_missed(struct link *link, unsigned missed) {
    bool dies = missed >= LINK_BEATS_MAX && link->shown.state != PEERS_DEAD;
    if (dies) {
        sync_end_fetch(link);
        sync_forget(link);
    }
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->shown.missed = missed;
    if (dies)
        link->shown.state = PEERS_DEAD;
    pthread_rwlock_unlock(&link->peers->filters_lock);
    if (!dies)
        return;
    log_warn("peer %s is dead: no answer to %u heartbeats", link->shown.address, missed);
    if (link->phase == LINK_READY)
        link_drop(link, "no answer to heartbeats");
}

void talk_beat(struct link *link) {
    if (link->phase == LINK_OVER || link->is_self)
        return;
    if (link->phase == LINK_READY && !link->beat_waits)
        say_beat(link);
    else if (link->shown.missed < LINK_BEATS_MAX)
        note_missed(link, link->shown.missed + 1);
}

bool talk_key_fits(bool is_hati, struct slice key) {
    if (is_hati)
        return true;
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] == ',' || key.ptr[i] == ':' || key.ptr[i] == '\n' || key.ptr[i] == '\r')
            return false;
    return true;
}

bool talk_ask(struct link *link, struct ask *ask) {
    struct slice key = ask->question->key;
    struct buf *to =
        talk_key_fits(link->shown.is_hati, key) ? link_begin(link, SENT_QUESTION, ask) : NULL;
    if (!to)
        return false;
    if (link->shown.is_hati) {
        buf_append(to, SLICE("FETCH "));
        text_append_base64url(to, key);
    } else {
        buf_append(to, SLICE("GET "));
        buf_append(to, key);
    }
    link_end(link);
    return true;
}

/* ---- what is answered ---- */

size_t talk_line_max(const struct link *link) {
    size_t value_bytes = link->peers->options.value_limit_bytes;
    if (link->sent_count == 0)
        return LINE_SHORT;
    switch (link->sent[link->sent_first].kind) {
    case SENT_CONNECT:
    case SENT_BLOOMFILTER:
        return LINE_OLIVIA;
    case SENT_PULSE:
        return BASE64URL(OWN_PULSE_MAX * 8U) + FIELDS_BYTES;
    case SENT_CHUNK:
        return BASE64URL(OWN_CHUNK_BYTES) + FIELDS_BYTES;
    case SENT_QUESTION:
        return (link->shown.is_hati ? BASE64URL(value_bytes) + BASE64URL(KV_CONTENT_TYPE_MAX)
                                    : value_bytes + KV_KEY_MAX) +
               FIELDS_BYTES;
    default:
        return LINE_SHORT;
    }
}

/* `[]` stands before it in some of Olivia's answers, not in all. */
static bool is_invalid_command(struct slice line) {
    return slice_starts_with(line, SLICE("[]Invalid command sent in.")) ||
           slice_starts_with(line, SLICE("Invalid command sent in."));
}

/* `+OK`, `+ERR ...`: with a hash before them or none. */
static bool is_status(struct slice line, struct slice status) {
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (slice_starts_with(line, status))
        return true;
    if (!colon)
        return false;
    size_t before = (size_t)(colon + 1 - line.ptr);
    return slice_starts_with(slice_make(colon + 1, line.len - before), status);
}

static const char *take_auth(struct link *link, struct slice line) {
    if (!is_status(line, SLICE("+OK")) && !is_invalid_command(line))
        return "it does not take the token";
    say_hati(link);
    return NULL;
}

static void be_ready(struct link *link, bool is_hati) {
    uv_timer_stop(&link->timer);
    link->phase = LINK_READY;
    if (!is_hati || !link->shown.is_hati) /* what it held is not known to hold on */
        sync_forget(link);
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->shown.state = PEERS_ALIVE;
    link->shown.is_hati = is_hati;
    link->shown.missed = 0;
    pthread_rwlock_unlock(&link->peers->filters_lock);
    log_info("peer %s is alive, %s node", link->shown.address, is_hati ? "a hati" : "an Olivia");
    if (!is_hati) {
        say(link, SENT_CONNECT, "REQUEST CONNECT", NULL);
        say_bloomfilter(link);
    }
    say_beat(link);
}

static bool is_node_id(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (!(text.ptr[i] >= '0' && text.ptr[i] <= '9') &&
            !(text.ptr[i] >= 'a' && text.ptr[i] <= 'f'))
            return false;
    return text.len == LINK_NODE_ID_BYTES - 1;
}

static const char *take_hati(struct link *link, struct slice line, const struct wire_reply *reply) {
    struct slice prefix = SLICE("hati:1:");
    if (is_invalid_command(line)) {
        link->node_id[0] = '\0';
        be_ready(link, false);
        return NULL;
    }
    if (!reply || !slice_starts_with(reply->rest, prefix))
        return "it is neither a hati nor an Olivia node";
    struct slice id = slice_make(reply->rest.ptr + prefix.len, reply->rest.len - prefix.len);
    if (!is_node_id(id))
        return "it is neither a hati nor an Olivia node";
    if (slice_equal(id, slice_of_cstr(link->peers->node_id))) {
        link->is_self = true;
        return "it is this node itself";
    }
    if (!slice_equal(id, slice_of_cstr(link->node_id)))
        sync_forget(link);
    memcpy(link->node_id, id.ptr, id.len);
    be_ready(link, true);
    return NULL;
}

static void note_beat(struct link *link, const struct sent *sent) {
    int64_t rtt_us = (clock_steady_ns() - sent->at_ns) / 1000;
    int64_t smoothed_us = link->shown.rtt_us;
    if (smoothed_us)
        rtt_us = smoothed_us + (rtt_us - smoothed_us) / RTT_PART;
    link->beat_waits = false;
    if (++link->beats >= LINK_BEATS_MAX)
        link->failures = 0;
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->shown.rtt_us = rtt_us > 0 ? rtt_us : 1;
    link->shown.missed = 0;
    pthread_rwlock_unlock(&link->peers->filters_lock);
}

/* As every door takes one: ASCII. */
static bool is_type(struct slice type) {
    for (size_t i = 0; i < type.len; i++)
        if ((uint8_t)type.ptr[i] < 0x20 || (uint8_t)type.ptr[i] > 0x7E)
            return false;
    return type.len <= KV_CONTENT_TYPE_MAX;
}

/* The parts of FETCHED; type has room for KV_CONTENT_TYPE_MAX. */
static bool parse_fetched(struct slice rest, char *type, struct ask_found *ret_found) {
    struct slice text;
    uint64_t ttl_ms;
    size_t len = 0;
    if (!wire_take_u64(&rest, &ttl_ms) || !wire_take_field(&rest, &text) ||
        !wire_take_field(&rest, &ret_found->value) || rest.ptr ||
        text.len > BASE64URL(KV_CONTENT_TYPE_MAX) || !text_base64url_decode(text, type, &len))
        return false;
    ret_found->type = slice_make(type, len);
    ret_found->ttl_ms = (int64_t)ttl_ms;
    ret_found->is_base64url = true;
    return is_type(ret_found->type);
}

static size_t decoded_bytes(struct slice base64url) {
    return base64url.len / 4 * 3 + base64url.len % 4 * 3 / 4;
}

static const char *take_fetched(struct link *link, struct ask *ask,
                                const struct wire_reply *reply) {
    struct peers *peers = link->peers;
    struct ask_found found = {0};
    char type[BASE64URL(KV_CONTENT_TYPE_MAX)];
    bool is_fetched = reply && slice_equal(reply->word, SLICE("FETCHED"));
    if (is_fetched && slice_equal(reply->rest, SLICE("-"))) {
        ask_answered_no(peers, ask);
        return NULL;
    }
    if (!is_fetched || !parse_fetched(reply->rest, type, &found)) {
        ask_not_answered(peers, ask);
        return "an answer that does not parse";
    }
    if (decoded_bytes(found.value) > peers->options.value_limit_bytes) {
        ask_not_answered(peers, ask);
        return NULL;
    }
    return ask_found(peers, ask, &found) ? NULL : "an answer that does not parse";
}

/* An Olivia node that found nothing at its own peers says `key:`: it is as good as none. */
static const char *take_got(struct link *link, struct ask *ask, const struct wire_reply *reply) {
    struct ask_found found = {0};
    if (!reply || !slice_equal(reply->word, SLICE("GOT"))) {
        ask_not_answered(link->peers, ask);
        return "an answer that does not parse";
    }
    const char *colon = reply->rest.len ? memchr(reply->rest.ptr, ':', reply->rest.len) : NULL;
    if (colon)
        found.value =
            slice_make(colon + 1, reply->rest.len - (size_t)(colon + 1 - reply->rest.ptr));
    if (ask->question && colon) {
        struct slice key = slice_make(reply->rest.ptr, (size_t)(colon - reply->rest.ptr));
        if (!slice_equal(key, ask->question->key)) {
            ask_not_answered(link->peers, ask);
            return "an answer about another key";
        }
    }
    if (found.value.len == 0)
        ask_answered_no(link->peers, ask);
    else
        (void)ask_found(link->peers, ask, &found);
    return NULL;
}

static bool is_number(struct slice hash, uint64_t number) {
    int64_t parsed;
    return slice_parse_i64(hash, &parsed) && (uint64_t)parsed == number;
}

/* The original echoes no hash of a REQUEST CONNECT, and always 0 of a PING. */
static bool is_answer_to(const struct sent *sent, const struct wire_reply *reply) {
    static const struct slice words[] = {
        [SENT_HATI] = {"FULFILLED", 9},  [SENT_CONNECT] = {"FULFILLED", 9},
        [SENT_PULSE] = {"FULFILLED", 9}, [SENT_BLOOMFILTER] = {"FULFILLED", 9},
        [SENT_CHUNK] = {"FULFILLED", 9}, [SENT_PING] = {"PONG", 4},
    };
    if (sent->kind == SENT_PING || sent->kind == SENT_CONNECT)
        return slice_equal(reply->word, words[sent->kind]);
    return is_number(reply->hash, sent->number) &&
           (sent->kind == SENT_QUESTION || slice_equal(reply->word, words[sent->kind]));
}

/* reply: NULL where the line is none to this question. */
static const char *take_question(struct link *link, const struct sent *sent, struct slice line,
                                 const struct wire_reply *reply) {
    if (is_status(line, SLICE("+ERR "))) {
        ask_not_answered(link->peers, sent->ask);
        return NULL;
    }
    return link->shown.is_hati ? take_fetched(link, sent->ask, reply)
                               : take_got(link, sent->ask, reply);
}

static const char *take_other(struct link *link, const struct sent *sent,
                              const struct wire_reply *reply) {
    switch (sent->kind) {
    case SENT_BLOOMFILTER:
        link->bloom_waits = false;
        sync_take_olivia(link, reply->rest);
        return NULL;
    case SENT_CONNECT:
        sync_take_olivia(link, reply->rest);
        return NULL;
    case SENT_CHUNK:
        return sync_take_chunk(link, sent->number, reply->rest);
    case SENT_PULSE:
        note_beat(link, sent);
        return sync_take_pulse(link, reply->rest);
    default:
        note_beat(link, sent);
        return NULL;
    }
}

const char *talk_take(struct link *link, struct slice line) {
    struct wire_reply reply;
    struct sent sent;
    if (!link_pop_sent(link, &sent))
        return "it speaks without being asked";
    bool answers = wire_parse_reply(line, &reply) && is_answer_to(&sent, &reply);
    if (sent.kind == SENT_QUESTION)
        return take_question(link, &sent, line, answers ? &reply : NULL);
    if (sent.kind == SENT_AUTH)
        return take_auth(link, line);
    if (sent.kind == SENT_HATI)
        return take_hati(link, line, answers ? &reply : NULL);
    return answers ? take_other(link, &sent, &reply) : "an answer that does not parse";
}

/* A value over this node's limit is none of its own: the line is passed over. */
const char *talk_take_too_long(struct link *link) {
    struct sent sent;
    if (!link_pop_sent(link, &sent) || sent.kind != SENT_QUESTION)
        return "a line that is too long";
    ask_not_answered(link->peers, sent.ask);
    return NULL;
}
