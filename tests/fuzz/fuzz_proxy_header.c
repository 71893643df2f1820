/* SPDX-License-Identifier: MIT */
/* What a proxy says before its client: PROXY headers, and X-Forwarded-For. */
#include <stdlib.h>

#include "server/forwarded.h"
#include "server/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

/* What is told of the whole is told of it in pieces as well, and no byte behind it matters. */
static void read_header(const uint8_t *data, size_t size) {
    struct proxy_header whole, part;
    size_t need;
    enum proxy_state state = proxy_header_read(slice_make(data, size), &whole, &need);
    if (state == PROXY_BAD)
        check(whole.why != NULL);
    if (state == PROXY_PART)
        check(need > size && need <= PROXY_HEADER_MAX);
    if (state != PROXY_DONE)
        return;
    check(whole.size > 0 && whole.size <= size && whole.size <= PROXY_HEADER_MAX);
    check(whole.local || whole.unknown || whole.client.known);
    for (size_t have = 0; have < whole.size; have = need) {
        check(proxy_header_read(slice_make(data, have), &part, &need) == PROXY_PART);
        check(need > have && need <= whole.size);
    }
    check(proxy_header_read(slice_make(data, whole.size), &part, &need) == PROXY_DONE);
    check(part.size == whole.size && part.local == whole.local);
}

static void read_forwarded(const uint8_t *data, size_t size) {
    struct networks trusted;
    struct address peer;
    struct slice lines[2] = {slice_make(data, size / 2),
                             slice_make(data + size / 2, size - size / 2)};
    check(!networks_parse("10.0.0.0/8,127.0.0.1", &trusted));
    check(address_parse(SLICE("10.0.0.1"), &peer));
    struct address client = forwarded_client(&trusted, &peer, lines, 2);
    check(client.known);
    check(!client.vague || !address_is_loopback(&client));
}

static void read_networks(const uint8_t *data, size_t size) {
    struct networks networks;
    char list[512];
    if (size >= sizeof list || memchr(data, '\0', size))
        return;
    memcpy(list, data, size);
    list[size] = '\0';
    if (!networks_parse(list, &networks))
        check(networks.count > 0 && networks.count <= ADDRESS_NETWORKS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_header(data, size);
    read_forwarded(data, size);
    read_networks(data, size);
    return 0;
}
