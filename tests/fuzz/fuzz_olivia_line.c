/* SPDX-License-Identifier: MIT */
/* Olivia's lines, and the replies that a peer sends. */
#include "tests/fuzz/line_target.h"

#include "peers/wire.h"

/* Pairs are within the line, and the line is eaten up. */
static void read_pairs(struct slice text) {
    struct olivia_line line;
    struct olivia_pair pair;
    int64_t seconds;
    if (!olivia_line_split(text, &line))
        return;
    check(is_within(line.hash, text) && is_within(line.command, text) &&
          is_within(line.args, text));
    size_t left = line.args.len;
    while (olivia_take_pair(&line.args, &pair)) {
        check(is_within(pair.key, text) && is_within(pair.value, text) &&
              is_within(pair.seconds, text));
        check(line.args.len <= left);
        left = line.args.len;
        (void)olivia_parse_seconds(pair.seconds, &seconds);
    }
}

static void read_reply(struct slice text) {
    struct wire_reply reply;
    struct slice field;
    uint64_t number;
    if (!wire_parse_reply(text, &reply))
        return;
    check(is_within(reply.hash, text) && is_within(reply.word, text) &&
          is_within(reply.rest, text));
    while (reply.rest.ptr)
        if (!wire_take_u64(&reply.rest, &number))
            check(wire_take_field(&reply.rest, &field) && is_within(field, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_lines(&line_dialect_olivia, data, size);
    read_pairs(slice_make(data, size));
    read_reply(slice_make(data, size));
    return 0;
}
