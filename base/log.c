/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"

#define MESSAGE_BYTES 1000

static _Atomic int lowest = LOG_INFO;
static const char *const names[] = {"debug", "info", "warn", "error", "off"};

void log_set_level(enum log_level level) {
    atomic_store_explicit(&lowest, (int)level, memory_order_relaxed);
}

bool log_level_parse(struct slice name, enum log_level *ret_level) {
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_equal_nocase(name, slice_of_cstr(names[i]))) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level) {
    return (int)level >= atomic_load_explicit(&lowest, memory_order_relaxed);
}

void log_write(enum log_level level, const char *format, ...) {
    if (!log_enabled(level) || level >= LOG_OFF)
        return;
    char message[MESSAGE_BYTES + 1];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (len < 0)
        return;
    size_t used = (size_t)len < sizeof message ? (size_t)len : sizeof message - 1;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm parts;
    gmtime_r(&now.tv_sec, &parts);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
    struct buf line;
    buf_init(&line, (size_t)8 * MESSAGE_BYTES);
    buf_printf(&line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"message\":", stamp,
               now.tv_nsec / 1000000, names[level]);
    text_append_json(&line, slice_make(message, used));
    buf_append(&line, SLICE("}\n"));
    if (!line.failed && write(STDERR_FILENO, line.ptr, line.len) < 0) {
        /* nowhere left to say so */
    }
    buf_done(&line);
}
