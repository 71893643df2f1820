/* SPDX-License-Identifier: MIT */
/* Peers that behave: who is asked, and what is answered. */
#include "tests/unit/peers/ask_case.h"

#define FAKES 5

static void a_list_that_is_none_is_refused(void **state) {
    struct peers_options options = options_of("here");
    struct peers *peers = NULL;
    char why[256] = "";
    (void)state;
    assert_int_equal(peers_open(&options, &peers, why, sizeof why), ERR_SYNTAX);
    assert_non_null(strstr(why, "host:port"));
    assert_null(peers);
}

static void without_peers_no_key_is_anywhere(void **state) {
    struct peers_options options = options_of(NULL);
    struct peers *peers = open_with(&options);
    (void)state;
    assert_int_equal(peers_count(peers), 0);
    assert_false(may_have(peers, "a"));
    assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(figures_of(peers).misses, 0);
    assert_int_equal(strlen(peers_node_id(peers)), 16);
    peers_close(peers);
}

static void visitors_stand_behind_the_peers_until_they_go(void **state) {
    struct peers_options options = options_of("127.0.0.1:1,127.0.0.1:2,127.0.0.1:1");
    struct peers *peers = open_with(&options);
    struct buf list;
    (void)state;
    uint64_t first = peers_visitor_add(peers, "10.0.0.1:5454");
    uint64_t second = peers_visitor_add(peers, "10.0.0.2:5454");
    assert_true(first && second && first != second);
    buf_init(&list, 1000);
    assert_true(peers_append_list(peers, &list));
    buf_append_char(&list, '|');
    assert_true(peers_visitor_remove(peers, first));
    assert_false(peers_visitor_remove(peers, first));
    assert_true(peers_append_list(peers, &list));
    buf_append_char(&list, '\0');
    assert_string_equal(list.ptr, "127.0.0.1:1,127.0.0.1:2,10.0.0.1:5454,10.0.0.2:5454|"
                                  "127.0.0.1:1,127.0.0.1:2,10.0.0.2:5454");
    buf_done(&list);
    buf_init(&list, 20);
    assert_false(peers_append_list(peers, &list));
    assert_int_equal(list.len, 0);
    buf_done(&list);
    peers_close(peers);
}

static void there_are_so_many_visitors_and_no_more(void **state) {
    struct peers_options options = options_of(NULL);
    struct peers *peers = open_with(&options);
    uint64_t first = 0;
    (void)state;
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        uint64_t number = peers_visitor_add(peers, "10.0.0.1:5454");
        assert_true(number > first);
        first = first ? first : number;
    }
    assert_int_equal(peers_visitor_add(peers, "10.0.0.1:5454"), 0);
    assert_true(peers_visitor_remove(peers, first));
    assert_int_not_equal(peers_visitor_add(peers, "10.0.0.1:5454"), 0);
    peers_close(peers);
}

static void a_hati_peer_gives_what_it_has(void **state) {
    struct fake fake;
    struct asked asked;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "color", "green, or:blue\n", "text/plain", 500);
    fake_hold(&fake, "empty", "", "", 0);
    fake_start(&fake);
    struct peers_options options = options_of(fake.address);
    options.self = "10.1.1.1:5454";
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0));
    assert_int_equal(ask_for(peers, &asked, "color"), OK);
    const struct kv_entry *entry = &asked.question.entry;
    assert_true(slice_equal(entry->value, SLICE("green, or:blue\n")));
    assert_true(slice_equal(entry->content_type, SLICE("text/plain")));
    assert_int_equal(entry->expires_at_ms, 1500);
    assert_int_equal(entry->revision, 0);
    asked_free(&asked);
    assert_int_equal(ask_for(peers, &asked, "empty"), OK);
    assert_int_equal(asked.question.entry.value.len, 0);
    assert_int_equal(asked.question.entry.expires_at_ms, 0);
    asked_free(&asked);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.misses == 2 && figures.asked == 2 && figures.hits == 2);
    assert_true(figures.saved == 0 && figures.false_positives == 0 && figures.timeouts == 0);
    struct peers_peer peer = peer_of(peers, 0);
    assert_true(peer.is_hati && peer.keys == 2 && peer.rtt_us > 0);
    assert_string_equal(peer.address, fake.address);
    fake_lock(&fake);
    assert_string_equal(fake.self, "10.1.1.1:5454");
    fake_unlock(&fake);
    peers_close(peers);
    fake_close(&fake);
}

