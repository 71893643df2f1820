/* SPDX-License-Identifier: MIT */
/* Names of spaces, (workspace, namespace), as small numbers. A space is made by its first write and
 * stays; reads never make one. */
#ifndef HATI_KV_SPACE_H
#define HATI_KV_SPACE_H

#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"

#define SPACE_NONE UINT32_MAX
#define SPACES_MAX (1U << 22) /* a bound on what namespaces made up by callers may cost */

struct spaces;

struct spaces *spaces_new(void);
void spaces_free(struct spaces *spaces);

/* The number of a space, or SPACE_NONE. Any thread; a thread that asks for the same space again is
 * answered from a note of its own. */
uint32_t spaces_find(struct spaces *spaces, const struct uuid *workspace, struct slice ns);
/* The same, made where it was not. ERR_OUT_OF_MEMORY without memory or past SPACES_MAX. */
enum err spaces_make(struct spaces *spaces, const struct uuid *workspace, struct slice ns,
                     uint32_t *ret_space) MUST_USE;
/* Puts a space under the number it had before (replay). Numbers come in any order. */
enum err spaces_restore(struct spaces *spaces, uint32_t space, const struct uuid *workspace,
                        struct slice ns) MUST_USE;

/* Names by number, of all that were made before. */
struct space_table;
/* ERR_OUT_OF_MEMORY. Freed before the spaces. */
enum err space_table_make(struct spaces *spaces, struct space_table **ret_table) MUST_USE;
void space_table_free(struct space_table *table);
/* False where there is none; ret_ns lives as long as the spaces. */
bool space_table_get(const struct space_table *table, uint32_t space, struct uuid *ret_workspace,
                     struct slice *ret_ns);

#endif
