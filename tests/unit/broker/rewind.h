/* SPDX-License-Identifier: MIT */
/* The broker's LMDB as it may be behind its journal. */
#ifndef HATI_TESTS_BROKER_REWIND_H
#define HATI_TESTS_BROKER_REWIND_H

#include "broker/disk_inside.h"

/* As after a crash before LMDB was told how far it is. */
static inline void rewind_position(const char *data_dir, uint64_t applied_seq) {
    char dir[100];
    char why[300] = "";
    struct env *env;
    struct env_write *write;
    snprintf(dir, sizeof dir, "%s/broker", data_dir);
    assert_int_equal(env_open(dir, &env, why, sizeof why), OK);
    assert_int_equal(env_write_begin(env, 4096, &write), OK);
    struct slice value = slice_make(&applied_seq, sizeof applied_seq);
    assert_int_equal(env_write_put(write, ENV_META, META_APPLIED, value), OK);
    assert_int_equal(env_write_commit(write), OK);
    env_close(env);
}

#endif
