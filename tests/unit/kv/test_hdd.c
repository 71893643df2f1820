/* SPDX-License-Identifier: MIT */
#include "store_cases.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...) {
    char command[600];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static enum err open_dir(struct kv_case *c, const char *dir, unsigned shards, char *why) {
    struct kv_options options = {.data_dir = dir,
                                 .hdd_shards = shards,
                                 .write_buffer_bytes = 64 << 20,
                                 .read_cache_bytes = 1 << 20};
    return kv_open(&options, &c->kv, why, 300);
}

static void reopen(struct kv_case *c, unsigned shards) {
    char why[300] = "";
    if (c->kv)
        kv_close(c->kv);
    c->kv = NULL;
    if (open_dir(c, c->dir, shards, why))
        fail_msg("%s", why);
}

static int setup_shards(void **state, unsigned shards) {
    struct kv_case *c = calloc(1, sizeof *c);
    c->storage = KV_HDD;
    arena_init(&c->arena, 256U << 20);
    clock_move_for_test(NOW - 3600000 - clock_wall_ms());
    snprintf(c->dir, sizeof c->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    reopen(c, shards);
    *state = c;
    return 0;
}

static int setup(void **state) {
    return setup_shards(state, 1);
}

static int setup_four(void **state) {
    return setup_shards(state, 4);
}

static int teardown(void **state) {
    struct kv_case *c = *state;
    if (c->kv)
        kv_close(c->kv);
    run("rm -rf %s", c->dir);
    arena_done(&c->arena);
    free(c);
    return 0;
}

static void test_entries_survive_a_restart_with_their_expiry(void **state) {
    struct kv_case *c = *state;
    struct kv_entry before, after;
    set_key(c, "a", "1");
    assert_int_equal(set_ttl(c, "t", "2", 1000), OK);
    set_key(c, "gone", "3");
    assert_true(delete_key(c, "gone"));
    assert_int_equal(get_at(c, "a", NOW, &before), OK);
    reopen(c, 1);
    assert_value(c, "a", "1");
    assert_absent_at(c, "gone", NOW);
    assert_int_equal(get_at(c, "t", NOW + 999, &after), OK);
    assert_int_equal(after.expires_at_ms, NOW + 1000);
    assert_absent_at(c, "t", NOW + 1000);
    assert_int_equal(get_at(c, "a", NOW, &after), OK);
    assert_int_equal(after.revision, before.revision);
    struct kv_op op = set_op(c, "b", "1");
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_true(op.revision > after.revision);
    assert_int_equal(count_at(c, NOW + 1000), 2);
}

/* A copy of the directory taken at any moment is what a crash leaves. */
static void crash(struct kv_case *c, unsigned shards) {
    char copy[80];
    snprintf(copy, sizeof copy, "%s-copy", c->dir);
    /* where the applier gave a segment away meanwhile it is no moment */
    run("until a=$(ls -d %s/journal/segment-*) && rm -rf %s && cp -a %s %s 2>/dev/null &&"
        " test \"$a\" = \"$(ls -d %s/journal/segment-*)\"; do :; done",
        c->dir, copy, c->dir, copy, c->dir);
    kv_close(c->kv);
    c->kv = NULL;
    run("rm -rf %s && mv %s %s", c->dir, copy, c->dir);
    reopen(c, shards);
}

static void test_what_was_acknowledged_is_there_after_a_crash(void **state) {
    struct kv_case *c = *state;
    char key[32];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 300; i++) {
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(set_ttl(c, key, round % 2 ? "odd" : "even", i % 3 ? 0 : 5000), OK);
        }
        struct kv_op touch = {.action = KV_TOUCH, .ref = ref_of(c, "k1"), .ttl_ms = 9000};
        assert_int_equal(submit_at(c, &touch, NOW), OK);
        delete_key(c, "k2");
        if (round == 1)
            assert_int_equal(count_at(c, NOW), 299); /* some of it is applied, some is not */
        crash(c, 1);
        for (int i = 3; i < 300; i++) {
            struct kv_entry entry;
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(get_at(c, key, NOW + 4999, &entry), OK);
            assert_true(slice_equal(entry.value, slice_of_cstr(round % 2 ? "odd" : "even")));
            assert_int_equal(entry.expires_at_ms, i % 3 ? 0 : NOW + 5000);
        }
        struct kv_entry entry;
        assert_int_equal(get_at(c, "k1", NOW, &entry), OK);
        assert_int_equal(entry.expires_at_ms, NOW + 9000);
        assert_absent_at(c, "k2", NOW);
        assert_int_equal(count_at(c, NOW), 299);
    }
}

