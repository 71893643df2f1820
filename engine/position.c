/* SPDX-License-Identifier: MIT */
/* The words of causal contexts. PostgreSQL: p<system>.<timeline>.<WAL position>, hexadecimal;
 * CockroachDB: c<logical timestamp>, which no read here needs (they are never stale). */
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"

struct place {
    uint64_t system_id;
    uint32_t timeline;
    uint64_t lsn;
};

static bool parse_hex(struct slice *text, unsigned digits, char behind, uint64_t *ret_number) {
    uint64_t number = 0;
    if (text->len < digits + (behind != 0) || (behind && text->ptr[digits] != behind))
        return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = text->ptr[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    text->ptr += digits + (behind != 0);
    text->len -= digits + (behind != 0);
    *ret_number = number;
    return true;
}

static bool parse(struct slice word, struct place *ret_place) {
    uint64_t timeline;
    if (word.len == 0 || word.ptr[0] != 'p')
        return false;
    word.ptr++;
    word.len--;
    if (!parse_hex(&word, 16, '.', &ret_place->system_id) || !parse_hex(&word, 8, '.', &timeline) ||
        !parse_hex(&word, 16, 0, &ret_place->lsn))
        return false;
    ret_place->timeline = (uint32_t)timeline;
    return word.len == 0;
}

static void put(struct position *position, const struct place *place) {
    int len = snprintf(position->reached, sizeof position->reached, "p%016llx.%08x.%016llx",
                       (unsigned long long)place->system_id, place->timeline,
                       (unsigned long long)place->lsn);
    position->reached_len = (uint8_t)len;
}

bool engine_ask_position(struct engine *engine, struct request *request,
                         const struct position *position) {
    const struct pool_identity *identity = pool_identity(engine->pool);
    if ((!position->ask && position->want.len == 0) || !identity->known || identity->is_yugabyte)
        return false;
    request_add(request, identity->is_postgres ? SQL_WAL_POSITION : SQL_HLC_POSITION, false);
    return true;
}

void engine_put_position(struct engine *engine, const struct request *request, unsigned step,
                         struct position *position) {
    const struct pool_identity *identity = pool_identity(engine->pool);
    const PGresult *result = request->steps[step].result;
    position->reached_len = 0;
    if (result_rows(result) != 1)
        return;
    struct place place = {identity->system_id, identity->timeline,
                          (uint64_t)result_int8(result, 0, 0)};
    switch (request->steps[step].number) {
    case SQL_WAL_POSITION:
        place.system_id = (uint64_t)result_int8(result, 0, 0);
        place.timeline = (uint32_t)result_int8(result, 0, 1);
        place.lsn = (uint64_t)result_int8(result, 0, 2);
        put(position, &place);
        return;
    case SQL_REPLAY_POSITION:
        put(position, &place);
        return;
    default: {
        struct slice text = result_bytes(result, 0, 0);
        if (text.len + 1 > sizeof position->reached)
            return;
        position->reached[0] = 'c';
        memcpy(position->reached + 1, text.ptr, text.len);
        position->reached_len = (uint8_t)(text.len + 1);
    }
    }
}

/* Behind a failover the numbers of the old timeline say nothing of the new one: with a synchronous
 * standby it has all that was answered. */
bool engine_position_holds(const struct engine *engine, const struct position *position) {
    const struct pool_identity *identity = pool_identity(engine->pool);
    struct place want, have;
    if (position->want.len == 0)
        return true;
    if (!identity->is_postgres)
        return position->want.ptr[0] == 'c';
    if (!parse(position->want, &want) || want.system_id != identity->system_id)
        return false;
    if (!parse(position_reached(position), &have))
        return true;
    return want.timeline < have.timeline ||
           (want.timeline == have.timeline && want.lsn <= have.lsn);
}

bool engine_replica_has(const struct engine *engine, int64_t replayed,
                        const struct position *position) {
    const struct pool_identity *identity = pool_identity(engine->pool);
    struct place want;
    return parse(position->want, &want) && want.system_id == identity->system_id &&
           want.timeline == identity->timeline && (int64_t)want.lsn <= replayed;
}

/* ---- what else carries a context than reads of keys ---- */

struct question {
    struct engine_gate *gate;
    struct engine *engine;
    struct request request;
};

static void end_question(struct question *question, enum err err) {
    struct engine_gate *gate = question->gate;
    request_done(&question->request);
    free(question);
    gate->position->reached_len = 0;
    gate->err = err;
    gate->done(gate);
}

static void on_position(struct request *request) {
    struct question *question = request->context;
    struct position *position = question->gate->position;
    bool holds = false;
    if (request->outcome == OUTCOME_OK) {
        engine_put_position(question->engine, request, 0, position);
        holds = engine_position_holds(question->engine, position);
    }
    end_question(question, holds ? OK : ERR_UNAVAILABLE);
}

void position_run_gate(struct engine *engine, struct work *work) {
    struct engine_gate *gate = work->gate;
    struct question *question = calloc(1, sizeof *question);
    int64_t deadline_ms = work->deadline_ms;
    free(work);
    if (!question) {
        gate->err = ERR_OUT_OF_MEMORY;
        gate->done(gate);
        return;
    }
    question->gate = gate;
    question->engine = engine;
    request_init(&question->request);
    question->request.done = on_position;
    question->request.context = question;
    question->request.deadline_ms = deadline_ms;
    if (engine_ask_position(engine, &question->request, gate->position))
        pool_send(engine->pool, &question->request);
    else
        end_question(question,
                     engine_position_holds(engine, gate->position) ? OK : ERR_UNAVAILABLE);
}

enum err engine_pass_gate(struct engine *engine, struct engine_gate *gate) {
    enum err err = engine_post(engine, WORK_GATE, gate);
    return err == ERR_PENDING ? err : (gate->err = err);
}
