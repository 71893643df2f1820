/* SPDX-License-Identifier: MIT */
/* `hati encryption-key`. */
#include <stdio.h>
#include <string.h>

#include "journal/seal.h"
#include "server/commands.h"

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
