/* SPDX-License-Identifier: MIT */
#include "snapshot/ndjson.h"

#include <stdio.h>

static const char *const storage_words[] = {[KV_MEMORY] = "memory", [KV_HDD] = "hdd"};
static const char *const router_words[] = {
    [ROUTER_DIRECT] = "direct", [ROUTER_FANOUT] = "fanout", [ROUTER_TOPIC] = "topic"};

static void append_name(struct buf *to, const char *name) {
    buf_printf(to, ",\"%s\":", name);
}

static void append_number(struct buf *to, const char *name, int64_t number) {
    append_name(to, name);
    buf_append_i64(to, number);
}

/* As it is where it is text that JSON can hold, else as base64 in `<name>64`. */
static void append_bytes(struct buf *to, const char *name, struct slice bytes) {
    if (text_is_utf8(bytes) && !(bytes.len && memchr(bytes.ptr, 0, bytes.len))) {
        append_name(to, name);
        text_append_json(to, bytes);
        return;
    }
    buf_printf(to, ",\"%s64\":\"", name);
    text_append_base64(to, bytes);
    buf_append_char(to, '"');
}

static void append_given(struct buf *to, const char *name, struct slice bytes) {
    if (bytes.len)
        append_bytes(to, name, bytes);
}

static void append_entry(struct buf *to, const struct snapshot_entry *entry) {
    char workspace[37] = "";
    text_uuid_format(&entry->workspace, workspace);
    append_bytes(to, "workspace", slice_of_cstr(workspace));
    append_bytes(to, "namespace", entry->ns);
    append_bytes(to, "key", entry->key);
    append_given(to, "type", entry->type);
    append_name(to, "revision");
    buf_append_u64(to, entry->revision);
    if (entry->expires_ms)
        append_number(to, "expires", entry->expires_ms);
    append_bytes(to, "value", entry->value);
}

static void append_queue(struct buf *to, const struct snapshot_queue *queue) {
    const struct broker_queue_options *options = &queue->options;
    append_bytes(to, "name", queue->name);
    append_name(to, "overflow");
    buf_printf(to, "\"%s\"", options->overflow == OVERFLOW_REJECT ? "reject" : "drop-head");
    append_name(to, "paused");
    buf_printf(to, "%s", options->paused ? "true" : "false");
    append_number(to, "lease", options->lease_ms);
    append_number(to, "ttl", options->ttl_ms);
    append_number(to, "dedupWindow", options->dedup_window_ms);
    append_name(to, "maxLength");
    buf_append_u64(to, options->max_length);
    append_number(to, "maxDeliver", options->max_deliver);
    append_given(to, "deadLetter", options->dead_letter);
}

static void append_message(struct buf *to, const struct snapshot_message *message) {
    append_bytes(to, "queue", message->queue);
    append_bytes(to, "id", message->id);
    append_bytes(to, "routingKey", message->key);
    append_number(to, "priority", message->priority);
    append_number(to, "attempt", message->attempt);
    append_number(to, "published", message->published_ms);
    if (message->due_ms)
        append_number(to, "due", message->due_ms);
    if (message->expires_ms)
        append_number(to, "expires", message->expires_ms);
    append_given(to, "from", message->from);
    if (message->reason) {
        append_bytes(to, "reason", slice_of_cstr(broker_reason_word(message->reason)));
        append_number(to, "deadAttempt", message->dead_attempt);
    }
    append_given(to, "headers", message->headers);
    append_bytes(to, "payload", message->payload);
}

bool ndjson_append_item(struct buf *to, const struct snapshot_item *item) {
    buf_printf(to, "{\"kind\":\"%s\",\"storage\":\"%s\"", snapshot_kind_word(item->kind),
               storage_words[item->storage]);
    switch (item->kind) {
    case SNAPSHOT_ROUTER:
        append_bytes(to, "name", item->router.name);
        append_bytes(to, "type", slice_of_cstr(router_words[item->router.type]));
        break;
    case SNAPSHOT_QUEUE:
        append_queue(to, &item->queue);
        break;
    case SNAPSHOT_BINDING:
        append_bytes(to, "router", item->binding.router);
        append_bytes(to, "queue", item->binding.queue);
        append_bytes(to, "pattern", item->binding.pattern);
        break;
    case SNAPSHOT_ENTRY:
        append_entry(to, &item->entry);
        break;
    case SNAPSHOT_MESSAGE:
        append_message(to, &item->message);
        break;
    case SNAPSHOT_KINDS:
        break;
    }
    return buf_append(to, SLICE("}\n")) && !to->failed;
}

bool ndjson_append_head(struct buf *to, const struct snapshot_head *head) {
    char id[SNAPSHOT_ID_TEXT];
    snapshot_id_format(head->id, id);
    buf_printf(to, "{\"hatiSnapshot\":%u,\"id\":\"%s\"", SNAPSHOT_VERSION, id);
    append_number(to, "made", head->made_ms);
    append_name(to, "memoryRevision");
    buf_append_u64(to, head->revision[KV_MEMORY]);
    append_name(to, "hddRevision");
    buf_append_u64(to, head->revision[KV_HDD]);
    append_bytes(to, "maker", slice_of_cstr(head->maker));
    return buf_append(to, SLICE("}\n")) && !to->failed;
}

bool ndjson_append_end(struct buf *to, const struct snapshot_totals *totals) {
    buf_append(to, SLICE("{\"end\":{"));
    for (int kind = SNAPSHOT_ROUTER; kind < SNAPSHOT_KINDS; kind++)
        buf_printf(to, "%s\"%s\":%llu", kind > SNAPSHOT_ROUTER ? "," : "",
                   snapshot_kind_word((enum snapshot_kind)kind),
                   (unsigned long long)totals->count[kind]);
    buf_append(to, SLICE("},\"check\":\""));
    buf_append_hex(to, totals->check, sizeof totals->check);
    return buf_append(to, SLICE("\"}\n")) && !to->failed;
}

void ndjson_check_line(struct snapshot_totals *totals, struct slice line) {
    uint8_t check[HASH_CHECK_BYTES];
    hash_check(slice_make(totals->check, sizeof totals->check), line, check);
    memcpy(totals->check, check, sizeof check);
}

bool ndjson_begins(struct slice bytes) {
    return bytes.len && bytes.ptr[0] == '{';
}
