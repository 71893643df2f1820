# SPDX-License-Identifier: MIT
"""Records everything a loaded server does to its disk, cuts the power at many places of the record,
and looks at what a server finds there."""
import json
import os
import random
import shutil
import threading

from disk_image import Disk, is_settled
from harness import Failure, Server, check, same, wait_until
from shim import Control

KEYS = 40
PAIRS = 12
WRITERS = 4
QUEUE = "torn"
LEASE_MS = 600000
MISSING = b"+ERR KEY_NOT_EXIST"


class History:
    """What was sent for one thing, when, and when it was acknowledged (in events of the record)."""

    def __init__(self):
        self.steps = []  # [sent, acknowledged or None, value]

    def allowed(self, cut, safe):
        """Values that may stand after the power went at that event: what was acknowledged by the
        event `safe` is not lost."""
        last = 0
        for i, (_, acknowledged, _) in enumerate(self.steps):
            if acknowledged is not None and acknowledged <= safe:
                last = i + 1
        values = [step[2] for step in self.steps[last:] if step[0] <= cut]
        return values + [self.steps[last - 1][2] if last else None]


class Load:
    """Threads that write keys, pairs of keys and messages, each on its own connection."""

    def __init__(self, server, control, seed):
        self.server, self.control, self.seed = server, control, seed
        self.keys, self.pairs = {}, {}
        self.published, self.acked = {}, {}
        self.stopping = threading.Event()
        self.failure = None

    def now(self):
        return self.control.get("events")

    def guarded(self, run, *arguments):
        try:
            run(*arguments)
        except Exception as failure:
            self.failure = self.failure or failure
            self.stopping.set()

    def write(self, number):
        pick = random.Random(self.seed + number)
        line = self.server.line()
        serial = 0
        while not self.stopping.is_set():
            steps, sent = [], b""
            for _ in range(pick.choice((1, 1, 4, 16))):
                serial += 1
                step, text = self.make(pick, number, serial)
                steps.append(step)
                sent += text
            begun = self.now()
            for step in steps:
                step[0] = begun
            line.send(sent)
            for step in steps:
                reply = line.read_line()
                if not reply.endswith(b"\n"):
                    raise Failure("the connection ended in the middle of a reply")
                if b"error" in reply or (reply.startswith(b"+ERR") and
                                         not reply.startswith(MISSING)):
                    raise Failure("a write was answered %r" % reply[:200])
                step[1] = self.now()
        line.close()

    def make(self, pick, number, serial):
        """One op: its step in a history, and its bytes."""
        dice = pick.random()
        value = "%d.%d.%s" % (number, serial, "x" * int(pick.expovariate(1 / 60)))
        if pick.random() < 0.01:
            value += "y" * pick.randrange(100000)
        step = [0, None, value]
        if dice < 0.15:
            name = "%d-%d" % (number, pick.randrange(PAIRS))
            self.pairs.setdefault(name, History()).steps.append(step)
            call = {"jsonrpc": "2.0", "id": 1, "method": "Storage.SetMany", "params": {
                "type": "hdd", "entries": {"left" + name: value, "right" + name: value}}}
            return step, json.dumps(call).encode() + b"\n"
        if dice < 0.4:
            self.published[value] = step
            return step, b"PUBLISH default %s %s\n" % (QUEUE.encode(), value.encode())
        key = "k%d-%d" % (number, pick.randrange(KEYS))
        self.keys.setdefault(key, History()).steps.append(step)
        if dice < 0.5:
            step[2] = None
            return step, b"DELETE hdd %s\n" % key.encode()
        return step, b"SET hdd 0 %s %s\n" % (key.encode(), value.encode())

    def consume(self):
        """Acknowledges about half of what comes."""
        pick = random.Random(self.seed)
        while not self.stopping.is_set():
            got = self.server.rpc("Broker.Receive", {"queue": QUEUE, "max": 20, "wait": 200})
            if "result" not in got:
                raise Failure("a RECEIVE was answered %r" % got)
            for message in got["result"]["messages"]:
                if pick.random() < 0.5:
                    step = [self.now(), None]
                    self.acked[message["payload"]] = step
                    answer = self.server.rpc("Broker.Ack", {"queue": QUEUE,
                                                            "receipt": message["receipt"]})
                    if "result" not in answer:
                        raise Failure("an ACK was answered %r" % answer)
                    step[1] = self.now()

    def write_last(self):
        """A key, and nothing behind it that would be synced sooner."""
        line = self.server.line()
        step = [self.now(), None, "last"]
        self.keys["last"] = History()
        self.keys["last"].steps.append(step)
        same(line.ask("SET hdd 0 last last"), "+OK", "SET")
        step[1] = self.now()
        line.close()

    def count(self):
        """Writes that were sent."""
        return len(self.published) + sum(len(history.steps) for histories in (
            self.keys, self.pairs) for history in list(histories.values()))

    def run(self, writes):
        threads = [threading.Thread(target=self.guarded, args=(self.write, number))
                   for number in range(WRITERS)]
        threads.append(threading.Thread(target=self.guarded, args=(self.consume,)))
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: self.stopping.is_set() or self.count() >= writes,
                       "%d writes" % writes, 120)
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()
        if self.failure:
            raise self.failure


