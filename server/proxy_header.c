/* SPDX-License-Identifier: MIT */
#include "server/proxy_header.h"

#define V1_LINE_MAX 107U /* with its CRLF */
#define V1_REST_MIN 2U   /* CRLF */
#define V2_FIXED 16U
#define V2_V4_BYTES 12U
#define V2_V6_BYTES 36U
#define V2_UNIX_BYTES 216U

enum { V2_UNSPEC, V2_INET, V2_INET6, V2_UNIX };

static const uint8_t v2_signature[12] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                         0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};

static enum proxy_state bad(struct proxy_header *header, const char *why) {
    header->why = why;
    return PROXY_BAD;
}

static enum proxy_state part(size_t *ret_need, size_t need) {
    *ret_need = need;
    return PROXY_PART;
}

/* Takes what stands before the next space; false where nothing does. */
static bool take_word(struct slice *line, struct slice *ret_word) {
    const char *space = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    size_t len = space ? (size_t)(space - line->ptr) : line->len;
    *ret_word = slice_make(line->ptr, len);
    size_t used = len + (space ? 1 : 0);
    *line = slice_make(line->ptr + used, line->len - used);
    return len > 0;
}

static bool is_port(struct slice text) {
    int64_t port;
    return slice_parse_i64(text, &port) && port >= 0 && port <= 65535;
}

/* The line behind "PROXY ", without its CRLF. */
static enum proxy_state read_v1_line(struct slice line, struct proxy_header *header) {
    struct slice family, from, to, from_port, to_port;
    struct address destination;
    if (!take_word(&line, &family))
        return bad(header, "it names no family");
    if (slice_equal(family, SLICE("UNKNOWN"))) {
        header->unknown = true; /* what follows is to be ignored */
        return PROXY_DONE;
    }
    bool v4 = slice_equal(family, SLICE("TCP4"));
    if (!v4 && !slice_equal(family, SLICE("TCP6")))
        return bad(header, "its family is none of TCP4, TCP6, UNKNOWN");
    bool ends = line.len && line.ptr[line.len - 1] != ' ';
    if (!ends || !take_word(&line, &from) || !take_word(&line, &to) ||
        !take_word(&line, &from_port) || !take_word(&line, &to_port) || line.len ||
        !is_port(from_port) || !is_port(to_port))
        return bad(header, "it has not two addresses and two ports");
    bool fits = (memchr(from.ptr, ':', from.len) == NULL) == v4 &&
                (memchr(to.ptr, ':', to.len) == NULL) == v4;
    if (!fits || !address_parse(from, &header->client) || !address_parse(to, &destination))
        return bad(header, "its addresses are none of its family");
    return PROXY_DONE;
}

static enum proxy_state read_v1(struct slice data, struct proxy_header *header, size_t *ret_need) {
    static const char start[] = "PROXY ";
    size_t start_len = sizeof start - 1;
    size_t shown = data.len < start_len ? data.len : start_len;
    if (memcmp(data.ptr, start, shown) != 0)
        return bad(header, "there is none");
    size_t looked = data.len < V1_LINE_MAX ? data.len : V1_LINE_MAX;
    const char *newline = memchr(data.ptr, '\n', looked);
    if (!newline && data.len >= V1_LINE_MAX)
        return bad(header, "its line is too long");
    if (!newline && data.len < start_len)
        return part(ret_need, start_len + V1_REST_MIN);
    if (!newline)
        return part(ret_need, data.len + (data.ptr[data.len - 1] == '\r' ? 1 : V1_REST_MIN));
    size_t len = (size_t)(newline - data.ptr);
    if (len < start_len + 1 || data.ptr[len - 1] != '\r')
        return bad(header, "its line does not end in CRLF");
    header->size = len + 1;
    return read_v1_line(slice_make(data.ptr + start_len, len - 1 - start_len), header);
}

/* data holds all of it. Addresses are those of the source; TLVs behind them are skipped. */
static enum proxy_state read_v2_addresses(const uint8_t *bytes, size_t len,
                                          struct proxy_header *header) {
    unsigned family = bytes[13] >> 4;
    unsigned transport = bytes[13] & 15;
    const uint8_t *source = bytes + V2_FIXED;
    if (family > V2_UNIX || transport > 2)
        return bad(header, "its family is unknown");
    if (family == V2_UNSPEC || transport == 0 || family == V2_UNIX) {
        if (family == V2_UNIX && transport && len < V2_UNIX_BYTES)
            return bad(header, "it is too short for its addresses");
        header->unknown = true;
        return PROXY_DONE;
    }
    if (transport != 1)
        return bad(header, "it tells of datagrams");
    if (len < (family == V2_INET ? V2_V4_BYTES : V2_V6_BYTES))
        return bad(header, "it is too short for its addresses");
    header->client = address_of_bytes(source, family == V2_INET ? 4 : ADDRESS_BYTES);
    return PROXY_DONE;
}

static enum proxy_state read_v2(struct slice data, struct proxy_header *header, size_t *ret_need) {
    const uint8_t *bytes = (const uint8_t *)data.ptr;
    size_t shown = data.len < sizeof v2_signature ? data.len : sizeof v2_signature;
    if (memcmp(bytes, v2_signature, shown) != 0)
        return bad(header, "there is none");
    if (data.len < V2_FIXED)
        return part(ret_need, V2_FIXED);
    unsigned command = bytes[12] & 15;
    size_t len = (size_t)bytes[14] << 8 | bytes[15];
    if (bytes[12] >> 4 != 2 || command > 1)
        return bad(header, "its version or command is unknown");
    if (V2_FIXED + len > PROXY_HEADER_MAX)
        return bad(header, "it is too long");
    if (data.len < V2_FIXED + len)
        return part(ret_need, V2_FIXED + len);
    header->size = V2_FIXED + len;
    header->local = command == 0;
    return header->local ? PROXY_DONE : read_v2_addresses(bytes, len, header);
}

enum proxy_state proxy_header_read(struct slice data, struct proxy_header *ret_header,
                                   size_t *ret_need) {
    *ret_header = (struct proxy_header){.local = false};
    *ret_need = 0;
    if (data.len == 0)
        return part(ret_need, 1);
    return data.ptr[0] == 'P' ? read_v1(data, ret_header, ret_need)
                              : read_v2(data, ret_header, ret_need);
}
