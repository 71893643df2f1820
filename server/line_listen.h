/* SPDX-License-Identifier: MIT */
/* Listening sockets of the line door. */
#ifndef HATI_SERVER_LINE_LISTEN_H
#define HATI_SERVER_LINE_LISTEN_H

#include "base/err.h"
#include "base/slice.h"

/* Binds and listens on one address `count` times (SO_REUSEPORT where more than one: the kernel
 * spreads callers over them). host may be NULL or empty: every interface. port 0: the system
 * chooses, ret_port tells. Fills ret_fds, which the caller closes; or one clear line. Blocks while
 * the name is looked up. */
enum err line_listen_tcp(const char *host, unsigned port, unsigned count, int *ret_fds,
                         unsigned *ret_port, char *ret_why, size_t why_bytes) MUST_USE;

/* Takes over a listening socket that is open already, `count` times (the kernel wakes any of them):
 * fills ret_fds. */
enum err line_listen_given(int fd, unsigned count, int *ret_fds, unsigned *ret_port) MUST_USE;

/* Binds and listens on a UNIX socket that its owner and group may use. A socket file that nobody
 * answers on is replaced; anything else in its place is left alone and is a failure. */
enum err line_listen_unix(const char *path, int *ret_fd, char *ret_why, size_t why_bytes) MUST_USE;

#endif
