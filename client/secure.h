/* SPDX-License-Identifier: MIT */
/* TLS over a transport: GnuTLS, TLS 1.2 at least. Who the server is, is always checked: by
 * authorities and its name, or by the fingerprint of its certificate. */
#ifndef HATI_CLIENT_SECURE_H
#define HATI_CLIENT_SECURE_H

#include "client/transport.h"

/* Puts TLS on a connected transport that is in the clear: from then on its read, write and close
 * are those of the session. False: ret_why says why, EINTR in errno where the user did not want to
 * wait, and the transport is still the caller's to close. Blocks. */
bool secure_start(const struct options *options, struct transport *transport,
                  char ret_why[OPTIONS_WHY_BYTES]);

#endif
