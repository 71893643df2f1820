/* SPDX-License-Identifier: MIT */
/* Tokens and key sets. The first byte says what the rest is: `s` a header and a payload, parted by
 * a newline, which are signed here so that the claims are reached; `t` a token as it came; `k` a
 * key set; `c` a ticket. */
#include "auth/auth.h"
#include "auth/jwks.h"
#include "base/hash.h"
#include "tests/fuzz/target.h"

#define NOW_MS INT64_C(1700000000000)
#define YEAR_MS (INT64_C(365) * 86400 * 1000)
#define SECRET SLICE("kJ3vQ9mZx7Lp2TnW5rYb8sDf4gHc6aEu")

/* Public halves out of RFC 7515 and RFC 8037. */
#define KEYS                                                                                       \
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","                                                \
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                                       \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"                                      \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\","                                          \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"

static struct auth *by_secret, *by_keys;

static struct auth *open_auth(struct auth_options options) {
    struct auth *auth = NULL;
    char why[300];
    check(auth_open(&options, &auth, why, sizeof why) == OK && auth);
    return auth;
}

/* Good or not, it is so again, now from the cache; and never past its time. */
static bool is_good(struct auth *auth, struct slice token) {
    struct auth_grant grant, again;
    if (auth_check(auth, token, NOW_MS, &grant)) {
        check(auth_check(auth, token, NOW_MS, &again) == ERR_AUTH_REQUIRED);
        return false;
    }
    check(grant.signed_in && grant.expires_at_ms > NOW_MS && grant.rule_count <= AUTH_RULES_MAX);
    check(auth_check(auth, token, NOW_MS, &again) == OK);
    check(again.expires_at_ms == grant.expires_at_ms && again.subject == grant.subject);
    check(again.everything == grant.everything && again.has_workspace == grant.has_workspace);
    if (grant.expires_at_ms < INT64_MAX)
        check(auth_check(auth, token, grant.expires_at_ms, &again) == ERR_AUTH_REQUIRED);
    for (unsigned scope = AUTH_NOTHING; scope <= AUTH_ADMIN; scope++) {
        enum err err = auth_allows(&grant, (enum auth_scope)scope, SLICE("name"), NOW_MS);
        check(err == OK || err == ERR_FORBIDDEN);
        if (grant.expires_at_ms < INT64_MAX && scope != AUTH_NOTHING)
            check(auth_allows(&grant, (enum auth_scope)scope, SLICE("name"), grant.expires_at_ms) !=
                  OK);
    }
    return true;
}

/* Whose signature is right. Only the algorithm that it was made by may stand in the header. */
static void check_signed(struct slice header, struct slice payload) {
    uint8_t mac[HASH_SHA256_BYTES];
    struct buf token;
    buf_init(&token, 65536);
    check(text_append_base64url(&token, header) && buf_append_char(&token, '.') &&
          text_append_base64url(&token, payload));
    hash_hmac_sha256(SECRET, buf_slice(&token), mac);
    check(buf_append_char(&token, '.') &&
          text_append_base64url(&token, slice_make(mac, sizeof mac)));
    if (is_good(by_secret, buf_slice(&token))) {
        check(token.len <= AUTH_TOKEN_MAX && memmem(header.ptr, header.len, "alg", 3));
        token.ptr[token.len - 1] ^= 4; /* another letter, of bits that count */
        check(!is_good(by_secret, buf_slice(&token)));
    }
    buf_done(&token);
}

static void read_keys(struct slice document) {
    struct keys *keys = keys_new();
    char why[300];
    check(keys != NULL);
    if (jwks_read(document, keys, why, sizeof why) == OK)
        check(keys->count > 0 && keys->count <= JWKS_KEYS_MAX);
    else
        check(why[0] != '\0');
    check(!strchr(why, '\n'));
    for (unsigned i = 0; i < keys->count; i++) {
        check(keys->list[i].kind != KEY_SECRET && keys->list[i].len > 0);
        check(!keys->list[i].kid || strlen(keys->list[i].kid) <= KEY_KID_MAX);
    }
    keys_drop(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size);
    struct auth_grant grant;
    if (!by_secret) {
        by_secret = open_auth((struct auth_options){.secret = SECRET});
        by_keys = open_auth((struct auth_options){.jwks = SLICE(KEYS)});
    }
    switch (take_byte(&bytes)) {
    case 's': {
        struct slice header = take_until(&bytes, '\n');
        check_signed(header, bytes);
        break;
    }
    case 't': /* nobody has the keys: none may be good */
        check(!is_good(by_keys, bytes));
        (void)is_good(by_secret, bytes);
        break;
    case 'k':
        read_keys(bytes);
        break;
    case 'c':
        check(auth_take_ticket(by_secret, bytes, SLICE("/a"), NOW_MS + YEAR_MS, &grant) != OK);
        break;
    default:
        break;
    }
    return 0;
}
