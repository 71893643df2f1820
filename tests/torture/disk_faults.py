# SPDX-License-Identifier: MIT
"""A disk that refuses: a sync or a write that fails while a server is written to."""
import collections
import errno
import os
import threading
import time
from http.client import HTTPException

from harness import PATIENCE, Failure, Server, check, wait_until
from disk_image import Disk
from power_cut import LEASE_MS, QUEUE, Load, compare, try_image
from shim import Control

FLAGS = ("--write-buffer", "1m")
NEVER = 1 << 62  # an event behind all
CLEAR = ("UNAVAILABLE", "STORAGE_FULL", "the connection ended")  # what who writes may be told


class Patient(Load):
    """Goes on until it is refused, or told to stop."""

    def guarded(self, run, *arguments):
        try:
            run(*arguments)
        except Exception as failure:
            self.refused.append(failure)

    def read(self):
        """Reads go on, and are right, until the process has ended."""
        line = self.server.line()
        try:
            while not self.stopping.is_set():
                failed = self.control.get("failed")
                reply = line.ask("GET hdd steady")
                check(reply == "good", "a read beside the fault was answered %r" % reply)
                self.reads += failed > 0
                self.stopping.wait(0.002)
        except (OSError, Failure) as failure:
            if "no newline" not in str(failure) and isinstance(failure, Failure):
                self.wrong = failure
        finally:
            line.close()

    def judge(self):
        """Who was refused was told so clearly, or hung up on by the end of the process."""
        if self.wrong:
            raise self.wrong
        for failure in self.refused:
            check(isinstance(failure, (OSError, HTTPException)) or
                  any(word in str(failure) for word in CLEAR), "a caller was told %r" % failure)

    def run_while(self, wait):
        self.refused, self.reads, self.wrong = [], 0, None
        threads = [threading.Thread(target=self.read)]
        threads += [threading.Thread(target=self.guarded, args=(self.write, number))
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
    outcomes = collections.Counter()
    reads = 0
    for number in range(rounds):
        what = ("sync", "write")[number % 2]
        error = (errno.EIO, errno.ENOSPC)[number % 4 == 3]
        after = 1 + runner.random.randrange(8 if number < rounds // 2 else 400)
        try:
            ended, more = one(runner, what, after, error)
        except Failure as failure:
            raise Failure("%s number %d fails with %s: %s" % (
                what, after, errno.errorcode[error], failure)) from failure
        outcomes["%s, %s: %s" % (what, errno.errorcode[error], "ended" if ended else "went on")] += 1
        reads += more
    runner.say("%d faults (%s); nothing acknowledged was lost, %d reads answered meanwhile" % (
        rounds, ", ".join("%s %d" % pair for pair in sorted(outcomes.items())), reads))
    check(any("ended" in name for name in outcomes), "no fault was noticed")


def is_of_spare(path):
    """Of a segment that is made for later: nothing is in it, and it is not used then."""
    return os.path.basename(path).startswith("spare-") or os.path.basename(path) == "journal"


def on_the_disk(runner, control, load):
    """What was acknowledged is there by the syncs that came off, whatever the system's cache holds:
    a system that could not write it forgets that it was written."""
    disk = Disk(control.log)
    disk.advance(NEVER)
    try_image(runner, disk, load, NEVER, NEVER, runner.random, FLAGS)


def after_it(server):
    """With what the server ended; None where it takes a write again."""
    answers = [""]

    def is_told():
        try:
            line = server.line()
            answers[0] = line.ask("SET hdd 0 after fault")
            line.close()
        except (OSError, Failure):  # it is about to end
            pass
        return answers[0] == "+OK" or server.process.poll() is not None

    wait_until(is_told, "neither an end nor a write after the fault")
    return None if answers[0] == "+OK" else server.process.poll()


def one(runner, what, after, error):
    """Whether the server ended of it, and how many reads were answered from the fault on."""
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"), os.path.join(room, "log.bin"))
    server = Server(*FLAGS, keep=room, env=control.env())
    try:
        server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd", "lease": LEASE_MS})
        line = server.line()
        check(line.ask("SET hdd 0 steady good") == "+OK", "SET")
        line.close()
        load = Patient(server, control, runner.seed)
        control.fail(what, after, error)
        deadline = time.monotonic() + 4 * PATIENCE  # for 400 syncs of a slow disk

        def until_it_hit():
            while not control.get("failed"):
                check(time.monotonic() < deadline, "the fault never came")
                time.sleep(0.005)
            until = time.monotonic() + 0.3
            while server.process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)

        load.run_while(until_it_hit)
        load.judge()
        status = after_it(server)
        if status is None:
            line = server.line()
            check(line.ask("GET hdd after") == "fault", "a read after the fault")
            line.close()
            server.kill()
        else:
            check(status > 0, "the server ended by signal %d: %s" % (
                -status, server.log_text()[-2000:]))
            check('"error"' in server.log_text() or '"fatal"' in server.log_text(),
                  "no line says why it ended: %.300r" % server.log_text())
        on_the_disk(runner, control, load)
        control.heal()
        control.set("clock_ms", LEASE_MS + 1000)
        server.process.stdout.close()
        server.log.close()
        server.start()
        try:
            compare(load, server, NEVER, NEVER)
        except Failure as failure:
            server.kill()
            runner.keep(room)
            raise Failure("%s; status %s" % (failure, status)) from failure
        check(status is not None or what == "write" or is_of_spare(control.unsynced()),
              "a server believes its disk after sync %d failed, of %s" % (after, control.unsynced()))
        return status is not None, load.reads
    finally:
        if server.process.poll() is None:
            server.kill()
        control.close()
        server.close()
