/* SPDX-License-Identifier: MIT */
/* One JSON object a line on stderr; never a value, never a token. */
#ifndef HATI_BASE_LOG_H
#define HATI_BASE_LOG_H

#include <stdbool.h>

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* Lines below the level are dropped. Any thread. */
void log_set_level(enum log_level level);
bool log_level_parse(struct slice name, enum log_level *ret_level);
bool log_enabled(enum log_level level);

/* {"time":"…","level":"info","message":"…"} with the message made by printf, escaped, and cut at
 * 1000 bytes. One write per line, so lines of several threads do not mix. Any thread. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
