/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "snapshot/ndjson.h"
#include "snapshot/reader.h"
#include "snapshot/writer.h"

static const char odd_bytes[] = {'a', '\0', '\xff', '\n', '"', 'z'};

static struct snapshot_head head_of(void) {
    struct snapshot_head head = {.made_ms = 1234, .revision = {7, 9}, .maker = "hati test"};
    memset(head.id, 0xA5, sizeof head.id);
    return head;
}

static int memory_file(void) {
    int fd = memfd_create("snapshot", 0);
    assert_true(fd >= 0);
    return fd;
}

static struct snapshot_item entry_of(enum kv_storage storage, struct slice key,
                                     struct slice value) {
    struct snapshot_item item = {.kind = SNAPSHOT_ENTRY, .storage = storage};
    memset(item.entry.workspace.bytes, 0x11, 16);
    item.entry.ns = SLICE("default");
    item.entry.key = key;
    item.entry.type = SLICE("text/plain");
    item.entry.value = value;
    item.entry.revision = 5;
    item.entry.expires_ms = 99999;
    return item;
}

static void put(struct snapshot_writer *writer, struct snapshot_item item) {
    assert_null(snapshot_item_fault(&item));
    assert_int_equal(snapshot_writer_put(writer, &item), OK);
}

static void put_definitions(struct snapshot_writer *writer) {
    struct snapshot_item router = {.kind = SNAPSHOT_ROUTER, .storage = KV_HDD};
    router.router.name = SLICE("news");
    router.router.type = ROUTER_TOPIC;
    put(writer, router);
    for (int i = 0; i < 2; i++) {
        struct snapshot_item queue = {.kind = SNAPSHOT_QUEUE, .storage = i ? KV_MEMORY : KV_HDD};
        broker_queue_options_init(&queue.queue.options);
        queue.queue.name = i ? SLICE("fast") : SLICE("jobs");
        queue.queue.options.paused = i == 0;
        queue.queue.options.dead_letter = SLICE("dead");
        queue.queue.options.max_length = 12;
        put(writer, queue);
    }
    struct snapshot_item binding = {.kind = SNAPSHOT_BINDING, .storage = KV_MEMORY};
    binding.binding.router = SLICE("news");
    binding.binding.queue = SLICE("fast");
    binding.binding.pattern = SLICE("a.#");
    put(writer, binding);
}

static struct snapshot_item message_of(void) {
    struct snapshot_item item = {.kind = SNAPSHOT_MESSAGE, .storage = KV_HDD};
    item.message = (struct snapshot_message){
        .queue = SLICE("jobs"),
        .id = SLICE("id-1"),
        .key = SLICE("a.b"),
        .headers = SLICE("{\"a\":1}"),
        .payload = slice_make(odd_bytes, sizeof odd_bytes),
        .from = SLICE("other"),
        .reason = REASON_EXPIRED,
        .dead_attempt = 3,
        .attempt = 2,
        .priority = 9,
        .published_ms = 1000,
        .due_ms = 2000,
        .expires_ms = 3000,
    };
    return item;
}

