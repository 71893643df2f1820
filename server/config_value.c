/* SPDX-License-Identifier: MIT */
#include "server/config_value.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define TIME_MAX_MS                                                                                \
    (876000LL * 3600000)      /* a hundred years: added to any clock, and in ns, it fits */
#define BYTES_MAX (1LL << 50) /* times anything that is set beside it, it fits */

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0)
            return true;
    return false;
}

/* Digits and a point, whatever the locale: no sign, no exponent. */
const char *config_value_share(const char *value, double *ret_share) {
    double share = 0;
    double weight = 1;
    bool behind_point = false;
    const char *at = value;
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !behind_point); at++) {
        if (*at == '.') {
            behind_point = true;
            continue;
        }
        weight = behind_point ? weight / 10 : weight;
        share = behind_point ? share + (*at - '0') * weight : share * 10 + (*at - '0');
    }
    if (*at || at == value || share > 1 || slice_equal(slice_of_cstr(value), SLICE(".")))
        return "a share from 0 to 1";
    *ret_share = share;
    return NULL;
}

const char *config_value_bool(const char *text, bool *ret) {
    static const char *const yes[] = {"true", "yes", "on", "1", NULL};
    static const char *const no[] = {"false", "no", "off", "0", NULL};
    if (is_one_of(text, yes))
        *ret = true;
    else if (is_one_of(text, no))
        *ret = false;
    else
        return "true or false";
    return NULL;
}

static bool parse_number(const char *text, int64_t min, int64_t max, int64_t *ret) {
    int64_t number;
    if (!slice_parse_i64(slice_of_cstr(text), &number) || number < min || number > max)
        return false;
    *ret = number;
    return true;
}

const char *config_value_port(const char *text, unsigned *ret) {
    int64_t number;
    if (!parse_number(text, 0, 65535, &number))
        return "a port from 0 to 65535";
    *ret = (unsigned)number;
    return NULL;
}

const char *config_value_count(const char *text, unsigned min, unsigned max, unsigned *ret) {
    int64_t number;
    if (!parse_number(text, min, max, &number))
        return "a whole number within its bounds";
    *ret = (unsigned)number;
    return NULL;
}

struct unit {
    const char *name;
    int64_t factor;
};

/* A number and the unit behind it; the list ends with a NULL name. */
static bool parse_with_unit(const char *text, const struct unit *units, int64_t *ret) {
    size_t digits = strspn(text, "0123456789");
    int64_t number;
    if (!slice_parse_i64(slice_make(text, digits), &number))
        return false;
    while (units->name && strcasecmp(text + digits, units->name) != 0)
        units++;
    return units->name && !__builtin_mul_overflow(number, units->factor, ret);
}

const char *config_value_ms(const char *text, int64_t *ret) {
    static const struct unit units[] = {{"", 1},      {"ms", 1},      {"s", 1000},
                                        {"m", 60000}, {"h", 3600000}, {NULL, 0}};
    int64_t ms;
    if (!parse_with_unit(text, units, &ms) || ms > TIME_MAX_MS)
        return "a time: milliseconds, or a number with ms, s, m or h, up to 876000h";
    *ret = ms;
    return NULL;
}

const char *config_value_bytes(const char *text, uint64_t *ret) {
    static const struct unit units[] = {{"", 1},         {"b", 1},         {"k", 1 << 10},
                                        {"kb", 1 << 10}, {"kib", 1 << 10}, {"m", 1 << 20},
                                        {"mb", 1 << 20}, {"mib", 1 << 20}, {"g", 1 << 30},
                                        {"gb", 1 << 30}, {"gib", 1 << 30}, {NULL, 0}};
    int64_t bytes;
    if (!parse_with_unit(text, units, &bytes) || bytes > BYTES_MAX)
        return "a size: bytes, or a number with k, m or g, up to 1048576g";
    *ret = (uint64_t)bytes;
    return NULL;
}

const char *config_value_rate(const char *text, struct config_rate *ret) {
    static const struct unit units[] = {
        {"", 1000}, {"/s", 1000}, {"/m", 60000}, {"/h", 3600000}, {NULL, 0}};
    size_t digits = strspn(text, "0123456789");
    const struct unit *unit = units;
    int64_t number;
    while (unit->name && strcasecmp(text + digits, unit->name) != 0)
        unit++;
    if (!unit->name || !slice_parse_i64(slice_make(text, digits), &number) || number > 1000000000)
        return "a rate: a number to 1000000000, with /s, /m or /h";
    *ret = (struct config_rate){.per = (uint64_t)number, .unit_ms = unit->factor};
    return NULL;
}

