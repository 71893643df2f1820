/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/config_memory.h"

#define MIB (1ULL << 20)
#define MACHINE (64ULL << 30)

struct place {
    char root[64];
    char groups[80];
};

static void write_file(const struct place *place, const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", place->root, name);
    for (char *at = path + strlen(place->root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        mkdir(path, 0700);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void set_up(struct place *place, const char *groups) {
    strcpy(place->root, "/tmp/hati-memory-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->groups, sizeof place->groups, "%s/groups", place->root);
    write_file(place, "groups", groups);
}

static uint64_t limit_of(struct place *place) {
    char command[100];
    uint64_t limit = memory_group_limit(place->groups, place->root, MACHINE);
    snprintf(command, sizeof command, "rm -r %s", place->root);
    assert_int_equal(system(command), 0);
    return limit;
}

static void test_the_least_limit_on_the_way_to_the_root_counts(void **state) {
    struct place place;
    (void)state;
    set_up(&place, "0::/slice/unit\n");
    write_file(&place, "slice/memory.max", "100000000\n");
    write_file(&place, "slice/unit/memory.max", "200000000\n");
    assert_int_equal(limit_of(&place), 100000000);
}

static void test_max_is_no_limit(void **state) {
    struct place place;
    (void)state;
    set_up(&place, "0::/unit\n");
    write_file(&place, "unit/memory.max", "max\n");
    assert_int_equal(limit_of(&place), 0);
}

static void test_version_1_is_read_where_it_names_memory(void **state) {
    struct place place;
    (void)state;
    set_up(&place, "7:cpu,cpuacct:/a\n5:memory:/a\n0::/b\n");
    write_file(&place, "memory/a/memory.limit_in_bytes", "50000000\n");
    write_file(&place, "memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit_of(&place), 50000000);
}

static void test_in_a_container_the_mount_is_the_group(void **state) {
    struct place place;
    (void)state;
    set_up(&place, "5:memory:/docker/0123\n");
    write_file(&place, "memory/memory.limit_in_bytes", "60000000\n");
    assert_int_equal(limit_of(&place), 60000000);
}

static void test_more_than_the_machine_has_is_no_limit(void **state) {
    struct place place;
    (void)state;
    set_up(&place, "5:memory:/\n");
    write_file(&place, "memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit_of(&place), 0);
}

static void test_without_files_there_is_no_limit(void **state) {
    (void)state;
    assert_int_equal(memory_group_limit("/nonexistent", "/nonexistent", MACHINE), 0);
}

static struct config unsaid(uint64_t total) {
    struct config config = {.memory_total_bytes = total,
                            .memory_limit_bytes = MEMORY_UNSAID,
                            .write_buffer_bytes = MEMORY_UNSAID,
                            .read_cache_bytes = MEMORY_UNSAID,
                            .watch_log_bytes = MEMORY_UNSAID,
                            .inflight_limit_bytes = MEMORY_UNSAID,
                            .payload_limit_bytes = 2 * MIB};
    memory_share(&config);
    return config;
}

static void test_sizes_that_nobody_gave_are_shares(void **state) {
    (void)state;
    struct config config = unsaid(96 * MIB);
    assert_int_equal(config.memory_limit_bytes, 16 * MIB);
    assert_int_equal(config.write_buffer_bytes, 6 * MIB);
    assert_int_equal(config.read_cache_bytes, 6 * MIB);
    assert_int_equal(config.inflight_limit_bytes, 12 * MIB);
    assert_int_equal(config.watch_log_bytes, 3 * MIB);
}

static void test_no_share_is_more_than_the_size_without_a_bound(void **state) {
    (void)state;
    struct config config = unsaid(32ULL << 30);
    assert_int_equal(config.memory_limit_bytes, (32ULL << 30) / 6);
    assert_int_equal(config.write_buffer_bytes, 256 * MIB);
    assert_int_equal(config.read_cache_bytes, 256 * MIB);
    assert_int_equal(config.inflight_limit_bytes, 1024 * MIB);
    assert_int_equal(config.watch_log_bytes, 64 * MIB);
}

static void test_without_a_bound_the_memory_storage_has_none(void **state) {
    (void)state;
    struct config config = unsaid(0);
    assert_int_equal(config.memory_limit_bytes, 0);
    assert_int_equal(config.write_buffer_bytes, 256 * MIB);
    assert_int_equal(config.inflight_limit_bytes, 1024 * MIB);
}

static void test_what_was_given_stays(void **state) {
    (void)state;
    struct config config = {.memory_total_bytes = 96 * MIB,
                            .write_buffer_bytes = 7 * MIB,
                            .inflight_limit_bytes = 9 * MIB};
    memory_share(&config);
    assert_int_equal(config.memory_limit_bytes, 0);
    assert_int_equal(config.write_buffer_bytes, 7 * MIB);
    assert_int_equal(config.read_cache_bytes, 0);
    assert_int_equal(config.inflight_limit_bytes, 9 * MIB);
}

static void test_a_payload_finds_room_however_little_there_is(void **state) {
    (void)state;
    struct config config = unsaid(8 * MIB);
    assert_int_equal(config.inflight_limit_bytes, 2 * MIB);
    assert_int_equal(config.write_buffer_bytes, MIB);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_limit_on_the_way_to_the_root_counts),
        cmocka_unit_test(test_max_is_no_limit),
        cmocka_unit_test(test_version_1_is_read_where_it_names_memory),
        cmocka_unit_test(test_in_a_container_the_mount_is_the_group),
        cmocka_unit_test(test_more_than_the_machine_has_is_no_limit),
        cmocka_unit_test(test_without_files_there_is_no_limit),
        cmocka_unit_test(test_sizes_that_nobody_gave_are_shares),
        cmocka_unit_test(test_no_share_is_more_than_the_size_without_a_bound),
        cmocka_unit_test(test_without_a_bound_the_memory_storage_has_none),
        cmocka_unit_test(test_what_was_given_stays),
        cmocka_unit_test(test_a_payload_finds_room_however_little_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
