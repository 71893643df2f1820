/* SPDX-License-Identifier: MIT */
/* What no broker wrote, in LMDB and in the journal: a start ends with a clear line, or passes over
 * what is damaged; it never goes on with what nobody said. */
#include "base/cut.h"
#include "broker/snapshot.h"
#include "broker_case.h"

/* ---- records of the journal ---- */

struct record {
    size_t len;
    char bytes[400];
};

static void begin(struct record *record, const void *bytes, size_t len) {
    memset(record, 0, sizeof *record);
    memcpy(record->bytes, bytes, len);
    record->len = len;
}

static void append(struct record *record, const void *bytes, size_t len) {
    assert_true(record->len + len <= sizeof record->bytes);
    memcpy(record->bytes + record->len, bytes, len);
    record->len += len;
}

/* From exactly so many bytes, so that what is read behind them is found out. */
static enum err replay(struct fixture *f, uint64_t seq, const struct record *record, size_t len) {
    char *bytes = malloc(len);
    assert_non_null(bytes);
    memcpy(bytes, record->bytes, len);
    enum err err = disk_replay(f->broker->disk, seq, slice_make(bytes, len));
    free(bytes);
    return err;
}

static void refuse_all_cuts(struct fixture *f, const struct record *record) {
    for (size_t len = 1; len < record->len; len++)
        assert_int_equal(replay(f, 1000, record, len), ERR_CORRUPT);
    struct record longer = *record;
    append(&longer, "x", 1);
    if (record->bytes[0] != RECORD_QUEUE) /* counts may stand behind that */
        assert_int_equal(replay(f, 1000, &longer, longer.len), ERR_CORRUPT);
}

static struct record_queue queue_record(uint32_t id) {
    return (struct record_queue){.kind = RECORD_QUEUE,
                                 .storage = BROKER_HDD,
                                 .id = id,
                                 .store = id,
                                 .name_len = 1,
                                 .lease_ms = 1000};
}

static void make_queue(struct record *to, uint32_t id) {
    struct record_queue queue = queue_record(id);
    begin(to, &queue, sizeof queue);
    append(to, "q", 1);
}

static void make_router(struct record *to, uint32_t id) {
    struct record_router router = {
        .kind = RECORD_ROUTER, .type = ROUTER_TOPIC, .name_len = 1, .id = id};
    begin(to, &router, sizeof router);
    append(to, "r", 1);
}

static void make_publish(struct record *to, uint32_t queue, uint8_t lane) {
    struct record_publish publish = {.kind = RECORD_PUBLISH,
                                     .lane = lane,
                                     .id_len = 2,
                                     .key_len = 1,
                                     .queues = 1,
                                     .payload_len = 3,
                                     .published_ms = 1};
    struct record_target target = {.queue = queue};
    begin(to, &publish, sizeof publish);
    append(to, &target, sizeof target);
    append(to, "idkabc", 6);
}

static void make_leases(struct record *to, uint32_t queue, uint8_t lane, uint64_t seq) {
    struct record_leases leases = {
        .kind = RECORD_LEASES, .queue = queue, .count = 1, .due_ms = INT64_MAX};
    struct record_lease one = {.seq = seq, .nonce = 5, .attempt = 1, .lane = lane};
    begin(to, &leases, sizeof leases);
    append(to, &one, sizeof one);
}

static void make_state(struct record *to, uint32_t queue, enum message_state state, uint64_t seq) {
    struct record_state one = {.kind = RECORD_STATE,
                               .lane = 3,
                               .state = (uint8_t)state,
                               .queue = queue,
                               .seq = seq,
                               .due_ms = 1,
                               .attempt = 1};
    begin(to, &one, sizeof one);
}

static void make_ack(struct record *to, uint32_t queue, uint8_t lane, uint64_t seq) {
    struct record_ack ack = {.kind = RECORD_ACK, .lane = lane, .queue = queue, .seq = seq};
    begin(to, &ack, sizeof ack);
}