static void a_filter_that_says_no_saves_the_question(void **state) {
    struct fake fake;
    struct asked asked;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    assert_false(may_have(peers, "a"));
    asked_init(&asked, "a");
    asked.question.at_once = true;
    assert_int_equal(peers_ask(peers, &asked.question), ERR_KEY_NOT_EXIST);
    asked_free(&asked);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.misses == 1 && figures.saved == 1 && figures.asked == 0);
    assert_int_equal(fake_read_count(&fake, &fake.questions), 0);
    peers_close(peers);
    fake_close(&fake);
}

static void a_question_at_once_is_not_put(void **state) {
    struct fake fake;
    struct asked asked;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    asked_init(&asked, "a");
    asked.question.at_once = true;
    assert_int_equal(peers_ask(peers, &asked.question), ERR_WOULD_WAIT);
    asked_free(&asked);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.misses == 0 && figures.saved == 0 && figures.asked == 0);
    peers_close(peers);
    fake_close(&fake);
}

static void what_a_filter_promised_in_vain_is_counted(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_promise(&fake, "gone");
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    assert_int_equal(ask_once(peers, "gone"), ERR_KEY_NOT_EXIST);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.asked == 1 && figures.false_positives == 1 && figures.hits == 0);
    peers_close(peers);
    fake_close(&fake);
}

static void keys_that_come_are_known_by_a_heartbeat(void **state) {
    struct fake fake;
    char key[16];
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    for (unsigned i = 0; i < 11; i++) { /* more than one answer has */
        snprintf(key, sizeof key, "new-%u", i);
        assert_false(may_have(peers, key));
        fake_hold(&fake, key, "1", "", 0);
    }
    WAIT_FOR(may_have(peers, key));
    assert_found(peers, "new-0", "1");
    assert_found(peers, key, "1");
    WAIT_FOR(peer_of(peers, 0).keys == 11);
    assert_int_equal(fake_read_count(&fake, &fake.chunks), 1);
    peers_close(peers);
    fake_close(&fake);
}

static void a_filter_of_many_parts_is_put_together(void **state) {
    const uint64_t bits = 1ULL << 23; /* a mebibyte: six parts */
    struct fake fake;
    char key[16];
    (void)state;
    fake_open(&fake, true, bits);
    for (unsigned i = 0; i < FAKE_KEYS; i++) {
        snprintf(key, sizeof key, "key-%u", i);
        fake_hold(&fake, key, key, "", 0);
    }
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    assert_int_equal(fake_read_count(&fake, &fake.chunks), 6);
    for (unsigned i = 0; i < FAKE_KEYS; i++) {
        snprintf(key, sizeof key, "key-%u", i);
        assert_found(peers, key, key);
    }
    assert_false(may_have(peers, "another"));
    peers_close(peers);
    fake_close(&fake);
}

static void a_filter_that_is_made_anew_takes_the_place_of_the_old(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_promise(&fake, "old");
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(may_have(peers, "old"));
    fake_lock(&fake);
    wide_filter_done(&fake.wide);
    assert_int_equal(wide_filter_init(&fake.wide, 4 * WIDE_FILTER_BITS_MIN), OK);
    wide_filter_add(&fake.wide, wide_filter_hash(SLICE("other")));
    fake.epoch = 8;
    fake_unlock(&fake);
    WAIT_FOR(may_have(peers, "other"));
    assert_false(may_have(peers, "old"));
    fake_hold(&fake, "later", "1", "", 0);
    WAIT_FOR(may_have(peers, "later"));
    assert_found(peers, "later", "1");
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    peers_close(peers);
    fake_close(&fake);
}

static void an_olivia_peer_is_spoken_to_in_its_words(void **state) {
    struct fake fake;
    struct asked asked;
    (void)state;
    fake_open(&fake, false, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "color", "green", "", 0);
    fake_promise(&fake, "gone");
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    assert_false(peer_of(peers, 0).is_hati);
    assert_found(peers, "color", "green");
    assert_int_equal(ask_once(peers, "gone"), ERR_KEY_NOT_EXIST);
    assert_int_equal(ask_once(peers, "unknown"), ERR_KEY_NOT_EXIST);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.misses == 3 && figures.asked == 2 && figures.hits == 1);
    assert_true(figures.saved == 1 && figures.false_positives == 1);
    assert_int_equal(ask_for(peers, &asked, "color"), OK);
    assert_int_equal(asked.question.entry.expires_at_ms, 0);
    assert_int_equal(asked.question.entry.content_type.len, 0);
    asked_free(&asked);
    peers_close(peers);
    fake_close(&fake);
}

