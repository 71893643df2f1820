/* SPDX-License-Identifier: MIT */
/* `hati healthcheck`: asks the server of this configuration whether it is well, as a container's
 * health check or a script would. */
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
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

static int dial(const char *host, unsigned port) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(reachable(host), service, &hints, &found))
        return -1;
    int fd = -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct timeval patience = {.tv_sec = PATIENCE_S};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
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

/* The same over TLS. Whose certificate it is does not matter: it asks the machine it runs on. */
static bool ask_secure(int fd, const char *question, const char *expected) {
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    char answer[64];
    size_t len = 0;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return false;
    if (gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL) < 0) {
        gnutls_certificate_free_credentials(credentials);
        return false;
    }
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, fd);
    bool good = gnutls_handshake(session) == 0 &&
                gnutls_record_send(session, question, strlen(question)) > 0;
    while (good && len < strlen(expected)) {
        ssize_t got = gnutls_record_recv(session, answer + len, sizeof answer - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    return len >= strlen(expected) && memcmp(answer, expected, strlen(expected)) == 0;
}

static bool ask(const char *host, unsigned port, bool tls, const char *question,
                const char *expected) {
    int fd = dial(host, port);
    if (fd < 0)
        return false;
    bool well = tls ? ask_secure(fd, question, expected) : ask_plain(fd, question, expected);
    close(fd);
    return well;
}

int command_healthcheck(int argc, char **argv) {
    struct config config;
    char why[512];
    if (config_read(argc, argv, &config, why, sizeof why)) {
        fprintf(stderr, "hati healthcheck: %s\n", why);
        return 1;
    }
    bool well = config.rpc
                    ? ask(config.rpc_host, config.rpc_port, config.rpc_tls,
                          "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
                          "Connection: close\r\n\r\n",
                          "HTTP/1.1 200")
                    : ask(config.tcp_host, config.tcp_port, config.tcp_tls, "PING\n", "+PONG");
    if (!well)
        fprintf(stderr, "hati healthcheck: no good answer on port %u\n",
                config.rpc ? config.rpc_port : config.tcp_port);
    config_done(&config);
    return well ? 0 : 1;
}
