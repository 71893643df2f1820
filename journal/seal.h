/* SPDX-License-Identifier: MIT */
/* Sealing what goes to disk: XChaCha20-Poly1305 under keys of a file, each sealed text bound to
 * where it belongs. Only seal.c knows libsodium.
 *
 *   sealed text: version 1 (1), id of the key (4), nonce (24), what was sealed, tag (16)
 *
 * The first key of the file seals; all of them open. docs/encryption.md says what for. */
#ifndef HATI_JOURNAL_SEAL_H
#define HATI_JOURNAL_SEAL_H

#include "base/err.h"
#include "base/slice.h"

#define SEAL_HEAD_BYTES 29U /* before what was sealed */
#define SEAL_BYTES 45U      /* that a sealed text is longer */
#define SEAL_KEYS_MAX 16U

struct seal_keys;

/* Reads keys: one a line, 32 bytes as 64 hexadecimal digits or base64; empty lines and those that
 * begin with # are none. On failure one line is in ret_why, which never holds anything of a key.
 * Blocks. */
enum err seal_keys_open(const char *path, struct seal_keys **ret_keys, char *ret_why,
                        size_t why_bytes) MUST_USE;
/* Wipes them. Nobody uses them any more. */
void seal_keys_close(struct seal_keys *keys);
/* The keys of `fresh` (which is closed by it) take the place of those there were; texts that are
 * being opened meanwhile are opened by the old ones. One thread at a time. */
void seal_keys_renew(struct seal_keys *keys, struct seal_keys *fresh);

/* How many there are, and how each is called: a number made of the key, which does not tell it.
 * Any thread that does not race with a renewal. */
unsigned seal_keys_count(const struct seal_keys *keys);
uint32_t seal_keys_id(const struct seal_keys *keys, unsigned index);

/* Seals by the first key: plain.len + SEAL_BYTES bytes at `to`. bond: what it is bound to, not
 * kept. Any thread. */
void seal_put(const struct seal_keys *keys, struct slice bond, struct slice plain, char *to);
/* Opens sealed.len - SEAL_BYTES bytes at `to`, which may be sealed.ptr + SEAL_HEAD_BYTES.
 * ERR_CORRUPT where it is not what was sealed under this bond, or by a key that is not there; the
 * bytes at `to` are of no use then. keys may be NULL: there are none. Any thread. */
enum err seal_take(const struct seal_keys *keys, struct slice bond, struct slice sealed,
                   char *to) MUST_USE;
/* The key that a sealed text says it is sealed by; false where it is no sealed text. */
bool seal_read_id(struct slice sealed, uint32_t *ret_id);

/* Whatever is in plain is not ours: callers answer ERR_CORRUPT to it. Set before they read. */
void seal_keys_refuse_plain(struct seal_keys *keys);
/* keys may be NULL. Any thread. */
bool seal_refuses_plain(const struct seal_keys *keys);

/* Over a file that only this process reads again: from a place on its bytes are covered by a key
 * that nobody else has, and that is gone with the veil. It hides, and tells of no change. */
struct seal_veil;
enum err seal_veil_new(struct seal_veil **ret_veil) MUST_USE;
/* NULL does nothing. */
void seal_veil_free(struct seal_veil *veil);
/* Bytes from here on are covered, those before are not. */
void seal_veil_begin(struct seal_veil *veil, uint64_t at);
/* Covers or uncovers bytes that stand at `at` of the file; `to` may be bytes.ptr. Any thread. */
void seal_veil_turn(const struct seal_veil *veil, uint64_t at, struct slice bytes, char *to);

/* A fresh key as 64 hexadecimal digits and a NUL. */
#define SEAL_KEY_TEXT_BYTES 65U
enum err seal_make_key(char ret_text[SEAL_KEY_TEXT_BYTES]) MUST_USE;

#endif
