/* SPDX-License-Identifier: MIT */
/* A trie of words, walked with the set of all nodes that the key's words so far lead to.
 *
 * `#` takes no words too, so its node is reached together with its parent; and it takes every word,
 * so once reached it stays. All other nodes are reached only from their one parent by one word. So
 * no node can come twice into the set of a word, but a `#` node whose parent is reached at several
 * words, which takes another `#` further up. Only these have a mark to be looked up. */
#include <stdlib.h>

#include "base/hash.h"
#include "broker/match_inside.h"

#define NO_MARK UINT32_MAX
#define FEW_NODES 32
#define FEW_SEEN 8 /* of 64 marks each */

enum node_kind { NODE_WORD, NODE_STAR, NODE_MANY };

struct match_node {
    struct match_item item; /* NODE_WORD: by parent and word */
    struct match_node *parent;
    struct match_node *star, *many;
    struct match_pattern *pattern; /* that ends here; or NULL */
    size_t words;                  /* children that are NODE_WORD */
    enum node_kind kind;
    bool below_many; /* it, or a node above it, is a `#` */
    uint32_t mark;   /* place in topic->marked, or NO_MARK */
    size_t len;
    char word[];
};

struct match_topic {
    struct match_node *root;
    struct match_table edges; /* all NODE_WORD */
    uint64_t seed;
    size_t nodes;               /* besides the root */
    struct match_node **marked; /* without gaps */
    uint32_t mark_count, mark_room;
};

struct words {
    const char *at, *end;
    bool more;
};

static struct words words_of(struct slice text) {
    return (struct words){text.ptr, text.len ? text.ptr + text.len : text.ptr, text.len > 0};
}

static bool next_word(struct words *words, struct slice *ret_word) {
    if (!words->more)
        return false;
    size_t left = (size_t)(words->end - words->at);
    const char *dot = left ? memchr(words->at, '.', left) : NULL;
    *ret_word = slice_make(words->at, dot ? (size_t)(dot - words->at) : left);
    words->more = dot != NULL;
    words->at = dot ? dot + 1 : words->end;
    return true;
}

static uint64_t edge_hash(const struct match_node *parent, uint64_t word_hash) {
    return match_mix(word_hash, (uintptr_t)parent);
}

static struct match_node *word_child(const struct match_topic *topic,
                                     const struct match_node *parent, struct slice word,
                                     uint64_t word_hash) {
    if (parent->words == 0)
        return NULL;
    struct match_item *item = match_table_first(&topic->edges, edge_hash(parent, word_hash));
    for (; item; item = match_table_next(item)) {
        struct match_node *node = (struct match_node *)item;
        if (node->parent == parent && slice_equal(slice_make(node->word, node->len), word))
            return node;
    }
    return NULL;
}

static bool give_mark(struct match_topic *topic, struct match_node *node) {
    if (topic->mark_count == topic->mark_room) {
        size_t room = topic->mark_room ? (size_t)topic->mark_room * 2 : 8;
        struct match_node **marked =
            room >= NO_MARK ? NULL : realloc(topic->marked, room * sizeof *marked);
        if (!marked)
            return false;
        topic->marked = marked;
        topic->mark_room = (uint32_t)room;
    }
    node->mark = topic->mark_count++;
    topic->marked[node->mark] = node;
    return true;
}

static void take_mark(struct match_topic *topic, const struct match_node *node) {
    if (node->mark == NO_MARK)
        return;
    struct match_node *last = topic->marked[--topic->mark_count];
    topic->marked[node->mark] = last;
    last->mark = node->mark;
}

static struct match_node *node_new(enum node_kind kind, struct match_node *parent,
                                   struct slice word) {
    size_t len = kind == NODE_WORD ? word.len : 0;
    struct match_node *node = calloc(1, sizeof *node + len);
    if (!node)
        return NULL;
    node->parent = parent;
    node->kind = kind;
    node->below_many = kind == NODE_MANY || (parent && parent->below_many);
    node->mark = NO_MARK;
    node->len = len;
    if (len)
        memcpy(node->word, word.ptr, len);
    return node;
}

static enum node_kind kind_of(struct slice word) {
    if (word.len == 1 && word.ptr[0] == '*')
        return NODE_STAR;
    return word.len == 1 && word.ptr[0] == '#' ? NODE_MANY : NODE_WORD;
}

