/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "broker/match.h"
#include "broker/match_inside.h"

#define TARGETS 40

static char marks[20000]; /* targets are addresses of these */

static struct match_set *set_of(enum broker_router_type type) {
    struct match_set *set;
    assert_int_equal(match_set_new(type, &set), OK);
    return set;
}

static bool add(struct match_set *set, const char *pattern, size_t target) {
    bool fresh;
    assert_int_equal(match_add(set, slice_of_cstr(pattern), &marks[target], &fresh), OK);
    return fresh;
}

static bool take_away(struct match_set *set, const char *pattern, size_t target) {
    return match_remove(set, slice_of_cstr(pattern), &marks[target]);
}

/* How many targets a key reaches; each of them once, or the test fails. */
static unsigned find(const struct match_set *set, const char *key, bool *ret_reached) {
    struct match_result result;
    match_result_init(&result);
    assert_int_equal(match_find(set, slice_of_cstr(key), &result), OK);
    bool *reached = calloc(sizeof marks, sizeof *reached);
    assert_non_null(reached);
    for (unsigned i = 0; i < result.count; i++) {
        size_t target = (size_t)((char *)result.targets[i] - marks);
        assert_true(target < sizeof marks);
        assert_false(reached[target]);
        reached[target] = true;
    }
    if (ret_reached)
        memcpy(ret_reached, reached, TARGETS * sizeof *reached);
    free(reached);
    unsigned count = result.count;
    match_result_done(&result);
    return count;
}

static bool reaches(const struct match_set *set, const char *key, size_t target) {
    bool reached[TARGETS];
    find(set, key, reached);
    return reached[target];
}

static bool topic_matches(const char *pattern, const char *key) {
    struct match_set *set = set_of(ROUTER_TOPIC);
    add(set, pattern, 0);
    unsigned count = find(set, key, NULL);
    match_set_free(set);
    return count == 1;
}

static void test_a_direct_router_compares_byte_by_byte(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_DIRECT);
    add(set, "red", 1);
    add(set, "red", 2);
    add(set, "*", 3);
    add(set, "", 4);
    assert_int_equal(find(set, "red", NULL), 2);
    assert_true(reaches(set, "red", 1) && reaches(set, "red", 2));
    assert_int_equal(find(set, "*", NULL), 1);
    assert_true(reaches(set, "", 4));
    assert_int_equal(find(set, "re", NULL), 0);
    assert_int_equal(find(set, "redd", NULL), 0);
    assert_int_equal(find(set, "Red", NULL), 0);
    match_set_free(set);
}

static void test_a_fanout_router_reaches_each_target_once_by_any_key(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_FANOUT);
    assert_int_equal(find(set, "", NULL), 0);
    add(set, "", 1);
    add(set, "x", 1);
    add(set, "", 2);
    assert_int_equal(find(set, "whatever", NULL), 2);
    assert_int_equal(find(set, "", NULL), 2);
    match_set_free(set);
}

static void test_a_fanout_target_goes_with_its_last_binding(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_FANOUT);
    for (size_t i = 0; i < 20; i++)
        add(set, "", i);
    add(set, "x", 7);
    assert_true(take_away(set, "", 7));
    assert_true(reaches(set, "k", 7));
    assert_true(take_away(set, "x", 7));
    assert_false(reaches(set, "k", 7));
    assert_int_equal(find(set, "k", NULL), 19);
    assert_true(take_away(set, "", 19) && take_away(set, "", 0));
    assert_int_equal(find(set, "k", NULL), 17);
    assert_false(reaches(set, "k", 19) || reaches(set, "k", 0));
    match_set_free(set);
}

struct topic_case {
    const char *pattern, *key;
    bool matches;
};

