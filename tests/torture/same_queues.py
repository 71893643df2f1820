# SPDX-License-Identifier: MIT
"""Random operations on queues through all doors against a plain model of them: memory, hdd, an engine.
The clock moves in whole hours, and what ends does so half an hour before or after one, so that it is
known what has ended. Each storage has a model of its own: those that die in the same hour may come to
the dead ones in any order."""
import collections
import os
import random

from broker_doors import DOORS
from harness import Failure, Server, check, same, wait_until
from shim import Control

HOUR = 3600000
HALF = HOUR // 2
FLAGS = ("--hdd-shards", "2", "--write-buffer", "1m")
OPTIONS = {
    "plain": {}, "bounded": {"max_length": 5}, "head": {"max_length": 5, "overflow": "drop-head"},
    "mortal": {"max_deliver": 2, "dead_letter": "dead"},
    "short": {"ttl": 2 * HOUR + HALF, "dead_letter": "dead"}, "dead": {},
    "once": {"dedup_window": 3 * HOUR + HALF}, "none": {}}
LEASE = HOUR + HALF
FAN = ("plain", "bounded")  # what a fan-out reaches
BEFORE_A_RESTART = 60     # operations
TOLD = 15


class Message:
    def __init__(self, payload, priority, place, expires):
        self.payload, self.priority, self.place, self.expires = payload, priority, place, expires
        self.state, self.due, self.attempt, self.receipt = "ready", None, 0, None
        self.home = self.reason = None

    def order(self):
        return -self.priority, self.place


class Queue:
    def __init__(self, name):
        self.name, self.options = name, OPTIONS[name]
        self.messages, self.paused, self.seen = [], False, {}

    def of(self, state):
        return [message for message in self.messages if message.state == state]

    def ready(self):
        return sorted(self.of("ready"), key=Message.order)

    def most(self):
        return self.options.get("max_length", 0)

    def is_full(self):
        return self.most() and len(self.of("ready")) + len(self.of("delayed")) >= self.most()

    def refuses(self):
        if self.options.get("overflow") == "drop-head":
            return len(self.of("delayed")) >= self.most()
        return self.is_full()


class Model:
    def __init__(self):
        self.now = self.places = 0
        self.queues = {name: Queue(name) for name in OPTIONS}

    def publish(self, names, message, delay, id):
        """Which queues it reaches: names, or None where one of them is full."""
        queues = [self.queues[name] for name in names]
        new = [queue for queue in queues if not (
            id and "dedup_window" in queue.options and queue.seen.get(id, 0) > self.now)]
        if any(queue.refuses() for queue in new):
            return None
        self.places += 1
        for queue in new:
            while queue.is_full():
                queue.messages.remove(min(queue.of("ready"),
                                          key=lambda one: (one.priority, one.place)))
            ttl = message["ttl"] or queue.options.get("ttl", 0)
            made = Message(message["payload"], message["priority"], self.places,
                           self.now + ttl if ttl else None)
            if delay:
                made.state, made.due = "delayed", self.now + delay
            queue.messages.append(made)
            if id and "dedup_window" in queue.options:
                queue.seen[id] = self.now + queue.options["dedup_window"]
        return names

    def give_back(self, queue, message, delay, place):
        message.receipt = None
        most = queue.options.get("max_deliver", 0)
        if most and message.attempt >= most:
            self.kill(queue, message, "max-deliver", place)
        elif message.expires is not None and message.expires <= self.now:
            self.kill(queue, message, "expired", place)
        else:
            message.state, message.due = ("delayed", self.now + delay) if delay else ("ready", None)

    def kill(self, queue, message, reason, place):
        queue.messages.remove(message)
        if "dead_letter" not in queue.options:
            return
        dead = Message(message.payload, message.priority, place, None)
        dead.home, dead.reason = queue.name, reason
        self.queues[queue.options["dead_letter"]].messages.append(dead)

    def tick(self, to):
        """What ends in the same hour does so at once, or hour by hour where the clock goes so."""
        self.now = to
        self.places += 1
        place = self.places
        for queue in list(self.queues.values()):
            for message in list(queue.messages):
                if message.state == "leased":
                    if message.due <= self.now:
                        self.give_back(queue, message, 0, place)
                elif message.expires is not None and message.expires <= self.now:
                    self.kill(queue, message, "expired", place)
                elif message.state == "delayed" and message.due <= self.now:
                    message.state, message.due = "ready", None

    def redrive(self, queue):
        moved, before = 0, None
        for message in queue.ready():
            if message.home is None:
                continue
            home = self.queues[message.home]
            if message.order() != before:
                self.places += 1
            before = message.order()
            queue.messages.remove(message)
            ttl = home.options.get("ttl", 0)
            home.messages.append(Message(message.payload, message.priority, self.places,
                                         self.now + ttl if ttl else None))
            moved += 1
        return moved


