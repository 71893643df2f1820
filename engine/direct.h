/* SPDX-License-Identifier: MIT */
/* A connection for what is done once, at a start or by a command: it blocks, within a deadline. */
#ifndef HATI_ENGINE_DIRECT_H
#define HATI_ENGINE_DIRECT_H

#include "base/err.h"
#include "engine/params.h"

struct direct {
    PGconn *conn;        /* NULL: none */
    int64_t deadline_ms; /* clock_steady_ms: nothing is waited for behind it */
    char sqlstate[6];    /* of the last failure; "": the connection was lost, or it took too long */
    char trouble[256];   /* the same for people: one line, no password */
};

/* What is wrong with a connection string, in words that quote nothing of it: libpq would name a
 * host or a port that is a part of a password. NULL: nothing. */
const char *direct_url_trouble(const char *url);

/* Connects to a primary, trying again until the deadline. ERR_SYNTAX: libpq does not take the url;
 * ERR_UNAVAILABLE. Trouble is filled, nothing is to be closed then. */
enum err direct_open(struct direct *direct, const char *url, int64_t deadline_ms) MUST_USE;
void direct_close(struct direct *direct);

/* Runs one statement, parameters (NULL: none) and results binary. The result, to be cleared with
 * PQclear; NULL where it failed, with sqlstate and trouble. A lost connection stays lost. */
PGresult *direct_run(struct direct *direct, const char *text, const struct params *params);
/* The last failure may pass by itself: another node at the same definitions or rows. */
bool direct_may_retry(const struct direct *direct);
bool direct_is_late(const struct direct *direct);
/* Sleeps a while, longer at later attempts, with jitter; not past the deadline. */
void direct_pause(const struct direct *direct, unsigned attempt);

#endif
