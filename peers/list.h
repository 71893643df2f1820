/* SPDX-License-Identifier: MIT */
/* The list of peers as an operator writes it: host:port parted by commas. Any thread. */
#ifndef HATI_PEERS_LIST_H
#define HATI_PEERS_LIST_H

#include "base/slice.h"

/* Takes the next address off the list; false at its end. */
bool peers_take_address(struct slice *rest, struct slice *ret_address);
/* Splits host:port, or [IPv6 address]:port; false where it is neither, or the port is none. */
bool peers_split_address(struct slice address, struct slice *ret_host, struct slice *ret_port);

#endif
