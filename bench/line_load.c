/* SPDX-License-Identifier: MIT */
/* Load for the line protocol, in Hati's words or Olivia's (and for bench/echo.c): one thread,
 * epoll, each connection keeps `depth` requests in flight; connections take turns on the ports (one
 * or several nodes). Prints requests per second and how long a round of them took. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define EVENTS 1024
#define KEY_BYTES 16
#define BUCKETS 200000 /* of a microsecond */
#define READ_BYTES 262144
#define PORTS_MAX 16

enum mode { MODE_GET, MODE_SET, MODE_FILL, MODE_ECHO, MODE_INCR, MODES };
static const char *const mode_names[MODES] = {"get", "set", "fill", "echo", "incr"};

static struct options {
    const char *host;
    const char *socket_path;
    unsigned ports[PORTS_MAX];
    unsigned port_count;
    unsigned connections;
    unsigned depth;
    double seconds;
    enum mode mode;
    const char *type;
    bool is_olivia;
    unsigned long first, keys; /* numbers of keys */
    size_t value_bytes;
} options = {"127.0.0.1", NULL, {4242}, 1, 50, 1, 5, MODE_GET, "memory", false, 0, 100000, 100};

struct peer {
    int fd;
    unsigned waiting; /* replies that have not come */
    char *bytes;      /* the round's requests */
    size_t len, sent;
    int64_t started_ns;
    bool at_start; /* the next byte begins a reply */
    bool wants_out;
};

static uint64_t random_state = 88172645463325252U;
static unsigned long next_fill;
static uint64_t requests, errors;
static uint32_t histogram[BUCKETS];
static char *value;
static int epoll_fd;
static bool ended;

