/* SPDX-License-Identifier: MIT */
#include "handlers/position.h"

#include <stdio.h>

#define REVISION_DIGITS_MAX 20U
#define NOT_REACHED "the causal context asks for a state not reached here"

static bool is_word_char(char c) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || (c != '\0' && strchr("._:/+=-", c) != NULL);
}

bool position_is_word(struct slice word) {
    for (size_t i = 0; i < word.len; i++)
        if (!is_word_char(word.ptr[i]))
            return false;
    return word.len > 0 && word.len <= POSITION_MAX;
}

/* A revision that no counter holds is one that is not reached, as any other of the future. */
static bool is_reached_here(struct kv *kv, struct slice word) {
    uint64_t wanted = 0;
    if (word.len < 2 || word.len > REVISION_DIGITS_MAX + 1 || word.ptr[0] != 'r')
        return false;
    for (size_t i = 1; i < word.len; i++) {
        unsigned digit = (unsigned)(uint8_t)word.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(wanted, 10U, &wanted) ||
            __builtin_add_overflow(wanted, digit, &wanted))
            return false;
    }
    return wanted <= kv_revision(kv);
}

enum err position_check(struct call *call) {
    struct kv *kv = call->core->kv;
    if (call->position.want.len == 0 || kv_is_remote(kv) ||
        is_reached_here(kv, call->position.want))
        return OK;
    return call_fail(call, ERR_UNAVAILABLE, NOT_REACHED);
}

static void gate_passed(struct engine_gate *gate) {
    struct call *call = gate->context;
    enum err err = gate->err ? call_fail(call, gate->err, NOT_REACHED) : call->op->run(call);
    if (err == ERR_PENDING)
        return;
    call->err = err;
    call->wake(call);
}

/* Reads of keys look at it themselves: a replica may answer them. */
static bool looks_itself(const struct call *call) {
    return (call->op->flags & (OP_WRITE | OP_BROKER | OP_WAITS)) == 0;
}

enum err position_check_first(struct call *call) {
    struct engine *engine = call->core->engine;
    enum err err = position_check(call);
    if (err || !engine || looks_itself(call))
        return err;
    struct engine_gate *gate = arena_alloc(call->arena, sizeof *gate);
    if (!gate)
        return ERR_OUT_OF_MEMORY;
    *gate = (struct engine_gate){.position = &call->position, .done = gate_passed, .context = call};
    return engine_pass_gate(engine, gate);
}

struct slice call_position(const struct call *call, char room[POSITION_MAX]) {
    const struct position *position = &call->position;
    struct kv *kv = call->core->kv;
    if (call->err == ERR_UNAVAILABLE) /* an engine that is behind tells where it is */
        return position->want;
    if (kv_is_remote(kv))
        return position->reached_len ? position_reached(position) : position->want;
    if (position->want.len && !is_reached_here(kv, position->want))
        return position->want;
    int len = snprintf(room, POSITION_MAX, "r%llu", (unsigned long long)kv_revision(kv));
    return slice_make(room, (size_t)len);
}
