/* SPDX-License-Identifier: MIT */
#include "client/secure.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/interrupt.h"

#define PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define FINGERPRINT_BYTES (OPTIONS_PIN_BYTES * 3)

struct secure {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
};

static void free_secure(struct secure *secure) {
    if (secure->session)
        gnutls_deinit(secure->session);
    if (secure->credentials)
        gnutls_certificate_free_credentials(secure->credentials);
    free(secure);
}

/* ---- what goes over it ---- */

/* An alert that GnuTLS has no better words for. */
static const char *alert_text(gnutls_session_t session) {
    switch (gnutls_alert_get(session)) {
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return "the server wants a client certificate (--tls-cert, --tls-key)";
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_REVOKED:
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_UNKNOWN_CA:
        return "the server does not take the client certificate (--tls-cert, --tls-key), or wants "
               "one";
    case GNUTLS_A_ACCESS_DENIED:
        return "the server refuses this connection";
    default:
        return gnutls_alert_get_name(gnutls_alert_get(session));
    }
}

static const char *failure_text(gnutls_session_t session, int code) {
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
        return alert_text(session);
    if (code == GNUTLS_E_PREMATURE_TERMINATION)
        return "it was cut off";
    if (code == GNUTLS_E_UNEXPECTED_PACKET_LENGTH || code == GNUTLS_E_UNSUPPORTED_VERSION_PACKET ||
        code == GNUTLS_E_UNEXPECTED_PACKET)
        return "what answers there speaks no TLS";
    return gnutls_strerror(code);
}

/* Of what a session said in place of bytes: errno, and the words for it. */
static ssize_t fail(struct transport *transport, ssize_t code) {
    struct secure *secure = transport->secure;
    if (!gnutls_error_is_fatal((int)code)) {
        errno = EAGAIN;
        return -1;
    }
    snprintf(transport->why, sizeof transport->why, "%.200s",
             failure_text(secure->session, (int)code));
    errno = EPROTO;
    return -1;
}

static ssize_t secure_read(struct transport *transport, void *to, size_t bytes) {
    struct secure *secure = transport->secure;
    ssize_t got = gnutls_record_recv(secure->session, to, bytes);
    return got >= 0 ? got : fail(transport, got);
}

static ssize_t secure_write(struct transport *transport, const void *from, size_t bytes) {
    struct secure *secure = transport->secure;
    ssize_t sent = gnutls_record_send(secure->session, from, bytes);
    return sent >= 0 ? sent : fail(transport, sent);
}

/* Nobody waits for the other side's goodbye. */
static void secure_close(struct transport *transport) {
    struct secure *secure = transport->secure;
    (void)gnutls_bye(secure->session, GNUTLS_SHUT_WR);
    free_secure(secure);
    transport->secure = NULL;
    close(transport->fd);
    transport->fd = -1;
}

/* ---- who is there ---- */

static void write_fingerprint(const unsigned char digest[OPTIONS_PIN_BYTES],
                              char to[FINGERPRINT_BYTES]) {
    for (unsigned i = 0; i < OPTIONS_PIN_BYTES; i++)
        snprintf(to + (size_t)i * 3, 4, "%02X%s", digest[i], i + 1 < OPTIONS_PIN_BYTES ? ":" : "");
}

static bool fingerprint(gnutls_session_t session, unsigned char ret_digest[OPTIONS_PIN_BYTES]) {
    unsigned count = 0;
    size_t bytes = OPTIONS_PIN_BYTES;
    const gnutls_datum_t *certs = gnutls_certificate_get_peers(session, &count);
    return certs && count &&
           gnutls_fingerprint(GNUTLS_DIG_SHA256, &certs[0], ret_digest, &bytes) == 0;
}

static bool check_pin(const struct options *options, const unsigned char digest[OPTIONS_PIN_BYTES],
                      char *ret_why) {
    char shown[FINGERPRINT_BYTES];
    if (memcmp(digest, options->tls_pin, OPTIONS_PIN_BYTES) == 0)
        return true;
    write_fingerprint(digest, shown);
    snprintf(ret_why, OPTIONS_WHY_BYTES,
             "%s shows another certificate than --tls-fingerprint says: %s", options->place, shown);
    return false;
}

/* What is wrong, and how it may be trusted all the same by who knows better. */
static void explain(const struct options *options, gnutls_session_t session, unsigned status,
                    const unsigned char digest[OPTIONS_PIN_BYTES], char *ret_why) {
    char shown[FINGERPRINT_BYTES];
    gnutls_datum_t text = {NULL, 0};
    (void)gnutls_certificate_verification_status_print(status, gnutls_certificate_type_get(session),
                                                       &text, 0);
    const char *words = text.data ? (const char *)text.data : "it is not trusted.";
    size_t len = strlen(words);
    while (len && (words[len - 1] == ' ' || words[len - 1] == '.'))
        len--;
    write_fingerprint(digest, shown);
    snprintf(ret_why, OPTIONS_WHY_BYTES,
             "%.100s is not trusted: %.*s (--tls-ca names its authority; --tls-fingerprint takes "
             "one certificate: this has %s)",
             options->place, len < 150 ? (int)len : 150, words, shown);
    gnutls_free(text.data);
}

