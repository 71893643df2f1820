/* SPDX-License-Identifier: MIT */
/* libuv ends the process where its table of descriptors cannot grow: some memory is kept for it. */
#ifndef HATI_SERVER_LINE_MEMORY_H
#define HATI_SERVER_LINE_MEMORY_H

#include "base/err.h"

/* Before libuv is used, and once; the limit of open files is what it stays. ERR_OUT_OF_MEMORY. */
enum err line_memory_open(void) MUST_USE;
/* Frees what is kept; libuv is used no more. */
void line_memory_close(void);

#endif
