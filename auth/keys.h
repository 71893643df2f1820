/* SPDX-License-Identifier: MIT */
/* The set of keys that tokens are checked with: made, then only read, by many threads. */
#ifndef HATI_AUTH_KEYS_H
#define HATI_AUTH_KEYS_H

#include "auth/key.h"

#define KEYS_MAX 256      /* of a set */
#define KEYS_TRIED_MAX 16 /* for one token */
#define KEYS_LOOSE_MAX 16 /* of one file, without names: a token may be tried with them all */

struct keys {
    _Atomic unsigned holders;
    uint64_t generation; /* which of the sets of an auth it is; set by who shows it to others */
    unsigned count;
    struct key *list;
};

/* An empty set with one holder; NULL without memory. */
struct keys *keys_new(void);
/* Another holder of a set that one is held of. Any thread. */
struct keys *keys_hold(struct keys *keys);
/* The last holder wipes and frees. NULL is none. Any thread. */
void keys_drop(struct keys *keys);

/* Takes the key over, closed where it is there already. NULL, or a static line on why not, the key
 * closed then too. Only while nobody else holds the set. */
const char *keys_add_take(struct keys *keys, struct key *key);
/* The keys of both; either may be NULL. NULL without memory. */
struct keys *keys_merge(const struct keys *a, const struct keys *b);
/* The same keys in the same order. */
bool keys_equal(const struct keys *a, const struct keys *b);

/* Adds what the options name: secrets, PEMs, a document of keys. Nothing of it is kept on failure,
 * and one line is in ret_why. */
enum err keys_of_options(const struct auth_options *options, struct keys **ret_keys, char *ret_why,
                         size_t why_bytes) MUST_USE;

#endif
