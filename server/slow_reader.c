/* SPDX-License-Identifier: MIT */
#include "server/slow_reader.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

bool slow_reader_judge(struct slow_reader *reader, const struct slow_reader_rule *rule,
                       uint64_t left_bytes, uint64_t acked_bytes, int64_t now_ms) {
    if (left_bytes == 0) {
        slow_reader_forget(reader);
        return false;
    }
    if (reader->since_ms == 0) {
        *reader = (struct slow_reader){now_ms, acked_bytes};
        return false;
    }
    int64_t took_ms = now_ms - reader->since_ms;
    if (took_ms < rule->window_ms)
        return false;
    uint64_t wanted_bytes = rule->min_rate * (uint64_t)took_ms / 1000;
    bool slow = acked_bytes - reader->acked_bytes < wanted_bytes;
    *reader = (struct slow_reader){now_ms, acked_bytes};
    return slow;
}

bool slow_reader_check(struct slow_reader *reader, const struct slow_reader_rule *rule, int fd,
                       int64_t now_ms) {
    struct tcp_info info = {0};
    socklen_t bytes = sizeof info;
    int left = 0;
    if (!rule->min_rate || !rule->window_ms || ioctl(fd, SIOCOUTQ, &left) != 0)
        return false;
    if (left <= 0)
        return slow_reader_judge(reader, rule, 0, 0, now_ms);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0 ||
        bytes < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked)
        return false;
    return slow_reader_judge(reader, rule, (uint64_t)left, info.tcpi_bytes_acked, now_ms);
}
