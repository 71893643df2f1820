/* SPDX-License-Identifier: MIT */
#include "server/systemd.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/slice.h"

#define FIRST_FD 3
#define FDS_MAX 16

static bool is_listening(int fd) {
    int listens = 0;
    socklen_t bytes = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && listens;
}

/* The names are parted by colons, in the order of the descriptors. */
static int find(const char *names, const char *name, int count) {
    for (int i = 0; i < count && names; i++) {
        size_t len = strcspn(names, ":");
        if (len == strlen(name) && strncmp(names, name, len) == 0)
            return FIRST_FD + i;
        names = names[len] ? names + len + 1 : NULL;
    }
    return -1;
}

static bool taken[FDS_MAX];

/* How many descriptors are for this process. */
static int count_given(void) {
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    int64_t wanted_pid, fds;
    if (!pid || !count || !slice_parse_i64(slice_of_cstr(pid), &wanted_pid) ||
        wanted_pid != getpid() || !slice_parse_i64(slice_of_cstr(count), &fds) || fds < 1)
        return 0;
    return fds < FDS_MAX ? (int)fds : FDS_MAX;
}

int systemd_take_socket(const char *name) {
    int fd = find(getenv("LISTEN_FDNAMES"), name, count_given());
    if (fd < 0 || taken[fd - FIRST_FD] || !is_listening(fd))
        return -1;
    taken[fd - FIRST_FD] = true;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

void systemd_tell_untaken(void) {
    int count = count_given();
    const char *name = getenv("LISTEN_FDNAMES");
    for (int i = 0; i < count; i++) {
        size_t len = name ? strcspn(name, ":") : 0;
        if (!taken[i])
            log_warn(
                "a socket of systemd is not served: FileDescriptorName=%.*s is not tcp, rpc or "
                "olivia, or that door is not open",
                (int)len, name ? name : "");
        name = name && name[len] ? name + len + 1 : NULL;
    }
}

void systemd_notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, len);
    if (path[0] == '@') /* of the abstract namespace */
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (fd < 0)
        return;
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, bytes);
    close(fd);
}
