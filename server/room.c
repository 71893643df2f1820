/* SPDX-License-Identifier: MIT */
#include "server/room.h"

#include <sys/resource.h>

#include "base/log.h"

#define OWN_FILES 96U       /* journal, logs, listeners, peers, an export */
#define FILES_PER_SHARD 8   /* of LMDB, and while it is rebuilt */
#define FILES_PER_THREAD 24 /* its own, and connections that are being turned away */

void room_open(struct config *config) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = before;
    }
    if (limit.rlim_cur == RLIM_INFINITY)
        return;
    uint64_t own = OWN_FILES + (uint64_t)FILES_PER_SHARD * config->hdd_shards +
                   (uint64_t)FILES_PER_THREAD * (config->cpu_num + config->tcp_threads) +
                   config->engine_connections;
    own = own < limit.rlim_cur / 2 ? own : limit.rlim_cur / 2;
    config->connection_total = limit.rlim_cur - own;
    if (config->connection_total < config->connection_limit)
        log_info("the limit of open files, %llu, leaves room for %llu connections",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)config->connection_total);
}

bool room_has(const struct core *core, const struct config *config, unsigned more) {
    uint64_t open = more;
    for (int door = 0; door < DOOR_COUNT; door++)
        open += atomic_load_explicit(&core->doors[door].connections, memory_order_relaxed);
    return config->connection_total == 0 || open <= config->connection_total;
}
