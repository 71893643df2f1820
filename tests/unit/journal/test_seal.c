/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "journal/datadir.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
#define KEY_A_BASE64 "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8="
#define BOND SLICE("where it belongs")
#define PLAIN SLICE("what nobody is to read")

struct fixture {
    char dir[64];
    char path[100];
    char why[300];
};

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static enum err open_keys(struct fixture *f, const char *text, struct seal_keys **ret_keys) {
    write_file(f->path, text);
    return seal_keys_open(f->path, ret_keys, f->why, sizeof f->why);
}

static struct seal_keys *keys_of(struct fixture *f, const char *text) {
    struct seal_keys *keys = NULL;
    if (open_keys(f, text, &keys))
        fail_msg("%s", f->why);
    return keys;
}

static enum err open_dir(struct fixture *f, struct seal_keys *keys, struct datadir **ret_datadir) {
    struct datadir_options options = {.dir = f->dir, .keys = keys};
    f->why[0] = 0;
    return datadir_open(&options, ret_datadir, f->why, sizeof f->why);
}

/* Opens the directory with these keys and closes it again. */
static enum err try_dir(struct fixture *f, const char *text) {
    struct datadir *datadir = NULL;
    struct seal_keys *keys = text ? keys_of(f, text) : NULL;
    enum err err = open_dir(f, keys, &datadir);
    if (!err)
        datadir_close(datadir);
    seal_keys_close(keys);
    return err;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    log_set_level(LOG_OFF);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s.keys", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s %s", f->dir, f->path);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void test_what_is_sealed_opens_again_and_looks_different_each_time(void **state) {
    struct seal_keys *keys = keys_of(*state, KEY_A "\n");
    char first[100], second[100], plain[100];
    seal_put(keys, BOND, PLAIN, first);
    seal_put(keys, BOND, PLAIN, second);
    size_t len = PLAIN.len + SEAL_BYTES;
    assert_memory_not_equal(first + SEAL_HEAD_BYTES, second + SEAL_HEAD_BYTES, PLAIN.len);
    assert_null(memmem(first, len, PLAIN.ptr, 4));
    assert_int_equal(seal_take(keys, BOND, slice_make(first, len), plain), OK);
    assert_memory_equal(plain, PLAIN.ptr, PLAIN.len);
    assert_int_equal(seal_take(keys, BOND, slice_make(second, len), second + SEAL_HEAD_BYTES), OK);
    assert_memory_equal(second + SEAL_HEAD_BYTES, PLAIN.ptr, PLAIN.len);
    seal_keys_close(keys);
}

static void test_an_empty_text_is_sealed_too(void **state) {
    struct seal_keys *keys = keys_of(*state, KEY_A);
    char sealed[SEAL_BYTES], plain[1];
    seal_put(keys, BOND, SLICE(""), sealed);
    assert_int_equal(seal_take(keys, BOND, slice_make(sealed, sizeof sealed), plain), OK);
    assert_int_equal(seal_take(keys, BOND, slice_make(sealed, sizeof sealed - 1), plain),
                     ERR_CORRUPT);
    assert_int_equal(seal_take(keys, BOND, SLICE(""), plain), ERR_CORRUPT);
    seal_keys_close(keys);
}

