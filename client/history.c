/* SPDX-License-Identifier: MIT */
#include "client/history.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define FILE_BYTES_MAX (64U << 20)

/* A JSON Web Token: eyJ and two dots, in base64url. */
static bool has_token_shape(struct slice line) {
    for (size_t at = 0; at + 3 < line.len; at++) {
        if (memcmp(line.ptr + at, "eyJ", 3) != 0)
            continue;
        unsigned dots = 0;
        for (size_t i = at; i < line.len && line.ptr[i] != ' ' && line.ptr[i] != '"'; i++)
            dots += line.ptr[i] == '.';
        if (dots >= 2)
            return true;
    }
    return false;
}

bool history_may_keep(struct slice line, const char *token) {
    bool blank = line.len == 0 || line.ptr[0] == ' ' || line.len > HISTORY_LINE_BYTES;
    if (blank || memchr(line.ptr, '\n', line.len) || memchr(line.ptr, '\0', line.len))
        return false;
    if (line.len >= 4 && slice_equal_nocase(slice_make(line.ptr, 4), SLICE("AUTH")))
        return false;
    if (line.len >= 5 && (line.ptr[0] == '"' || line.ptr[0] == '\'') &&
        slice_equal_nocase(slice_make(line.ptr + 1, 4), SLICE("AUTH")))
        return false;
    if (token && *token && memmem(line.ptr, line.len, token, strlen(token)))
        return false;
    return !has_token_shape(line);
}

/* Opens what is a plain file of ours and nobody else's to read. */
static int open_own(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    struct stat stat;
    if (fd >= 0 && (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_uid != geteuid())) {
        close(fd);
        return -1;
    }
    if (fd >= 0 && (stat.st_mode & 077))
        fchmod(fd, 0600);
    return fd;
}

static void read_file(const char *path, struct buf *to) {
    int fd = open_own(path, O_RDONLY);
    ssize_t got = 1;
    while (fd >= 0 && got > 0) {
        char *at = buf_reserve(to, 65536);
        got = at ? read(fd, at, 65536) : 0;
        to->len += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
}

/* Where the last HISTORY_LINES lines begin. */
static size_t find_start(struct slice text) {
    unsigned lines = 0;
    for (size_t at = text.len; at > 0; at--)
        if (text.ptr[at - 1] == '\n' && lines++ == HISTORY_LINES)
            return at;
    return 0;
}

/* Puts what is still of use in the place of a file that has grown to twice that. */
static void shorten(const char *path, struct slice text) {
    char next[4096 + 32];
    int len = snprintf(next, sizeof next, "%s.%ld", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof next)
        return;
    int fd = open_own(next, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0)
        return;
    bool good = write(fd, text.ptr, text.len) == (ssize_t)text.len;
    close(fd);
    if (!good || rename(next, path) != 0)
        unlink(next);
}

void history_read(const char *path, void (*take)(void *context, const char *line), void *context) {
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    read_file(path, &text);
    size_t start = find_start(buf_slice(&text));
    if (start > text.len / 2)
        shorten(path, slice_make(text.ptr + start, text.len - start));
    while (start < text.len) {
        char *end = memchr(text.ptr + start, '\n', text.len - start);
        if (!end)
            break;
        *end = '\0';
        take(context, text.ptr + start);
        start = (size_t)(end - text.ptr) + 1;
    }
    buf_done(&text);
}

void history_append(const char *path, struct slice line) {
    struct buf text;
    buf_init(&text, HISTORY_LINE_BYTES + 1);
    buf_append(&text, line);
    buf_append_char(&text, '\n');
    int fd = text.failed ? -1 : open_own(path, O_WRONLY | O_APPEND | O_CREAT);
    if (fd >= 0) {
        ssize_t wrote = write(fd, text.ptr, text.len);
        (void)wrote;
        close(fd);
    }
    buf_done(&text);
}
