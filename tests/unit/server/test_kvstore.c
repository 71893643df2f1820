/* SPDX-License-Identifier: MIT */
/* The door /kv-store over sockets, on a store whose answers come back when the test says so. */
#include "tests/unit/server/http_case.h"

#define PUT_A "PUT /kv-store/keys/a HTTP/1.1\r\n" HOST "Content-Length: 13\r\n\r\n{\"value\":\"1\"}"
#define GET_A "GET /kv-store/keys/a HTTP/1.1\r\n" HOST "\r\n"
#define DELETE_A "DELETE /kv-store/keys/a HTTP/1.1\r\n" HOST "\r\n"
#define COUNT "GET /kv-store/key-count HTTP/1.1\r\n" HOST "\r\n"
#define SHARD "GET /kv-store/shards/1 HTTP/1.1\r\n" HOST "\r\n"
#define CHANGE                                                                                     \
    "PUT /kv-store/view-change HTTP/1.1\r\n" HOST "Content-Length: 32\r\n\r\n"                     \
    "{\"view\":[\"a:1\"],\"repl-factor\":1}"

static int begin(void **state) {
    fake_revision = 7;
    return start(state);
}

static void expect_body(const char *expected) {
    assert_string_equal(body(), expected);
}

/* A PUT comes in, and its write comes back. */
static int put_a(int fd) {
    say(fd, PUT_A);
    wait_queued(1);
    fake_come_back(false);
    return hear(fd);
}

static void come_back(struct kv_list *list, unsigned key_count, bool more) {
    list->keys = arena_alloc(list->arena, sizeof *list->keys * (key_count + 1));
    for (unsigned i = 0; i < key_count; i++) {
        const char *key = arena_printf(list->arena, "k%u", i);
        list->keys[i] = slice_of_cstr(key);
    }
    list->key_count = key_count;
    list->more = more;
    list->err = OK;
    pthread_mutex_lock(&fake.lock);
    fake.list = NULL;
    pthread_mutex_unlock(&fake.lock);
    list->done(list);
}

static void test_a_write_is_answered_when_it_comes_back(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(put_a(fd), 201);
    expect_body("{\"message\":\"Added successfully\",\"replaced\":false,"
                "\"causal-context\":{\"hati\":\"r7\"}}\n");
    fake_revision = 8;
    assert_int_equal(put_a(fd), 200);
    expect_body("{\"message\":\"Updated successfully\",\"replaced\":true,"
                "\"causal-context\":{\"hati\":\"r8\"}}\n");
    assert_int_equal(status_of(fd, GET_A), 200);
    expect_body("{\"message\":\"Retrieved successfully\",\"doesExist\":true,\"value\":\"1\","
                "\"causal-context\":{\"hati\":\"r8\"}}\n");
    say(fd, DELETE_A);
    wait_queued(1);
    fake_come_back(false);
    assert_int_equal(hear(fd), 200);
    expect_body("{\"message\":\"Deleted successfully\",\"doesExist\":true,"
                "\"causal-context\":{\"hati\":\"r8\"}}\n");
    assert_int_equal(status_of(fd, GET_A), 404);
    expect_body("{\"message\":\"Error in GET\",\"error\":\"Key does not exist\","
                "\"doesExist\":false,\"causal-context\":{\"hati\":\"r8\"}}\n");
    close(fd);
}

static void test_a_write_asks_whether_its_key_was_there(void **state) {
    (void)state;
    int fd = dial();
    say(fd, PUT_A);
    wait_queued(1);
    pthread_mutex_lock(&fake.lock);
    bool wanted = fake.queue[0]->ops[0].want_existed;
    pthread_mutex_unlock(&fake.lock);
    assert_true(wanted);
    fake_come_back(false);
    assert_int_equal(hear(fd), 201);
    say(fd, PUT_HDD);
    wait_queued(1);
    pthread_mutex_lock(&fake.lock);
    wanted = fake.queue[0]->ops[0].want_existed;
    pthread_mutex_unlock(&fake.lock);
    assert_false(wanted);
    fake_come_back(false);
    assert_int_equal(hear(fd), 204);
    close(fd);
}

