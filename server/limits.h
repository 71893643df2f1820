/* SPDX-License-Identifier: MIT */
/* Limits of each client: a client is a token's subject where a good token came, else an address (of
 * IPv6 a /64). Callers of a UNIX socket without a token have no address and no limits: who may open
 * the socket is told by its file. */
#ifndef HATI_SERVER_LIMITS_H
#define HATI_SERVER_LIMITS_H

#include "auth/auth.h"
#include "server/client_table.h"

#define LIMITS_HEADER_BYTES 128
#define LIMITS_WHY_BYTES 128

/* Why somebody was turned away or cut off; what /metrics tells. */
enum limits_reason {
    LIMITS_RATE,
    LIMITS_BYTES,
    LIMITS_CONNECTIONS,    /* of one address */
    LIMITS_REQUESTS,       /* in flight, of one client */
    LIMITS_SLOW_HANDSHAKE, /* TLS, or the PROXY header */
    LIMITS_SLOW_HEADERS,
    LIMITS_SLOW_BODY,
    LIMITS_SLOW_READER,
    LIMITS_SLOW_LINE,
    LIMITS_IDLE,
    LIMITS_PROXY_HEADER, /* malformed, or missing */
    LIMITS_REASONS
};

struct limits_options {
    struct client_allowance rate, bytes; /* per = 0: none */
    unsigned connections, requests;      /* 0: no limit */
    const char *trusted_proxies;         /* networks; NULL: none */
};

struct limits;

/* Whose limits hold. All zeros: nobody's. */
struct limits_client {
    bool limited;
    struct client_key key;
};

/* What is left of each allowance; as far as it is set. */
struct limits_left {
    struct client_rest rest[CLIENT_BUCKETS];
    enum limits_reason reason; /* of a refusal */
};

/* NULL without memory, or where the networks are none. */
struct limits *limits_open(const struct limits_options *options);
void limits_close(struct limits *limits);

/* Is any limit set? limits may be NULL everywhere: none is. */
bool limits_are_set(const struct limits *limits);
/* Is one set for requests: rate or bytes? */
bool limits_meter(const struct limits *limits);
bool limits_count_bytes_of(const struct limits *limits);
unsigned limits_max_requests(const struct limits *limits);

/* Those that may say for whom they ask; NULL: none is. */
const struct networks *limits_trusted(const struct limits *limits);

/* grant may be NULL: no token is known of. */
struct limits_client limits_client_of(const struct limits *limits, const struct address *address,
                                      const struct auth_grant *grant);

/* One request more, or n calls at once. OK, or ERR_RATE_LIMITED, which is counted. ret_left is
 * filled either way. Any thread; never blocks for long. */
enum err limits_admit(struct limits *limits, const struct limits_client *client, uint64_t n,
                      struct limits_left *ret_left) MUST_USE;
/* So many bytes came or went: what is too much has to be waited for before the next request. */
void limits_add_bytes(struct limits *limits, const struct limits_client *client, uint64_t bytes);

/* A connection was accepted, or a request begins: ERR_RATE_LIMITED (counted) where there are too
 * many; else limits_let_go is due. */
enum err limits_hold(struct limits *limits, const struct limits_client *client,
                     enum client_held what) MUST_USE;
void limits_let_go(struct limits *limits, const struct limits_client *client,
                   enum client_held what);

/* Somebody was turned away or cut off. Any thread. */
void limits_note(struct limits *limits, enum limits_reason reason);
uint64_t limits_noted(struct limits *limits, enum limits_reason reason);
/* Its name among the metrics; static. */
const char *limits_reason_name(enum limits_reason reason);
/* Clients in the table. */
unsigned limits_known(struct limits *limits);

/* Seconds after which another try may go through; 1 at least. */
int64_t limits_retry_after_s(const struct limits_left *left);
/* The fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10). */
void limits_format_policy(const struct limits *limits, char ret_text[LIMITS_HEADER_BYTES]);
void limits_format_left(const struct limits *limits, const struct limits_left *left,
                        char ret_text[LIMITS_HEADER_BYTES]);
/* For people, of a refusal. */
void limits_format_why(const struct limits_left *left, char ret_text[LIMITS_WHY_BYTES]);

#endif
