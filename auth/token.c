/* SPDX-License-Identifier: MIT */
/* libjwt is asked for one thing, the signature: it reads an exp of the wrong type as 0, takes
 * duplicate members, and checks nothing at all where the key is empty. */
#include "auth/token.h"

#include <jwt.h>
#include <stdlib.h>

#define PART_BYTES_MAX (AUTH_TOKEN_MAX / 4 * 3)

enum part { PART_HEADER, PART_PAYLOAD, PART_SIGNATURE, PART_COUNT };

/* Exactly three parts; the letters are judged by who decodes them. */
static bool split(struct slice token, struct slice ret_parts[PART_COUNT]) {
    unsigned count = 0;
    size_t start = 0;
    if (token.len == 0 || token.len > AUTH_TOKEN_MAX)
        return false;
    for (size_t i = 0; i <= token.len; i++) {
        if (i < token.len && token.ptr[i] != '.')
            continue;
        if (count == PART_COUNT || i == start)
            return false;
        ret_parts[count++] = slice_make(token.ptr + start, i - start);
        start = i + 1;
    }
    return count == PART_COUNT;
}

static const struct {
    const char *name;
    enum key_kind kind;
    jwt_alg_t alg;
} algorithms[] = {
    {"HS256", KEY_SECRET, JWT_ALG_HS256}, {"HS384", KEY_SECRET, JWT_ALG_HS384},
    {"HS512", KEY_SECRET, JWT_ALG_HS512}, {"RS256", KEY_RSA, JWT_ALG_RS256},
    {"ES256", KEY_P256, JWT_ALG_ES256},
};

/* The key says which algorithms there are; the token only picks among them. */
static bool algorithm_for(enum key_kind kind, const char *name, jwt_alg_t *ret_alg) {
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (algorithms[i].kind == kind && strcmp(algorithms[i].name, name) == 0) {
            *ret_alg = algorithms[i].alg;
            return true;
        }
    }
    return false;
}

static bool signature_holds(const struct key *key, struct slice token, jwt_alg_t alg) {
    char text[AUTH_TOKEN_MAX + 1];
    memcpy(text, token.ptr, token.len);
    text[token.len] = '\0';
    jwt_t *jwt = NULL;
    if (key->len == 0 || jwt_decode(&jwt, text, (const unsigned char *)key->bytes, (int)key->len))
        return false;
    bool good = jwt_get_alg(jwt) == alg;
    jwt_free(jwt);
    return good;
}

bool token_verify(const struct key *key, const struct claims_wanted *wanted, struct slice token,
                  int64_t now_ms, struct auth_grant *ret_grant) {
    struct slice parts[PART_COUNT];
    char bytes[PART_BYTES_MAX], name[CLAIMS_ALG_BYTES];
    size_t len;
    jwt_alg_t alg;
    struct auth_grant grant;
    if (!split(token, parts) || !text_base64url_decode(parts[PART_SIGNATURE], bytes, &len))
        return false;
    if (!text_base64url_decode(parts[PART_HEADER], bytes, &len) ||
        !claims_read_header(slice_make(bytes, len), name) || !algorithm_for(key->kind, name, &alg))
        return false;
    if (!text_base64url_decode(parts[PART_PAYLOAD], bytes, &len) ||
        !claims_read_payload(slice_make(bytes, len), wanted, now_ms, &grant))
        return false;
    if (!signature_holds(key, token, alg))
        return false;
    *ret_grant = grant;
    return true;
}

static enum err sign(jwt_t *jwt, struct slice secret, const char *payload, char *ret_token) {
    if (jwt_add_grants_json(jwt, payload) ||
        jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)secret.ptr, (int)secret.len))
        return ERR_INTERNAL;
    char *text = jwt_encode_str(jwt);
    if (!text)
        return ERR_INTERNAL;
    size_t len = strlen(text);
    if (len < AUTH_TOKEN_MAX)
        memcpy(ret_token, text, len + 1);
    free(text);
    return len < AUTH_TOKEN_MAX ? OK : ERR_SYNTAX;
}

enum err auth_sign(struct slice secret, const struct auth_claims *claims, char *ret_token) {
    if (secret.len == 0 || secret.len > INT32_MAX)
        return ERR_SYNTAX;
    char *payload = claims_write_payload(claims);
    if (!payload)
        return ERR_SYNTAX;
    jwt_t *jwt = NULL;
    enum err err = jwt_new(&jwt) ? ERR_INTERNAL : sign(jwt, secret, payload, ret_token);
    jwt_free(jwt);
    free(payload);
    return err;
}