static void make_link(struct record *to, char kind, uint32_t queue, uint32_t router) {
    struct record_link link = {
        .kind = (uint8_t)kind, .flag = 1, .queue = queue, .router = router, .other = 90};
    if (kind == RECORD_BIND || kind == RECORD_UNBIND)
        link.pattern_len = 1;
    begin(to, &link, sizeof link);
    if (link.pattern_len)
        append(to, "k", 1);
}

static const struct queue *the_queue(struct fixture *f) {
    return names_get(&f->broker->queues, SLICE("q"));
}

/* Not started: nothing but replay touches it. */
static void open_unstarted(struct fixture *f) {
    struct datadir_options dir = {.dir = f->dir, .segment_bytes = 1U << 20};
    struct broker_options options = {.manual_clock = true};
    assert_int_equal(datadir_open(&dir, &f->datadir, f->why, sizeof f->why), OK);
    options.datadir = f->datadir;
    assert_int_equal(broker_open(&options, &f->broker, f->why, sizeof f->why), OK);
}

static int set_up_unstarted(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    case_init(f, true);
    open_unstarted(f);
    *state = f;
    return 0;
}

static void check_replay(struct fixture *f, const struct record *record, uint64_t seq) {
    refuse_all_cuts(f, record);
    assert_int_equal(replay(f, seq, record, record->len), OK);
}

static void a_journal_record_that_is_cut_or_goes_on_is_refused(void **state) {
    struct fixture *f = *state;
    struct record record;
    make_queue(&record, 7);
    check_replay(f, &record, 1);
    assert_non_null(the_queue(f));
    make_router(&record, 8);
    check_replay(f, &record, 2);
    make_link(&record, RECORD_BIND, 7, 8);
    check_replay(f, &record, 3);
    make_publish(&record, 7, 3);
    check_replay(f, &record, 4);
    assert_int_equal(the_queue(f)->ready, 1);
    make_leases(&record, 7, 3, 4);
    check_replay(f, &record, 5);
    assert_int_equal(the_queue(f)->leased, 1);
    make_state(&record, 7, MESSAGE_DELAYED, 4);
    check_replay(f, &record, 6);
    assert_int_equal(the_queue(f)->ready, 1);
    make_ack(&record, 7, 3, 4);
    check_replay(f, &record, 7);
    assert_int_equal(the_queue(f)->ready, 0);
    static const char kinds[] = {RECORD_PAUSE, RECORD_FLUSH, RECORD_UNBIND, RECORD_DROP_ROUTER,
                                 RECORD_DROP_QUEUE};
    for (unsigned i = 0; i < sizeof kinds; i++) {
        make_link(&record, kinds[i], 7, 8);
        check_replay(f, &record, 8 + i);
    }
    assert_null(the_queue(f));
    assert_int_equal(f->broker->routers.count, 1);
    make_link(&record, '?', 0, 0);
    assert_int_equal(replay(f, 20, &record, record.len), ERR_CORRUPT);
}

/* A queue or router may be gone, a message too: that is no fault. */
static void records_of_what_is_gone_change_nothing(void **state) {
    struct fixture *f = *state;
    struct record record;
    make_queue(&record, 7);
    assert_int_equal(replay(f, 1, &record, record.len), OK);
    assert_int_equal(replay(f, 1, &record, record.len), OK); /* again */
    make_queue(&record, 9);                                  /* its successor is there */
    assert_int_equal(replay(f, 1, &record, record.len), OK);
    assert_int_equal(f->broker->queues.count, 1);
    make_router(&record, 8);
    assert_int_equal(replay(f, 2, &record, record.len), OK);
    assert_int_equal(replay(f, 2, &record, record.len), OK);
    for (uint32_t queue = 7; queue < 9; queue++) {
        make_ack(&record, queue, 3, 40);
        assert_int_equal(replay(f, 50, &record, record.len), OK);
        make_leases(&record, queue, 3, 40);
        assert_int_equal(replay(f, 50, &record, record.len), OK);
        make_state(&record, queue, MESSAGE_DEAD, 40);
        assert_int_equal(replay(f, 50, &record, record.len), OK);
    }
    make_publish(&record, 70, 3);
    assert_int_equal(replay(f, 50, &record, record.len), OK);
    static const char kinds[] = {RECORD_BIND,        RECORD_UNBIND,     RECORD_PAUSE, RECORD_FLUSH,
                                 RECORD_DROP_ROUTER, RECORD_DROP_QUEUE, RECORD_BIND};
    for (unsigned i = 0; i < sizeof kinds; i++) {
        make_link(&record, kinds[i], i % 2 ? 70 : 0, i % 3 ? 80 : 0);
        assert_int_equal(replay(f, 50, &record, record.len), OK);
    }
    make_link(&record, RECORD_BIND, 7, 0);
    assert_int_equal(replay(f, 50, &record, record.len), OK);
    assert_int_equal(the_queue(f)->ready + the_queue(f)->leased, 0);
    assert_false(the_queue(f)->options.paused);
}

