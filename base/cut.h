/* SPDX-License-Identifier: MIT */
/* The number of the last cut: an instant to which a snapshot of several stores belongs. Whoever
 * changes something looks at it under the lock of what is changed; where that has not seen the
 * number yet, its state is kept for the snapshot first. One number for all stores of the process,
 * so that one store to memory is the same instant for all of them (docs/decisions/0013). */
#ifndef HATI_BASE_CUT_H
#define HATI_BASE_CUT_H

#include <stdatomic.h>
#include <stdint.h>

extern _Atomic uint64_t cut_number_last;

/* What a change looks at. Any thread. */
static inline uint64_t cut_number(void) {
    return atomic_load_explicit(&cut_number_last, memory_order_acquire);
}

/* Begins a cut: nobody else makes one until cut_make or cut_give_up. Returns the number it will
 * have. May wait for another's. */
uint64_t cut_begin(void);
/* This is the instant. */
void cut_make(void);
/* There is none. */
void cut_give_up(void);

#endif