static const struct topic_case topic_cases[] = {
    {"a.b.c", "a.b.c", true},
    {"a.b.c", "a.b", false},
    {"a.b", "a.b.c", false},
    {"", "", true},
    {"", "a", false},
    {"", ".", false},
    {"a", "", false},
    {"*", "", false},
    {"*", "a", true},
    {"*", "a.b", false},
    {"*", "*", true},
    {"*.*", ".", true},
    {"*", ".", false},
    {"#", "", true},
    {"#", "a", true},
    {"#", "a.b.c", true},
    {"#", "..", true},
    {"#.#", "", true},
    {"#.a", "a", true},
    {"#.a", "b.c.a", true},
    {"#.a", "b.a.c", false},
    {"#.a", "", false},
    {"a.#", "a", true},
    {"a.#", "a.b.c", true},
    {"a.#", "ab", false},
    {"a.#.b", "a.b", true},
    {"a.#.b", "a.x.y.b", true},
    {"a.#.b", "a.b.b", true},
    {"a.#.b", "a.b.c", false},
    {"a.#.b", "a", false},
    {"#.*", "", false},
    {"#.*", "a", true},
    {"*.#", "", false},
    {"*.#", "a.b", true},
    {"*.#.*", "a", false},
    {"*.#.*", "a.b", true},
    {"#.a.#.a.#", "a", false},
    {"#.a.#.a.#", "x.a.y.a.z", true},
    {"a..b", "a..b", true},
    {"a.*.b", "a..b", true},
    {"a.#.b", "a..b", true},
    {"a.b", "a..b", false},
    {"a.", "a.", true},
    {"a.", "a", false},
    {"a.*", "a.", true},
    {".a", ".a", true},
    {"*.a", ".a", true},
    {"a*", "ab", false},
    {"a*", "a*", true},
    {"a#", "a", false},
    {"##", "a", false},
    {"**", "a", false},
    {"a.b", "a.*", false},
    {"*.stock.#", "usd.stock", true},
    {"*.stock.#", "eur.stock.db", true},
    {"*.stock.#", "stock.nasdaq", false},
};

static void test_topics_follow_the_rules_of_amqp(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof topic_cases / sizeof *topic_cases; i++) {
        const struct topic_case *c = &topic_cases[i];
        if (topic_matches(c->pattern, c->key) != c->matches)
            fail_msg("pattern \"%s\", key \"%s\"", c->pattern, c->key);
    }
}

/* Overlapping ones of each kind, some of them twice for two targets. */
static const char *const mixed_patterns[] = {
    "a.b.c",         "a.*.c", "a.#.b", "a.b.b.c", "#",     "#.#",   "*",   "*.*",      "a.*",
    "*.b.c",         "a.#",   "a.#.#", "b.b.c",   "a.b.b", "a.b",   "b.c", "",         "*.*.*",
    "vodka.martini", "a.b.c", "*.#",   "#.*.#",   "*.#.#", "#.#.#", "*",   "#.b.#.b.#"};

static void test_all_patterns_of_one_set_are_told_apart(void **state) {
    (void)state;
    static const char *const keys[] = {"",        "a",     "a.b",     "a.b.c", "a.b.b", "b.b.c",
                                       "a.b.b.c", "a.c.b", "nothing", "a..b",  ".",     "b.b"};
    size_t count = sizeof mixed_patterns / sizeof *mixed_patterns;
    struct match_set *set = set_of(ROUTER_TOPIC);
    for (size_t i = 0; i < count; i++)
        assert_true(add(set, mixed_patterns[i], i));
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        bool reached[TARGETS];
        find(set, keys[k], reached);
        for (size_t i = 0; i < count; i++) {
            if (reached[i] != topic_matches(mixed_patterns[i], keys[k]))
                fail_msg("pattern \"%s\", key \"%s\"", mixed_patterns[i], keys[k]);
        }
    }
    match_set_free(set);
}

static void test_a_target_of_many_matching_patterns_comes_once(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_TOPIC);
    size_t count = sizeof mixed_patterns / sizeof *mixed_patterns;
    for (size_t i = 0; i < count; i++)
        for (size_t target = 0; target < 30; target++)
            add(set, mixed_patterns[i], target);
    assert_int_equal(find(set, "a.b.c", NULL), 30);
    match_set_free(set);
}

