/* SPDX-License-Identifier: MIT */
/* Keys of one space in byte order: blocks of key copies, found by binary search. Made when the
 * space is first listed, kept up from then on, dropped when nobody lists it any more. */
#ifndef HATI_KV_MEM_INDEX_H
#define HATI_KV_MEM_INDEX_H

#include "kv/kv.h"

struct mem_index;

struct mem_index *mem_index_new(void);
void mem_index_free(struct mem_index *index);

/* Adds a key; one that is there stays. False without memory: the index is no longer whole. */
bool mem_index_add(struct mem_index *index, struct slice key);
void mem_index_remove(struct mem_index *index, struct slice key);

/* Copies into the list's arena up to `most` keys after list->after, within the prefix. *ret_end is
 * true where no more follow. Expired keys are among them: the caller asks the table. Returns the
 * number of keys, -1 without memory. */
int mem_index_read(struct mem_index *index, const struct kv_list *list, struct slice after,
                   unsigned most, struct slice *ret_keys, bool *ret_end);

#endif
