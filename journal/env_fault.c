/* SPDX-License-Identifier: MIT */
#include "journal/env_fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static _Thread_local const char *volatile inside;
static _Thread_local int depth;
static struct sigaction bus_before, segv_before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A thread that blocks them dies of them without a word. */
static void unblock(void) {
    static _Thread_local bool done;
    if (done)
        return;
    sigset_t faults;
    sigemptyset(&faults);
    sigaddset(&faults, SIGBUS);
    sigaddset(&faults, SIGSEGV);
    pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
    done = true;
}

void env_fault_enter(const char *dir) {
    unblock();
    inside = dir;
    depth++;
}

void env_fault_leave(void) {
    if (depth > 0 && --depth == 0) /* what began on another thread may end here */
        inside = NULL;
}

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

void env_fault_end(const char *dir) {
    say("hati: ended: ");
    say(dir);
    say("/data.mdb is damaged; stop, and bring the data back from an export\n");
    _exit(1);
}

static void fault(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    if (inside)
        env_fault_end(inside);
    /* what faulted faults again, and meets who was asked before */
    sigaction(signal, signal == SIGBUS ? &bus_before : &segv_before, NULL);
}

static void take_over(void) {
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &bus_before);
    sigaction(SIGSEGV, &action, &segv_before);
}

void env_fault_watch(void) {
    pthread_once(&once, take_over);
}
