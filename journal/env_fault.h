/* SPDX-License-Identifier: MIT */
/* LMDB believes its file: where bits of it have turned, it may read where nothing is. Then the
 * process ends with a line that names the file, instead of a signal that names nothing. */
#ifndef HATI_JOURNAL_ENV_FAULT_H
#define HATI_JOURNAL_ENV_FAULT_H

/* The thread reads or writes the environment in this directory until env_fault_leave; dir lives so
 * long. Calls may nest: the last one counts. */
void env_fault_enter(const char *dir);
void env_fault_leave(void);

/* Takes SIGBUS and SIGSEGV over, once; faults outside of an environment go to whoever had them.
 * Any thread. */
void env_fault_watch(void);

/* Ends the process with the line. */
_Noreturn void env_fault_end(const char *dir);

#endif
