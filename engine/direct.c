/* SPDX-License-Identifier: MIT */
#include "engine/direct.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

#define PAUSE_MIN_MS 20U
#define PAUSE_MAX_MS 500U

static int64_t left_ms(const struct direct *direct) {
    int64_t left = direct->deadline_ms - clock_steady_ms();
    return left > 0 ? left : 0;
}

bool direct_is_late(const struct direct *direct) {
    return left_ms(direct) == 0;
}

void direct_pause(const struct direct *direct, unsigned attempt) {
    uint32_t jitter;
    hash_random(&jitter, sizeof jitter);
    unsigned most = attempt < 5 ? PAUSE_MIN_MS << attempt : PAUSE_MAX_MS;
    int64_t pause_ms = most / 2 + jitter % (most / 2 + 1);
    if (pause_ms > left_ms(direct))
        pause_ms = left_ms(direct);
    poll(NULL, 0, (int)pause_ms);
}

/* The password may stand in a message that quotes what it was given. */
static void hide(char *in, const char *secret) {
    size_t len = secret ? strlen(secret) : 0;
    for (char *at = in; len && (at = strstr(at, secret)) != NULL; at += len)
        memset(at, '*', len);
}

static void note_trouble(struct direct *direct, const char *message) {
    size_t len = strcspn(message, "\n");
    snprintf(direct->trouble, sizeof direct->trouble, "%.*s", len > 250 ? 250 : (int)len, message);
    hide(direct->trouble, direct->conn ? PQpass(direct->conn) : NULL);
}

static void note_lost(struct direct *direct, const char *why) {
    direct->sqlstate[0] = 0;
    note_trouble(direct, why);
}

static void swallow_notice(void *context, const char *message) {
    (void)context, (void)message;
}

/* libpq's own wait for a host ends only by this setting of its. */
static enum err connect_once(struct direct *direct, const char *url) {
    char wait_s[24];
    int64_t each_s = left_ms(direct) / 1000;
    snprintf(wait_s, sizeof wait_s, "%lld",
             (long long)(each_s < 2    ? 2
                         : each_s > 10 ? 10
                                       : each_s));
    const char *const names[] = {"target_session_attrs", "fallback_application_name", "dbname",
                                 "connect_timeout", NULL};
    const char *const values[] = {"read-write", "hati", url, wait_s, NULL};
    direct->conn = PQconnectdbParams(names, values, 1);
    if (!direct->conn) {
        note_lost(direct, "out of memory");
        return ERR_UNAVAILABLE;
    }
    if (PQstatus(direct->conn) == CONNECTION_OK) {
        PQsetNoticeProcessor(direct->conn, swallow_notice, NULL);
        return OK;
    }
    note_lost(direct, PQerrorMessage(direct->conn));
    direct_close(direct);
    return ERR_UNAVAILABLE;
}

static bool is_list_of_ports(const char *value) {
    return value[strspn(value, "0123456789, ")] == '\0';
}

/* A host of UNIX sockets without a file may begin with an @. */
static bool holds_an_at(const char *host) {
    for (const char *at = strchr(host, '@'); at; at = strchr(at + 1, '@'))
        if (at != host && at[-1] != ',')
            return true;
    return false;
}

const char *direct_url_trouble(const char *url) {
    const char *trouble = NULL;
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &message);
    bool is_starved = !options && (!message || strstr(message, "out of memory"));
    PQfreemem(message);
    if (!options)
        return is_starved ? "no memory" : "the connection string is none that libpq takes";
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val)
            continue;
        if (!strcmp(option->keyword, "port") && !is_list_of_ports(option->val))
            trouble = "the connection string has a port that is no number (a / or : of a password"
                      " is written %2F or %3A)";
        if (!strcmp(option->keyword, "host") && holds_an_at(option->val))
            trouble = "the connection string has a host with an @ in it (an @ of a password is"
                      " written %40)";
    }
    PQconninfoFree(options);
    return trouble;
}

enum err direct_open(struct direct *direct, const char *url, int64_t deadline_ms) {
    *direct = (struct direct){.deadline_ms = deadline_ms};
    const char *trouble = direct_url_trouble(url);
    if (trouble) {
        note_lost(direct, trouble);
        return ERR_SYNTAX;
    }
    enum err err = connect_once(direct, url);
    for (unsigned attempt = 0; err && !direct_is_late(direct); attempt++) {
        direct_pause(direct, attempt);
        err = connect_once(direct, url);
    }
    return err;
}

void direct_close(struct direct *direct) {
    if (direct->conn)
        PQfinish(direct->conn);
    direct->conn = NULL;
}

/* Until the socket has something, or takes something. */
static bool wait_for(struct direct *direct, short events) {
    struct pollfd fd = {.fd = PQsocket(direct->conn), .events = events};
    int64_t left;
    while ((left = left_ms(direct)) > 0) {
        int ready = poll(&fd, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
    return false;
}

static bool send_statement(struct direct *direct, const char *text, const struct params *params) {
    const char *values[PARAMS_MAX];
    int formats[PARAMS_MAX];
    unsigned count = params ? params->count : 0;
    for (unsigned i = 0; i < count; i++) {
        values[i] = params->lengths[i] < 0 ? NULL : params->bytes.ptr + params->starts[i];
        formats[i] = 1;
    }
    return PQsendQueryParams(direct->conn, text, (int)count, NULL, values,
                             params ? params->lengths : NULL, formats, 1) == 1;
}

static bool await_result(struct direct *direct) {
    int rest;
    while ((rest = PQflush(direct->conn)) > 0)
        if (!wait_for(direct, POLLOUT | POLLIN) || !PQconsumeInput(direct->conn))
            return false;
    if (rest < 0)
        return false;
    while (PQisBusy(direct->conn))
        if (!wait_for(direct, POLLIN) || !PQconsumeInput(direct->conn))
            return false;
    return true;
}

static PGresult *judge(struct direct *direct, PGresult *result) {
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    note_trouble(direct, message ? message : PQresultErrorMessage(result));
    snprintf(direct->sqlstate, sizeof direct->sqlstate, "%.5s", sqlstate ? sqlstate : "");
    PQclear(result);
    return NULL;
}

PGresult *direct_run(struct direct *direct, const char *text, const struct params *params) {
    if (!direct->conn) {
        note_lost(direct, "the connection was lost");
        return NULL;
    }
    if (params && params_failed(params)) {
        note_lost(direct, "out of memory");
        return NULL;
    }
    if (!send_statement(direct, text, params) || !await_result(direct)) {
        note_lost(direct, direct_is_late(direct) ? "the database took too long"
                                                 : PQerrorMessage(direct->conn));
        direct_close(direct);
        return NULL;
    }
    PGresult *result = PQgetResult(direct->conn);
    PGresult *rest;
    while (result && (rest = PQgetResult(direct->conn)) != NULL)
        PQclear(rest);
    if (result)
        return judge(direct, result);
    note_lost(direct, PQerrorMessage(direct->conn));
    direct_close(direct);
    return NULL;
}

bool direct_may_retry(const struct direct *direct) {
    /* unique violation (of a catalog), duplicate schema, table and object, serialization, deadlock,
     * "tuple concurrently updated" */
    static const char *const states[] = {"23505", "42P06", "42P07", "42710",
                                         "40001", "40P01", "XX000"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(direct->sqlstate, states[i]) == 0)
            return true;
    return false;
}
