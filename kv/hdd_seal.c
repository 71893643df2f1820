/* SPDX-License-Identifier: MIT */
/* Values of the durable store sealed. What a value is bound to is its workspace, namespace and key
 * by name and its content type, so that one that is put in another's place does not open. */
#include "kv/hdd.h"

#define BOND_MAX (1U + sizeof(struct uuid) + 1U + KV_NAMESPACE_MAX + 1U + KV_CONTENT_TYPE_MAX)

struct bond {
    size_t len;
    char bytes[BOND_MAX + KV_KEY_MAX];
};

static void add(struct bond *bond, const void *bytes, size_t len) {
    if (len)
        memcpy(bond->bytes + bond->len, bytes, len);
    bond->len += len;
}

/* A domain of its own, each part with its length before it, the key last. */
static struct slice make_bond(const struct kv_ref *ref, struct slice type, struct bond *bond) {
    uint8_t ns_len = (uint8_t)ref->ns.len, type_len = (uint8_t)type.len;
    bond->len = 0;
    add(bond, "E", 1);
    add(bond, &ref->workspace, sizeof ref->workspace);
    add(bond, &ns_len, 1);
    add(bond, ref->ns.ptr, ns_len);
    add(bond, &type_len, 1);
    add(bond, type.ptr, type_len);
    add(bond, ref->key.ptr, ref->key.len);
    return slice_make(bond->bytes, bond->len);
}

void hdd_seal(const struct seal_keys *keys, const struct kv_ref *ref, struct slice type,
              struct slice value, char *to) {
    struct bond bond;
    seal_put(keys, make_bond(ref, type, &bond), value, to);
}

enum err hdd_unseal(const struct seal_keys *keys, const struct kv_ref *ref, struct slice type,
                    struct slice sealed, char *to) {
    struct bond bond;
    if (ref->ns.len > KV_NAMESPACE_MAX || type.len > KV_CONTENT_TYPE_MAX ||
        ref->key.len > KV_KEY_MAX) /* a file may say so */
        return ERR_CORRUPT;
    return seal_take(keys, make_bond(ref, type, &bond), sealed, to);
}