static void test_a_flush_survives_a_crash(void **state) {
    struct kv_case *c = *state;
    set_key(c, "old", "1");
    assert_int_equal(count_at(c, NOW), 1);
    set_key(c, "older", "1");
    struct kv_op flush = {.action = KV_FLUSH_ALL, .ref = {.storage = KV_HDD}};
    assert_int_equal(submit_at(c, &flush, NOW), OK);
    set_key(c, "new", "1");
    assert_absent_at(c, "old", NOW);
    crash(c, 1);
    assert_absent_at(c, "old", NOW);
    assert_absent_at(c, "older", NOW);
    assert_value(c, "new", "1");
    assert_string_equal(list_at(c, "", "", 10, NOW), "new");
    crash(c, 1);
    assert_string_equal(list_at(c, "", "", 10, NOW), "new");
}

static void test_a_second_process_is_refused(void **state) {
    struct kv_case *c = *state;
    struct kv_case other = {0};
    char why[300] = "";
    assert_int_equal(open_dir(&other, c->dir, 1, why), ERR_CONFLICT);
    assert_non_null(strstr(why, "another process"));
}

static void test_an_unknown_format_is_refused(void **state) {
    struct kv_case *c = *state;
    char why[300] = "";
    kv_close(c->kv);
    c->kv = NULL;
    run("echo 'hati data 99' > %s/format", c->dir);
    assert_int_equal(open_dir(c, c->dir, 1, why), ERR_CORRUPT);
    assert_non_null(strstr(why, "format"));
}

static void fill(struct kv_case *c, int from, int to) {
    char key[32];
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "k%05d", i);
        assert_int_equal(set_ttl(c, key, key, i % 7 ? 0 : 100000), OK);
    }
}

static void check(struct kv_case *c, int count) {
    char key[32];
    assert_int_equal(count_at(c, NOW), count);
    for (int i = 0; i < count; i++) {
        struct kv_entry entry;
        snprintf(key, sizeof key, "k%05d", i);
        assert_int_equal(get_at(c, key, NOW, &entry), OK);
        assert_true(slice_equal(entry.value, slice_of_cstr(key)));
        assert_int_equal(entry.expires_at_ms, i % 7 ? 0 : NOW + 100000);
    }
}

static void test_another_number_of_shards_is_rebuilt(void **state) {
    struct kv_case *c = *state;
    fill(c, 0, 1000);
    reopen(c, 4);
    check(c, 1000);
    fill(c, 1000, 1200);
    reopen(c, 3);
    check(c, 1200);
    assert_int_equal(count_at(c, NOW + 100000), 1200 - 172);
    reopen(c, 1);
    check(c, 1200);
    assert_string_equal(list_at(c, "k0119", "k01197", 10, NOW), "k01198,k01199");
}

static void test_a_rebuild_that_was_cut_short_begins_again(void **state) {
    struct kv_case *c = *state;
    fill(c, 0, 500);
    kv_close(c->kv);
    c->kv = NULL;
    run("cp -a %s/shards-1 %s/shards-4.new && rm -rf %s/shards-4.new/0/data.mdb", c->dir, c->dir,
        c->dir);
    reopen(c, 4);
    check(c, 500);
    run("test ! -e %s/shards-1 && test ! -e %s/shards-4.new", c->dir, c->dir);
    kv_close(c->kv);
    c->kv = NULL;
    /* named, and not yet in force */
    run("cp -a %s/shards-4 %s/shards-2 && rm -rf %s/shards-2/1", c->dir, c->dir, c->dir);
    reopen(c, 2);
    check(c, 500);
}

