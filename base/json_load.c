/* SPDX-License-Identifier: MIT */
#include "base/json_load.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCKS 64U

/* What the parse under way on this thread has allocated and not freed. */
struct load {
    jmp_buf failed;
    void *first[FIRST_BLOCKS];
    void **blocks;
    size_t count, room;
};

static _Thread_local struct load *current;

static bool reserve(struct load *load) {
    if (load->count < load->room)
        return true;
    void **blocks = load->blocks == load->first ? NULL : load->blocks;
    blocks = realloc(blocks, 2 * load->room * sizeof *blocks);
    if (!blocks)
        return false;
    if (load->blocks == load->first)
        memcpy(blocks, load->first, sizeof load->first);
    load->blocks = blocks;
    load->room *= 2;
    return true;
}

static void *allocate(size_t size) {
    struct load *load = current;
    if (!load)
        return malloc(size);
    void *block = reserve(load) ? malloc(size) : NULL;
    if (!block)
        longjmp(load->failed, 1); /* over frames of jansson alone, which holds nothing but blocks */
    load->blocks[load->count++] = block;
    return block;
}

/* What is freed was mostly allocated last; a key's search goes over its own value at most. */
static void release(void *block) {
    struct load *load = current;
    for (size_t i = load ? load->count : 0; i > 0; i--)
        if (load->blocks[i - 1] == block) {
            load->blocks[i - 1] = load->blocks[--load->count];
            break;
        }
    free(block);
}

/* Before main: no other thread allocates meanwhile. */
__attribute__((constructor)) static void take_over(void) {
    json_set_alloc_funcs(allocate, release);
}

static void say_no_memory(json_error_t *ret_error) {
    if (!ret_error)
        return;
    memset(ret_error, 0, sizeof *ret_error);
    strcpy(ret_error->text, "there is no memory for it");
    ret_error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
}

json_t *json_load_slice(struct slice text, size_t flags, json_error_t *ret_error) {
    struct load load;
    json_t *json = NULL;
    load.blocks = load.first;
    load.count = 0;
    load.room = FIRST_BLOCKS;
    if (setjmp(load.failed) == 0) {
        current = &load;
        json = json_loadb(text.len ? text.ptr : "", text.len, flags, ret_error);
        current = NULL;
    } else {
        current = NULL;
        for (size_t i = 0; i < load.count; i++)
            free(load.blocks[i]);
        json = NULL;
        say_no_memory(ret_error);
    }
    if (load.blocks != load.first)
        free(load.blocks);
    return json;
}
