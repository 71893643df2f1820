/* SPDX-License-Identifier: MIT */
/* What the files of match share: its table, its rings, its patterns and the trie of topics. */
#ifndef HATI_BROKER_MATCH_INSIDE_H
#define HATI_BROKER_MATCH_INSIDE_H

#include "broker/match.h"

/* What stands in a table: the first member of its holder. */
struct match_item {
    struct match_item *next;
    uint64_t hash;
};

struct match_table {
    struct match_item **buckets; /* a power of two of them */
    size_t mask;
    size_t count;
};

enum err match_table_init(struct match_table *table) MUST_USE;
/* The items are the caller's. */
void match_table_done(struct match_table *table);
/* Cannot fail: without memory to grow, the chains get longer. */
void match_table_put(struct match_table *table, struct match_item *item);
void match_table_drop(struct match_table *table, struct match_item *item);
/* The first item with this hash, and the next one with the same; NULL: no more. */
struct match_item *match_table_first(const struct match_table *table, uint64_t hash);
struct match_item *match_table_next(const struct match_item *item);
/* Two words in one that has all their bits everywhere. */
uint64_t match_mix(uint64_t a, uint64_t b);

/* A list that ends in its head. */
struct match_ring {
    struct match_ring *next, *prev;
};

#define MATCH_HOLDER(ring, type, member) ((type *)((char *)(ring)-offsetof(type, member)))

static inline void match_ring_init(struct match_ring *head) {
    head->next = head->prev = head;
}

static inline void match_ring_add(struct match_ring *head, struct match_ring *ring) {
    ring->next = head;
    ring->prev = head->prev;
    head->prev->next = ring;
    head->prev = ring;
}

static inline void match_ring_remove(struct match_ring *ring) {
    ring->prev->next = ring->next;
    ring->next->prev = ring->prev;
}

struct match_node;

struct match_pattern {
    struct match_item item;     /* by its bytes */
    struct match_ring bindings; /* at least one, once it is added */
    unsigned count;             /* bindings */
    struct match_node *node;    /* topic: where it ends */
    size_t len;
    char bytes[];
};

struct match_topic;

/* The trie of a topic router's patterns. */
enum err match_topic_new(struct match_topic **ret_topic) MUST_USE;
/* Its patterns were removed before. */
void match_topic_free(struct match_topic *topic);
/* Takes the pattern's path in and sets pattern->node. */
enum err match_topic_add(struct match_topic *topic, struct match_pattern *pattern) MUST_USE;
/* Takes the pattern out, and what of its path nobody else needs. */
void match_topic_remove(struct match_topic *topic, struct match_pattern *pattern);
enum err match_topic_find(const struct match_topic *topic, struct slice routing_key,
                          struct match_result *result) MUST_USE;
/* Nodes besides the root. */
size_t match_topic_nodes(const struct match_topic *topic);

/* Adds the targets of a pattern to an array that is made free of twins before it grows. */
enum err match_result_take(struct match_result *result,
                           const struct match_pattern *pattern) MUST_USE;
/* Leaves one of each target. */
void match_result_unique(struct match_result *result);

/* Tests: nodes of the trie of a topic set. */
size_t match_set_nodes(const struct match_set *set);

#endif
