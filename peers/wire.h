/* SPDX-License-Identifier: MIT */
/* What hati nodes say to each other on an Olivia door, beyond what Olivia knows. Each line may have
 * a hash before it, as every Olivia request; an Olivia node answers `Invalid command sent in.` to
 * the first, and is spoken to in its own words from then on.
 *
 *   REQUEST HATI:1:<host:port or ->      FULFILLED hati:1:<node id>
 *   REQUEST PULSE:<epoch>:<sequence>     FULFILLED <epoch>:<sequence>:<last>:<keys>:<bits>:<hashes>
 *                                        hashes `-`: ask for the whole filter of that epoch
 *   REQUEST FILTER:<epoch>:<offset>      FULFILLED <epoch>:<offset>:<bytes>, bytes `-`: none
 *   FETCH <key>                          FETCHED <ttl-ms>:<type>:<value>, or FETCHED -
 *
 * Numbers are decimal, under 2^63; hashes, bytes, key, type and value are base64url. <sequence> of
 * an answer is that of the last hash in it, <last> the newest there is. Does no I/O. Any thread. */
#ifndef HATI_PEERS_WIRE_H
#define HATI_PEERS_WIRE_H

#include "base/slice.h"

/* A line of the other side, taken apart: slices point into it. */
struct wire_reply {
    struct slice hash; /* before the first colon; empty: none */
    struct slice word; /* FULFILLED, GOT, FETCHED, PONG, ...; empty where there is none */
    struct slice rest; /* behind the word's space */
};

/* False where the line is no reply of that form, as `[]Invalid command sent in.` is none. */
bool wire_parse_reply(struct slice line, struct wire_reply *ret_reply);

/* Takes the next field off a rest whose fields are parted by colons; false at its end. */
bool wire_take_field(struct slice *rest, struct slice *ret_field);
bool wire_take_u64(struct slice *rest, uint64_t *ret_number);

#endif
