/* SPDX-License-Identifier: MIT */
/* Lines back into items. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "base/json_load.h"
#include "snapshot/ndjson.h"
#include "snapshot/reader.h"
#include "snapshot/writer.h"

#define CHUNK_BYTES (1U << 16)
#define LINE_MAX_BYTES (2 * SNAPSHOT_RAW_MAX) /* base64, escapes */
#define MEMBERS_MAX 24U

struct pack {
    int from;
    struct buf in;    /* what was read and not used */
    size_t used;      /* of it */
    size_t looked_at; /* behind used: no newline up to here */
    uint64_t line;
    struct snapshot_writer *writer;
    struct snapshot_totals totals;
    struct arena arena; /* of a line */
    size_t members;     /* of the line's object that were understood */
    const char *fault;
};

/* ---- members ---- */

/* What is wrong first is what is told. */
static void fault(struct pack *pack, const char *what) {
    if (!pack->fault)
        pack->fault = what;
}

static struct slice text_of(const json_t *value) {
    return slice_make(json_string_value(value), json_string_length(value));
}

/* `name`, or base64 in `name64`; neither: empty. */
static struct slice take_bytes(struct pack *pack, const json_t *object, const char *name) {
    char name64[32];
    snprintf(name64, sizeof name64, "%s64", name);
    const json_t *plain = json_object_get(object, name);
    const json_t *packed = json_object_get(object, name64);
    struct slice bytes = SLICE("");
    pack->members += (plain ? 1U : 0U) + (packed ? 1U : 0U);
    if ((plain && packed) || (plain && !json_is_string(plain)) ||
        (packed && !json_is_string(packed)))
        fault(pack, "a member that should be a text is none");
    else if (plain)
        return text_of(plain);
    else if (packed && !text_base64_decode(&pack->arena, text_of(packed), &bytes))
        fault(pack, "a member that should be base64 is none");
    return bytes;
}

static int64_t take_number(struct pack *pack, const json_t *object, const char *name, int64_t max) {
    const json_t *value = json_object_get(object, name);
    int64_t number = value ? json_integer_value(value) : 0;
    pack->members += value != NULL;
    if ((value && !json_is_integer(value)) || number < 0 || number > max)
        fault(pack, "a member that should be a number is none, or is out of bounds");
    return number;
}

/* Which of the words; they end with NULL. */
static unsigned take_word(struct pack *pack, const json_t *object, const char *name,
                          const char *const *words) {
    struct slice word = take_bytes(pack, object, name);
    for (unsigned i = 0; words[i]; i++)
        if (slice_equal(word, slice_of_cstr(words[i])))
            return i;
    fault(pack, "a member has a word that is unknown");
    return 0;
}

static void take_entry(struct pack *pack, const json_t *object, struct snapshot_entry *to) {
    if (!text_uuid_parse(take_bytes(pack, object, "workspace"), &to->workspace))
        fault(pack, "the workspace is no UUID");
    to->ns = take_bytes(pack, object, "namespace");
    to->key = take_bytes(pack, object, "key");
    to->type = take_bytes(pack, object, "type");
    to->value = take_bytes(pack, object, "value");
    to->revision = (uint64_t)take_number(pack, object, "revision", INT64_MAX);
    to->expires_ms = take_number(pack, object, "expires", INT64_MAX);
}

static void take_queue(struct pack *pack, const json_t *object, struct snapshot_queue *to) {
    static const char *const overflows[] = {"reject", "drop-head", NULL};
    struct broker_queue_options *options = &to->options;
    const json_t *paused = json_object_get(object, "paused");
    to->name = take_bytes(pack, object, "name");
    options->overflow = (enum broker_overflow)take_word(pack, object, "overflow", overflows);
    options->paused = json_is_true(paused);
    pack->members += paused != NULL;
    if (paused && !json_is_boolean(paused))
        fault(pack, "paused is true or false");
    options->lease_ms = take_number(pack, object, "lease", BROKER_TIME_MAX_MS);
    options->ttl_ms = take_number(pack, object, "ttl", BROKER_TIME_MAX_MS);
    options->dedup_window_ms = take_number(pack, object, "dedupWindow", BROKER_TIME_MAX_MS);
    options->max_length = (uint64_t)take_number(pack, object, "maxLength", INT64_MAX);
    options->max_deliver = (uint32_t)take_number(pack, object, "maxDeliver", UINT32_MAX);
    options->dead_letter = take_bytes(pack, object, "deadLetter");
}

