/* SPDX-License-Identifier: MIT */
/* Peers that are late, dead, hostile, or too many questions at once. */
#include "tests/unit/peers/ask_case.h"

#define THREADS 8
#define THREAD_QUESTIONS 1000
#define MANY 3000

/* Connections come and go, and then it is a peer as any other. */
static void assert_recovers(struct fake *fake, struct peers *peers) {
    fake_lock(fake);
    fake->hati_answer = fake->beat_answer = fake->question_answer = fake->chunk_answer = NULL;
    fake->bloom_answer = NULL;
    fake_unlock(fake);
    WAIT_FOR(has_filter(peers, 0));
    assert_found(peers, "a", "1");
}

static void a_question_ends_at_its_deadline(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers_options options = options_of(fake.address);
    options.beat_ms = WAIT_MS;
    options.timeout_ms = 20;
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0));
    fake_freeze(&fake, true);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.asked == 3 && figures.timeouts == 3 && figures.hits == 0);
    fake_freeze(&fake, false); /* three answers come that nobody waits for */
    WAIT_FOR(ask_once(peers, "a") == OK);
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    assert_int_equal(figures_of(peers).false_positives, 0);
    peers_close(peers);
    fake_close(&fake);
}

static void a_peer_is_dead_after_ten_heartbeats_and_comes_back(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers_options options = options_of(fake.address);
    options.beat_ms = BEAT_FAST_MS;
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0));
    fake_freeze(&fake, true);
    WAIT_FOR(peer_of(peers, 0).state == PEERS_DEAD);
    struct peers_peer peer = peer_of(peers, 0);
    assert_true(peer.missed == 10 && !peer.has_filter);
    assert_false(may_have(peers, "a"));
    assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(figures_of(peers).asked, 0);
    assert_int_equal(figures_of(peers).saved, 0);
    fake_freeze(&fake, false);
    assert_recovers(&fake, peers);
    WAIT_FOR(peer_of(peers, 0).missed == 0);
    peers_close(peers);
    fake_close(&fake);
}

static void nobody_listens_until_somebody_does(void **state) {
    struct fake fake;
    char list[96];
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    snprintf(list, sizeof list, "127.0.0.1:1,%s", fake.address);
    close(fake.listener);
    fake_bind(&fake, fake.port); /* it is nobody else's either */
    struct peers_options options = options_of(list);
    options.beat_ms = BEAT_FAST_MS;
    struct peers *peers = open_with(&options);
    WAIT_FOR(peer_of(peers, 0).state == PEERS_DEAD && peer_of(peers, 1).state == PEERS_DEAD);
    assert_int_equal(listen(fake.listener, 16), 0);
    fake_start(&fake);
    WAIT_FOR(has_filter(peers, 1));
    assert_found(peers, "a", "1");
    assert_int_equal(peer_of(peers, 0).state, PEERS_DEAD);
    peers_close(peers);
    fake_close(&fake);
}

static void a_lost_connection_is_made_again(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers_options options = options_of(fake.address);
    options.beat_ms = 1000;
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0));
    fake_hang(&fake);
    WAIT_FOR(fake_read_count(&fake, &fake.connections) == 2);
    assert_recovers(&fake, peers);
    assert_int_equal(fake_read_count(&fake, &fake.chunks),
                     1); /* the same process, the same filter */
    peers_close(peers);
    fake_close(&fake);
}

static void another_process_at_the_address_has_other_keys(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_promise(&fake, "old");
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(may_have(peers, "old"));
    fake_lock(&fake);
    memset(fake.wide.words, 0, fake.wide.bits / 8);
    wide_filter_add(&fake.wide, wide_filter_hash(SLICE("a")));
    fake.node_id[0] = 'f';
    fake.epoch = 99;
    fake_unlock(&fake);
    fake_hang(&fake);
    WAIT_FOR(!may_have(peers, "old") && may_have(peers, "a"));
    assert_found(peers, "a", "1");
    peers_close(peers);
    fake_close(&fake);
}

static void a_node_does_not_ask_itself(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    struct peers *peers = open_to(&fake);
    snprintf(fake.node_id, sizeof fake.node_id, "%s", peers_node_id(peers));
    fake_start(&fake);
    WAIT_FOR(peer_of(peers, 0).state == PEERS_SELF);
    assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    WAIT_FOR(fake_is_left(&fake));
    assert_int_equal(peer_of(peers, 0).state, PEERS_SELF);
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    assert_int_equal(fake_read_count(&fake, &fake.beats), 0);
    peers_close(peers);
    fake_close(&fake);
}

static const char *wide_line(void) {
    static char line[400000];
    memset(line, 'A', sizeof line - 1);
    memcpy(line, "%s:FULFILLED ", 13);
    return line;
}

