/* SPDX-License-Identifier: MIT */
#include "auth/claims.h"

#include <jansson.h>

#include "auth/scope.h"
#include "base/hash.h"
#include "base/json_load.h"

static struct slice slice_of_string(const json_t *string) {
    return slice_make(json_string_value(string), json_string_length(string));
}

static bool is_text(const json_t *value) {
    return json_is_string(value);
}

/* The object, or NULL. */
static json_t *parse_object(struct slice text) {
    if (text.len == 0 || !text_json_depth_ok(text, CLAIMS_DEPTH_MAX))
        return NULL;
    json_t *root = json_load_slice(text, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

/* jansson takes no NUL within a string, so that its end is where it seems to be. */
static bool copy_name(const json_t *name, char *to, size_t room) {
    if (!is_text(name) || json_string_length(name) >= room)
        return false;
    memcpy(to, json_string_value(name), json_string_length(name) + 1);
    return true;
}

bool claims_read_header(struct slice text, struct claims_header *ret_header) {
    json_t *root = parse_object(text);
    if (!root)
        return false;
    const json_t *kid = json_object_get(root, "kid");
    struct claims_header header = {.has_kid = kid != NULL};
    bool good = copy_name(json_object_get(root, "alg"), header.alg, sizeof header.alg) &&
                (!kid || copy_name(kid, header.kid, sizeof header.kid)) &&
                !json_object_get(root, "crit") && !json_object_get(root, "b64");
    json_decref(root);
    if (good)
        *ret_header = header;
    return good;
}

/* Seconds to ms, to the end of the range where they do not fit. */
static int64_t to_ms(int64_t seconds) {
    int64_t ms;
    if (__builtin_mul_overflow(seconds, 1000, &ms))
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    return ms;
}

static int64_t add_ms(int64_t at_ms, int64_t more_ms) {
    int64_t sum;
    if (__builtin_add_overflow(at_ms, more_ms, &sum))
        return more_ms < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

/* Left out is fine (ret untouched); anything but a whole number is not. */
static bool read_time(const json_t *payload, const char *name, int64_t *ret_at_ms) {
    json_t *at = json_object_get(payload, name);
    if (!at)
        return true;
    if (json_typeof(at) != JSON_INTEGER)
        return false;
    *ret_at_ms = to_ms(json_integer_value(at));
    return true;
}

static bool read_times(const json_t *payload, int64_t now_ms, int64_t *ret_expires_at_ms) {
    int64_t exp_ms = INT64_MAX, nbf_ms = INT64_MIN, iat_ms = 0;
    if (!read_time(payload, "exp", &exp_ms) || !read_time(payload, "nbf", &nbf_ms) ||
        !read_time(payload, "iat", &iat_ms))
        return false;
    if (now_ms < add_ms(nbf_ms, -CLAIMS_LEEWAY_MS))
        return false;
    int64_t expires_at_ms = add_ms(exp_ms, CLAIMS_LEEWAY_MS);
    if (now_ms >= expires_at_ms)
        return false;
    *ret_expires_at_ms = expires_at_ms;
    return true;
}

static bool says(const json_t *value, struct slice text) {
    return slice_equal(slice_of_string(value), text);
}

/* aud is a string or an array of strings (RFC 7519 section 4.1.3). */
static bool audience_fits(const json_t *aud, struct slice wanted) {
    bool found = wanted.len == 0;
    if (!aud)
        return found;
    if (json_typeof(aud) != JSON_ARRAY)
        return is_text(aud) && (found || says(aud, wanted));
    for (size_t i = 0; i < json_array_size(aud); i++) {
        json_t *one = json_array_get(aud, i);
        if (!is_text(one))
            return false;
        found = found || says(one, wanted);
    }
    return found;
}

static bool issuer_fits(const json_t *iss, struct slice wanted) {
    if (!iss)
        return wanted.len == 0;
    return is_text(iss) && (wanted.len == 0 || says(iss, wanted));
}

static bool read_workspace(const json_t *payload, struct auth_grant *grant) {
    json_t *workspace = json_object_get(payload, "workspace");
    if (!workspace)
        return true;
    grant->has_workspace = true;
    return is_text(workspace) && text_uuid_parse(slice_of_string(workspace), &grant->workspace);
}

static bool read_account(const json_t *payload, struct auth_grant *grant) {
    json_t *account = json_object_get(payload, "account");
    if (!account)
        return true;
    if (!is_text(account))
        return false;
    grant->everything = slice_equal_nocase(slice_of_string(account), SLICE(AUTH_SYSTEM_ACCOUNT));
    return true;
}

static bool read_scope(const json_t *payload, struct auth_grant *grant) {
    json_t *scope = json_object_get(payload, "scope");
    if (!scope)
        return true;
    return is_text(scope) && scope_read(slice_of_string(scope), grant);
}

/* Whose limits hold: by sub, else by account. A seed of this process: nobody finds two alike. */
static void read_subject(const json_t *payload, struct auth_grant *grant) {
    const json_t *subject = json_object_get(payload, "sub");
    const json_t *issuer = json_object_get(payload, "iss");
    uint64_t seed = hash_process_seed();
    if (!is_text(subject) || json_string_length(subject) == 0)
        subject = json_object_get(payload, "account");
    if (!is_text(subject) || json_string_length(subject) == 0)
        return;
    if (is_text(issuer))
        seed = hash_seeded(slice_of_string(issuer), seed);
    grant->subject = hash_seeded(slice_of_string(subject), seed) | 1;
}

bool claims_read_payload(struct slice text, const struct claims_wanted *wanted, int64_t now_ms,
                         struct auth_grant *ret_grant) {
    json_t *payload = parse_object(text);
    if (!payload)
        return false;
    struct auth_grant grant = {.signed_in = true};
    bool good = read_times(payload, now_ms, &grant.expires_at_ms) &&
                audience_fits(json_object_get(payload, "aud"), wanted->audience) &&
                issuer_fits(json_object_get(payload, "iss"), wanted->issuer) &&
                read_workspace(payload, &grant) && read_account(payload, &grant) &&
                read_scope(payload, &grant);
    read_subject(payload, &grant);
    json_decref(payload);
    if (good)
        *ret_grant = grant;
    return good;
}

static bool add_string(json_t *payload, const char *name, struct slice text) {
    if (text.len == 0)
        return true;
    if (memchr(text.ptr, '\0', text.len))
        return false;
    return json_object_set_new(payload, name, json_stringn(text.ptr, text.len)) == 0;
}

char *claims_write_payload(const struct auth_claims *claims) {
    json_t *payload = json_object();
    int64_t now_s = claims->now_ms / 1000, exp_s;
    bool good = payload && claims->lifetime_s >= 0 &&
                !__builtin_add_overflow(now_s, claims->lifetime_s, &exp_s) &&
                json_object_set_new(payload, "iat", json_integer(now_s)) == 0 &&
                (claims->lifetime_s == 0 ||
                 json_object_set_new(payload, "exp", json_integer(exp_s)) == 0) &&
                add_string(payload, "workspace", claims->workspace) &&
                add_string(payload, "account", claims->account) &&
                add_string(payload, "scope", claims->scope) &&
                add_string(payload, "aud", claims->audience) &&
                add_string(payload, "iss", claims->issuer);
    char *text = good ? json_dumps(payload, JSON_COMPACT) : NULL;
    json_decref(payload);
    return text;
}
