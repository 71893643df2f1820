# SPDX-License-Identifier: MIT
"""Clients of queues through all doors, that write down what they see (queue_history.py)."""
import json
import random
import time
import urllib.parse

from connections import JSON_LINES, LINES, REST, RPC, call, http, rpc
from harness import check
from queue_history import UNKNOWN, Delivery, Publish, Receive, Use

HOUR_MS = 3600000
SHORT_MS = 30     # a lease that ends by itself
READY_MAX = 60    # in a queue, so that places matter and the checker is quick
HELD_MAX = 400    # receipts that are kept to be used, most of them stale ones

QUEUES = {
    "disk": {"type": "hdd", "lease": HOUR_MS},
    "mem": {"type": "memory", "lease": HOUR_MS},
    "short": {"type": "hdd", "lease": SHORT_MS},
    "memshort": {"type": "memory", "lease": SHORT_MS},
    "twice": {"type": "hdd", "lease": HOUR_MS, "max-deliver": 2, "dead-letter": "dead"},
    "dead": {"type": "hdd", "lease": HOUR_MS},
    "fan1": {"type": "hdd", "lease": HOUR_MS},
    "fan2": {"type": "hdd", "lease": HOUR_MS},
}
MEMORY = ("mem", "memshort")
MOST = {"twice": (2, "dead")}
ROUTES = {"disk": ("default", ("disk",)), "mem": ("default", ("mem",)),
          "short": ("default", ("short",)), "memshort": ("default", ("memshort",)),
          "twice": ("default", ("twice",)), "fan": ("fan", ("fan1", "fan2"))}


class Asked:
    """Something under way; event is what is written down of it."""

    def __init__(self, clients, event):
        self.clients, self.event = clients, event
        self.call = self.answer = None

    def __repr__(self):
        return repr(self.event)

    def begin(self, door):
        self.door, self.began_ms = door, self.clients.now_ms()

    def done(self, outcome):
        self.event.set(self.call, self.answer, self.began_ms, self.clients.now_ms(), outcome)

    def lost(self):
        self.done(UNKNOWN)


class Publishing(Asked):
    def __init__(self, clients, event, router, key):
        super().__init__(clients, event)
        self.router, self.key = router, key

    def request(self, door):
        self.begin(door)
        payload, priority = self.event.payload, self.event.priority
        if door == LINES and not priority:
            return b"PUBLISHB %s %s %d\n%s\n" % (self.router.encode(), self.key.encode(), len(payload),
                                                payload.encode())
        if door == REST:
            return http("POST", "/broker/routers/%s/messages?key=%s&priority=%d" % (
                self.router, self.key, priority), payload.encode())
        text = call("Broker.Publish", router=self.router, key=self.key, payload=payload,
                    priority=priority)
        return rpc(text) if door == RPC else text + b"\n"

    def answered(self, answer):
        check(answer.code() is None, "%r was answered %s" % (self.event, answer.code()))
        if self.door == REST:
            queues = answer.json()["queues"]
        elif answer.text.startswith(b"+OK"):
            queues = int(answer.text.split(b" ")[2])
        else:
            queues = answer.json()["result"]["queues"]
        check(queues == len(self.event.queues), "%r reached %d" % (self.event, queues))
        self.done(True)


class Receiving(Asked):
    def __init__(self, clients, event, wait_ms, lease_ms):
        super().__init__(clients, event)
        self.wait_ms, self.lease_ms = wait_ms, lease_ms  # None: as the queue says

    def request(self, door):
        self.begin(door)
        queue, most = self.event.queue, self.event.most
        if door == LINES and self.lease_ms is None:
            return b"RECEIVE %s %d %d\n" % (queue.encode(), most, self.wait_ms)
        if door == REST:
            lease = "" if self.lease_ms is None else "&lease=%d" % self.lease_ms
            return http("POST", "/broker/queues/%s/receive?max=%d&wait=%d%s" % (
                queue, most, self.wait_ms, lease))
        more = {} if self.lease_ms is None else {"lease": self.lease_ms}
        text = call("Broker.Receive", queue=queue, max=most, wait=self.wait_ms, **more)
        return rpc(text) if door == RPC else text + b"\n"

    def messages(self, answer):
        """(payload, attempt, receipt) of each."""
        if answer.status is None and not answer.text.startswith(b"{"):
            check(answer.text == b"+OK %d" % len(answer.frames), "%r" % answer.text)
            for head, payload in answer.frames:
                _, receipt, attempt, _, _ = head.decode().split(" ")
                yield payload.decode(), int(attempt), receipt
            return
        said = answer.json()
        for one in (said if self.door == REST else said["result"])["messages"]:
            yield one["payload"], one["attempt"], one["receipt"]

    def answered(self, answer):
        check(answer.code() is None, "a receive was answered %s" % answer.code())
        self.event.got = [Delivery(self.event, *one) for one in self.messages(answer)]
        self.done(True)
        self.clients.hold(self.event.got)


