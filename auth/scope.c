/* SPDX-License-Identifier: MIT */
#include "auth/scope.h"

const struct auth_grant auth_grant_everything = {.everything = true, .expires_at_ms = INT64_MAX};
const struct auth_grant auth_grant_nothing = {.expires_at_ms = INT64_MAX};

static const struct {
    const char *word;
    enum auth_scope scope;
} words[] = {
    {"kv:read", AUTH_KV_READ},
    {"kv:write", AUTH_KV_WRITE},
    {"broker:publish", AUTH_BROKER_PUBLISH},
    {"broker:consume", AUTH_BROKER_CONSUME},
    {"admin", AUTH_ADMIN},
};

/* An empty pattern is a slip of who made the token, not the wish for all names. */
static bool read_pattern(struct slice pattern, struct auth_rule *rule) {
    if (pattern.len == 0)
        return false;
    rule->prefix = pattern.ptr[pattern.len - 1] == '*';
    if (rule->prefix)
        pattern.len--;
    if (pattern.len > sizeof rule->pattern || memchr(pattern.ptr, '*', pattern.len))
        return false;
    memcpy(rule->pattern, pattern.ptr, pattern.len);
    rule->pattern_len = (uint8_t)pattern.len;
    return true;
}

static bool read_rule(struct slice text, struct auth_grant *grant) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct slice word = slice_of_cstr(words[i].word);
        if (!slice_starts_with(text, word))
            continue;
        struct auth_rule rule = {.scope = words[i].scope};
        if (text.len > word.len) {
            if (text.ptr[word.len] != ':')
                continue;
            if (!read_pattern(slice_make(text.ptr + word.len + 1, text.len - word.len - 1), &rule))
                return false;
        }
        if (grant->rule_count == AUTH_RULES_MAX)
            return false;
        grant->rules[grant->rule_count++] = rule;
        return true;
    }
    return true;
}

bool scope_read(struct slice scope, struct auth_grant *grant) {
    grant->has_scope = true;
    size_t start = 0;
    for (size_t i = 0; i <= scope.len; i++) {
        if (i < scope.len && scope.ptr[i] != ' ')
            continue;
        if (i > start && !read_rule(slice_make(scope.ptr + start, i - start), grant))
            return false;
        start = i + 1;
    }
    return true;
}

static bool rule_fits(const struct auth_rule *rule, enum auth_scope scope, struct slice name) {
    if (rule->scope != scope)
        return false;
    struct slice pattern = slice_make(rule->pattern, rule->pattern_len);
    if (pattern.len == 0)
        return true;
    return rule->prefix ? slice_starts_with(name, pattern) : slice_equal(name, pattern);
}

enum err auth_allows(const struct auth_grant *grant, enum auth_scope scope, struct slice name,
                     int64_t now_ms) {
    if (scope == AUTH_NOTHING)
        return OK;
    if (!grant->everything && !grant->signed_in)
        return ERR_AUTH_REQUIRED;
    if (now_ms >= grant->expires_at_ms)
        return ERR_AUTH_REQUIRED;
    if (scope == AUTH_ANY || !grant->has_scope)
        return OK;
    for (unsigned i = 0; i < grant->rule_count; i++)
        if (rule_fits(&grant->rules[i], scope, name))
            return OK;
    return ERR_FORBIDDEN;
}

enum err auth_allows_workspace(const struct auth_grant *grant, const struct uuid *workspace) {
    if (grant->everything)
        return OK;
    if (!grant->signed_in)
        return ERR_AUTH_REQUIRED;
    if (!grant->has_workspace || memcmp(&grant->workspace, workspace, sizeof *workspace) != 0)
        return ERR_FORBIDDEN;
    return OK;
}
