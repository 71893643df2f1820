/* SPDX-License-Identifier: MIT */
/* Bodies of JSON-RPC, carried out on a store and a broker in memory. The first byte says how much
 * room the answer has. Each answer is JSON in a line of its own, of the form that the specification
 * has. */
#include <jansson.h>
#include <pthread.h>

#include "server/rpc.h"
#include "tests/fuzz/target.h"

#define PAYLOAD_MAX_BYTES 2048U
#define MEMORY_BYTES (4U << 20)
#define LIVES 512U /* inputs until the stores are made anew */

static struct core core = {.payload_limit_bytes = PAYLOAD_MAX_BYTES};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_done;

static void on_done(struct rpc_request *request) {
    (void)request;
    pthread_mutex_lock(&lock);
    is_done = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void await(void) {
    pthread_mutex_lock(&lock);
    while (!is_done)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void open_stores(void) {
    char why[300];
    const struct kv_options kv = {.memory_limit_bytes = MEMORY_BYTES, .eviction = KV_LRU};
    const struct broker_options broker = {.memory_limit_bytes = MEMORY_BYTES, .manual_clock = true};
    check(kv_open(&kv, &core.kv, why, sizeof why) == OK);
    check(broker_open(&broker, &core.broker, why, sizeof why) == OK);
    core.ready = true;
}

static void close_stores(void) {
    broker_drain(core.broker);
    broker_close(core.broker);
    kv_close(core.kv);
}

/* One answer: of 2.0 with result or error, or of 1.0 with both. */
static void check_answer(const json_t *answer) {
    const json_t *error = json_object_get(answer, "error");
    const json_t *result = json_object_get(answer, "result");
    const json_t *version = json_object_get(answer, "jsonrpc");
    check(json_is_object(answer) && json_object_get(answer, "id"));
    if (!version) {
        check(error && result && (json_is_null(error) || json_is_null(result)));
        return;
    }
    check(strcmp(json_string_value(version), "2.0") == 0 && !error != !result);
    check(!error || (json_is_integer(json_object_get(error, "code")) &&
                     json_is_string(json_object_get(error, "message"))));
}

static void check_line(struct slice line) {
    json_error_t error;
    json_t *answer =
        json_loadb(line.ptr, line.len,
                   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (!answer) /* its ids may be numbers of any size, as they were sent */
        return;
    json_decref(answer);
    answer = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL, &error);
    if (!json_is_array(answer)) {
        if (answer)
            check_answer(answer);
    } else {
        check(json_array_size(answer) > 0 && json_array_size(answer) <= RPC_BATCH_MAX);
        for (size_t i = 0; i < json_array_size(answer); i++)
            check_answer(json_array_get(answer, i));
    }
    json_decref(answer);
}

static void ask(struct slice body, size_t out_max_bytes, bool was_sent, bool signed_in) {
    struct buf out;
    buf_init(&out, out_max_bytes);
    struct rpc_request request = {.core = &core,
                                  .grant = signed_in ? &auth_grant_everything : &auth_grant_nothing,
                                  .body = body,
                                  .now_ms = 1000,
                                  .out = &out,
                                  .done = on_done};
    is_done = false;
    (void)rpc_may_wait(&request);
    enum err err = rpc_run(&request);
    check(err == OK || err == ERR_PENDING || err == ERR_OUT_OF_MEMORY);
    if (err == ERR_PENDING) {
        rpc_stop(&request);
        await();
    }
    for (struct slice rest = buf_slice(&out); rest.len;) {
        check(rest.ptr[rest.len - 1] == '\n' && out.len <= out_max_bytes);
        check_line(take_until(&rest, '\n'));
    }
    rpc_release(&request, was_sent);
    rpc_free(&request);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned lives;
    struct slice bytes = slice_make(data, size);
    unsigned how = take_byte(&bytes);
    if (!core.kv)
        op_init();
    if (lives++ % LIVES == 0) {
        if (core.kv)
            close_stores();
        open_stores();
    }
    char *body = copy_of(bytes);
    ask(slice_make(body, bytes.len), how & 4 ? 256 : 1U << 20, how & 1, !(how & 2));
    free(body);
    return 0;
}