/* A small file of every kind. */
static int write_file(enum snapshot_format format) {
    struct snapshot_head head = head_of();
    struct snapshot_writer *writer;
    int fd = memory_file();
    assert_int_equal(snapshot_writer_open(fd, format, &head, &writer), OK);
    put_definitions(writer);
    put(writer, entry_of(KV_HDD, SLICE("k"), SLICE("value")));
    put(writer,
        entry_of(KV_MEMORY, slice_make("\xff\x01", 2), slice_make(odd_bytes, sizeof odd_bytes)));
    put(writer, message_of());
    assert_int_equal(snapshot_writer_end(writer), OK);
    snapshot_writer_free(writer);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static size_t read_file(int fd, char *to, size_t room) {
    ssize_t len = pread(fd, to, room, 0);
    assert_true(len > 0 && (size_t)len < room);
    return (size_t)len;
}

/* True where the whole file is good; else why has a line. */
static bool is_good(int fd, char why[SNAPSHOT_WHY_BYTES],
                    const char *(*each)(void *, const struct snapshot_item *), void *context) {
    struct snapshot_reader reader;
    enum snapshot_read read = SNAPSHOT_READ_BAD;
    lseek(fd, 0, SEEK_SET);
    if (snapshot_reader_open(&reader, fd, each, context))
        do
            read = snapshot_reader_next(&reader);
        while (read == SNAPSHOT_READ_BLOCK);
    memcpy(why, reader.why, SNAPSHOT_WHY_BYTES);
    snapshot_reader_done(&reader);
    return read == SNAPSHOT_READ_END;
}

static bool are_good(const char *bytes, size_t len, char why[SNAPSHOT_WHY_BYTES]) {
    int fd = memory_file();
    assert_int_equal(snapshot_write_all(fd, slice_make(bytes, len)), OK);
    bool good = is_good(fd, why, NULL, NULL);
    close(fd);
    assert_true(good || strstr(why, "byte ") == why);
    return good;
}

static const char *keep_lines(void *context, const struct snapshot_item *item) {
    return ndjson_append_item(context, item) ? NULL : "no memory";
}

static void test_items_come_back_as_they_went_in(void **state) {
    (void)state;
    static const char wanted[] =
        "{\"kind\":\"router\",\"storage\":\"hdd\",\"name\":\"news\",\"type\":\"topic\"}\n"
        "{\"kind\":\"queue\",\"storage\":\"hdd\",\"name\":\"jobs\",\"overflow\":\"reject\","
        "\"paused\":true,\"lease\":30000,\"ttl\":0,\"dedupWindow\":0,\"maxLength\":12,"
        "\"maxDeliver\":0,\"deadLetter\":\"dead\"}\n"
        "{\"kind\":\"queue\",\"storage\":\"memory\",\"name\":\"fast\",\"overflow\":\"reject\","
        "\"paused\":false,\"lease\":30000,\"ttl\":0,\"dedupWindow\":0,\"maxLength\":12,"
        "\"maxDeliver\":0,\"deadLetter\":\"dead\"}\n"
        "{\"kind\":\"binding\",\"storage\":\"memory\",\"router\":\"news\",\"queue\":\"fast\","
        "\"pattern\":\"a.#\"}\n"
        "{\"kind\":\"message\",\"storage\":\"hdd\",\"queue\":\"jobs\",\"id\":\"id-1\","
        "\"routingKey\":\"a.b\",\"priority\":9,\"attempt\":2,\"published\":1000,\"due\":2000,"
        "\"expires\":3000,\"from\":\"other\",\"reason\":\"expired\",\"deadAttempt\":3,"
        "\"headers\":\"{\\\"a\\\":1}\",\"payload64\":\"YQD/CiJ6\"}\n";
    char why[SNAPSHOT_WHY_BYTES];
    struct buf lines;
    buf_init(&lines, 1U << 20);
    int fd = write_file(SNAPSHOT_PACKED);
    assert_true(is_good(fd, why, keep_lines, &lines));
    close(fd);
    buf_append_char(&lines, '\0');
    for (const char *line = wanted; *line;) { /* blocks of the storages may stand in any order */
        const char *newline = strchr(line, '\n');
        char *one = strndup(line, (size_t)(newline - line) + 1);
        assert_non_null(strstr(lines.ptr, one));
        free(one);
        line = newline + 1;
    }
    assert_non_null(strstr(lines.ptr, "\"key64\":\"/wE=\",\"type\":\"text/plain\",\"revision\":5,"
                                      "\"expires\":99999,\"value64\":\"YQD/CiJ6\"}\n"));
    buf_done(&lines);
}

static void test_a_file_with_any_byte_changed_is_refused(void **state) {
    static char bytes[65536];
    char why[SNAPSHOT_WHY_BYTES];
    (void)state;
    int fd = write_file(SNAPSHOT_PACKED);
    size_t len = read_file(fd, bytes, sizeof bytes);
    close(fd);
    assert_true(are_good(bytes, len, why));
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 1; bit < 256; bit <<= 2) {
            bytes[i] = (char)(bytes[i] ^ (char)bit);
            assert_false(are_good(bytes, len, why));
            bytes[i] = (char)(bytes[i] ^ (char)bit);
        }
}

static void test_a_file_that_is_cut_anywhere_or_goes_on_is_refused(void **state) {
    static char bytes[65536];
    char why[SNAPSHOT_WHY_BYTES];
    (void)state;
    int fd = write_file(SNAPSHOT_PACKED);
    size_t len = read_file(fd, bytes, sizeof bytes);
    close(fd);
    for (size_t i = 0; i < len; i++)
        assert_false(are_good(bytes, i, why));
    bytes[len] = 0;
    assert_false(are_good(bytes, len + 1, why));
    assert_non_null(strstr(why, "behind the end"));
}

static size_t block_bytes(const char *at) {
    return SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)get_be64(at + 32);
}