static void link_node(struct match_topic *topic, struct match_node *node) {
    struct match_node *parent = node->parent;
    if (node->kind == NODE_STAR) {
        parent->star = node;
    } else if (node->kind == NODE_MANY) {
        parent->many = node;
    } else {
        uint64_t hash = hash_seeded(slice_make(node->word, node->len), topic->seed);
        node->item.hash = edge_hash(parent, hash);
        match_table_put(&topic->edges, &node->item);
        parent->words++;
    }
    topic->nodes++;
}

static void unlink_node(struct match_topic *topic, struct match_node *node) {
    if (node->kind == NODE_STAR) {
        node->parent->star = NULL;
    } else if (node->kind == NODE_MANY) {
        node->parent->many = NULL;
    } else {
        match_table_drop(&topic->edges, &node->item);
        node->parent->words--;
    }
    topic->nodes--;
}

/* Takes the node away, and those above it, as far as nobody needs them. */
static void prune(struct match_topic *topic, struct match_node *node) {
    while (node->parent && !node->pattern && !node->words && !node->star && !node->many) {
        struct match_node *parent = node->parent;
        unlink_node(topic, node);
        take_mark(topic, node);
        free(node);
        node = parent;
    }
}

static struct match_node *child_of(struct match_topic *topic, struct match_node *parent,
                                   struct slice word) {
    enum node_kind kind = kind_of(word);
    struct match_node *child =
        kind == NODE_STAR   ? parent->star
        : kind == NODE_MANY ? parent->many
                            : word_child(topic, parent, word, hash_seeded(word, topic->seed));
    if (child)
        return child;
    child = node_new(kind, parent, word);
    if (!child)
        return NULL;
    /* below a `#` itself it is reached together with that one, which is once */
    bool twice = kind == NODE_MANY && parent->kind != NODE_MANY && parent->below_many;
    if (twice && !give_mark(topic, child)) {
        free(child);
        return NULL;
    }
    link_node(topic, child);
    return child;
}

enum err match_topic_new(struct match_topic **ret_topic) {
    struct match_topic *topic = calloc(1, sizeof *topic);
    if (!topic)
        return ERR_OUT_OF_MEMORY;
    topic->seed = hash_process_seed();
    topic->root = node_new(NODE_WORD, NULL, SLICE(""));
    if (!topic->root || match_table_init(&topic->edges) != OK) {
        match_topic_free(topic);
        return ERR_OUT_OF_MEMORY;
    }
    *ret_topic = topic;
    return OK;
}

void match_topic_free(struct match_topic *topic) {
    if (!topic)
        return;
    match_table_done(&topic->edges);
    free(topic->marked);
    free(topic->root);
    free(topic);
}

enum err match_topic_add(struct match_topic *topic, struct match_pattern *pattern) {
    struct words words = words_of(slice_make(pattern->bytes, pattern->len));
    struct match_node *node = topic->root;
    struct slice word;
    while (next_word(&words, &word)) {
        struct match_node *child = child_of(topic, node, word);
        if (!child) {
            prune(topic, node);
            return ERR_OUT_OF_MEMORY;
        }
        node = child;
    }
    node->pattern = pattern;
    pattern->node = node;
    return OK;
}

void match_topic_remove(struct match_topic *topic, struct match_pattern *pattern) {
    pattern->node->pattern = NULL;
    prune(topic, pattern->node);
}

size_t match_topic_nodes(const struct match_topic *topic) {
    return topic->nodes;
}

struct node_list {
    const struct match_node **nodes;
    size_t count, room;
    const struct match_node *few[FEW_NODES];
};

/* One find. */
struct walk {
    const struct match_topic *topic;
    struct match_result *result;
    unsigned patterns;        /* that were taken into the result */
    struct node_list staying; /* `#` nodes with children */
    struct node_list sets[2]; /* other nodes: of the words so far, of one word more */
    uint64_t *seen;           /* bits of the marks */
    uint64_t few_seen[FEW_SEEN];
};

static void list_init(struct node_list *list) {
    list->nodes = list->few;
    list->count = 0;
    list->room = FEW_NODES;
}

static void list_done(struct node_list *list) {
    if (list->nodes != list->few)
        free(list->nodes);
}

