/* SPDX-License-Identifier: MIT */
#include "server/kvstore_view.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json_load.h"
#include "base/text.h"

#define HOST_MAX 255U
#define DEPTH_MAX 4U
#define WRONG_REPL_FACTOR "repl-factor is a number from 1 to the number of members of the view"

static bool is_host_char(char c, bool bracketed) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || c == '.' || c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
}

static bool is_port(struct slice text) {
    int64_t port;
    return slice_parse_i64(text, &port) && port > 0 && port < 65536;
}

/* host:port, or [address]:port */
static bool is_member(struct slice text) {
    size_t colon = text.len;
    while (colon && text.ptr[colon - 1] != ':')
        colon--;
    if (colon < 2 || !is_port(slice_make(text.ptr + colon, text.len - colon)))
        return false;
    struct slice host = slice_make(text.ptr, colon - 1);
    bool bracketed = host.ptr[0] == '[' && host.ptr[host.len - 1] == ']' && host.len > 2;
    if (bracketed)
        host = slice_make(host.ptr + 1, host.len - 2);
    for (size_t i = 0; i < host.len; i++)
        if (!is_host_char(host.ptr[i], bracketed))
            return false;
    return host.len <= HOST_MAX;
}

static int by_name(const void *a, const void *b) {
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Judges what was read: members in their order, in the arena. */
static const char *check(struct arena *arena, const struct kvstore_view *view) {
    size_t bytes = sizeof *view->members * view->member_count;
    struct slice *sorted = arena_alloc(arena, bytes);
    if (!sorted)
        return "no memory for the view";
    memcpy(sorted, view->members, bytes);
    qsort(sorted, view->member_count, sizeof *sorted, by_name);
    for (unsigned i = 0; i < view->member_count; i++) {
        if (!is_member(sorted[i]))
            return "a member of a view is host:port";
        if (i && slice_equal(sorted[i], sorted[i - 1]))
            return "a member stands twice in the view";
    }
    return view->repl_factor >= 1 && view->repl_factor <= view->member_count ? NULL
                                                                             : WRONG_REPL_FACTOR;
}

static const char *begin(struct arena *arena, size_t count, struct kvstore_view *view) {
    if (count == 0 || count > KVSTORE_MEMBERS_MAX)
        return "a view is a list of 1 to 4096 members";
    view->member_count = (unsigned)count;
    view->members = arena_alloc(arena, sizeof *view->members * count);
    return view->members ? NULL : "no memory for the view";
}

static const char *finish(struct arena *arena, const struct kvstore_view *view,
                          struct kvstore_view *ret_view) {
    const char *why = check(arena, view);
    if (!why)
        *ret_view = *view;
    return why;
}

const char *kvstore_view_of_json(const struct json_t *object, struct arena *arena,
                                 struct kvstore_view *ret_view) {
    const json_t *members = json_object_get(object, "view");
    const json_t *repl_factor = json_object_get(object, "repl-factor");
    struct kvstore_view view;
    const char *why = begin(arena, json_array_size(members), &view);
    for (unsigned i = 0; !why && i < view.member_count; i++) {
        const json_t *member = json_array_get(members, i);
        view.members[i] =
            arena_copy(arena, slice_make(json_string_value(member), json_string_length(member)));
        if (!json_is_string(member))
            why = "a member of a view is host:port";
        else if (!view.members[i].ptr)
            why = "no memory for the view";
    }
    json_int_t number = json_integer_value(repl_factor);
    if (!why && (number < 1 || number > KVSTORE_MEMBERS_MAX))
        why = WRONG_REPL_FACTOR;
    view.repl_factor = why ? 0 : (unsigned)number;
    return why ? why : finish(arena, &view, ret_view);
}

const char *kvstore_view_of_entry(struct slice text, struct arena *arena,
                                  struct kvstore_view *ret_view) {
    json_error_t error;
    if (!text_json_depth_ok(text, DEPTH_MAX))
        return "a view is an object";
    json_t *object = json_load_slice(text, JSON_REJECT_DUPLICATES, &error);
    const char *why = kvstore_view_of_json(object, arena, ret_view);
    json_decref(object);
    return why;
}

static size_t count_of(struct slice text) {
    size_t count = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    return count;
}

/* Takes what stands before the next comma off the text, without the spaces around it. */
static struct slice take_member(struct slice *text) {
    const char *comma = text->len ? memchr(text->ptr, ',', text->len) : NULL;
    size_t len = comma ? (size_t)(comma - text->ptr) : text->len;
    struct slice member = slice_make(text->ptr, len);
    *text = slice_make(text->ptr + len + (comma != NULL), text->len - len - (comma != NULL));
    while (member.len && member.ptr[0] == ' ')
        member = slice_make(member.ptr + 1, member.len - 1);
    while (member.len && member.ptr[member.len - 1] == ' ')
        member.len--;
    return member;
}

const char *kvstore_view_of_list(struct slice text, unsigned repl_factor, struct arena *arena,
                                 struct kvstore_view *ret_view) {
    struct kvstore_view view = {.repl_factor = repl_factor};
    const char *why = begin(arena, count_of(text), &view);
    for (unsigned i = 0; !why && i < view.member_count; i++) {
        view.members[i] = arena_copy(arena, take_member(&text));
        if (!view.members[i].ptr)
            why = "no memory for the view";
    }
    return why ? why : finish(arena, &view, ret_view);
}

static bool append_members(struct buf *to, const struct kvstore_view *view, unsigned from,
                           unsigned end) {
    buf_append_char(to, '[');
    for (unsigned i = from; i < end; i++) {
        if (i > from)
            buf_append_char(to, ',');
        text_append_json(to, view->members[i]);
    }
    return buf_append_char(to, ']');
}

bool kvstore_view_append(struct buf *to, const struct kvstore_view *view) {
    buf_append(to, SLICE("{\"view\":"));
    append_members(to, view, 0, view->member_count);
    return buf_printf(to, ",\"repl-factor\":%u}", view->repl_factor);
}

unsigned kvstore_view_shards(const struct kvstore_view *view) {
    return view->member_count / view->repl_factor;
}

unsigned kvstore_view_shard_of(struct slice key, unsigned shard_count) {
    return (unsigned)(hash_seeded(key, 0) % shard_count);
}

bool kvstore_view_append_replicas(struct buf *to, const struct kvstore_view *view, unsigned shard) {
    unsigned shards = kvstore_view_shards(view);
    return append_members(to, view, shard * view->member_count / shards,
                          (shard + 1) * view->member_count / shards);
}
