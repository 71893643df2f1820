/* SPDX-License-Identifier: MIT */
/* Tokens and what they allow. Only auth/jwks_fetch.c knows libcurl. */
#ifndef HATI_AUTH_AUTH_H
#define HATI_AUTH_AUTH_H

#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"

#define AUTH_TOKEN_MAX 8192 /* bytes of a token */
#define AUTH_SECRET_MIN 32  /* bytes of an HMAC secret that is not called weak */
#define AUTH_TICKET_MS 30000
#define AUTH_TICKET_MAX 2048 /* bytes of a ticket and its NUL */
#define AUTH_SYSTEM_ACCOUNT "1749089e-22e6-48de-af4e-165e18fbd2f9"

/* What an operation needs. */
enum auth_scope {
    AUTH_NOTHING, /* open to all, token or not */
    AUTH_ANY,     /* any good token */
    AUTH_KV_READ,
    AUTH_KV_WRITE,
    AUTH_BROKER_PUBLISH,
    AUTH_BROKER_CONSUME,
    AUTH_ADMIN
};

#define AUTH_RULES_MAX 16

/* What a caller may do, as its token said. Plain data: may be copied, owns nothing. */
struct auth_grant {
    bool everything; /* no credentials are configured, or the system account */
    bool signed_in;  /* a token was checked */
    bool has_workspace;
    bool has_scope; /* a scope claim narrows the rules below */
    struct uuid workspace;
    uint64_t subject; /* whose token it is: a hash of iss and sub, or account; 0: it names none */
    int64_t expires_at_ms; /* good until then, leeway included; INT64_MAX: no exp */
    unsigned rule_count;
    struct auth_rule {
        enum auth_scope scope;
        uint8_t pattern_len; /* 0: all names */
        bool prefix;         /* the pattern ended in `*` */
        char pattern[62];    /* a longer pattern makes the token bad */
    } rules[AUTH_RULES_MAX];
};

/* Where the keys come from; a slice without a pointer, or NULL: not from there. */
struct auth_options {
    struct slice secret;         /* HMAC secret, HS256/384/512 */
    struct slice old_secret;     /* good beside the other while it is rotated */
    struct slice public_key_pem; /* RS256, ES256 or EdDSA, by what each key in it is */
    struct slice jwks;           /* a JWK Set */
    const char *jwks_url;        /* of one that is fetched, and fetched anew */
    const char *jwks_ca_file;    /* who vouches for that issuer; NULL: the system's */
    bool jwks_allow_http;        /* not only by https, or from this machine */
    int64_t jwks_refresh_ms, jwks_cooldown_ms;
    bool allow_weak_secret;
    struct slice audience, issuer; /* empty: not asked for */
};

struct auth;

/* Copies what it needs. Refuses an empty secret or key (none at all gives *ret_auth NULL and OK: no
 * credentials), a weak secret, a PEM that is no public key, a key set of no use, a URL that is not
 * to be trusted; one clear line in ret_why. With a URL it starts the thread that fetches, and does
 * not wait for it. */
enum err auth_open(const struct auth_options *options, struct auth **ret_auth, char *ret_why,
                   size_t why_bytes) MUST_USE;
/* Waits until the URL was tried once, for timeout_ms at most. */
void auth_await_keys(struct auth *auth, int64_t timeout_ms);
/* Takes secrets, PEMs and the key set of the options in place of those there are; what was fetched
 * stays, and is fetched anew by and by. Tokens that a removed key signed are good no longer when it
 * returns; no caller waits. On failure all stays as it is, and one line is in ret_why. One thread
 * at a time. */
enum err auth_reload(struct auth *auth, const struct auth_options *options, char *ret_why,
                     size_t why_bytes) MUST_USE;
/* How many keys tokens are checked with. Any thread. */
unsigned auth_key_count(struct auth *auth);
void auth_close(struct auth *auth);

/* Checks a token (or finds it among those already verified; never past its exp). Any thread.
 * ERR_AUTH_REQUIRED for every kind of bad token: the reason is not told. */
enum err auth_check(struct auth *auth, struct slice token, int64_t now_ms,
                    struct auth_grant *ret_grant) MUST_USE;

/* A word that stands for the grant for AUTH_TICKET_MS, once, and where path is not empty only
 * there. NUL-ended. ERR_OUT_OF_MEMORY, ret_ticket untouched. Any thread. */
enum err auth_make_ticket(struct auth *auth, const struct auth_grant *grant, struct slice path,
                          int64_t now_ms, char ret_ticket[AUTH_TICKET_MAX]) MUST_USE;
/* Uses one up that this process made, or any with the same secret. ERR_AUTH_REQUIRED for every kind
 * of bad ticket, ERR_UNAVAILABLE where too many were used of late. Any thread. */
enum err auth_take_ticket(struct auth *auth, struct slice ticket, struct slice path, int64_t now_ms,
                          struct auth_grant *ret_grant) MUST_USE;

/* The grant of callers where nothing is configured. */
extern const struct auth_grant auth_grant_everything;
/* The grant of callers without a token where credentials are configured. */
extern const struct auth_grant auth_grant_nothing;

/* May it do this? name: the namespace, router or queue asked for (may be empty: none is named).
 * OK, ERR_AUTH_REQUIRED where no token came or it has expired by now_ms, ERR_FORBIDDEN. Any thread.
 */
enum err auth_allows(const struct auth_grant *grant, enum auth_scope scope, struct slice name,
                     int64_t now_ms) MUST_USE;
/* For /api2/{workspace}: the token's workspace claim must equal it, or the system account. */
enum err auth_allows_workspace(const struct auth_grant *grant,
                               const struct uuid *workspace) MUST_USE;

struct auth_claims {
    struct slice workspace, account, scope; /* empty: left out */
    struct slice audience, issuer;
    int64_t lifetime_s; /* 0: no exp */
    int64_t now_ms;
};

/* Signs an HS256 development token. ret_token has room for AUTH_TOKEN_MAX bytes, NUL-ended. */
enum err auth_sign(struct slice secret, const struct auth_claims *claims, char *ret_token) MUST_USE;

/* Cache figures for /stats. */
void auth_stats(struct auth *auth, uint64_t *ret_hits, uint64_t *ret_misses);

#endif