class Using(Asked):
    def __init__(self, clients, event, then=None):
        super().__init__(clients, event)
        self.then = then  # a publish in one transaction with an ACK

    def request(self, door):
        self.begin(door)
        event, delivery = self.event, self.event.delivery
        queue, receipt, lease = delivery.receive.queue, delivery.receipt, event.lease_ms
        if self.then:
            return self.batch(door, queue, receipt)
        if door == LINES:
            words = [event.kind.upper(), queue, receipt] + ([str(lease)] if lease else [])
            return " ".join(words).encode() + b"\n"
        if door == REST:
            path = "/broker/queues/%s/messages/%s" % (queue, urllib.parse.quote(receipt))
            if event.kind == "ack":
                return http("DELETE", path)
            return http("POST", path + "/" + event.kind + ("?lease=%d" % lease if lease else ""))
        text = call("Broker." + event.kind.capitalize(), queue=queue, receipt=receipt,
                    **({"lease": lease} if lease else {}))
        return rpc(text) if door == RPC else text + b"\n"

    def batch(self, door, queue, receipt):
        self.then.began_ms = self.began_ms
        ops = [{"op": "publish", "router": "default", "routing-key": self.then.key,
                "payload": self.then.event.payload},
               {"op": "ack", "queue": queue, "receipt": receipt}]
        if door == REST:
            return http("POST", "/api2/11111111-2222-3333-4444-555555555555/default",
                        json.dumps({"ops": ops}).encode(), Content_Type="application/json")
        text = call("Storage.Batch", type="hdd", ops=ops)
        return rpc(text) if door == RPC else text + b"\n"

    def answered(self, answer):
        code = answer.code()
        check(code in (None, "RECEIPT_INVALID"), "%r was answered %s" % (self, code))
        self.finish(code is None)

    def finish(self, outcome):
        self.done(outcome)
        self.clients.used(self.event)
        if self.then:
            self.then.call, self.then.answer = self.call, self.answer
            self.then.done(outcome)

    def lost(self):
        self.finish(UNKNOWN)


class Clients:
    """Makes what they do next. control: of the server's clock."""

    def __init__(self, seed, control):
        self.random, self.control = random.Random(seed), control
        self.offset_ms = control.get("clock_ms")
        self.publishes, self.receives = [], []
        self.wiped = {queue: [] for queue in MEMORY}
        self.held, self.extending, self.count, self.both = [], set(), 0, []
        self.waiting = {queue: 0 for queue in QUEUES}  # about so many are ready

    def define(self, server):
        for queue, options in sorted(QUEUES.items()):
            answer = server.rpc("Broker.CreateQueue", dict(options, queue=queue))
            check("result" in answer, "%s: %s" % (queue, answer))
        server.rpc("Broker.CreateRouter", {"router": "fan", "type": "fanout"})
        for queue in ROUTES["fan"][1]:
            server.rpc("Broker.Bind", {"router": "fan", "queue": queue})

    def now_ms(self):
        """Of the server's clock."""
        return time.time() * 1000 + self.offset_ms

    def leases_end(self):
        """All of an hour."""
        self.offset_ms += HOUR_MS + 60000
        self.control.set("clock_ms", self.offset_ms)

    def hold(self, deliveries):
        self.held += deliveries
        if len(self.held) > HELD_MAX:
            self.held = self.held[-HELD_MAX // 2:]

    def used(self, event):
        if event.kind == "extend":
            self.extending.discard(event.delivery)

    def make(self):
        dice = self.random.random()
        if dice < 0.3 and (made := self.publish()):
            return made
        if dice < 0.6 or not self.held:
            return self.receive(self.random.choice(list(QUEUES)))
        return self.use(dice)

    def publish(self):
        route = self.random.choice(list(ROUTES))
        router, queues = ROUTES[route]
        if self.waiting[queues[0]] > READY_MAX:
            return None
        priority = self.random.choice((0, 0, 0, 1, 9)) if route in ("disk", "mem") else 0
        return Publishing(self, self.published(queues, priority), router, queues[0])

    def published(self, queues, priority=0):
        self.count += 1
        for queue in queues:
            self.waiting[queue] += 1
        self.publishes.append(Publish("m%d" % self.count, queues, priority))
        return self.publishes[-1]

    def receive(self, queue, most=None, wait_ms=None):
        pick = self.random
        lease = pick.choice((None, None, SHORT_MS * 2, HOUR_MS))
        event = Receive(queue, most or pick.choice((1, 1, 2, 5)),
                        QUEUES[queue]["lease"] if lease is None else lease)
        self.receives.append(event)
        self.waiting[queue] = max(0, self.waiting[queue] - event.most)
        return Receiving(self, event, pick.choice((0, 0, 0, 5)) if wait_ms is None else wait_ms, lease)

    def use(self, dice):
        """Most are of the latest deliveries; the receipts of many others are dead."""
        pick = self.random
        delivery = pick.choice(self.held[-40:] if pick.random() < 0.8 else self.held)
        kind = "ack" if dice < 0.85 else "nack" if dice < 0.93 else "extend"
        if kind == "extend" and delivery in self.extending:
            kind = "ack"
        if kind == "extend":
            self.extending.add(delivery)
            return Using(self, Use("extend", delivery, pick.choice((SHORT_MS, HOUR_MS // 2, HOUR_MS))))
        queue = delivery.receive.queue
        if kind == "ack" and queue not in MEMORY and pick.random() < 0.2:
            to = pick.choice(("disk", "short", "twice"))
            event = Use("ack", delivery)
            self.both.append((event, self.published((to,))))
            return Using(self, event, Publishing(self, self.both[-1][1], "default", to))
        return Using(self, Use(kind, delivery))

    def after_kill(self, now):
        """Memory queues are empty, and their receipts are worth nothing."""
        for queue in MEMORY:
            self.wiped[queue].append(now)
            self.waiting[queue] = 0
        self.held = [one for one in self.held if one.receive.queue not in MEMORY]
