/* SPDX-License-Identifier: MIT */
/* Operations where the n-th allocation fails, for every n: each is carried out or says that there
 * was no memory, and tried again all is as if it had never failed. */
/* wrap: malloc calloc realloc strdup aligned_alloc */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "handlers/bind.h"
#include "handlers/render.h"
#include "tests/unit/faults.h"

#define NOW 4102444800000 /* in 2100: the store's keeper, by the wall clock, drops nothing */
#define ROUNDS_MAX 500

static struct core core;
static struct arena arena;
static struct call call;
static sem_t woken;
static char receipt[BROKER_RECEIPT_BYTES + 20];

static void on_wake(struct call *of) {
    (void)of;
    sem_post(&woken);
}

static void open_stores(void) {
    char why[256];
    struct broker_options broker = {.manual_clock = true};
    struct kv_options kv = {.datadir = NULL};
    core = (struct core){.payload_limit_bytes = 1 << 20};
    assert_int_equal(broker_open(&broker, &core.broker, why, sizeof why), OK);
    assert_int_equal(kv_open(&kv, &core.kv, why, sizeof why), OK);
    broker_tick(core.broker, NOW);
}

static void close_stores(void) {
    broker_drain(core.broker);
    broker_close(core.broker);
    kv_close(core.kv);
}

struct step {
    const char *op, *words; /* name=value; RECEIPT: of what was received last */
};

static void bind_words(const char *words) {
    while (*words) {
        size_t len = strcspn(words, " "), name = strcspn(words, "=");
        struct slice value = slice_make(words + name + 1, len - name - 1);
        if (slice_equal(value, SLICE("RECEIPT")))
            value = slice_of_cstr(receipt);
        int index = bind_find_param(call.op, slice_make(words, name));
        assert_true(index >= 0);
        assert_int_equal(bind_text(&call, (unsigned)index, value), OK);
        words += len + (words[len] == ' ');
    }
    assert_int_equal(bind_finish(&call), OK);
}

/* Runs a step in which the n-th allocation fails (0: none). Whether one did. */
static bool run(const struct step *step, long n, enum err *ret_err) {
    arena_init(&arena, 1 << 24);
    call_init(&call, &core, &auth_grant_everything, &arena, NOW);
    call_set_op(&call, op_find_name(slice_of_cstr(step->op)));
    call.wake = on_wake;
    bind_words(step->words);
    faults_begin(n);
    enum err err = call_run(&call);
    if (err == ERR_PENDING) {
        broker_tick(core.broker, NOW);
        sem_wait(&woken);
        err = call.err;
    }
    bool failed = faults_end();
    if (!err && call.broker.holds && call.broker.receive.count)
        snprintf(receipt, sizeof receipt, "%.*s", BROKER_RECEIPT_BYTES,
                 call.broker.receive.deliveries[0].receipt);
    *ret_err = err;
    return failed;
}

static void end_run(bool was_sent) {
    call_release(&call, was_sent);
    arena_done(&arena);
}

/* The result as text, or the name of the failure. */
static void run_whole(const struct step *step, char *text, size_t text_bytes) {
    struct buf result;
    enum err err;
    assert_false(run(step, 0, &err));
    buf_init(&result, text_bytes - 1);
    if (err)
        buf_append(&result, slice_of_cstr(err_word(err)));
    else
        assert_true(render_result(&result, &call));
    snprintf(text, text_bytes, "%.*s", (int)result.len, result.len ? result.ptr : "");
    buf_done(&result);
    end_run(true);
}

#define TEXT_BYTES 4096

/* Step number `which` fails at its n-th allocation. False where it has not so many. */
static bool try_script(const struct step *script, unsigned count, unsigned which, long n,
                       char texts[][TEXT_BYTES]) {
    char text[TEXT_BYTES];
    bool failed = false;
    open_stores();
    for (unsigned i = 0; i < count; i++) {
        enum err err = OK;
        if (i == which) {
            failed = run(&script[i], n, &err);
            bool done = err == OK;
            if (err && err != ERR_OUT_OF_MEMORY)
                fail_msg("%s %s: %s at allocation %ld", script[i].op, script[i].words,
                         err_word(err), n);
            assert_true(failed || done);
            struct buf result;
            buf_init(&result, TEXT_BYTES - 1);
            if (done)
                assert_true(render_result(&result, &call));
            snprintf(text, sizeof text, "%.*s", (int)result.len, result.len ? result.ptr : "");
            buf_done(&result);
            end_run(done);
            if (!done)
                run_whole(&script[i], text, sizeof text);
        } else {
            run_whole(&script[i], text, sizeof text);
        }
        if (n == 0)
            strcpy(texts[i], text);
        else if (strcmp(texts[i], text) != 0 && !strstr(text, "receipt"))
            fail_msg("%s %s failed at allocation %ld; then %s %s: %s, not %s", script[which].op,
                     script[which].words, n, script[i].op, script[i].words, text, texts[i]);
    }
    close_stores();
    return failed;
}