static void test_a_binding_is_fresh_only_once(void **state) {
    (void)state;
    for (int type = ROUTER_DIRECT; type <= ROUTER_TOPIC; type++) {
        struct match_set *set = set_of((enum broker_router_type)type);
        assert_true(add(set, "a.b", 1));
        assert_false(add(set, "a.b", 1));
        assert_true(add(set, "a.b", 2));
        assert_true(add(set, "a.c", 1));
        assert_int_equal(match_count(set), 3);
        assert_true(take_away(set, "a.b", 1));
        assert_false(take_away(set, "a.b", 1));
        assert_false(take_away(set, "a.c", 2));
        assert_false(take_away(set, "none", 1));
        assert_false(take_away(set, "a.b", 3));
        assert_int_equal(match_count(set), 2);
        assert_true(add(set, "a.b", 1));
        match_set_free(set);
    }
}

static void test_removing_a_target_leaves_the_others(void **state) {
    (void)state;
    for (int type = ROUTER_DIRECT; type <= ROUTER_TOPIC; type++) {
        struct match_set *set = set_of((enum broker_router_type)type);
        add(set, "a.b", 1);
        add(set, "a.b", 2);
        add(set, "a.#", 1);
        add(set, "#", 1);
        assert_int_equal(match_remove_target(set, &marks[3]), 0);
        assert_int_equal(match_remove_target(set, &marks[1]), 3);
        assert_int_equal(match_remove_target(set, &marks[1]), 0);
        assert_int_equal(match_count(set), 1);
        assert_int_equal(find(set, "a.b", NULL), 1);
        assert_true(reaches(set, "a.b", 2));
        match_set_free(set);
    }
}

static void test_removed_patterns_leave_no_nodes(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_TOPIC);
    add(set, "a.b", 1);
    assert_int_equal(match_set_nodes(set), 2);
    add(set, "a.b.*.#.c.#.d.#", 1);
    add(set, "#.a.#.b.#", 2);
    assert_int_equal(match_set_nodes(set), 13);
    assert_true(take_away(set, "a.b", 1));
    assert_int_equal(match_set_nodes(set), 13);
    assert_true(take_away(set, "a.b.*.#.c.#.d.#", 1));
    assert_int_equal(match_set_nodes(set), 5);
    assert_true(reaches(set, "a.b", 2));
    assert_int_equal(match_remove_target(set, &marks[2]), 1);
    assert_int_equal(match_set_nodes(set), 0);
    match_set_free(set);
}

static void test_a_result_of_many_targets_can_be_used_again_for_few(void **state) {
    (void)state;
    for (int type = ROUTER_DIRECT; type <= ROUTER_TOPIC; type++) {
        struct match_set *set = set_of((enum broker_router_type)type);
        struct match_set *small = set_of((enum broker_router_type)type);
        struct match_result result;
        match_result_init(&result);
        for (size_t i = 0; i < sizeof marks; i++)
            add(set, "k", i);
        add(small, "k", 5);
        assert_int_equal(match_find(small, SLICE("k"), &result), OK);
        assert_int_equal(result.count, 1);
        assert_ptr_equal(result.targets, result.few);
        assert_int_equal(match_find(set, SLICE("k"), &result), OK);
        assert_int_equal(result.count, sizeof marks);
        assert_int_equal(match_find(small, SLICE("k"), &result), OK);
        assert_int_equal(result.count, 1);
        assert_ptr_equal(result.targets[0], &marks[5]);
        match_result_done(&result);
        match_set_free(set);
        match_set_free(small);
    }
}

static void test_sixteen_targets_need_no_allocation(void **state) {
    (void)state;
    for (int type = ROUTER_DIRECT; type <= ROUTER_TOPIC; type++) {
        struct match_set *set = set_of((enum broker_router_type)type);
        struct match_result result;
        match_result_init(&result);
        for (size_t i = 0; i < MATCH_FEW; i++)
            add(set, "k", i);
        assert_int_equal(match_find(set, SLICE("k"), &result), OK);
        assert_int_equal(result.count, MATCH_FEW);
        assert_ptr_equal(result.targets, result.few);
        match_result_done(&result);
        match_set_free(set);
    }
}

static void seen(void *context, struct slice pattern, void *target) {
    char **at = context;
    *at += sprintf(*at, "%.*s>%d ", (int)pattern.len, pattern.ptr, (int)((char *)target - marks));
}

static void test_each_goes_in_the_order_of_binding(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_TOPIC);
    char text[100], *at = text;
    add(set, "z.#", 1);
    add(set, "a", 2);
    add(set, "m", 3);
    add(set, "a", 1);
    take_away(set, "m", 3);
    match_each(set, seen, &at);
    assert_string_equal(text, "z.#>1 a>2 a>1 ");
    match_set_free(set);
}

