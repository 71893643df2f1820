/* SPDX-License-Identifier: MIT */
/* What the client was told: flags over environment over defaults. */
#ifndef HATI_CLIENT_OPTIONS_H
#define HATI_CLIENT_OPTIONS_H

#include "base/arena.h"

#define OPTIONS_WHY_BYTES 512
#define OPTIONS_TOKEN_MAX 16384
#define OPTIONS_PIN_BYTES 32

struct options {
    const char *tcp_host;
    const char *tcp_port;
    const char *tcp_socket; /* not NULL: instead of host and port */
    bool tls;
    bool tls_pinned;                          /* the server's certificate is the one of tls_pin */
    unsigned char tls_pin[OPTIONS_PIN_BYTES]; /* its SHA-256 */
    const char *tls_ca;                       /* PEM file; NULL: the system's authorities */
    const char *tls_cert, *tls_key;           /* PEM files, shown to the server; NULL: none */
    const char *use;   /* [WORKSPACE/]NAMESPACE; NULL: the server's default */
    const char *token; /* NULL: none */
    bool table, raw, ack;
    int64_t timeout_ms; /* without a byte from the server for so long it is given up; 0: never */
    int64_t every_ms;   /* of stats */
    bool stats;         /* `stats` stands where a command would, flags around it */
    char place[300];    /* the server as people are told */
    unsigned words;     /* index of the first word of the command in argv; argc: none */
};

/* Reads the flags in front of the command (`--` ends them), those behind `stats`, HATI_TCP_HOST,
 * HATI_TCP_PORT, HATI_TCP_SOCKET, HATI_TCP_TLS, HATI_TLS_CA, HATI_TLS_FINGERPRINT,
 * HATI_TOKEN_FILE and HATI_TOKEN. Texts live in argv, the
 * environment and the arena. False: ret_why is one line. Main thread, before others. */
bool options_read(int argc, char **argv, struct arena *arena, struct options *ret_options,
                  char ret_why[OPTIONS_WHY_BYTES]);

/* The flags as help text. */
void options_print_help(void);

#endif
