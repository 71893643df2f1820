/* SPDX-License-Identifier: MIT */
#include "server/forwarded.h"

static struct slice trim(struct slice text) {
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = slice_make(text.ptr + 1, text.len - 1);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Takes what stands behind the last comma off the end of the line. */
static struct slice take_last(struct slice *line) {
    size_t start = line->len;
    while (start && line->ptr[start - 1] != ',')
        start--;
    struct slice last = slice_make(line->ptr + start, line->len - start);
    line->len = start ? start - 1 : 0;
    return trim(last);
}

static bool is_port(struct slice text) {
    int64_t port;
    return slice_parse_i64(text, &port) && port >= 0 && port <= 65535;
}

/* An address, perhaps with a port behind it: 192.0.2.1:80, [2001:db8::1], [2001:db8::1]:80. */
static bool parse_hop(struct slice text, struct address *ret_address) {
    if (text.len && text.ptr[0] == '[') {
        const char *end = memchr(text.ptr, ']', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : 0;
        struct slice rest = slice_make(text.ptr + len + 1, end ? text.len - len - 1 : 0);
        bool sound = end && memchr(text.ptr, ':', len) &&
                     (rest.len == 0 ||
                      (rest.ptr[0] == ':' && is_port(slice_make(rest.ptr + 1, rest.len - 1))));
        return sound && address_parse(slice_make(text.ptr + 1, len - 1), ret_address);
    }
    const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
    size_t host = colon ? (size_t)(colon - text.ptr) : text.len;
    struct slice behind = slice_make(text.ptr + host + 1, colon ? text.len - host - 1 : 0);
    if (colon && memchr(text.ptr, '.', host) && is_port(behind))
        text.len = host;
    return address_parse(text, ret_address);
}

struct address forwarded_client(const struct networks *trusted, const struct address *peer,
                                const struct slice *lines, unsigned count) {
    struct address client = *peer;
    while (count-- && networks_have(trusted, &client)) {
        struct slice line = lines[count];
        for (bool more = true; more && networks_have(trusted, &client);) {
            more = line.len && memchr(line.ptr, ',', line.len);
            if (!parse_hop(take_last(&line), &client)) {
                client.vague = true;
                return client;
            }
        }
    }
    return client;
}
