/* SPDX-License-Identifier: MIT */
/* The least a TCP server can do: epoll, read, write the same back. What hati's line protocol is
 * measured against. Usage: echo [port]; prints the port it serves on 127.0.0.1. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 1024

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        perror("epoll_ctl");
}

static int listen_on(unsigned port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t at_bytes = sizeof at;
    int on = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &at_bytes) != 0) {
        perror("echo");
        exit(1);
    }
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void greet(int epoll, int listener) {
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(epoll, fd);
}

/* A caller that does not read loses the rest: this is a yardstick, not a server. */
static void serve(int fd) {
    static char bytes[65536];
    ssize_t got = read(fd, bytes, sizeof bytes);
    if (got <= 0 || send(fd, bytes, (size_t)got, MSG_NOSIGNAL) != got)
        close(fd);
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS];
    int listener = listen_on(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    int epoll = epoll_create1(0);
    watch(epoll, listener);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                greet(epoll, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