static void test_blocks_that_are_swapped_dropped_or_doubled_are_refused(void **state) {
    static char bytes[65536], other[2 * 65536];
    char why[SNAPSHOT_WHY_BYTES];
    (void)state;
    int fd = write_file(SNAPSHOT_PACKED);
    size_t len = read_file(fd, bytes, sizeof bytes);
    close(fd);
    size_t first = block_bytes(bytes + SNAPSHOT_HEAD_BYTES);
    size_t second = block_bytes(bytes + SNAPSHOT_HEAD_BYTES + first);
    size_t rest = len - SNAPSHOT_HEAD_BYTES - first - second;
    const char *at = bytes + SNAPSHOT_HEAD_BYTES;
    memcpy(other, bytes, SNAPSHOT_HEAD_BYTES);
    char *to = other + SNAPSHOT_HEAD_BYTES;
    memcpy(to, at + first, second);
    memcpy(to + second, at, first);
    memcpy(to + first + second, at + first + second, rest);
    assert_false(are_good(other, len, why));
    memcpy(to, at + first, second + rest);
    assert_false(are_good(other, len - first, why));
    memcpy(to, at, first);
    memcpy(to + first, at, len - SNAPSHOT_HEAD_BYTES);
    assert_false(are_good(other, len + first, why));
    assert_non_null(strstr(why, "missing, or stands here twice"));
}

/* Someone who means it can make checksums, too: lengths are still judged. */
static void test_a_block_that_lies_about_its_length_takes_no_memory(void **state) {
    char file[SNAPSHOT_HEAD_BYTES + SNAPSHOT_BLOCK_HEAD_BYTES + 64];
    char why[SNAPSHOT_WHY_BYTES];
    struct snapshot_head head = head_of();
    (void)state;
    memset(file, 0, sizeof file);
    snapshot_head_write(&head, file);
    const uint64_t lengths[] = {0, 1, 64, SNAPSHOT_RAW_MAX, SNAPSHOT_RAW_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct snapshot_block block = {
            .class = SNAPSHOT_ENTRIES, .storage = KV_HDD, .items = 1, .raw_bytes = lengths[i]};
        snapshot_block_write(&block, head.id, slice_make(file + sizeof file - 64, 64),
                             file + SNAPSHOT_HEAD_BYTES);
        assert_false(are_good(file, sizeof file, why));
    }
}

static int pack(int lines, char *why) {
    int packed = memory_file();
    lseek(lines, 0, SEEK_SET);
    if (ndjson_pack(lines, packed, why, SNAPSHOT_WHY_BYTES))
        return packed;
    close(packed);
    return -1;
}

static void test_lines_become_the_blocks_they_were(void **state) {
    static char direct[65536], packed[65536];
    char why[SNAPSHOT_WHY_BYTES] = "";
    (void)state;
    int file = write_file(SNAPSHOT_PACKED), lines = write_file(SNAPSHOT_NDJSON);
    int again = pack(lines, why);
    assert_string_equal(why, "");
    size_t len = read_file(file, direct, sizeof direct);
    assert_int_equal(read_file(again, packed, sizeof packed), len);
    assert_memory_equal(direct, packed, len);
    close(file);
    close(lines);
    close(again);
}

static bool lines_are_good(const char *bytes, size_t len, char *why) {
    int lines = memory_file();
    assert_int_equal(snapshot_write_all(lines, slice_make(bytes, len)), OK);
    int packed = pack(lines, why);
    close(lines);
    if (packed >= 0)
        close(packed);
    else
        assert_true(strstr(why, "line ") == why);
    return packed >= 0;
}

static void test_lines_that_are_changed_or_cut_are_refused(void **state) {
    static char bytes[65536];
    char why[SNAPSHOT_WHY_BYTES];
    (void)state;
    int fd = write_file(SNAPSHOT_NDJSON);
    size_t len = read_file(fd, bytes, sizeof bytes);
    close(fd);
    for (size_t i = 0; i < len; i++) {
        assert_false(lines_are_good(bytes, i, why));
        bytes[i] = (char)(bytes[i] ^ 1);
        assert_false(lines_are_good(bytes, len, why));
        bytes[i] = (char)(bytes[i] ^ 1);
    }
    bytes[len] = '\n';
    assert_false(lines_are_good(bytes, len + 1, why));
}