/* Each is given to a new connection until it was lost. */
static void assert_loses(const char *const *answers, unsigned count, size_t member) {
    struct fake fake;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    for (unsigned i = 0; i < count; i++) {
        fake_lock(&fake);
        unsigned before = fake.connections;
        *(const char **)((char *)&fake + member) = answers[i];
        fake_unlock(&fake);
        struct peers *peers = open_to(&fake);
        WAIT_FOR(fake_read_count(&fake, &fake.connections) >= before + 2);
        assert_recovers(&fake, peers);
        peers_close(peers);
    }
    fake_close(&fake);
}

static void a_greeting_that_is_none_ends_the_connection(void **state) {
    const char *answers[] = {
        "",
        "HTTP/1.1 400 Bad Request",
        "%s:FULFILLED hati:2:00000000000000aa",
        "%s:FULFILLED hati:1:00000000000000AA",
        "%s:FULFILLED hati:1:00000000000000aaa",
        "%s:FULFILLED hati:1:",
        "%s:FULFILLED",
        "1%s:FULFILLED hati:1:00000000000000aa",
        ":FULFILLED hati:1:00000000000000aa",
        "%s:GOT hati:1:00000000000000aa",
        "%s:+ERR AUTH_REQUIRED a valid token is required",
        "%s:FULFILLED hati:1:00000000000000aa\n%s:FULFILLED again",
        wide_line(),
    };
    (void)state;
    assert_loses(answers, sizeof answers / sizeof answers[0], offsetof(struct fake, hati_answer));
}

static void a_heartbeat_that_is_none_ends_the_connection(void **state) {
    const char *answers[] = {
        "%s:FULFILLED 7:0:0:0:8192",
        "%s:FULFILLED 7:0:0:0:8192:-:",
        "%s:FULFILLED 0:0:0:0:8192:-",
        "%s:FULFILLED 7:0:0:0:8193:-",
        "%s:FULFILLED 7:0:0:0:4096:-",
        "%s:FULFILLED 7:0:0:0:2147483648:-",
        "%s:FULFILLED 7:0:0:-1:8192:-",
        "%s:FULFILLED 7:1:1:1:8192:AAAAAAAAAAA",
        "%s:FULFILLED 7:0:0:0:8192:AAAA",
        "[]Invalid command sent in.",
        "0:PONG 1",
        "99:FULFILLED 7:0:0:0:8192:-",
        wide_line(),
    };
    (void)state;
    assert_loses(answers, sizeof answers / sizeof answers[0], offsetof(struct fake, beat_answer));
}

static void a_part_of_a_filter_that_is_none_ends_the_connection(void **state) {
    const char *answers[] = {
        "%s:FULFILLED 7:0",       "%s:FULFILLED 7:0:AAAA",
        "%s:FULFILLED 7:0:AAAA:", "%s:FULFILLED 7:196608:-:-",
        "%s:FULFILLED 7:0:!!!!",  "%s:FULFILLED x:0:-",
        "%s:FETCHED 7:0:-",       wide_line(),
    };
    (void)state;
    assert_loses(answers, sizeof answers / sizeof answers[0], offsetof(struct fake, chunk_answer));
}

/* As many letters as a whole part has, and a few more, which decode to a byte or two more. */
static void a_part_of_a_filter_that_is_a_byte_too_long_ends_the_connection(void **state) {
    static char line[OWN_CHUNK_BYTES / 3 * 4 + 40];
    static const char head[] = "%s:FULFILLED 7:0:";
    (void)state;
    for (size_t more = 1; more <= 4; more++) {
        struct fake fake;
        fake_open(&fake, true, 1U << 22); /* bits: its first part is a whole one */
        fake_hold(&fake, "a", "1", "", 0);
        memset(line, 'A', sizeof line);
        memcpy(line, head, sizeof head - 1);
        line[sizeof head - 1 + OWN_CHUNK_BYTES / 3 * 4 + more] = '\0';
        fake.chunk_answer = line;
        fake_start(&fake);
        struct peers *peers = open_to(&fake);
        WAIT_FOR(fake_read_count(&fake, &fake.connections) >= 2);
        assert_recovers(&fake, peers);
        peers_close(peers);
        fake_close(&fake);
    }
}

static void a_filter_that_is_gone_is_asked_for_by_the_next_heartbeat(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake.chunk_answer = "%s:FULFILLED 7:0:-";
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(fake_read_count(&fake, &fake.chunks) >= 3);
    assert_false(peer_of(peers, 0).has_filter);
    assert_recovers(&fake, peers);
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    peers_close(peers);
    fake_close(&fake);
}

