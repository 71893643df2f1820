/* SPDX-License-Identifier: MIT */
/* A line of Olivia's protocol taken apart, as that system's parser takes it apart (docs/olivia.md).
 * Does no I/O, allocates nothing. Any thread. */
#ifndef HATI_SERVER_OLIVIA_LINE_H
#define HATI_SERVER_OLIVIA_LINE_H

#include "base/slice.h"

struct olivia_line {
    struct slice hash;    /* empty: none */
    struct slice command; /* as written */
    struct slice args;    /* behind the space */
};

/* False where it has no space: it is no request then, but hash and command are told. */
bool olivia_line_split(struct slice line, struct olivia_line *ret_line);

struct olivia_pair {
    struct slice key;     /* up to the first colon */
    struct slice value;   /* up to the second; empty where there is none */
    struct slice seconds; /* up to the third; ptr NULL: there is none */
};

/* Takes the next pair off the args, whose pointer is NULL behind the last; false there. */
bool olivia_take_pair(struct slice *args, struct olivia_pair *ret_pair);

/* A signed 64-bit decimal, as Go's strconv.Atoi takes it: an optional sign, then digits. */
bool olivia_parse_seconds(struct slice text, int64_t *ret_seconds);

#endif
