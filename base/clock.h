/* SPDX-License-Identifier: MIT */
/* Time, in one place so that tests can move it. */
#ifndef HATI_BASE_CLOCK_H
#define HATI_BASE_CLOCK_H

#include <stdint.h>

/* Wall time in ms since 1970. Any thread; never blocks. */
int64_t clock_wall_ms(void);
/* Time that only goes forward, in ms from an arbitrary start: for deadlines. Any thread. */
int64_t clock_steady_ms(void);
/* The same in ns: for measuring. Any thread. */
int64_t clock_steady_ns(void);

/* Tests: both clocks are moved by ms from now on (adds up; negative moves back). Any thread. */
void clock_move_for_test(int64_t ms);

#endif
