/* SPDX-License-Identifier: MIT */
#include "client/stats.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "client/pretty.h"

#define NAME_COLUMN 16
#define NUMBER_COLUMN 14
#define ERASE_LINE "\x1b[K"

struct page {
    struct buf *to;
    const json_t *now, *before; /* before NULL: no rates */
    int64_t between_ms;
};

static void put_name(struct page *page, const char *name, size_t column) {
    size_t start = page->to->len;
    pretty_escaped(page->to, slice_of_cstr(name));
    size_t width = pretty_width(slice_make(page->to->ptr + start, page->to->len - start));
    buf_printf(page->to, "%*s", (int)(width < column ? column - width : 1), "");
}

static void put_title(struct page *page, const char *name, const char *const *columns) {
    buf_printf(page->to, "\n%-*s", NAME_COLUMN, name);
    for (; *columns; columns++)
        buf_printf(page->to, "%*s", NUMBER_COLUMN, *columns);
    buf_append_char(page->to, '\n');
}

static void put_number(struct page *page, const json_t *number) {
    if (json_is_integer(number))
        buf_printf(page->to, "%*" JSON_INTEGER_FORMAT, NUMBER_COLUMN, json_integer_value(number));
    else
        buf_printf(page->to, "%*s", NUMBER_COLUMN, "-");
}

/* How much a counter grew in a second; it starts anew with its server. */
static void put_rate(struct page *page, const json_t *now, const json_t *before) {
    json_int_t grown = json_integer_value(now) - json_integer_value(before);
    if (json_is_integer(now) && json_is_integer(before) && grown >= 0 && page->between_ms > 0)
        buf_printf(page->to, "%*.1f", NUMBER_COLUMN,
                   (double)grown * 1000.0 / (double)page->between_ms);
    else
        buf_printf(page->to, "%*s", NUMBER_COLUMN, "-");
}

static void put_head(struct page *page) {
    const json_t *version = json_object_get(page->now, "version");
    const json_t *uptime = json_object_get(page->now, "uptime");
    long long seconds = (long long)json_integer_value(uptime) / 1000;
    buf_append(page->to, SLICE("hati "));
    if (json_is_string(version))
        pretty_escaped(page->to, slice_of_cstr(json_string_value(version)));
    buf_printf(page->to, ", up ");
    if (seconds >= 86400)
        buf_printf(page->to, "%lld d ", seconds / 86400);
    buf_printf(page->to, "%02lld:%02lld:%02lld\n", seconds / 3600 % 24, seconds / 60 % 60,
               seconds % 60);
}

static void put_storage(struct page *page) {
    static const char *const columns[] = {"keys", "bytes", NULL};
    const json_t *storage = json_object_get(page->now, "storage");
    const char *name;
    json_t *one;
    if (!json_is_object(storage))
        return;
    put_title(page, "storage", columns);
    json_object_foreach((json_t *)storage, name, one) {
        put_name(page, name, NAME_COLUMN);
        put_number(page, json_object_get(one, "keys"));
        put_number(page, json_object_get(one, "bytes"));
        buf_append_char(page->to, '\n');
    }
}

static void put_doors(struct page *page) {
    static const char *const columns[] = {"connections", "requests", "a second", "failed", NULL};
    const json_t *requests = json_object_get(page->now, "requests");
    const json_t *before = json_object_get(page->before, "requests");
    const json_t *connections = json_object_get(page->now, "connections");
    const char *name;
    json_t *one;
    if (!json_is_object(connections))
        return;
    put_title(page, "door", columns);
    json_object_foreach((json_t *)connections, name, one) {
        char failed[80];
        snprintf(failed, sizeof failed, "%.70s_failed", name);
        put_name(page, name, NAME_COLUMN);
        put_number(page, one);
        put_number(page, json_object_get(requests, name));
        put_rate(page, json_object_get(requests, name), json_object_get(before, name));
        put_number(page, json_object_get(requests, failed));
        buf_append_char(page->to, '\n');
    }
}

