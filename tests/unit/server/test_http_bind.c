/* SPDX-License-Identifier: MIT */
/* What path, query, headers and body of a REST request may say, to their bounds. */
#include "tests/unit/server/http_case.h"

/* One request on a connection of its own; its status. more: header lines. */
static int request_of(const char *method, const char *target, const char *more, const char *sent) {
    static char request[70000];
    int fd = dial();
    int len = snprintf(request, sizeof request,
                       "%s %s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n%s", method, target,
                       more, strlen(sent), sent);
    assert_true(len > 0 && (size_t)len < sizeof request);
    say_bytes(fd, request, (size_t)len);
    int status = hear(fd);
    close(fd);
    return status;
}

#define MEMORY "/api/n/k?type=memory"

static void answers(int status, const char *method, const char *target, const char *more,
                    const char *sent, const char *word) {
    int got = request_of(method, target, more, sent);
    if (got != status || !said(word))
        fail_msg("%s %s %s: %d\n%s", method, target, more, got, answer);
}

static void test_a_content_type_is_ascii_of_255_bytes(void **state) {
    (void)state;
    char header[400] = "Content-Type: ";
    memset(header + 14, 'a', KV_CONTENT_TYPE_MAX);
    strcpy(header + 14 + KV_CONTENT_TYPE_MAX, "\r\n");
    answers(204, "PUT", MEMORY, header, "abc", "ETag");
    strcpy(header + 14 + KV_CONTENT_TYPE_MAX, "a\r\n");
    answers(400, "PUT", MEMORY, header, "abc", "a Content-Type has up to 255 bytes");
    answers(400, "PUT", MEMORY, "Content-Type: text/\xc3\xa4\r\n", "abc",
            "a Content-Type is ASCII");
    answers(400, "PUT", MEMORY, "Content-Type: a\tb\r\n", "abc", "a Content-Type is ASCII");
    answers(204, "PUT", MEMORY, "Content-Type: a ~\r\n", "abc", "ETag");
}

static void test_a_query_says_each_thing_once_and_in_its_form(void **state) {
    (void)state;
    answers(400, "GET", "/api/n/k?type=memory&type=hdd", "", "", "type stands twice");
    answers(400, "GET", "/api/n/k?type=disk", "", "", "STORAGE_TYPE_INVALID");
    answers(400, "GET", "/api/n/k?type=%zz", "", "", "malformed % sequence");
    answers(400, "GET", "/api/n/k?%=1", "", "", "malformed % sequence");
    answers(400, "GET", "/api/n/k?type=memory&x=%4", "", "", "malformed % sequence");
    answers(404, "GET", "/api/n/k?type=%6demory", "", "", "KEY_NOT_EXIST");
    answers(404, "GET", "/api/n/k?ty%70e=memory", "", "", "KEY_NOT_EXIST");
    answers(404, "GET", "/api/n/k?type=memory&unheard=1&&=&x", "", "", "KEY_NOT_EXIST");
    answers(404, "GET", "/api/n/k?type=memory&key=other&value=x", "", "", "KEY_NOT_EXIST");
    answers(400, "PUT", "/api/n/k?type=memory&ttl=-1", "", "abc", "ttl is from 0");
    answers(400, "PUT", "/api/n/k?type=memory&ttl=", "", "abc", "ttl is a whole number");
    answers(400, "PUT", "/api/n/k?type=memory&ttl", "", "abc", "ttl is a whole number");
}

static void test_a_number_is_added_where_the_query_says_so(void **state) {
    (void)state;
#define ADD "/api2/11111111-2222-3333-4444-555555555555/n/k?type=memory"
    answers(400, "POST", ADD, "", "", "op=incr");
    answers(400, "POST", ADD "&op=decr", "", "", "op=incr");
    answers(400, "POST", ADD "&op=incr&op=decr", "", "", "op=incr");
    answers(200, "POST", ADD "&op=incr&by=5", "", "", "5");
    answers(409, "POST", ADD "&op=incr&by=x", "", "", "NOT_A_NUMBER");
}

static void test_conditions_of_writes(void **state) {
    (void)state;
    static const char tag[] = "If-Match: \"900150983cd24fb0d6963f7d28e17f72\"\r\n";
    answers(201, "PUT", MEMORY, "If-None-Match: *\r\n", "abc", "ETag");
    answers(412, "PUT", MEMORY, "If-None-Match: *\r\n", "abc", "PRECONDITION_FAILED");
    answers(400, "PUT", MEMORY, "If-None-Match: \"900150983cd24fb0d6963f7d28e17f72\"\r\n", "abc",
            "If-None-Match is *");
    answers(412, "PUT", MEMORY, "If-Match: W/\"900150983cd24fb0d6963f7d28e17f72\"\r\n", "abc",
            "a weak ETag never matches");
    answers(400, "PUT", MEMORY, "If-Match: x\r\n", "abc", "If-Match is * or MD5s");
    answers(400, "PUT", MEMORY, "If-Match: *\r\nIf-None-Match: *\r\n", "abc", "one condition");
    answers(400, "DELETE", MEMORY, "If-None-Match: *\r\n", "", "takes no such condition");
    answers(400, "POST", ADD "&op=incr", tag, "", "takes no such condition");
}

static void test_bodies_of_json_are_judged_before_they_are_read(void **state) {
    (void)state;
    static char deep[400];
    memset(deep, '[', 300);
    memset(deep + 300, ']', 80);
#define QUEUE "/broker/queues/q"
    answers(400, "PUT", QUEUE, "", deep, "the body is nested too deep");
    answers(400, "PUT", QUEUE, "", "[]", "the body is not a JSON object");
    answers(400, "PUT", QUEUE, "", "{", "the body is not a JSON object");
    answers(400, "PUT", QUEUE, "", "{\"lease\":1,\"lease\":2}",
            "a member stands twice in the body");
    answers(400, "PUT", QUEUE, "", "{\"queue\":\"other\"}", "queue is said twice, differently");
    answers(400, "PUT", QUEUE, "", "{\"name\":\"other\"}", "name is said twice, differently");
    answers(400, "PUT", QUEUE, "", "{\"queue\":7}", "queue is said twice, differently");
    answers(400, "PUT", QUEUE "?lease=5000", "", "{\"lease\":5000}", "lease is said twice");
    answers(400, "PUT", QUEUE, "", "{\"unheard\":1}", "there is no parameter unheard");
    answers(400, "PUT", QUEUE, "", "{\"lease\":1.5}", "lease has the wrong type");
    answers(400, "PUT", QUEUE, "", "{\"lease\":true}", "lease is not true or false");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop_server)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_content_type_is_ascii_of_255_bytes),
        TEST(test_a_query_says_each_thing_once_and_in_its_form),
        TEST(test_a_number_is_added_where_the_query_says_so),
        TEST(test_conditions_of_writes),
        TEST(test_bodies_of_json_are_judged_before_they_are_read),
    };
    op_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
