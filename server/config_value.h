/* SPDX-License-Identifier: MIT */
/* From the text of a setting to its value. */
#ifndef HATI_SERVER_CONFIG_VALUE_H
#define HATI_SERVER_CONFIG_VALUE_H

#include "server/config.h"

/* Each returns NULL and fills ret, or says what was expected ("a port from 0 to 65535"), ret
 * untouched. Static texts. Any thread. */

/* Digits and a point, from 0 to 1. */
const char *config_value_share(const char *value, double *ret_share);
/* true false yes no on off 1 0. */
const char *config_value_bool(const char *text, bool *ret);
const char *config_value_port(const char *text, unsigned *ret);
/* A whole number from min to max. */
const char *config_value_count(const char *text, unsigned min, unsigned max, unsigned *ret);
/* Milliseconds, or a number with ms, s, m or h behind it; at most a hundred years. */
const char *config_value_ms(const char *text, int64_t *ret);
/* Bytes, or a number with k, m or g (kb, kib, …; powers of 1024) behind it; at most 2^50. */
const char *config_value_bytes(const char *text, uint64_t *ret);
/* commit (0), or interval:<ms>. */
const char *config_value_durability(const char *text, int64_t *ret);
const char *config_value_eviction(const char *text, enum kv_eviction *ret);
const char *config_value_level(const char *text, enum log_level *ret);
/* A count, and /s, /m or /h behind it (a second where nothing is); 0: no limit. */
const char *config_value_rate(const char *text, struct config_rate *ret);
const char *config_value_uuid(const char *text, struct uuid *ret);
/* `*`, or scheme://host with an optional port. */
const char *config_value_origin(const char *text);
/* /part, or several, of letters, digits and -._~, without a slash at its end; at most 255 bytes. */
const char *config_value_path(const char *text);
/* auto, on or off. */
const char *config_value_prepare(const char *text, enum engine_prepare *ret);
/* A URL of PostgreSQL, or `name=value …`, as libpq takes them; it may hold a password. */
const char *config_value_database(const char *text);
/* The name of a schema. */
const char *config_value_schema(const char *text);
/* host:port; an IPv6 address in brackets. */
const char *config_value_address(const char *text);

#endif
