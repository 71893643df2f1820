/* SPDX-License-Identifier: MIT */
/* `hati encryption-key` and `hati reencrypt`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/datadir.h"
#include "server/commands.h"
#include "server/config.h"

#define WHY_BYTES 512
#define SHOW_EVERY_MS 200

int command_encryption_key(int argc, char **argv) {
    char text[SEAL_KEY_TEXT_BYTES];
    if (argc > 0) {
        fprintf(stderr, "hati: encryption-key takes nothing, not `%s`\n", argv[0]);
        return 2;
    }
    if (seal_make_key(text)) {
        fprintf(stderr, "hati: libsodium does not work here\n");
        return 1;
    }
    bool good = puts(text) >= 0 && fflush(stdout) == 0;
    explicit_bzero(text, sizeof text);
    return good ? 0 : 1;
}

/* How far it is: shown on a terminal, and nowhere else. */
struct progress {
    uint64_t done, total;
    int64_t started_ms, shown_ms;
    bool shows;
};

static void show(struct progress *progress) {
    int64_t took_ms = clock_steady_ms() - progress->started_ms;
    uint64_t rate = took_ms > 0 ? progress->done * 1000 / (uint64_t)took_ms : 0;
    uint64_t left = progress->total > progress->done ? progress->total - progress->done : 0;
    fprintf(stderr,
            "\r%" PRIu64 " of %" PRIu64 " (%" PRIu64 " %%), %" PRIu64 "/s, %" PRIu64 " s left    ",
            progress->done, progress->total,
            progress->total ? progress->done * 100 / progress->total : 100, rate,
            rate ? left / rate : 0);
}

static void note_progress(void *context, uint64_t more) {
    struct progress *progress = context;
    int64_t now_ms = clock_steady_ms();
    progress->done += more;
    if (!progress->shows || now_ms - progress->shown_ms < SHOW_EVERY_MS)
        return;
    progress->shown_ms = now_ms;
    show(progress);
}

static void end_progress(struct progress *progress) {
    if (!progress->shows)
        return;
    show(progress);
    fputc('\n', stderr);
}

/* What only the journal has goes where it belongs; nothing happens by time. */
static enum err settle(struct datadir *datadir, char *ret_why) {
    struct kv_options keys = {.datadir = datadir};
    struct broker_options queues = {.datadir = datadir, .manual_clock = true};
    struct kv *kv = NULL;
    struct broker *broker = NULL;
    enum err err = kv_open(&keys, &kv, ret_why, WHY_BYTES);
    if (!err)
        err = broker_open(&queues, &broker, ret_why, WHY_BYTES);
    if (!err)
        err = datadir_start(datadir, ret_why, WHY_BYTES);
    if (!err)
        datadir_stop(datadir);
    broker_close(broker);
    kv_close(kv);
    if (!err && !datadir_is_applied(datadir)) {
        snprintf(ret_why, WHY_BYTES,
                 "some of the journal in %s could not be moved into LMDB: is "
                 "the disk full?",
                 datadir_path(datadir));
        err = ERR_STORAGE_FULL;
    }
    return err;
}

/* Only then the journal, which has what was sealed before, and only then the list of keys. */
static enum err seal_anew(struct datadir *datadir, struct progress *progress, char *ret_why) {
    struct kv_reseal keys = {note_progress, progress};
    struct broker_reseal queues = {note_progress, progress};
    uint64_t entries = 0, messages = 0;
    enum err err = kv_reseal_count(datadir, &entries, ret_why, WHY_BYTES);
    if (!err)
        err = broker_reseal_count(datadir, &messages, ret_why, WHY_BYTES);
    progress->total = entries + messages;
    progress->started_ms = clock_steady_ms();
    if (!err)
        err = kv_reseal(datadir, &keys, ret_why, WHY_BYTES);
    if (!err)
        err = broker_reseal(datadir, &queues, ret_why, WHY_BYTES);
    end_progress(progress);
    if (!err)
        err = datadir_drop_journal(datadir, ret_why, WHY_BYTES);
    return err ? err : datadir_forget_keys(datadir, ret_why, WHY_BYTES);
}

static void print_keys(const struct seal_keys *keys, uint64_t done) {
    printf("%" PRIu64 " entries and messages are sealed by the key %08" PRIx32 ", and so is all "
           "that the directory holds\n",
           done, seal_keys_id(keys, 0));
    for (unsigned i = 1; i < seal_keys_count(keys); i++)
        printf("the key %08" PRIx32 " is no longer needed here (backups may need it)\n",
               seal_keys_id(keys, i));
}

static enum err reencrypt(const struct config *config, char *ret_why) {
    struct seal_keys *keys = NULL;
    struct datadir *datadir = NULL;
    struct progress progress = {.shows = isatty(STDERR_FILENO)};
    char format[4200];
    snprintf(format, sizeof format, "%s/format", config->data_dir);
    if (access(format, F_OK) != 0) {
        snprintf(ret_why, WHY_BYTES, "data-dir: %s is no data directory of hati", config->data_dir);
        return ERR_UNAVAILABLE;
    }
    enum err err = seal_keys_open(config->encryption_key_file, &keys, ret_why, WHY_BYTES);
    struct datadir_options options = {.dir = config->data_dir, .keys = keys};
    if (!err)
        err = datadir_open(&options, &datadir, ret_why, WHY_BYTES);
    if (!err)
        err = settle(datadir, ret_why);
    if (!err)
        err = seal_anew(datadir, &progress, ret_why);
    if (!err)
        print_keys(keys, progress.done);
    datadir_close(datadir);
    seal_keys_close(keys);
    return err;
}

int command_reencrypt(int argc, char **argv) {
    struct config config;
    char why[WHY_BYTES] = "out of memory";
    if (config_read(argc, argv, &config, why, sizeof why)) {
        fprintf(stderr, "hati reencrypt: %s\n", why);
        return 1;
    }
    log_set_level(config.log_level);
    prctl(PR_SET_DUMPABLE, 0); /* no core file: keys and values are in memory */
    enum err err = ERR_SYNTAX;
    if (config.encryption_key_file)
        err = reencrypt(&config, why);
    else
        snprintf(why, sizeof why, "by which key? --encryption-key-file FILE");
    if (err)
        fprintf(stderr, "hati reencrypt: %s\n", why);
    config_done(&config);
    return err ? 1 : 0;
}
