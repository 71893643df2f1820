/* SPDX-License-Identifier: MIT */
/* Opens the tracer as the configuration and OpenTelemetry's variables say. */
#ifndef HATI_SERVER_TRACING_H
#define HATI_SERVER_TRACING_H

#include "server/config.h"
#include "trace/tracer.h"

#define TRACING_FLUSH_MS 3000 /* for spans, when the server stops */

/* NULL in ret_tracer where no collector is named. One line in ret_why on failure. */
enum err tracing_open(const struct config *config, struct tracer **ret_tracer, char *ret_why,
                      size_t why_bytes) MUST_USE;

#endif
