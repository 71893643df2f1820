/* SPDX-License-Identifier: MIT */
#include "server/tracing.h"

#include <stdio.h>
#include <stdlib.h>

#define INTERVAL_MS 1000
#define INTERVAL_MAX_MS 60000

/* OpenTelemetry's own variable; empty is as if it were not set. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static bool is_switched_off(void) {
    const char *value = variable("OTEL_SDK_DISABLED");
    return value && slice_equal_nocase(slice_of_cstr(value), SLICE("true"));
}

/* What is no number of ms is as if it were not set. */
static int64_t read_interval(void) {
    const char *value = variable("OTEL_BSP_SCHEDULE_DELAY");
    int64_t interval_ms;
    if (!value || !slice_parse_i64(slice_of_cstr(value), &interval_ms) || interval_ms < 1 ||
        interval_ms > INTERVAL_MAX_MS)
        return INTERVAL_MS;
    return interval_ms;
}

/* Ours in place of OpenTelemetry's. */
static const char *read_headers(const struct config *config, struct trace_pairs *to) {
    const char *list = variable("OTEL_EXPORTER_OTLP_HEADERS");
    const char *wrong = config->otlp_headers.text
                            ? trace_pairs_add_lines(to, config->otlp_headers.text)
                        : list ? trace_pairs_add_list(to, list)
                               : NULL;
    return wrong ? wrong : trace_pairs_check_headers(to);
}

enum err tracing_open(const struct config *config, struct tracer **ret_tracer, char *ret_why,
                      size_t why_bytes) {
    struct trace_pairs headers = {0};
    struct trace_pairs attributes = {0};
    const char *list = variable("OTEL_RESOURCE_ATTRIBUTES");
    if (!config->otlp_endpoint || is_switched_off())
        return OK;
    struct trace_options options = {
        .endpoint = config->otlp_endpoint,
        .service = config->otlp_service ? config->otlp_service : "hati",
        .version = HATI_VERSION,
        .ca_file = config->otlp_ca,
        .interval_ms = read_interval(),
        .sample = config->otlp_sample,
        .headers = &headers,
        .attributes = &attributes,
    };
    const char *what = "otlp-headers-file";
    const char *wrong = read_headers(config, &headers);
    if (!wrong && list) {
        what = "OTEL_RESOURCE_ATTRIBUTES";
        wrong = trace_pairs_add_list(&attributes, list);
    }
    enum err err = wrong ? ERR_SYNTAX : trace_open(&options, ret_tracer, ret_why, why_bytes);
    if (wrong)
        snprintf(ret_why, why_bytes, "%s: %s", what, wrong);
    trace_pairs_done(&headers);
    trace_pairs_done(&attributes);
    return err;
}