static void test_lines_that_a_person_changed_are_taken_without_their_check(void **state) {
    static char bytes[65536], changed[65536];
    char why[SNAPSHOT_WHY_BYTES] = "";
    (void)state;
    int fd = write_file(SNAPSHOT_NDJSON);
    size_t len = read_file(fd, bytes, sizeof bytes);
    close(fd);
    bytes[len] = '\0';
    char *value = strstr(bytes, "\"value\":\"value\"");
    char *check = strstr(bytes, ",\"check\"");
    assert_true(value && check && value < check);
    *check = '\0';
    value[10] = 'V';
    int made = snprintf(changed, sizeof changed, "%s}\n", bytes);
    assert_true(lines_are_good(changed, (size_t)made, why));
    char *more = strstr(bytes, "\"message\":1");
    assert_non_null(more);
    more[10] = '2';
    made = snprintf(changed, sizeof changed, "%s}\n", bytes);
    assert_false(lines_are_good(changed, (size_t)made, why));
}

static void test_a_large_value_has_a_block_of_its_own(void **state) {
    struct snapshot_head head = head_of();
    struct snapshot_writer *writer;
    char why[SNAPSHOT_WHY_BYTES];
    size_t large = 3U << 20;
    char *value = malloc(large);
    struct buf lines;
    (void)state;
    assert_non_null(value);
    memset(value, 'x', large);
    int fd = memory_file();
    assert_int_equal(snapshot_writer_open(fd, SNAPSHOT_PACKED, &head, &writer), OK);
    put(writer, entry_of(KV_HDD, SLICE("a"), SLICE("small")));
    put(writer, entry_of(KV_HDD, SLICE("b"), slice_make(value, large)));
    put(writer, entry_of(KV_HDD, SLICE("c"), SLICE("small")));
    assert_int_equal(snapshot_writer_totals(writer)->count[SNAPSHOT_ENTRY], 3);
    assert_int_equal(snapshot_writer_end(writer), OK);
    assert_int_equal(snapshot_writer_totals(writer)->blocks, 3);
    snapshot_writer_free(writer);
    buf_init(&lines, 16U << 20);
    assert_true(is_good(fd, why, keep_lines, &lines));
    assert_true(lines.len > large);
    buf_done(&lines);
    free(value);
    close(fd);
}

static void test_many_items_are_many_blocks(void **state) {
    struct snapshot_head head = head_of();
    struct snapshot_writer *writer;
    char why[SNAPSHOT_WHY_BYTES];
    (void)state;
    int fd = memory_file();
    assert_int_equal(snapshot_writer_open(fd, SNAPSHOT_PACKED, &head, &writer), OK);
    for (int i = 0; i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        put(writer, entry_of(i % 2 ? KV_HDD : KV_MEMORY, slice_of_cstr(key), SLICE("v")));
    }
    assert_int_equal(snapshot_writer_end(writer), OK);
    assert_true(snapshot_writer_totals(writer)->blocks >= 6);
    snapshot_writer_free(writer);
    assert_true(is_good(fd, why, NULL, NULL));
    close(fd);
}

static void test_items_that_no_door_would_take_are_none(void **state) {
    struct snapshot_item entry = entry_of(KV_HDD, SLICE("k"), SLICE("v"));
    (void)state;
    entry.entry.ns = SLICE("\0import");
    assert_non_null(snapshot_item_fault(&entry));
    entry = entry_of(KV_HDD, SLICE(""), SLICE("v"));
    assert_non_null(snapshot_item_fault(&entry));
    entry = entry_of(KV_HDD, SLICE("k"), SLICE("v"));
    entry.entry.type = SLICE("a\r\nSet-Cookie: x");
    assert_non_null(snapshot_item_fault(&entry));
    struct snapshot_item message = message_of();
    message.message.priority = 10;
    assert_non_null(snapshot_item_fault(&message));
    message = message_of();
    message.message.queue = SLICE("a b");
    assert_non_null(snapshot_item_fault(&message));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_back_as_they_went_in),
        cmocka_unit_test(test_a_file_with_any_byte_changed_is_refused),
        cmocka_unit_test(test_a_file_that_is_cut_anywhere_or_goes_on_is_refused),
        cmocka_unit_test(test_blocks_that_are_swapped_dropped_or_doubled_are_refused),
        cmocka_unit_test(test_a_block_that_lies_about_its_length_takes_no_memory),
        cmocka_unit_test(test_lines_become_the_blocks_they_were),
        cmocka_unit_test(test_lines_that_are_changed_or_cut_are_refused),
        cmocka_unit_test(test_lines_that_a_person_changed_are_taken_without_their_check),
        cmocka_unit_test(test_a_large_value_has_a_block_of_its_own),
        cmocka_unit_test(test_many_items_are_many_blocks),
        cmocka_unit_test(test_items_that_no_door_would_take_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
