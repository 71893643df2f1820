/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/receive.h"

#define NOW 1000000

static struct tqueue dead = {.name = "dead", .name_len = 4};
static enum broker_reason reason;
static struct tqueue *target;

/* The topology knows one queue. */
struct tqueue *topology_find_queue(struct topology *topology, struct slice name) {
    (void)topology;
    return slice_equal(name, SLICE("dead")) ? &dead : NULL;
}

static struct tqueue queue_with(uint32_t max_deliver, const char *dead_letter) {
    return (struct tqueue){
        .options = {.max_deliver = max_deliver, .dead_letter = slice_of_cstr(dead_letter)}};
}

static enum fate fate_of(const struct tqueue *queue, int64_t attempt, int64_t expires_ms,
                         bool lease_ended, int64_t delay_ms) {
    return message_fate(NULL, queue, attempt, expires_ms, lease_ended, delay_ms, NOW, &reason,
                        &target);
}

static void a_message_that_may_come_again_keeps_its_place(void **state) {
    (void)state;
    struct tqueue queue = queue_with(3, "dead");
    assert_int_equal(fate_of(&queue, 2, 0, true, 0), FATE_READY);
    assert_int_equal(fate_of(&queue, 2, NOW + 1, true, 50), FATE_DELAYED);
    assert_int_equal(fate_of(&queue, 3, 0, false, 0), FATE_READY);
    assert_int_equal(reason, REASON_NONE);
    queue.options.max_deliver = 0;
    assert_int_equal(fate_of(&queue, 1000, 0, true, 0), FATE_READY);
}

static void what_was_delivered_often_enough_is_dead(void **state) {
    (void)state;
    struct tqueue queue = queue_with(3, "dead");
    assert_int_equal(fate_of(&queue, 3, NOW - 1, true, 50), FATE_MOVE);
    assert_int_equal(reason, REASON_MAX_DELIVER);
    assert_ptr_equal(target, &dead);
}

static void what_expired_is_dead(void **state) {
    (void)state;
    struct tqueue queue = queue_with(0, "dead");
    assert_int_equal(fate_of(&queue, 0, NOW, false, 50), FATE_MOVE);
    assert_int_equal(reason, REASON_EXPIRED);
    assert_ptr_equal(target, &dead);
}

static void the_dead_are_dropped_where_nobody_takes_them(void **state) {
    (void)state;
    struct tqueue queue = queue_with(1, "");
    assert_int_equal(fate_of(&queue, 1, 0, true, 0), FATE_DROP);
    assert_int_equal(reason, REASON_MAX_DELIVER);
    queue = queue_with(1, "elsewhere");
    assert_int_equal(fate_of(&queue, 1, NOW, false, 0), FATE_DROP);
    assert_int_equal(reason, REASON_EXPIRED);
    queue = queue_with(0, "dead");
    queue.gone = true;
    assert_int_equal(fate_of(&queue, 0, 0, false, 0), FATE_DROP);
    assert_int_equal(fate_of(NULL, 0, 0, false, 0), FATE_DROP);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_that_may_come_again_keeps_its_place),
        cmocka_unit_test(what_was_delivered_often_enough_is_dead),
        cmocka_unit_test(what_expired_is_dead),
        cmocka_unit_test(the_dead_are_dropped_where_nobody_takes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
