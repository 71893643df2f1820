/* SPDX-License-Identifier: MIT */
/* Load for message brokers: one thread, epoll, messages that carry a number, and a count at the end
 * of which came once, twice and never. `depth` messages are in flight on each connection.
 *
 *   turns    publishes, and when that is over receives and acknowledges all of it
 *   publish  publishes only
 *   flow     as many producers as consumers at once, until all is through
 *   latency  one message after another to an idle server: from before the send to the frame read
 *   drain    fills the queue to `standing` messages and receives and acknowledges, again and again
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/broker/load.h"

#define NUMBERS_MAX (1ULL << 30)
#define STALLED_NS 15000000000
#define FILL_DEPTH 32
#define WAIT_MS 1000
#define IDLE_WAIT_S 60
#define WARM_UP 200 /* latency: samples that are not counted */

struct load_options options = {.dialect = &dialect_hati,
                               .mode = "turns",
                               .storage = "memory",
                               .queue = "q",
                               .router = "default",
                               .ports = {4242},
                               .port_count = 1,
                               .connections = 50,
                               .depth = 1,
                               .seconds = 3,
                               .messages = 2000000,
                               .standing = 1000,
                               .samples = 2000,
                               .payload_bytes = 100};

static uint64_t next_number, publish_limit; /* numbers below the limit are to be published */
static uint64_t published, received, acked, duplicates;
static unsigned publish_depth, wait_ms = WAIT_MS;
static bool consuming;
static bool held_back; /* a producer waits for consumers */
static uint8_t *seen;  /* a bit a number */
static struct conn **producers, **consumers;
static int64_t frame_ns; /* when the latest message was read */
static long server_pid;

void load_published(struct conn *conn, unsigned count) {
    conn->waiting -= count;
    published += count;
}

void load_message(struct conn *conn, const char *payload, size_t len) {
    uint64_t number = load_number(payload, payload + LOAD_NUMBER_BYTES);
    (void)conn;
    frame_ns = clock_steady_ns();
    if (len != options.payload_bytes || number >= next_number)
        load_die_reply(payload, len);
    if (seen[number / 8] & (1U << number % 8))
        duplicates++;
    seen[number / 8] |= (uint8_t)(1U << number % 8);
    received++;
}

void load_acked(struct conn *conn, unsigned count) {
    conn->unacked -= count;
    acked += count;
}

void load_receive_done(struct conn *conn) {
    conn->receiving = false;
}

static void step_producer(struct conn *conn) {
    uint64_t left = publish_limit > next_number ? publish_limit - next_number : 0;
    unsigned count = left < publish_depth ? (unsigned)left : publish_depth;
    uint64_t behind_max = options.dialect->behind_max;
    if (conn->waiting || !count)
        return;
    if (behind_max && consuming && next_number - acked > behind_max) {
        held_back = true;
        return;
    }
    conn->waiting = count;
    options.dialect->publish(conn, next_number, count);
    next_number += count;
}

static void step_consumer(struct conn *conn) {
    if (!consuming || conn->receiving || (options.depth == 1 && conn->unacked))
        return;
    conn->receiving = true;
    options.dialect->receive(conn, options.depth, wait_ms);
}

void load_step(struct conn *conn) {
    if (conn->consumes)
        step_consumer(conn);
    else
        step_producer(conn);
}

static struct conn **open_all(bool consume) {
    struct conn **conns = calloc(options.connections, sizeof *conns);
    for (unsigned i = 0; i < options.connections; i++)
        conns[i] = conn_open(i, consume);
    return conns;
}

static void close_all(struct conn **conns) {
    for (unsigned i = 0; i < options.connections; i++)
        conn_close(conns[i]);
    free(conns);
}

static void step_all(struct conn **conns) {
    for (unsigned i = 0; i < options.connections; i++) {
        load_step(conns[i]);
        conn_flush(conns[i]);
    }
}

static bool all_published(void) {
    return published == next_number && next_number >= publish_limit;
}

static bool all_acked(void) {
    return acked >= published;
}

static bool all_through(void) {
    return all_published() && all_acked();
}

static bool no_consumer_waits(void) {
    for (unsigned i = 0; i < options.connections; i++)
        if (consumers[i]->receiving || consumers[i]->unacked)
            return false;
    return true;
}

/* Works until done; at end_ns (0: never) nothing more is published and, with stop_receiving,
 * received. Returns how long it took, in s. */
static double work(bool (*done)(void), int64_t end_ns, bool stop_receiving) {
    int64_t start_ns = clock_steady_ns();
    int64_t moved_ns = start_ns;
    uint64_t before = 0;
    while (!done()) {
        conn_turn(100);
        if (held_back) {
            held_back = false;
            step_all(producers);
        }
        int64_t now_ns = clock_steady_ns();
        if (published + acked != before) {
            before = published + acked;
            moved_ns = now_ns;
        }
        if (now_ns - moved_ns > STALLED_NS) {
            fprintf(stderr, "broker_load: stalled: %llu sent, %llu published, %llu acknowledged\n",
                    (unsigned long long)next_number, (unsigned long long)published,
                    (unsigned long long)acked);
            exit(1);
        }
        if (end_ns && now_ns > end_ns) {
            publish_limit = next_number;
            if (stop_receiving)
                break;
        }
    }
    return (double)(clock_steady_ns() - start_ns) / 1e9;
}

