# SPDX-License-Identifier: MIT
"""A disk that refuses: a sync or a write that fails while a server is written to."""
import errno
import os
import threading
import time

from harness import PATIENCE, Failure, Server, check, wait_until
from power_cut import LEASE_MS, QUEUE, Load, compare
from shim import Control

NEVER = 1 << 62  # an event behind all


class Patient(Load):
    """Goes on until it is refused, or told to stop."""

    def guarded(self, run, *arguments):
        try:
            run(*arguments)
        except Exception as failure:
            self.refused.append(failure)

    def run_while(self, wait):
        self.refused = []
        threads = [threading.Thread(target=self.guarded, args=(self.write, number))
                   for number in range(3)]
        threads.append(threading.Thread(target=self.guarded, args=(self.consume,)))
        for thread in threads:
            thread.start()
        try:
            wait()
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()


def run(runner, rounds):
    """One fault a round, at another place each time."""
    ended = went_on = 0
    for number in range(rounds):
        what = ("sync", "write")[number % 2]
        error = (errno.EIO, errno.ENOSPC)[number % 4 == 3]
        after = 1 + runner.random.randrange(8 if number < rounds // 2 else 400)
        try:
            if one(runner, what, after, error):
                ended += 1
            else:
                went_on += 1
        except Failure as failure:
            raise Failure("%s number %d fails with %s: %s" % (
                what, after, errno.errorcode[error], failure)) from failure
    runner.say("%d faults: %d servers ended with a line, %d went on; nothing acknowledged was lost" % (
        rounds, ended, went_on))
    check(ended, "no fault was noticed")


def one(runner, what, after, error):
    """True where the server ended of it."""
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"))
    server = Server("--write-buffer", "1m", keep=room, env=control.env())
    try:
        server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd", "lease": LEASE_MS})
        load = Patient(server, control, runner.seed)
        control.fail(what, after, error)
        deadline = time.monotonic() + PATIENCE

        def until_it_hit():
            while not control.get("failed"):
                check(time.monotonic() < deadline, "the fault never came")
                time.sleep(0.005)
            until = time.monotonic() + 0.3
            while server.process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)

        load.run_while(until_it_hit)
        status = server.process.poll()
        if status is None:
            line = server.line()
            answers = []
            wait_until(lambda: answers.append(line.ask("SET hdd 0 after fault")) or
                       answers[-1] == "+OK", "a write after the fault: %r" % answers[-3:])
            check(line.ask("GET hdd after") == "fault", "a read after the fault")
            line.close()
            server.kill()
        else:
            check(status > 0, "the server ended by signal %d" % -status)
            check('"error"' in server.log_text() or '"fatal"' in server.log_text(),
                  "no line says why it ended: %.300r" % server.log_text())
        control.heal()
        control.set("clock_ms", LEASE_MS + 1000)
        server.process.stdout.close()
        server.log.close()
        server.start()
        try:
            compare(load, server, NEVER)
        except Failure as failure:
            server.kill()
            runner.keep(room)
            raise Failure("%s; status %s" % (failure, status)) from failure
        return status is not None
    finally:
        if server.process.poll() is None:
            server.kill()
        control.close()
        server.close()
