/* SPDX-License-Identifier: MIT */
/* An operation is declared once: one row says its name, its verbs on lines, its REST routes, its
 * parameters, the right it needs, how it answers, and the function that does it. Every door
 * dispatches from these rows, and HELP and the documents are made of them. */
#ifndef HATI_HANDLERS_OP_H
#define HATI_HANDLERS_OP_H

#include "auth/auth.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "broker/broker.h"
#include "kv/kv.h"

#define OP_PARAMS_MAX 14
#define OP_VERBS_MAX 2
#define OP_ROUTES_MAX 4
#define OP_ETAGS_MAX 32
#define OP_LIST_LIMIT 1000 /* keys of a page where a door has to have an end */

struct call;

enum param_type {
    PARAM_STORAGE,   /* memory | hdd -> enum kv_storage */
    PARAM_WORKSPACE, /* UUID -> struct uuid */
    PARAM_NAMESPACE, /* 1-255 bytes of UTF-8, no NUL -> struct slice */
    PARAM_KEY,       /* 1-4096 bytes, no NUL -> struct slice */
    PARAM_BYTES,  /* any bytes up to the payload limit; JSON: string, base64 by `encoding` -> struct
                     slice */
    PARAM_PREFIX, /* 0-4096 bytes, no NUL -> struct slice; a lone `*` on lines is empty */
    PARAM_CURSOR, /* as a listing gave it -> struct slice (the key behind which to go on) */
    PARAM_INT,    /* min..max; JSON: integer or numeric string -> int64_t */
    PARAM_REVISION, /* unsigned 64 bit; JSON: integer or numeric string -> uint64_t */
    PARAM_BOOL,     /* -> bool */
    PARAM_ETAG,     /* 32 hexadecimal digits -> adds to args.etags */
    PARAM_ENCODING, /* JSON only: how PARAM_BYTES is written; "utf-8" (default) or "base64" */
    PARAM_KEYS,     /* JSON only: array of keys -> args.keys */
    PARAM_ENTRIES,  /* JSON only: object -> args.entries */
    PARAM_NAME, /* of a router or queue, or an id: 1-255 bytes of UTF-8 without spaces and control
                   characters -> struct slice */
    PARAM_ROUTING,  /* a routing key or pattern: the same, or empty -> struct slice */
    PARAM_CHOICE,   /* one word of `choices` -> its index as an int (an enum's field) */
    PARAM_HEADERS,  /* a JSON object, BROKER_HEADERS_MAX bytes as text -> struct slice, its text */
    PARAM_SETTINGS, /* lines only, the last word: what is left of the line is `name=value` words,
                       each bound as the row's parameter of that name */
    PARAM_RECEIPTS, /* JSON only: array of receipts -> args.keys, judged one by one later */
    PARAM_MESSAGES, /* JSON only: array of messages to publish -> args.messages */
    PARAM_OPS       /* JSON only: array of the ops of a batch -> args.ops */
};

enum param_flags {
    PARAM_REQUIRED = 1,
    PARAM_BY_NAME_ONLY = 2 /* JSON: has no place in a positional call */
};

/* One parameter. Its place in a positional JSON call is its place among the row's parameters. */
struct param {
    const char *name; /* JSON member, {part} of a route, query parameter, word of a verb */
    enum param_type type;
    unsigned flags;
    unsigned at;         /* offset of the field in struct args */
    int64_t min, max;    /* PARAM_INT: bounds */
    const char *doc;     /* one line, with the unit */
    const char *alias;   /* another name it may have in JSON; or NULL */
    const char *choices; /* PARAM_CHOICE: words parted by spaces */
};

/* One entry of SetMany. */
struct args_entry {
    struct slice key;
    struct slice value;
    int64_t ttl_ms;
};

/* One message of PublishMany: ready but for router and now. err: it is not fit to be published. */
struct args_message {
    enum err err;
    const char *detail; /* of err, for people; in the arena or static */
    struct slice key, payload, id, headers;
    int64_t delay_ms, ttl_ms, priority;
};

enum args_op_kind { BATCH_SET, BATCH_DELETE, BATCH_INCR, BATCH_CHECK, BATCH_PUBLISH, BATCH_ACK };

/* One op of a batch. */
struct args_op {
    enum args_op_kind kind;
    enum kv_condition condition; /* BATCH_CHECK */
    struct slice key, value;
    int64_t ttl_ms, by;
    uint64_t if_revision;
    uint8_t etag[HASH_MD5_BYTES];
    struct slice router, queue, receipt; /* BATCH_PUBLISH, BATCH_ACK */
    struct args_message message;         /* BATCH_PUBLISH */
};

/* Typed, bounds-checked arguments; doors fill them through handlers/bind.h. What was not given
 * holds its default: 0, empty, or what call_init set. */
struct args {
    uint32_t given; /* bit i: parameter i of the row came from the caller */
    enum kv_storage storage;
    bool workspace_named; /* the caller named it, so the token must open it */
    bool if_absent;
    bool if_present;     /* REST doors: If-Match: * */
    bool revision_given; /* if_revision is a condition */
    unsigned etag_count;
    struct uuid workspace;
    struct slice ns;
    struct slice key;
    struct slice value;
    const uint8_t *value_etag; /* of value, where the door has it; else NULL */
    struct slice content_type;
    struct slice prefix;
    struct slice cursor;
    int64_t ttl_ms;
    int64_t limit;
    int64_t by;
    uint64_t if_revision;
    uint8_t (*etags)[HASH_MD5_BYTES]; /* in the call's arena, room for OP_ETAGS_MAX */
    struct slice *keys;
    unsigned key_count;
    struct args_entry *entries;
    unsigned entry_count;
    /* the broker's; a payload is in value */
    struct slice router, queue, pattern, receipt, routing_key, id, headers;
    int router_type; /* enum broker_router_type */
    int overflow;    /* enum broker_overflow */
    struct slice dead_letter;
    int64_t max_deliver, max_length, dedup_window_ms;
    int64_t delay_ms, lease_ms, wait_ms, max, priority, prefetch;
    struct args_message *messages;
    unsigned message_count;
    struct args_op *ops;
    unsigned op_count;
};

