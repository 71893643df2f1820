/* SPDX-License-Identifier: MIT */
#include "client/transport.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/interrupt.h"
#include "client/secure.h"

static ssize_t plain_read(struct transport *transport, void *to, size_t bytes) {
    return recv(transport->fd, to, bytes, 0);
}

static ssize_t plain_write(struct transport *transport, const void *from, size_t bytes) {
    return send(transport->fd, from, bytes, MSG_NOSIGNAL);
}

static void plain_close(struct transport *transport) {
    close(transport->fd);
    transport->fd = -1;
}

/* Waits for a connect that goes on; its outcome as an errno. */
static int finish_connect(int fd, int64_t timeout_ms) {
    for (;;) {
        enum interrupt_woke woke =
            interrupt_wait(fd, POLLOUT, -1, timeout_ms ? timeout_ms : -1, NULL);
        if (woke == WOKE_TIMEOUT)
            return ETIMEDOUT;
        if (woke == WOKE_INTERRUPT)
            return EINTR;
        if (woke == WOKE_READY)
            break;
    }
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return errno;
    return error;
}

/* A connected file, or -1 with errno. */
static int dial(int family, const struct sockaddr *address, socklen_t len, int64_t timeout_ms) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int error = connect(fd, address, len) == 0 ? 0 : errno;
    if (error == EINPROGRESS)
        error = finish_connect(fd, timeout_ms);
    if (error) {
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int dial_unix(const char *path, int64_t timeout_ms) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    return dial(AF_UNIX, (struct sockaddr *)&address, sizeof address, timeout_ms);
}

static int dial_tcp(const struct options *options, const char **ret_because) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(options->tcp_host, options->tcp_port, &hints, &found);
    if (failure && strcmp(options->tcp_host, "localhost") == 0) /* a container may know no names */
        failure = getaddrinfo("127.0.0.1", options->tcp_port, &hints, &found);
    if (failure) {
        *ret_because = gai_strerror(failure);
        errno = ENOENT;
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = dial(at->ai_family, at->ai_addr, at->ai_addrlen, options->timeout_ms);
        if (fd < 0 && errno == EINTR)
            break;
    }
    int error = errno;
    freeaddrinfo(found);
    int on = 1;
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    errno = error;
    *ret_because = strerror(error);
    return fd;
}

bool transport_open(const struct options *options, struct transport *ret_transport,
                    char ret_why[OPTIONS_WHY_BYTES]) {
    const char *because = NULL;
    int fd = options->tcp_socket ? dial_unix(options->tcp_socket, options->timeout_ms)
                                 : dial_tcp(options, &because);
    if (fd < 0) {
        int error = errno;
        snprintf(ret_why, OPTIONS_WHY_BYTES, "no connection to %s: %s", options->place,
                 because ? because : strerror(error));
        errno = error;
        return false;
    }
    *ret_transport = (struct transport){
        .fd = fd, .read = plain_read, .write = plain_write, .close = plain_close};
    if (!options->tls || secure_start(options, ret_transport, ret_why))
        return true;
    int error = errno;
    plain_close(ret_transport);
    errno = error;
    return false;
}
