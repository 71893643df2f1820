/* SPDX-License-Identifier: MIT */
/* A hash table from bytes (a name, or a number's bytes) to a pointer. The owner's lock. */
#ifndef HATI_BROKER_NAMES_H
#define HATI_BROKER_NAMES_H

#include "base/err.h"
#include "base/slice.h"

struct name_entry;

struct names {
    struct name_entry **slots;
    size_t count, room;
    uint64_t seed;
};

void names_init(struct names *names);
/* Frees the table, not what it points to. */
void names_done(struct names *names);
/* NULL where it is not there. */
void *names_get(const struct names *names, struct slice name);
/* The name is copied and was not there. ERR_OUT_OF_MEMORY. */
enum err names_put(struct names *names, struct slice name, void *value) MUST_USE;
/* Returns what stood there, or NULL. */
void *names_take(struct names *names, struct slice name);
void names_each(const struct names *names,
                void (*take)(void *context, struct slice name, void *value), void *context);

#endif