/* The journal of a store that applied nothing, and the file's name. */
static void record_journal(struct kv_case *c, char *path, size_t size) {
    char key[16];
    for (int i = 0; i < 12; i++) {
        snprintf(key, sizeof key, "j%d", i);
        set_key(c, key, "value");
    }
    snprintf(path, size, "%s-copy/journal/segment-0000000000000001", c->dir);
    run("rm -rf %s-copy && cp -a %s %s-copy", c->dir, c->dir, c->dir);
}

static off_t end_of_data(const char *path) {
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    static char bytes[1 << 16];
    ssize_t len = read(fd, bytes, sizeof bytes);
    close(fd);
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    return len;
}

/* How many of the keys are there, and that they are the first ones. */
static int count_prefix(struct kv_case *c) {
    char key[16];
    struct kv_entry entry;
    int count = 0;
    for (int i = 0; i < 12; i++) {
        snprintf(key, sizeof key, "j%d", i);
        if (get_at(c, key, NOW, &entry) == OK) {
            assert_int_equal(count, i);
            count++;
        }
    }
    return count;
}

static void test_every_torn_tail_replays_to_what_stood_before(void **state) {
    struct kv_case *c = *state;
    char path[120], why[300];
    record_journal(c, path, sizeof path);
    kv_close(c->kv);
    off_t end = end_of_data(path);
    int most = 0;
    for (off_t cut = 64; cut <= end; cut += 53) {
        struct kv_case torn = {.storage = KV_HDD};
        arena_init(&torn.arena, 1 << 20);
        run("rm -rf %s && cp -a %s-copy %s", c->dir, c->dir, c->dir);
        snprintf(why, sizeof why, "%s/journal/segment-0000000000000001", c->dir);
        int fd = open(why, O_RDWR);
        assert_true(fd >= 0);
        off_t size = lseek(fd, 0, SEEK_END);
        assert_int_equal(ftruncate(fd, cut), 0);
        assert_int_equal(ftruncate(fd, size), 0);
        close(fd);
        why[0] = 0;
        if (open_dir(&torn, c->dir, 1, why))
            fail_msg("cut at %ld: %s", (long)cut, why);
        int count = count_prefix(&torn);
        assert_true(count >= most);
        most = count;
        set_key(&torn, "after", "1");
        assert_value(&torn, "after", "1");
        kv_close(torn.kv);
        arena_done(&torn.arena);
    }
    assert_in_range(most, 11, 12);
    run("rm -rf %s-copy", c->dir);
    c->kv = NULL;
}

static void test_a_damaged_middle_is_an_error_that_names_the_place(void **state) {
    struct kv_case *c = *state;
    char path[120], why[300] = "";
    record_journal(c, path, sizeof path);
    kv_close(c->kv);
    c->kv = NULL;
    off_t end = end_of_data(path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "X", 1, end / 2), 1);
    close(fd);
    run("rm -rf %s && mv %s-copy %s", c->dir, c->dir, c->dir);
    assert_int_equal(open_dir(c, c->dir, 1, why), ERR_CORRUPT);
    assert_non_null(strstr(why, "segment-0000000000000001 offset "));
}

static void test_a_flipped_bit_in_lmdb_is_corrupt_and_never_a_wrong_value(void **state) {
    struct kv_case *c = *state;
    char path[120];
    char value[9000];
    struct kv_entry entry;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    memcpy(value + 5000, "needle", 6);
    set_key(c, "big", value);
    set_key(c, "other", "fine");
    kv_close(c->kv);
    c->kv = NULL;
    snprintf(path, sizeof path, "%s/shards-1/0/data.mdb", c->dir);
    run("perl -0777 -pi -e 's/needle/noodle/' %s", path);
    reopen(c, 1);
    assert_int_equal(get_at(c, "big", NOW, &entry), ERR_CORRUPT);
    assert_value(c, "other", "fine");
    set_key(c, "big", "anew");
    assert_value(c, "big", "anew");
}