static void test_a_write_whose_deadline_passed_may_have_been_done(void **state) {
    (void)state;
    start_again(20, 10000);
    int fd = dial();
    say(fd, "PUT /kv-store/keys/a HTTP/1.1\r\n" HOST
            "Causal-Context: {\"hati\":\"r5\"}\r\nContent-Length: 13\r\n\r\n{\"value\":\"1\"}");
    assert_int_equal(hear(fd), 503);
    assert_true(said("Hati-Outcome: unknown\r\n"));
    assert_true(said("Causal-Context: {\"hati\":\"r5\"}\r\n"));
    assert_non_null(strstr(body(), "\"causal-context\":{\"hati\":\"r5\"}}\n"));
    assert_int_equal(fake_come_back(false), 1);
    close(fd);
}

static void test_a_state_that_is_not_reached_is_not_touched(void **state) {
    (void)state;
    int fd = dial();
    say(fd, "PUT /kv-store/keys/a HTTP/1.1\r\n" HOST
            "Causal-Context: {\"hati\":\"r8\"}\r\nContent-Length: 13\r\n\r\n{\"value\":\"1\"}");
    assert_int_equal(hear(fd), 503);
    assert_true(said("Hati-Outcome: not-applied\r\n"));
    expect_body("{\"message\":\"Error in PUT\",\"error\":\"Unable to satisfy request\","
                "\"causal-context\":{\"hati\":\"r8\"}}\n");
    assert_int_equal(fake_queued(), 0);
    fake_revision = 8;
    assert_int_equal(put_a(fd), 201);
    close(fd);
}

static void test_pages_are_counted_one_after_another(void **state) {
    (void)state;
    fake.park_lists = true;
    int fd = dial();
    say(fd, COUNT);
    struct kv_list *list = wait_list();
    assert_int_equal(list->after.len, 0);
    assert_int_equal(list->limit, OP_LIST_LIMIT);
    assert_true(slice_equal(list->ns, SLICE("default")));
    assert_int_equal(list->storage, KV_HDD);
    come_back(list, 1000, true);
    list = wait_list();
    assert_true(slice_equal(list->after, SLICE("k999")));
    come_back(list, 11, false);
    assert_int_equal(hear(fd), 200);
    expect_body("{\"message\":\"Key count retrieved successfully\",\"key-count\":1011,"
                "\"causal-context\":{\"hati\":\"r7\"}}\n");
    close(fd);
}

static void test_thousands_of_pages_need_no_depth(void **state) {
    (void)state;
    fake.park_lists = true;
    int fd = dial();
    say(fd, COUNT);
    for (unsigned i = 0; i < 3000; i++)
        come_back(wait_list(), 1, i < 2999);
    assert_int_equal(hear(fd), 200);
    assert_non_null(strstr(body(), "\"key-count\":3000,"));
    close(fd);
}

static void test_a_page_that_fails_is_the_answer(void **state) {
    (void)state;
    fake.park_lists = true;
    int fd = dial();
    say(fd, SHARD);
    come_back(wait_list(), 10, true);
    struct kv_list *list = wait_list();
    list->err = ERR_UNAVAILABLE;
    list->done(list);
    assert_int_equal(hear(fd), 503);
    assert_true(said("Hati-Outcome: not-applied\r\n"));
    assert_non_null(strstr(body(), "\"error\":\"Unable to satisfy request\""));
    close(fd);
}

static void test_a_page_that_never_comes_has_a_deadline(void **state) {
    (void)state;
    start_again(20, 10000);
    fake.park_lists = true;
    int fd = dial();
    say(fd, CHANGE);
    struct kv_list *list = wait_list();
    assert_int_equal(hear(fd), 503);
    assert_true(said("Hati-Outcome: unknown\r\n"));
    close(fd);
    come_back(list, 1, false);
    assert_int_equal(fake_queued(), 0);
}

