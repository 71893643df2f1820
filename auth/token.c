/* SPDX-License-Identifier: MIT */
#include "auth/token.h"

#include <stdlib.h>

#include "base/hash.h"

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

static const struct algorithm {
    const char *name;
    enum key_kind kind;
    enum key_hash hash;
} algorithms[] = {
    {"HS256", KEY_SECRET, KEY_SHA256},    {"HS384", KEY_SECRET, KEY_SHA384},
    {"HS512", KEY_SECRET, KEY_SHA512},    {"RS256", KEY_RSA, KEY_SHA256},
    {"ES256", KEY_P256, KEY_SHA256},      {"EdDSA", KEY_ED25519, KEY_SHA512},
    {"Ed25519", KEY_ED25519, KEY_SHA512},
};

static const struct algorithm *algorithm_of(const char *name) {
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    return NULL;
}

struct checked {
    struct slice signed_part; /* header and payload as they are written */
    struct slice signature;   /* decoded */
    struct claims_header header;
    const struct algorithm *algorithm;
};

/* The key says which algorithms there are; the token only picks among them. */
static bool fits(const struct key *key, const struct checked *checked, bool by_name) {
    if (key->kind != checked->algorithm->kind)
        return false;
    if (!checked->header.has_kid)
        return true;
    return by_name ? key->kid && strcmp(key->kid, checked->header.kid) == 0 : !key->kid;
}

/* Whether one of the keys that fit signed it; adds to *count how many there were. */
static bool any_holds(const struct keys *keys, const struct checked *checked, bool by_name,
                      unsigned *count) {
    for (unsigned i = 0; i < keys->count; i++) {
        if (!fits(&keys->list[i], checked, by_name))
            continue;
        if ((*count)++ >= KEYS_TRIED_MAX)
            return false;
        if (key_verify(&keys->list[i], checked->algorithm->hash, checked->signed_part,
                       checked->signature))
            return true;
    }
    return false;
}

static enum token_result judge(const struct keys *keys, const struct checked *checked) {
    unsigned tried = 0;
    if (any_holds(keys, checked, true, &tried))
        return TOKEN_GOOD;
    bool unknown = checked->header.has_kid && tried == 0 && checked->algorithm->kind != KEY_SECRET;
    if (checked->header.has_kid && any_holds(keys, checked, false, &tried))
        return TOKEN_GOOD;
    return unknown ? TOKEN_KEY_UNKNOWN : TOKEN_BAD;
}

enum token_result token_verify(const struct keys *keys, const struct claims_wanted *wanted,
                               struct slice token, int64_t now_ms, struct auth_grant *ret_grant) {
    struct slice parts[PART_COUNT];
    char bytes[PART_BYTES_MAX], signature[PART_BYTES_MAX];
    size_t len, signature_len;
    struct auth_grant grant;
    struct checked checked;
    if (!split(token, parts) ||
        !text_base64url_decode(parts[PART_SIGNATURE], signature, &signature_len))
        return TOKEN_BAD;
    if (!text_base64url_decode(parts[PART_HEADER], bytes, &len) ||
        !claims_read_header(slice_make(bytes, len), &checked.header))
        return TOKEN_BAD;
    checked.algorithm = algorithm_of(checked.header.alg);
    if (!checked.algorithm)
        return TOKEN_BAD;
    if (!text_base64url_decode(parts[PART_PAYLOAD], bytes, &len) ||
        !claims_read_payload(slice_make(bytes, len), wanted, now_ms, &grant))
        return TOKEN_BAD;
    checked.signature = slice_make(signature, signature_len);
    checked.signed_part = slice_make(token.ptr, token.len - parts[PART_SIGNATURE].len - 1);
    enum token_result result = judge(keys, &checked);
    if (result == TOKEN_GOOD)
        *ret_grant = grant;
    return result;
}

static bool write_token(struct buf *to, struct slice secret, struct slice payload) {
    uint8_t mac[HASH_SHA256_BYTES];
    if (!text_append_base64url(to, SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\"}")) ||
        !buf_append_char(to, '.') || !text_append_base64url(to, payload))
        return false;
    hash_hmac_sha256(secret, buf_slice(to), mac);
    return buf_append_char(to, '.') && text_append_base64url(to, slice_make(mac, sizeof mac)) &&
           buf_append_char(to, '\0');
}

enum err auth_sign(struct slice secret, const struct auth_claims *claims, char *ret_token) {
    if (secret.len == 0)
        return ERR_SYNTAX;
    char *payload = claims_write_payload(claims);
    if (!payload)
        return ERR_SYNTAX;
    struct buf token;
    buf_init(&token, AUTH_TOKEN_MAX);
    bool written = write_token(&token, secret, slice_of_cstr(payload));
    if (written)
        memcpy(ret_token, token.ptr, token.len);
    buf_done(&token);
    free(payload);
    return written ? OK : ERR_SYNTAX;
}
