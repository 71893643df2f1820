/* SPDX-License-Identifier: MIT */
/* Ctrl-C while the client waits, without a race: every wait looks at a pipe too. */
#ifndef HATI_CLIENT_INTERRUPT_H
#define HATI_CLIENT_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

enum interrupt_woke { WOKE_READY, WOKE_TIMEOUT, WOKE_INTERRUPT, WOKE_RESIZE };

/* From now on SIGINT and SIGTERM wake interrupt_wait instead of ending the process, and SIGWINCH
 * does; false: as before. Main thread. */
void interrupt_catch(bool on);

/* A signal came that nobody has taken yet: takes it. */
bool interrupt_take(void);

/* Waits until the file is ready for `events` of poll, or what they were is in *ret_events (may be
 * NULL); at most timeout_ms (-1: for ever). A second file for reading may be given, or -1; then
 * ret_events tells of the first alone, 0 for none. */
enum interrupt_woke interrupt_wait(int fd, short events, int other_fd, int64_t timeout_ms,
                                   short *ret_events);

#endif
