# SPDX-License-Identifier: MIT
"""Backups while the long soak goes on, and now and then a look at what is in one."""
import concurrent.futures
import json
import multiprocessing
import os
import shutil
import subprocess
import threading
import time

from harness import PATIENCE, Failure, Server, check, same

FIXED_KEYS = 200


def fixed_value(i):
    return "%d." % i + "f" * (i * 7)


def hati(server_env, *words):
    done = subprocess.run([Server.binary, *words], env=server_env, check=False,
                          capture_output=True, timeout=10 * PATIENCE)
    check(done.returncode == 0, "hati %s: %d %s" % (words[0], done.returncode, done.stderr[-500:]))


def give_way():
    """To look is no part of the load: it has what the machine has to spare."""
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def look(server_env, room, path, mark, customers):
    """Imports it elsewhere, and reads there what has to be in it."""
    place, text = os.path.join(room, "elsewhere"), os.path.join(room, "text")
    hati(server_env, "import", "--data-dir", place, path)
    hati(server_env, "export", "--data-dir", place, "--format", "ndjson", text)
    entries, messages = {}, set()
    with open(text, encoding="utf-8") as lines:
        for item in map(json.loads, lines):
            if item.get("kind") == "entry":
                entries[item["key"]] = item["value"]
            elif item.get("kind") == "message":
                name = (item["queue"], item["payload"].split("/")[0])
                check(name not in messages, "a message is twice in a backup: %s" % (name,))
                messages.add(name)
    shutil.rmtree(place)
    os.remove(text)
    os.remove(path)
    same(entries.get("soak.mark"), mark, "what was written right before the backup")
    for i in range(FIXED_KEYS):
        same(entries.get("soak.fixed.%d" % i), fixed_value(i), "a key that nobody touches")
    for number in range(customers):
        x, y = (int(entries.get("c%d.%s" % (number, name), 0)) for name in "xy")
        check(x == -y, "half a transaction in a backup: c%d %d %d" % (number, x, y))


class Backups:
    def __init__(self, server, room, customers):
        self.server, self.room, self.customers = server, room, customers
        self.count = self.looks = 0
        self.slowest = 0.0
        self.error = self.thread = self.looking = None
        self.looker = concurrent.futures.ProcessPoolExecutor(
            1, multiprocessing.get_context("fork"), give_way)
        self.looker.submit(os.getpid).result()  # forked while nothing goes on here

    def begin(self, with_look):
        self.finish()
        self.thread = threading.Thread(target=self.run, args=(with_look,))
        self.thread.start()

    def run(self, with_look):
        path = os.path.join(self.room, "backup.%d" % with_look)
        try:
            if with_look:
                self.finish_look()
            line = self.server.line()
            mark = line.ask("INCR hdd soak.mark")
            start = time.monotonic()
            hati(self.server.env, "export", "--rpc-port", str(self.server.http), path)
            self.slowest = max(self.slowest, time.monotonic() - start)
            line.ask("INCR hdd soak.mark")
            line.close()
            self.count += 1
            if with_look:
                self.looking = self.looker.submit(look, self.server.env, self.room, path, mark,
                                                  self.customers)
        except Exception as error:
            self.error = error

    def finish_look(self):
        if self.looking:
            self.looking.result(20 * PATIENCE)
            self.looking = None
            self.looks += 1

    def finish(self):
        """The backup, before its server may end; nobody waits for a look."""
        if self.thread:
            self.thread.join()
        if self.error or self.looking and self.looking.done() and self.looking.exception():
            error = self.error or self.looking.exception()
            raise Failure("a backup: %r" % error) from error

    def end(self):
        self.finish()
        try:
            self.finish_look()
        except Exception as error:
            raise Failure("a backup: %r" % error) from error

    def close(self):
        self.looker.shutdown(wait=False, cancel_futures=True)
