/* SPDX-License-Identifier: MIT */
#include "client/complete.h"

#include <jansson.h>

#include "client/command.h"
#include "client/pretty.h"

/* A line in front of the cursor: its verb, and the word the cursor is in. */
struct place {
    const struct op_words *op;
    const struct command_word *word;
    struct slice first; /* the word behind the verb */
    struct slice current;
    unsigned index; /* of current; 0: the verb itself */
};

static void find_place(struct slice line, struct place *place) {
    *place = (struct place){.current = slice_make(line.ptr, 0)};
    size_t at = 0;
    for (;;) {
        while (at < line.len && line.ptr[at] == ' ')
            at++;
        size_t start = at;
        while (at < line.len && line.ptr[at] != ' ')
            at++;
        struct slice word = slice_make(line.ptr + start, at - start);
        if (place->index == 1)
            place->first = word;
        place->current = word;
        if (at == line.len)
            return;
        if (place->index == 0) {
            place->op = op_find_verb(word);
            place->word = place->op ? NULL : command_find_word(word);
        }
        place->index++;
    }
}

void complete_add(struct completion *completion, struct slice word) {
    if (completion->count < COMPLETE_MAX && word.len >= completion->prefix.len &&
        slice_equal_nocase(slice_make(word.ptr, completion->prefix.len), completion->prefix))
        completion->words[completion->count++] = word;
}

static void add_verbs(struct completion *completion) {
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned v = 0; v < OP_VERBS_MAX && ops[i].verbs[v].verb; v++)
            if (ops[i].verbs[v].doc)
                complete_add(completion, slice_of_cstr(ops[i].verbs[v].verb));
    for (unsigned i = 0; i < command_word_count; i++)
        complete_add(completion, slice_of_cstr(command_words[i].name));
}

/* Words of a parameter, each with `before` in front. */
static void add_values(struct completion *completion, struct arena *arena, const char *before,
                       const struct param *param) {
    const char *at = param->type == PARAM_STORAGE ? "memory hdd" : param->choices;
    while (at && *at) {
        size_t len = strcspn(at, " ");
        const char *text = arena_printf(arena, "%s%.*s", before, (int)len, at);
        if (text)
            complete_add(completion, slice_of_cstr(text));
        at += len + (at[len] == ' ');
    }
}

static bool is_word_of(const struct op_words *words, unsigned param) {
    for (unsigned i = 0; i < words->count; i++)
        if (words->param[i] == param)
            return true;
    return false;
}

/* `name=` of every setting, or its values where the name stands there already. */
static void add_settings(struct completion *completion, struct arena *arena,
                         const struct op_words *words) {
    for (unsigned i = 0; i < words->op->param_count; i++) {
        const struct param *param = &words->op->params[i];
        if (is_word_of(words, i) || param->type == PARAM_SETTINGS)
            continue;
        const char *name = arena_printf(arena, "%s=", param->name);
        if (!name)
            continue;
        if (slice_starts_with(completion->prefix, slice_of_cstr(name))) {
            completion->doc = param->doc;
            add_values(completion, arena, name, param);
        } else {
            complete_add(completion, slice_of_cstr(name));
        }
    }
}

static void add_of_param(struct completion *completion, struct arena *arena,
                         const struct place *place, const struct param *param) {
    completion->doc = param->doc;
    add_values(completion, arena, "", param);
    if (param->type == PARAM_NAME && strcmp(param->name, "queue") == 0)
        completion->names = NAMES_QUEUES;
    else if (param->type == PARAM_NAME && strcmp(param->name, "router") == 0)
        completion->names = NAMES_ROUTERS;
    else if (param->type == PARAM_KEY || param->type == PARAM_PREFIX)
        completion->names = NAMES_KEYS;
    completion->storage = place->first;
}