static void numbers_that_no_broker_writes_are_refused(void **state) {
    struct fixture *f = *state;
    struct record record;
    make_queue(&record, 7);
    assert_int_equal(replay(f, 1, &record, record.len), OK);
    make_ack(&record, 7, LANES, 40);
    assert_int_equal(replay(f, 50, &record, record.len), ERR_CORRUPT);
    make_leases(&record, 7, 200, 40);
    assert_int_equal(replay(f, 50, &record, record.len), ERR_CORRUPT);
    make_publish(&record, 7, 200);
    assert_int_equal(replay(f, 50, &record, record.len), OK); /* to no queue */
    assert_int_equal(the_queue(f)->ready, 0);
    struct record_queue bad[8];
    for (unsigned i = 0; i < 8; i++)
        bad[i] = queue_record(70 + i);
    bad[0].kind = 'Q';
    bad[1].storage = BROKER_HDD + 1;
    bad[2].overflow = OVERFLOW_DROP_HEAD + 1;
    bad[3].paused = 2;
    bad[4].lease_ms = 0;
    bad[5].ttl_ms = -1;
    bad[6].dedup_window_ms = -1;
    bad[7].name_len = 0;
    for (unsigned i = 1; i < 8; i++) {
        begin(&record, &bad[i], sizeof bad[i]);
        append(&record, "n", 1);
        assert_int_equal(replay(f, 60, &record, record.len), ERR_CORRUPT);
    }
    struct record_router router = {.kind = RECORD_ROUTER, .type = ROUTER_TOPIC + 1, .name_len = 1};
    begin(&record, &router, sizeof router);
    append(&record, "r", 1);
    assert_int_equal(replay(f, 60, &record, record.len), ERR_CORRUPT);
    assert_int_equal(f->broker->queues.count, 1);
}

/* ---- LMDB ---- */

static struct env *open_env(const struct fixture *f) {
    char dir[100], why[300] = "";
    struct env *env;
    snprintf(dir, sizeof dir, "%s/broker", f->dir);
    assert_int_equal(env_open(dir, &env, why, sizeof why), OK);
    return env;
}

struct entry {
    char key[300], value[600];
    size_t key_len, value_len;
};

/* The first one at or behind a key; false: none that begins like it. */
static bool find(const struct fixture *f, enum env_db db, struct slice from, struct entry *ret) {
    struct env *env = open_env(f);
    struct env_read *read;
    struct env_cursor *cursor;
    struct slice key, value;
    assert_int_equal(env_read_begin(env, &read), OK);
    assert_int_equal(env_cursor_open(read, db, &cursor), OK);
    bool found = env_cursor_seek(cursor, from, &key, &value) == OK && key.len >= from.len &&
                 memcmp(key.ptr, from.ptr, from.len) == 0;
    if (found) {
        assert_true(key.len < sizeof ret->key && value.len < sizeof ret->value);
        memcpy(ret->key, key.ptr, key.len);
        memcpy(ret->value, value.ptr, value.len);
        ret->key_len = key.len;
        ret->value_len = value.len;
    }
    env_cursor_close(cursor);
    env_read_end(read);
    env_close(env);
    return found;
}