static void test_long_keys_are_listed_in_byte_order(void **state) {
    struct kv_case *c = *state;
    char shared[600];
    memset(shared, 'p', 480);
    shared[480] = 0;
    const char *tails[] = {"", "a", "ab", "b", "c"};
    char key[700];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 4; i >= 0; i--) {
            int pad = i % 2 ? 100 : 0;
            snprintf(key, sizeof key, "%s%s%0*d", shared, tails[i], pad, 7);
            set_key(c, key, "1");
        }
    }
    set_key(c, "o", "1");
    set_key(c, "q", "1");
    const char *all = list_at(c, "", "", 100, NOW);
    /* each page of one key, joined, is the whole */
    const char *joined = "";
    const char *after = "";
    for (int i = 0; i < 7; i++) {
        char *page = (char *)(uintptr_t)list_at(c, "", after, 1, NOW);
        size_t len = strlen(page);
        if (page[len - 1] == '+')
            page[len - 1] = 0;
        joined = arena_printf(&c->arena, "%s%s%s", joined, i ? "," : "", page);
        assert_true(strcmp(page, after) > 0);
        after = page;
    }
    assert_string_equal(joined, all);
    assert_string_equal(list_at(c, "", after, 10, NOW), "");
    assert_string_equal(list_at(c, "q", "", 10, NOW), "q");
}

static void test_expired_entries_leave_the_disk(void **state) {
    struct kv_case *c = *state;
    fill(c, 0, 700);
    assert_int_equal(count_at(c, NOW), 700);
    clock_move_for_test(3600000 + 200000);
    struct kv_stats stats;
    do
        kv_stats(c->kv, KV_HDD, &stats);
    while (stats.keys > 600);
    assert_int_equal(stats.keys, 600);
}

static uint64_t keys_in_stats(struct kv_case *c) {
    struct kv_stats stats;
    kv_stats(c->kv, KV_HDD, &stats);
    return stats.keys;
}

static void test_figures_know_what_was_just_written(void **state) {
    struct kv_case *c = *state;
    fill(c, 0, 100);
    assert_int_equal(keys_in_stats(c), 100);
    assert_int_equal(count_at(c, NOW), 100);
    assert_int_equal(keys_in_stats(c), 100);
    fill(c, 50, 120);
    delete_key(c, "k00001");
    delete_key(c, "k00119");
    assert_int_equal(keys_in_stats(c), 118);
    assert_int_equal(count_at(c, NOW), 118);
    struct kv_op flush = {.action = KV_FLUSH_ALL, .ref = {.storage = KV_HDD}};
    set_key(c, "a", "1");
    assert_int_equal(submit_at(c, &flush, NOW), OK);
    assert_int_equal(count_at(c, NOW), 0);
    assert_int_equal(keys_in_stats(c), 0);
}

struct counting {
    struct kv_case *c;
    unsigned failed;
};

static void *count_up(void *context) {
    struct counting *counting = context;
    for (int i = 0; i < 300; i++) {
        struct kv_op incr = {.action = KV_INCREMENT, .ref = ref_of(counting->c, "n"), .by = 1};
        struct kv_op create = set_op(counting->c, "once", "1");
        create.condition = KV_IF_ABSENT;
        if (submit_at(counting->c, &incr, NOW))
            counting->failed++;
        if (submit_at(counting->c, &create, NOW) == OK)
            counting->failed += 1000;
    }
    return NULL;
}

static void test_writers_of_several_threads_lose_nothing(void **state) {
    struct kv_case *c = *state;
    pthread_t threads[4];
    struct counting counting[4];
    unsigned failed = 0;
    for (int i = 0; i < 4; i++) {
        counting[i] = (struct counting){c, 0};
        pthread_create(&threads[i], NULL, count_up, &counting[i]);
    }
    for (int i = 0; i < 10; i++)
        (void)count_at(c, NOW);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        failed += counting[i].failed;
    }
    assert_int_equal(failed, 1000); /* exactly one created it */
    assert_value(c, "n", "1200");
    reopen(c, 1);
    assert_value(c, "n", "1200");
}

