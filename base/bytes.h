/* SPDX-License-Identifier: MIT */
/* Numbers as bytes in big-endian order, which sort as the numbers do. */
#ifndef HATI_BASE_BYTES_H
#define HATI_BASE_BYTES_H

#include <stdint.h>

static inline void put_be32(char *to, uint32_t number) {
    for (int i = 3; i >= 0; i--, number >>= 8)
        to[i] = (char)(number & 0xFF);
}

static inline uint32_t get_be32(const char *from) {
    uint32_t number = 0;
    for (int i = 0; i < 4; i++)
        number = number << 8 | (uint8_t)from[i];
    return number;
}

static inline void put_be64(char *to, uint64_t number) {
    put_be32(to, (uint32_t)(number >> 32));
    put_be32(to + 4, (uint32_t)number);
}

static inline uint64_t get_be64(const char *from) {
    return (uint64_t)get_be32(from) << 32 | get_be32(from + 4);
}

#endif