static void an_olivia_peers_filter_is_asked_for_again(void **state) {
    struct fake fake;
    (void)state;
    fake_open(&fake, false, WIDE_FILTER_BITS_MIN);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    fake_hold(&fake, "late", "1", "", 0);
    WAIT_FOR(may_have(peers, "late"));
    assert_found(peers, "late", "1");
    WAIT_FOR(fake_read_count(&fake, &fake.beats) > 3);
    assert_true(peer_of(peers, 0).rtt_us > 0);
    assert_int_equal(fake_read_count(&fake, &fake.connections), 1);
    peers_close(peers);
    fake_close(&fake);
}

static void keys_that_olivias_words_cannot_hold_are_not_asked_there(void **state) {
    static const char *const keys[] = {"a:b", "a,b", "a\nSET x:1", "a\r"};
    struct fake fake;
    (void)state;
    fake_open(&fake, false, WIDE_FILTER_BITS_MIN);
    fake_hold_all(&fake);
    fake_start(&fake);
    struct peers *peers = open_to(&fake);
    WAIT_FOR(has_filter(peers, 0));
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_false(may_have(peers, keys[i]));
        assert_int_equal(ask_once(peers, keys[i]), ERR_KEY_NOT_EXIST);
    }
    assert_int_equal(figures_of(peers).asked, 0);
    assert_int_equal(figures_of(peers).saved, 0);
    assert_found(peers, "ab", "of ab");
    peers_close(peers);
    fake_close(&fake);
}

static struct peers *open_to_all(struct fake *fakes, struct peers_options *options) {
    char list[FAKES * 64] = "";
    for (unsigned i = 0; i < FAKES; i++) {
        fake_open(&fakes[i], i % 2 == 0, WIDE_FILTER_BITS_MIN);
        snprintf(fakes[i].node_id, sizeof fakes[i].node_id, "00000000000000a%u", i);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? "," : "",
                 fakes[i].address);
        fake_promise(&fakes[i], "everywhere");
        fake_start(&fakes[i]);
    }
    options->list = list;
    struct peers *peers = open_with(options);
    for (unsigned i = 0; i < FAKES; i++)
        WAIT_FOR(has_filter(peers, i));
    return peers;
}

static void close_all(struct peers *peers, struct fake *fakes) {
    peers_close(peers);
    for (unsigned i = 0; i < FAKES; i++)
        fake_close(&fakes[i]);
}

static void one_peer_after_the_other_is_asked_until_none_is_left(void **state) {
    struct fake fakes[FAKES];
    struct peers_options options = options_of(NULL);
    struct peers *peers = open_to_all(fakes, &options);
    (void)state;
    assert_int_equal(peers_count(peers), FAKES);
    assert_int_equal(ask_once(peers, "everywhere"), ERR_KEY_NOT_EXIST);
    for (unsigned i = 0; i < FAKES; i++)
        assert_int_equal(fake_read_count(&fakes[i], &fakes[i].questions), 1);
    struct peers_figures figures = figures_of(peers);
    assert_true(figures.asked == FAKES && figures.false_positives == FAKES);
    close_all(peers, fakes);
}

static void no_more_than_three_are_asked_at_a_time(void **state) {
    struct fake fakes[FAKES];
    struct peers_options options = options_of(NULL);
    struct asked asked;
    (void)state;
    options.beat_ms = WAIT_MS; /* frozen peers live on */
    struct peers *peers = open_to_all(fakes, &options);
    for (unsigned i = 0; i < FAKES; i++)
        fake_freeze(&fakes[i], true);
    asked_init(&asked, "everywhere");
    assert_int_equal(peers_ask(peers, &asked.question), ERR_PENDING);
    WAIT_FOR(figures_of(peers).asked == 3);
    for (unsigned i = 0; i < 100; i++) {
        sched_yield();
        assert_int_equal(figures_of(peers).asked, 3);
    }
    for (unsigned i = 0; i < FAKES; i++)
        fake_freeze(&fakes[i], false);
    asked_wait(&asked);
    assert_int_equal(asked.question.err, ERR_KEY_NOT_EXIST);
    assert_int_equal(figures_of(peers).asked, FAKES);
    asked_free(&asked);
    close_all(peers, fakes);
}