static void put(const struct fixture *f, enum env_db db, struct slice key, struct slice value) {
    struct env *env = open_env(f);
    struct env_write *write;
    assert_int_equal(env_write_begin(env, 1 << 20, &write), OK);
    assert_int_equal(
        value.ptr ? env_write_put(write, db, key, value) : env_write_delete(write, db, key), OK);
    assert_int_equal(env_write_commit(write), OK);
    env_close(env);
}

/* With this in it there is no start, and with what was there before there is one. */
static void check_refused(struct fixture *f, enum env_db db, struct slice key, struct slice value,
                          const struct entry *before) {
    put(f, db, key, value);
    assert_int_equal(case_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "/broker"));
    put(f, db, key,
        before ? slice_make(before->value, before->value_len) : (struct slice){NULL, 0});
}

static void check_cuts_refused(struct fixture *f, enum env_db db, struct slice first) {
    struct entry entry;
    assert_true(find(f, db, first, &entry));
    struct slice key = slice_make(entry.key, entry.key_len);
    for (size_t len = 1; len < entry.value_len; len += 1 + len / 4)
        check_refused(f, db, key, slice_make(entry.value, len), &entry);
    entry.value[entry.value_len] = 'x';
    check_refused(f, db, key, slice_make(entry.value, entry.value_len + 1), &entry);
}

/* A queue with messages of all kinds, a binding, remembered ids. */
static void leave_some(struct fixture *f) {
    struct broker_queue_options options = options_of(BROKER_HDD);
    struct broker_receive receive;
    options.dedup_window_ms = 3600000;
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_make_router(f, "r", ROUTER_FANOUT), OK);
    assert_int_equal(case_run(f, binding_op(BROKER_BIND, "r", "q", "")).err, OK);
    for (unsigned i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        struct broker_op op = publish_op("r", "k", id);
        op.id = slice_of_cstr(id);
        assert_int_equal(case_run(f, op).err, OK);
    }
    assert_int_equal(case_receive(f, "q", 1, &receive), OK);
    broker_receive_free(&receive);
    case_close(f);
}

static void a_damaged_definition_is_told_at_start(void **state) {
    struct fixture *f = *state;
    struct entry entry;
    leave_some(f);
    check_cuts_refused(f, ENV_SPACES, SLICE("Q"));
    check_cuts_refused(f, ENV_SPACES, SLICE("R"));
    check_cuts_refused(f, ENV_SPACES, SLICE("I"));
    check_cuts_refused(f, ENV_META, META_APPLIED);
    check_cuts_refused(f, ENV_META, META_NEXT_ID);
    static const char *const keys[] = {"B12345", "D1", "I12"};
    for (unsigned i = 0; i < 3; i++)
        check_refused(f, ENV_SPACES, slice_of_cstr(keys[i]), SLICE("1"), NULL);
    assert_true(find(f, ENV_SPACES, SLICE("Q"), &entry));
    struct record_queue record;
    memcpy(&record, entry.value, sizeof record);
    record.storage = 9;
    memcpy(entry.value, &record, sizeof record);
    struct entry good;
    assert_true(find(f, ENV_SPACES, SLICE("Q"), &good));
    check_refused(f, ENV_SPACES, slice_make(entry.key, entry.key_len),
                  slice_make(entry.value, entry.value_len), &good);
    case_open(f);
    assert_int_equal(case_stats(f, "q").ready, 5);
    assert_int_equal(case_stats(f, "q").leased, 1);
}

static void a_damaged_touched_message_is_told_at_start(void **state) {
    struct fixture *f = *state;
    struct entry touched, entry;
    leave_some(f);
    assert_true(find(f, ENV_EXPIRY, SLICE(""), &touched));
    struct slice key = slice_make(touched.key, touched.key_len);
    assert_true(find(f, ENV_ENTRIES, key, &entry));
    for (size_t at = 0; at < entry.value_len; at += 7) {
        entry.value[at] ^= 4;
        struct entry good = entry;
        good.value[at] ^= 4;
        check_refused(f, ENV_ENTRIES, key, slice_make(entry.value, entry.value_len), &good);
        entry.value[at] ^= 4;
    }
    check_refused(f, ENV_ENTRIES, key, (struct slice){NULL, 0}, &entry); /* it is not there */
    check_refused(f, ENV_EXPIRY, slice_make(touched.key, touched.key_len - 1), SLICE("1"), NULL);
    touched.key[4] = LANES;
    check_refused(f, ENV_EXPIRY, key, SLICE("1"), NULL);
    case_open(f);
    assert_int_equal(case_stats(f, "q").leased, 1);
}