static void assert_question_loses(bool is_hati, const char *const *answers, unsigned count) {
    struct fake fake;
    fake_open(&fake, is_hati, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    for (unsigned i = 0; i < count; i++) {
        assert_recovers(&fake, peers);
        fake_lock(&fake);
        fake.question_answer = answers[i];
        unsigned before = fake.connections;
        fake_unlock(&fake);
        assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
        WAIT_FOR(fake_read_count(&fake, &fake.connections) > before);
    }
    assert_recovers(&fake, peers);
    assert_int_equal(figures_of(peers).false_positives, 0);
    peers_close(peers);
    fake_close(&fake);
}

static void an_answer_that_is_none_ends_question_and_connection(void **state) {
    static const char *const hati[] = {
        "%s:FETCHED",
        "%s:FETCHED 0:AA",
        "%s:FETCHED 0:AA:!!!",
        "%s:FETCHED 0:AA:A",
        "%s:FETCHED -1:AA:AAAA",
        "%s:FETCHED 0:!:AAAA",
        "%s:FETCHED 0::AA:A",
        "%s:FETCHED 0:DQo:AAAA",
        "%s:GOT a:1",
        "77:FETCHED -",
        ":FETCHED -",
        "[]Invalid command sent in.",
        "",
        "%s:FETCHED -\n%s:FETCHED -",
    };
    static const char *const olivia[] = {
        "%s:GOT b:1", "77:GOT a:1", ":GOT a:1", "%s:FETCHED -", "[]Invalid command sent in.", "",
    };
    (void)state;
    assert_question_loses(true, hati, sizeof hati / sizeof hati[0] - 1);
    assert_question_loses(false, olivia, sizeof olivia / sizeof olivia[0]);
}

static void a_value_over_the_limit_is_passed_over(void **state) {
    struct fake fake;
    char answer[9000];
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    for (unsigned i = 0; i < 4; i++) {
        static const int lengths[] = {1334, 1335, 2000, 8000}; /* of text: the first alone fits */
        int start = snprintf(answer, sizeof answer, "%%s:FETCHED 0::");
        memset(answer + start, 'A', sizeof answer - (size_t)start);
        answer[start + lengths[i]] = '\0';
        fake_lock(&fake);
        fake.question_answer = answer;
        fake_unlock(&fake);
        assert_int_equal(ask_once(peers, "a"), i ? ERR_KEY_NOT_EXIST : OK);
    }
    fake_lock(&fake);
    fake.question_answer = "%s:+ERR UNAVAILABLE the server is going";
    fake_unlock(&fake);
    assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    assert_recovers(&fake, peers);
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    peers_close(peers);
    fake_close(&fake);
}

static void an_empty_value_of_an_olivia_peer_is_none(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, false, WIDE_FILTER_BITS_MIN);
    fake_promise(&fake, "a");
    fake.question_answer = "%s:GOT a:";
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(figures_of(peers).false_positives, 1);
    peers_close(peers);
    fake_close(&fake);
}

static void a_filter_that_cannot_be_read_is_as_good_as_none(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, false, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake.bloom_answer = "%s:FULFILLED A3B0C99999999999999999999"; /* digits of the original's */
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(fake_read_count(&fake, &fake.beats) >= 3);
    assert_false(may_have(peers, "a"));
    assert_false(peer_of(peers, 0).has_filter);
    assert_recovers(&fake, peers);
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    peers_close(peers);
    fake_close(&fake);
}

static void what_does_not_fit_the_arena_is_told(void **state) {
    struct fake fake;
    struct asked asked;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    asked_init(&asked, "a");
    arena_init(&asked.arena, 0);
    assert_int_equal(peers_ask(peers, &asked.question), ERR_PENDING);
    asked_wait(&asked);
    assert_int_equal(asked.question.err, ERR_OUT_OF_MEMORY);
    asked_free(&asked);
    peers_close(peers);
    fake_close(&fake);
}

static void *ask_many(void *context) {
    struct peers *peers = context;
    char key[32], value[64];
    for (unsigned i = 0; i < THREAD_QUESTIONS; i++) {
        snprintf(key, sizeof key, "%lx-%u", (unsigned long)pthread_self(), i);
        snprintf(value, sizeof value, "of %s", key);
        assert_found(peers, key, value);
    }
    return NULL;
}

