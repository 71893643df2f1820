/* SPDX-License-Identifier: MIT */
#include "trace/record.h"

#include "base/text.h"

#define FLAG_SAMPLED 1U
#define FLAG_HAS_REMOTE 0x100U
#define FLAG_IS_REMOTE 0x200U

/* Not within a character: what is behind the cut would be no UTF-8. */
static size_t cut(struct slice text, size_t room) {
    size_t len = text.len < room ? text.len : room;
    while (len && len < text.len && ((uint8_t)text.ptr[len] & 0xC0) == 0x80)
        len--;
    return len;
}

static uint16_t keep(struct trace_record *record, struct slice text, uint16_t *ret_len) {
    uint16_t at = record->text_len;
    *ret_len = (uint16_t)cut(text, TRACE_TEXT_BYTES - at);
    if (*ret_len)
        memcpy(record->text + at, text.ptr, *ret_len);
    record->text_len = (uint16_t)(at + *ret_len);
    return at;
}

static struct trace_attribute *next_attribute(struct trace_record *record, const char *key) {
    if (record->attribute_count == TRACE_ATTRIBUTES_MAX) {
        record->dropped_attributes++;
        return NULL;
    }
    struct trace_attribute *attribute = &record->attributes[record->attribute_count++];
    *attribute = (struct trace_attribute){.key = key};
    return attribute;
}

void trace_record_text(struct trace_record *record, const char *key, struct slice text) {
    struct trace_attribute *attribute = record ? next_attribute(record, key) : NULL;
    if (!attribute)
        return;
    attribute->is_text = true;
    attribute->text_at = keep(record, text, &attribute->text_len);
}

void trace_record_number(struct trace_record *record, const char *key, int64_t number) {
    struct trace_attribute *attribute = record ? next_attribute(record, key) : NULL;
    if (attribute)
        attribute->number = number;
}

void trace_record_link(struct trace_record *record, const struct trace_context *context) {
    if (!record)
        return;
    if (record->link_count == TRACE_LINKS_MAX)
        record->dropped_links++;
    else
        record->links[record->link_count++] = *context;
}

void trace_record_name(struct trace_record *record, struct slice name) {
    if (record)
        record->name_at = keep(record, name, &record->name_len);
}

void trace_record_state(struct trace_record *record, struct slice state) {
    if (record && state.len <= TRACE_TEXT_BYTES - record->text_len)
        record->state_at = keep(record, state, &record->state_len);
}

static void append_id(struct buf *to, const char *name, const uint8_t *id, size_t len) {
    buf_append(to, slice_of_cstr(name));
    buf_append_char(to, '"');
    buf_append_hex(to, id, len);
    buf_append_char(to, '"');
}

static void append_key(struct buf *to, struct slice key) {
    buf_append(to, SLICE("{\"key\":"));
    text_append_json(to, key);
    buf_append(to, SLICE(",\"value\":{"));
}

bool trace_append_attribute(struct buf *to, struct slice key, struct slice text) {
    append_key(to, key);
    buf_append(to, SLICE("\"stringValue\":"));
    text_append_json(to, text);
    return buf_append(to, SLICE("}}"));
}

/* A 64-bit number is a string in the JSON of protocol buffers. */
static void append_attribute(struct buf *to, const struct trace_record *record,
                             const struct trace_attribute *attribute) {
    struct slice key = slice_of_cstr(attribute->key);
    if (attribute->is_text) {
        trace_append_attribute(to, key,
                               slice_make(record->text + attribute->text_at, attribute->text_len));
        return;
    }
    append_key(to, key);
    buf_append(to, SLICE("\"intValue\":\""));
    buf_append_i64(to, attribute->number);
    buf_append(to, SLICE("\"}}"));
}

static void append_attributes(struct buf *to, const struct trace_record *record) {
    buf_append(to, SLICE(",\"attributes\":["));
    for (unsigned i = 0; i < record->attribute_count; i++) {
        if (i)
            buf_append_char(to, ',');
        append_attribute(to, record, &record->attributes[i]);
    }
    buf_append_char(to, ']');
    if (record->dropped_attributes)
        buf_printf(to, ",\"droppedAttributesCount\":%u", record->dropped_attributes);
}

static void append_links(struct buf *to, const struct trace_record *record) {
    if (record->link_count == 0)
        return;
    buf_append(to, SLICE(",\"links\":["));
    for (unsigned i = 0; i < record->link_count; i++) {
        const struct trace_context *link = &record->links[i];
        append_id(to, i ? ",{\"traceId\":" : "{\"traceId\":", link->trace_id, TRACE_ID_BYTES);
        append_id(to, ",\"spanId\":", link->span_id, TRACE_SPAN_ID_BYTES);
        buf_printf(to, ",\"flags\":%u}",
                   FLAG_HAS_REMOTE | FLAG_IS_REMOTE | (link->sampled ? FLAG_SAMPLED : 0));
    }
    buf_append_char(to, ']');
    if (record->dropped_links)
        buf_printf(to, ",\"droppedLinksCount\":%u", record->dropped_links);
}

bool trace_record_append_json(struct buf *to, const struct trace_record *record) {
    unsigned remote = FLAG_HAS_REMOTE | (record->parent_is_remote ? FLAG_IS_REMOTE : 0);
    append_id(to, "{\"traceId\":", record->context.trace_id, TRACE_ID_BYTES);
    append_id(to, ",\"spanId\":", record->context.span_id, TRACE_SPAN_ID_BYTES);
    if (record->parent.valid)
        append_id(to, ",\"parentSpanId\":", record->parent.span_id, TRACE_SPAN_ID_BYTES);
    if (record->state_len) {
        buf_append(to, SLICE(",\"traceState\":"));
        text_append_json(to, slice_make(record->text + record->state_at, record->state_len));
    }
    buf_append(to, SLICE(",\"name\":"));
    text_append_json(to, slice_make(record->text + record->name_at, record->name_len));
    buf_printf(to,
               ",\"kind\":%d,\"flags\":%u,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":"
               "\"%lld\"",
               (int)record->kind, FLAG_SAMPLED | (record->parent.valid ? remote : 0),
               (long long)record->start_ns, (long long)record->end_ns);
    append_attributes(to, record);
    append_links(to, record);
    buf_append(to, record->failed ? SLICE(",\"status\":{\"code\":2}}") : SLICE(",\"status\":{}}"));
    return !to->failed;
}
