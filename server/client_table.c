/* SPDX-License-Identifier: MIT */
#include "server/client_table.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"

#define SHARDS 64U
#define SHARD_CLIENTS (CLIENT_TABLE_MAX / SHARDS)
#define CHAINS (2 * SHARD_CLIENTS)
#define NONE UINT16_MAX
#define LOOKS 16U                /* clients looked at to find who makes room */
#define UNITS_MAX 8000000000ULL  /* tokens of one take: times a second in ns, it fits */
#define DEBT_MAX_NS 600000000000 /* nobody is in debt for longer than ten minutes */
#define FLOOR_MAX_NS 60000000000 /* nor for more than one for what others owe */

struct client {
    struct client_key key;
    uint16_t next; /* in its chain, or free */
    uint32_t held[CLIENT_HELDS];
    int64_t full_ns[CLIENT_BUCKETS]; /* steady clock: when the bucket is full again */
};

struct shard {
    pthread_mutex_t lock;
    unsigned count;
    unsigned hand; /* where the next look for room begins */
    uint16_t free;
    int64_t floor_ns[CLIENT_BUCKETS]; /* the largest full_ns that was ever forgotten */
    uint16_t chains[CHAINS];
    struct client clients[SHARD_CLIENTS];
};

struct client_table {
    uint64_t seed;
    struct shard shards[SHARDS];
};

static void init_shard(struct shard *shard) {
    pthread_mutex_init(&shard->lock, NULL);
    for (unsigned i = 0; i < CHAINS; i++)
        shard->chains[i] = NONE;
    for (unsigned i = 0; i < SHARD_CLIENTS; i++)
        shard->clients[i].next = (uint16_t)(i + 1 < SHARD_CLIENTS ? i + 1 : NONE);
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++)
        shard->floor_ns[i] = INT64_MIN;
}

struct client_table *client_table_open(void) {
    struct client_table *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    hash_random(&table->seed, sizeof table->seed);
    for (unsigned i = 0; i < SHARDS; i++)
        init_shard(&table->shards[i]);
    return table;
}

void client_table_close(struct client_table *table) {
    for (unsigned i = 0; table && i < SHARDS; i++)
        pthread_mutex_destroy(&table->shards[i].lock);
    free(table);
}

/* Where a client stands, or would. */
struct place {
    struct shard *shard;
    uint16_t *chain;
};

/* The lock is held from here to leave. */
static struct place enter(struct client_table *table, const struct client_key *key) {
    uint64_t hash = hash_seeded(slice_make(key->bytes, sizeof key->bytes),
                                table->seed + (key->is_subject ? 1 : 0));
    struct shard *shard = &table->shards[hash % SHARDS];
    pthread_mutex_lock(&shard->lock);
    return (struct place){shard, &shard->chains[hash / SHARDS % CHAINS]};
}

static void leave(struct place *place) {
    pthread_mutex_unlock(&place->shard->lock);
}

static bool is_of(const struct client *client, const struct client_key *key) {
    return client->key.is_subject == key->is_subject &&
           memcmp(client->key.bytes, key->bytes, sizeof key->bytes) == 0;
}

static struct client *find_locked(const struct place *place, const struct client_key *key) {
    for (uint16_t at = *place->chain; at != NONE; at = place->shard->clients[at].next)
        if (is_of(&place->shard->clients[at], key))
            return &place->shard->clients[at];
    return NULL;
}

static bool holds_something(const struct client *client) {
    return client->held[CLIENT_CONNECTIONS] || client->held[CLIENT_CALLS];
}

/* When there is nothing left to know of its buckets. */
static int64_t all_full_ns(const struct client *client) {
    int64_t at_ns = client->full_ns[0];
    for (unsigned i = 1; i < CLIENT_BUCKETS; i++)
        if (client->full_ns[i] > at_ns)
            at_ns = client->full_ns[i];
    return at_ns;
}

static uint16_t *chain_of_locked(struct client_table *table, struct shard *shard,
                                 const struct client *client) {
    uint64_t hash = hash_seeded(slice_make(client->key.bytes, sizeof client->key.bytes),
                                table->seed + (client->key.is_subject ? 1 : 0));
    return &shard->chains[hash / SHARDS % CHAINS];
}

static void forget_locked(struct client_table *table, struct shard *shard, struct client *client,
                          int64_t now_ns) {
    uint16_t index = (uint16_t)(client - shard->clients);
    uint16_t *at = chain_of_locked(table, shard, client);
    while (*at != index)
        at = &shard->clients[*at].next;
    *at = client->next;
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        int64_t owed_ns =
            client->full_ns[i] - now_ns < FLOOR_MAX_NS ? client->full_ns[i] : now_ns + FLOOR_MAX_NS;
        if (owed_ns > shard->floor_ns[i])
            shard->floor_ns[i] = owed_ns;
    }
    client->next = shard->free;
    shard->free = index;
    shard->count--;
}

/* Frees one place; none where everybody has something open. */
static void make_room_locked(struct client_table *table, struct shard *shard, int64_t now_ns) {
    struct client *least = NULL;
    for (unsigned looks = 0; looks < SHARD_CLIENTS; looks++) {
        if (looks >= LOOKS && least)
            break;
        struct client *client = &shard->clients[shard->hand];
        shard->hand = (shard->hand + 1) % SHARD_CLIENTS;
        if (holds_something(client))
            continue;
        if (!least || all_full_ns(client) < all_full_ns(least))
            least = client;
        if (all_full_ns(client) <= now_ns)
            break;
    }
    if (least)
        forget_locked(table, shard, least, now_ns);
}

