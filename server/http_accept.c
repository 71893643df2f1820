/* SPDX-License-Identifier: MIT */
#include "server/http_accept.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/proxy_header.h"

#define PENDING_MAX 1024U /* peers whose header is not whole; more wait in the kernel */
#define ACCEPTS_MAX 64U   /* of one round */
#define PAUSE_MS 100      /* out of descriptors, or full */
#define OWN_POLLS 2U      /* the wake-up and the listening socket */

/* A peer whose header is on its way. */
struct pending {
    int fd;
    socklen_t peer_len;
    struct sockaddr_storage peer;
    int64_t due_ms; /* steady clock */
    size_t have, need;
    char bytes[PROXY_HEADER_MAX];
};

struct http_acceptor {
    struct MHD_Daemon *daemon;
    struct limits *limits;
    int listen_fd;
    int wake[2];
    int64_t timeout_ms;
    pthread_t thread;
    int64_t paused_until_ms;
    unsigned count;
    struct pending *pending[PENDING_MAX];
    struct pollfd polls[PENDING_MAX + OWN_POLLS];
};

/* The library closes the socket where it cannot take it. */
static void hand_on(struct http_acceptor *acceptor, int fd, const struct sockaddr *client,
                    socklen_t len) {
    (void)!MHD_add_connection(acceptor->daemon, fd, client, len);
}

static void hand_on_client(struct http_acceptor *acceptor, int fd, const struct address *client) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v4.sin_addr, client->bytes + 12, sizeof v4.sin_addr);
    memcpy(&v6.sin6_addr, client->bytes, sizeof v6.sin6_addr);
    if (address_is_v4(client))
        hand_on(acceptor, fd, (const struct sockaddr *)&v4, sizeof v4);
    else
        hand_on(acceptor, fd, (const struct sockaddr *)&v6, sizeof v6);
}

/* A client that is not told is never this machine, even where its proxy is. */
static void hand_on_unknown(struct http_acceptor *acceptor, const struct pending *peer) {
    struct address proxy = address_of_socket((const struct sockaddr *)&peer->peer);
    struct sockaddr_in nobody = {.sin_family = AF_UNSPEC};
    if (address_is_loopback(&proxy))
        hand_on(acceptor, peer->fd, (const struct sockaddr *)&nobody, sizeof nobody);
    else
        hand_on(acceptor, peer->fd, (const struct sockaddr *)&peer->peer, peer->peer_len);
}

static void refuse(struct http_acceptor *acceptor, const struct pending *peer, const char *why) {
    struct address address = address_of_socket((const struct sockaddr *)&peer->peer);
    char proxy[ADDRESS_TEXT_BYTES];
    address_format(&address, proxy);
    log_warn("http: no PROXY header from the proxy %s: %s; closed", proxy, why);
    limits_note(acceptor->limits, LIMITS_PROXY_HEADER);
    close(peer->fd);
}