/* The second of those that nobody touched: the first is read at start. */
static bool find_untouched(const struct fixture *f, struct entry *ret) {
    struct entry touched, id;
    assert_true(find(f, ENV_EXPIRY, SLICE(""), &touched));
    struct slice key = slice_make(touched.key, touched.key_len);
    uint32_t store;
    unsigned lane;
    uint64_t seq;
    assert_true(spot_read(key, &store, &lane, &seq));
    for (uint64_t next = seq + 1; next < seq + 10; next++) {
        struct spot spot;
        spot_make(store, lane, next, &spot);
        if (find(f, ENV_ENTRIES, spot_slice(&spot), &id) && id.value_len > 60 && next > seq + 1) {
            *ret = id;
            return true;
        }
    }
    return false;
}

static void a_damaged_untouched_message_is_passed_over_and_counted_off(void **state) {
    struct fixture *f = *state;
    struct entry entry;
    leave_some(f);
    assert_true(find_untouched(f, &entry));
    entry.value[entry.value_len - 1] ^= 1;
    put(f, ENV_ENTRIES, slice_make(entry.key, entry.key_len),
        slice_make(entry.value, entry.value_len));
    case_open(f);
    assert_int_equal(case_stats(f, "q").ready, 5);
    unsigned count = 0;
    while (case_drain(f, "q", 1)[0])
        count++;
    assert_int_equal(count, 4);
    assert_int_equal(case_stats(f, "q").ready, 0);
    case_reopen(f);
    assert_int_equal(case_stats(f, "q").ready + case_stats(f, "q").leased, 1);
}

static void counts_that_say_too_much_are_put_right(void **state) {
    struct fixture *f = *state;
    struct entry entry;
    leave_some(f);
    assert_true(find(f, ENV_SPACES, SLICE("Q"), &entry));
    uint64_t many = 1000;
    size_t lane = BROKER_PRIORITY_MAX; /* where priority 0 is */
    memcpy(entry.value + entry.value_len - (LANES - lane) * sizeof many, &many, sizeof many);
    put(f, ENV_SPACES, slice_make(entry.key, entry.key_len),
        slice_make(entry.value, entry.value_len));
    case_open(f);
    assert_string_equal(case_drain(f, "q", 1000), "1 2 3 4 5 ");
    assert_string_equal(case_drain(f, "q", 1000), "");
    assert_int_equal(case_stats(f, "q").ready, 0);
    assert_int_equal(case_publish(f, "q", "next"), OK);
    assert_string_equal(case_drain(f, "q", 1000), "next ");
}

/* A crash between a deletion and the cleaning up behind it. */
static void what_belongs_to_nothing_is_cleared_away(void **state) {
    struct fixture *f = *state;
    struct entry entry;
    char seen[21] = {'I', 0, 0, 0, 99};
    char dropped[5] = {'D', 0, 0, 3, 1};
    char binding[10] = {'B', 0, 0, 0, 98, 0, 0, 0, 99, 'k'};
    struct spot spot;
    leave_some(f);
    spot_make(0x301, 2, 77, &spot);
    put(f, ENV_SPACES, slice_make(seen, sizeof seen), SLICE("0123456789abcdef"));
    put(f, ENV_SPACES, slice_make(binding, sizeof binding), SLICE("1"));
    put(f, ENV_SPACES, slice_make(dropped, sizeof dropped), SLICE("1"));
    put(f, ENV_ENTRIES, spot_slice(&spot), SLICE("a message of a store that is being dropped"));
    put(f, ENV_EXPIRY, spot_slice(&spot), SLICE("1"));
    case_open(f);
    assert_int_equal(case_stats(f, "q").ready, 5);
    case_close(f);
    assert_false(find(f, ENV_SPACES, slice_make(seen, sizeof seen), &entry));
    assert_false(find(f, ENV_SPACES, slice_make(binding, sizeof binding), &entry));
    assert_false(find(f, ENV_SPACES, slice_make(dropped, sizeof dropped), &entry));
    assert_false(find(f, ENV_ENTRIES, spot_slice(&spot), &entry));
    assert_false(find(f, ENV_EXPIRY, spot_slice(&spot), &entry));
    case_open(f);
}