/* The client, new where it has to be; NULL where there is no room. */
static struct client *find_or_add_locked(struct client_table *table, const struct place *place,
                                         const struct client_key *key, int64_t now_ns) {
    struct shard *shard = place->shard;
    struct client *client = find_locked(place, key);
    if (client)
        return client;
    if (shard->free == NONE)
        make_room_locked(table, shard, now_ns);
    if (shard->free == NONE)
        return NULL;
    uint16_t index = shard->free;
    client = &shard->clients[index];
    shard->free = client->next;
    *client = (struct client){.key = *key, .next = *place->chain};
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++)
        client->full_ns[i] = shard->floor_ns[i] > now_ns ? shard->floor_ns[i] : now_ns;
    *place->chain = index;
    shard->count++;
    return client;
}

/* ---- buckets ---- */

static int64_t ns_of(const struct client_allowance *allowance, uint64_t n) {
    uint64_t units = n < UNITS_MAX ? n : UNITS_MAX;
    long double ns =
        (long double)units * (long double)allowance->unit_ns / (long double)allowance->per;
    return ns < (long double)(INT64_MAX / 4) ? (int64_t)ns : INT64_MAX / 4;
}

/* ns_of rounds down: one ns is added, so that what it made of whole tokens is as many again. */
static uint64_t tokens_of(const struct client_allowance *allowance, int64_t ns) {
    return (uint64_t)((long double)(ns + 1) * (long double)allowance->per /
                      (long double)allowance->unit_ns);
}

static void tell_rest(const struct client_allowance *allowance, int64_t full_ns, int64_t now_ns,
                      struct client_rest *to) {
    int64_t burst_ns = ns_of(allowance, allowance->burst);
    int64_t used_ns = full_ns > now_ns ? full_ns - now_ns : 0;
    int64_t one_ns = ns_of(allowance, 1);
    to->left = used_ns < burst_ns ? tokens_of(allowance, burst_ns - used_ns) : 0;
    to->full_in_ns = used_ns;
    to->another_in_ns = to->left ? 0 : used_ns - burst_ns + one_ns;
}

/* full_ns after n more were taken. */
static int64_t after(const struct client_allowance *allowance, int64_t full_ns, uint64_t n,
                     int64_t now_ns) {
    return (full_ns > now_ns ? full_ns : now_ns) + ns_of(allowance, n);
}

bool client_table_take(struct client_table *table, const struct client_key *key,
                       enum client_bucket bucket, const struct client_allowance *allowance,
                       uint64_t n, int64_t now_ns, struct client_rest *ret_rest) {
    struct place place = enter(table, key);
    struct client *client = find_or_add_locked(table, &place, key, now_ns);
    bool good = false;
    if (client) {
        int64_t *full_ns = &client->full_ns[bucket];
        tell_rest(allowance, *full_ns, now_ns, ret_rest);
        good = ret_rest->left >= n;
        if (good)
            *full_ns = after(allowance, *full_ns, n, now_ns);
        tell_rest(allowance, *full_ns, now_ns, ret_rest);
    } else {
        tell_rest(allowance, now_ns + ns_of(allowance, allowance->burst), now_ns, ret_rest);
    }
    leave(&place);
    return good;
}

void client_table_owe(struct client_table *table, const struct client_key *key,
                      enum client_bucket bucket, const struct client_allowance *allowance,
                      uint64_t n, int64_t now_ns) {
    struct place place = enter(table, key);
    struct client *client = find_or_add_locked(table, &place, key, now_ns);
    if (client) {
        int64_t full_ns = after(allowance, client->full_ns[bucket], n, now_ns);
        int64_t most_ns = now_ns + DEBT_MAX_NS + ns_of(allowance, allowance->burst);
        client->full_ns[bucket] = full_ns < most_ns ? full_ns : most_ns;
    }
    leave(&place);
}

bool client_table_look(struct client_table *table, const struct client_key *key,
                       enum client_bucket bucket, const struct client_allowance *allowance,
                       int64_t now_ns, struct client_rest *ret_rest) {
    struct place place = enter(table, key);
    const struct client *client = find_locked(&place, key);
    int64_t floor_ns = place.shard->free == NONE ? place.shard->floor_ns[bucket] : INT64_MIN;
    tell_rest(allowance, client ? client->full_ns[bucket] : floor_ns, now_ns, ret_rest);
    leave(&place);
    return ret_rest->left > 0;
}

/* ---- what is open ---- */

bool client_table_hold(struct client_table *table, const struct client_key *key,
                       enum client_held what, unsigned max, int64_t now_ns) {
    struct place place = enter(table, key);
    struct client *client = find_or_add_locked(table, &place, key, now_ns);
    bool good = client && (!max || client->held[what] < max);
    if (good)
        client->held[what]++;
    leave(&place);
    return good;
}

void client_table_let_go(struct client_table *table, const struct client_key *key,
                         enum client_held what) {
    struct place place = enter(table, key);
    struct client *client = find_locked(&place, key);
    if (client && client->held[what])
        client->held[what]--;
    leave(&place);
}

unsigned client_table_count(struct client_table *table) {
    unsigned count = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &table->shards[i];
        pthread_mutex_lock(&shard->lock);
        count += shard->count;
        pthread_mutex_unlock(&shard->lock);
    }
    return count;
}
