/* SPDX-License-Identifier: MIT */
#include "auth/jwks.h"
#include "base/json_load.h"

#include <jansson.h>
#include <stdio.h>

#define NUMBER_BYTES_MAX 1028 /* of RSA 8192, and zeros that do not belong before it */

static struct slice member(const json_t *jwk, const char *name) {
    const json_t *text = json_object_get(jwk, name);
    return slice_make(json_string_value(text), json_string_length(text));
}

static bool is(struct slice text, const char *word) {
    return slice_equal(text, slice_of_cstr(word));
}

struct number {
    char bytes[NUMBER_BYTES_MAX];
    size_t len;
};

/* Zeros before the number are some issuers' habit. */
static bool read_number(const json_t *jwk, const char *name, struct number *ret_number) {
    struct slice text = member(jwk, name);
    return text.len && text.len <= NUMBER_BYTES_MAX / 3 * 4 &&
           text_base64url_decode(text, ret_number->bytes, &ret_number->len) && ret_number->len;
}

static struct slice slice_of_number(const struct number *number) {
    return slice_make(number->bytes, number->len);
}

static const char lacks[] = "a member is missing or no base64url";

static const char *read_rsa(const json_t *jwk, struct key *ret_key) {
    struct number n, e;
    if (!read_number(jwk, "n", &n) || !read_number(jwk, "e", &e))
        return lacks;
    return key_of_rsa(slice_of_number(&n), slice_of_number(&e), ret_key);
}

static const char *read_p256(const json_t *jwk, struct key *ret_key) {
    struct number x, y;
    if (!is(member(jwk, "crv"), "P-256"))
        return "its curve is not P-256";
    if (!read_number(jwk, "x", &x) || !read_number(jwk, "y", &y))
        return lacks;
    return key_of_p256(slice_of_number(&x), slice_of_number(&y), ret_key);
}

static const char *read_ed25519(const json_t *jwk, struct key *ret_key) {
    struct number x;
    if (!is(member(jwk, "crv"), "Ed25519"))
        return "its curve is not Ed25519";
    return read_number(jwk, "x", &x) ? key_of_ed25519(slice_of_number(&x), ret_key) : lacks;
}

static const struct {
    const char *kty, *algs[2];
    const char *(*read)(const json_t *jwk, struct key *ret_key);
} kinds[] = {
    {"RSA", {"RS256", "RS256"}, read_rsa},
    {"EC", {"ES256", "ES256"}, read_p256},
    {"OKP", {"EdDSA", "Ed25519"}, read_ed25519},
};

/* Left out: meant for anything. */
static bool is_for_signatures(const json_t *jwk) {
    const json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops");
    if (use && !is(member(jwk, "use"), "sig"))
        return false;
    if (!ops)
        return true;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const json_t *op = json_array_get(ops, i);
        if (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0)
            return true;
    }
    return false;
}

static const char *read_kid(const json_t *jwk, struct key *key) {
    const json_t *kid = json_object_get(jwk, "kid");
    if (!kid)
        return NULL;
    if (!json_is_string(kid) || json_string_length(kid) > KEY_KID_MAX)
        return "its kid is no text up to 255 bytes";
    key->kid = strdup(json_string_value(kid));
    return key->kid ? NULL : key_no_memory;
}

/* NULL and a key, or why this one is of no use. */
static const char *read_key(const json_t *jwk, struct key *ret_key) {
    if (!json_is_object(jwk))
        return "it is no object";
    if (!is_for_signatures(jwk))
        return "its use or key_ops is another than to check signatures";
    struct slice kty = member(jwk, "kty"), alg = member(jwk, "alg");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!is(kty, kinds[i].kty))
            continue;
        if (json_object_get(jwk, "alg") && !is(alg, kinds[i].algs[0]) && !is(alg, kinds[i].algs[1]))
            return "its alg is none of RS256, ES256 and EdDSA, or another kty's";
        struct key key = {0};
        const char *fault = kinds[i].read(jwk, &key);
        if (!fault)
            fault = read_kid(jwk, &key);
        if (fault)
            key_close(&key);
        else
            *ret_key = key;
        return fault;
    }
    return "its kty is none of RSA, EC and OKP";
}

/* Whoever can read the document could sign tokens: it must not be taken for a good one. */
static bool holds_private(const json_t *keys) {
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"};
    for (size_t i = 0; i < json_array_size(keys); i++)
        for (size_t name = 0; name < sizeof names / sizeof names[0]; name++)
            if (json_object_get(json_array_get(keys, i), names[name]))
                return true;
    return false;
}

static const char *document_fault(const json_t *root) {
    const json_t *list = json_object_get(root, "keys");
    if (!json_is_array(list))
        return "the key set is no JSON object with an array `keys`";
    if (json_array_size(list) == 0)
        return "the key set is empty";
    if (json_array_size(list) > JWKS_KEYS_MAX)
        return "the key set holds over 100 keys";
    if (holds_private(list))
        return "the key set holds a private key or a secret: only public keys may be published";
    return NULL;
}

static enum err add_keys(const json_t *list, struct keys *keys, char *ret_why, size_t why_bytes) {
    unsigned used = 0, passed_over = 0;
    const char *first = "";
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct key key;
        const char *fault = read_key(json_array_get(list, i), &key);
        if (!fault)
            fault = keys_add_take(keys, &key);
        if (fault == key_no_memory) { /* a set that lost a good key is not to replace a whole one */
            snprintf(ret_why, why_bytes, "%s", fault);
            return ERR_OUT_OF_MEMORY;
        }
        if (fault && passed_over++ == 0)
            first = fault;
        used += !fault;
    }
    if (used == 0) {
        snprintf(ret_why, why_bytes, "the key set holds no key of use here (the first: %s)", first);
        return ERR_SYNTAX;
    }
    if (passed_over)
        snprintf(ret_why, why_bytes,
                 "of the key set %u keys are used, %u passed over (the first: %s)", used,
                 passed_over, first);
    return OK;
}

enum err jwks_read(struct slice document, struct keys *keys, char *ret_why, size_t why_bytes) {
    const char *fault = NULL;
    json_t *root = NULL;
    ret_why[0] = '\0';
    if (document.len > JWKS_BYTES_MAX)
        fault = "the key set is over 1 MiB";
    else if (document.len && text_json_depth_ok(document, JWKS_DEPTH_MAX))
        root = json_load_slice(document, JSON_REJECT_DUPLICATES, NULL);
    if (!fault)
        fault = document_fault(root);
    enum err err = ERR_SYNTAX;
    if (fault)
        snprintf(ret_why, why_bytes, "%s", fault);
    else
        err = add_keys(json_object_get(root, "keys"), keys, ret_why, why_bytes);
    json_decref(root);
    return err;
}
