/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/line.h"
#include "server/line_listen.h"
#include "server/line_loop.h"

#define THREADS_MAX 64U

struct line_server {
    struct line_loop *loops[THREADS_MAX];
    unsigned loop_count;
    char *socket_path; /* ours to remove */
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

static enum err listen_all(struct line_server *server, const struct config *config,
                           unsigned *ret_port, char *ret_why, size_t why_bytes) {
    struct line_loop *first = server->loops[0];
    int fds[THREADS_MAX];
    enum err err = OK;
    if (config->tcp)
        err = line_listen_tcp(config->tcp_host, config->tcp_port, server->loop_count, fds, ret_port,
                              ret_why, why_bytes);
    for (unsigned i = 0; i < server->loop_count && config->tcp && !err; i++)
        server->loops[i]->listen_fds[server->loops[i]->listener_count++] = fds[i];
    if (err || !config->tcp_socket)
        return err;
    server->socket_path = strdup(config->tcp_socket);
    int fd;
    err = line_listen_unix(config->tcp_socket, &fd, ret_why, why_bytes);
    if (!err)
        first->listen_fds[first->listener_count++] = fd;
    else if (server->socket_path)
        server->socket_path[0] = '\0'; /* another's */
    return err;
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
                           struct line_server **ret_server, unsigned *ret_port, char *ret_why,
                           size_t why_bytes) {
    unsigned port = 0;
    if (config->tcp_tls) {
        snprintf(ret_why, why_bytes, "tcp-tls: this build serves lines without TLS only");
        return ERR_UNAVAILABLE;
    }
    struct line_server *server = calloc(1, sizeof *server);
    enum err err = server ? make_loops(server, config, core) : ERR_OUT_OF_MEMORY;
    if (err)
        snprintf(ret_why, why_bytes, "no memory for the line protocol's threads");
    if (!err)
        err = listen_all(server, config, &port, ret_why, why_bytes);
    if (!err)
        err = start_loops(server, ret_why, why_bytes);
    if (err) {
        line_server_stop(server);
        return err;
    }
    *ret_server = server;
    *ret_port = port;
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
    if (server->socket_path && server->socket_path[0])
        unlink(server->socket_path);
    free(server->socket_path);
    free(server);
}
