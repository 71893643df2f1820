/* SPDX-License-Identifier: MIT */
/* The schema, as steps that were ever made to it: forward only, each safe to run twice. */
#ifndef HATI_ENGINE_MIGRATE_H
#define HATI_ENGINE_MIGRATE_H

#include "engine/internal.h"

/* One step: statements that are run one after another, each by itself (no transaction:
 * CockroachDB's definitions in transactions are not whole). Placeholders as in struct sql. */
struct migration {
    const char *const *statements; /* ends with NULL */
    const char *what;
};

/* Step i brings the schema from version i to i + 1. */
extern const struct migration migrations[];
extern const unsigned migration_count;

#endif
