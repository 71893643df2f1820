/* SPDX-License-Identifier: MIT */
#include "snapshot/item.h"

#include "base/bytes.h"

static const char *const kind_words[] = {
    [SNAPSHOT_ROUTER] = "router", [SNAPSHOT_QUEUE] = "queue",     [SNAPSHOT_BINDING] = "binding",
    [SNAPSHOT_ENTRY] = "entry",   [SNAPSHOT_MESSAGE] = "message",
};

const char *snapshot_kind_word(enum snapshot_kind kind) {
    return kind_words[kind];
}

/* ---- writing ---- */

static void append_32(struct buf *to, uint32_t number) {
    char bytes[4];
    put_be32(bytes, number);
    buf_append(to, slice_make(bytes, sizeof bytes));
}

static void append_64(struct buf *to, uint64_t number) {
    char bytes[8];
    put_be64(bytes, number);
    buf_append(to, slice_make(bytes, sizeof bytes));
}

static void append_bytes(struct buf *to, struct slice bytes) {
    append_32(to, (uint32_t)bytes.len);
    buf_append(to, bytes);
}

static void append_entry(struct buf *to, const struct snapshot_entry *entry) {
    buf_append(to, slice_make(entry->workspace.bytes, sizeof entry->workspace.bytes));
    append_64(to, entry->revision);
    append_64(to, (uint64_t)entry->expires_ms);
    append_bytes(to, entry->ns);
    append_bytes(to, entry->key);
    append_bytes(to, entry->type);
    append_bytes(to, entry->value);
}

static void append_queue(struct buf *to, const struct snapshot_queue *queue) {
    const struct broker_queue_options *options = &queue->options;
    append_bytes(to, queue->name);
    buf_append_char(to, (char)options->overflow);
    buf_append_char(to, options->paused ? 1 : 0);
    append_64(to, (uint64_t)options->lease_ms);
    append_64(to, (uint64_t)options->ttl_ms);
    append_64(to, (uint64_t)options->dedup_window_ms);
    append_64(to, options->max_length);
    append_32(to, options->max_deliver);
    append_bytes(to, options->dead_letter);
}

static void append_message(struct buf *to, const struct snapshot_message *message) {
    append_bytes(to, message->queue);
    buf_append_char(to, (char)message->priority);
    buf_append_char(to, (char)message->reason);
    append_32(to, message->attempt);
    append_32(to, message->dead_attempt);
    append_64(to, (uint64_t)message->published_ms);
    append_64(to, (uint64_t)message->due_ms);
    append_64(to, (uint64_t)message->expires_ms);
    append_bytes(to, message->id);
    append_bytes(to, message->key);
    append_bytes(to, message->from);
    append_bytes(to, message->headers);
    append_bytes(to, message->payload);
}