static void try_all(const struct step *script, unsigned count) {
    static char texts[40][TEXT_BYTES];
    long all = 0;
    assert_true(count <= 40);
    (void)try_script(script, count, 0, 0, texts);
    for (unsigned which = 0; which < count; which++) {
        long n = 1;
        while (try_script(script, count, which, n, texts) && n < ROUNDS_MAX)
            n++;
        assert_true(n < ROUNDS_MAX);
        all += n - 1;
    }
    assert_true(all > count);
}

#define TRY(script) try_all(script, sizeof(script) / sizeof(script)[0])

static void test_queues_and_routers_are_made_whole_or_not(void **state) {
    static const struct step script[] = {
        {"Broker.CreateQueue", "queue=dead type=memory"},
        {"Broker.CreateQueue", "queue=q type=memory lease=5000 dead-letter=dead max-length=10"},
        {"Broker.CreateQueue", "queue=q type=memory lease=5000 dead-letter=dead max-length=10"},
        {"Broker.CreateRouter", "router=r type=topic"},
        {"Broker.CreateRouter", "router=r type=topic"},
        {"Broker.Bind", "router=r queue=q pattern=a.*"},
        {"Broker.Bind", "router=r queue=dead pattern=#"},
        {"Broker.GetRouter", "router=r"},
        {"Broker.ListQueue", ""},
        {"Broker.ListRouter", ""},
        {"Broker.Unbind", "router=r queue=dead pattern=#"},
        {"Broker.Pause", "queue=q"},
        {"Broker.GetQueue", "queue=q"},
        {"Broker.DeleteRouter", "router=r"},
        {"Broker.DeleteQueue", "queue=q"},
        {"Broker.ListQueue", ""},
        {"Broker.ListRouter", ""},
    };
    (void)state;
    TRY(script);
}

static void test_a_message_is_neither_lost_nor_doubled(void **state) {
    static const struct step script[] = {
        {"Broker.CreateQueue", "queue=q type=memory"},
        {"Broker.Publish", "router=default key=q payload=one id=1"},
        {"Broker.Publish", "router=default key=q payload=two id=2 headers={\"a\":1}"},
        {"Broker.Peek", "queue=q"},
        {"Broker.Receive", "queue=q"},
        {"Broker.Ack", "queue=q receipt=RECEIPT"},
        {"Broker.Receive", "queue=q"},
        {"Broker.Nack", "queue=q receipt=RECEIPT"},
        {"Broker.Flush", "queue=q"}, /* it may come back a little later */
        {"Broker.GetQueue", "queue=q"},
    };
    (void)state;
    TRY(script);
}

static void test_a_key_is_as_it_was_or_as_it_was_to_be(void **state) {
    static const struct step script[] = {
        {"Storage.Set", "type=memory key=a value=1"},
        {"Storage.Set", "type=memory key=b value=a-value-that-is-longer ttl=60000"},
        {"Storage.Get", "type=memory key=a"},
        {"Storage.Ttl", "type=memory key=b"},
        {"Storage.Increment", "type=memory key=a by=5"},
        {"Storage.List", "type=memory prefix="},
        {"Storage.Count", "type=memory"},
        {"Storage.Has", "type=memory key=b"},
        {"Storage.Delete", "type=memory key=b"},
        {"Storage.Get", "type=memory key=a"},
        {"Storage.List", "type=memory prefix="},
    };
    (void)state;
    TRY(script);
}

static int begin(void **state) {
    (void)state;
    op_init();
    return sem_init(&woken, 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queues_and_routers_are_made_whole_or_not),
        cmocka_unit_test(test_a_message_is_neither_lost_nor_doubled),
        cmocka_unit_test(test_a_key_is_as_it_was_or_as_it_was_to_be),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
