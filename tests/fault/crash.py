# SPDX-License-Identifier: MIT
"""Kills a server that is being written to, again and again, and looks at what is left."""
import os
import random
import shutil
import subprocess
import time

from harness import PATIENCE, Failure, Server, check, same
from model import Writer, now_ms, queue_of
from starts import Starts

WRITERS = 4
DEFAULT_ROUNDS = 44
SHARDS = (1, 2, 5, 3)
# A killed process loses nothing with any of them: an answer comes after the write, at the least.
DURABILITIES = ("commit", "interval:50", "commit", "interval:1", "interval:60000")
DATA = {"LOCK", "format", "journal", "shards", "broker", "reserve", "encryption"}


class Crash:
    def __init__(self, runner):
        self.random = random.Random(runner.seed)
        self.writers = [Writer(i, self.random.random()) for i in range(WRITERS)]
        self.server = Server()
        self.epoch = 0
        self.shards = 1
        self.half_starts = 0
        self.starts = Starts()
        self.export = None
        self.exports = [0, 0]  # that the kill cut off, that were done
        self.rounds_of = dict.fromkeys(DURABILITIES, 0)
        self.new_epoch()

    def new_epoch(self):
        """An empty store, and namespaces that it does not know."""
        self.epoch += 1
        line = self.server.line()
        same(line.ask("FLUSHALL hdd"), "+OK", "FLUSHALL")
        for writer in self.writers:
            name = "w%d-%d" % (writer.number, self.epoch)
            if writer.number % 2:
                name = "00000000-0000-0000-0000-%012d/%s" % (self.epoch, name)
            writer.use(name)
            same(line.ask("CREATEQUEUE %s hdd" % queue_of(name)), "+OK", "CREATEQUEUE")
        line.close()

    def flags_of(self, number):
        flags = ["--hdd-shards", str(self.shards)]
        if number % 3:
            flags += ["--write-buffer", "1m"]
        if has_large(number):
            flags += ["--payload-limit", "16m"]
        return flags + ["--durability", DURABILITIES[number % len(DURABILITIES)]]

    def begin_export(self):
        """A snapshot that is being taken when the server is killed, or just was."""
        self.path = os.path.join(self.server.dir, "snapshot")
        self.export = subprocess.Popen([Server.binary, "export", "--quiet", "--rpc-port",
                                        str(self.server.http), self.path], env=self.server.env,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish_export(self):
        """A whole file with its name, which can be read again, or none."""
        _, said = self.export.communicate(timeout=PATIENCE)
        status, self.export = self.export.returncode, None
        check(status in (0, 1, 3), "export ended with %d: %s" % (status, said))
        left = [name for name in os.listdir(self.server.dir) if name.startswith("snapshot")]
        same(left, ["snapshot"] if status == 0 else [], "what an export left, status %d" % status)
        self.exports[status == 0] += 1
        if status == 0:
            place = os.path.join(self.server.dir, "elsewhere")
            done = subprocess.run([Server.binary, "import", "--quiet", "--data-dir", place,
                                   "--payload-limit", "16m", self.path], env=self.server.env,
                                  capture_output=True, check=False, timeout=PATIENCE)
            same(done.returncode, 0, "import: %s" % done.stderr[-300:])
            shutil.rmtree(place)
            os.remove(self.path)

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
        self.starts.start(self.server)
        names = {name for name in os.listdir(os.path.join(self.server.dir, "data"))
                 if not name.startswith("shards-")}
        check(names <= DATA, "the data directory has %s" % (names - DATA))

    def round(self, number):
        for writer in self.writers:
            writer.start(self.server, has_large(number - 1) and writer.number == 0)
        time.sleep(self.random.uniform(0.05, 0.5))
        if number % 6 == 4:
            self.begin_export()
            time.sleep(self.random.uniform(0, 0.15))
        self.server.kill()
        for writer in self.writers:
            writer.finish()
        if self.export:
            self.finish_export()
        self.rounds_of[DURABILITIES[(number - 1) % len(DURABILITIES)]] += number > 0
        self.restart(number)
        for writer in self.writers:
            writer.compare(self.server)
        if number % 10 == 9:
            self.new_epoch()


def has_large(number):
    """Whether the server that the restart of that round begins takes large values."""
    return number % 4 == 2


def run(runner, rounds=None):
    rounds = rounds or int(os.environ.get("HATI_FAULT_ROUNDS") or DEFAULT_ROUNDS)
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
        runner.say("of them %d transactions with messages and %d values over 1 MiB; kills with %s; "
                   "%d snapshots cut off, %d whole; %s" % (
                       sum(w.batches for w in writers), sum(w.large for w in writers),
                       ", ".join("%s: %d" % pair for pair in crash.rounds_of.items()),
                       *crash.exports, crash.starts))
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
