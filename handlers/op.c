/* SPDX-License-Identifier: MIT */
#include "handlers/op.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "handlers/bind.h"

#define SLOTS 256U /* of each table; a power of two well over what the rows fill */
#define VERB_BYTES 16U

struct verb_slot {
    char verb[VERB_BYTES];
    size_t len;
    struct op_words words;
};

static struct verb_slot verb_slots[SLOTS];
static const struct op *name_slots[SLOTS];

static void wrong_row(const struct op *op, const char *why) {
    fprintf(stderr, "hati: operation %s: %s\n", op->name, why);
    abort();
}

/* Upper case of up to VERB_BYTES - 1 bytes; 0 where it is longer or has a byte no verb has. */
static size_t fold_verb(struct slice verb, char *to) {
    if (verb.len >= VERB_BYTES)
        return 0;
    for (size_t i = 0; i < verb.len; i++) {
        char c = verb.ptr[i];
        to[i] = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
    }
    return verb.len;
}

static unsigned verb_hash(const char *verb, size_t len) {
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)verb[i]) * 16777619U;
    return (hash ^ hash >> 15) & (SLOTS - 1);
}

static struct verb_slot *verb_slot(const char *verb, size_t len) {
    unsigned at = verb_hash(verb, len);
    while (verb_slots[at].len &&
           (verb_slots[at].len != len || memcmp(verb_slots[at].verb, verb, len) != 0))
        at = (at + 1) & (SLOTS - 1);
    return &verb_slots[at];
}

const struct op_words *op_find_verb(struct slice verb) {
    char folded[VERB_BYTES];
    size_t len = fold_verb(verb, folded);
    if (len == 0)
        return NULL;
    struct verb_slot *slot = verb_slot(folded, len);
    return slot->len ? &slot->words : NULL;
}

static unsigned name_hash(struct slice name) {
    return (unsigned)(hash_seeded(name, 0) & (SLOTS - 1));
}

const struct op *op_find_name(struct slice name) {
    unsigned at = name_hash(name);
    while (name_slots[at]) {
        if (slice_equal(slice_of_cstr(name_slots[at]->name), name))
            return name_slots[at];
        at = (at + 1) & (SLOTS - 1);
    }
    return NULL;
}

static void resolve_word(struct op_words *words, struct slice word) {
    bool optional = word.ptr[0] == '[';
    if (optional)
        word = slice_make(word.ptr + 1, word.len - 2);
    int index = bind_find_param(words->op, word);
    if (index < 0 || words->count == OP_PARAMS_MAX)
        wrong_row(words->op, "a verb names a parameter that the row lacks");
    words->param[words->count++] = (uint8_t)index;
    if (!optional)
        words->required = words->count;
    enum param_type type = words->op->params[index].type;
    words->rest_of_line = type == PARAM_BYTES || type == PARAM_SETTINGS;
}

static void resolve_verb(const struct op *op, const struct op_verb *verb) {
    struct slice name = slice_of_cstr(verb->verb);
    struct verb_slot *slot = verb_slot(verb->verb, name.len);
    if (slot->len || name.len >= VERB_BYTES)
        wrong_row(op, "a verb stands twice, or is too long");
    memcpy(slot->verb, name.ptr, name.len);
    slot->len = name.len;
    slot->words = (struct op_words){.op = op, .verb = verb};
    const char *at = verb->words;
    while (*at) {
        size_t len = strcspn(at, " ");
        resolve_word(&slot->words, slice_make(at, len));
        at += len + (at[len] == ' ');
    }
}

void op_init(void) {
    memset(verb_slots, 0, sizeof verb_slots);
    memset(name_slots, 0, sizeof name_slots);
    for (unsigned i = 0; i < op_count; i++) {
        const struct op *op = &ops[i];
        struct slice name = slice_of_cstr(op->name);
        if (op->param_count > OP_PARAMS_MAX || !op->run || op_find_name(name))
            wrong_row(op, "the row is not whole, or stands twice");
        unsigned at = name_hash(name);
        while (name_slots[at])
            at = (at + 1) & (SLOTS - 1);
        name_slots[at] = op;
        for (unsigned v = 0; v < OP_VERBS_MAX && op->verbs[v].verb; v++)
            resolve_verb(op, &op->verbs[v]);
    }
}
