/* SPDX-License-Identifier: MIT */
/* `hati import`: entries of another system, into the engine's database. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "server/commands.h"
#include "server/config.h"

#define DEFAULT_SCHEMA "hulykvs"
#define REFUSED_SHOWN_MAX 1000U

static int refuse(const char *why) {
    fprintf(stderr, "hati import: %s\n", why);
    return 1;
}

static void show_refused(void *context, const char *line) {
    unsigned *shown = context;
    if ((*shown)++ < REFUSED_SHOWN_MAX)
        fprintf(stderr, "not taken: %s\n", line);
}

/* Takes this command's own flags out; what is left is for config_read. Returns how many are left.
 */
static int take_flags(int argc, char **argv, struct engine_import *import) {
    static const char from[] = "--from-hulykvs";
    int left = 0;
    for (int i = 0; i < argc; i++) {
        bool is_value = i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0;
        if (strcmp(argv[i], from) == 0)
            import->from_schema = is_value ? argv[++i] : DEFAULT_SCHEMA;
        else if (strncmp(argv[i], from, sizeof from - 1) == 0 && argv[i][sizeof from - 1] == '=')
            import->from_schema = argv[i] + sizeof from;
        else if (strcmp(argv[i], "--overwrite") == 0)
            import->overwrite = true;
        else
            argv[left++] = argv[i];
    }
    return left;
}

static int run(const struct config *config, struct engine_import *import) {
    struct engine_options options = {
        .url = config->engine,
        .schema = config->engine_schema,
        .timeout_ms = config->engine_timeout_ms,
        .payload_limit_bytes = config->payload_limit_bytes,
    };
    char why[400] = "";
    enum err err = engine_import_hulykvs(&options, import, why, sizeof why);
    printf("%llu read, %llu written, %llu kept as hati has them, %llu not taken\n",
           (unsigned long long)import->read_count, (unsigned long long)import->written_count,
           (unsigned long long)import->kept_count, (unsigned long long)import->refused_count);
    if (err)
        return refuse(why);
    return import->refused_count ? refuse("some keys were not taken") : 0;
}

static bool is_of_hulykvs(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "--from-hulykvs", 14) == 0)
            return true;
    return false;
}

int command_import(int argc, char **argv) {
    unsigned shown = 0;
    struct engine_import import = {.refused = show_refused, .context = &shown};
    if (!is_of_hulykvs(argc, argv))
        return command_import_snapshot(argc, argv);
    int left = take_flags(argc, argv, &import);
    if (!import.from_schema || !import.from_schema[0])
        return refuse("from where? --from-hulykvs [SCHEMA]");
    struct config config;
    char why[400] = "out of memory";
    if (config_read(left, argv, &config, why, sizeof why))
        return refuse(why);
    log_set_level(config.log_level);
    int status = config.engine
                     ? run(&config, &import)
                     : refuse("into where? --engine postgresql://…, where hulykvs' tables are too");
    config_done(&config);
    return status;
}
