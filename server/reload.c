/* SPDX-License-Identifier: MIT */
#include "server/reload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WHY_BYTES 512

enum { SECRET, OLD_SECRET, PEM, JWKS, FILE_COUNT };

/* Where the texts come from differs, all else does not. */
static struct auth_options options_of(const struct config *config,
                                      const char *const texts[FILE_COUNT]) {
    const char *old = texts[OLD_SECRET];
    return (struct auth_options){
        .secret = slice_of_cstr(texts[SECRET]),
        .old_secret = slice_of_cstr(old && old[0] ? old : NULL), /* none yet, or no longer */
        .public_key_pem = slice_of_cstr(texts[PEM]),
        .jwks = slice_of_cstr(texts[JWKS]),
        .jwks_url = config->jwks_url,
        .jwks_ca_file = config->jwks_ca,
        .jwks_allow_http = config->jwks_allow_http,
        .jwks_refresh_ms = config->jwks_refresh_ms,
        .jwks_cooldown_ms = config->jwks_cooldown_ms,
        .allow_weak_secret = config->allow_weak_secret,
        .audience = slice_of_cstr(config->jwt_audience),
        .issuer = slice_of_cstr(config->jwt_issuer),
    };
}

enum err reload_open_auth(const struct config *config, struct auth **ret_auth, char *ret_why,
                          size_t why_bytes) {
    const char *const texts[FILE_COUNT] = {config->secret.text, config->old_secret.text,
                                           config->public_key_pem.text, config->jwks.text};
    struct auth_options options = options_of(config, texts);
    return auth_open(&options, ret_auth, ret_why, why_bytes);
}

/* What came from elsewhere than a file is as it was. */
static enum err read_all(const struct config_file *const files[FILE_COUNT], char *read[FILE_COUNT],
                         const char *texts[FILE_COUNT], char *ret_why) {
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        enum err err = config_read_again(files[i], &read[i], ret_why, WHY_BYTES);
        if (err)
            return err;
        texts[i] = read[i] ? read[i] : files[i]->text;
    }
    return OK;
}

void reload_auth(const struct config *config, struct auth *auth) {
    const struct config_file *const files[FILE_COUNT] = {&config->secret, &config->old_secret,
                                                         &config->public_key_pem, &config->jwks};
    char *read[FILE_COUNT] = {NULL};
    const char *texts[FILE_COUNT];
    char why[WHY_BYTES];
    if (!auth) {
        log_info("SIGHUP: no credentials are configured, of tokens there is nothing to read anew");
        return;
    }
    enum err err = read_all(files, read, texts, why);
    if (!err) {
        struct auth_options options = options_of(config, texts);
        err = auth_reload(auth, &options, why, sizeof why);
    }
    if (err)
        log_error("SIGHUP: secrets and keys stay as they were: %s", why);
    else
        log_info("SIGHUP: secrets and keys read anew, %u are in use", auth_key_count(auth));
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        if (read[i])
            explicit_bzero(read[i], strlen(read[i]));
        free(read[i]);
    }
}

void reload_tls(struct tls *tls) {
    char why[WHY_BYTES] = "no memory";
    if (!tls)
        return;
    if (tls_reload(tls, why, sizeof why))
        log_error("SIGHUP: certificates stay as they were: %s", why);
    else
        log_info("SIGHUP: certificates read anew");
}

void reload_keys(const struct config *config, struct datadir *datadir) {
    struct seal_keys *fresh;
    char why[WHY_BYTES];
    if (!config->encryption_key_file)
        return;
    enum err err = seal_keys_open(config->encryption_key_file, &fresh, why, sizeof why);
    if (!err)
        err = datadir_renew_keys(datadir, fresh, why, sizeof why);
    if (err)
        log_error("SIGHUP: keys of encryption stay as they were: %s", why);
    else
        log_info("SIGHUP: keys of encryption read anew, %08" PRIx32 " seals",
                 seal_keys_id(datadir_keys(datadir), 0));
}
