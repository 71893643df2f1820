/* SPDX-License-Identifier: MIT */
/* The scope claim: space-parted rules, `kv:read` or `kv:read:<pattern>`. */
#ifndef HATI_AUTH_SCOPE_H
#define HATI_AUTH_SCOPE_H

#include "auth/auth.h"

/* Sets has_scope and the rules of the grant. Words of other systems allow nothing and are passed
 * over; false on a rule of ours with an empty or too long pattern, a `*` before its end, or more
 * rules than fit. Any thread. */
bool scope_read(struct slice scope, struct auth_grant *grant);

#endif
