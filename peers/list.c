/* SPDX-License-Identifier: MIT */
/* The list of peers as an operator writes it. */
#include "peers/list.h"

#include "peers/peers.h"

static bool is_port(struct slice text) {
    int64_t port;
    return slice_parse_i64(text, &port) && port >= 1 && port <= 65535;
}

static bool is_host(struct slice text) {
    bool good = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        good = good && text.ptr[i] > ' ' && text.ptr[i] < 0x7F && text.ptr[i] != '[' &&
               text.ptr[i] != ']';
    return good;
}

bool peers_split_address(struct slice address, struct slice *ret_host, struct slice *ret_port) {
    const char *colon = address.len ? memrchr(address.ptr, ':', address.len) : NULL;
    if (!colon || address.len >= PEERS_ADDRESS_BYTES)
        return false;
    struct slice host = slice_make(address.ptr, (size_t)(colon - address.ptr));
    struct slice port = slice_make(colon + 1, address.len - host.len - 1);
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = slice_make(host.ptr + 1, host.len - 2);
    if (!is_host(host) || !is_port(port) || (!bracketed && memchr(host.ptr, ':', host.len)))
        return false;
    *ret_host = host;
    *ret_port = port;
    return true;
}

bool peers_take_address(struct slice *rest, struct slice *ret_address) {
    if (rest->len == 0)
        return false;
    const char *comma = memchr(rest->ptr, ',', rest->len);
    *ret_address = *rest;
    if (!comma) {
        *rest = (struct slice){NULL, 0};
        return true;
    }
    ret_address->len = (size_t)(comma - rest->ptr);
    *rest = slice_make(comma + 1, rest->len - ret_address->len - 1);
    return true;
}

const char *peers_check_list(const char *list) {
    struct slice rest = slice_of_cstr(list), address, host, port;
    unsigned count = 0;
    while (peers_take_address(&rest, &address)) {
        if (!peers_split_address(address, &host, &port))
            return "host:port parted by commas ([address]:port for IPv6)";
        if (++count > PEERS_MAX)
            return "a list of 1024 peers at most";
    }
    return count && list[strlen(list) - 1] != ',' ? NULL
                                                  : "host:port parted by commas, at least one";
}
