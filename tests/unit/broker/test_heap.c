/* SPDX-License-Identifier: MIT */
#include "broker/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEMS 500U

struct item {
    int64_t key;
    uint32_t index;
};

static struct heap new_heap(void) {
    struct heap heap;
    heap_init(&heap, offsetof(struct item, key), offsetof(struct item, index));
    return heap;
}

static void push(struct heap *heap, struct item *item) {
    assert_int_equal(heap_reserve(heap), OK);
    heap_push(heap, item);
}

static void test_items_come_out_in_the_order_of_their_keys(void **state) {
    struct heap heap = new_heap();
    struct item items[ITEMS] = {0};
    (void)state;
    srand(7);
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].key = rand() % 100;
        push(&heap, &items[i]);
    }
    int64_t last = -1;
    for (unsigned i = 0; i < ITEMS; i++) {
        struct item *top = heap_top(&heap);
        assert_non_null(top);
        assert_true(top->key >= last);
        last = top->key;
        heap_remove(&heap, top);
        assert_int_equal(top->index, 0);
    }
    assert_null(heap_top(&heap));
    heap_done(&heap);
}

static void test_an_item_can_be_taken_out_of_the_middle(void **state) {
    struct heap heap = new_heap();
    struct item items[ITEMS] = {0};
    (void)state;
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].key = (int64_t)(i * 7919 % ITEMS);
        push(&heap, &items[i]);
    }
    for (unsigned i = 0; i < ITEMS; i += 2)
        heap_remove(&heap, &items[i]);
    assert_int_equal(heap.count, ITEMS / 2);
    int64_t last = -1;
    while (heap_top(&heap)) {
        struct item *top = heap_top(&heap);
        assert_true(top->key > last);
        assert_true((top - items) % 2 == 1);
        last = top->key;
        heap_remove(&heap, top);
    }
    heap_done(&heap);
}

static void test_taking_out_what_is_not_in_does_nothing(void **state) {
    struct heap heap = new_heap();
    struct item in = {.key = 1};
    struct item out = {.key = 0};
    (void)state;
    push(&heap, &in);
    heap_remove(&heap, &out);
    assert_int_equal(heap.count, 1);
    assert_ptr_equal(heap_top(&heap), &in);
    heap_done(&heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_out_in_the_order_of_their_keys),
        cmocka_unit_test(test_an_item_can_be_taken_out_of_the_middle),
        cmocka_unit_test(test_taking_out_what_is_not_in_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
