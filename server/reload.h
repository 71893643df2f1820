/* SPDX-License-Identifier: MIT */
/* What the server checks tokens with, and the certificates it shows: at start, and read anew on
 * SIGHUP. */
#ifndef HATI_SERVER_RELOAD_H
#define HATI_SERVER_RELOAD_H

#include "auth/auth.h"
#include "journal/datadir.h"
#include "server/config.h"
#include "server/tls.h"

/* Opens auth as the configuration says. Main thread. */
enum err reload_open_auth(const struct config *config, struct auth **ret_auth, char *ret_why,
                          size_t why_bytes) MUST_USE;

/* Reads the files of secrets and keys anew, and has the key set fetched. Where one of them is of no
 * use, all stays as it is; one line of the log says which. auth may be NULL. Main thread. */
void reload_auth(const struct config *config, struct auth *auth);

/* Reads certificates anew, in the same way. tls may be NULL. Main thread. */
void reload_tls(struct tls *tls);

/* Reads the keys of encryption anew, in the same way: the first of them seals from now on. Does
 * nothing where there is no such file. Main thread. */
void reload_keys(const struct config *config, struct datadir *datadir);

#endif