static void test_a_view_changes_with_one_write_that_comes_last(void **state) {
    (void)state;
    fake.park_lists = true;
    int fd = dial();
    say(fd, CHANGE);
    struct kv_list *list = wait_list();
    assert_int_equal(fake_queued(), 0);
    come_back(list, 3, false);
    wait_queued(1);
    assert_int_equal(fake_come_back(false), 1);
    assert_int_equal(hear(fd), 200);
    expect_body("{\"message\":\"View change successful\",\"shards\":[{\"shard-id\":1,"
                "\"key-count\":3,\"replicas\":[\"a:1\"]}],\"causal-context\":{\"hati\":\"r7\"}}\n");
    say(fd, SHARD);
    come_back(wait_list(), 2, false);
    assert_int_equal(hear(fd), 200);
    assert_non_null(strstr(body(), "\"key-count\":2,\"replicas\":[\"a:1\"]"));
    close(fd);
}

static void test_a_view_that_cannot_be_written_is_not_in_force(void **state) {
    (void)state;
    int fd = dial();
    say(fd, CHANGE);
    wait_queued(1);
    fake.fail = ERR_STORAGE_FULL;
    fake_come_back(false);
    assert_int_equal(hear(fd), 507);
    fake.fail = OK;
    assert_int_equal(status_of(fd, SHARD), 200);
    assert_non_null(strstr(body(), "\"replicas\":[\"127.0.0.1:"));
    close(fd);
}

static void test_a_caller_may_leave_between_pages(void **state) {
    (void)state;
    start_again(10000, 100); /* where the hang-up is not seen, the end does not wait long */
    fake.park_lists = true;
    int fd = dial();
    say(fd, COUNT);
    struct kv_list *list = wait_list();
    close(fd);
    come_back(list, 1000, true);
    http_server_stop(server);
    server = NULL;
    if (fake.list) /* the hang-up was not seen: the next page is asked for */
        come_back(fake.list, 0, false);
}

static void test_configured_views_are_in_force_until_one_is_set(void **state) {
    (void)state;
    config.view = (char[]){"a:1,b:2,c:3"};
    config.repl_factor = 1;
    int fd = dial();
    assert_int_equal(status_of(fd, "GET /kv-store/shards HTTP/1.1\r\n" HOST "\r\n"), 200);
    expect_body("{\"message\":\"Shard membership retrieved successfully\",\"shards\":[1,2,3],"
                "\"causal-context\":{\"hati\":\"r7\"}}\n");
    say(fd, CHANGE);
    wait_queued(1);
    fake_come_back(false);
    assert_int_equal(hear(fd), 200);
    assert_int_equal(status_of(fd, "GET /kv-store/shards HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_non_null(strstr(body(), "\"shards\":[1],"));
    close(fd);
}

static void test_other_doors_answer_with_a_context_where_they_were_given_one(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(status_of(fd, GET_MEMORY), 404);
    assert_false(said("Causal-Context:"));
    assert_int_equal(
        status_of(fd, "GET /api/n/k?type=memory HTTP/1.1\r\n" HOST "Causal-Context: {}\r\n\r\n"),
        404);
    assert_true(said("Causal-Context: {\"hati\":\"r7\"}\r\n"));
    assert_int_equal(status_of(fd, "GET /api/n/k?type=memory HTTP/1.1\r\n" HOST
                                   "Causal-Context: {\"hati\":\"p7\"}\r\n\r\n"),
                     503);
    assert_true(said("Causal-Context: {\"hati\":\"p7\"}\r\n"));
    assert_true(said("Hati-Outcome: not-applied\r\n"));
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, stop_server)

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        TEST(test_a_write_is_answered_when_it_comes_back),
        TEST(test_a_write_asks_whether_its_key_was_there),
        TEST(test_a_write_whose_deadline_passed_may_have_been_done),
        TEST(test_a_state_that_is_not_reached_is_not_touched),
        TEST(test_pages_are_counted_one_after_another),
        TEST(test_thousands_of_pages_need_no_depth),
        TEST(test_a_page_that_fails_is_the_answer),
        TEST(test_a_page_that_never_comes_has_a_deadline),
        TEST(test_a_view_changes_with_one_write_that_comes_last),
        TEST(test_a_view_that_cannot_be_written_is_not_in_force),
        TEST(test_a_caller_may_leave_between_pages),
        TEST(test_configured_views_are_in_force_until_one_is_set),
        TEST(test_other_doors_answer_with_a_context_where_they_were_given_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
