/* SPDX-License-Identifier: MIT */
/* Items of a snapshot at their bounds, files that say what cannot be, and files that have no room.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/check.h"
#include "snapshot/writer.h"

static struct snapshot_item item_of(enum snapshot_kind kind) {
    struct snapshot_item item = {.kind = kind, .storage = KV_HDD};
    switch (kind) {
    case SNAPSHOT_ROUTER:
        item.router = (struct snapshot_router){SLICE("news"), ROUTER_TOPIC};
        break;
    case SNAPSHOT_QUEUE:
        broker_queue_options_init(&item.queue.options);
        item.queue.name = SLICE("jobs");
        item.queue.options.dead_letter = SLICE("dead");
        break;
    case SNAPSHOT_BINDING:
        item.binding = (struct snapshot_binding){SLICE("news"), SLICE("jobs"), SLICE("a.#")};
        break;
    case SNAPSHOT_ENTRY:
        item.entry = (struct snapshot_entry){
            .ns = SLICE("n"), .key = SLICE("k"), .type = SLICE("t/p"), .value = SLICE("v")};
        break;
    default:
        item.message = (struct snapshot_message){.queue = SLICE("jobs"),
                                                 .id = SLICE("id"),
                                                 .key = SLICE("k"),
                                                 .headers = SLICE("{}"),
                                                 .payload = SLICE("p"),
                                                 .from = SLICE("other")};
        break;
    }
    return item;
}

static void an_item_that_is_cut_anywhere_is_refused(void **state) {
    (void)state;
    for (int kind = SNAPSHOT_ROUTER; kind < SNAPSHOT_KINDS; kind++) {
        struct snapshot_item item = item_of((enum snapshot_kind)kind), back;
        struct buf bytes;
        buf_init(&bytes, 10000);
        assert_true(snapshot_item_append(&bytes, &item));
        struct slice whole = buf_slice(&bytes);
        assert_null(snapshot_item_take(&whole, KV_HDD, &back));
        assert_int_equal(back.kind, kind);
        assert_int_equal(whole.len, 0);
        for (size_t len = 0; len < bytes.len; len++) {
            char *cut = malloc(len + 1); /* what is read behind it is found out */
            assert_non_null(cut);
            memcpy(cut, bytes.ptr, len);
            struct slice left = slice_make(cut, len);
            assert_non_null(snapshot_item_take(&left, KV_HDD, &back));
            free(cut);
        }
        bytes.ptr[0] = (char)SNAPSHOT_KINDS;
        whole = buf_slice(&bytes);
        assert_non_null(snapshot_item_take(&whole, KV_HDD, &back));
        buf_done(&bytes);
    }
}

/* A door would not take it. */
static void refuse(struct snapshot_item item) {
    assert_non_null(snapshot_item_fault(&item));
}

static void a_name_or_key_that_is_none_is_refused(void **state) {
    (void)state;
    static char name[5000];
    memset(name, 'n', sizeof name);
    const struct slice bad[] = {SLICE(""),         slice_make(name, BROKER_NAME_MAX + 1),
                                SLICE("a b"),      SLICE("a\x7f"),
                                SLICE("\xc2\x85"), SLICE("\xff\xfe"),
                                SLICE("tab\t")};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct snapshot_item item = item_of(SNAPSHOT_ROUTER);
        item.router.name = bad[i];
        refuse(item);
        item = item_of(SNAPSHOT_QUEUE);
        item.queue.name = bad[i];
        refuse(item);
        item = item_of(SNAPSHOT_QUEUE);
        item.queue.options.dead_letter = i ? bad[i] : SLICE("\n");
        refuse(item);
        for (unsigned part = 0; part < 3; part++) {
            item = item_of(SNAPSHOT_BINDING);
            struct slice *of[] = {&item.binding.router, &item.binding.queue, &item.binding.pattern};
            *of[part] = i || part < 2 ? bad[i] : SLICE("\n"); /* a pattern may be empty */
            refuse(item);
        }
        for (unsigned part = 0; part < 4; part++) {
            item = item_of(SNAPSHOT_MESSAGE);
            struct slice *of[] = {&item.message.queue, &item.message.id, &item.message.key,
                                  &item.message.from};
            *of[part] = i || part < 2 ? bad[i] : SLICE("\n");
            refuse(item);
        }
    }
    struct snapshot_item item = item_of(SNAPSHOT_ROUTER);
    item.router.name = slice_make(name, BROKER_NAME_MAX);
    assert_null(snapshot_item_fault(&item));
    item.router.name = SLICE("\xc3\xa4\xc2\xa0"); /* beyond the control characters */
    assert_null(snapshot_item_fault(&item));
    const struct slice keys[] = {SLICE(""), slice_make(name, KV_KEY_MAX + 1), SLICE("a\0b")};
    for (unsigned i = 0; i < 3; i++) {
        item = item_of(SNAPSHOT_ENTRY);
        item.entry.key = keys[i];
        refuse(item);
        item = item_of(SNAPSHOT_ENTRY);
        item.entry.ns = keys[i];
        refuse(item);
    }
    item = item_of(SNAPSHOT_ENTRY);
    item.entry.ns = SLICE("\xff");
    refuse(item);
    item = item_of(SNAPSHOT_ENTRY);
    item.entry.key = SLICE("\xff"); /* a key is any bytes */
    assert_null(snapshot_item_fault(&item));
    item.entry.type = slice_make(name, KV_CONTENT_TYPE_MAX + 1);
    refuse(item);
    item.entry.type = SLICE("a\r\nb");
    refuse(item);
    item.entry.type = SLICE("\x80");
    refuse(item);
}

