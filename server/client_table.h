/* SPDX-License-Identifier: MIT */
/* What is known of clients that are limited: how much of their allowance is used up, how many
 * connections and requests they have open. Bounded memory: CLIENT_TABLE_MAX clients.
 *
 * An allowance is a bucket of tokens, kept as the time at which it will be full again (GCRA, ITU-T
 * I.371): one number, no timer, and what is in the past says nothing any more. So a client with
 * full buckets and nothing open can be forgotten without a loss. Where there are only others, the
 * one that is full again first makes room, and whoever comes new to its part of the table begins
 * with as much debt as it had: nobody gets rid of a debt by flooding the table.
 */
#ifndef HATI_SERVER_CLIENT_TABLE_H
#define HATI_SERVER_CLIENT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/address.h"

#define CLIENT_TABLE_MAX 65536U /* clients; 5 MB, taken at the start */

/* Whom it is about: an address (address_of_client), or a token's subject. */
struct client_key {
    uint8_t bytes[ADDRESS_BYTES];
    bool is_subject;
};

enum client_bucket { CLIENT_REQUESTS, CLIENT_BYTES, CLIENT_BUCKETS };

/* So much per unit_ns, and burst at once. per = 0: no limit. */
struct client_allowance {
    uint64_t per, burst;
    int64_t unit_ns;
};

struct client_rest {
    uint64_t left;         /* of the burst, now */
    int64_t full_in_ns;    /* until all of it is there again */
    int64_t another_in_ns; /* until there is one; 0: there is */
};

struct client_table;

/* NULL without memory. */
struct client_table *client_table_open(void);
/* Nothing is held. NULL is fine. */
void client_table_close(struct client_table *table);

/* Takes n tokens. False where there are not so many: none is taken then. ret_rest is filled either
 * way. now_ns: steady clock. Any thread; never blocks for long. */
bool client_table_take(struct client_table *table, const struct client_key *key,
                       enum client_bucket bucket, const struct client_allowance *allowance,
                       uint64_t n, int64_t now_ns, struct client_rest *ret_rest);
/* Takes n tokens whether they are there or not: what is missing has to come first. Any thread. */
void client_table_owe(struct client_table *table, const struct client_key *key,
                      enum client_bucket bucket, const struct client_allowance *allowance,
                      uint64_t n, int64_t now_ns);
/* The same as a take of nothing: true where there is one token at least. Any thread. */
bool client_table_look(struct client_table *table, const struct client_key *key,
                       enum client_bucket bucket, const struct client_allowance *allowance,
                       int64_t now_ns, struct client_rest *ret_rest);

enum client_held { CLIENT_CONNECTIONS, CLIENT_CALLS, CLIENT_HELDS };

/* One more of what a client has open; false, nothing changed, where it has max already (0: no
 * limit), or where the table is full of clients that have something open. Any thread. */
bool client_table_hold(struct client_table *table, const struct client_key *key,
                       enum client_held what, unsigned max, int64_t now_ns);
/* Once for each hold. */
void client_table_let_go(struct client_table *table, const struct client_key *key,
                         enum client_held what);

/* How many clients are known. Any thread. */
unsigned client_table_count(struct client_table *table);

#endif