static void put_broker(struct page *page) {
    static const char *const columns[] = {"total", "a second", NULL};
    static const char *const counters[] = {"published", "delivered", "acked", "unroutable"};
    const json_t *broker = json_object_get(page->now, "broker");
    const json_t *before = json_object_get(page->before, "broker");
    if (!json_is_object(broker))
        return;
    put_title(page, "messages", columns);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        put_name(page, counters[i], NAME_COLUMN);
        put_number(page, json_object_get(broker, counters[i]));
        put_rate(page, json_object_get(broker, counters[i]), json_object_get(before, counters[i]));
        buf_append_char(page->to, '\n');
    }
    buf_printf(page->to, "held %lld in %lld queues, %lld routers\n",
               (long long)json_integer_value(json_object_get(broker, "messages")),
               (long long)json_integer_value(json_object_get(broker, "queues")),
               (long long)json_integer_value(json_object_get(broker, "routers")));
}

/* The queue of that name in an earlier answer; it stands at the same place most of the time. */
static const json_t *find_queue(const json_t *queues, size_t at, const json_t *name) {
    size_t count = json_array_size(queues);
    for (size_t i = 0; i < count; i++) {
        const json_t *queue = json_array_get(queues, (at + i) % count);
        if (json_equal((json_t *)json_object_get(queue, "name"), (json_t *)name))
            return queue;
    }
    return NULL;
}

static void put_queues(struct page *page) {
    static const char *const columns[] = {"ready",     "leased",      "delayed", "consumers",
                                          "in/second", "acks/second", NULL};
    static const char *const levels[] = {"ready", "leased", "delayed", "consumers"};
    const json_t *queues = json_object_get(json_object_get(page->now, "broker"), "each");
    const json_t *before = json_object_get(json_object_get(page->before, "broker"), "each");
    if (json_array_size(queues) == 0)
        return;
    put_title(page, "queue", columns);
    for (size_t i = 0; i < json_array_size(queues); i++) {
        const json_t *queue = json_array_get(queues, i);
        const json_t *name = json_object_get(queue, "name");
        const json_t *old = name ? find_queue(before, i, name) : NULL;
        put_name(page, json_is_string(name) ? json_string_value(name) : "?", NAME_COLUMN);
        for (size_t k = 0; k < sizeof levels / sizeof levels[0]; k++)
            put_number(page, json_object_get(queue, levels[k]));
        put_rate(page, json_object_get(queue, "published"), json_object_get(old, "published"));
        put_rate(page, json_object_get(queue, "acked"), json_object_get(old, "acked"));
        buf_append_char(page->to, '\n');
    }
}

static void put_nodes(struct page *page) {
    const json_t *nodes = json_object_get(page->now, "nodes");
    if (json_array_size(nodes) == 0)
        return;
    buf_append(page->to, SLICE("\nnode\n"));
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        const char *address = json_string_value(json_object_get(node, "address"));
        const char *version = json_string_value(json_object_get(node, "version"));
        put_name(page, address ? address : "?", 2 * NAME_COLUMN);
        put_name(page, version ? version : "?", NAME_COLUMN);
        buf_printf(page->to, "%s\n",
                   json_is_true(json_object_get(node, "alive")) ? "alive" : "away");
    }
}

bool stats_page(struct buf *to, struct slice now, struct slice before, int64_t between_ms) {
    json_t *after = json_loadb(now.ptr, now.len, 0, NULL);
    json_t *earlier = before.len ? json_loadb(before.ptr, before.len, 0, NULL) : NULL;
    struct page page = {.to = to, .now = after, .before = earlier, .between_ms = between_ms};
    bool good = json_is_object(after);
    if (good) {
        put_head(&page);
        put_storage(&page);
        put_doors(&page);
        put_broker(&page);
        put_queues(&page);
        put_nodes(&page);
    }
    json_decref(after);
    json_decref(earlier);
    return good;
}

/* The bytes of a line that `columns` have room for. */
static size_t cut(struct slice line, unsigned columns) {
    size_t end = 0, width = 0;
    while (end < line.len) {
        size_t next = end + 1;
        while (next < line.len && ((uint8_t)line.ptr[next] & 0xC0) == 0x80)
            next++;
        width += pretty_width(slice_make(line.ptr + end, next - end));
        if (width > columns)
            break;
        end = next;
    }
    return end;
}

void stats_fit(struct buf *to, struct slice page, unsigned rows, unsigned columns) {
    while (page.len && rows--) {
        const char *newline = memchr(page.ptr, '\n', page.len);
        size_t len = newline ? (size_t)(newline - page.ptr) : page.len;
        buf_append(to, slice_make(page.ptr, cut(slice_make(page.ptr, len), columns)));
        buf_append(to, SLICE(ERASE_LINE "\r\n"));
        len += newline != NULL;
        page = slice_make(page.ptr + len, page.len - len);
    }
}
