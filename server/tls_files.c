/* SPDX-License-Identifier: MIT */
#include "server/tls_files.h"

#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400
#define SELF_SIGNED_DAYS 3650

static enum err fail(char *ret_why, size_t why_bytes, const char *what, const char *path,
                     const char *reason) {
    snprintf(ret_why, why_bytes, "%s: %s: %s", what, path, reason);
    return ERR_UNAVAILABLE;
}

void tls_pair_done(struct tls_pair *pair) {
    for (unsigned i = 0; i < pair->cert_count; i++)
        gnutls_pcert_deinit(&pair->certs[i]);
    if (pair->key)
        gnutls_privkey_deinit(pair->key);
    if (pair->trust)
        gnutls_x509_trust_list_deinit(pair->trust, 1);
    *pair = (struct tls_pair){.older = pair->older};
}

static int take_certificates(struct tls_pair *pair, const gnutls_datum_t *pem) {
    unsigned count = TLS_CHAIN_MAX;
    int status =
        gnutls_pcert_list_import_x509_raw(pair->certs, &count, pem, GNUTLS_X509_FMT_PEM, 0);
    pair->cert_count = status < 0 ? 0 : count;
    return status < 0 ? status : 0;
}

static int take_key(struct tls_pair *pair, const gnutls_datum_t *pem) {
    int status = gnutls_privkey_init(&pair->key);
    if (status < 0) {
        pair->key = NULL;
        return status;
    }
    return gnutls_privkey_import_x509_raw(pair->key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
}

/* The key belongs to the certificate: their public parts are the same bytes. */
static bool belongs(const struct tls_pair *pair) {
    gnutls_pubkey_t public_key;
    gnutls_datum_t of_key = {NULL, 0}, of_cert = {NULL, 0};
    if (gnutls_pubkey_init(&public_key) < 0)
        return false;
    bool same = gnutls_pubkey_import_privkey(public_key, pair->key, 0, 0) == 0 &&
                gnutls_pubkey_export2(public_key, GNUTLS_X509_FMT_DER, &of_key) == 0 &&
                gnutls_pubkey_export2(pair->certs[0].pubkey, GNUTLS_X509_FMT_DER, &of_cert) == 0 &&
                of_key.size == of_cert.size && memcmp(of_key.data, of_cert.data, of_key.size) == 0;
    gnutls_free(of_key.data);
    gnutls_free(of_cert.data);
    gnutls_pubkey_deinit(public_key);
    return same;
}

static enum err read_pair(const char *cert_path, const char *key_path, struct tls_pair *pair,
                          char *ret_why, size_t why_bytes) {
    gnutls_datum_t pem;
    int status = gnutls_load_file(cert_path, &pem);
    if (status < 0)
        return fail(ret_why, why_bytes, "tls-cert", cert_path, "cannot be read");
    status = take_certificates(pair, &pem);
    gnutls_free(pem.data);
    if (status < 0)
        return fail(ret_why, why_bytes, "tls-cert", cert_path, gnutls_strerror(status));
    status = gnutls_load_file(key_path, &pem);
    if (status < 0)
        return fail(ret_why, why_bytes, "tls-key", key_path, "cannot be read");
    status = take_key(pair, &pem);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    if (status < 0)
        return fail(ret_why, why_bytes, "tls-key", key_path, gnutls_strerror(status));
    return belongs(pair)
               ? OK
               : fail(ret_why, why_bytes, "tls-key", key_path, "is not the key of the certificate");
}

static int name_certificate(gnutls_x509_crt_t cert) {
    static const unsigned char loopback[4] = {127, 0, 0, 1};
    char host[200] = "localhost", name[256];
    if (gethostname(host, sizeof host - 1))
        snprintf(host, sizeof host, "localhost");
    snprintf(name, sizeof name, "CN=%s,O=hati self-signed", host);
    int status = gnutls_x509_crt_set_dn(cert, name, NULL);
    if (status >= 0)
        status = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, host,
                                                      (unsigned)strlen(host), GNUTLS_FSAN_SET);
    if (status >= 0 && strcmp(host, "localhost") != 0)
        status = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, "localhost", 9,
                                                      GNUTLS_FSAN_APPEND);
    if (status >= 0)
        status = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, loopback,
                                                      sizeof loopback, GNUTLS_FSAN_APPEND);
    return status;
}