static void die(const char *what) {
    fprintf(stderr, "line_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static unsigned long pick_key(void) {
    if (options.mode == MODE_FILL)
        return options.first + next_fill++ % options.keys;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return options.first + random_state % options.keys;
}

static char *append(char *to, const char *bytes, size_t len) {
    memcpy(to, bytes, len);
    return to + len;
}

static char *append_key(char *to) {
    unsigned long number = pick_key();
    memcpy(to, "key:", 4);
    for (int i = KEY_BYTES - 1; i >= 4; i--) {
        to[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return to + KEY_BYTES;
}

/* A colon would end the key: `key:` becomes `key-`. */
static char *append_olivia_request(char *to) {
    bool set = options.mode == MODE_SET || options.mode == MODE_FILL;
    to = append(to, set ? "SET " : "GET ", 4);
    char *key = to;
    to = append_key(to);
    key[3] = '-';
    if (set) {
        *to++ = ':';
        to = append(to, value, options.value_bytes);
    }
    *to++ = '\n';
    return to;
}

static char *append_request(char *to) {
    bool set = options.mode == MODE_SET || options.mode == MODE_FILL;
    if (options.is_olivia)
        return append_olivia_request(to);
    size_t type_bytes = strlen(options.type);
    to = append(to,
                set                         ? "SET "
                : options.mode == MODE_INCR ? "INCR "
                                            : "GET ",
                options.mode == MODE_INCR ? 5 : 4);
    to = append(to, options.type, type_bytes);
    to = append(to, set ? " 0 " : " ", set ? 3 : 1);
    to = append_key(to);
    if (set) {
        *to++ = ' ';
        to = append(to, value, options.value_bytes);
    }
    *to++ = '\n';
    return to;
}

static void watch(struct peer *peer, bool wants_out, int how) {
    struct epoll_event event = {.events = wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = peer};
    if (epoll_ctl(epoll_fd, how, peer->fd, &event) != 0)
        die("epoll_ctl");
    peer->wants_out = wants_out;
}

static void send_rest(struct peer *peer) {
    ssize_t sent = send(peer->fd, peer->bytes + peer->sent, peer->len - peer->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        die("send");
    peer->sent += sent > 0 ? (size_t)sent : 0;
    bool wants_out = peer->sent < peer->len;
    if (wants_out != peer->wants_out)
        watch(peer, wants_out, EPOLL_CTL_MOD);
}

static void start_round(struct peer *peer) {
    char *end = peer->bytes;
    for (unsigned i = 0; i < options.depth; i++)
        end = append_request(end);
    peer->len = (size_t)(end - peer->bytes);
    peer->sent = 0;
    peer->waiting = options.depth;
    peer->started_ns = clock_steady_ns();
    send_rest(peer);
}

static void end_round(struct peer *peer) {
    int64_t us = (clock_steady_ns() - peer->started_ns) / 1000;
    histogram[us < BUCKETS ? us : BUCKETS - 1]++;
    requests += options.depth;
    ended = ended || (options.mode == MODE_FILL && next_fill >= options.keys);
    if (!ended)
        start_round(peer);
}

/* Replies are lines; one that begins with +ERR is counted. */
static void count_replies(struct peer *peer, const char *at, size_t left) {
    while (left) {
        if (peer->at_start && left > 1 && at[0] == '+' && at[1] == 'E')
            errors++;
        const char *newline = memchr(at, '\n', left);
        peer->at_start = newline != NULL;
        if (!newline)
            return;
        left -= (size_t)(newline + 1 - at);
        at = newline + 1;
        peer->waiting--;
    }
}

static void hear(struct peer *peer) {
    static char bytes[READ_BYTES];
    ssize_t got = recv(peer->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        die(got ? "recv" : "the server hung up");
    count_replies(peer, bytes, (size_t)got);
    if (peer->waiting == 0)
        end_round(peer);
}

static int dial(unsigned port) {
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr *to = (struct sockaddr *)&tcp;
    socklen_t to_bytes = sizeof tcp;
    int on = 1;
    if (options.socket_path) {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", options.socket_path);
        to = (struct sockaddr *)&local;
        to_bytes = sizeof local;
    } else if (inet_pton(AF_INET, options.host, &tcp.sin_addr) != 1) {
        die("host is an IPv4 address");
    }
    int fd = socket(to->sa_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, to, to_bytes) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static double percentile_us(double share) {
    uint64_t all = 0;
    uint64_t seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        all += histogram[i];
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen && (double)seen >= share * (double)all)
            return i;
    }
    return 0;
}

static void run(struct peer *peers) {
    struct epoll_event events[EVENTS];
    int64_t started_ns = clock_steady_ns();
    int64_t end_ns = started_ns + (int64_t)(options.seconds * 1e9);
    for (unsigned i = 0; i < options.connections; i++)
        start_round(&peers[i]);
    while (!ended && (options.mode == MODE_FILL || clock_steady_ns() < end_ns)) {
        int count = epoll_wait(epoll_fd, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_rest(peer);
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                hear(peer);
        }
    }
    double took_s = (double)(clock_steady_ns() - started_ns) / 1e9;
    printf("{\"mode\":\"%s\",\"type\":\"%s\",\"connections\":%u,\"depth\":%u,\"keys\":%lu,"
           "\"value_bytes\":%zu,\"seconds\":%.2f,\"requests\":%llu,\"per_second\":%.0f,"
           "\"median_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f,\"errors\":%llu}\n",
           mode_names[options.mode], options.type, options.connections, options.depth, options.keys,
           options.value_bytes, took_s, (unsigned long long)requests, (double)requests / took_s,
           percentile_us(0.5), percentile_us(0.99), percentile_us(1), (unsigned long long)errors);
}

static void read_ports(const char *text) {
    options.port_count = 0;
    for (char *end; options.port_count < PORTS_MAX; text = end + 1) {
        options.ports[options.port_count++] = (unsigned)strtoul(text, &end, 10);
        if (*end != ',')
            return;
    }
    die("ports");
}

static void read_option(const char *name, const char *text) {
    unsigned long number = strtoul(text, NULL, 10);
    if (strcmp(name, "--host") == 0)
        options.host = text;
    else if (strcmp(name, "--socket") == 0)
        options.socket_path = text;
    else if (strcmp(name, "--port") == 0)
        read_ports(text);
    else if (strcmp(name, "--connections") == 0)
        options.connections = (unsigned)number;
    else if (strcmp(name, "--depth") == 0)
        options.depth = (unsigned)number;
    else if (strcmp(name, "--seconds") == 0)
        options.seconds = strtod(text, NULL);
    else if (strcmp(name, "--type") == 0)
        options.type = text;
    else if (strcmp(name, "--dialect") == 0)
        options.is_olivia = strcmp(text, "olivia") == 0;
    else if (strcmp(name, "--first") == 0)
        options.first = number;
    else if (strcmp(name, "--keys") == 0)
        options.keys = number;
    else if (strcmp(name, "--value-bytes") == 0)
        options.value_bytes = number;
    else if (strcmp(name, "--mode") == 0)
        for (unsigned i = 0; i < MODES; i++)
            options.mode = strcmp(text, mode_names[i]) == 0 ? (enum mode)i : options.mode;
    else
        die(name);
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2)
        read_option(argv[i], argv[i + 1]);
    if (argc % 2 == 0 || !options.keys || !options.connections || !options.depth) {
        fprintf(stderr,
                "line_load [--host A] [--port N,...] [--socket PATH] [--connections N] "
                "[--depth N] [--seconds S] [--mode get|set|fill|echo|incr] [--type memory|hdd] "
                "[--dialect hati|olivia] [--first N] [--keys N] [--value-bytes N]\n");
        return 2;
    }
    value = malloc(options.value_bytes + 1);
    memset(value, 'v', options.value_bytes);
    epoll_fd = epoll_create1(0);
    struct peer *peers = calloc(options.connections, sizeof *peers);
    for (unsigned i = 0; i < options.connections; i++) {
        peers[i].fd = dial(options.ports[i % options.port_count]);
        peers[i].at_start = true;
        peers[i].bytes = malloc(options.depth * (options.value_bytes + 128));
        watch(&peers[i], false, EPOLL_CTL_ADD);
    }
    run(peers);
    return errors != 0;
}