static int64_t in_seconds(double seconds) {
    return clock_steady_ns() + (int64_t)(seconds * 1e9);
}

/* Asks once more, without waiting, on a connection of its own: how many came. */
static uint64_t ask_for_more(void) {
    uint64_t before = received;
    struct conn *conn = conn_open(options.connections, true);
    conn->receiving = true;
    consuming = false;
    options.dialect->receive(conn, 1, 0);
    conn_flush(conn);
    int64_t end_ns = in_seconds(5);
    while (conn->receiving && clock_steady_ns() < end_ns)
        conn_turn(100);
    if (conn->receiving)
        load_die("no answer to whether there is more");
    conn_close(conn);
    return received - before;
}

/* Prints what every mode has, and ends the object. */
static int finish(bool whole) {
    uint64_t more = whole ? ask_for_more() : 0;
    uint64_t missing = whole ? published - (received - duplicates) : 0;
    printf("\"dialect\":\"%s\",\"mode\":\"%s\",\"connections\":%u,\"depth\":%u,\"published\":%llu,"
           "\"received\":%llu,\"duplicates\":%llu,\"missing\":%llu,\"left_over\":%llu}\n",
           options.dialect->name, options.mode, options.connections, options.depth,
           (unsigned long long)published, (unsigned long long)received,
           (unsigned long long)duplicates, (unsigned long long)missing, (unsigned long long)more);
    return duplicates || missing || more;
}

static double publish_all(void) {
    producers = open_all(false);
    step_all(producers);
    double took_s = work(all_published, in_seconds(options.seconds), false);
    close_all(producers);
    return took_s;
}

static int run_publish(void) {
    double took_s = publish_all();
    printf("{\"publish_per_second\":%.0f,", (double)published / took_s);
    return finish(false);
}

static int run_turns(void) {
    double publish_s = publish_all();
    consumers = open_all(true);
    consuming = true;
    step_all(consumers);
    double consume_s = work(all_acked, 0, false);
    close_all(consumers);
    printf("{\"publish_per_second\":%.0f,\"consume_per_second\":%.0f,\"both_per_second\":%.0f,",
           (double)published / publish_s, (double)acked / consume_s,
           (double)acked / (publish_s + consume_s));
    return finish(true);
}

static int run_flow(void) {
    consumers = open_all(true);
    consuming = true;
    step_all(consumers);
    int64_t ready_ns = in_seconds(0.1); /* subscriptions are there first */
    while (clock_steady_ns() < ready_ns)
        conn_turn(10);
    producers = open_all(false);
    step_all(producers);
    double took_s = work(all_through, in_seconds(options.seconds), false);
    close_all(producers);
    close_all(consumers);
    printf("{\"through_per_second\":%.0f,", (double)acked / took_s);
    return finish(true);
}

