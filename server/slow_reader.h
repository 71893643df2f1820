/* SPDX-License-Identifier: MIT */
/* Peers that do not take what is sent to them. The kernel is asked how much they acknowledged, so
 * whoever wrote to the socket need not tell. */
#ifndef HATI_SERVER_SLOW_READER_H
#define HATI_SERVER_SLOW_READER_H

#include <stdbool.h>
#include <stdint.h>

struct slow_reader_rule {
    uint64_t min_rate; /* bytes a second; 0: none */
    int64_t window_ms; /* over which it is looked at; 0: no rule */
};

/* All zeros: nothing is known. */
struct slow_reader {
    int64_t since_ms; /* when something was first left to acknowledge; 0: nothing was */
    uint64_t acked_bytes;
};

/* To be called about once a second while something is being sent: true where for a whole window
 * there was always something left, and less was acknowledged than the least rate asks for. False of
 * sockets that are not TCP. */
bool slow_reader_check(struct slow_reader *reader, const struct slow_reader_rule *rule, int fd,
                       int64_t now_ms);
static inline void slow_reader_forget(struct slow_reader *reader) {
    reader->since_ms = 0;
}
/* The same with what the kernel said: left bytes are not acknowledged, acked_bytes were ever. */
bool slow_reader_judge(struct slow_reader *reader, const struct slow_reader_rule *rule,
                       uint64_t left_bytes, uint64_t acked_bytes, int64_t now_ms);

#endif
