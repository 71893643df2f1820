/* SPDX-License-Identifier: MIT */
#include "journal/keycheck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_BYTES 512
#define HEADER "hati encryption 1\n"
#define BOND SLICE("K hati key check")
#define KNOWN_PART SLICE("some is sealed by it")
#define KNOWN_WHOLE SLICE("all of it is sealed.")
#define SEALED_BYTES (SEAL_BYTES + 20U) /* of either */
#define KNOWN_MAX 64U                   /* keys that one directory may be sealed by */

struct known_key {
    uint32_t id;
    char sealed[SEALED_BYTES];
};

struct known_keys {
    unsigned count;
    struct known_key keys[KNOWN_MAX];
};

static void path_of(const char *dir, const char *name, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
}

bool keycheck_is_there(const char *dir) {
    char path[PATH_BYTES];
    path_of(dir, "encryption", path);
    return access(path, F_OK) == 0;
}

static bool read_hex(const char *text, char *to, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        to[i] = (char)byte;
    }
    return true;
}

static bool read_line(const char *line, struct known_key *key) {
    char text[2 * SEALED_BYTES + 1];
    int end = 0;
    return sscanf(line, "key %8" SCNx32 " %130[0-9a-f]%n", &key->id, text, &end) == 2 &&
           line[end] == '\n' && strlen(text) == sizeof text - 1 &&
           read_hex(text, key->sealed, SEALED_BYTES);
}

static bool read_lines(FILE *file, struct known_keys *known) {
    char line[256];
    if (!fgets(line, sizeof line, file) || strcmp(line, HEADER) != 0)
        return false;
    while (fgets(line, sizeof line, file)) {
        if (known->count == KNOWN_MAX || !read_line(line, &known->keys[known->count]))
            return false;
        known->count++;
    }
    return known->count > 0 && !ferror(file);
}

/* None where there is no file. */
static enum err read_known(const char *dir, struct known_keys *known, char *ret_why,
                           size_t why_bytes) {
    char path[PATH_BYTES];
    known->count = 0;
    path_of(dir, "encryption", path);
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT)
        return OK;
    if (!file) {
        snprintf(ret_why, why_bytes, "data-dir: cannot read %s: %s", path, strerror(errno));
        return ERR_UNAVAILABLE;
    }
    bool good = read_lines(file, known);
    fclose(file);
    if (good)
        return OK;
    snprintf(ret_why, why_bytes, "data-dir: %s is damaged", path);
    return ERR_CORRUPT;
}

static bool has_key(const struct seal_keys *keys, uint32_t id) {
    for (unsigned i = 0; keys && i < seal_keys_count(keys); i++)
        if (seal_keys_id(keys, i) == id)
            return true;
    return false;
}

static enum err test_one(const char *dir, const struct known_key *key, const struct seal_keys *keys,
                         bool *ret_whole, char *ret_why, size_t why_bytes) {
    char plain[SEALED_BYTES];
    uint32_t id;
    if (!keys) {
        snprintf(ret_why, why_bytes,
                 "data-dir: %s is encrypted: --encryption-key-file with the key %08" PRIx32
                 " is needed",
                 dir, key->id);
        return ERR_UNAVAILABLE;
    }
    if (!has_key(keys, key->id)) {
        snprintf(ret_why, why_bytes,
                 "encryption-key-file: the key %08" PRIx32
                 " sealed some of what is in %s and is not in the file (a key may go once "
                 "`hati reencrypt` has run)",
                 key->id, dir);
        return ERR_UNAVAILABLE;
    }
    struct slice sealed = slice_make(key->sealed, sizeof key->sealed);
    if (seal_read_id(sealed, &id) && id == key->id && !seal_take(keys, BOND, sealed, plain)) {
        *ret_whole = memcmp(plain, KNOWN_WHOLE.ptr, KNOWN_WHOLE.len) == 0;
        return OK;
    }
    snprintf(ret_why, why_bytes,
             "encryption-key-file: the key %08" PRIx32 " is not the one that sealed what is in %s",
             key->id, dir);
    return ERR_UNAVAILABLE;
}

enum err keycheck_test(const char *dir, const struct seal_keys *keys, bool *ret_whole,
                       char *ret_why, size_t why_bytes) {
    struct known_keys known;
    enum err err = read_known(dir, &known, ret_why, why_bytes);
    *ret_whole = !err && known.count > 0;
    for (unsigned i = 0; !err && i < known.count; i++) {
        bool whole = false;
        err = test_one(dir, &known.keys[i], keys, &whole, ret_why, why_bytes);
        *ret_whole &= whole;
    }
    return err;
}

static size_t write_lines(const struct known_keys *known, char *to, size_t room) {
    size_t len = (size_t)snprintf(to, room, "%s", HEADER);
    for (unsigned i = 0; i < known->count; i++) {
        len += (size_t)snprintf(to + len, room - len, "key %08" PRIx32 " ", known->keys[i].id);
        for (unsigned at = 0; at < SEALED_BYTES; at++)
            len += (size_t)snprintf(to + len, room - len, "%02x",
                                    (unsigned)(uint8_t)known->keys[i].sealed[at]);
        len += (size_t)snprintf(to + len, room - len, "\n");
    }
    return len;
}

/* Whole, or as it was. */
static bool write_known(const char *dir, const struct known_keys *known) {
    char path[PATH_BYTES], fresh[PATH_BYTES];
    char text[sizeof HEADER + KNOWN_MAX * (2 * SEALED_BYTES + 16)];
    size_t len = write_lines(known, text, sizeof text);
    path_of(dir, "encryption", path);
    path_of(dir, "encryption.new", fresh);
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!good || rename(fresh, path) != 0)
        return false;
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good = dir_fd >= 0 && fsync(dir_fd) == 0;
    if (dir_fd >= 0)
        close(dir_fd);
    return good;
}

static enum err note(const char *dir, struct known_keys *known, const struct seal_keys *keys,
                     bool whole, char *ret_why, size_t why_bytes) {
    struct known_key *key = &known->keys[known->count++];
    key->id = seal_keys_id(keys, 0);
    seal_put(keys, BOND, whole ? KNOWN_WHOLE : KNOWN_PART, key->sealed);
    if (write_known(dir, known))
        return OK;
    snprintf(ret_why, why_bytes, "data-dir: cannot write %s/encryption: %s", dir, strerror(errno));
    return ERR_UNAVAILABLE;
}

enum err keycheck_note(const char *dir, const struct seal_keys *keys, bool whole, char *ret_why,
                       size_t why_bytes) {
    struct known_keys known;
    enum err err = read_known(dir, &known, ret_why, why_bytes);
    if (err)
        return err;
    for (unsigned i = 0; i < known.count; i++)
        if (known.keys[i].id == seal_keys_id(keys, 0))
            return OK;
    if (known.count < KNOWN_MAX)
        return note(dir, &known, keys, whole, ret_why, why_bytes);
    snprintf(ret_why, why_bytes,
             "encryption-key-file: %s is sealed by 64 keys already: run `hati reencrypt`", dir);
    return ERR_CONFLICT;
}

enum err keycheck_note_alone(const char *dir, const struct seal_keys *keys, char *ret_why,
                             size_t why_bytes) {
    struct known_keys none = {0};
    return note(dir, &none, keys, true, ret_why, why_bytes);
}
