/* SPDX-License-Identifier: MIT */
/* What a data directory remembers of the keys that sealed what is in it: the file `encryption`, a
 * line for each key with its id and a known text that it sealed. So a wrong or a missing key is
 * seen at start, not at the first value that cannot be read. The text also says whether the
 * directory is whole: nothing in it is in plain, so that what is was put there by somebody else. */
#ifndef HATI_JOURNAL_KEYCHECK_H
#define HATI_JOURNAL_KEYCHECK_H

#include "journal/seal.h"

/* True where the directory has such a file: something in it may be sealed. */
bool keycheck_is_there(const char *dir);
/* Every key that the file names is among `keys` (NULL: there are none) and opens its text; no file
 * is well, and not whole. On failure one line is in ret_why. Blocks. */
enum err keycheck_test(const char *dir, const struct seal_keys *keys, bool *ret_whole,
                       char *ret_why, size_t why_bytes) MUST_USE;
/* Names the first key in the file, if it is not there, before it seals anything. On disk when it
 * returns OK. Blocks. */
enum err keycheck_note(const char *dir, const struct seal_keys *keys, bool whole, char *ret_why,
                       size_t why_bytes) MUST_USE;
/* Names it and no other any more, and the directory whole. Blocks. */
enum err keycheck_note_alone(const char *dir, const struct seal_keys *keys, char *ret_why,
                             size_t why_bytes) MUST_USE;

#endif
