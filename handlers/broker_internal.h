/* SPDX-License-Identifier: MIT */
/* What the broker's operations share. */
#ifndef HATI_HANDLERS_BROKER_INTERNAL_H
#define HATI_HANDLERS_BROKER_INTERNAL_H

#include "handlers/ops.h"

/* Makes the call's op as its arguments say. */
struct broker_op *broker_op_of_args(struct call *call, enum broker_action action);

/* Submits ops that live as long as the call. finish puts the outcome into call->reply and
 * call->err; it may run on any thread beside other calls of the same arena, so it takes no memory
 * from it. */
enum err broker_submit_ops(struct call *call, struct broker_op *ops_of_write, unsigned count,
                           void (*finish)(struct call *call)) MUST_USE;
/* The same with the call's op. */
enum err broker_submit_one(struct call *call, enum broker_action action,
                           void (*finish)(struct call *call)) MUST_USE;

/* Asks a remote broker (broker_is_remote): ERR_PENDING, then done on any thread, which may take
 * memory from the call's arena and ends in broker_tell; or the failure. question: what of a query
 * says what is asked. */
enum err broker_ask_later(struct call *call, const struct broker_query *question,
                          void (*done)(struct broker_query *query)) MUST_USE;
/* The call that answered ERR_PENDING is finished so, and woken; with ERR_PENDING it goes on, and
 * may be gone already. */
void broker_tell(struct call *call, enum err err);

/* Whether the parameter of this name was given. */
bool broker_given(const struct call *call, struct slice name);

/* Bytes that {"id":…,"queues":…} takes at most, with an id of so many bytes. */
#define BROKER_PUBLISHED_BYTES(id_len) (48 + 2 * (size_t)(id_len))
/* Bytes of {"error":…} at most. */
#define BROKER_ERROR_BYTES 256
/* Bytes of {"dropped":n} and the like at most. */
#define BROKER_COUNTED_BYTES 48

/* Each writes where there is room for the bytes above, and returns their end. */
char *broker_write_published(char *to, const struct broker_op *op);
char *broker_write_error(char *to, enum err err, const char *detail);
char *broker_write_counted(char *to, const char *word, uint64_t count);

#endif
