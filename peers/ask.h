/* SPDX-License-Identifier: MIT */
/* Questions on their way: whom to ask next, and what came back. The peers' thread only. */
#ifndef HATI_PEERS_ASK_H
#define HATI_PEERS_ASK_H

#include "peers/peers.h"

#define ASK_AT_ONCE 3U

/* What the peers' thread keeps of a question. It outlives it: answers may come late. */
struct ask {
    struct peers_question *question; /* NULL: it is over */
    int64_t deadline_ms;
    unsigned waits; /* peers that have not answered */
    bool late;      /* it ended at its deadline */
    struct ask *next, *prev;
};

/* Takes all that were put to the thread. */
void ask_take_inbox(struct peers *peers);
/* Those whose deadline came are over. */
void ask_expire(struct peers *peers);
/* All are over. */
void ask_end_all(struct peers *peers);
/* Frees what is kept for the next questions. */
void ask_free_spare(struct peers *peers);

/* What one peer answered: each may free the ask. */
void ask_answered_no(struct peers *peers, struct ask *ask);
/* It did not answer, or not the question: nobody knows whether it has the key. */
void ask_not_answered(struct peers *peers, struct ask *ask);

struct ask_found {
    struct slice value;
    bool is_base64url; /* the value is written so */
    struct slice type;
    int64_t ttl_ms; /* 0: never expires */
};

/* It has the key: copied where the question still wants it. False, and as ask_not_answered, where
 * the value is no base64url. */
bool ask_found(struct peers *peers, struct ask *ask, const struct ask_found *found);

#endif