/* Of a verb that the operation table does not have. */
static void add_of_word(struct completion *completion, const struct place *place) {
    enum command_kind kind = place->word->kind;
    bool watch = kind == COMMAND_WATCH || kind == COMMAND_UNWATCH;
    if (place->index == 1)
        completion->doc = place->word->doc;
    if (place->index == 1 && (kind == COMMAND_SUBSCRIBE || kind == COMMAND_UNSUBSCRIBE))
        completion->names = NAMES_QUEUES;
    if (place->index == 1 && watch) {
        complete_add(completion, SLICE("memory"));
        complete_add(completion, SLICE("hdd"));
    } else if (place->index == 2 && watch) {
        completion->names = NAMES_KEYS;
        completion->storage = place->first;
    } else if (kind == COMMAND_WATCH && place->index <= place->word->most) {
        complete_add(completion, SLICE("since="));
        complete_add(completion, SLICE("values"));
    }
}

void complete_line(struct slice line, struct arena *arena, struct completion *ret_completion) {
    struct completion *completion = ret_completion;
    struct place place;
    find_place(line, &place);
    *completion = (struct completion){.prefix = place.current};
    if (place.index == 0) {
        add_verbs(completion);
        return;
    }
    if (place.word)
        add_of_word(completion, &place);
    if (!place.op || place.op->count == 0)
        return;
    unsigned last = place.op->count - 1;
    if (place.index <= place.op->count)
        add_of_param(completion, arena, &place,
                     &place.op->op->params[place.op->param[place.index - 1]]);
    if (place.op->op->params[place.op->param[last]].type == PARAM_SETTINGS &&
        place.index > place.op->required)
        add_settings(completion, arena, place.op);
}

static bool is_plain(struct slice word) {
    struct buf shown;
    buf_init(&shown, word.len * 4 + 1);
    pretty_escaped(&shown, word);
    bool plain = word.len && !memchr(word.ptr, ' ', word.len) && word.ptr[0] != '"' &&
                 word.ptr[0] != '\'' && slice_equal(buf_slice(&shown), word);
    buf_done(&shown);
    return plain;
}

void complete_add_json(struct completion *completion, struct arena *arena, struct slice line) {
    json_t *json = json_loadb(line.ptr, line.len, 0, NULL);
    const json_t *names = json_is_array(json) ? json : json_object_get(json, "keys");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *name = json_array_get(names, i);
        if (!json_is_string(name))
            continue;
        struct slice word = slice_make(json_string_value(name), json_string_length(name));
        struct slice copy = is_plain(word) ? arena_copy(arena, word) : (struct slice){NULL, 0};
        if (copy.ptr && slice_starts_with(copy, completion->prefix))
            complete_add(completion, copy);
    }
    json_decref(json);
}

struct slice complete_common(const struct completion *completion) {
    if (!completion->count)
        return completion->prefix;
    struct slice common = completion->words[0];
    for (unsigned i = 1; i < completion->count; i++) {
        size_t len = 0;
        while (len < common.len && len < completion->words[i].len &&
               common.ptr[len] == completion->words[i].ptr[len])
            len++;
        common.len = len;
    }
    return common;
}

/* Appends the words of a table's row from `skip` on; those without brackets in < >. */
static void append_words(struct buf *to, const char *words, unsigned skip, bool plain) {
    while (*words) {
        size_t len = strcspn(words, " ");
        bool bare = plain && words[0] != '[';
        if (skip) {
            skip--;
        } else {
            if (to->len)
                buf_append_char(to, ' ');
            if (bare)
                buf_append_char(to, '<');
            buf_append(to, slice_make(words, len));
            if (bare)
                buf_append_char(to, '>');
        }
        words += len + (words[len] == ' ');
    }
}

void complete_hint(struct slice line, struct buf *to) {
    struct place place;
    find_place(line, &place);
    if (place.index == 0)
        return;
    unsigned given = place.index - 1 + (place.current.len > 0);
    if (place.op)
        append_words(to, place.op->verb->words, given, true);
    else if (place.word)
        append_words(to, place.word->words, given, false);
}
