/* SPDX-License-Identifier: MIT */
/* A message's body as records hold it, sealed or not. Headers and payload are sealed as one; they
 * are bound to the place of their record and to everything that is readable beside them, so that no
 * message opens in another's place or under another's name. */
#include "broker/disk_record.h"

/* Fixed bytes of a bond, and its names with a length each. */
#define BOND_MAX (64U + 2U * (UINT8_MAX + 1U) + BROKER_NAME_MAX)

struct bond {
    size_t len;
    char bytes[BOND_MAX];
};

static void add(struct bond *bond, const void *bytes, size_t len) {
    if (len)
        memcpy(bond->bytes + bond->len, bytes, len);
    bond->len += len;
}

static void add_name(struct bond *bond, struct slice name) {
    uint8_t len = (uint8_t)name.len;
    add(bond, &len, 1);
    add(bond, name.ptr, name.len);
}

/* A domain of its own. Only lengths of headers and payload are looked at. */
static struct slice make_bond(struct slice where, const struct body_parts *parts,
                              struct bond *bond) {
    uint8_t where_len = (uint8_t)where.len, reason = (uint8_t)parts->reason;
    uint64_t headers_len = parts->headers.len;
    bond->len = 0;
    add(bond, "M", 1);
    add(bond, &where_len, 1);
    add(bond, where.ptr, where.len);
    add(bond, &parts->published_ms, sizeof parts->published_ms);
    add(bond, &parts->dead_attempt, sizeof parts->dead_attempt);
    add(bond, &reason, 1);
    add(bond, &headers_len, sizeof headers_len);
    add_name(bond, parts->id);
    add_name(bond, parts->key);
    add_name(bond, parts->from);
    return slice_make(bond->bytes, bond->len);
}

static size_t names_size(const struct body *body) {
    return (size_t)body->id_len + body->key_len + body->from_len;
}

size_t body_bytes_size(const struct seal_keys *keys, const struct body *body) {
    return body_size(body) - sizeof *body + (keys ? SEAL_BYTES : 0);
}

void body_bytes_write(const struct seal_keys *keys, struct slice where, const struct body *body,
                      char *to) {
    size_t size = body_size(body) - sizeof *body;
    size_t names = names_size(body);
    if (!keys) {
        memcpy(to, body->bytes, size);
        return;
    }
    struct body_parts parts;
    struct bond bond;
    body_read(body, &parts);
    memcpy(to, body->bytes, names);
    seal_put(keys, make_bond(where, &parts, &bond), slice_make(body->bytes + names, size - names),
             to + names);
}

static struct slice take(const char **at, size_t len) {
    struct slice part = slice_make(*at, len);
    *at += len;
    return part;
}

static void read_parts(const struct record_publish *lengths, const char *at,
                       struct body_parts *ret_parts) {
    ret_parts->id = take(&at, lengths->id_len);
    ret_parts->key = take(&at, lengths->key_len);
    ret_parts->from = take(&at, lengths->from_len);
    ret_parts->headers = take(&at, lengths->headers_len);
    ret_parts->payload = take(&at, lengths->payload_len);
    ret_parts->reason = (enum broker_reason)lengths->reason;
    ret_parts->dead_attempt = lengths->dead_attempt;
    ret_parts->published_ms = lengths->published_ms;
}

static struct body *open_body(const struct seal_keys *keys, struct slice where,
                              struct body_parts *parts, struct slice sealed, enum err *ret_err) {
    struct bond bond;
    parts->headers.ptr = parts->payload.ptr = NULL; /* room for what is opened */
    if (parts->key.len > BROKER_NAME_MAX) {         /* a file may say so */
        *ret_err = ERR_CORRUPT;
        return NULL;
    }
    struct body *body = body_new(parts);
    *ret_err = body ? seal_take(keys, make_bond(where, parts, &bond), sealed,
                                body->bytes + names_size(body))
                    : ERR_OUT_OF_MEMORY;
    if (!*ret_err)
        return body;
    body_unref(body);
    return NULL;
}

struct body *body_bytes_read(const struct seal_keys *keys, bool sealed, struct slice where,
                             const struct record_publish *lengths, struct slice bytes,
                             enum err *ret_err) {
    struct body_parts parts;
    size_t names = (size_t)lengths->id_len + lengths->key_len + lengths->from_len;
    size_t size = names + lengths->headers_len + (size_t)lengths->payload_len;
    if (bytes.len != size + (sealed ? SEAL_BYTES : 0) || (!sealed && seal_refuses_plain(keys))) {
        *ret_err = ERR_CORRUPT;
        return NULL;
    }
    read_parts(lengths, bytes.ptr, &parts);
    if (sealed)
        return open_body(keys, where, &parts, slice_make(bytes.ptr + names, bytes.len - names),
                         ret_err);
    struct body *body = body_new(&parts);
    *ret_err = body ? OK : ERR_OUT_OF_MEMORY;
    return body;
}