static int fill_certificate(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key) {
    unsigned char serial[16];
    time_t now = time(NULL);
    int status = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] &= 0x7F; /* a positive number */
    if (status >= 0)
        status = gnutls_x509_crt_set_version(cert, 3);
    if (status >= 0)
        status = gnutls_x509_crt_set_serial(cert, serial, sizeof serial);
    if (status >= 0)
        status = gnutls_x509_crt_set_activation_time(cert, now - DAY_S);
    if (status >= 0)
        status = gnutls_x509_crt_set_expiration_time(cert, now + (time_t)SELF_SIGNED_DAYS * DAY_S);
    if (status >= 0)
        status = name_certificate(cert);
    if (status >= 0)
        status = gnutls_x509_crt_set_basic_constraints(cert, 0, -1);
    if (status >= 0)
        status = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (status >= 0)
        status = gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (status >= 0)
        status = gnutls_x509_crt_set_key(cert, key);
    return status < 0 ? status : gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
}

/* Both in one file that only its owner reads, which is there whole or not at all; where that fails
 * the next start makes anew. */
static void keep(const char *path, const gnutls_datum_t *cert, const gnutls_datum_t *key) {
    char fresh[4096];
    int len = snprintf(fresh, sizeof fresh, "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof fresh)
        return;
    (void)unlink(fresh); /* of a start that was cut off */
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    bool whole = write(fd, cert->data, cert->size) == (ssize_t)cert->size &&
                 write(fd, key->data, key->size) == (ssize_t)key->size && fsync(fd) == 0;
    close(fd);
    if (!whole || rename(fresh, path) != 0)
        (void)unlink(fresh);
}

static int make_pair(const char *kept_path, struct tls_pair *pair) {
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t cert = NULL;
    gnutls_datum_t cert_pem = {NULL, 0}, key_pem = {NULL, 0};
    int status = gnutls_x509_privkey_init(&key);
    if (status >= 0)
        status = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                              GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (status >= 0)
        status = gnutls_x509_crt_init(&cert);
    if (status >= 0)
        status = fill_certificate(cert, key);
    if (status >= 0)
        status = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem);
    if (status >= 0)
        status = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
    if (status >= 0)
        status = take_certificates(pair, &cert_pem);
    if (status >= 0)
        status = take_key(pair, &key_pem);
    if (status >= 0 && kept_path)
        keep(kept_path, &cert_pem, &key_pem);
    if (key_pem.data)
        gnutls_memset(key_pem.data, 0, key_pem.size);
    gnutls_free(cert_pem.data);
    gnutls_free(key_pem.data);
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return status < 0 ? status : 0;
}

static enum err read_or_make(const struct tls_options *options, struct tls_pair *pair,
                             char *ret_why, size_t why_bytes) {
    const char *kept = options->kept_path;
    if (kept && access(kept, F_OK) == 0)
        return read_pair(kept, kept, pair, ret_why, why_bytes);
    int status = make_pair(kept, pair);
    return status < 0 ? fail(ret_why, why_bytes, "tls-cert", "a self-signed one cannot be made",
                             gnutls_strerror(status))
                      : OK;
}

static enum err read_trust(const char *path, struct tls_pair *pair, char *ret_why,
                           size_t why_bytes) {
    int status = gnutls_x509_trust_list_init(&pair->trust, 0);
    if (status < 0) {
        pair->trust = NULL;
        return ERR_OUT_OF_MEMORY;
    }
    status =
        gnutls_x509_trust_list_add_trust_file(pair->trust, path, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    return status > 0 ? OK
                      : fail(ret_why, why_bytes, "tls-client-ca", path,
                             status ? gnutls_strerror(status) : "there is no certificate in it");
}

enum err tls_files_read(const struct tls_options *options, struct tls_pair *pair, char *ret_why,
                        size_t why_bytes) {
    enum err err = options->cert_path
                       ? read_pair(options->cert_path, options->key_path, pair, ret_why, why_bytes)
                       : read_or_make(options, pair, ret_why, why_bytes);
    if (!err && options->client_ca_path)
        err = read_trust(options->client_ca_path, pair, ret_why, why_bytes);
    return err;
}
