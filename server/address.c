/* SPDX-License-Identifier: MIT */
#include "server/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#define V4_PREFIX_BITS 96U
#define CLIENT_V6_BYTES 8U /* a /64 */

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

struct address address_of_bytes(const uint8_t *bytes, size_t len) {
    struct address address = {.known = len == 4 || len == ADDRESS_BYTES};
    if (len == 4) {
        memcpy(address.bytes, v4_prefix, sizeof v4_prefix);
        memcpy(address.bytes + sizeof v4_prefix, bytes, 4);
    } else if (len == ADDRESS_BYTES) {
        memcpy(address.bytes, bytes, ADDRESS_BYTES);
    }
    return address;
}

struct address address_of_socket(const struct sockaddr *peer) {
    if (peer && peer->sa_family == AF_INET)
        return address_of_bytes(
            (const uint8_t *)&((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    if (peer && peer->sa_family == AF_INET6)
        return address_of_bytes(
            (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
            ADDRESS_BYTES);
    return (struct address){.known = false};
}

bool address_parse(struct slice text, struct address *ret_address) {
    char copy[ADDRESS_TEXT_BYTES];
    uint8_t bytes[ADDRESS_BYTES];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1)
        *ret_address = address_of_bytes(bytes, 4);
    else if (inet_pton(AF_INET6, copy, bytes) == 1)
        *ret_address = address_of_bytes(bytes, ADDRESS_BYTES);
    else
        return false;
    return true;
}

bool address_is_v4(const struct address *address) {
    return address->known && memcmp(address->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_BYTES]) {
    bool v4 = address_is_v4(address);
    const uint8_t *bytes = address->bytes + (v4 ? sizeof v4_prefix : 0);
    if (!address->known || !inet_ntop(v4 ? AF_INET : AF_INET6, bytes, ret_text, ADDRESS_TEXT_BYTES))
        snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix");
}

bool address_is_loopback(const struct address *address) {
    static const uint8_t one[ADDRESS_BYTES] = {[15] = 1};
    if (address->vague)
        return false;
    if (address_is_v4(address))
        return address->bytes[sizeof v4_prefix] == 127;
    return address->known && memcmp(address->bytes, one, sizeof one) == 0;
}

struct address address_of_client(const struct address *address) {
    struct address client = *address;
    if (!address_is_v4(address))
        memset(client.bytes + CLIENT_V6_BYTES, 0, ADDRESS_BYTES - CLIENT_V6_BYTES);
    return client;
}

static bool has_prefix(const uint8_t *bytes, const struct network *network) {
    unsigned whole = network->prefix_bits / 8;
    unsigned rest = network->prefix_bits % 8;
    if (memcmp(bytes, network->bytes, whole) != 0)
        return false;
    return rest == 0 || ((bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0;
}

static bool is_clean(const struct network *network) {
    for (unsigned bit = network->prefix_bits; bit < 8 * ADDRESS_BYTES; bit++)
        if (network->bytes[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    return true;
}

static const char *parse_network(struct slice text, struct network *to) {
    const char *slash = memchr(text.ptr, '/', text.len);
    struct slice host = slice_make(text.ptr, slash ? (size_t)(slash - text.ptr) : text.len);
    struct address address;
    int64_t bits;
    if (!address_parse(host, &address))
        return "networks such as 10.0.0.0/8 or 2001:db8::/32, parted by commas";
    int64_t all = memchr(host.ptr, ':', host.len) ? 128 : 32;
    if (!slash)
        bits = all;
    else if (!slice_parse_i64(slice_make(slash + 1, text.len - host.len - 1), &bits) || bits < 0 ||
             bits > all)
        return "a prefix of 0 to 32 bits behind an IPv4 address, 0 to 128 behind an IPv6 one";
    memcpy(to->bytes, address.bytes, ADDRESS_BYTES);
    to->prefix_bits = (unsigned)bits + (all == 32 ? V4_PREFIX_BITS : 0);
    return is_clean(to) ? NULL : "networks without bits behind their prefix";
}

const char *networks_parse(const char *list, struct networks *ret_networks) {
    struct slice rest = slice_of_cstr(list);
    unsigned count = 0;
    for (bool more = true; more; count++) {
        const char *comma = rest.len ? memchr(rest.ptr, ',', rest.len) : NULL;
        struct slice one = slice_make(rest.ptr, comma ? (size_t)(comma - rest.ptr) : rest.len);
        struct network network;
        more = comma != NULL;
        rest = slice_make(rest.ptr + one.len + more, rest.len - one.len - more);
        while (one.len && one.ptr[0] == ' ')
            one = slice_make(one.ptr + 1, one.len - 1);
        while (one.len && one.ptr[one.len - 1] == ' ')
            one.len--;
        const char *wrong = count == ADDRESS_NETWORKS_MAX ? "256 networks at most"
                            : one.len == 0 ? "networks such as 10.0.0.0/8, parted by commas"
                                           : parse_network(one, &network);
        if (wrong)
            return wrong;
        if (ret_networks)
            ret_networks->all[count] = network;
    }
    if (ret_networks)
        ret_networks->count = count;
    return NULL;
}

bool networks_have(const struct networks *networks, const struct address *address) {
    for (unsigned i = 0; address->known && i < networks->count; i++)
        if (has_prefix(address->bytes, &networks->all[i]))
            return true;
    return false;
}
