/* SPDX-License-Identifier: MIT */
/* Calls that are to come, in a list without an order: there are few, and none for long. */
#include "engine/internal.h"

static void arm(struct engine *engine, int64_t at_ms);

static void on_later(uv_timer_t *timer) {
    struct engine *engine = timer->data;
    int64_t now_ms = clock_steady_ms(), soonest_ms = INT64_MAX;
    struct later *due = NULL, **at = &engine->laters;
    engine->later_ms = INT64_MAX;
    while (*at) {
        struct later *later = *at;
        if (later->at_ms > now_ms) {
            soonest_ms = later->at_ms < soonest_ms ? later->at_ms : soonest_ms;
            at = &later->next;
            continue;
        }
        *at = later->next;
        later->next = due;
        due = later;
    }
    if (soonest_ms != INT64_MAX)
        arm(engine, soonest_ms);
    while (due) {
        struct later *later = due;
        due = later->next;
        later->run(later->context);
    }
}

static void arm(struct engine *engine, int64_t at_ms) {
    int64_t left_ms = at_ms - clock_steady_ms();
    engine->later_ms = at_ms;
    uv_update_time(&engine->loop);
    uv_timer_start(&engine->later_timer, on_later, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

void engine_later_init(struct engine *engine) {
    engine->laters = NULL;
    engine->later_ms = INT64_MAX;
    engine->later_timer.data = engine;
    uv_timer_init(&engine->loop, &engine->later_timer);
}

void engine_later(struct engine *engine, struct later *later, int64_t delay_ms,
                  void (*run)(void *context), void *context) {
    *later = (struct later){.next = engine->laters,
                            .at_ms = clock_steady_ms() + delay_ms,
                            .run = run,
                            .context = context};
    engine->laters = later;
    if (later->at_ms < engine->later_ms)
        arm(engine, later->at_ms);
}