static void a_peer_that_misses_heartbeats_is_asked_last(void **state) {
    struct fake fakes[FAKES];
    struct peers_options options = options_of(NULL);
    (void)state;
    options.beat_ms = 500; /* it dies of ten */
    struct peers *peers = open_to_all(fakes, &options);
    for (unsigned i = 1; i < FAKES; i++) /* so that the others are three and one */
        fake_hold(&fakes[i], "held", "1", "", 0);
    fake_promise(&fakes[0], "held");
    WAIT_FOR(may_have(peers, "held"));
    fake_freeze(&fakes[0], true);
    WAIT_FOR(peer_of(peers, 0).missed >= 1);
    for (unsigned i = 0; i < 3; i++)
        assert_found(peers, "held", "1");
    fake_freeze(&fakes[0], false);
    WAIT_FOR(peer_of(peers, 0).missed == 0);
    assert_int_equal(fake_read_count(&fakes[0], &fakes[0].questions), 0);
    close_all(peers, fakes);
}

static void a_token_is_shown_first(void **state) {
    struct fake fakes[2];
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fake_open(&fakes[i], i == 0, WIDE_FILTER_BITS_MIN);
        fakes[i].token = "open-sesame";
        fake_hold(&fakes[i], "a", "1", "", 0);
        fake_start(&fakes[i]);
        struct peers_options options = options_of(fakes[i].address);
        options.token = "open-sesame";
        struct peers *peers = open_with(&options);
        WAIT_FOR(has_filter(peers, 0));
        assert_found(peers, "a", "1");
        peers_close(peers);
        options.token = "wrong";
        peers = open_with(&options);
        WAIT_FOR(fake_read_count(&fakes[i], &fakes[i].connections) >= 3);
        assert_int_not_equal(peer_of(peers, 0).state, PEERS_ALIVE);
        peers_close(peers);
        fake_close(&fakes[i]);
    }
}

static void a_name_is_resolved(void **state) {
    struct fake fake;
    char list[64];
    (void)state;
    fake_open(&fake, true, WIDE_FILTER_BITS_MIN);
    fake_hold(&fake, "a", "1", "", 0);
    fake_start(&fake);
    snprintf(list, sizeof list, "localhost:%u", fake.port);
    struct peers_options options = options_of(list);
    struct peers *peers = open_with(&options);
    WAIT_FOR(has_filter(peers, 0));
    assert_found(peers, "a", "1");
    peers_close(peers);
    peers_close(open_with(&options)); /* perhaps while it is being resolved */
    fake_close(&fake);
}

static void own_filters_are_kept_without_any_peer(void **state) {
    struct peers_options options = options_of(NULL);
    (void)state;
    assert_int_equal(own_open(true, &options.own), OK);
    struct peers *peers = open_with(&options);
    assert_int_equal(ask_once(peers, "a"), ERR_KEY_NOT_EXIST);
    peers_close(peers);
    own_close(options.own);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_that_is_none_is_refused),
        cmocka_unit_test(without_peers_no_key_is_anywhere),
        cmocka_unit_test(visitors_stand_behind_the_peers_until_they_go),
        cmocka_unit_test(there_are_so_many_visitors_and_no_more),
        cmocka_unit_test(a_hati_peer_gives_what_it_has),
        cmocka_unit_test(a_filter_that_says_no_saves_the_question),
        cmocka_unit_test(a_question_at_once_is_not_put),
        cmocka_unit_test(what_a_filter_promised_in_vain_is_counted),
        cmocka_unit_test(keys_that_come_are_known_by_a_heartbeat),
        cmocka_unit_test(a_filter_of_many_parts_is_put_together),
        cmocka_unit_test(a_filter_that_is_made_anew_takes_the_place_of_the_old),
        cmocka_unit_test(an_olivia_peer_is_spoken_to_in_its_words),
        cmocka_unit_test(an_olivia_peers_filter_is_asked_for_again),
        cmocka_unit_test(keys_that_olivias_words_cannot_hold_are_not_asked_there),
        cmocka_unit_test(one_peer_after_the_other_is_asked_until_none_is_left),
        cmocka_unit_test(no_more_than_three_are_asked_at_a_time),
        cmocka_unit_test(a_peer_that_misses_heartbeats_is_asked_last),
        cmocka_unit_test(a_token_is_shown_first),
        cmocka_unit_test(a_name_is_resolved),
        cmocka_unit_test(own_filters_are_kept_without_any_peer),
    };
    log_set_level(LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