static void take_message(struct pack *pack, const json_t *object, struct snapshot_message *to) {
    static const char *const reasons[] = {"", "max-deliver", "expired", NULL};
    to->queue = take_bytes(pack, object, "queue");
    to->id = take_bytes(pack, object, "id");
    to->key = take_bytes(pack, object, "routingKey");
    to->priority = (uint8_t)take_number(pack, object, "priority", BROKER_PRIORITY_MAX);
    to->attempt = (uint32_t)take_number(pack, object, "attempt", UINT32_MAX);
    to->published_ms = take_number(pack, object, "published", INT64_MAX);
    to->due_ms = take_number(pack, object, "due", INT64_MAX);
    to->expires_ms = take_number(pack, object, "expires", INT64_MAX);
    to->from = take_bytes(pack, object, "from");
    to->reason = (enum broker_reason)take_word(pack, object, "reason", reasons);
    to->dead_attempt = (uint32_t)take_number(pack, object, "deadAttempt", UINT32_MAX);
    to->headers = take_bytes(pack, object, "headers");
    to->payload = take_bytes(pack, object, "payload");
}

static void take_item(struct pack *pack, const json_t *object, struct snapshot_item *to) {
    static const char *const kinds[] = {"router", "queue", "binding", "entry", "message", NULL};
    static const char *const storages[] = {"memory", "hdd", NULL};
    static const char *const routers[] = {"direct", "fanout", "topic", NULL};
    to->kind = (enum snapshot_kind)(SNAPSHOT_ROUTER + take_word(pack, object, "kind", kinds));
    to->storage = (enum kv_storage)take_word(pack, object, "storage", storages);
    switch (to->kind) {
    case SNAPSHOT_ROUTER:
        to->router.name = take_bytes(pack, object, "name");
        to->router.type = (enum broker_router_type)take_word(pack, object, "type", routers);
        break;
    case SNAPSHOT_QUEUE:
        take_queue(pack, object, &to->queue);
        break;
    case SNAPSHOT_BINDING:
        to->binding.router = take_bytes(pack, object, "router");
        to->binding.queue = take_bytes(pack, object, "queue");
        to->binding.pattern = take_bytes(pack, object, "pattern");
        break;
    case SNAPSHOT_ENTRY:
        take_entry(pack, object, &to->entry);
        break;
    case SNAPSHOT_MESSAGE:
        take_message(pack, object, &to->message);
        break;
    case SNAPSHOT_KINDS:
        break;
    }
}

/* ---- lines ---- */

/* The next line, its newline included; empty at the end. False: it cannot be read. */
static bool next_line(struct pack *pack, struct slice *ret_line) {
    for (;;) {
        const char *from = pack->in.ptr + pack->used;
        size_t len = pack->in.len - pack->used;
        const char *newline = len > pack->looked_at
                                  ? memchr(from + pack->looked_at, '\n', len - pack->looked_at)
                                  : NULL;
        if (newline) {
            *ret_line = slice_make(from, (size_t)(newline - from) + 1);
            pack->used += ret_line->len;
            pack->looked_at = 0;
            pack->line++;
            return true;
        }
        pack->looked_at = len;
        buf_drop_front(&pack->in, pack->used);
        pack->used = 0;
        char *to = buf_reserve(&pack->in, CHUNK_BYTES);
        ssize_t got = to ? snapshot_read_all(pack->from, to, CHUNK_BYTES) : -1;
        if (got < 0) {
            pack->fault = to ? strerror(errno) : "the line is too long";
            return false;
        }
        pack->in.len += (size_t)got;
        if (got == 0) {
            *ret_line = buf_slice(&pack->in);
            pack->looked_at = 0;
            pack->used = pack->in.len;
            pack->line++;
            return true;
        }
    }
}

/* One that is not understood may be a mistake in one that is. */
static void check_members(struct pack *pack, const json_t *object) {
    if (pack->members != json_object_size(object))
        fault(pack, "a member has a name that is unknown");
}

static json_t *parse(struct pack *pack, struct slice line) {
    json_error_t error;
    pack->members = 0;
    if (line.len == 0 || line.ptr[line.len - 1] != '\n') {
        fault(pack, "the file ends here: it is cut off");
        return NULL;
    }
    json_t *object = text_json_depth_ok(line, 8)
                         ? json_load_slice(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error)
                         : NULL;
    if (json_is_object(object) && json_object_size(object) <= MEMBERS_MAX)
        return object;
    json_decref(object);
    fault(pack, "this is no JSON object of a snapshot");
    return NULL;
}