static void test_no_flipped_bit_goes_unseen(void **state) {
    struct seal_keys *keys = keys_of(*state, KEY_A);
    char sealed[100], plain[100];
    size_t len = PLAIN.len + SEAL_BYTES;
    seal_put(keys, BOND, PLAIN, sealed);
    for (size_t bit = 0; bit < len * 8; bit++) {
        sealed[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(seal_take(keys, BOND, slice_make(sealed, len), plain), ERR_CORRUPT);
        sealed[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_int_equal(seal_take(keys, BOND, slice_make(sealed, len), plain), OK);
    seal_keys_close(keys);
}

static void test_it_opens_nowhere_else_and_by_no_other_key(void **state) {
    struct seal_keys *keys = keys_of(*state, KEY_A);
    struct seal_keys *other = keys_of(*state, KEY_B);
    char sealed[100], plain[100];
    struct slice text = slice_make(sealed, PLAIN.len + SEAL_BYTES);
    seal_put(keys, BOND, PLAIN, sealed);
    assert_int_equal(seal_take(keys, SLICE("another place"), text, plain), ERR_CORRUPT);
    assert_int_equal(seal_take(other, BOND, text, plain), ERR_CORRUPT);
    assert_int_equal(seal_take(NULL, BOND, text, plain), ERR_CORRUPT);
    seal_keys_close(keys);
    seal_keys_close(other);
}

static void test_the_first_key_seals_and_all_open(void **state) {
    struct seal_keys *keys = keys_of(*state, KEY_A);
    char old[100], fresh[100], plain[100];
    size_t len = PLAIN.len + SEAL_BYTES;
    uint32_t id;
    seal_put(keys, BOND, PLAIN, old);
    seal_keys_renew(keys, keys_of(*state, "# the new one\n" KEY_B "\r\n\n  " KEY_A_BASE64 "\n"));
    assert_int_equal(seal_keys_count(keys), 2);
    seal_put(keys, BOND, PLAIN, fresh);
    assert_true(seal_read_id(slice_make(fresh, len), &id));
    assert_int_equal(id, seal_keys_id(keys, 0));
    assert_true(seal_read_id(slice_make(old, len), &id));
    assert_int_equal(id, seal_keys_id(keys, 1));
    assert_int_equal(seal_take(keys, BOND, slice_make(old, len), plain), OK);
    assert_int_equal(seal_take(keys, BOND, slice_make(fresh, len), plain), OK);
    seal_keys_close(keys);
}

static void test_files_that_hold_no_good_keys_are_refused_by_line(void **state) {
    static const struct {
        const char *text, *says;
    } files[] = {
        {"", "there is no key"},
        {"# only words\n", "there is no key"},
        {"short\n", "line 1: a key of 32 bytes"},
        {KEY_A "00\n", "line 1: a key of 32 bytes"},
        {KEY_A "\n\n" KEY_A_BASE64 "\n", "line 3: this key is there already"},
        {"000000000000000000000000000000000000000000000000000000000000000g\n", "line 1: a key of"},
        {"0000000000000000000000000000000000000000000000000000000000000000\n", "zeros"},
        {KEY_A " " KEY_B "\n", "line 1: a key of 32 bytes"},
    };
    struct fixture *f = *state;
    struct seal_keys *keys;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(open_keys(f, files[i].text, &keys), ERR_SYNTAX);
        if (!strstr(f->why, files[i].says))
            fail_msg("%s does not say %s", f->why, files[i].says);
        assert_null(strstr(f->why, "00112233"));
    }
    assert_int_equal(seal_keys_open("/nowhere/keys", &keys, f->why, sizeof f->why),
                     ERR_UNAVAILABLE);
    assert_non_null(strstr(f->why, "/nowhere/keys: No such file"));
}

static void test_there_may_be_sixteen_keys(void **state) {
    struct fixture *f = *state;
    struct seal_keys *keys;
    char text[17 * SEAL_KEY_TEXT_BYTES + 1] = "";
    for (unsigned i = 0; i < SEAL_KEYS_MAX; i++) {
        assert_int_equal(seal_make_key(text + strlen(text)), OK);
        strcat(text, "\n");
    }
    keys = keys_of(f, text);
    assert_int_equal(seal_keys_count(keys), SEAL_KEYS_MAX);
    seal_keys_close(keys);
    strcat(text, KEY_A);
    assert_int_equal(open_keys(f, text, &keys), ERR_SYNTAX);
    assert_non_null(strstr(f->why, "line 17: there are more keys"));
}

static void test_a_veil_hides_and_shows_in_pieces_of_any_size(void **state) {
    char plain[1000], covered[1000], seen[1000];
    struct seal_veil *veil, *other;
    (void)state;
    for (unsigned i = 0; i < sizeof plain; i++)
        plain[i] = (char)('a' + i % 26);
    assert_int_equal(seal_veil_new(&veil), OK);
    assert_int_equal(seal_veil_new(&other), OK);
    seal_veil_begin(veil, 70);
    seal_veil_begin(other, 0);
    for (size_t at = 0, len; at < sizeof plain; at += len) {
        len = at % 97 + 1 < sizeof plain - at ? at % 97 + 1 : sizeof plain - at;
        seal_veil_turn(veil, at, slice_make(plain + at, len), covered + at);
    }
    assert_memory_equal(covered, plain, 70);
    for (size_t at = 70; at + 8 < sizeof plain; at += 8)
        assert_memory_not_equal(covered + at, plain + at, 8);
    for (size_t from = 0; from < 200; from++) {
        seal_veil_turn(veil, from, slice_make(covered + from, sizeof covered - from), seen);
        assert_memory_equal(seen, plain + from, sizeof plain - from);
    }
    seal_veil_turn(other, 0, slice_make(covered, sizeof covered), seen);
    assert_memory_not_equal(seen + 70, plain + 70, sizeof plain - 70);
    seal_veil_turn(veil, 0, slice_make(covered, sizeof covered), covered);
    assert_memory_equal(covered, plain, sizeof plain);
    seal_veil_free(veil);
    seal_veil_free(other);
}

static void test_a_directory_wants_the_keys_that_sealed_it(void **state) {
    struct fixture *f = *state;
    assert_int_equal(try_dir(f, NULL), OK);
    assert_int_equal(try_dir(f, KEY_A), OK);
    assert_int_equal(try_dir(f, NULL), ERR_UNAVAILABLE);
    assert_non_null(strstr(f->why, "is encrypted: --encryption-key-file with the key"));
    assert_int_equal(try_dir(f, KEY_B), ERR_UNAVAILABLE);
    assert_non_null(strstr(f->why, "is not in the file"));
    assert_int_equal(try_dir(f, KEY_B "\n" KEY_A), OK);
    assert_int_equal(try_dir(f, KEY_B), ERR_UNAVAILABLE);
    assert_int_equal(try_dir(f, KEY_A), ERR_UNAVAILABLE);
    assert_int_equal(try_dir(f, KEY_A "\n" KEY_B), OK);
}

static void test_keys_that_nothing_is_sealed_by_any_more_are_forgotten(void **state) {
    struct fixture *f = *state;
    struct datadir *datadir;
    assert_int_equal(try_dir(f, KEY_A), OK);
    struct seal_keys *keys = keys_of(f, KEY_B "\n" KEY_A);
    assert_int_equal(open_dir(f, keys, &datadir), OK);
    assert_int_equal(datadir_forget_keys(datadir, f->why, sizeof f->why), OK);
    datadir_close(datadir);
    seal_keys_close(keys);
    assert_int_equal(try_dir(f, KEY_B), OK);
    assert_int_equal(try_dir(f, KEY_A), ERR_UNAVAILABLE);
}

static void test_keys_read_anew_are_refused_where_one_is_missing(void **state) {
    struct fixture *f = *state;
    struct datadir *datadir;
    struct seal_keys *keys = keys_of(f, KEY_A);
    uint32_t id = seal_keys_id(keys, 0);
    assert_int_equal(open_dir(f, keys, &datadir), OK);
    assert_int_equal(datadir_renew_keys(datadir, keys_of(f, KEY_B), f->why, sizeof f->why),
                     ERR_UNAVAILABLE);
    assert_int_equal(seal_keys_id(datadir_keys(datadir), 0), id);
    assert_int_equal(
        datadir_renew_keys(datadir, keys_of(f, KEY_B "\n" KEY_A), f->why, sizeof f->why), OK);
    assert_int_equal(seal_keys_id(datadir_keys(datadir), 1), id);
    datadir_close(datadir);
    seal_keys_close(keys);
    assert_int_equal(try_dir(f, KEY_A), ERR_UNAVAILABLE); /* the other may have sealed already */
}

static void test_an_encrypted_directory_is_of_a_format_that_older_versions_refuse(void **state) {
    struct fixture *f = *state;
    char path[100], text[32] = "";
    assert_int_equal(try_dir(f, KEY_A), OK);
    snprintf(path, sizeof path, "%s/format", f->dir);
    FILE *file = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_string_equal(text, "hati data 2\n");
}

/* Somebody else's key under the id of the right one. */
static void test_a_key_is_tried_not_only_named(void **state) {
    struct fixture *f = *state;
    char path[100], other[100], line[300], stolen[300];
    assert_int_equal(try_dir(f, KEY_A), OK);
    snprintf(path, sizeof path, "%s/encryption", f->dir);
    FILE *file = fopen(path, "r");
    assert_non_null(fgets(line, sizeof line, file));
    assert_non_null(fgets(stolen, sizeof stolen, file));
    fclose(file);
    struct seal_keys *keys = keys_of(f, KEY_B);
    snprintf(other, sizeof other, "%08x", seal_keys_id(keys, 0));
    seal_keys_close(keys);
    memcpy(stolen + 4, other, 8);
    memcpy(stolen + 15, other, 8);
    char text[700];
    snprintf(text, sizeof text, "%s%s", line, stolen);
    write_file(path, text);
    assert_int_equal(try_dir(f, KEY_B), ERR_UNAVAILABLE);
    assert_non_null(strstr(f->why, "is not the one that sealed"));
}

static void test_a_list_of_keys_that_is_damaged_or_missing_is_refused(void **state) {
    struct fixture *f = *state;
    char path[100];
    assert_int_equal(try_dir(f, KEY_A), OK);
    snprintf(path, sizeof path, "%s/encryption", f->dir);
    write_file(path, "hati encryption 1\nkey 12345678 00\n");
    assert_int_equal(try_dir(f, KEY_A), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "is damaged"));
    write_file(path, "hati encryption 1\n");
    assert_int_equal(try_dir(f, KEY_A), ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_dir(f, KEY_A), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "encryption is missing"));
    assert_int_equal(try_dir(f, NULL), ERR_CORRUPT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_what_is_sealed_opens_again_and_looks_different_each_time),
        CASE(test_an_empty_text_is_sealed_too),
        CASE(test_no_flipped_bit_goes_unseen),
        CASE(test_it_opens_nowhere_else_and_by_no_other_key),
        CASE(test_the_first_key_seals_and_all_open),
        CASE(test_files_that_hold_no_good_keys_are_refused_by_line),
        CASE(test_there_may_be_sixteen_keys),
        CASE(test_a_veil_hides_and_shows_in_pieces_of_any_size),
        CASE(test_a_directory_wants_the_keys_that_sealed_it),
        CASE(test_keys_that_nothing_is_sealed_by_any_more_are_forgotten),
        CASE(test_keys_read_anew_are_refused_where_one_is_missing),
        CASE(test_an_encrypted_directory_is_of_a_format_that_older_versions_refuse),
        CASE(test_a_key_is_tried_not_only_named),
        CASE(test_a_list_of_keys_that_is_damaged_or_missing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
