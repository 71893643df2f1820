/* SPDX-License-Identifier: MIT */
#include "journal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define VERSION 1
#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define ID_BYTES 4U
#define OTHERS 027 /* all may read, or a group write: a group that reads is the service's */
#define FILE_BYTES_MAX 65536U
#define VEIL_BLOCK 64U /* bytes of the stream, which are counted from the file's beginning */

_Static_assert(1 + ID_BYTES + NONCE_BYTES == SEAL_HEAD_BYTES &&
                   SEAL_HEAD_BYTES + TAG_BYTES == SEAL_BYTES && KEY_BYTES == 32,
               "docs/storage.md says so");

/* In memory that is locked, and wiped when it is freed. */
struct ring {
    struct ring *older; /* may still be opening something */
    unsigned count;
    uint32_t ids[SEAL_KEYS_MAX];
    unsigned char keys[SEAL_KEYS_MAX][KEY_BYTES];
};

struct seal_keys {
    _Atomic(struct ring *) ring;
    bool refuses_plain;
};

/* A file being read. */
struct source {
    const char *path;
    char *why;
    size_t why_bytes;
};

static enum err fail(const struct source *source, enum err err, unsigned line, const char *reason) {
    char where[32] = "";
    if (line)
        snprintf(where, sizeof where, " line %u", line);
    snprintf(source->why, source->why_bytes, "encryption-key-file: %s%s: %s", source->path, where,
             reason);
    return err;
}

/* All of the file into locked memory; it may be a pipe. */
static enum err read_text(const struct source *source, char *text, size_t *ret_len) {
    struct stat stat;
    int fd = open(source->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(source, ERR_UNAVAILABLE, 0, strerror(errno));
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && (stat.st_mode & OTHERS) != 0)
        log_warn("encryption-key-file: %s: others may read or change it too (mode %03o)",
                 source->path, (unsigned)stat.st_mode & 0777U);
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, text + len, FILE_BYTES_MAX - len)) > 0 || (got < 0 && errno == EINTR))
        len += got > 0 ? (size_t)got : 0;
    int error = errno;
    close(fd);
    if (got < 0)
        return fail(source, ERR_UNAVAILABLE, 0, strerror(error));
    if (len == FILE_BYTES_MAX)
        return fail(source, ERR_SYNTAX, 0, "is too long to be a file of keys");
    *ret_len = len;
    return OK;
}