static uint64_t steps_of(const struct match_set *set, const char *key) {
    struct match_result result;
    match_result_init(&result);
    assert_int_equal(match_find(set, slice_of_cstr(key), &result), OK);
    uint64_t steps = result.steps;
    match_result_done(&result);
    return steps;
}

static void key_of_words(char *key, size_t words, char word) {
    for (size_t i = 0; i < words; i++) {
        key[2 * i] = word;
        key[2 * i + 1] = '.';
    }
    key[2 * words - 1] = '\0';
}

static void test_hostile_patterns_cost_words_times_nodes_at_most(void **state) {
    (void)state;
    static const char *const patterns[] = {"#.#.#.#.#.#.#.#.a", "#.b.#.b.#.b.#.b.#.b.#.b.#.b.#.a",
                                           "#.*.#.*.#.*.#.*.#.*.#.*.#.*.#.a",
                                           "*.#.b.#.*.#.b.#.*.#.b.#.#.#.*.a"};
    struct match_set *set = set_of(ROUTER_TOPIC);
    char key[256];
    key_of_words(key, 128, 'b');
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        add(set, patterns[i], i);
    assert_int_equal(find(set, key, NULL), 0);
    /* a node is reached and followed once a word, with nothing of what is above it repeated */
    assert_true(steps_of(set, key) <= 2 * 129 * (match_set_nodes(set) + 1));
    key[strlen(key) - 1] = 'a';
    assert_int_equal(find(set, key, NULL), 4);
    match_set_free(set);
}

static void test_unrelated_topics_cost_no_steps(void **state) {
    (void)state;
    struct match_set *set = set_of(ROUTER_TOPIC);
    add(set, "orders.*.paid", 0);
    uint64_t alone = steps_of(set, "orders.eu.paid");
    for (size_t i = 1; i < 10000; i++) {
        char pattern[40];
        snprintf(pattern, sizeof pattern, "other%zu.#.x%zu", i, i % 7);
        add(set, pattern, i);
    }
    assert_int_equal(steps_of(set, "orders.eu.paid"), alone);
    assert_int_equal(find(set, "other77.x0", NULL), 1);
    match_set_free(set);
}

static void test_the_longest_chain_of_a_table_stays_short(void **state) {
    (void)state;
    enum { ITEMS = 10000 };
    struct match_table table;
    struct match_item *items = calloc(ITEMS, sizeof *items);
    assert_non_null(items);
    assert_int_equal(match_table_init(&table), OK);
    for (size_t i = 0; i < ITEMS; i++) {
        items[i].hash = match_mix(i * 64, 1);
        match_table_put(&table, &items[i]);
    }
    assert_true(table.mask + 1 >= ITEMS);
    for (size_t i = 0; i <= table.mask; i++) {
        unsigned length = 0;
        for (struct match_item *item = table.buckets[i]; item; item = item->next)
            length++;
        assert_true(length < 16);
    }
    match_table_done(&table);
    free(items);
}

/* Random bindings against a matcher that is slow and plainly right. */

static uint64_t random_state;

static size_t random_below(size_t limit) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % limit;
}

static size_t random_text(char *text, const char *const *words, size_t word_count, size_t most) {
    size_t count = random_below(most + 1), len = 0;
    for (size_t i = 0; i < count; i++)
        len += (size_t)sprintf(text + len, "%s%s", i ? "." : "", words[random_below(word_count)]);
    text[len] = '\0';
    return len;
}

static const char *after_word(const char *text) {
    const char *dot = strchr(text, '.');
    return dot ? dot + 1 : NULL;
}

static bool same_word(const char *a, const char *b) {
    size_t len = strcspn(a, ".");
    return strcspn(b, ".") == len && memcmp(a, b, len) == 0;
}

/* NULL: no words are left. */
static bool plainly_matches(const char *pattern, const char *key) {
    if (!pattern)
        return !key;
    if (same_word(pattern, "#"))
        return plainly_matches(after_word(pattern), key) ||
               (key && plainly_matches(pattern, after_word(key)));
    return key && (same_word(pattern, "*") || same_word(pattern, key)) &&
           plainly_matches(after_word(pattern), after_word(key));
}

