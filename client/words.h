/* SPDX-License-Identifier: MIT */
/* The words of a line as it was typed. */
#ifndef HATI_CLIENT_WORDS_H
#define HATI_CLIENT_WORDS_H

#include "base/arena.h"

struct word {
    struct slice text;
    bool quoted; /* it stood in quotes, so that @ has no meaning in it */
};

enum words_result {
    WORDS_TAKEN,
    WORDS_END,      /* nothing but spaces was left */
    WORDS_UNCLOSED, /* a quote has no end, or something sticks to it */
    WORDS_ESCAPE,   /* a \ with something behind it that means nothing */
    WORDS_MEMORY
};

/* Takes the next word off rest, and one space behind it. What was quoted is decoded into the
 * arena; ret_word is touched by TAKEN alone. Any thread. */
enum words_result words_take(struct slice *rest, struct arena *arena, struct word *ret_word);

/* All of rest as one word: quoted where one quote opens at its front and closes at its end, else
 * every byte as it stands. Never END. */
enum words_result words_take_rest(struct slice rest, struct arena *arena, struct word *ret_word);

/* What went wrong, for people; static. */
const char *words_why(enum words_result result);

#endif