static enum err count_message(void *context, const struct broker_snapshot_message *message) {
    (void)message;
    ++*(unsigned *)context;
    return OK;
}

/* A backup without a message that was promised would be a false one. */
static void a_snapshot_with_a_damaged_message_is_refused(void **state) {
    struct fixture *f = *state;
    struct entry entry;
    struct broker_snapshot *snapshot;
    unsigned count = 0;
    struct broker_snapshot_sink sink = {.context = &count, .message = count_message};
    leave_some(f);
    assert_true(find_untouched(f, &entry));
    entry.value[entry.value_len - 1] ^= 1;
    put(f, ENV_ENTRIES, slice_make(entry.key, entry.key_len),
        slice_make(entry.value, entry.value_len));
    case_open(f);
    assert_int_equal(broker_snapshot_new(f->broker, &snapshot), OK);
    assert_int_equal(broker_snapshot_hold(snapshot, cut_begin()), OK);
    cut_make();
    assert_int_equal(broker_snapshot_take(snapshot), OK);
    assert_int_equal(broker_snapshot_each(snapshot, &sink), ERR_CORRUPT);
    broker_snapshot_end(snapshot);
    assert_true(count < 6);
}

/* LMDB is told of a flush, and the journal behind it says again what was before. */
static void a_flush_that_lmdb_knows_of_is_not_undone_by_a_replay(void **state) {
    struct fixture *f = *state;
    struct broker_receive receive;
    uint64_t start = f->broker->disk->applied_seq;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_HDD)), OK);
    for (unsigned i = 0; i < 6; i++) {
        struct broker_op op = publish_op("default", "q", "before");
        op.delay_ms = i % 3 == 2 ? 100000 : 0;
        assert_int_equal(case_run(f, op).err, OK);
    }
    assert_int_equal(case_receive(f, "q", 2, &receive), OK);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(case_settle(f, BROKER_NACK, "q", &receive.deliveries[i]).err, OK);
    broker_receive_free(&receive);
    assert_int_equal(case_receive(f, "q", 1, &receive), OK);
    broker_receive_free(&receive);
    assert_int_equal(case_run(f, queue_op(BROKER_FLUSH, "q")).count, 5);
    assert_int_equal(case_publish(f, "q", "after"), OK);
    case_close(f);
    put(f, ENV_META, META_APPLIED, slice_make(&start, sizeof start));
    case_open(f);
    struct broker_queue_stats stats = case_stats(f, "q");
    assert_int_equal(stats.ready, 1);
    assert_int_equal(stats.leased, 1); /* that was not flushed */
    assert_int_equal(stats.delayed, 0);
    assert_string_equal(case_drain(f, "q", 10), "after ");
}

int main(void) {
#define UNSTARTED(test) cmocka_unit_test_setup_teardown(test, set_up_unstarted, tear_down)
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, set_up_disk, tear_down)
    const struct CMUnitTest tests[] = {
        UNSTARTED(a_journal_record_that_is_cut_or_goes_on_is_refused),
        UNSTARTED(records_of_what_is_gone_change_nothing),
        UNSTARTED(numbers_that_no_broker_writes_are_refused),
        ON_DISK(a_damaged_definition_is_told_at_start),
        ON_DISK(a_damaged_touched_message_is_told_at_start),
        ON_DISK(a_damaged_untouched_message_is_passed_over_and_counted_off),
        ON_DISK(counts_that_say_too_much_are_put_right),
        ON_DISK(what_belongs_to_nothing_is_cleared_away),
        ON_DISK(a_snapshot_with_a_damaged_message_is_refused),
        ON_DISK(a_flush_that_lmdb_knows_of_is_not_undone_by_a_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
