/* SPDX-License-Identifier: MIT */
/* What the parts of the library share that stands between a program and its disk, memory, clock. */
#ifndef HATI_TORTURE_SHIM_H
#define HATI_TORTURE_SHIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* As tests/torture/shim.py packs it. */
struct control {
    _Atomic uint64_t events;
    _Atomic int64_t sync_fails_after;  /* 1: the next one; 0: none */
    _Atomic int64_t write_fails_after; /* the same, of writes below the directory */
    _Atomic int64_t alloc_fails_after;
    _Atomic int64_t fails_count; /* so many in a row, then well again */
    _Atomic int64_t fault_errno;
    _Atomic int64_t failed;   /* so many faults were made */
    _Atomic int64_t clock_ms; /* added to the wall clock */
    _Atomic int64_t owner;    /* process whose memory is counted: the first that comes by */
    _Atomic int64_t blocks;   /* of memory that it holds */
    _Atomic int64_t bytes;
    _Atomic int64_t allocations;
    _Atomic int64_t steady_ms;   /* added to the clocks that only go forward */
    _Atomic int64_t fails_every; /* after the row, each that comes so much later; 0: none */
    char unsynced[256];          /* path of the file whose sync failed last */
};

HIDDEN extern struct control *control; /* of its own until the page is there */

/* True where this one is to fail. Any thread. */
HIDDEN bool is_due(_Atomic int64_t *after);
/* The page is there; before any other thread is. */
HIDDEN void memory_begins(struct control *page);

#endif