static void a_number_that_is_out_of_bounds_is_refused(void **state) {
    (void)state;
    const int64_t beyond = BROKER_TIME_MAX_MS + 1;
    struct snapshot_item item = item_of(SNAPSHOT_ENTRY);
    item.entry.expires_ms = -1;
    refuse(item);
    item.entry.expires_ms = INT64_MAX; /* what is added to it would overflow */
    refuse(item);
    item = item_of(SNAPSHOT_ROUTER);
    item.router.type = (enum broker_router_type)3;
    refuse(item);
    const struct broker_queue_options good = item_of(SNAPSHOT_QUEUE).queue.options;
    for (unsigned i = 0; i < 7; i++) {
        item = item_of(SNAPSHOT_QUEUE);
        struct broker_queue_options *options = &item.queue.options;
        options->overflow = i == 0 ? (enum broker_overflow)2 : good.overflow;
        options->lease_ms = i == 1 ? 0 : i == 2 ? beyond : good.lease_ms;
        options->ttl_ms = i == 3 ? -1 : i == 4 ? beyond : good.ttl_ms;
        options->dedup_window_ms = i == 5 ? -1 : i == 6 ? beyond : good.dedup_window_ms;
        refuse(item);
    }
    for (unsigned i = 0; i < 8; i++) {
        int64_t ms = i % 2 ? -1 : INT64_MAX;
        item = item_of(SNAPSHOT_MESSAGE);
        item.message.priority = i == 0 ? BROKER_PRIORITY_MAX + 1 : 0;
        item.message.reason = i == 1 ? (enum broker_reason)3 : REASON_NONE;
        item.message.published_ms = i / 2 == 1 ? ms : 0;
        item.message.due_ms = i / 2 == 2 ? ms : 0;
        item.message.expires_ms = i / 2 == 3 ? ms : 0;
        refuse(item);
    }
    static char large[BROKER_HEADERS_MAX + 1];
    memset(large, ' ', sizeof large);
    large[0] = '{';
    large[sizeof large - 1] = '}';
    const struct slice headers[] = {SLICE("{"), SLICE("[]"), SLICE("{]"), SLICE("{\xff}"),
                                    slice_make(large, sizeof large)};
    for (unsigned i = 0; i < 5; i++) {
        item = item_of(SNAPSHOT_MESSAGE);
        item.message.headers = headers[i];
        refuse(item);
    }
    for (int kind = SNAPSHOT_ROUTER; kind < SNAPSHOT_KINDS; kind++) {
        item = item_of((enum snapshot_kind)kind);
        assert_null(snapshot_item_fault(&item));
    }
}

/* ---- whole files ---- */

static int memory_file(void) {
    int fd = memfd_create("snapshot", 0);
    assert_true(fd >= 0);
    return fd;
}

static struct snapshot_writer *open_writer(int fd, enum snapshot_format format) {
    struct snapshot_head head = {.maker = "hati test"};
    struct snapshot_writer *writer;
    assert_int_equal(snapshot_writer_open(fd, format, &head, &writer), OK);
    return writer;
}

/* What a check says of a file of these items; NULL: it is good. */
static const char *check(const struct snapshot_item *items, unsigned count, uint64_t *ret_largest) {
    static char why[SNAPSHOT_WHY_BYTES];
    int fd = memory_file();
    struct snapshot_writer *writer = open_writer(fd, SNAPSHOT_PACKED);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(snapshot_writer_put(writer, &items[i]), OK);
    assert_int_equal(snapshot_writer_end(writer), OK);
    snapshot_writer_free(writer);
    bool good = snapshot_check(fd, NULL, NULL, ret_largest, why);
    close(fd);
    return good ? NULL : why;
}

