/* SPDX-License-Identifier: MIT */
/* The certificate that all doors with TLS show, changed at run time without ending a connection,
 * and the authorities whose clients are let in. GnuTLS; TLS 1.2 at least, no early data. */
#ifndef HATI_SERVER_TLS_H
#define HATI_SERVER_TLS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "base/err.h"
#include "base/slice.h"

#define TLS_FINGERPRINT_BYTES 96 /* SHA-256: pairs of digits parted by colons, and its NUL */

struct tls_options {
    const char *cert_path, *key_path; /* PEM: the certificate, then its chain. NULL: one is made */
    const char *client_ca_path;       /* PEM; NULL: clients need no certificate */
    const char *kept_path; /* where one that was made is kept for the next start; NULL: nowhere */
};

struct tls;

/* Reads, or makes, the certificate. One clear line in ret_why. The options' texts outlive it. One
 * per process. Main thread. */
enum err tls_open(const struct tls_options *options, struct tls **ret_tls, char *ret_why,
                  size_t why_bytes) MUST_USE;
/* No session may be open any more. May be NULL. */
void tls_close(struct tls *tls);
/* The one that is open; NULL: none. Any thread. */
struct tls *tls_current(void);

/* Reads the files anew: sessions that begin from now on use them. On failure everything stays as it
 * was. Main thread. */
enum err tls_reload(struct tls *tls, char *ret_why, size_t why_bytes) MUST_USE;

/* SHA-256 of the certificate that is shown. Main thread. */
void tls_fingerprint(const struct tls *tls, char ret_text[TLS_FINGERPRINT_BYTES]);
/* True where it was made here. */
bool tls_is_self_signed(const struct tls *tls);

/* By what libmicrohttpd and line sessions choose versions and suites. */
const char *tls_priorities(void);
/* The authorities as they were at tls_open, PEM; NULL: none. For libmicrohttpd. */
const char *tls_client_ca_pem(const struct tls *tls);
/* GnuTLS asks it for the certificate of the process's open tls. Any thread. */
gnutls_certificate_retrieve_function3 tls_retrieve;

/* A server's session that shows the certificate, and asks for the client's where one is wanted. The
 * caller ends it with gnutls_deinit. Any thread. */
enum err tls_new_session(struct tls *tls, gnutls_session_t *ret_session) MUST_USE;
/* After the handshake: false where a client's certificate is wanted and none, or no good one, came.
 * Any thread. */
bool tls_client_is_good(struct tls *tls, gnutls_session_t session);

#endif