static enum err list_push(struct node_list *list, const struct match_node *node) {
    if (list->count == list->room) {
        bool few = list->nodes == list->few;
        const struct match_node **nodes =
            realloc(few ? NULL : list->nodes, list->room * 2 * sizeof *nodes);
        if (!nodes)
            return ERR_OUT_OF_MEMORY;
        if (few)
            memcpy(nodes, list->few, sizeof list->few);
        list->nodes = nodes;
        list->room *= 2;
    }
    list->nodes[list->count++] = node;
    return OK;
}

static enum err walk_init(struct walk *walk, const struct match_topic *topic,
                          struct match_result *result) {
    size_t seen = ((size_t)topic->mark_count + 63) / 64;
    walk->seen = seen > FEW_SEEN ? calloc(seen, sizeof *walk->seen) : walk->few_seen;
    if (!walk->seen)
        return ERR_OUT_OF_MEMORY;
    memset(walk->few_seen, 0, sizeof walk->few_seen);
    walk->topic = topic;
    walk->result = result;
    walk->patterns = 0;
    list_init(&walk->staying);
    list_init(&walk->sets[0]);
    list_init(&walk->sets[1]);
    return OK;
}

static void walk_done(struct walk *walk) {
    list_done(&walk->staying);
    list_done(&walk->sets[0]);
    list_done(&walk->sets[1]);
    if (walk->seen != walk->few_seen)
        free(walk->seen);
}

static bool see(struct walk *walk, const struct match_node *node) {
    if (node->mark == NO_MARK)
        return true;
    uint64_t bit = UINT64_C(1) << (node->mark % 64);
    uint64_t *bits = &walk->seen[node->mark / 64];
    bool fresh = (*bits & bit) == 0;
    *bits |= bit;
    return fresh;
}

static enum err take_pattern(struct walk *walk, const struct match_node *node) {
    if (!node->pattern)
        return OK;
    walk->patterns++;
    return match_result_take(walk->result, node->pattern);
}

/* A node that is no `#` is reached, and with it the `#` below it, and the `#` below that one. */
static enum err reach(struct walk *walk, struct node_list *set, const struct match_node *node) {
    enum err err = OK;
    walk->result->steps++;
    if (node->words || node->star || node->pattern)
        err = list_push(set, node);
    for (const struct match_node *many = node->many; err == OK && many && see(walk, many);
         many = many->many) {
        walk->result->steps++;
        err = take_pattern(walk, many);
        if (err == OK && (many->words || many->star))
            err = list_push(&walk->staying, many);
    }
    return err;
}

static enum err follow(struct walk *walk, struct node_list *set, const struct match_node *node,
                       struct slice word, uint64_t word_hash) {
    const struct match_node *child = word_child(walk->topic, node, word, word_hash);
    enum err err = OK;
    walk->result->steps++;
    if (child)
        err = reach(walk, set, child);
    if (err == OK && node->star)
        err = reach(walk, set, node->star);
    return err;
}

static enum err walk_word(struct walk *walk, const struct node_list *from, struct node_list *to,
                          struct slice word) {
    uint64_t word_hash = hash_seeded(word, walk->topic->seed);
    size_t staying = walk->staying.count; /* those reached by this word do not take it too */
    enum err err = OK;
    to->count = 0;
    for (size_t i = 0; err == OK && i < staying; i++)
        err = follow(walk, to, walk->staying.nodes[i], word, word_hash);
    for (size_t i = 0; err == OK && i < from->count; i++)
        err = follow(walk, to, from->nodes[i], word, word_hash);
    return err;
}

static enum err walk_key(struct walk *walk, struct slice routing_key) {
    struct words words = words_of(routing_key);
    struct node_list *now = &walk->sets[0], *then = &walk->sets[1];
    struct slice word;
    enum err err = reach(walk, now, walk->topic->root);
    while (err == OK && (now->count || walk->staying.count) && next_word(&words, &word)) {
        err = walk_word(walk, now, then, word);
        struct node_list *swap = now;
        now = then;
        then = swap;
    }
    for (size_t i = 0; err == OK && i < now->count; i++)
        err = take_pattern(walk, now->nodes[i]);
    return err;
}

enum err match_topic_find(const struct match_topic *topic, struct slice routing_key,
                          struct match_result *result) {
    struct walk walk;
    enum err err = walk_init(&walk, topic, result);
    if (err != OK)
        return err;
    err = walk_key(&walk, routing_key);
    if (err == OK && walk.patterns > 1)
        match_result_unique(result);
    walk_done(&walk);
    return err;
}
