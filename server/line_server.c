/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/line.h"
#include "server/line_dialect.h"
#include "server/line_listen.h"
#include "server/line_loop.h"
#include "server/olivia.h"
#include "server/systemd.h"
#include "server/tls.h"

#define THREADS_MAX 64U

struct line_server {
    struct line_loop *loops[THREADS_MAX];
    unsigned loop_count;
    char *socket_paths[2]; /* ours to remove */
};

static struct line_loop *new_loop(const struct config *config, struct core *core) {
    struct line_loop *loop = aligned_alloc(64, (sizeof *loop + 63) / 64 * 64);
    if (!loop)
        return NULL;
    memset(loop, 0, sizeof *loop);
    loop->config = config;
    loop->core = core;
    loop->loopback_only = !core->auth && !config->no_auth;
    return loop;
}

static enum err make_loops(struct line_server *server, const struct config *config,
                           struct core *core) {
    unsigned count = config->tcp_threads ? config->tcp_threads : 1;
    for (unsigned i = 0; i < count && i < THREADS_MAX; i++) {
        struct line_loop *loop = new_loop(config, core);
        if (!loop)
            return ERR_OUT_OF_MEMORY;
        server->loops[server->loop_count++] = loop;
    }
    return OK;
}

/* Where one dialect is spoken. */
struct place {
    const struct line_dialect *dialect;
    const char *name; /* of a socket that systemd has opened for it */
    bool tcp;
    const char *host;
    unsigned port;
    const char *socket; /* NULL: none */
    struct tls *tls;    /* NULL: in the clear */
    bool proxy_headers; /* trusted proxies begin with one */
};

/* Whoever may open a UNIX socket is on this machine: it is always in the clear. */
static void add_listener(struct line_loop *loop, int fd, const struct line_dialect *dialect,
                         struct tls *tls, bool proxy_headers) {
    struct line_listener *listener = &loop->listeners[loop->listener_count++];
    listener->fd = fd;
    listener->dialect = dialect;
    listener->tls = tls;
    listener->proxy_headers = proxy_headers;
}

static enum err listen_at(struct line_server *server, const struct place *place, unsigned *ret_port,
                          char **ret_path, char *ret_why, size_t why_bytes) {
    int fds[THREADS_MAX];
    enum err err = OK;
    int given = place->tcp ? systemd_take_socket(place->name) : -1;
    if (given >= 0)
        err = line_listen_given(given, server->loop_count, fds, ret_port);
    else if (place->tcp)
        err = line_listen_tcp(place->host, place->port, server->loop_count, fds, ret_port, ret_why,
                              why_bytes);
    for (unsigned i = 0; i < server->loop_count && place->tcp && !err; i++)
        add_listener(server->loops[i], fds[i], place->dialect, place->tls, place->proxy_headers);
    if (err || !place->socket)
        return err;
    *ret_path = strdup(place->socket);
    int fd;
    err = line_listen_unix(place->socket, &fd, ret_why, why_bytes);
    if (!err)
        add_listener(server->loops[0], fd, place->dialect, NULL, false);
    else if (*ret_path)
        (*ret_path)[0] = '\0'; /* another's */
    return err;
}

static enum err listen_all(struct line_server *server, const struct config *config,
                           struct line_ports *ret_ports, char *ret_why, size_t why_bytes) {
    struct place hati = {&line_dialect_hati,
                         "tcp",
                         config->tcp,
                         config->tcp_host,
                         config->tcp_port,
                         config->tcp ? config->tcp_socket : NULL,
                         config->tcp_tls ? tls_current() : NULL,
                         config->tcp_proxy_protocol};
    struct place olivia = {&line_dialect_olivia,
                           "olivia",
                           config->olivia,
                           config->olivia_host,
                           config->olivia_port,
                           config->olivia ? config->olivia_socket : NULL,
                           config->olivia_tls ? tls_current() : NULL,
                           config->olivia_proxy_protocol};
    enum err err =
        listen_at(server, &hati, &ret_ports->tcp, &server->socket_paths[0], ret_why, why_bytes);
    return err ? err
               : listen_at(server, &olivia, &ret_ports->olivia, &server->socket_paths[1], ret_why,
                           why_bytes);
}

/* Signals are the main thread's; a write to a closed socket is an error here, not a signal. */
static enum err start_thread(struct line_loop *loop) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    loop->started = pthread_create(&loop->thread, NULL, line_loop_main, loop) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return loop->started ? OK : ERR_OUT_OF_MEMORY;
}

static enum err start_loops(struct line_server *server, char *ret_why, size_t why_bytes) {
    enum err err = OK;
    for (unsigned i = 0; i < server->loop_count && !err; i++)
        err = line_loop_open(server->loops[i]);
    for (unsigned i = 0; i < server->loop_count && !err; i++)
        err = start_thread(server->loops[i]);
    if (err)
        snprintf(ret_why, why_bytes, "cannot start the line protocol's threads");
    return err;
}

enum err line_server_start(const struct config *config, struct core *core,
                           struct line_server **ret_server, struct line_ports *ret_ports,
                           char *ret_why, size_t why_bytes) {
    struct line_ports ports = {0, 0};
    olivia_init();
    struct line_server *server = calloc(1, sizeof *server);
    enum err err = server ? make_loops(server, config, core) : ERR_OUT_OF_MEMORY;
    if (err)
        snprintf(ret_why, why_bytes, "no memory for the line protocol's threads");
    if (!err)
        err = listen_all(server, config, &ports, ret_why, why_bytes);
    if (!err)
        err = start_loops(server, ret_why, why_bytes);
    if (err) {
        line_server_stop(server);
        return err;
    }
    *ret_server = server;
    *ret_ports = ports;
    return OK;
}

void line_server_stop(struct line_server *server) {
    if (!server)
        return;
    for (unsigned i = 0; i < server->loop_count; i++) {
        struct line_loop *loop = server->loops[i];
        if (!loop->started)
            continue;
        atomic_store(&loop->stop_wanted, true);
        uv_async_send(&loop->async);
    }
    for (unsigned i = 0; i < server->loop_count; i++) {
        struct line_loop *loop = server->loops[i];
        if (loop->started)
            pthread_join(loop->thread, NULL);
        line_loop_close(loop);
        free(loop);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (server->socket_paths[i] && server->socket_paths[i][0])
            unlink(server->socket_paths[i]);
        free(server->socket_paths[i]);
    }
    free(server);
}
