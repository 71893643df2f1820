/* SPDX-License-Identifier: MIT */
/* Causal contexts of calls: a call with one never sees, or changes, an older state than it names.
 *
 * A word of a store that is here is `r<revision>`, the newest revision of hdd; it is judged in one
 * place, before the operation runs. Words of an engine are the engine's to judge. */
#ifndef HATI_HANDLERS_POSITION_H
#define HATI_HANDLERS_POSITION_H

#include "handlers/call.h"

/* Could some store have given this word? 1 to POSITION_MAX letters, digits and ._:/+=- . One that
 * could, but not by the store at hand, is a state that is not reached. Any thread. */
bool position_is_word(struct slice word);

/* Where the stores are here: ERR_UNAVAILABLE, with the failure in the call, as long as they have
 * not come as far as call->position.want says. OK where it is empty, or an engine judges. Any
 * thread; never waits. */
enum err position_check(struct call *call) MUST_USE;
/* The same for call_run: where an engine has to be asked, ERR_PENDING, and the operation is run
 * from its thread. */
enum err position_check_first(struct call *call) MUST_USE;

/* A state that has everything a finished call wanted, saw or did: its word, in the call or in
 * `room`. What it wanted where nothing else is known; empty where it wanted nothing either. */
struct slice call_position(const struct call *call, char room[POSITION_MAX]);

#endif
