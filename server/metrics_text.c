/* SPDX-License-Identifier: MIT */
#include "server/metrics_text.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000U

static const struct {
    const char *name;
    enum family_type type;
    const char *unit, *help;
} families[FAMILY_COUNT] = {
#define X(name, type, unit, help) {#name, FAMILY_##type, unit, help},
    FAMILY_LIST(X)
#undef X
};

static const char *const type_words[] = {"counter", "gauge", "histogram", "info"};

static void append(struct page *page, const char *text) {
    buf_append(page->to, slice_of_cstr(text));
}

static const char *suffix_of(enum family family) {
    enum family_type type = families[family].type;
    return type == FAMILY_COUNTER ? "_total" : type == FAMILY_INFO ? "_info" : "";
}

/* Prometheus text knows no infos, and its counters are named as their samples are. */
void page_family(struct page *page, enum family family) {
    enum family_type type = families[family].type;
    const char *name = families[family].name;
    const char *behind = page->openmetrics ? "" : suffix_of(family);
    const char *word = type_words[type];
    if (!page->openmetrics && type == FAMILY_INFO)
        word = "gauge";
    page->family = family;
    buf_printf(page->to, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, behind, families[family].help,
               name, behind, word);
    if (page->openmetrics && families[family].unit[0])
        buf_printf(page->to, "# UNIT %s %s\n", name, families[family].unit);
}

void page_begin(struct page *page, const char *suffix) {
    append(page, families[page->family].name);
    append(page, suffix_of(page->family));
    append(page, suffix);
    page->labelled = false;
}

/* Both formats escape the same three. */
static void append_escaped(struct buf *to, struct slice value) {
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"')
            buf_append_char(to, '\\');
        if (c == '\n')
            buf_append(to, SLICE("\\n"));
        else
            buf_append_char(to, c);
    }
}

void page_label(struct page *page, const char *name, struct slice value) {
    buf_append_char(page->to, page->labelled ? ',' : '{');
    page->labelled = true;
    append(page, name);
    buf_append(page->to, SLICE("=\""));
    append_escaped(page->to, value);
    buf_append_char(page->to, '"');
}

static void end_labels(struct page *page) {
    buf_append(page->to, page->labelled ? SLICE("} ") : SLICE(" "));
}

void page_number(struct page *page, uint64_t value) {
    end_labels(page);
    buf_append_u64(page->to, value);
    buf_append_char(page->to, '\n');
}

void page_seconds(struct page *page, uint64_t ns) {
    end_labels(page);
    buf_printf(page->to, "%llu.%09u\n", (unsigned long long)(ns / NS_PER_S),
               (unsigned)(ns % NS_PER_S));
}

void page_single(struct page *page, enum family family, uint64_t value) {
    page_family(page, family);
    page_begin(page, "");
    page_number(page, value);
}

/* As OpenMetrics wants bounds: shortest, and always a float. */
static struct slice format_bound(char text[32], uint64_t bound, bool seconds) {
    double value = seconds ? (double)bound / NS_PER_S : (double)bound;
    int len = snprintf(text, 32, "%.6g", value);
    if (!strpbrk(text, ".e"))
        len += snprintf(text + len, 32 - (size_t)len, ".0");
    return slice_make(text, (size_t)len);
}

static void begin_labelled(struct page *page, const char *suffix, const struct page_label *labels) {
    page_begin(page, suffix);
    for (; labels->name; labels++)
        page_label(page, labels->name, slice_of_cstr(labels->value));
}

void page_histogram(struct page *page, const struct page_label *labels,
                    const struct metrics_bounds *bounds, const struct metrics_counts *counts) {
    bool seconds = strcmp(families[page->family].unit, "seconds") == 0;
    uint64_t count = 0;
    char text[32];
    for (unsigned i = 0; i <= bounds->count; i++) {
        bool last = i == bounds->count;
        count += counts->buckets[i];
        begin_labelled(page, "_bucket", labels);
        page_label(page, "le", last ? SLICE("+Inf") : format_bound(text, bounds->at[i], seconds));
        page_number(page, count);
    }
    begin_labelled(page, "_sum", labels);
    if (seconds)
        page_seconds(page, counts->sum);
    else
        page_number(page, counts->sum);
    begin_labelled(page, "_count", labels);
    page_number(page, count);
}

void page_end(struct page *page) {
    if (page->openmetrics)
        append(page, "# EOF\n");
}