class Play:
    """One storage of a server. Its queues have its name before their own."""

    def __init__(self, server, control, seed, storage, lasts, own_ttls=True, restarts=True):
        self.server, self.control, self.storage, self.lasts = server, control, storage, lasts
        self.own_ttls, self.restarts = own_ttls, restarts
        self.pick, self.model = random.Random(seed), Model()
        self.begins = control.get("clock_ms")
        self.recent = collections.deque(maxlen=TOLD)
        self.stale, self.count = [], 0
        self.open()
        door = self.doors[0]
        for name in sorted(OPTIONS):
            options = dict(OPTIONS[name], type=storage, lease=LEASE)
            if "dead_letter" in options:
                options["dead_letter"] = self.name(options["dead_letter"])
            same(door.create_queue(self.name(name), **options)[1], None, name)
        same(door.create_router(self.name("fan"), "fanout")[1], None, "fan")
        for name in FAN:
            same(door.bind(self.name("fan"), self.name(name))[1], None, "bind")
        self.kinds = [self.publish] * 8 + [self.receive] * 6 + [self.settle] * 7 + [
            self.peek, self.flush_one, self.redrive, self.pause]

    def name(self, queue):
        return "%s%d%d-%s" % (self.storage, self.own_ttls, self.restarts, queue)

    def open(self):
        self.doors = [door(self.server) for door in DOORS]

    def close(self):
        for door in self.doors:
            door.close()

    def step(self):
        self.door = self.pick.choice(self.doors)
        kind = self.pick.choice(self.kinds)
        kind(self.model.queues[self.pick.choice([name for name in OPTIONS if name != "none"])])

    def tell(self, text, *parts):
        self.recent.append("%s: %s" % (self.door.name, text % parts))

    def hours(self, most):
        return self.pick.randrange(0, most) * HOUR + HALF

    def publish(self, queue):
        pick = self.pick
        self.count += 1
        fan = pick.random() < 0.2
        names = FAN if fan else (queue.name,)
        made = {"payload": b"%d" % self.count, "ttl": 0, "priority": 0}
        options, delay, id = {}, 0, None
        if pick.random() < 0.5:
            made["priority"] = options["priority"] = pick.choice((0, 1, 1, 9))
        if self.own_ttls and pick.random() < 0.2:
            made["ttl"] = options["ttl"] = self.hours(6)
        if pick.random() < 0.2:
            delay = options["delay"] = self.hours(4)
        if pick.random() < 0.4:
            id = options["id"] = "id%d" % pick.randrange(20)
        reached = self.model.publish(names, made, delay, id)
        self.tell("publish %d to %s %s: %s", self.count, names, options, reached)
        router, key = (self.name("fan"), "k") if fan else ("default", self.name(queue.name))
        told, code = self.door.publish(router, key, made["payload"], **options)
        if reached is None:
            same(code, "QUEUE_FULL", "a full queue")
        else:
            same((code, told and told["queues"]), (None, len(names)), "a publish")
            check(id is None or told["id"] == id, "the id is %r" % told["id"])

    def receive(self, queue):
        most = self.pick.choice((1, 1, 2, 5))
        lease = self.pick.choice((None, None, self.hours(4)))
        self.tell("receive %d of %s, lease %s, of %d", most, queue.name, lease,
                  0 if queue.paused else len(queue.ready()))
        got = self.door.receive(self.name(queue.name), most, 0, lease)
        wanted = [] if queue.paused else queue.ready()[:most]
        for _ in range(10 if self.server.engine else 0):  # what is locked for a moment is passed over
            if len(got) < len(wanted):
                got += self.door.receive(self.name(queue.name), len(wanted) - len(got), 500, lease)
        same(len(got), len(wanted), "how many came")
        for message in got:
            model = self.find(queue.ready(), message.payload)
            model.attempt += 1
            model.state, model.receipt = "leased", message.receipt
            model.due = self.model.now + (lease or LEASE)
            same(message.attempt, model.attempt, "attempt of %r" % message.payload)
            if message.more is not None:
                home = model.home and self.name(model.home)
                same((message.more.get("reason"), message.more.get("from")), (model.reason, home),
                     "of %r" % message.payload)

    def find(self, ready, payload):
        """The first one, or one that came at the same instant."""
        check(ready, "%r came, and nothing is ready" % payload)
        for one in ready:
            if one.order() == ready[0].order() and one.payload == payload:
                return one
        raise Failure("%r came, before %r" % (payload, ready[0].payload))

    def settle(self, queue):
        leased = queue.of("leased")
        kind = self.pick.choice(("ack", "ack", "nack", "extend"))
        if not leased or self.pick.random() < 0.1:
            name, receipt = self.pick.choice(self.stale) if self.stale else (queue.name, "0" * 32)
            good = any(one.receipt == receipt for one in self.model.queues[name].messages)
            if good:
                return
            self.tell("%s of a stale receipt", kind)
            code = getattr(self.door, kind)(self.name(name), receipt, *[HOUR] * (kind == "extend"))
            same(code, "RECEIPT_INVALID", "a stale receipt")
            return
        message = self.pick.choice(leased)
        self.stale = (self.stale + [(queue.name, message.receipt)])[-50:]
        delay = self.hours(3) if kind == "nack" and self.pick.random() < 0.5 else None
        lease = self.hours(5)
        self.tell("%s %r in %s, %s", kind, message.payload, queue.name, lease if kind == "extend"
                  else delay)
        more = {"ack": (), "nack": (delay,), "extend": (lease,)}[kind]
        same(getattr(self.door, kind)(self.name(queue.name), message.receipt, *more), None, kind)
        if kind == "ack":
            queue.messages.remove(message)
        elif kind == "extend":
            message.due = self.model.now + lease
        else:
            self.model.places += 1
            self.model.give_back(queue, message, delay or 0, self.model.places)
            if queue.options.get("dead_letter"):
                self.counts_agree()  # a dead letter is under way for a moment

    def peek(self, queue):
        told, code = self.door.peek(self.name(queue.name), 1000)
        self.tell("peek %s", queue.name)
        same(code, None, "peek")
        ready = queue.ready()
        same(len(told["messages"]), len(ready), "how many are shown")
        for message in told["messages"]:
            ready.remove(self.find(ready, message["payload"].encode()))

    def flush_one(self, queue):
        if self.pick.random() < 0.8:
            return
        dropped = [one for one in queue.messages if one.state != "leased"]
        self.tell("flush %s of %d", queue.name, len(dropped))
        same(self.door.flush(self.name(queue.name)), len(dropped), "a flush")
        queue.messages = queue.of("leased")

    def redrive(self, _):
        queue = self.model.queues["dead"]
        moved = self.model.redrive(queue)
        self.tell("redrive %d", moved)
        same(self.door.redrive(self.name("dead")), moved, "a redrive")

    def pause(self, queue):
        queue.paused = not queue.paused
        self.tell("pause %s: %s", queue.name, queue.paused)
        same(self.door.pause(self.name(queue.name), queue.paused), None, "pause")

    def agrees(self):
        for queue in self.model.queues.values():
            told = self.doors[0].get_queue(self.name(queue.name))[0]
            states = ("ready", "leased", "delayed")
            self.differs = "%s: got %s, wanted %s" % (queue.name, [told[state] for state in states], [
                len(queue.of(state)) for state in states])
            if any(told[state] != len(queue.of(state)) for state in states):
                return False
        return True

    def counts_agree(self):
        try:
            wait_until(self.agrees, "as many messages as in the model", 10)
        except Failure as failure:
            raise Failure("%s: %s" % (failure, self.differs)) from failure

    def tick(self):
        """A wait of a ms has the clock looked at."""
        for _ in range(self.pick.choice((1, 1, 2, 5))):
            self.model.tick(self.model.now + HOUR)
            self.control.set("clock_ms", self.begins + self.model.now)
            self.doors[0].receive(self.name("none"), 1, 1)
            self.door = self.doors[0]
            self.tell("%d h", self.model.now // HOUR)
            self.counts_agree()

    def restart(self):
        self.close()
        for queue in self.model.queues.values():
            queue.messages = queue.messages if self.lasts else []
            queue.seen = queue.seen if self.lasts else {}
        if self.pick.random() < 0.5:
            self.server.kill()
        else:
            check(self.server.stop() == 0, "the end of a server")
        self.server.process.stdout.close()
        self.server.log.close()
        self.server.start()
        self.open()
        self.door = self.doors[0]
        self.tell("restart")
        for queue in self.model.queues.values():
            if queue.paused:
                self.pause(queue)
        self.counts_agree()

    def run(self, operations):
        ticks = restarts = 0
        for number in range(1, operations + 1):
            self.step()
            if self.pick.random() < 0.03:
                self.tick()
                ticks += 1
            if self.restarts and number % BEFORE_A_RESTART == 0:
                self.restart()
                restarts += 1
        self.counts_agree()
        self.close()
        return "%s: %d operations, %d messages, %d hours in %d steps, %d restarts" % (
            self.storage, operations, self.count, self.model.now // HOUR, ticks, restarts)


def play(runner, server, control, operations, kinds):
    """Closes what it is given. kinds: what each Play is given beside; they share the operations."""
    made = None
    try:
        for kind in kinds:
            made = Play(server, control, runner.seed, *kind)
            runner.say(made.run(operations // len(kinds)))
        check(server.stop() == 0, "the end of a server")
    except (Failure, OSError, ValueError, KeyError) as failure:
        raise Failure("%s: %s: %s; the last operations:\n      %s" % (
            made.storage, type(failure).__name__, failure, "\n      ".join(made.recent))) from failure
    finally:
        if server.process.poll() is None:
            server.kill()
        control.close()
        server.close()


def run(runner, operations):
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"))
    server = Server(*FLAGS, keep=room, env=control.env())
    # What LMDB alone has after a restart expires when the front reaches it (docs/broker.md), so that
    # it is not known when where messages have times of their own.
    play(runner, server, control, operations, (
        ("memory", False), ("hdd", True, True, False), ("hdd", True, False, True)))
