# SPDX-License-Identifier: MIT
"""What the clients of queues saw, and what follows from it."""
import collections
import threading

from harness import Failure, check


class Copy:
    """A message in one queue."""

    def __init__(self):
        self.attempts = {}  # attempt: consumer that got it
        self.acking = set()  # attempts whose ACK was sent, its answer not known
        self.acked = None  # the attempt whose ACK was confirmed


class State:
    def __init__(self, route):
        self.route = route
        self.times = 0  # published, under one id
        self.is_confirmed = False
        self.copies = collections.defaultdict(Copy)


class Ledger:
    def __init__(self, routes):
        self.routes = routes
        self.lock = threading.Lock()
        self.states = {}
        self.seen = collections.defaultdict(list)  # (queue, consumer, producer): payloads in order
        self.deliveries = 0

    def published(self, route, payload):
        with self.lock:
            state = self.states.setdefault(payload, State(route))
            state.times += 1

    def confirmed(self, payload):
        with self.lock:
            self.states[payload].is_confirmed = True

    def unknown(self, route):
        """Payloads sent whose answer never came."""
        with self.lock:
            return [payload for payload, state in self.states.items()
                    if state.route == route and not state.is_confirmed]

    def delivered(self, queue, payload, attempt, consumer):
        with self.lock:
            state = self.states.get(payload)
            check(state, "%s: a message that nobody published: %r" % (queue, payload[:60]))
            home = "poison" if queue == "dead" else queue
            check(home in self.routes[state.route][1], "%r came to %s" % (payload[:30], queue))
            copy = state.copies[queue]
            self.deliveries += 1
            if copy.acked is not None and attempt > copy.acked:
                raise Failure("%s: %s came again (attempt %d, %s) after its ACK at attempt %d was "
                              "confirmed" % (queue, payload[:30], attempt, consumer, copy.acked))
            if attempt in copy.attempts:
                raise Failure("%s: %s (published %d times) came twice as attempt %d: to %s, then to %s" % (
                    queue, payload[:30], state.times, attempt, copy.attempts[attempt], consumer))
            copy.attempts[attempt] = consumer
            self.seen[queue, consumer, payload.split("/")[0]].append(payload)

    def acking(self, queue, payload, attempt):
        with self.lock:
            self.states[payload].copies[queue].acking.add(attempt)

    def refused(self, queue, payload, attempt):
        with self.lock:
            self.states[payload].copies[queue].acking.discard(attempt)

    def acked(self, queue, payload, attempt):
        with self.lock:
            copy = self.states[payload].copies[queue]
            copy.acking.discard(attempt)
            if copy.acked is not None:
                raise Failure("%s: two ACKs of %s were confirmed: attempts %d and %d" % (
                    queue, payload[:30], copy.acked, attempt))
            if max(copy.attempts) > attempt:
                raise Failure("%s: an ACK of %s at attempt %d was confirmed after attempt %d" % (
                    queue, payload[:30], attempt, max(copy.attempts)))
            copy.acked = attempt

    def compare(self, has_key):
        """Once every queue was drained: fails where something is missing or in disorder."""
        for payload, state in self.states.items():
            queues = self.routes[state.route][1]
            came = [queue for queue in queues if queue in state.copies]
            if state.is_confirmed:
                missing = [queue for queue in queues if queue not in came]
                check(not missing, "%s was confirmed and never came to %s" % (payload[:30], missing))
            check(len(came) in (0, len(queues)), "%s came to %s only" % (payload[:30], came))
            for queue in came:
                self.check_end(queue, payload, state)
            if state.route == "outbox":
                check(has_key(payload) == bool(came), "%s: key and message differ, came to %s" % (
                    payload[:30], came))
        self.check_order()

    def check_end(self, queue, payload, state):
        copy = state.copies[queue]
        if queue == "poison":
            check(state.copies["dead"].acked is not None or state.copies["dead"].acking,
                  "%s is not among the dead letters" % payload[:30])
            check(max(copy.attempts) <= 2, "%s was delivered too often" % payload[:30])
        else:
            check(copy.acked is not None or copy.acking, "%s: %s was delivered (attempts %s), never "
                  "acked, and is gone" % (queue, payload[:30], sorted(copy.attempts)))

    def check_order(self):
        for (queue, consumer, producer), payloads in self.seen.items():
            once = [payload for payload in payloads if self.states[payload].times == 1 and
                    list(self.states[payload].copies[queue].attempts) == [1]]
            if queue != "dead":
                check(once == sorted(once), "%s: %s saw messages of %s in disorder: %s" % (
                    queue, consumer, producer, [(a[:20], b[:20]) for a, b in zip(once, once[1:])
                                                if a > b][:3]))
