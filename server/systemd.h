/* SPDX-License-Identifier: MIT */
/* What systemd and a service say to each other: sockets that it has opened (sd_listen_fds(3)) and
 * how far the service is (sd_notify(3)). Both are a few lines of protocol; elsewhere they do
 * nothing. Main thread. */
#ifndef HATI_SERVER_SYSTEMD_H
#define HATI_SERVER_SYSTEMD_H

/* The listening socket of that name (FileDescriptorName=), which passes to the caller; -1: there is
 * none. */
int systemd_take_socket(const char *name);

/* Warns of the sockets that nobody took; once all doors are open. */
void systemd_tell_untaken(void);

/* Tells lines like READY=1. */
void systemd_notify(const char *state);

#endif
