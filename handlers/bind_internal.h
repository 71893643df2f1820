/* SPDX-License-Identifier: MIT */
/* What the files that bind share. */
#ifndef HATI_HANDLERS_BIND_INTERNAL_H
#define HATI_HANDLERS_BIND_INTERNAL_H

#include "handlers/bind.h"

static inline const struct param *bind_param_of(const struct call *call, unsigned index) {
    return &call->op->params[index];
}

/* The field of a parameter, which is given from here on. */
static inline void *bind_field_of(struct call *call, unsigned index) {
    call->args.given |= 1U << index;
    return (char *)&call->args + bind_param_of(call, index)->at;
}

static inline void bind_put_slice(struct call *call, unsigned index, struct slice value) {
    memcpy(bind_field_of(call, index), &value, sizeof value);
}

/* Room for one more of a list that grows by doubling inside the arena; NULL: none. */
void *bind_list_room(struct call *call, void *list, unsigned count, size_t item_bytes);

enum err bind_name(struct call *call, unsigned index, struct slice text) MUST_USE;
enum err bind_routing(struct call *call, unsigned index, struct slice text) MUST_USE;
enum err bind_choice(struct call *call, unsigned index, struct slice text) MUST_USE;
enum err bind_headers(struct call *call, unsigned index, struct slice text) MUST_USE;
/* `name=value` words, each bound as the row's parameter of that name. */
enum err bind_settings(struct call *call, unsigned index, struct slice text) MUST_USE;

#endif
