/* SPDX-License-Identifier: MIT */
/* From a path to what serves it: the routes of the operation rows, and the door's own. */
#ifndef HATI_SERVER_HTTP_ROUTE_H
#define HATI_SERVER_HTTP_ROUTE_H

#include <stdio.h>

#include "handlers/op.h"
#include "openapi/openapi.h"
#include "openapi/pages.h"

#define HTTP_ROUTE_PARTS_MAX 4
#define HTTP_ALLOW_BYTES 64

enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_PUT = 4,
    HTTP_POST = 8,
    HTTP_DELETE = 16,
    HTTP_OPTIONS = 32,
    HTTP_OTHER = 64
};

enum http_target {
    TARGET_OP,      /* a row */
    TARGET_RPC,     /* JSON-RPC */
    TARGET_STREAM,  /* events of a queue, whose name is the part */
    TARGET_WATCH,   /* events of a namespace: the row of its listing, asked with watch=1 */
    TARGET_TICKETS, /* a ticket in place of a header */
    TARGET_KVSTORE, /* what stands below /kv-store */
    TARGET_METRICS,
    TARGET_SNAPSHOT, /* what stands at /snapshot and below */
    TARGET_STATUS,   /* from here on open to all */
    TARGET_HEALTH,
    TARGET_READY,
    TARGET_OPENAPI,
    TARGET_OPENRPC,
    TARGET_PAGE, /* the console, the docs page, or what they load */
    TARGET_ROOT, /* `/`, asked for by a browser */
    TARGET_POKE  /* another node of the engine says that a queue has something new */
};

/* What of /kv-store; a key or the number of a shard is the part. */
enum http_kvstore {
    KVSTORE_NONE, /* unknown */
    KVSTORE_KEY,
    KVSTORE_COUNT,
    KVSTORE_SHARDS,
    KVSTORE_SHARD,
    KVSTORE_VIEW_CHANGE
};

/* What a path stands for. Parts are as they came: still percent-encoded. */
struct http_match {
    enum http_target target;
    const struct op *op; /* TARGET_OP */
    const char *route;   /* its pattern, static: "/api/{namespace}/{key}"; NULL: unknown */
    enum http_kvstore kvstore;
    const struct web_page *page; /* TARGET_PAGE; NULL: unknown */
    unsigned methods;            /* what the path serves, bits; OPTIONS and HEAD included */
    int payload;                 /* the parameter that the body is; -1: none */
    unsigned part_count;
    uint8_t params[HTTP_ROUTE_PARTS_MAX]; /* which parameter of the row a part is */
    struct slice parts[HTTP_ROUTE_PARTS_MAX];
};

/* Reads the routes off the rows; call once before any thread. Aborts where a route is wrong. */
void http_route_init(void);

enum http_method http_method_of(struct slice name);

/* Finds what serves the method at the path (without its query). Unknown path:
 * ERR_UNKNOWN_COMMAND. Known, but not with this method: ERR_METHOD_NOT_ALLOWED, and
 * ret_match->methods and target are set. OPTIONS is fine on every known path. Any thread. */
enum err http_route_find(struct slice path, enum http_method method,
                         struct http_match *ret_match) MUST_USE;

/* The same for what stands below /kv-store; target is set where a path does, known or not.
 * (kvstore.c) */
enum err kvstore_find(struct slice path, enum http_method method, struct http_match *to) MUST_USE;

/* Prints every route that is served, "GET /path" a line, but OPTIONS, which every path has. After
 * http_route_init. */
void http_route_print(FILE *to);
/* The same for one path and its methods, bits; and for what stands below /kv-store (kvstore.c). */
void http_route_print_path(FILE *to, const char *path, unsigned methods);
void kvstore_print_routes(FILE *to);

/* What the documents tell of the routes that are no rows. (http_doors.c) */
extern const struct openapi_route http_doors[];
extern const unsigned http_door_count;

/* Writes methods as "GET, HEAD, OPTIONS". */
void http_route_allow(unsigned methods, char ret_allow[HTTP_ALLOW_BYTES]);

#endif
