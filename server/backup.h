/* SPDX-License-Identifier: MIT */
/* Inside of `hati export` and `hati import`: where a snapshot comes from or goes to.
 *
 *   --data-dir or --engine on the command line ──> the stores are opened here (backup_direct.c)
 *   else ──> a running server, by HTTP (backup_http.c)
 */
#ifndef HATI_SERVER_BACKUP_H
#define HATI_SERVER_BACKUP_H

#include "server/config.h"
#include "snapshot/apply.h"
#include "snapshot/take.h"

#define BACKUP_WHY_BYTES 600

/* As the process exits. */
enum backup_status {
    BACKUP_GOOD = 0,
    BACKUP_REFUSED = 1, /* by the server or the stores */
    BACKUP_USAGE = 2, /* flags, or a file that cannot be read, or is damaged: nothing was changed */
    BACKUP_AWAY = 3   /* no server, or it was lost on the way */
};

struct backup_options {
    struct config config;
    const char *file; /* `-`: standard output or input */
    enum snapshot_format format;
    bool replace, again, quiet;
    bool is_of_files, is_of_engine; /* --data-dir, --engine are among the flags */
    bool is_direct;                 /* one of them is */
    char *token;                    /* NULL: none */
    const char *tls_ca;             /* NULL: the system's */
    const char *tls_cert, *tls_key; /* of this client; NULL: none */
    bool tls_insecure;
    uint64_t largest_bytes; /* of an import: its largest value or payload */
};

/* What a snapshot goes through; one of both kinds. */
struct backup_place {
    void *context;
    /* Writes a snapshot to fd. ret_why is one line where it is not BACKUP_GOOD; so below. */
    enum backup_status (*export)(void *context, int fd, char *ret_why);
    /* As apply_begin and apply_block: state is filled anew each time. note: of what stays as it is.
     */
    enum backup_status (*begin)(void *context, const char head[SNAPSHOT_HEAD_BYTES],
                                struct apply_state *state, char *ret_why);
    enum backup_status (*block)(void *context, const uint8_t id[SNAPSHOT_ID_BYTES], uint64_t number,
                                struct slice bytes, struct apply_state *state, char *ret_why);
    void (*close)(void *context);
};

/* backup_http.c */
enum backup_status backup_open_server(const struct backup_options *options,
                                      struct backup_place *ret_place, char *ret_why);
/* backup_direct.c */
enum backup_status backup_open_stores(const struct backup_options *options, bool is_import,
                                      struct backup_place *ret_place, char *ret_why);

/* Reads flags (behind the subcommand). False: ret_why. Either way backup_options_done.
 * (backup_options.c) */
bool backup_options_read(int argc, char **argv, bool is_import, struct backup_options *ret_options,
                         char *ret_why);
void backup_options_done(struct backup_options *options);
/* What both commands are for, their flags that are not those of start, exit statuses. */
void backup_print_help(void);

/* A bar with rate and time left, on standard error where that is a terminal. (backup_progress.c) */
void backup_progress_begin(bool quiet, const char *what, bool in_bytes);
/* total 0: not known. Any thread, one at a time. */
void backup_progress_show(uint64_t done, uint64_t total);
/* Takes the bar away. */
void backup_progress_end(void);

#endif
