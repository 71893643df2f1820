# SPDX-License-Identifier: MIT
"""Clients of all kinds that go on while things break, and what they may expect afterwards.

Every value is unique. What was acknowledged stands, what was refused before it ran does not, and of
what nobody knows each may stand or not, once."""
import collections
import hashlib
import json
import random
import threading
import time

import linear
from clients import DONE, NOT_APPLIED, UNKNOWN
from harness import Failure, check
from queue_ledger import Ledger

WORKSPACE = "11111111-2222-3333-4444-555555555555"
LEASE_MS = 3000
EPOCH_S = 0.4  # for so long a register is in use: many short histories find more than few long ones
REGISTERS = 2  # at once
ROUTES = {"work": ("default", ("work",)), "ids": ("default", ("ids",)),
          "fan": ("fan", ("fan-a", "fan-b"))}
QUEUES = ("work", "ids", "fan-a", "fan-b")
JSON = {"Content-Type": "application/json"}


def key_path(key, namespace="load"):
    return "/api2/%s/%s/%s" % (WORKSPACE, namespace, key)


class Tally:
    """What came of the calls, for people and for the check that work went on."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.last = time.monotonic()
        self.longest_gap = 0
        self.strange = []

    def note(self, what, reply, good):
        with self.lock:
            if reply.outcome == DONE:
                self.counts["acknowledged"] += 1
                now = time.monotonic()
                self.longest_gap = max(self.longest_gap, now - self.last)
                self.last = now
                if reply.status not in good:
                    self.strange.append("%s: %d %r" % (what, reply.status, reply.body[:200]))
            else:
                self.counts[reply.outcome] += 1
                if reply.status == 500:
                    self.strange.append("%s: 500 %r" % (what, reply.body[:200]))


class Worker(threading.Thread):
    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.random = random.Random(load.seed * 1000 + number)
        self.http = load.make_client()
        self.error = None
        self.count = 0

    def run(self):
        try:
            while not self.load.stopping.is_set():
                self.act()
        except Exception as error:
            self.error = error
        finally:
            self.http.close()

    def ask(self, method, path, body=None, headers=None, good=(200, 201, 204)):
        reply = self.http.ask(method, path, body, headers)
        self.load.tally.note("%s %s" % (method, path.split("?")[0][-40:]), reply, good)
        if reply.outcome != DONE:
            self.load.stopping.wait(0.02)
        return reply

    def settle(self):
        """Looks at what is left, once all is calm."""


class Writer(Worker):
    """Keys of its own, each written once."""

    def __init__(self, load, number):
        super().__init__(load, number)
        self.fates = {}

    def act(self):
        key = "w%d-%d" % (self.number, self.count)
        self.count += 1
        self.fates[key] = self.ask("PUT", key_path(key), "value of " + key).outcome

    def settle(self):
        client = self.load.make_client()
        for key, fate in self.fates.items():
            reply = self.load.calm(client, "GET", key_path(key))
            there = reply.status == 200
            if there:
                check(reply.body.decode() == "value of " + key, "%s holds %r" % (key, reply.body))
            check(fate != DONE or there, "the acknowledged write of %s is missing" % key)
            check(fate != NOT_APPLIED or not there, "%s was refused, and stands" % key)
            self.load.kept += there and fate == UNKNOWN
        client.close()


class Counter(Worker):
    """One key of its own and one of all."""

    def __init__(self, load, number):
        super().__init__(load, number)
        self.known = self.unknown = self.open = self.last = 0
        self.story = []  # what was not acknowledged

    def act(self):
        reply = self.ask("POST", key_path("c%d" % self.number) + "?op=incr&by=1", good=(200,))
        if reply.outcome == DONE:
            now = int(reply.body)
            self.open -= now - self.last - 1  # an unknown one may be carried out late
            check(now > self.last and self.open >= 0,
                  "the counter was %d, and one more made it %d; not acknowledged: %s" % (
                      self.last, now, self.story[-5:]))
            self.known, self.last = self.known + 1, now
        else:
            self.story.append((reply.outcome, reply.status, reply.body[-120:], reply.why))
        if reply.outcome == UNKNOWN:
            self.unknown += 1
            self.open += 1
        reply = self.ask("POST", key_path("shared") + "?op=incr&by=1", good=(200,))
        if reply.outcome == DONE:
            self.load.shared_done(int(reply.body))
        elif reply.outcome == UNKNOWN:
            with self.load.lock:
                self.load.shared_unknown += 1

    def settle(self):
        client = self.load.make_client()
        reply = self.load.calm(client, "GET", key_path("c%d" % self.number))
        client.close()
        value = int(reply.body) if reply.status == 200 else 0
        check(self.known <= value <= self.known + self.unknown,
              "counter %d: %d increments were acknowledged, %d are unknown, it is %d" % (
                  self.number, self.known, self.unknown, value))


class Registrar(Worker):
    """Reads and writes few keys that others use at the same time."""

    def __init__(self, load, number):
        super().__init__(load, number)
        self.history = []
        self.seen = {}

    def pick_op(self, key):
        """(kind, arguments, method, headers, body)"""
        self.count += 1
        value = "%d.%d" % (self.number, self.count)
        dice = self.random.random()
        if dice < 0.5:
            return "read", (), "GET", {}, None
        if dice < 0.7:
            return "write", (value,), "PUT", {}, value
        if dice < 0.78:
            return "delete", (), "DELETE", {}, None
        old = self.seen.get(key)
        if old is None or dice < 0.83:
            return "cas", (None, value), "PUT", {"If-None-Match": "*"}, value
        etag = hashlib.md5(old.encode()).hexdigest()
        return "cas", (old, value), "PUT", {"If-Match": '"%s"' % etag}, value

    def act(self):
        key = "r%d-%d" % (time.monotonic() // EPOCH_S, self.random.randrange(REGISTERS))
        kind, arguments, method, headers, body = self.pick_op(key)
        call = time.monotonic()
        reply = self.ask(method, key_path(key, "registers"), body, headers,
                         (200, 201, 204, 404, 412))
        answer = time.monotonic()
        if reply.outcome == NOT_APPLIED:
            return
        outcome = linear.UNKNOWN
        if reply.outcome == DONE:
            if kind == "read":
                outcome = reply.body.decode() if reply.status == 200 else None
                self.seen = {key: outcome}
            else:
                outcome = reply.status in (200, 201, 204)
                if outcome and kind != "delete":
                    self.seen = {key: body}
        self.history.append(linear.Op(key, kind, arguments, call, answer, outcome, self.number))


class Publisher(Worker):
    """Publishes one after the other; under an id of its own what it does not know goes again."""

    def __init__(self, load, number, route):
        super().__init__(load, number)
        self.route = route

    def act(self):
        router, queues = ROUTES[self.route]
        payload = "p%d/%07d" % (self.number, self.count)
        self.count += 1
        path = "/broker/routers/%s/messages?key=%s" % (router, queues[0])
        if self.route == "ids":
            path += "&id=" + payload.replace("/", "-")
        self.load.ledger.published(self.route, payload)
        reply = self.ask("POST", path, payload, {"Content-Type": "text/plain"}, (201,))
        while self.route == "ids" and reply.outcome != DONE and not self.load.stopping.is_set():
            self.load.ledger.published(self.route, payload)
            reply = self.ask("POST", path, payload, {"Content-Type": "text/plain"}, (201,))
        if reply.outcome == DONE:
            check(json.loads(reply.body)["queues"] == len(queues), "reached %r" % reply.body)
            self.load.ledger.confirmed(payload)
        elif reply.outcome == NOT_APPLIED and self.route != "ids":
            self.load.ledger.refuse(payload)


class Consumer(Worker):
    def __init__(self, load, number, queue):
        super().__init__(load, number)
        self.queue = queue

    def act(self):
        self.consume(500)

    def consume(self, wait_ms):
        """How many came, or None where that is not known."""
        reply = self.ask("POST", "/broker/queues/%s/receive?max=8&wait=%d&lease=%d" % (
            self.queue, wait_ms, LEASE_MS), good=(200,))
        if reply.outcome != DONE:
            self.load.ledger.doubt(self.queue)
            return None
        messages = json.loads(reply.body)["messages"]
        for message in messages:
            self.load.ledger.delivered(self.queue, message["payload"], message["attempt"],
                                       self.name)
        for message in messages:
            self.ack(message)
        return len(messages)

    def ack(self, message):
        ledger, payload, attempt = self.load.ledger, message["payload"], message["attempt"]
        ledger.acking(self.queue, payload, attempt)
        reply = self.ask("DELETE", "/broker/queues/%s/messages/%s" % (
            self.queue, message["receipt"]), good=(204, 404))
        if reply.outcome == DONE and reply.status == 204:
            ledger.acked(self.queue, payload, attempt)
        elif reply.outcome != UNKNOWN:
            ledger.refused(self.queue, payload, attempt)

    def drain(self):
        """Until nothing is left, whatever leases are still held by nobody."""
        end = time.monotonic() + 60
        while True:
            self.consume(200)
            reply = self.ask("GET", "/broker/queues/" + self.queue)
            if reply.status == 200:
                left = json.loads(reply.body)
                if left["ready"] + left["leased"] + left["delayed"] == 0:
                    return
            check(time.monotonic() < end, "%s is not drained: %r" % (self.queue, reply.body))


class LoadLedger(Ledger):
    def __init__(self):
        super().__init__({route: (router, queues) for route, (router, queues) in ROUTES.items()})
        self.refusals = set()
        self.calm_from = {}  # queue: when what was handed to nobody is surely back in its place
        self.in_disorder = set()  # payloads that came before that

    def refuse(self, payload):
        with self.lock:
            self.refusals.add(payload)

    def doubt(self, queue):
        """A receive was not answered: what it took comes again, perhaps uncounted."""
        with self.lock:
            self.calm_from[queue] = time.monotonic() + 2 * LEASE_MS / 1000

    def delivered(self, queue, payload, attempt, consumer):
        super().delivered(queue, payload, attempt, consumer)
        with self.lock:
            if time.monotonic() < self.calm_from.get(queue, 0):
                self.in_disorder.add((queue, payload))

    def check_order(self):
        """Of what was confirmed and came but once; what is unknown may be carried out late."""
        for payload in self.refusals:
            came = list(self.states[payload].copies)
            check(not came, "%s was refused, and came to %s" % (payload, came))
        for (queue, consumer, producer), payloads in self.seen.items():
            once = [payload for payload in payloads if self.states[payload].is_confirmed and
                    self.states[payload].times == 1 and
                    (queue, payload) not in self.in_disorder and
                    list(self.states[payload].copies[queue].attempts) == [1]]
            wrong = [pair for pair in zip(once, once[1:]) if pair[0] > pair[1]]
            check(not wrong, "%s: %s saw messages of %s in disorder: %s" % (
                queue, consumer, producer, wrong[:3]))


class Load:
    """make_client gives an Http; many of them work from start to stop."""

    def __init__(self, make_client, seed, broker=True):
        self.make_client, self.seed = make_client, seed
        self.tally, self.ledger = Tally(), LoadLedger()
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.shared, self.shared_unknown, self.kept = set(), 0, 0
        self.workers = [Writer(self, 0), Writer(self, 1), Counter(self, 2), Counter(self, 3)]
        self.workers += [Registrar(self, number) for number in range(4, 9)]
        if broker:
            self.define()
            self.workers += [Publisher(self, 10 + i, route) for i, route in enumerate(ROUTES)]
            self.workers += [Consumer(self, 20 + i, queue) for i, queue in enumerate(QUEUES)]

    def define(self):
        client = self.make_client()
        for path, body in [("queues/" + queue, {"type": "hdd", "dedup-window": 600000}
                            if queue == "ids" else {"type": "hdd"}) for queue in QUEUES] + \
                [("routers/fan", {"type": "fanout"})]:
            reply = self.calm(client, "PUT", "/broker/" + path, json.dumps(body), JSON)
            check(reply.status in (200, 201), "%s: %s %r" % (path, reply.status, reply.body))
        for queue in ROUTES["fan"][1]:
            reply = self.calm(client, "PUT", "/broker/routers/fan/bindings/" + queue)
            check(reply.status in (200, 201), "bind: %s %r" % (reply.status, reply.body))
        client.close()

    def calm(self, client, *request):
        """The answer, asked for until there is one: of what may be asked twice."""
        end = time.monotonic() + 30
        while True:
            reply = client.ask(*request)
            if reply.outcome == DONE:
                return reply
            check(time.monotonic() < end, "%s %s: %s %s %r %s" % (
                request[0], request[1], reply.outcome, reply.status, reply.body[:200], reply.why))
            time.sleep(0.05)

    def start(self):
        for worker in self.workers:
            worker.start()
        return self

    def acknowledged(self):
        return self.tally.counts["acknowledged"]

    def goes_on(self, patience=30, count=200):
        """Waits for that many more answers."""
        wanted, end = self.acknowledged() + count, time.monotonic() + patience
        while self.acknowledged() < wanted:
            self.look_at_workers()
            check(time.monotonic() < end, "work does not go on: %s" % dict(self.tally.counts))
            time.sleep(0.02)

    def work(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look_at_workers()
            time.sleep(0.05)

    def look_at_workers(self):
        for worker in self.workers:
            if worker.error:
                raise worker.error

    def shared_done(self, value):
        with self.lock:
            check(value not in self.shared, "two increments were both answered %d" % value)
            self.shared.add(value)

    def stop(self):
        self.stopping.set()
        for worker in self.workers:
            worker.join(60)
            check(not worker.is_alive(), "a client hangs: %s" % worker)

    def finish(self, runner):
        """Stops, looks at everything, says what it was."""
        self.stop()
        self.look_at_workers()
        for worker in self.workers:
            worker.settle()
        client = self.make_client()
        reply = self.calm(client, "GET", key_path("shared"))
        client.close()
        total = int(reply.body) if reply.status == 200 else 0
        check(len(self.shared) <= total <= len(self.shared) + self.shared_unknown,
              "all: %d increments were acknowledged, %d are unknown, it is %d" % (
                  len(self.shared), self.shared_unknown, total))
        history = [op for worker in self.workers if isinstance(worker, Registrar)
                   for op in worker.history]
        why = linear.explain(history)
        check(why is None, "not linearizable: %s" % why)
        for worker in self.workers:
            if isinstance(worker, Consumer):
                worker.drain()
        self.ledger.compare(None)
        check(not self.tally.strange, "strange answers: %s" % self.tally.strange[:5])
        counts = self.tally.counts
        runner.say("%d acknowledged, none lost or doubled; %d unknown, %d refused; %d operations on"
                   " %d registers linearizable; %d messages; longest silence %.1f s" % (
                       counts["acknowledged"], counts[UNKNOWN], counts[NOT_APPLIED], len(history),
                       len({op.key for op in history}), self.ledger.deliveries,
                       self.tally.longest_gap))
