/* SPDX-License-Identifier: MIT */
/* From the bytes a server sends to its replies. Does no I/O and believes nothing: every length is
 * bounded before anything is done with it. */
#ifndef HATI_CLIENT_FRAME_H
#define HATI_CLIENT_FRAME_H

#include "base/slice.h"

#define FRAME_LINE_MAX (64U << 20)   /* bytes of a line */
#define FRAME_BYTES_MAX (1ULL << 30) /* bytes of a value or a message */

enum frame_kind {
    FRAME_PART,    /* more bytes must come */
    FRAME_LINE,    /* a line that is none of the others: text */
    FRAME_ERROR,   /* +ERR: code, text */
    FRAME_VALUE,   /* $<length>: bytes */
    FRAME_MESSAGE, /* MSG: receipt, attempt, key, bytes */
    FRAME_BROKEN   /* this is no hati: text says why */
};

struct frame {
    enum frame_kind kind;
    size_t size; /* bytes it takes, newlines included; PART: 0 */
    size_t need; /* PART: worth looking again once so many bytes are there; 0: any more */
    struct slice text;
    struct slice code;
    struct slice bytes;
    struct slice receipt, attempt, key;
};

/* Reads the frame at the front of data. scanned: bytes at the front known to hold no newline.
 * Slices of the frame point into data, or are static. Any thread. */
void frame_parse(struct slice data, size_t scanned, struct frame *ret_frame);

#endif
