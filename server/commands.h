/* SPDX-License-Identifier: MIT */
/* The subcommands of the binary. Each takes what stands behind its name on the command line and
 * returns the process's exit status. Main thread. */
#ifndef HATI_SERVER_COMMANDS_H
#define HATI_SERVER_COMMANDS_H

/* Serves until SIGTERM or SIGINT. */
int command_start(int argc, char **argv);
/* Signs a development token and prints it. */
int command_token(int argc, char **argv);
/* 0 where a server with this configuration answers on this machine. */
int command_healthcheck(int argc, char **argv);
/* Writes a snapshot of everything to a file. */
int command_export(int argc, char **argv);
/* Takes a snapshot in. (backup.c) */
int command_import_snapshot(int argc, char **argv);
/* The same, or takes entries over from another system's tables in the engine's database. */
int command_import(int argc, char **argv);
/* Prints a fresh key for --encryption-key-file. */
int command_encryption_key(int argc, char **argv);
/* Seals a data directory that no server has open anew, by the first key. */
int command_reencrypt(int argc, char **argv);
/* Lines of the options of `hati token`, for help. */
void command_token_print_help(void);

#endif