static void what_is_named_must_be_defined_once_and_before(void **state) {
    (void)state;
    struct snapshot_item router = item_of(SNAPSHOT_ROUTER), queue = item_of(SNAPSHOT_QUEUE),
                         binding = item_of(SNAPSHOT_BINDING), entry = item_of(SNAPSHOT_ENTRY),
                         message = item_of(SNAPSHOT_MESSAGE), other = queue;
    uint64_t largest = 0;
    message.message.payload = SLICE("a payload of 22 bytes.");
    const struct snapshot_item good[] = {router, queue, binding, entry, message};
    assert_null(check(good, 5, &largest));
    assert_int_equal(largest, 22);
    assert_null(check(good, 5, NULL));
    const struct snapshot_item routers[] = {router, router};
    assert_non_null(strstr(check(routers, 2, NULL), "defined twice"));
    const struct snapshot_item queues[] = {queue, queue};
    assert_non_null(strstr(check(queues, 2, NULL), "defined twice"));
    other.storage = KV_MEMORY;
    const struct snapshot_item both[] = {queue, other};
    assert_non_null(strstr(check(both, 2, NULL), "defined twice"));
    const struct snapshot_item no_queue[] = {router, binding};
    assert_non_null(strstr(check(no_queue, 2, NULL), "not defined"));
    const struct snapshot_item no_router[] = {queue, binding};
    assert_non_null(strstr(check(no_router, 2, NULL), "not defined"));
    assert_non_null(strstr(check(&message, 1, NULL), "not defined"));
}

static void a_file_without_room_is_told_as_that(void **state) {
    (void)state;
    struct snapshot_head head = {.maker = "hati test"};
    struct snapshot_writer *writer;
    for (int format = SNAPSHOT_PACKED; format <= SNAPSHOT_NDJSON; format++) {
        int fd = open("/dev/full", O_WRONLY);
        assert_true(fd >= 0);
        assert_int_equal(snapshot_writer_open(fd, (enum snapshot_format)format, &head, &writer),
                         ERR_STORAGE_FULL);
        close(fd);
        fd = open("/dev/null", O_RDONLY); /* not to be written to */
        assert_int_equal(snapshot_writer_open(fd, (enum snapshot_format)format, &head, &writer),
                         ERR_UNAVAILABLE);
        close(fd);
        fd = memory_file();
        writer = open_writer(fd, (enum snapshot_format)format);
        snapshot_writer_keep_free(writer, UINT64_MAX / 2);
        struct snapshot_item item = item_of(SNAPSHOT_ENTRY);
        enum err err = snapshot_writer_put(writer, &item);
        assert_int_equal(err ? err : snapshot_writer_end(writer), ERR_STORAGE_FULL);
        snapshot_writer_free(writer);
        close(fd);
    }
}

static void what_is_covered_reads_as_before_once_it_is_uncovered(void **state) {
    (void)state;
    struct seal_veil *veil;
    static char bytes[100000], plain[100000];
    static char value[40000];
    uint64_t largest = 0;
    char why[SNAPSHOT_WHY_BYTES];
    int fd = memory_file();
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(i * 2654435761U >> 13);
    assert_int_equal(seal_veil_new(&veil), OK);
    struct snapshot_writer *writer = open_writer(fd, SNAPSHOT_PACKED);
    size_t begins = (size_t)lseek(fd, 0, SEEK_CUR);
    snapshot_writer_cover(writer, veil);
    struct snapshot_item item = item_of(SNAPSHOT_ENTRY);
    item.entry.value = slice_make(value, sizeof value);
    assert_int_equal(snapshot_writer_put(writer, &item), OK);
    assert_int_equal(snapshot_writer_end(writer), OK);
    snapshot_writer_free(writer);
    assert_false(snapshot_check(fd, NULL, NULL, NULL, why));
    ssize_t len = pread(fd, bytes, sizeof bytes, 0);
    assert_true(len > (ssize_t)begins && len < (ssize_t)sizeof bytes);
    memcpy(plain, bytes, begins);
    seal_veil_turn(veil, begins, slice_make(bytes + begins, (size_t)len - begins), plain + begins);
    assert_int_equal(pwrite(fd, plain, (size_t)len, 0), len);
    assert_true(snapshot_check(fd, NULL, NULL, &largest, why));
    assert_int_equal(largest, sizeof value);
    seal_veil_free(veil);
    close(fd);
}

static void a_format_is_known_by_its_word(void **state) {
    (void)state;
    enum snapshot_format format = SNAPSHOT_PACKED;
    assert_true(snapshot_format_parse(SLICE("ndjson"), &format));
    assert_int_equal(format, SNAPSHOT_NDJSON);
    assert_true(snapshot_format_parse(SLICE("hati"), &format));
    assert_int_equal(format, SNAPSHOT_PACKED);
    assert_false(snapshot_format_parse(SLICE("json"), &format));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(a_name_or_key_that_is_none_is_refused),
        cmocka_unit_test(a_number_that_is_out_of_bounds_is_refused),
        cmocka_unit_test(what_is_named_must_be_defined_once_and_before),
        cmocka_unit_test(a_file_without_room_is_told_as_that),
        cmocka_unit_test(what_is_covered_reads_as_before_once_it_is_uncovered),
        cmocka_unit_test(a_format_is_known_by_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
