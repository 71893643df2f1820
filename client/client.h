/* SPDX-License-Identifier: MIT */
/* `hati client`: speaks lines to a server, for people at a terminal and for scripts. */
#ifndef HATI_CLIENT_CLIENT_H
#define HATI_CLIENT_CLIENT_H

/* Exit statuses, of the whole and of each command. */
enum client_status {
    CLIENT_GOOD = 0,
    CLIENT_REFUSED = 1, /* the server answered an error */
    CLIENT_USAGE = 2,   /* nothing was sent: the words make no sense */
    CLIENT_AWAY = 3     /* no connection, or it was lost before the answer */
};

/* Runs the client with what stands behind `client` on the command line; returns the exit status.
 * Main thread; blocks until it is done. */
int client_main(int argc, char **argv);

/* The text of `hati help client`, to standard output. */
void client_print_help(void);

#endif
