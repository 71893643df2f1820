/* SPDX-License-Identifier: MIT */
/* Messages that stand in replies not yet sent: their broker hears whether they were. The loop's
 * thread only. */
#ifndef HATI_SERVER_LINE_HELD_H
#define HATI_SERVER_LINE_HELD_H

#include "handlers/call.h"

struct line_loop;

struct line_held {
    struct line_held *next;
    struct broker_receive receive; /* come back, with messages */
};

/* Takes over what a receive holds that was rendered to the loop's out; the next flush decides. */
void line_held_add(struct line_loop *loop, const struct broker_receive *receive);
/* The same for a call that was rendered without an error. */
void line_held_add_call(struct line_loop *loop, struct call *call);
/* Lets go of the messages, or gives them back where they were not sent. */
void line_held_release(struct line_loop *loop, struct line_held *list, bool was_sent);
/* Frees the spare ones. */
void line_held_close(struct line_loop *loop);

#endif