static void many_threads_ask_at_once(void **state) {
    struct fake fakes[2];
    pthread_t threads[THREADS];
    char list[128];
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fake_open(&fakes[i], i == 0, WIDE_FILTER_BITS_MIN);
        fake_hold_all(&fakes[i]);
        fake_start(&fakes[i]);
    }
    snprintf(list, sizeof list, "%s,%s", fakes[0].address, fakes[1].address);
    struct peers_options options = options_of(list);
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0) && has_filter(peers, 1));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, peers), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct peers_figures figures = figures_of(peers);
    assert_int_equal(figures.misses, THREADS * THREAD_QUESTIONS);
    assert_int_equal(figures.hits, THREADS * THREAD_QUESTIONS);
    assert_int_equal(figures.asked, 2 * THREADS * THREAD_QUESTIONS);
    peers_close(peers);
    for (unsigned i = 0; i < 2; i++)
        fake_close(&fakes[i]);
}

/* Two thousand and more are on their way to a peer that does not answer. */
static void a_link_has_so_many_questions_and_the_rest_is_answered(void **state) {
    struct fake fake;
    struct asked *asked = calloc(MANY, sizeof *asked);
    unsigned pending = 0, over = 0;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold_all(&fake);
    fake_start(&fake);
    struct peers_options options = options_of(fake.address);
    options.beat_ms = WAIT_MS;
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0));
    fake_freeze(&fake, true);
    for (unsigned i = 0; i < MANY; i++) {
        asked_init(&asked[i], "a");
        pending += peers_ask(peers, &asked[i].question) == ERR_PENDING;
    }
    assert_int_equal(pending, MANY);
    for (unsigned i = 1024; i < MANY; i++) {
        asked_wait(&asked[i]);
        over += asked[i].question.err == ERR_KEY_NOT_EXIST;
    }
    assert_int_equal(over, MANY - 1024);
    assert_int_equal(figures_of(peers).asked, 1024);
    peers_close(peers); /* the rest is in flight */
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(asked[i].done);
        assert_int_equal(asked[i].question.err, ERR_KEY_NOT_EXIST);
        asked_free(&asked[i]);
    }
    free(asked);
    fake_close(&fake);
}

/* A question that is put by the peers' own thread, for as long as it answers. */
struct chain {
    struct asked asked;
    struct peers *peers;
    unsigned left;
};

static void ask_next(struct peers_question *question) {
    struct chain *chain = (struct chain *)question->context;
    if (chain->left && --chain->left && peers_ask(chain->peers, question) == ERR_PENDING)
        return;
    question->context = &chain->asked;
    asked_done(question);
}

static void an_answer_may_put_the_next_question(void **state) {
    struct fake fake;
    struct chain chain;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold_all(&fake);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    for (unsigned i = 0; i < 2; i++) {
        asked_init(&chain.asked, "a");
        chain.asked.question.context = &chain;
        chain.asked.question.done = ask_next;
        chain.peers = peers;
        chain.left = i ? 1000000 : 10; /* the second time until it is closed */
        unsigned before = fake_read_count(&fake, &fake.questions);
        assert_int_equal(peers_ask(peers, &chain.asked.question), ERR_PENDING);
        if (i == 0)
            asked_wait(&chain.asked);
        else
            WAIT_FOR(fake_read_count(&fake, &fake.questions) > before + 2);
        if (i == 0)
            asked_free(&chain.asked);
    }
    peers_close(peers);
    assert_true(chain.asked.done);
    asked_free(&chain.asked);
    fake_close(&fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_ends_at_its_deadline),
        cmocka_unit_test(a_peer_is_dead_after_ten_heartbeats_and_comes_back),
        cmocka_unit_test(nobody_listens_until_somebody_does),
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(another_process_at_the_address_has_other_keys),
        cmocka_unit_test(a_node_does_not_ask_itself),
        cmocka_unit_test(a_greeting_that_is_none_ends_the_connection),
        cmocka_unit_test(a_heartbeat_that_is_none_ends_the_connection),
        cmocka_unit_test(a_part_of_a_filter_that_is_none_ends_the_connection),
        cmocka_unit_test(a_part_of_a_filter_that_is_a_byte_too_long_ends_the_connection),
        cmocka_unit_test(a_filter_that_is_gone_is_asked_for_by_the_next_heartbeat),
        cmocka_unit_test(an_answer_that_is_none_ends_question_and_connection),
        cmocka_unit_test(a_value_over_the_limit_is_passed_over),
        cmocka_unit_test(an_empty_value_of_an_olivia_peer_is_none),
        cmocka_unit_test(a_filter_that_cannot_be_read_is_as_good_as_none),
        cmocka_unit_test(what_does_not_fit_the_arena_is_told),
        cmocka_unit_test(many_threads_ask_at_once),
        cmocka_unit_test(a_link_has_so_many_questions_and_the_rest_is_answered),
        cmocka_unit_test(an_answer_may_put_the_next_question),
    };
    log_set_level(LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
