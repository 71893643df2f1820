/* SPDX-License-Identifier: MIT */
/* Certificates and keys of TLS: read from files, or made. Main thread. */
#ifndef HATI_SERVER_TLS_FILES_H
#define HATI_SERVER_TLS_FILES_H

#include "server/tls.h"

#define TLS_CHAIN_MAX 16U

/* A certificate with its chain and key, and the clients' authorities. */
struct tls_pair {
    struct tls_pair *older;
    gnutls_pcert_st certs[TLS_CHAIN_MAX];
    unsigned cert_count;
    gnutls_privkey_t key;
    gnutls_x509_trust_list_t trust; /* NULL: clients need no certificate */
};

/* Fills an empty pair from the options' files; where they name none, from the kept file or a fresh
 * certificate. One clear line in ret_why. The caller frees with tls_pair_done, also on failure. */
enum err tls_files_read(const struct tls_options *options, struct tls_pair *pair, char *ret_why,
                        size_t why_bytes) MUST_USE;
void tls_pair_done(struct tls_pair *pair);

#endif
