/* SPDX-License-Identifier: MIT */
#include "fake_engine.h"

static unsigned reaches(const char *router, const char *key) {
    struct match_result found;
    match_result_init(&found);
    assert_int_equal(topology_route(fake.topology,
                                    topology_find_router(fake.topology, slice_of_cstr(router)),
                                    slice_of_cstr(key), &found),
                     OK);
    unsigned count = found.count;
    match_result_done(&found);
    return count;
}

static void default_reaches_each_queue_under_its_name(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    add_queue(&row);
    assert_int_equal(reaches("default", "jobs"), 1);
    assert_int_equal(reaches("default", "job"), 0);
}

static void rows_that_come_again_change_nothing(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    struct tqueue *queue = add_queue(&row);
    add_router("all", 3, ROUTER_FANOUT);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(add_queue(&row), queue);
        add_router("all", 3, ROUTER_FANOUT);
        bind_rows(3, 2, "", false);
        assert_int_equal(reaches("all", "x"), 1);
    }
    assert_int_equal(topology_queue_count(fake.topology), 1);
    assert_int_equal(topology_router_count(fake.topology), 2);
}

static void a_queue_that_goes_takes_its_bindings_along(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    struct tqueue *queue = add_queue(&row);
    topology_ref(queue);
    add_router("topics", 3, ROUTER_TOPIC);
    bind_rows(3, 2, "a.*", false);
    assert_int_equal(reaches("topics", "a.b"), 1);
    row.gone = true;
    assert_int_equal(topology_take_queue(fake.topology, &row), OK);
    assert_true(queue->gone);
    assert_int_equal(reaches("topics", "a.b"), 0);
    assert_null(topology_find_queue_id(fake.topology, 2));
    topology_unref(queue);
}

static void a_queue_made_anew_is_another_one(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    add_queue(&row);
    add_router("all", 3, ROUTER_FANOUT);
    bind_rows(3, 2, "", false);
    row.id = 7; /* gone and back between two pulls */
    assert_int_equal(add_queue(&row)->id, 7);
    assert_null(topology_find_queue_id(fake.topology, 2));
    assert_int_equal(reaches("all", ""), 0);
    bind_rows(3, 2, "", false); /* of the one before */
    assert_int_equal(reaches("all", ""), 0);
}

static void a_binding_that_goes_leaves_the_others(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    add_queue(&row);
    add_router("direct", 3, ROUTER_DIRECT);
    bind_rows(3, 2, "a", false);
    bind_rows(3, 2, "b", false);
    bind_rows(3, 2, "a", true);
    bind_rows(3, 2, "a", true);
    assert_int_equal(reaches("direct", "a"), 0);
    assert_int_equal(reaches("direct", "b"), 1);
}

static void options_are_taken_over(void **state) {
    (void)state;
    char dead[] = "dead";
    struct queue_row row = queue_row("jobs", 2);
    add_queue(&row);
    row.options.paused = true;
    row.options.dead_letter = slice_of_cstr(dead);
    struct tqueue *queue = add_queue(&row);
    dead[0] = 'x'; /* the row's memory is the result's */
    assert_true(queue->options.paused);
    assert_true(slice_equal(queue->options.dead_letter, SLICE("dead")));
}

static void what_a_pull_of_all_does_not_tell_of_is_gone(void **state) {
    (void)state;
    char name[16];
    add_router("kept", 3, ROUTER_FANOUT);
    add_router("lost", 4, ROUTER_FANOUT);
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "q%d", i);
        struct queue_row row = queue_row(name, 100 + i);
        add_queue(&row);
        bind_rows(3, 100 + i, "", false);
    }
    assert_int_equal(reaches("kept", ""), 600);
    assert_int_equal(topology_begin_all(fake.topology), OK);
    add_router("default", 1, ROUTER_DIRECT);
    add_router("kept", 3, ROUTER_FANOUT);
    struct queue_row row = queue_row("q5", 105);
    add_queue(&row);
    bind_rows(3, 105, "", false);
    topology_end_all(fake.topology);
    assert_int_equal(topology_queue_count(fake.topology), 1);
    assert_int_equal(topology_router_count(fake.topology), 2);
    assert_int_equal(reaches("kept", ""), 1);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin_fake, end_fake)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(default_reaches_each_queue_under_its_name),
        CASE(rows_that_come_again_change_nothing),
        CASE(a_queue_that_goes_takes_its_bindings_along),
        CASE(a_queue_made_anew_is_another_one),
        CASE(a_binding_that_goes_leaves_the_others),
        CASE(options_are_taken_over),
        CASE(what_a_pull_of_all_does_not_tell_of_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
