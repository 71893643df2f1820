/* SPDX-License-Identifier: MIT */
/* What LMDB alone does when every so many puts are one synced transaction: the store that hati's
 * journal is compared with. Usage: lmdb_batch DIRECTORY SECONDS KEYS VALUE_BYTES PUTS_PER_COMMIT */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define MAP_BYTES (8ULL << 30)

static void check(int status, const char *what) {
    if (status == 0)
        return;
    fprintf(stderr, "lmdb_batch: %s: %s\n", what, mdb_strerror(status));
    exit(1);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void put_batch(MDB_env *env, MDB_dbi dbi, uint64_t *state, uint64_t keys, size_t value_bytes,
                      unsigned count) {
    static char value[1 << 16];
    MDB_txn *txn;
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    for (unsigned i = 0; i < count; i++) {
        char key[25];
        snprintf(key, sizeof key, "key:%012llu", (unsigned long long)(next_random(state) % keys));
        MDB_val k = {16, key};
        MDB_val v = {value_bytes, value};
        check(mdb_put(txn, dbi, &k, &v, 0), "put");
    }
    check(mdb_txn_commit(txn), "commit");
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: lmdb_batch DIRECTORY SECONDS KEYS VALUE_BYTES PUTS_PER_COMMIT\n");
        return 2;
    }
    int64_t seconds = atoll(argv[2]);
    uint64_t keys = strtoull(argv[3], NULL, 10);
    size_t value_bytes = strtoull(argv[4], NULL, 10) & 0xFFFF;
    unsigned per_commit = (unsigned)atoi(argv[5]);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    check(mdb_env_create(&env), "create");
    check(mdb_env_set_mapsize(env, MAP_BYTES), "map size");
    check(mdb_env_open(env, argv[1], 0, 0600), "open");
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, NULL, 0, &dbi), "open database");
    check(mdb_txn_commit(txn), "commit");
    uint64_t state = 88172645463325252U;
    uint64_t puts = 0;
    int64_t start = clock_steady_ns();
    while (clock_steady_ns() - start < seconds * 1000000000) {
        put_batch(env, dbi, &state, keys, value_bytes, per_commit);
        puts += per_commit;
    }
    printf("%.0f\n", (double)puts * 1e9 / (double)(clock_steady_ns() - start));
    mdb_env_close(env);
    return 0;
}
