/* SPDX-License-Identifier: MIT */
/* One LMDB environment: its databases, its map that grows, and read transactions kept for use
 * again. Only env.c knows lmdb.h. Traps it steps around: FACTS of LMDB 0.9.24 (no WRITEMAP, no
 * NOSYNC, no DUPSORT; the map grows only while no transaction is active). */
#ifndef HATI_JOURNAL_ENV_H
#define HATI_JOURNAL_ENV_H

#include "base/err.h"
#include "base/slice.h"

#define ENV_KEY_MAX 511 /* bytes of a key, LMDB's own limit */

enum env_db { ENV_ENTRIES, ENV_EXPIRY, ENV_SPACES, ENV_META, ENV_DBS };

struct env;
struct env_read;
struct env_cursor;
struct env_write;

/* Opens or makes the environment in a directory, which is made where it is not there. One per
 * directory and process. Blocks. */
enum err env_open(const char *dir, struct env **ret_env, char *ret_why, size_t why_bytes) MUST_USE;
/* The same where what is written must not show what else is in memory: LMDB clears pages before it
 * fills them, which takes a little time. */
enum err env_open_cleared(const char *dir, struct env **ret_env, char *ret_why,
                          size_t why_bytes) MUST_USE;
/* No transaction is active. */
void env_close(struct env *env);

/* A snapshot of what is committed now. Short: it keeps pages from being used again, and the map
 * from growing. Any thread; ends on the thread it began, or was resumed, on. */
enum err env_read_begin(struct env *env, struct env_read **ret_read) MUST_USE;
void env_read_end(struct env_read *read);
/* A snapshot that is kept for longer lets go of the map in between, so that it can grow; pages stay
 * as they are. Cursors are closed before, and nothing read before is good any more. Any thread goes
 * on with it, one at a time; it ends resumed. */
void env_read_pause(struct env_read *read);
void env_read_resume(struct env_read *read);
/* ERR_KEY_NOT_EXIST; else the bytes, good until env_read_end. */
enum err env_read_get(struct env_read *read, enum env_db db, struct slice key,
                      struct slice *ret_value) MUST_USE;
uint64_t env_read_count(struct env_read *read, enum env_db db);
/* The number of the last transaction that wrote what is seen. */
uint64_t env_read_number(struct env_read *read);

/* Walks keys in byte order. Ends before its read does. */
enum err env_cursor_open(struct env_read *read, enum env_db db,
                         struct env_cursor **ret_cursor) MUST_USE;
void env_cursor_close(struct env_cursor *cursor);
/* The first key at or behind `key`; ERR_KEY_NOT_EXIST behind the last. */
enum err env_cursor_seek(struct env_cursor *cursor, struct slice key, struct slice *ret_key,
                         struct slice *ret_value) MUST_USE;
enum err env_cursor_next(struct env_cursor *cursor, struct slice *ret_key,
                         struct slice *ret_value) MUST_USE;

/* The writing transaction; one at a time, one thread from begin to end. more_bytes: what it will
 * write at most, so that the map is grown before (waits for readers). */
enum err env_write_begin(struct env *env, uint64_t more_bytes,
                         struct env_write **ret_write) MUST_USE;
enum err env_write_put(struct env_write *write, enum env_db db, struct slice key,
                       struct slice value) MUST_USE;
/* The same where the caller fills size bytes at *ret_room before it does anything else. */
enum err env_write_room(struct env_write *write, enum env_db db, struct slice key,
                        size_t size_bytes, char **ret_room) MUST_USE;
/* An absent key is no failure. */
enum err env_write_delete(struct env_write *write, enum env_db db, struct slice key) MUST_USE;
enum err env_write_get(struct env_write *write, enum env_db db, struct slice key,
                       struct slice *ret_value) MUST_USE;
uint64_t env_write_count(struct env_write *write, enum env_db db);
/* The number of this transaction. */
uint64_t env_write_number(struct env_write *write);
/* The first key at or behind `key`, as this transaction sees it. */
enum err env_write_seek(struct env_write *write, enum env_db db, struct slice key,
                        struct slice *ret_key, struct slice *ret_value) MUST_USE;
/* Empties a database. */
enum err env_write_empty(struct env_write *write, enum env_db db) MUST_USE;
/* Synced when it returns OK; else nothing of it stands. ERR_STORAGE_FULL: the disk is full and
 * the environment is well; any other failure: it can no longer be believed. Blocks. */
enum err env_write_commit(struct env_write *write) MUST_USE;
void env_write_abort(struct env_write *write);

/* Bytes of the map in use. Any thread. */
uint64_t env_used_bytes(struct env *env);
/* Those of them that hold nothing: the file never shrinks, they are used again. Any thread. */
uint64_t env_free_bytes(struct env *env);

#endif