struct model {
    struct match_set *set;
    struct {
        char pattern[32];
        size_t target;
    } bindings[64];
    size_t count;
};

static void change_model(struct model *model) {
    static const char *const words[] = {"a", "b", "", "*", "#", "#", "cc"};
    char pattern[32];
    random_text(pattern, words, 7, 7);
    size_t target = random_below(TARGETS), at = 0;
    bool remove = model->count > 40 || (model->count && random_below(3) == 0);
    if (remove && random_below(8)) {
        at = random_below(model->count);
        target = model->bindings[at].target;
        memcpy(pattern, model->bindings[at].pattern, sizeof pattern);
    }
    for (at = 0; at < model->count; at++)
        if (model->bindings[at].target == target &&
            strcmp(model->bindings[at].pattern, pattern) == 0)
            break;
    if (remove) {
        assert_int_equal(take_away(model->set, pattern, target), at < model->count);
        if (at < model->count)
            model->bindings[at] = model->bindings[--model->count];
        return;
    }
    assert_int_equal(add(model->set, pattern, target), at == model->count);
    if (at == model->count) {
        memcpy(model->bindings[at].pattern, pattern, sizeof pattern);
        model->bindings[model->count++].target = target;
    }
}

static void check_model(const struct model *model, struct match_result *result) {
    static const char *const words[] = {"a", "b", "", "cc", "*"};
    bool expected[TARGETS] = {false}, found[TARGETS] = {false};
    char key[40];
    random_text(key, words, 5, 9);
    for (size_t i = 0; i < model->count; i++) {
        const char *pattern = model->bindings[i].pattern;
        if (plainly_matches(*pattern ? pattern : NULL, *key ? key : NULL))
            expected[model->bindings[i].target] = true;
    }
    assert_int_equal(match_find(model->set, slice_of_cstr(key), result), OK);
    for (unsigned i = 0; i < result->count; i++) {
        size_t target = (size_t)((char *)result->targets[i] - marks);
        assert_false(found[target]);
        found[target] = true;
    }
    assert_memory_equal(expected, found, sizeof found);
}

static void test_random_topics_agree_with_a_plain_matcher(void **state) {
    (void)state;
    struct match_result result;
    struct model model = {.set = set_of(ROUTER_TOPIC)};
    random_state = 20240607;
    match_result_init(&result);
    for (int i = 0; i < 20000; i++) {
        change_model(&model);
        check_model(&model, &result);
        assert_int_equal(match_count(model.set), model.count);
        if (i % 500 == 499) {
            for (size_t target = 0; target < TARGETS; target++)
                match_remove_target(model.set, &marks[target]);
            assert_int_equal(match_set_nodes(model.set), 0);
            model.count = 0;
        }
    }
    match_result_done(&result);
    match_set_free(model.set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_direct_router_compares_byte_by_byte),
        cmocka_unit_test(test_a_fanout_router_reaches_each_target_once_by_any_key),
        cmocka_unit_test(test_a_fanout_target_goes_with_its_last_binding),
        cmocka_unit_test(test_topics_follow_the_rules_of_amqp),
        cmocka_unit_test(test_all_patterns_of_one_set_are_told_apart),
        cmocka_unit_test(test_a_target_of_many_matching_patterns_comes_once),
        cmocka_unit_test(test_a_binding_is_fresh_only_once),
        cmocka_unit_test(test_removing_a_target_leaves_the_others),
        cmocka_unit_test(test_removed_patterns_leave_no_nodes),
        cmocka_unit_test(test_a_result_of_many_targets_can_be_used_again_for_few),
        cmocka_unit_test(test_sixteen_targets_need_no_allocation),
        cmocka_unit_test(test_each_goes_in_the_order_of_binding),
        cmocka_unit_test(test_hostile_patterns_cost_words_times_nodes_at_most),
        cmocka_unit_test(test_unrelated_topics_cost_no_steps),
        cmocka_unit_test(test_the_longest_chain_of_a_table_stays_short),
        cmocka_unit_test(test_random_topics_agree_with_a_plain_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
