/* SPDX-License-Identifier: MIT */
/* Parsing JSON where memory may end: jansson (to 2.14) goes on with half a string where it could
 * not grow its buffer, and reads and writes behind its end. Here the first allocation that fails
 * ends the parse. */
#ifndef HATI_BASE_JSON_LOAD_H
#define HATI_BASE_JSON_LOAD_H

#include <jansson.h>

#include "base/slice.h"

/* As json_loadb. NULL with json_error_out_of_memory in ret_error (which may be NULL) where there
 * was no memory; nothing is leaked. Any thread. */
json_t *json_load_slice(struct slice text, size_t flags, json_error_t *ret_error);

#endif