const char *config_value_durability(const char *text, int64_t *ret) {
    int64_t ms;
    if (strcmp(text, "commit") == 0) {
        *ret = 0;
        return NULL;
    }
    if (strncmp(text, "interval:", 9) != 0 || !parse_number(text + 9, 1, 60000, &ms))
        return "commit, or interval:<ms> with 1 to 60000 ms";
    *ret = ms;
    return NULL;
}

const char *config_value_eviction(const char *text, enum kv_eviction *ret) {
    if (strcmp(text, "noeviction") == 0)
        *ret = KV_NOEVICTION;
    else if (strcmp(text, "lru") == 0)
        *ret = KV_LRU;
    else
        return "noeviction or lru";
    return NULL;
}

const char *config_value_level(const char *text, enum log_level *ret) {
    return log_level_parse(slice_of_cstr(text), ret) ? NULL : "debug, info, warn, error or off";
}

const char *config_value_uuid(const char *text, struct uuid *ret) {
    return text_uuid_parse(slice_of_cstr(text), ret) ? NULL : "a UUID";
}

/* It goes into a header: nothing that could end one. */
const char *config_value_origin(const char *text) {
    static const char expected[] = "*, or an origin such as https://app.example";
    if (strcmp(text, "*") == 0)
        return NULL;
    const char *host = strstr(text, "://");
    if (!host || host == text || !host[3])
        return expected;
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == ',' || (*at == '/' && at > host + 2))
            return expected;
    return NULL;
}

const char *config_value_path(const char *text) {
    static const char expected[] = "a path such as /hati";
    size_t len = strlen(text);
    if (text[0] != '/' || len < 2 || len > 255 || text[len - 1] == '/')
        return expected;
    for (const char *at = text; *at; at++) {
        if (*at == '/' && (at[1] == '/' || at[1] == '.'))
            return expected;
        if (!isalnum((unsigned char)*at) && !strchr("/-._~", *at))
            return expected;
    }
    return NULL;
}

const char *config_value_prepare(const char *text, enum engine_prepare *ret) {
    if (strcmp(text, "auto") == 0)
        *ret = ENGINE_PREPARE_AUTO;
    else if (strcmp(text, "on") == 0)
        *ret = ENGINE_PREPARE_ON;
    else if (strcmp(text, "off") == 0)
        *ret = ENGINE_PREPARE_OFF;
    else
        return "auto, on or off";
    return NULL;
}

const char *config_value_database(const char *text) {
    if (strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0)
        return NULL;
    const char *equals = strchr(text, '=');
    if (equals && equals != text && !strstr(text, "://"))
        return NULL;
    return "postgresql://user@host:port/database, or host=… dbname=… as libpq takes it,";
}

const char *config_value_schema(const char *text) {
    size_t len = strlen(text);
    bool fine = len >= 1 && len <= ENGINE_SCHEMA_MAX && strncmp(text, "pg_", 3) != 0;
    for (const char *at = text; fine && *at; at++)
        fine = (unsigned char)*at >= ' ' && *at != 0x7f;
    return fine ? NULL : "the name of a schema, 1 to 63 bytes, not pg_…,";
}

const char *config_value_address(const char *text) {
    static const char expected[] = "host:port";
    unsigned port;
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || strlen(text) > 255)
        return expected;
    if (config_value_port(colon + 1, &port) || port == 0)
        return expected;
    size_t len = (size_t)(colon - text);
    if (text[0] == '[')
        return len > 2 && text[len - 1] == ']' &&
                       strspn(text + 1, "0123456789abcdefABCDEF:.") == len - 2
                   ? NULL
                   : expected;
    static const char of_hosts[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return strspn(text, of_hosts) == len ? NULL : expected;
}

static bool is_any_host(const char *host) {
    return !host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ||
           strcmp(host, "[::]") == 0;
}

void config_self(const struct config *config, unsigned port, char *ret_self, size_t self_bytes) {
    const char *host = is_any_host(config->rpc_host) ? "127.0.0.1" : config->rpc_host;
    if (config->advertise)
        snprintf(ret_self, self_bytes, "%s", config->advertise);
    else
        snprintf(ret_self, self_bytes, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}
