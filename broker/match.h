/* SPDX-License-Identifier: MIT */
/* The bindings of one router: patterns and targets, and which targets a routing key reaches.
 *
 * direct: the pattern is the routing key, byte by byte. fanout: every key reaches every target.
 * topic: words parted by dots, where a pattern's `*` is one word and its `#` any number of them.
 * The empty key has no words; in "a..b" the middle word is an empty one. */
#ifndef HATI_BROKER_MATCH_H
#define HATI_BROKER_MATCH_H

#include "base/err.h"
#include "base/slice.h"
#include "broker/broker.h"

#define MATCH_FEW 16

struct match_set;

/* What a find found. One may serve any number of finds; it must not be moved or copied. */
struct match_result {
    void **targets; /* each once, in no order; good until the next find */
    unsigned count;
    unsigned room;
    uint64_t steps; /* nodes that the last find of a topic went through: its cost */
    void *few[MATCH_FEW];
};

/* Empty; allocates nothing until a find reaches more than MATCH_FEW targets. */
void match_result_init(struct match_result *result);
void match_result_done(struct match_result *result);

/* A set locks nothing: finds, counts and walks may be on many threads at once, changes are alone.
 * No call blocks. */

/* A set without bindings. ERR_OUT_OF_MEMORY. */
enum err match_set_new(enum broker_router_type type, struct match_set **ret_set) MUST_USE;
/* The targets are the caller's. NULL is fine. */
void match_set_free(struct match_set *set);

/* Binds; the pattern is copied, the target only pointed at. *ret_fresh: the same binding was not
 * there. ERR_OUT_OF_MEMORY, with nothing changed. */
enum err match_add(struct match_set *set, struct slice pattern, void *target,
                   bool *ret_fresh) MUST_USE;
/* Takes one binding away; was it there? */
bool match_remove(struct match_set *set, struct slice pattern, const void *target);
/* Takes away all bindings of a target, in time of their number; how many there were. */
size_t match_remove_target(struct match_set *set, const void *target);

/* Every target that some binding matches. Direct: in time of what it finds. Topic: at most words of
 * the key times nodes of the patterns, whatever the patterns are. ERR_OUT_OF_MEMORY, where the
 * result is empty. */
enum err match_find(const struct match_set *set, struct slice routing_key,
                    struct match_result *result) MUST_USE;

/* How many bindings there are. */
size_t match_count(const struct match_set *set);
/* Each binding, in the order they were made. take must not change the set. */
void match_each(const struct match_set *set,
                void (*take)(void *context, struct slice pattern, void *target), void *context);

#endif