static int by_size(const void *a, const void *b) {
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static int run_latency(void) {
    int64_t *samples = calloc(options.samples, sizeof *samples);
    options.connections = options.depth = publish_depth = 1;
    consumers = open_all(true);
    producers = open_all(false);
    consuming = true;
    step_all(consumers);
    for (unsigned i = 0; i < options.samples + WARM_UP; i++) {
        int64_t idle_ns = in_seconds(i ? 0.0003 : 0.1);
        while (clock_steady_ns() < idle_ns)
            conn_turn(0);
        uint64_t before = received;
        publish_limit = next_number + 1;
        int64_t start_ns = clock_steady_ns();
        step_all(producers);
        work(all_through, 0, false);
        if (received != before + 1)
            load_die("a message came twice");
        if (i >= WARM_UP)
            samples[i - WARM_UP] = frame_ns - start_ns;
    }
    qsort(samples, options.samples, sizeof *samples, by_size);
    printf("{\"median_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,",
           (double)samples[options.samples / 2] / 1e3,
           (double)samples[options.samples * 99 / 100] / 1e3,
           (double)samples[options.samples - 1] / 1e3);
    free(samples);
    close_all(producers);
    close_all(consumers);
    return finish(true);
}

/* A row of the server's /proc/<pid>/status, in KiB. */
static unsigned long server_kib(const char *row) {
    char path[64];
    char line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", server_pid);
    FILE *status = fopen(path, "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, row, strlen(row)) == 0)
            kib = strtoul(line + strlen(row), NULL, 10);
    if (status)
        fclose(status);
    return kib;
}

/* Processor time of the server, in ticks of 10 ms. */
static unsigned long server_ticks(void) {
    char path[64];
    unsigned long user = 0;
    unsigned long system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", server_pid);
    FILE *stat = fopen(path, "r");
    if (!stat || fscanf(stat, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                        &user, &system) != 2)
        load_die("the server's processor time");
    fclose(stat);
    return user + system;
}

/* What the server does behind the answers of a filling is not the cost of what follows. */
static void wait_until_idle(void) {
    unsigned long before = 0;
    int64_t end_ns = in_seconds(IDLE_WAIT_S);
    for (unsigned long now = server_ticks(); now > before + 1 && clock_steady_ns() < end_ns;
         now = server_ticks()) {
        int64_t next_ns = in_seconds(0.3);
        before = now;
        while (clock_steady_ns() < next_ns)
            conn_turn(100);
    }
}

static int run_drain(void) {
    unsigned long own_kib = 0;
    unsigned long all_kib = 0;
    double consume_s = 0;
    double fill_s = 0;
    producers = open_all(false);
    consumers = open_all(true);
    wait_ms = 0; /* a consumer that waits would take from the next filling */
    publish_depth = FILL_DEPTH;
    do {
        publish_limit += options.standing;
        step_all(producers);
        fill_s += work(all_published, 0, false);
        if (server_pid && !all_kib) {
            own_kib = server_kib("RssAnon:");
            all_kib = server_kib("VmRSS:");
            wait_until_idle();
        }
        consuming = true;
        step_all(consumers);
        consume_s += work(all_acked, in_seconds(options.seconds - consume_s), true);
        consuming = false;
        work(no_consumer_waits, 0, false);
    } while (consume_s < options.seconds);
    close_all(producers);
    close_all(consumers);
    printf("{\"consume_per_second\":%.0f,\"fill_per_second\":%.0f,\"own_kib\":%lu,\"all_kib\":%lu,",
           (double)acked / consume_s, (double)published / fill_s, own_kib, all_kib);
    return finish(all_acked());
}

static void read_dialect(const char *text) {
    static const struct dialect *const dialects[] = {&dialect_hati,      &dialect_hati_push,
                                                     &dialect_beanstalk, &dialect_redis,
                                                     &dialect_nats,      &dialect_jetstream};
    options.dialect = NULL;
    for (unsigned i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (strcmp(dialects[i]->name, text) == 0)
            options.dialect = dialects[i];
    if (!options.dialect)
        load_die("no such dialect");
}

static void read_ports(const char *text) {
    options.port_count = 0;
    for (char *end; options.port_count < LOAD_PORTS_MAX; text = end + 1) {
        options.ports[options.port_count++] = (unsigned)strtoul(text, &end, 10);
        if (*end != ',')
            return;
    }
    load_die("ports");
}

static void read_option(const char *name, const char *text) {
    unsigned long number = strtoul(text, NULL, 10);
    if (strcmp(name, "--dialect") == 0)
        read_dialect(text);
    else if (strcmp(name, "--mode") == 0)
        options.mode = text;
    else if (strcmp(name, "--storage") == 0)
        options.storage = text;
    else if (strcmp(name, "--router") == 0)
        options.router = text;
    else if (strcmp(name, "--key") == 0)
        options.key = text;
    else if (strcmp(name, "--port") == 0)
        read_ports(text);
    else if (strcmp(name, "--connections") == 0)
        options.connections = (unsigned)number;
    else if (strcmp(name, "--depth") == 0)
        options.depth = (unsigned)number;
    else if (strcmp(name, "--seconds") == 0)
        options.seconds = strtod(text, NULL);
    else if (strcmp(name, "--messages") == 0)
        options.messages = number;
    else if (strcmp(name, "--standing") == 0)
        options.standing = number;
    else if (strcmp(name, "--samples") == 0)
        options.samples = (unsigned)number;
    else if (strcmp(name, "--payload-bytes") == 0)
        options.payload_bytes = number;
    else if (strcmp(name, "--pid") == 0)
        server_pid = (long)number;
    else
        load_die(name);
}

static int run_mode(void) {
    if (strcmp(options.mode, "latency") == 0)
        return run_latency();
    if (strcmp(options.mode, "drain") == 0)
        return run_drain();
    publish_limit = options.messages;
    if (strcmp(options.mode, "flow") == 0)
        return run_flow();
    if (strcmp(options.mode, "publish") == 0)
        return run_publish();
    return run_turns();
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2)
        read_option(argv[i], argv[i + 1]);
    if (argc % 2 == 0 || !options.connections || !options.depth || options.depth > LOAD_DEPTH_MAX ||
        !options.samples || !options.standing || options.payload_bytes < LOAD_NUMBER_BYTES ||
        options.messages >= NUMBERS_MAX) {
        fprintf(stderr,
                "broker_load [--dialect hati|hati-push|beanstalk|redis|nats|jetstream] "
                "[--mode turns|publish|flow|latency|drain] [--port N,...] [--connections N] "
                "[--depth N] [--seconds S] [--messages N] [--payload-bytes N] "
                "[--standing N] [--pid N] [--samples N] "
                "[--storage memory|hdd] [--router R] [--key K]\n");
        return 2;
    }
    seen = calloc(NUMBERS_MAX / 8, 1);
    publish_depth = options.depth;
    struct conn *control = conn_open(options.connections + 1, false);
    options.dialect->prepare(control);
    conn_close(control);
    return run_mode();
}
