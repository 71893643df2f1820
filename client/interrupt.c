/* SPDX-License-Identifier: MIT */
#include "client/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "base/clock.h"

static int pipe_fds[2] = {-1, -1};
static volatile sig_atomic_t interrupted, resized;

static void on_signal(int number) {
    int saved = errno;
    if (number == SIGWINCH)
        resized = 1;
    else
        interrupted = 1;
    ssize_t wrote = write(pipe_fds[1], "", 1); /* full: then it wakes as well */
    (void)wrote;
    errno = saved;
}

void interrupt_catch(bool on) {
    if (pipe_fds[0] < 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return;
    struct sigaction action = {.sa_handler = on ? on_signal : SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGWINCH, &action, NULL);
}

bool interrupt_take(void) {
    bool was = interrupted != 0;
    interrupted = 0;
    return was;
}

static void drain(void) {
    char bytes[64];
    while (read(pipe_fds[0], bytes, sizeof bytes) > 0)
        ;
}

enum interrupt_woke interrupt_wait(int fd, short events, int other_fd, int64_t timeout_ms,
                                   short *ret_events) {
    int64_t end_ms = clock_steady_ms() + timeout_ms;
    struct pollfd fds[3] = {{.fd = fd, .events = events},
                            {.fd = other_fd, .events = POLLIN},
                            {.fd = pipe_fds[0], .events = POLLIN}};
    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : end_ms - clock_steady_ms();
        if (timeout_ms >= 0 && left < 0)
            left = 0;
        int count = poll(fds, 3, left > INT_MAX ? INT_MAX : (int)left);
        if (count > 0 && fds[2].revents)
            drain();
        if (interrupted)
            return WOKE_INTERRUPT;
        if (resized) {
            resized = 0;
            return WOKE_RESIZE;
        }
        if (count == 0)
            return WOKE_TIMEOUT;
        if (count > 0 && (fds[0].revents || fds[1].revents)) {
            if (ret_events)
                *ret_events = fds[0].revents;
            return WOKE_READY;
        }
    }
}
