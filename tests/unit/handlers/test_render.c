/* SPDX-License-Identifier: MIT */
/* Replies as JSON: what each looks like, and that half of one is never taken for the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "handlers/render.h"

static struct core core = {.payload_limit_bytes = 10};
static struct arena arena;
static struct call call;
static struct op row;

static int set_up(void **state) {
    (void)state;
    arena_init(&arena, 1 << 20);
    call_init(&call, &core, &auth_grant_everything, &arena, 1000);
    call.op = &row;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_done(&arena);
    return 0;
}

/* As render_result is. */
typedef bool render_fn(struct buf *to, const struct call *call);

/* Renders into a room of every size up to the one it needs: only there it succeeds. */
static void expect_by(render_fn *render, const char *json) {
    size_t len = strlen(json);
    for (size_t room = 0; room <= len + 1; room++) {
        struct buf to;
        buf_init(&to, room);
        bool whole = render(&to, &call);
        assert_int_equal(whole, room >= len);
        if (whole && !slice_equal(buf_slice(&to), slice_of_cstr(json)))
            fail_msg("%.*s", (int)to.len, to.ptr);
        buf_done(&to);
    }
}

static void expect(enum reply_kind kind, const char *json) {
    row.reply = kind;
    expect_by(render_result, json);
}

static void test_plain_replies(void **state) {
    (void)state;
    expect(REPLY_TRUE, "true");
    call.reply.flag = true;
    expect(REPLY_BOOL, "true");
    call.reply.flag = false;
    expect(REPLY_BOOL, "false");
    call.reply.number = INT64_MIN;
    expect(REPLY_NUMBER, "-9223372036854775808");
    call.reply.number = INT64_MAX;
    expect(REPLY_NUMBER, "9223372036854775807");
    call.reply.text = SLICE("a \"b\"\n");
    expect(REPLY_TEXT, "\"a \\\"b\\\"\\n\"");
    call.reply.text = SLICE("{\"a\":1}");
    expect(REPLY_JSON, "{\"a\":1}");
}

static void test_a_value_is_text_or_base64(void **state) {
    (void)state;
    call.reply.entry.value = SLICE("\xc3\xa9");
    expect(REPLY_VALUE, "\"\xc3\xa9\"");
    call.reply.entry.value = SLICE("\xff\0");
    expect(REPLY_VALUE, "{\"value\":\"/wA=\",\"encoding\":\"base64\"}");
    call.reply.entry.value = SLICE("");
    expect(REPLY_VALUE, "\"\"");
}

static void test_an_entry_tells_all_of_it(void **state) {
    (void)state;
    call.reply.entry = (struct kv_entry){.value = SLICE("v"), .revision = UINT64_MAX};
    memset(call.reply.entry.etag, 0xAB, sizeof call.reply.entry.etag);
    call.reply.ttl_ms = 5;
    expect(REPLY_ENTRY, "{\"value\":\"v\",\"revision\":18446744073709551615,"
                        "\"etag\":\"abababababababababababababababab\",\"ttl\":5}");
    call.reply.entry.value = SLICE("\xff");
    expect(REPLY_ENTRY, "{\"value\":\"/w==\",\"encoding\":\"base64\","
                        "\"revision\":18446744073709551615,"
                        "\"etag\":\"abababababababababababababababab\",\"ttl\":5}");
}

static void test_keys_that_are_no_text_are_base64(void **state) {
    (void)state;
    struct slice keys[] = {SLICE("a"), SLICE("\xff"), SLICE("b\"")};
    call.reply.keys = keys;
    call.reply.key_count = 3;
    expect(REPLY_KEYS, "{\"keys\":[\"a\",{\"key\":\"/w==\",\"encoding\":\"base64\"},\"b\\\"\"]}");
    call.reply.more = true;
    call.reply.key_count = 2;
    expect(REPLY_KEYS,
           "{\"keys\":[\"a\",{\"key\":\"/w==\",\"encoding\":\"base64\"}],\"cursor\":\"_w\"}");
    call.reply.key_count = 0;
    expect(REPLY_KEYS, "{\"keys\":[]}");
}

