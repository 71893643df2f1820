/* SPDX-License-Identifier: MIT */
#include "server/line_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define SOCKET_MODE 0660

static unsigned port_of(int fd) {
    struct sockaddr_storage bound = {0};
    socklen_t bytes = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &bytes) != 0)
        return 0;
    return bound.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&bound)->sin6_port)
                                       : ntohs(((struct sockaddr_in *)&bound)->sin_port);
}

static void set_port(struct sockaddr *address, unsigned port) {
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

/* A bound socket, or -1 with errno. */
static int bind_one(const struct addrinfo *address, bool share) {
    int on = 1;
    int off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static bool listen_on(int fd) {
    if (listen(fd, BACKLOG) == 0)
        return true;
    int why = errno;
    close(fd);
    errno = why;
    return false;
}

/* The shared sockets of one address; how many were opened before errno. A socket of its own is
 * bound first and closed: sharing would also share with another server of the same user. */
static unsigned listen_shared(const struct addrinfo *address, unsigned count, int *fds) {
    int probe = bind_one(address, false);
    if (probe < 0 || !listen_on(probe))
        return 0;
    set_port(address->ai_addr, port_of(probe));
    close(probe);
    for (unsigned i = 0; i < count; i++) {
        fds[i] = bind_one(address, true);
        if (fds[i] < 0 || !listen_on(fds[i]))
            return i;
    }
    return count;
}

static bool listen_address(const struct addrinfo *address, unsigned count, int *fds) {
    if (count == 1) {
        fds[0] = bind_one(address, false);
        return fds[0] >= 0 && listen_on(fds[0]);
    }
    unsigned opened = listen_shared(address, count, fds);
    int why = errno;
    for (unsigned i = 0; i < opened && opened < count; i++)
        close(fds[i]);
    errno = why;
    return opened == count;
}

enum err line_listen_tcp(const char *host, unsigned port, unsigned count, int *ret_fds,
                         unsigned *ret_port, char *ret_why, size_t why_bytes) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    int status = getaddrinfo(host && *host ? host : NULL, service, &hints, &found);
    if (status != 0) {
        snprintf(ret_why, why_bytes, "tcp host %s: %s", host ? host : "", gai_strerror(status));
        return ERR_UNAVAILABLE;
    }
    bool good = false;
    for (struct addrinfo *at = found; at && !good; at = at->ai_next)
        good = listen_address(at, count, ret_fds);
    if (good)
        *ret_port = port_of(ret_fds[0]);
    else
        snprintf(ret_why, why_bytes, "cannot listen on tcp %s port %u: %s",
                 host && *host ? host : "*", port, strerror(errno));
    freeaddrinfo(found);
    return good ? OK : ERR_UNAVAILABLE;
}

enum err line_listen_given(int fd, unsigned count, int *ret_fds, unsigned *ret_port) {
    *ret_port = port_of(fd);
    ret_fds[0] = fd;
    for (unsigned i = 1; i < count; i++) {
        ret_fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (ret_fds[i] >= 0)
            continue;
        while (i-- > 0)
            close(ret_fds[i]);
        return ERR_UNAVAILABLE;
    }
    return OK;
}

/* True where the path is free to bind: nothing is there, or a socket that nobody answers on. */
static bool clear_path(const struct sockaddr_un *address, const char **ret_why) {
    struct stat found;
    if (lstat(address->sun_path, &found) != 0)
        return true; /* bind says what else is wrong */
    if (!S_ISSOCK(found.st_mode)) {
        *ret_why = "there is something else than a socket";
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                 errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (!stale)
        *ret_why = "another server answers there";
    return stale && unlink(address->sun_path) == 0;
}

enum err line_listen_unix(const char *path, int *ret_fd, char *ret_why, size_t why_bytes) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *why = NULL;
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path) {
        snprintf(ret_why, why_bytes, "tcp socket %s: a path has 1 to %zu bytes", path,
                 sizeof address.sun_path - 1);
        return ERR_UNAVAILABLE;
    }
    memcpy(address.sun_path, path, len);
    int fd = clear_path(&address, &why)
                 ? socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
                 : -1;
    /* nobody can connect between bind and listen, so the mode is set in time */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        chmod(path, SOCKET_MODE) == 0 && listen(fd, BACKLOG) == 0) {
        *ret_fd = fd;
        return OK;
    }
    snprintf(ret_why, why_bytes, "cannot listen on socket %s: %s", path,
             why ? why : strerror(errno));
    if (fd >= 0)
        close(fd);
    return ERR_UNAVAILABLE;
}