static struct slice trim(struct slice text) {
    while (text.len && strchr(" \t\r", text.ptr[text.len - 1]))
        text.len--;
    while (text.len && strchr(" \t", text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    return text;
}

static bool parse_key(struct slice line, unsigned char key[KEY_BYTES]) {
    size_t len = 0;
    const char *end = NULL;
    if (line.len == 2 * (size_t)KEY_BYTES)
        return sodium_hex2bin(key, KEY_BYTES, line.ptr, line.len, NULL, &len, &end) == 0 &&
               len == KEY_BYTES && end == line.ptr + line.len;
    int variant = line.len && line.ptr[line.len - 1] == '='
                      ? sodium_base64_VARIANT_ORIGINAL
                      : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    return sodium_base642bin(key, KEY_BYTES, line.ptr, line.len, NULL, &len, &end, variant) == 0 &&
           len == KEY_BYTES && end == line.ptr + line.len;
}

static uint32_t id_of(const unsigned char key[KEY_BYTES]) {
    static const unsigned char name[] = "hati key id";
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof hash, name, sizeof name - 1, key, KEY_BYTES);
    return (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

static enum err take_line(const struct source *source, struct ring *ring, unsigned number,
                          struct slice line) {
    if (line.len == 0 || line.ptr[0] == '#')
        return OK;
    if (ring->count == SEAL_KEYS_MAX)
        return fail(source, ERR_SYNTAX, number, "there are more keys than 16");
    unsigned char *key = ring->keys[ring->count];
    if (!parse_key(line, key))
        return fail(source, ERR_SYNTAX, number,
                    "a key of 32 bytes is expected, as 64 hexadecimal digits or base64");
    if (sodium_is_zero(key, KEY_BYTES))
        return fail(source, ERR_SYNTAX, number, "zeros are no key");
    uint32_t id = id_of(key);
    for (unsigned i = 0; i < ring->count; i++)
        if (ring->ids[i] == id)
            return fail(source, ERR_SYNTAX, number, "this key is there already");
    ring->ids[ring->count++] = id;
    return OK;
}

static enum err parse(const struct source *source, struct slice text, struct ring *ring) {
    enum err err = OK;
    for (unsigned number = 1; !err && text.len; number++) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;
        err = take_line(source, ring, number, trim(slice_make(text.ptr, len)));
        len += end != NULL;
        text = slice_make(text.ptr + len, text.len - len);
    }
    return !err && ring->count == 0 ? fail(source, ERR_SYNTAX, 0, "there is no key in it") : err;
}

static enum err read_ring(const struct source *source, struct ring *ring) {
    size_t len = 0;
    char *text = sodium_malloc(FILE_BYTES_MAX);
    if (!text)
        return fail(source, ERR_OUT_OF_MEMORY, 0, "no memory");
    enum err err = read_text(source, text, &len);
    if (!err)
        err = parse(source, slice_make(text, len), ring);
    sodium_free(text);
    return err;
}

enum err seal_keys_open(const char *path, struct seal_keys **ret_keys, char *ret_why,
                        size_t why_bytes) {
    struct source source = {path, ret_why, why_bytes};
    if (sodium_init() < 0)
        return fail(&source, ERR_UNAVAILABLE, 0, "libsodium does not work here");
    struct seal_keys *keys = calloc(1, sizeof *keys);
    struct ring *ring = sodium_malloc(sizeof *ring);
    enum err err = keys && ring ? OK : fail(&source, ERR_OUT_OF_MEMORY, 0, "no memory");
    if (!err) {
        memset(ring, 0, sizeof *ring);
        err = read_ring(&source, ring);
    }
    if (err) {
        sodium_free(ring);
        free(keys);
        return err;
    }
    sodium_mprotect_readonly(ring);
    atomic_init(&keys->ring, ring);
    *ret_keys = keys;
    return OK;
}

void seal_keys_close(struct seal_keys *keys) {
    if (!keys)
        return;
    for (struct ring *ring = atomic_load(&keys->ring); ring;) {
        struct ring *older = ring->older;
        sodium_free(ring);
        ring = older;
    }
    free(keys);
}

void seal_keys_renew(struct seal_keys *keys, struct seal_keys *fresh) {
    struct ring *ring = atomic_load(&fresh->ring);
    sodium_mprotect_readwrite(ring);
    ring->older = atomic_load(&keys->ring);
    sodium_mprotect_readonly(ring);
    atomic_store(&keys->ring, ring);
    free(fresh);
}

unsigned seal_keys_count(const struct seal_keys *keys) {
    return atomic_load(&keys->ring)->count;
}

uint32_t seal_keys_id(const struct seal_keys *keys, unsigned index) {
    return atomic_load(&keys->ring)->ids[index];
}

static void write_id(uint32_t id, unsigned char to[ID_BYTES]) {
    for (unsigned i = 0; i < ID_BYTES; i++)
        to[i] = (unsigned char)(id >> (24 - 8 * i));
}

void seal_put(const struct seal_keys *keys, struct slice bond, struct slice plain, char *to) {
    const struct ring *ring = atomic_load_explicit(&keys->ring, memory_order_acquire);
    unsigned char *at = (unsigned char *)to;
    unsigned char *nonce = at + 1 + ID_BYTES;
    at[0] = VERSION;
    write_id(ring->ids[0], at + 1);
    randombytes_buf(nonce, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        at + SEAL_HEAD_BYTES, NULL, (const unsigned char *)plain.ptr, plain.len,
        (const unsigned char *)bond.ptr, bond.len, NULL, nonce, ring->keys[0]);
}

bool seal_read_id(struct slice sealed, uint32_t *ret_id) {
    const unsigned char *at = (const unsigned char *)sealed.ptr;
    if (sealed.len < SEAL_BYTES || at[0] != VERSION)
        return false;
    *ret_id = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
    return true;
}

enum err seal_take(const struct seal_keys *keys, struct slice bond, struct slice sealed, char *to) {
    uint32_t id;
    if (!keys || !seal_read_id(sealed, &id))
        return ERR_CORRUPT;
    const struct ring *ring = atomic_load_explicit(&keys->ring, memory_order_acquire);
    const unsigned char *at = (const unsigned char *)sealed.ptr;
    for (unsigned i = 0; i < ring->count; i++)
        if (ring->ids[i] == id)
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                       (unsigned char *)to, NULL, NULL, at + SEAL_HEAD_BYTES,
                       sealed.len - SEAL_HEAD_BYTES, (const unsigned char *)bond.ptr, bond.len,
                       at + 1 + ID_BYTES, ring->keys[i])
                       ? ERR_CORRUPT
                       : OK;
    return ERR_CORRUPT;
}

void seal_keys_refuse_plain(struct seal_keys *keys) {
    keys->refuses_plain = true;
}

bool seal_refuses_plain(const struct seal_keys *keys) {
    return keys && keys->refuses_plain;
}

enum err seal_make_key(char ret_text[SEAL_KEY_TEXT_BYTES]) {
    unsigned char key[KEY_BYTES];
    if (sodium_init() < 0)
        return ERR_UNAVAILABLE;
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(ret_text, SEAL_KEY_TEXT_BYTES, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return OK;
}

struct seal_veil {
    uint64_t from;
    unsigned char key[crypto_stream_xchacha20_KEYBYTES];
};

enum err seal_veil_new(struct seal_veil **ret_veil) {
    struct seal_veil *veil = sodium_init() < 0 ? NULL : sodium_malloc(sizeof *veil);
    if (!veil)
        return ERR_OUT_OF_MEMORY;
    veil->from = UINT64_MAX;
    randombytes_buf(veil->key, sizeof veil->key);
    *ret_veil = veil;
    return OK;
}

void seal_veil_free(struct seal_veil *veil) {
    sodium_free(veil);
}

void seal_veil_begin(struct seal_veil *veil, uint64_t at) {
    veil->from = at;
}

/* Each key covers one file, once: its nonce may be zeros. */
static void turn(const struct seal_veil *veil, uint64_t at, const char *bytes, size_t len,
                 char *to) {
    static const unsigned char nonce[crypto_stream_xchacha20_NONCEBYTES];
    unsigned char part[VEIL_BLOCK];
    size_t skip = at % VEIL_BLOCK;
    size_t first = skip ? VEIL_BLOCK - skip : 0;
    if (first > len)
        first = len;
    if (first) {
        memset(part, 0, sizeof part);
        memcpy(part + skip, bytes, first);
        crypto_stream_xchacha20_xor_ic(part, part, sizeof part, nonce, at / VEIL_BLOCK, veil->key);
        memcpy(to, part + skip, first);
        sodium_memzero(part, sizeof part);
    }
    if (len > first)
        crypto_stream_xchacha20_xor_ic((unsigned char *)to + first,
                                       (const unsigned char *)bytes + first, len - first, nonce,
                                       (at + first) / VEIL_BLOCK, veil->key);
}

void seal_veil_turn(const struct seal_veil *veil, uint64_t at, struct slice bytes, char *to) {
    size_t plain = 0;
    if (at < veil->from)
        plain = veil->from - at < bytes.len ? (size_t)(veil->from - at) : bytes.len;
    if (plain && to != bytes.ptr)
        memcpy(to, bytes.ptr, plain);
    if (bytes.len > plain)
        turn(veil, at + plain, bytes.ptr + plain, bytes.len - plain, to + plain);
}
