/* SPDX-License-Identifier: MIT */
/* Addresses of callers, and lists of networks. IPv4 stands as IPv6 does for it (::ffff:a.b.c.d). */
#ifndef HATI_SERVER_ADDRESS_H
#define HATI_SERVER_ADDRESS_H

#include "base/slice.h"

#define ADDRESS_BYTES 16
#define ADDRESS_TEXT_BYTES 46 /* of any, with its NUL */
#define ADDRESS_NETWORKS_MAX 256U

struct sockaddr;

struct address {
    bool known; /* false: a peer without one (a UNIX socket) */
    bool vague; /* a proxy's, which did not tell for whom it asks: never loopback */
    uint8_t bytes[ADDRESS_BYTES];
};

/* Of a socket's peer; unknown for families other than IPv4 and IPv6. Any thread. */
struct address address_of_socket(const struct sockaddr *peer);
/* Of 4 or 16 bytes in network order. Any thread. */
struct address address_of_bytes(const uint8_t *bytes, size_t len);
/* "192.0.2.1", "2001:db8::1". False, ret untouched, where the text is no address. Any thread. */
bool address_parse(struct slice text, struct address *ret_address);
/* As people write it; "unix" where it is not known. NUL-ended. Any thread. */
void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_BYTES]);

bool address_is_v4(const struct address *address);
/* 127.0.0.0/8 or ::1. False where it is not known, or vague. */
bool address_is_loopback(const struct address *address);
/* What one caller has of addresses: an IPv4 address, or a /64 of IPv6. Any thread. */
struct address address_of_client(const struct address *address);

struct networks {
    unsigned count;
    struct network {
        uint8_t bytes[ADDRESS_BYTES];
        unsigned prefix_bits; /* of the IPv6 form */
    } all[ADDRESS_NETWORKS_MAX];
};

/* Reads "10.0.0.0/8,2001:db8::/32,192.0.2.7": NULL, or what is wrong with it (static), ret
 * untouched. ret may be NULL: the list is only judged. Bits behind the prefix must be 0. */
const char *networks_parse(const char *list, struct networks *ret_networks);
/* Any thread. */
bool networks_have(const struct networks *networks, const struct address *address);

#endif