bool snapshot_item_append(struct buf *to, const struct snapshot_item *item) {
    buf_append_char(to, (char)item->kind);
    switch (item->kind) {
    case SNAPSHOT_ROUTER:
        append_bytes(to, item->router.name);
        buf_append_char(to, (char)item->router.type);
        break;
    case SNAPSHOT_QUEUE:
        append_queue(to, &item->queue);
        break;
    case SNAPSHOT_BINDING:
        append_bytes(to, item->binding.router);
        append_bytes(to, item->binding.queue);
        append_bytes(to, item->binding.pattern);
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
    return !to->failed;
}

/* ---- reading ---- */

struct taker {
    struct slice left;
    bool failed;
};

static struct slice take(struct taker *taker, size_t len) {
    if (taker->failed || len > taker->left.len) {
        taker->failed = true;
        return SLICE("");
    }
    struct slice bytes = slice_make(taker->left.ptr, len);
    taker->left = slice_make(taker->left.ptr + len, taker->left.len - len);
    return bytes;
}

static uint8_t take_8(struct taker *taker) {
    struct slice bytes = take(taker, 1);
    return bytes.len ? (uint8_t)bytes.ptr[0] : 0;
}

static uint32_t take_32(struct taker *taker) {
    struct slice bytes = take(taker, 4);
    return bytes.len ? get_be32(bytes.ptr) : 0;
}

static uint64_t take_64(struct taker *taker) {
    struct slice bytes = take(taker, 8);
    return bytes.len ? get_be64(bytes.ptr) : 0;
}

static struct slice take_bytes(struct taker *taker) {
    return take(taker, take_32(taker));
}

static void take_entry(struct taker *taker, struct snapshot_entry *to) {
    struct slice workspace = take(taker, sizeof to->workspace.bytes);
    if (workspace.len)
        memcpy(to->workspace.bytes, workspace.ptr, workspace.len);
    to->revision = take_64(taker);
    to->expires_ms = (int64_t)take_64(taker);
    to->ns = take_bytes(taker);
    to->key = take_bytes(taker);
    to->type = take_bytes(taker);
    to->value = take_bytes(taker);
}

static void take_queue(struct taker *taker, struct snapshot_queue *to) {
    struct broker_queue_options *options = &to->options;
    to->name = take_bytes(taker);
    options->overflow = (enum broker_overflow)take_8(taker);
    uint8_t paused = take_8(taker);
    options->paused = paused == 1;
    taker->failed = taker->failed || paused > 1;
    options->lease_ms = (int64_t)take_64(taker);
    options->ttl_ms = (int64_t)take_64(taker);
    options->dedup_window_ms = (int64_t)take_64(taker);
    options->max_length = take_64(taker);
    options->max_deliver = take_32(taker);
    options->dead_letter = take_bytes(taker);
}

static void take_message(struct taker *taker, struct snapshot_message *to) {
    to->queue = take_bytes(taker);
    to->priority = take_8(taker);
    to->reason = (enum broker_reason)take_8(taker);
    to->attempt = take_32(taker);
    to->dead_attempt = take_32(taker);
    to->published_ms = (int64_t)take_64(taker);
    to->due_ms = (int64_t)take_64(taker);
    to->expires_ms = (int64_t)take_64(taker);
    to->id = take_bytes(taker);
    to->key = take_bytes(taker);
    to->from = take_bytes(taker);
    to->headers = take_bytes(taker);
    to->payload = take_bytes(taker);
}

const char *snapshot_item_take(struct slice *bytes, enum kv_storage storage,
                               struct snapshot_item *ret_item) {
    struct taker taker = {.left = *bytes};
    struct snapshot_item item = {.storage = storage};
    item.kind = (enum snapshot_kind)take_8(&taker);
    switch (item.kind) {
    case SNAPSHOT_ROUTER:
        item.router.name = take_bytes(&taker);
        item.router.type = (enum broker_router_type)take_8(&taker);
        break;
    case SNAPSHOT_QUEUE:
        take_queue(&taker, &item.queue);
        item.queue.options.storage = storage == KV_HDD ? BROKER_HDD : BROKER_MEMORY;
        break;
    case SNAPSHOT_BINDING:
        item.binding.router = take_bytes(&taker);
        item.binding.queue = take_bytes(&taker);
        item.binding.pattern = take_bytes(&taker);
        break;
    case SNAPSHOT_ENTRY:
        take_entry(&taker, &item.entry);
        break;
    case SNAPSHOT_MESSAGE:
        take_message(&taker, &item.message);
        break;
    default:
        return "an item of an unknown kind";
    }
    if (taker.failed)
        return "an item is cut off";
    const char *fault = snapshot_item_fault(&item);
    if (fault)
        return fault;
    *ret_item = item;
    *bytes = taker.left;
    return NULL;
}

/* ---- what may stand in one ---- */

/* As names of the broker are at the doors. */
static bool is_name(struct slice text, size_t min) {
    if (text.len < min || text.len > BROKER_NAME_MAX || !text_is_utf8(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        bool high = byte == 0xC2 && (uint8_t)text.ptr[i + 1] < 0xA0;
        if (byte <= ' ' || byte == 0x7F || high)
            return false;
    }
    return true;
}

static bool is_plain(struct slice text, size_t max) {
    return text.len >= 1 && text.len <= max && !memchr(text.ptr, 0, text.len);
}

static bool is_time(int64_t ms) {
    return ms >= 0 && ms <= BROKER_TIME_MAX_MS;
}

/* Of the wall clock; what is added to it does not overflow. */
static bool is_instant(int64_t ms) {
    return ms >= 0 && ms <= INT64_MAX / 2;
}

/* It goes out as a header again. */
static bool is_type(struct slice type) {
    if (type.len > KV_CONTENT_TYPE_MAX)
        return false;
    for (size_t i = 0; i < type.len; i++)
        if ((uint8_t)type.ptr[i] < ' ' || (uint8_t)type.ptr[i] > '~')
            return false;
    return true;
}

static const char *entry_fault(const struct snapshot_entry *entry) {
    if (!is_plain(entry->ns, KV_NAMESPACE_MAX) || !text_is_utf8(entry->ns))
        return "an entry's namespace is none";
    if (!is_plain(entry->key, KV_KEY_MAX))
        return "an entry's key is none";
    if (!is_type(entry->type))
        return "an entry's content type is none";
    return is_instant(entry->expires_ms) ? NULL : "an entry's expiry is none";
}

static const char *queue_fault(const struct snapshot_queue *queue) {
    const struct broker_queue_options *options = &queue->options;
    if (!is_name(queue->name, 1) || !is_name(options->dead_letter, 0))
        return "a queue's name is none";
    if (options->overflow > OVERFLOW_DROP_HEAD || options->lease_ms < 1 ||
        !is_time(options->lease_ms) || !is_time(options->ttl_ms) ||
        !is_time(options->dedup_window_ms))
        return "a queue's options are none";
    return NULL;
}

static const char *message_fault(const struct snapshot_message *message) {
    struct slice headers = message->headers;
    bool is_object =
        headers.len >= 2 && headers.ptr[0] == '{' && headers.ptr[headers.len - 1] == '}';
    if (!is_name(message->queue, 1) || !is_name(message->from, 0))
        return "the name of a message's queue is none";
    if (!is_name(message->id, 1) || !is_name(message->key, 0))
        return "a message's id or routing key is none";
    if (headers.len && (!is_object || headers.len > BROKER_HEADERS_MAX || !text_is_utf8(headers)))
        return "a message's headers are none";
    if (message->priority > BROKER_PRIORITY_MAX || message->reason > REASON_EXPIRED ||
        !is_instant(message->published_ms) || !is_instant(message->due_ms) ||
        !is_instant(message->expires_ms))
        return "a message's numbers are none";
    return NULL;
}

const char *snapshot_item_fault(const struct snapshot_item *item) {
    switch (item->kind) {
    case SNAPSHOT_ROUTER:
        return is_name(item->router.name, 1) && item->router.type <= ROUTER_TOPIC
                   ? NULL
                   : "a router's name or type is none";
    case SNAPSHOT_QUEUE:
        return queue_fault(&item->queue);
    case SNAPSHOT_BINDING:
        return is_name(item->binding.router, 1) && is_name(item->binding.queue, 1) &&
                       is_name(item->binding.pattern, 0)
                   ? NULL
                   : "a binding's names are none";
    case SNAPSHOT_ENTRY:
        return entry_fault(&item->entry);
    case SNAPSHOT_MESSAGE:
        return message_fault(&item->message);
    case SNAPSHOT_KINDS:
        break;
    }
    return "an item of an unknown kind";
}