static bool read_head(struct pack *pack, int to) {
    struct slice line;
    struct snapshot_head head = {.made_ms = 0};
    if (!next_line(pack, &line))
        return false;
    json_t *object = parse(pack, line);
    if (!object)
        return false;
    if (!json_object_get(object, "hatiSnapshot"))
        fault(pack, "this is no snapshot of hati");
    if (take_number(pack, object, "hatiSnapshot", INT64_MAX) != SNAPSHOT_VERSION)
        fault(pack, "a snapshot of another format version than this program knows");
    if (!snapshot_id_parse(take_bytes(pack, object, "id"), head.id))
        fault(pack, "the id is none");
    head.made_ms = take_number(pack, object, "made", INT64_MAX);
    head.revision[KV_MEMORY] = (uint64_t)take_number(pack, object, "memoryRevision", INT64_MAX);
    head.revision[KV_HDD] = (uint64_t)take_number(pack, object, "hddRevision", INT64_MAX);
    struct slice maker = take_bytes(pack, object, "maker");
    snprintf(head.maker, sizeof head.maker, "%.*s", (int)(maker.len > 24 ? 24 : maker.len),
             maker.len ? maker.ptr : "");
    check_members(pack, object);
    json_decref(object);
    char bytes[SNAPSHOT_HEAD_BYTES];
    struct snapshot_head again;
    snapshot_head_write(&head, bytes);
    const char *bad = snapshot_head_read(bytes, &again);
    if (bad)
        fault(pack, bad);
    snapshot_totals_begin(&pack->totals, bytes);
    ndjson_check_line(&pack->totals, line);
    if (!pack->fault && snapshot_writer_open(to, SNAPSHOT_PACKED, &head, &pack->writer))
        pack->fault = "cannot write to a temporary file";
    return !pack->fault;
}

static bool is_rank_ok(struct pack *pack, const struct snapshot_item *item) {
    unsigned definitions = 0, others = 0;
    for (unsigned kind = SNAPSHOT_ROUTER; kind < SNAPSHOT_KINDS; kind++)
        *(kind <= SNAPSHOT_BINDING ? &definitions : &others) += pack->totals.count[kind] != 0;
    if (item->kind <= SNAPSHOT_BINDING && others)
        fault(pack, "routers, queues and bindings stand before entries and messages");
    return !pack->fault;
}

/* Whoever changed lines takes `check` out of the last one. */
static bool check_end(struct pack *pack, const json_t *object, const json_t *counts) {
    const json_t *check = json_object_get(object, "check");
    struct buf hex;
    struct slice more;
    for (int kind = SNAPSHOT_ROUTER; kind < SNAPSHOT_KINDS; kind++)
        if ((uint64_t)take_number(pack, counts, snapshot_kind_word((enum snapshot_kind)kind),
                                  INT64_MAX) != pack->totals.count[kind])
            fault(pack, "the totals are not those of the lines before");
    check_members(pack, counts);
    if (json_object_size(object) != (check ? 2 : 1))
        fault(pack, "the last line has more than `end` and `check`");
    buf_init(&hex, 64);
    buf_append_hex(&hex, pack->totals.check, sizeof pack->totals.check);
    if (check && !slice_equal(text_of(check), buf_slice(&hex)))
        fault(pack, "the check is not that of the lines before: they are damaged, or were changed "
                    "(then take `check` out of this line)");
    buf_done(&hex);
    if (!pack->fault && next_line(pack, &more) && more.len)
        fault(pack, "something stands behind the end");
    return !pack->fault;
}

static enum err read_line(struct pack *pack, struct slice line, bool *ret_end) {
    struct snapshot_item item;
    memset(&item, 0, sizeof item);
    json_t *object = parse(pack, line);
    if (!object)
        return ERR_SYNTAX;
    const json_t *counts = json_object_get(object, "end");
    enum err err = OK;
    if (counts) {
        *ret_end = true;
        check_end(pack, object, counts);
    } else {
        take_item(pack, object, &item);
        check_members(pack, object);
        const char *bad = pack->fault ? NULL : snapshot_item_fault(&item);
        if (bad)
            fault(pack, bad);
        if (!pack->fault && is_rank_ok(pack, &item))
            err = snapshot_writer_put(pack->writer, &item);
        pack->totals.count[item.kind]++;
        ndjson_check_line(&pack->totals, line);
    }
    json_decref(object);
    return err;
}

static enum err read_lines(struct pack *pack) {
    struct slice line;
    enum err err = OK;
    for (bool ended = false; !err && !pack->fault && !ended;) {
        arena_init(&pack->arena, SNAPSHOT_RAW_MAX + (1U << 20));
        if (next_line(pack, &line))
            err = read_line(pack, line, &ended);
        arena_done(&pack->arena);
    }
    return err || pack->fault ? err : snapshot_writer_end(pack->writer);
}

bool ndjson_pack(int from, int to, char *ret_why, size_t why_bytes) {
    struct pack pack = {.from = from};
    enum err err = OK;
    buf_init(&pack.in, LINE_MAX_BYTES);
    arena_init(&pack.arena, 1U << 20);
    bool good = read_head(&pack, to);
    arena_done(&pack.arena);
    if (good)
        err = read_lines(&pack);
    if (pack.fault)
        snprintf(ret_why, why_bytes, "line %llu: %s", (unsigned long long)pack.line, pack.fault);
    else if (err)
        snprintf(ret_why, why_bytes, "a temporary file cannot be written: %s", err_text(err));
    snapshot_writer_free(pack.writer);
    buf_done(&pack.in);
    return good && !err && !pack.fault;
}