static bool check_server(const struct options *options, gnutls_session_t session, char *ret_why) {
    unsigned char digest[OPTIONS_PIN_BYTES];
    unsigned status = 0;
    if (!fingerprint(session, digest)) {
        snprintf(ret_why, OPTIONS_WHY_BYTES, "%s shows no certificate", options->place);
        return false;
    }
    if (options->tls_pinned)
        return check_pin(options, digest, ret_why);
    int code = gnutls_certificate_verify_peers3(session, options->tcp_host, &status);
    if (code < 0) {
        snprintf(ret_why, OPTIONS_WHY_BYTES, "the certificate of %s cannot be checked: %s",
                 options->place, gnutls_strerror(code));
        return false;
    }
    if (status == 0)
        return true;
    explain(options, session, status, digest, ret_why);
    return false;
}

/* ---- the session ---- */

static bool refuse_file(const char *flag, const char *path, int code, char *ret_why) {
    snprintf(ret_why, OPTIONS_WHY_BYTES, "%s: %.200s is of no use: %s", flag, path,
             gnutls_strerror(code));
    return false;
}

static bool load(const struct options *options, struct secure *secure, char *ret_why) {
    gnutls_certificate_credentials_t credentials = secure->credentials;
    if (options->tls_ca) {
        int count = gnutls_certificate_set_x509_trust_file(credentials, options->tls_ca,
                                                           GNUTLS_X509_FMT_PEM);
        if (count <= 0)
            return refuse_file("--tls-ca", options->tls_ca,
                               count ? count : GNUTLS_E_NO_CERTIFICATE_FOUND, ret_why);
    } else if (!options->tls_pinned) {
        (void)gnutls_certificate_set_x509_system_trust(credentials);
    }
    if (!options->tls_cert)
        return true;
    int code = gnutls_certificate_set_x509_key_file(credentials, options->tls_cert,
                                                    options->tls_key, GNUTLS_X509_FMT_PEM);
    return code >= 0 || refuse_file("--tls-cert and --tls-key", options->tls_cert, code, ret_why);
}

/* An address has no name to be sent. */
static bool is_name(const char *host) {
    return strspn(host, "0123456789.") != strlen(host) && !strchr(host, ':');
}

static bool prepare(const struct options *options, struct secure *secure, int fd, char *ret_why) {
    snprintf(ret_why, OPTIONS_WHY_BYTES, "there is not enough memory");
    if (gnutls_certificate_allocate_credentials(&secure->credentials) < 0 ||
        !load(options, secure, ret_why))
        return false;
    if (gnutls_init(&secure->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
        return false;
    gnutls_session_t session = secure->session;
    gnutls_transport_set_int(session, fd);
    return gnutls_priority_set_direct(session, PRIORITIES, NULL) == 0 &&
           gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, secure->credentials) == 0 &&
           (!is_name(options->tcp_host) ||
            gnutls_server_name_set(session, GNUTLS_NAME_DNS, options->tcp_host,
                                   strlen(options->tcp_host)) == 0);
}

/* Until both sides know each other; the time is for each silence. */
static bool shake_hands(const struct options *options, gnutls_session_t session, int fd,
                        char *ret_why) {
    int64_t timeout_ms = options->timeout_ms ? options->timeout_ms : -1;
    int code;
    while ((code = gnutls_handshake(session)) != 0 && !gnutls_error_is_fatal(code)) {
        short events = gnutls_record_get_direction(session) ? POLLOUT : POLLIN;
        if (code != GNUTLS_E_AGAIN && code != GNUTLS_E_INTERRUPTED)
            continue;
        enum interrupt_woke woke = interrupt_wait(fd, events, -1, timeout_ms, NULL);
        if (woke == WOKE_INTERRUPT || woke == WOKE_TIMEOUT) {
            snprintf(ret_why, OPTIONS_WHY_BYTES, "no TLS with %s: no answer came in time",
                     options->place);
            errno = woke == WOKE_INTERRUPT ? EINTR : ETIMEDOUT;
            return false;
        }
    }
    if (code)
        snprintf(ret_why, OPTIONS_WHY_BYTES, "no TLS with %.250s: %.200s", options->place,
                 failure_text(session, code));
    errno = EPROTO;
    return code == 0;
}

bool secure_start(const struct options *options, struct transport *transport,
                  char ret_why[OPTIONS_WHY_BYTES]) {
    struct secure *secure = calloc(1, sizeof *secure);
    errno = EPROTO;
    snprintf(ret_why, OPTIONS_WHY_BYTES, "there is not enough memory");
    if (!secure)
        return false;
    if (!prepare(options, secure, transport->fd, ret_why) ||
        !shake_hands(options, secure->session, transport->fd, ret_why) ||
        !check_server(options, secure->session, ret_why)) {
        int error = errno;
        free_secure(secure);
        errno = error;
        return false;
    }
    transport->secure = secure;
    transport->read = secure_read;
    transport->write = secure_write;
    transport->close = secure_close;
    return true;
}