/* Reads on, no byte further than the header. True where the peer is no longer pending. */
static bool read_header(struct http_acceptor *acceptor, struct pending *peer) {
    for (;;) {
        ssize_t got = recv(peer->fd, peer->bytes + peer->have, peer->need - peer->have, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (got <= 0) { /* who only looks whether somebody listens is no mistake */
            close(peer->fd);
            return true;
        }
        peer->have += (size_t)got;
        struct proxy_header header;
        enum proxy_state state =
            proxy_header_read(slice_make(peer->bytes, peer->have), &header, &peer->need);
        if (state == PROXY_PART)
            continue;
        if (state == PROXY_BAD)
            refuse(acceptor, peer, header.why);
        else if (header.unknown)
            hand_on_unknown(acceptor, peer);
        else if (header.local)
            hand_on(acceptor, peer->fd, (const struct sockaddr *)&peer->peer, peer->peer_len);
        else
            hand_on_client(acceptor, peer->fd, &header.client);
        return true;
    }
}

static void welcome(struct http_acceptor *acceptor, int fd, const struct sockaddr_storage *peer,
                    socklen_t peer_len) {
    struct address address = address_of_socket((const struct sockaddr *)peer);
    if (!networks_have(limits_trusted(acceptor->limits), &address)) {
        hand_on(acceptor, fd, (const struct sockaddr *)peer, peer_len);
        return;
    }
    struct pending *pending = malloc(sizeof *pending);
    if (!pending) {
        close(fd);
        return;
    }
    int64_t timeout_ms = acceptor->timeout_ms;
    pending->fd = fd;
    pending->peer = *peer;
    pending->peer_len = peer_len;
    pending->due_ms = timeout_ms ? clock_steady_ms() + timeout_ms : INT64_MAX;
    pending->have = 0;
    pending->need = 1;
    if (read_header(acceptor, pending))
        free(pending);
    else
        acceptor->pending[acceptor->count++] = pending;
}

static void accept_some(struct http_acceptor *acceptor) {
    for (unsigned i = 0; i < ACCEPTS_MAX && acceptor->count < PENDING_MAX; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof peer;
        int fd = accept4(acceptor->listen_fd, (struct sockaddr *)&peer, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(acceptor, fd, &peer, len);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            acceptor->paused_until_ms = clock_steady_ms() + PAUSE_MS;
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
            return;
    }
}

/* polls holds what came for each. */
static void read_pending(struct http_acceptor *acceptor, unsigned count) {
    int64_t now_ms = clock_steady_ms();
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        struct pending *peer = acceptor->pending[i];
        bool over = acceptor->polls[OWN_POLLS + i].revents && read_header(acceptor, peer);
        if (!over && now_ms >= peer->due_ms) {
            limits_note(acceptor->limits, LIMITS_SLOW_HANDSHAKE);
            close(peer->fd);
            over = true;
        }
        if (over)
            free(peer);
        else
            acceptor->pending[kept++] = peer;
    }
    acceptor->count = kept;
}

static void *run(void *context) {
    struct http_acceptor *acceptor = context;
    struct pollfd *polls = acceptor->polls;
    for (;;) {
        unsigned count = acceptor->count;
        bool accepts = count < PENDING_MAX && clock_steady_ms() >= acceptor->paused_until_ms;
        polls[0] = (struct pollfd){.fd = acceptor->wake[0], .events = POLLIN};
        polls[1] = (struct pollfd){.fd = accepts ? acceptor->listen_fd : -1, .events = POLLIN};
        for (unsigned i = 0; i < count; i++)
            polls[OWN_POLLS + i] =
                (struct pollfd){.fd = acceptor->pending[i]->fd, .events = POLLIN};
        (void)poll(polls, OWN_POLLS + count, count || !accepts ? PAUSE_MS : -1);
        if (polls[0].revents)
            return NULL;
        read_pending(acceptor, count);
        if (polls[1].revents)
            accept_some(acceptor);
    }
}

static void free_acceptor(struct http_acceptor *acceptor) {
    for (unsigned i = 0; i < acceptor->count; i++) {
        close(acceptor->pending[i]->fd);
        free(acceptor->pending[i]);
    }
    close(acceptor->wake[0]);
    close(acceptor->wake[1]);
    free(acceptor);
}

enum err http_accept_open(struct MHD_Daemon *daemon, int listen_fd, struct limits *limits,
                          int64_t timeout_ms, struct http_acceptor **ret_acceptor) {
    struct http_acceptor *acceptor = calloc(1, sizeof *acceptor);
    if (!acceptor || pipe2(acceptor->wake, O_CLOEXEC) != 0) {
        free(acceptor);
        return ERR_OUT_OF_MEMORY;
    }
    acceptor->daemon = daemon;
    acceptor->listen_fd = listen_fd;
    acceptor->limits = limits;
    acceptor->timeout_ms = timeout_ms;
    if (pthread_create(&acceptor->thread, NULL, run, acceptor) != 0) {
        free_acceptor(acceptor);
        return ERR_OUT_OF_MEMORY;
    }
    *ret_acceptor = acceptor;
    return OK;
}

void http_accept_close(struct http_acceptor *acceptor) {
    if (!acceptor)
        return;
    (void)!write(acceptor->wake[1], "", 1);
    pthread_join(acceptor->thread, NULL);
    free_acceptor(acceptor);
}