/* How an operation answers; JSON-RPC results follow it directly. */
enum reply_kind {
    REPLY_TRUE,    /* true */
    REPLY_BOOL,    /* flag */
    REPLY_NUMBER,  /* number */
    REPLY_VALUE,   /* entry.value: a string, or {"value","encoding":"base64"} */
    REPLY_ENTRY,   /* {"value","encoding"?,"revision","etag","ttl"} */
    REPLY_KEYS,    /* {"keys":[…],"cursor"?} */
    REPLY_PAIRS,   /* {"<key>":<value>…} */
    REPLY_TEXT,    /* text, as a JSON string */
    REPLY_JSON,    /* text, which is JSON already */
    REPLY_MESSAGES /* {"messages":[…]}: what call->broker.receive holds */
};

struct reply_pair {
    struct slice key;
    struct slice value;
};

struct reply {
    bool flag;
    bool created; /* a write found no live entry before */
    bool more;    /* REPLY_KEYS: a cursor follows from the last key */
    bool indexed; /* the failure is that of element `index` of a list */
    unsigned index;
    unsigned key_count;
    unsigned pair_count;
    int64_t number;
    struct slice text;
    struct slice line_text;       /* LINE_JSON: in place of text where it is not empty */
    struct slice id;              /* of a published message; in the call's arena */
    uint64_t revision;            /* of a write */
    uint8_t etag[HASH_MD5_BYTES]; /* of a write, where call->want_etag */
    struct kv_entry entry;        /* in the call's arena */
    int64_t ttl_ms;               /* REPLY_ENTRY: remaining; 0 never */
    struct slice *keys;           /* in the call's arena */
    struct reply_pair *pairs;
};

/* How a verb answers on a line. */
enum line_form {
    LINE_OK,        /* +OK */
    LINE_FOUND,     /* +OK, or +ERR KEY_NOT_EXIST where the reply's flag is false */
    LINE_VALUE,     /* the value and \n; NOT_FRAMABLE where it holds one */
    LINE_FRAME,     /* $<length>\n<bytes>\n */
    LINE_NUMBER,    /* decimal */
    LINE_KEYS,      /* {"keys":[…],"cursor":…} on one line */
    LINE_TEXT,      /* + and the text */
    LINE_JSON,      /* the text */
    LINE_COUNTED,   /* +OK and the number */
    LINE_PUBLISHED, /* +OK, the id and the number */
    LINE_MESSAGES   /* per message MSG <receipt> <attempt> <routing-key> <length>\n<bytes>\n, then
                       +OK <count> */
};

/* A verb of the line protocol. words: the parameters in the order of the line, parted by spaces,
 * optional ones in [ ]; a PARAM_BYTES or PARAM_SETTINGS at the end takes the rest of the line. */
struct op_verb {
    const char *verb;
    const char *words;
    enum line_form form;
    bool framed;     /* the last word is a length; that many bytes and \n follow the line */
    const char *doc; /* for HELP; NULL: an alias, not listed */
};

enum op_flags {
    OP_WRITE = 1,       /* changes something */
    OP_OPEN = 2,        /* needs no token */
    OP_ALL_NAMES = 4,   /* touches the whole storage, not one namespace */
    OP_MAY_WAIT = 8,    /* may be parked on memory too */
    OP_BROKER = 16,     /* works on routers and queues: which storage is known only when it runs */
    OP_OF_ROUTER = 32,  /* the scope's name is args.router, not the namespace */
    OP_OF_QUEUE = 64,   /* the scope's name is args.queue */
    OP_JSON_BODY = 128, /* REST: the body is a JSON object whose members are parameters */
    OP_WAITS = 256      /* waits as long as its caller asks: the broker ends it, no deadline of the
                           door's */
};

struct op {
    const char *name; /* "Storage.Set" */
    const char *doc;
    enum auth_scope scope;
    unsigned flags;
    enum reply_kind reply;
    const char *routes[OP_ROUTES_MAX]; /* "PUT /api2/{workspace}/{namespace}/{key}" */
    struct op_verb verbs[OP_VERBS_MAX];
    const struct param *params;
    unsigned param_count;
    uint64_t errors; /* OP_ERR(…) bits beyond those every operation may answer */
    /* OK: reply is filled. ERR_PENDING: call_finish comes later. Else the failure. */
    enum err (*run)(struct call *call);
};

#define OP_ERR(name) (1ULL << ERR_##name)

extern const struct op ops[];
extern const unsigned op_count;

/* Finds a row by its JSON-RPC name (exact), or NULL. Any thread. */
const struct op *op_find_name(struct slice name);

/* A verb with its words resolved to parameters. */
struct op_words {
    const struct op *op;
    const struct op_verb *verb;
    unsigned count;
    unsigned required;            /* the first so many must come */
    uint8_t param[OP_PARAMS_MAX]; /* index into op->params */
    bool rest_of_line;            /* the last word takes the rest of the line */
};

/* Finds a verb, any case, or NULL. Any thread. */
const struct op_words *op_find_verb(struct slice verb);

/* Checks the rows and resolves words and names; call once before any thread. Aborts with a line on
 * stderr where a row is wrong (a programmer's mistake that every start would show). */
void op_init(void);

#endif
