/* SPDX-License-Identifier: MIT */
#include "server/tls.h"

#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/tls_files.h"

/* Handshakes that began with an older pair may still use it: pairs stay until the end. */
struct tls {
    struct tls_options options;
    _Atomic(struct tls_pair *) now;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    gnutls_datum_t client_ca; /* NUL-ended PEM; data NULL: none */
};

static _Atomic(struct tls *) opened;

const char *tls_priorities(void) {
    return "SECURE128:-RSA:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";
}

static enum err read_client_ca(struct tls *tls, char *ret_why, size_t why_bytes) {
    gnutls_datum_t pem;
    if (!tls->options.client_ca_path)
        return OK;
    if (gnutls_load_file(tls->options.client_ca_path, &pem) < 0) {
        snprintf(ret_why, why_bytes, "tls-client-ca: %s: cannot be read",
                 tls->options.client_ca_path);
        return ERR_UNAVAILABLE;
    }
    tls->client_ca = pem; /* gnutls_load_file puts a NUL behind it */
    int status = gnutls_certificate_set_x509_trust_mem(tls->credentials, &pem, GNUTLS_X509_FMT_PEM);
    return status < 0 ? ERR_UNAVAILABLE : OK;
}

enum err tls_reload(struct tls *tls, char *ret_why, size_t why_bytes) {
    struct tls_pair *pair = calloc(1, sizeof *pair);
    if (!pair)
        return ERR_OUT_OF_MEMORY;
    enum err err = tls_files_read(&tls->options, pair, ret_why, why_bytes);
    if (err) {
        tls_pair_done(pair);
        free(pair);
        return err;
    }
    pair->older = atomic_load(&tls->now);
    atomic_store(&tls->now, pair);
    return OK;
}

enum err tls_open(const struct tls_options *options, struct tls **ret_tls, char *ret_why,
                  size_t why_bytes) {
    struct tls *tls = calloc(1, sizeof *tls);
    snprintf(ret_why, why_bytes, "tls: no memory");
    if (!tls)
        return ERR_OUT_OF_MEMORY;
    tls->options = *options;
    enum err err = ERR_OUT_OF_MEMORY;
    if (gnutls_certificate_allocate_credentials(&tls->credentials) == 0 &&
        gnutls_priority_init(&tls->priorities, tls_priorities(), NULL) == 0)
        err = tls_reload(tls, ret_why, why_bytes);
    if (!err)
        err = read_client_ca(tls, ret_why, why_bytes);
    if (err) {
        tls_close(tls);
        return err;
    }
    gnutls_certificate_set_retrieve_function3(tls->credentials, tls_retrieve);
    atomic_store(&opened, tls);
    *ret_tls = tls;
    return OK;
}

void tls_close(struct tls *tls) {
    if (!tls)
        return;
    atomic_store(&opened, NULL);
    for (struct tls_pair *pair = atomic_load(&tls->now), *older; pair; pair = older) {
        older = pair->older;
        tls_pair_done(pair);
        free(pair);
    }
    if (tls->credentials)
        gnutls_certificate_free_credentials(tls->credentials);
    if (tls->priorities)
        gnutls_priority_deinit(tls->priorities);
    gnutls_free(tls->client_ca.data);
    free(tls);
}

struct tls *tls_current(void) {
    return atomic_load(&opened);
}

void tls_fingerprint(const struct tls *tls, char ret_text[TLS_FINGERPRINT_BYTES]) {
    const struct tls_pair *pair = atomic_load(&tls->now);
    unsigned char digest[32] = {0};
    size_t bytes = sizeof digest;
    (void)gnutls_fingerprint(GNUTLS_DIG_SHA256, &pair->certs[0].cert, digest, &bytes);
    for (unsigned i = 0; i < sizeof digest; i++)
        snprintf(ret_text + (size_t)i * 3, TLS_FINGERPRINT_BYTES - (size_t)i * 3, "%02X%s",
                 digest[i], i + 1 < sizeof digest ? ":" : "");
}

bool tls_is_self_signed(const struct tls *tls) {
    return !tls->options.cert_path;
}

const char *tls_client_ca_pem(const struct tls *tls) {
    return (const char *)tls->client_ca.data;
}

int tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                 gnutls_pcert_st **certs, unsigned *cert_count, gnutls_ocsp_data_st **ocsp,
                 unsigned *ocsp_count, gnutls_privkey_t *key, unsigned *flags) {
    struct tls *tls = tls_current();
    struct tls_pair *pair = tls ? atomic_load(&tls->now) : NULL;
    (void)session, (void)info;
    if (!pair)
        return -1;
    *certs = pair->certs;
    *cert_count = pair->cert_count;
    *ocsp = NULL;
    *ocsp_count = 0;
    *key = pair->key;
    *flags = 0; /* they stay ours */
    return 0;
}

enum err tls_new_session(struct tls *tls, gnutls_session_t *ret_session) {
    gnutls_session_t session;
    if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
        return ERR_OUT_OF_MEMORY;
    if (gnutls_priority_set(session, tls->priorities) < 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials) < 0) {
        gnutls_deinit(session);
        return ERR_OUT_OF_MEMORY;
    }
    if (tls->options.client_ca_path)
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
    *ret_session = session;
    return OK;
}

/* Its own list, not the credentials': the authorities may have been read anew meanwhile. */
bool tls_client_is_good(struct tls *tls, gnutls_session_t session) {
    const struct tls_pair *pair = atomic_load(&tls->now);
    unsigned count = 0, verdict = 0;
    if (!pair->trust)
        return true;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &count);
    if (!raw || count == 0 || count > TLS_CHAIN_MAX)
        return false;
    gnutls_x509_crt_t chain[TLS_CHAIN_MAX];
    unsigned taken = 0;
    bool good = true;
    for (; taken < count && good; taken++) {
        good = gnutls_x509_crt_init(&chain[taken]) == 0;
        if (!good)
            break;
        good = gnutls_x509_crt_import(chain[taken], &raw[taken], GNUTLS_X509_FMT_DER) == 0;
    }
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (void *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    good = good &&
           gnutls_x509_trust_list_verify_crt2(pair->trust, chain, taken, &purpose, 1, 0, &verdict,
                                              NULL) == 0 &&
           verdict == 0;
    while (taken > 0)
        gnutls_x509_crt_deinit(chain[--taken]);
    return good;
}