/* Writers whose generations are applied all the time, and readers that fill the cache meanwhile:
 * what was acknowledged is never followed by something older. */
struct reading {
    struct kv_case *c;
    _Atomic int64_t *acked;
    _Atomic bool *stop;
    unsigned stale;
};

static void *read_on(void *context) {
    struct reading *reading = context;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    while (!*reading->stop) {
        for (int i = 0; i < 20; i++) {
            char key[16];
            int64_t number = -1;
            int64_t before = reading->acked[i];
            struct kv_entry entry;
            snprintf(key, sizeof key, "r%d", i);
            struct kv_ref ref = ref_of(reading->c, key);
            enum err err = kv_get(reading->c->kv, &ref, NOW, KV_WANT_VALUE, &arena, &entry);
            if (!err)
                slice_parse_i64(entry.value, &number);
            reading->stale += before > 0 && (err || number < before);
            arena_done(&arena);
        }
    }
    return NULL;
}

static void test_readers_never_see_less_than_was_acknowledged(void **state) {
    struct kv_case *c = *state;
    _Atomic int64_t acked[20] = {0};
    _Atomic bool stop = false;
    pthread_t threads[3];
    struct reading reading[3];
    for (int i = 0; i < 3; i++) {
        reading[i] = (struct reading){c, acked, &stop, 0};
        pthread_create(&threads[i], NULL, read_on, &reading[i]);
    }
    for (int64_t round = 1; round < 60; round++) {
        for (int i = 0; i < 20; i++) {
            char key[16], value[24];
            snprintf(key, sizeof key, "r%d", i);
            snprintf(value, sizeof value, "%lld", (long long)round);
            set_key(c, key, value);
            acked[i] = round;
        }
        (void)count_at(c, NOW); /* everything is applied, and its generation forgotten */
    }
    stop = true;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(reading[i].stale, 0);
    }
}

/* A buffer far smaller than what is written: generations are applied on the way. */
static void test_more_than_the_write_buffer_goes_through(void **state) {
    struct kv_case *c = *state;
    char key[32];
    char *value = arena_alloc(&c->arena, 100001);
    memset(value, 'w', 100000);
    value[100000] = 0;
    kv_close(c->kv);
    struct kv_options options = {
        .data_dir = c->dir, .hdd_shards = 1, .write_buffer_bytes = 1 << 20};
    char why[300];
    assert_int_equal(kv_open(&options, &c->kv, why, sizeof why), OK);
    for (int i = 0; i < 600; i++) {
        snprintf(key, sizeof key, "w%d", i % 50);
        set_key(c, key, value);
    }
    assert_int_equal(count_at(c, NOW), 50);
    crash(c, 1);
    assert_int_equal(count_at(c, NOW), 50);
    assert_value(c, "w49", value);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        STORE_CASES(setup, teardown),
        STORE_CASES(setup_four, teardown),
        CASE(test_entries_survive_a_restart_with_their_expiry),
        CASE(test_what_was_acknowledged_is_there_after_a_crash),
        CASE(test_a_flush_survives_a_crash),
        CASE(test_a_second_process_is_refused),
        CASE(test_an_unknown_format_is_refused),
        CASE(test_another_number_of_shards_is_rebuilt),
        CASE(test_a_rebuild_that_was_cut_short_begins_again),
        CASE(test_every_torn_tail_replays_to_what_stood_before),
        CASE(test_a_damaged_middle_is_an_error_that_names_the_place),
        CASE(test_a_flipped_bit_in_lmdb_is_corrupt_and_never_a_wrong_value),
        CASE(test_long_keys_are_listed_in_byte_order),
        CASE(test_expired_entries_leave_the_disk),
        CASE(test_figures_know_what_was_just_written),
        cmocka_unit_test_setup_teardown(test_figures_know_what_was_just_written, setup_four,
                                        teardown),
        CASE(test_writers_of_several_threads_lose_nothing),
        CASE(test_readers_never_see_less_than_was_acknowledged),
        CASE(test_more_than_the_write_buffer_goes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
