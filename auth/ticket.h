/* SPDX-License-Identifier: MIT */
/* Tickets: for 30 s and one use, what a caller may do, in a word that may stand in a URL. Signed,
 * so that every node with the same secret takes it; that it is used once each node sees to for
 * itself.
 *
 *   base64url( version, random number, expiry, path's hash, grant, HMAC-SHA-256 of all that )
 */
#ifndef HATI_AUTH_TICKET_H
#define HATI_AUTH_TICKET_H

#include "auth/auth.h"

struct tickets;

/* NULL without memory. The first secret signs, both are taken; without any, only tickets of this
 * process are. */
struct tickets *tickets_open(struct slice secret, struct slice old_secret);
void tickets_close(struct tickets *tickets);
/* Other secrets from now on. Any thread. */
void tickets_rekey(struct tickets *tickets, struct slice secret, struct slice old_secret);

/* A ticket for what the grant allows; path: only there, empty: anywhere. NUL-ended.
 * ERR_OUT_OF_MEMORY, ret_ticket untouched. Any thread. */
enum err ticket_make(struct tickets *tickets, const struct auth_grant *grant, struct slice path,
                     int64_t now_ms, char ret_ticket[AUTH_TICKET_MAX]) MUST_USE;
/* Uses one up. ERR_AUTH_REQUIRED for every kind of bad ticket; ERR_UNAVAILABLE where too many were
 * used of late. Any thread. */
enum err ticket_take(struct tickets *tickets, struct slice ticket, struct slice path,
                     int64_t now_ms, struct auth_grant *ret_grant) MUST_USE;

#endif
