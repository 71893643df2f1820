/* SPDX-License-Identifier: MIT */
/* The manual page hati(1), made of the same option table as the help. */
#ifndef HATI_SERVER_MANUAL_H
#define HATI_SERVER_MANUAL_H

/* Prints it as roff to standard output. */
void manual_print(void);

#endif