static void test_pairs_are_members(void **state) {
    (void)state;
    struct reply_pair pairs[] = {{SLICE("a"), SLICE("1")}, {SLICE("b"), SLICE("\xff")}};
    call.reply.pairs = pairs;
    call.reply.pair_count = 2;
    expect(REPLY_PAIRS, "{\"a\":\"1\",\"b\":{\"value\":\"/w==\",\"encoding\":\"base64\"}}");
    call.reply.pair_count = 0;
    expect(REPLY_PAIRS, "{}");
}

static void test_a_failure_tells_what_helps(void **state) {
    (void)state;
    call.err = ERR_VALUE_TOO_LARGE;
    call.detail = "it is too large";
    call.args.key = SLICE("k");
    call.reply.indexed = true;
    call.reply.index = 7;
    expect_by(render_error_data,
              "{\"detail\":\"it is too large\",\"key\":\"k\",\"limit\":10,\"index\":7}");
    call.args.key = SLICE("\xff"); /* what is no text is not shown */
    call.reply.indexed = false;
    call.err = ERR_KEY_NOT_EXIST;
    expect_by(render_error_data, "{\"detail\":\"it is too large\"}");
}

static bool render_one_queue(struct buf *to, const struct call *unused) {
    struct broker_queue_info info = {
        .name = SLICE("q"),
        .options = {.storage = BROKER_HDD,
                    .dead_letter = SLICE("d"),
                    .overflow = OVERFLOW_REJECT,
                    .paused = true},
    };
    (void)unused;
    return render_queue(to, &info);
}

static bool render_one_router(struct buf *to, const struct call *unused) {
    struct broker_binding bindings[] = {{.queue = SLICE("q"), .pattern = SLICE("a.*")},
                                        {.queue = SLICE("p"), .pattern = SLICE("#")}};
    struct broker_router_info info = {
        .name = SLICE("r"), .type = ROUTER_TOPIC, .bindings = bindings, .binding_count = 2};
    (void)unused;
    return render_router(to, &info);
}

static bool render_one_death(struct buf *to, const struct call *unused) {
    struct broker_delivery delivery = {
        .receipt = "abc",
        .id = SLICE("i"),
        .attempt = 1,
        .key = SLICE("k"),
        .payload = SLICE("\xff"),
        .headers = SLICE("{\"a\":1,\"reason\":\"mine\",\"attempts\":2,\"attempt\":3}"),
        .published_ms = 9,
        .reason = REASON_EXPIRED,
        .from = SLICE("q"),
        .dead_attempt = 4,
    };
    (void)unused;
    return render_delivery(to, &delivery);
}

/* No member of a dead letter's headers stands twice: the publisher's gives way. */
static void test_queues_routers_and_dead_letters_are_whole_or_nothing(void **state) {
    (void)state;
    expect_by(
        render_one_queue,
        "{\"name\":\"q\",\"type\":\"hdd\",\"lease\":0,\"max-deliver\":0,\"dead-letter\":\"d\","
        "\"ttl\":0,\"max-length\":0,\"overflow\":\"reject\",\"dedup-window\":0,"
        "\"paused\":true,\"ready\":0,\"leased\":0,\"delayed\":0,\"published\":0,"
        "\"delivered\":0,\"acked\":0,\"redelivered\":0,\"dead_lettered\":0,\"expired\":0,"
        "\"dropped\":0,\"consumers\":0,\"oldest_ms\":0}");
    expect_by(render_one_router,
              "{\"name\":\"r\",\"type\":\"topic\",\"published\":0,\"unroutable\":0,\"bindings\":["
              "{\"queue\":\"q\",\"pattern\":\"a.*\"},{\"queue\":\"p\",\"pattern\":\"#\"}]}");
    expect_by(
        render_one_death,
        "{\"receipt\":\"abc\",\"id\":\"i\",\"attempt\":1,\"key\":\"k\",\"payload\":\"/w==\","
        "\"encoding\":\"base64\",\"headers\":{\"attempt\":4,\"reason\":\"expired\",\"from\":\"q\","
        "\"a\":1,\"attempts\":2},\"published_at\":9,\"reason\":\"expired\",\"from\":\"q\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_plain_replies),
        TEST(test_a_value_is_text_or_base64),
        TEST(test_an_entry_tells_all_of_it),
        TEST(test_keys_that_are_no_text_are_base64),
        TEST(test_pairs_are_members),
        TEST(test_a_failure_tells_what_helps),
        TEST(test_queues_routers_and_dead_letters_are_whole_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
