# SPDX-License-Identifier: MIT
"""Kills a server that is being written to, again and again, and looks at what is left."""
import os
import random
import subprocess
import time

from harness import Failure, Server, same
from model import Writer, now_ms

WRITERS = 4
DEFAULT_ROUNDS = 52
SHARDS = (1, 2, 5, 3)


class Crash:
    def __init__(self, runner):
        self.random = random.Random(runner.seed)
        self.writers = [Writer(i, self.random.random()) for i in range(WRITERS)]
        self.server = Server()
        self.epoch = 0
        self.shards = 1
        self.half_starts = 0
        self.new_epoch()

    def new_epoch(self):
        """An empty store, and namespaces that it does not know."""
        self.epoch += 1
        line = self.server.line()
        same(line.ask("FLUSHALL hdd"), "+OK", "FLUSHALL")
        line.close()
        for writer in self.writers:
            name = "w%d-%d" % (writer.number, self.epoch)
            if writer.number % 2:
                name = "00000000-0000-0000-0000-%012d/%s" % (self.epoch, name)
            writer.use(name)

    def flags_of(self, number):
        flags = ["--hdd-shards", str(self.shards)]
        if number % 3:
            flags += ["--write-buffer", "1m"]
        if number % 13 == 5:
            flags += ["--durability", "interval:50"]
        return flags

    def kill_half_started(self, flags):
        """Launches the server on its data and kills it before it is up, most likely."""
        command = [Server.binary, "start", "--data-dir", os.path.join(self.server.dir, "data"),
                   "--tcp-port", "0", "--rpc-port", "0"] + flags
        process = subprocess.Popen(command, env=self.server.env, stdout=subprocess.DEVNULL,
                                   stderr=self.server.log)
        time.sleep(self.random.uniform(0, 0.1))
        if process.poll() is not None:
            raise Failure("the server ended by itself with %d: %s" % (
                process.returncode, self.server.log_text()[-500:]))
        process.kill()
        process.wait()
        self.half_starts += 1

    def restart(self, number):
        """In every 8th round with another number of shards, killed while it rebuilds."""
        if number % 8 == 7:
            for _ in range(self.random.randrange(1, 4)):
                self.shards = self.random.choice([n for n in SHARDS if n != self.shards])
                self.kill_half_started(self.flags_of(number))
        elif number % 8 == 3:
            self.kill_half_started(self.flags_of(number))
        self.server.flags = self.flags_of(number)
        self.server.process.stdout.close()
        self.server.log.close()
        self.server.start()

    def round(self, number):
        for writer in self.writers:
            writer.start(self.server)
        time.sleep(self.random.uniform(0.05, 0.5))
        self.server.kill()
        for writer in self.writers:
            writer.finish()
        self.restart(number)
        for writer in self.writers:
            writer.compare(self.server)
        if number % 10 == 9:
            self.new_epoch()


def run(runner):
    rounds = int(os.environ.get("HATI_FAULT_ROUNDS") or DEFAULT_ROUNDS)
    crash = Crash(runner)
    number = 0
    try:
        for number in range(rounds):
            crash.round(number)
        writers = crash.writers
        runner.say("%d kills and %d half starts: %d writes acknowledged, none lost; of %d not "
                   "acknowledged %d were kept" % (
                       rounds, crash.half_starts, sum(w.acknowledged for w in writers),
                       sum(w.unknown for w in writers), sum(w.survived for w in writers)))
    except Failure as failure:
        keep = os.environ.get("HATI_FAULT_KEEP")
        if keep:
            crash.server.kill()
            os.rename(crash.server.dir, keep)
        raise Failure("round %d (seed %d, flags %s, at %.0f): %s" % (
            number, runner.seed, crash.server.flags, now_ms(), failure)) from failure
    finally:
        for writer in crash.writers:
            if writer.thread and writer.thread.is_alive():
                crash.server.kill()
                writer.thread.join()
        crash.server.close()
