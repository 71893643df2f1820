/* SPDX-License-Identifier: MIT */
#include "server/http_quiesce.h"

#include <errno.h>
#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* It stands before libc's, for libraries as well. libmicrohttpd removes the listening socket from
 * what a worker watches in two threads at once, the worker and the one that quiesces, and ends the
 * process where the second of them is told that it is not there (0.9.75: MHD_quiesce_daemon and
 * MHD_epoll in daemon.c). Who wants it gone has what he wanted. */
int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event) {
    long status = syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
    return status < 0 && op == EPOLL_CTL_DEL && errno == ENOENT ? 0 : (int)status;
}

void http_quiesce(struct MHD_Daemon *daemon) {
    (void)MHD_quiesce_daemon(daemon);
}