def compare(load, server, cut, safe):
    """Nothing is there of what was sent behind the cut; all is of what was acknowledged by `safe`."""
    line = server.line()

    def get(key):
        found = line.ask("GET hdd " + key)
        return None if found.encode().startswith(MISSING) else found

    for key, history in load.keys.items():
        found = get(key)
        check(found in history.allowed(cut, safe), "%s is %.60r, and may be %.200r" % (
            key, found, history.allowed(cut, safe)))
    for name, history in load.pairs.items():
        left, right = get("left" + name), get("right" + name)
        same(left, right, "the halves of a write of two keys")
        check(left in history.allowed(cut, safe), "pair %s is %.60r, and may be %.200r" % (
            name, left, history.allowed(cut, safe)))
    line.close()
    found = drain(server)
    for payload, (sent, acknowledged, _) in load.published.items():
        ack_sent, acked = load.acked.get(payload, (None, None))
        count = found.pop(payload, 0)
        if acknowledged is not None and acknowledged <= safe:
            check(count == 1 or (ack_sent is not None and ack_sent <= cut),
                  "an acknowledged message came %d times: %.60r" % (count, payload))
        check(count <= 1, "a message came %d times: %.60r" % (count, payload))
        check(count == 0 or sent <= cut, "a message of the future came: %.60r" % payload)
        if acked is not None and acked <= safe:
            same(count, 0, "a message whose ACK was confirmed, %.60r" % payload)
    check(not found, "messages that nobody sent: %.300r" % found)


def drain(server):
    found = {}
    if "result" not in server.rpc("Broker.GetQueue", {"name": QUEUE}):
        return found
    while True:
        got = server.rpc("Broker.Receive", {"queue": QUEUE, "max": 1000})
        messages = got["result"]["messages"]
        if not messages:
            return found
        for message in messages:
            found[message["payload"]] = found.get(message["payload"], 0) + 1


def run(runner, images, writes):
    """Synced before each answer; and behind it, where what the last sync had is what may be missed."""
    record(runner, images, writes, "commit")
    record(runner, images // 4, writes, "interval:%d" % runner.random.choice((1, 20, 200)))


def record(runner, images, writes, durability):
    pick = random.Random(runner.seed)
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"), os.path.join(room, "log.bin"))
    flags = ("--write-buffer", "1m", "--hdd-shards", "2", "--durability", durability)
    server = Server(*flags, keep=room, env=control.env())
    try:
        server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd", "lease": LEASE_MS})
        first = control.get("events")
        load = Load(server, control, runner.seed)
        load.run(writes)
        wait_until(lambda: is_settled(control.log), "all to be synced")
        load.write_last()
        wait_until(lambda: is_settled(control.log), "the last write to be synced, with " + durability)
        last = control.get("events")
        server.kill()
        disk = Disk(control.log)
        cuts = sorted(pick.sample(range(first, last), min(images, last - first)))
        begun = pick.sample(range(1, first), min(images // 4, first - 1))
        for cut in sorted(begun) + cuts + [last]:
            disk.advance(cut)
            safe = cut if durability == "commit" or cut == last else disk.journal.synced
            try_image(runner, disk, load, cut, safe, pick, flags)
        runner.say("%s: %d cuts in a record of %d events, %d writes, %d messages" % (
            durability, len(cuts) + len(begun) + 1, last, load.count(), len(load.published)))
    finally:
        server.kill()
        control.close()
        server.close()


def try_image(runner, disk, load, cut, safe, pick, flags):
    """A server on what the disk may hold, and what it may not miss."""
    place = runner.room()
    try:
        disk.image(pick, os.path.join(place, "data"))
        control = Control(runner.library, os.path.join(place, "data"))
        control.set("clock_ms", LEASE_MS + 1000)
        try:
            server = Server(*flags, keep=place, env=control.env())
        except Failure as failure:
            runner.keep(place)
            raise Failure("power cut at event %d: %s" % (cut, failure)) from failure
        try:
            compare(load, server, cut, safe)
        except Failure as failure:
            server.kill()
            runner.keep(place)
            raise Failure("power cut at event %d: %s" % (cut, failure)) from failure
        finally:
            control.close()
            server.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)
