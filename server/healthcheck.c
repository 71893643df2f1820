/* SPDX-License-Identifier: MIT */
/* `hati healthcheck`: asks the server of this configuration whether it is well, as a container's
 * health check or a script would. */
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/config.h"

#define PATIENCE_S 2

/* Where a server bound to every address is found; by number, for a container may know no names. */
static const char *reachable(const char *host) {
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

/* What does not answer is not waited for. */
static int new_socket(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    return fd;
}

static int dial_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = strlen(path) < sizeof address.sun_path ? new_socket(AF_UNIX) : -1;
    if (fd < 0)
        return -1;
    memcpy(address.sun_path, path, strlen(path));
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static int dial(const char *host, unsigned port) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(reachable(host), service, &hints, &found))
        return -1;
    int fd = -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = new_socket(at->ai_family);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* Sends the question and looks how the answer begins. */
static bool ask_plain(int fd, const char *question, const char *expected) {
    char answer[64];
    size_t len = 0;
    bool sent = send(fd, question, strlen(question), MSG_NOSIGNAL) == (ssize_t)strlen(question);
    while (sent && len < strlen(expected)) {
        ssize_t got = recv(fd, answer + len, sizeof answer - len, 0);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    return len >= strlen(expected) && memcmp(answer, expected, strlen(expected)) == 0;
}

/* The server lives, but wants another certificate than it was shown. A line's PING would say no
 * more: the loop that answers it is the one that judged the certificate. */
static bool is_certificate_wanted(gnutls_session_t session, ssize_t code) {
    if (code != GNUTLS_E_FATAL_ALERT_RECEIVED)
        return false;
    switch (gnutls_alert_get(session)) {
    case GNUTLS_A_CERTIFICATE_REQUIRED:
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_UNKNOWN_CA:
        return true;
    default:
        return false;
    }
}

static bool talk(gnutls_session_t session, const struct config *config, const char *question,
                 const char *expected) {
    char answer[64];
    size_t len = 0;
    ssize_t code = gnutls_handshake(session);
    if (code == 0)
        code = gnutls_record_send(session, question, strlen(question));
    while (code > 0 && len < strlen(expected)) {
        code = gnutls_record_recv(session, answer + len, sizeof answer - len);
        len += code > 0 ? (size_t)code : 0;
    }
    if (config->tls_client_ca && is_certificate_wanted(session, code))
        return true;
    return len >= strlen(expected) && memcmp(answer, expected, strlen(expected)) == 0;
}

/* The same over TLS. Whose certificate it is does not matter: it asks the machine it runs on. Where
 * one is wanted it shows the server's own, which some issue for both. */
static bool ask_secure(int fd, const struct config *config, const char *question,
                       const char *expected) {
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return false;
    if (gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL) < 0) {
        gnutls_certificate_free_credentials(credentials);
        return false;
    }
    if (config->tls_client_ca && config->tls_cert)
        (void)gnutls_certificate_set_x509_key_file(credentials, config->tls_cert, config->tls_key,
                                                   GNUTLS_X509_FMT_PEM);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, fd);
    bool well = talk(session, config, question, expected);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    return well;
}

static bool ask(int fd, const struct config *config, bool tls, const char *question,
                const char *expected) {
    if (fd < 0)
        return false;
    bool well =
        tls ? ask_secure(fd, config, question, expected) : ask_plain(fd, question, expected);
    close(fd);
    return well;
}

/* By HTTP, whose path of health is open to all; else by the UNIX socket, which is in the clear;
 * else by TCP. */
static bool is_well(const struct config *config) {
    if (config->rpc)
        return ask(dial(config->rpc_host, config->rpc_port), config, config->rpc_tls,
                   "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   "HTTP/1.1 200");
    if (config->tcp_socket)
        return ask(dial_unix(config->tcp_socket), config, false, "PING\n", "+PONG");
    return ask(dial(config->tcp_host, config->tcp_port), config, config->tcp_tls, "PING\n",
               "+PONG");
}

int command_healthcheck(int argc, char **argv) {
    struct config config;
    char why[512];
    if (config_read(argc, argv, &config, why, sizeof why)) {
        fprintf(stderr, "hati healthcheck: %s\n", why);
        return 1;
    }
    bool well = is_well(&config);
    if (!well)
        fprintf(stderr, "hati healthcheck: no good answer on port %u\n",
                config.rpc ? config.rpc_port : config.tcp_port);
    config_done(&config);
    return well ? 0 : 1;
}
