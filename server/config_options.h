/* SPDX-License-Identifier: MIT */
/* The one table of what a server can be told; flags, environment and file all go through it. */
#ifndef HATI_SERVER_CONFIG_OPTIONS_H
#define HATI_SERVER_CONFIG_OPTIONS_H

#include "server/config.h"

enum config_kind {
    CONFIG_BOOL,
    CONFIG_PORT,
    CONFIG_COUNT,
    CONFIG_TEXT,
    CONFIG_MS,
    CONFIG_BYTES,
    CONFIG_DURABILITY,
    CONFIG_EVICTION,
    CONFIG_LEVEL,
    CONFIG_UUID,
    CONFIG_ORIGIN,
    CONFIG_PATH,     /* of a URL, before every other */
    CONFIG_CONTENT,  /* a file's name; its content is the value */
    CONFIG_DATABASE, /* holds a password */
    CONFIG_SCHEMA,
    CONFIG_PREPARE,
    CONFIG_SHARE, /* 0 to 1 */
    CONFIG_ADDRESS,
    CONFIG_PEERS,
    CONFIG_RATE,
    CONFIG_NETWORKS,
    CONFIG_CONFIG /* the configuration file itself */
};

struct config_option {
    const char *name;
    const char *value; /* how help calls it */
    enum config_kind kind;
    size_t at;         /* in struct config */
    unsigned min, max; /* CONFIG_COUNT */
    const char *doc;
};

#define CONFIG_AT(field) offsetof(struct config, field)

extern const struct config_option config_options[];
extern const size_t config_option_count;

/* NULL: there is none of that name. */
const struct config_option *config_option_find(struct slice name);

#endif
