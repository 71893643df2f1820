#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What clients of queues saw, held against what is promised of queues: one holder at a time, attempts
counted, receipts that end with their leases, nothing acknowledged again, nothing published lost, order
within a priority.

Every event has a place in one order at its call and at its answer, and the server's wall clock at
both. What was not answered has its outcome UNKNOWN, and happened by its answer or never.

    queue_history.py --self-test    shows that right histories pass and planted faults are found
"""
import collections
import sys

UNKNOWN = "unknown"
SLACK_MS = 3  # of clocks that are read in whole ms, one behind the other


class Event:
    """call and answer are places in the one order, call_ms and answer_ms times."""
    call = answer = call_ms = answer_ms = outcome = None

    def set(self, call, answer, call_ms, answer_ms, outcome):
        self.call, self.answer, self.outcome = call, answer, outcome
        self.call_ms, self.answer_ms = call_ms, answer_ms
        return self


class Publish(Event):
    """outcome: True, False (refused) or UNKNOWN."""
    def __init__(self, payload, queues, priority=0):
        self.payload, self.queues, self.priority = payload, queues, priority

    def __repr__(self):
        return "publish %s [%s, %s] %s" % (self.payload, self.call, self.answer, self.outcome)


class Receive(Event):
    """outcome: True or UNKNOWN; got: deliveries, in order, most of them at a time."""
    def __init__(self, queue, most, lease_ms):
        self.queue, self.most, self.lease_ms, self.got = queue, most, lease_ms, []

    def __repr__(self):
        return "receive of %d from %s [%s, %s]" % (self.most, self.queue, self.call, self.answer)


class Delivery:
    __slots__ = ("receive", "payload", "attempt", "receipt", "uses")

    def __init__(self, receive, payload, attempt, receipt):
        self.receive, self.payload, self.attempt, self.receipt = receive, payload, attempt, receipt
        self.uses = []  # of its receipt

    def __repr__(self):
        return "%s of %s, attempt %d [%s, %s]" % (self.payload, self.receive.queue, self.attempt,
                                                  self.receive.call, self.receive.answer)


class Use(Event):
    """Of a receipt. kind: ack, nack, extend (to lease_ms). outcome: True, False (the receipt is dead)
    or UNKNOWN. Extends of one delivery are never two at once."""
    def __init__(self, kind, delivery, lease_ms=0):
        self.kind, self.delivery, self.lease_ms = kind, delivery, lease_ms
        delivery.uses.append(self)

    def __repr__(self):
        return "%s of %r [%s, %s] %s" % (self.kind, self.delivery, self.call, self.answer,
                                         self.outcome)


class Broken(AssertionError):
    pass


def need(condition, text, *parts):
    if not condition:
        raise Broken(text % parts)


class History:
    """most: {queue: (deliveries at most, queue of the dead or None)}. wiped: {queue: places at which
    all of it was lost, by what it is}."""

    def __init__(self, publishes, receives, most=None, wiped=None):
        self.publishes = {one.payload: one for one in publishes}
        self.receives = receives
        self.most, self.wiped = most or {}, wiped or {}
        self.lost_receives = [one for one in receives if one.outcome is UNKNOWN]
        self.chains = collections.defaultdict(list)  # (queue, payload): deliveries
        for receive in receives:
            for delivery in receive.got:
                self.chains[receive.queue, delivery.payload].append(delivery)
        for chain in self.chains.values():
            chain.sort(key=lambda delivery: delivery.attempt)

    def judge(self, drained=True):
        """Raises Broken."""
        self.known_messages()
        for (queue, _), chain in self.chains.items():
            self.attempts(queue, chain)
            for one, other in zip(chain, chain[1:]):
                one_holder(one, other)
            for i, delivery in enumerate(chain):
                receipts(delivery, chain[i + 1:])
        self.dead_ones()
        if drained:
            self.nothing_lost()
        self.order()

    def known_messages(self):
        seen = set()
        for receive in self.receives:
            need(len(receive.got) <= receive.most, "%d came, of %d", len(receive.got), receive.most)
            for delivery in receive.got:
                publish = self.publishes.get(delivery.payload)
                need(publish, "nobody published %r", delivery)
                need(publish.outcome is not False, "%r was refused, and came as %r", publish, delivery)
                need(publish.call < receive.answer, "%r came before %r", delivery, publish)
                need(delivery.receipt not in seen, "a receipt twice: %r", delivery)
                seen.add(delivery.receipt)
                need(receive.queue in publish.queues or any(
                    self.most.get(queue, (0, None))[1] == receive.queue for queue in publish.queues),
                    "%r is in a queue of others", delivery)
                need(not any(publish.answer < wipe < receive.call
                             for wipe in self.wiped.get(receive.queue, ())),
                     "%r outlived its queue", delivery)

    def unknown_receives(self, queue, before):
        return sum(one.queue == queue and one.call < before for one in self.lost_receives)

    def attempts(self, queue, chain):
        numbers = [delivery.attempt for delivery in chain]
        need(len(set(numbers)) == len(numbers), "an attempt twice: %s", chain)
        missing = chain[-1].attempt - len(chain)
        need(missing == 0 or missing <= self.unknown_receives(queue, chain[-1].receive.answer),
             "%d attempts too many: %s", missing, chain)
        for one, other in zip(chain, chain[1:]):
            need(one.receive.call < other.receive.answer, "attempts go back: %s", chain)

    def dead_ones(self):
        for queue, (most, dead) in self.most.items():
            for (at, payload), chain in list(self.chains.items()):
                if at == queue:
                    need(not most or chain[-1].attempt <= most, "delivered too often: %s", chain)
                if at != dead or not any(
                        name == queue for name in self.publishes[payload].queues):
                    continue
                before = self.chains.get((queue, payload), [])
                need(len(before) + self.unknown_receives(queue, chain[0].receive.answer) >= most,
                     "dead before its time: %s behind %s", chain, before)
                for delivery in before:
                    need(delivery.receive.call < chain[0].receive.answer,
                         "alive behind its death: %r, %r", chain[0], delivery)
                if before and before[-1].attempt == most:
                    one_holder(before[-1], chain[0])

    def nothing_lost(self):
        """Everything was received and acknowledged in the end, and what came to one of its queues
        came to all."""
        for publish in self.publishes.values():
            queues = [queue for queue in publish.queues
                      if not any(wipe > publish.call for wipe in self.wiped.get(queue, ()))]
            ends = {queue: self.end_of(queue, publish.payload) for queue in queues}
            if publish.outcome is True:
                for queue, came in ends.items():
                    need(came, "lost: %r in %s", publish, queue)
            need(len(set(map(bool, ends.values()))) <= 1, "in some of its queues: %r: %s", publish, ends)
            for queue, came in ends.items():
                need(not came or any(use.kind == "ack" and use.outcome is not False
                                     for delivery in came for use in delivery.uses),
                     "gone without an ACK: %s", came)

    def end_of(self, queue, payload):
        dead = self.most.get(queue, (0, None))[1]
        return self.chains.get((queue, payload), []) + (
            self.chains.get((dead, payload), []) if dead else [])

    def order(self):
        """What was surely ready while a receive was carried out is handed out before all that was
        published behind it, and before a receive that takes fewer than it may."""
        queues = collections.defaultdict(list)
        for receive in self.receives:
            if receive.outcome is True:
                queues[receive.queue].append(receive)
        dead = {queue for _, queue in self.most.values()}
        for queue, receives in queues.items():
            if queue not in dead:
                self.order_of(queue, receives)

    def order_of(self, queue, receives):
        waiting = sorted(self.surely_ready(queue), key=lambda ready: ready.begin)
        active, at = [], 0
        moments = []
        for receive in receives:
            moments += [(max(receive.call, self.publishes[one.payload].call), receive, one)
                        for one in receive.got]
            if len(receive.got) < receive.most:
                moments.append((receive.call, receive, None))
            self.order_within(receive)
        moments.sort(key=lambda moment: moment[0])
        for begin, receive, delivery in moments:
            while at < len(waiting) and waiting[at].begin < begin:
                active.append(waiting[at])
                at += 1
            active = [ready for ready in active if ready.end > begin]
            if delivery is None and self.beside_lost(receive):
                continue
            for ready in active:
                if ready.end <= receive.answer:
                    continue
                need(delivery is not None, "a receive took %d of %d [%s, %s], and %r was ready",
                     len(receive.got), receive.most, receive.call, receive.answer, ready)
                need(not comes_before(ready.publish, self.publishes[delivery.payload]),
                     "%r was ready, and %r came", ready, delivery)

    def beside_lost(self, receive):
        """Nothing is written down of a receive that took nothing: what it did not see may be a lost
        one's, whose leases went with the end of the server."""
        return not receive.got and any(
            one.queue == receive.queue and one.call < receive.answer and one.answer > receive.call
            for one in self.lost_receives)

    def order_within(self, receive):
        for one, other in zip(receive.got, receive.got[1:]):
            first, second = self.publishes[one.payload], self.publishes[other.payload]
            need(not comes_before(second, first), "in one receive %r before %r", one, other)

    def surely_ready(self, queue):
        for payload, publish in self.publishes.items():
            if queue not in publish.queues:
                continue
            chain = self.chains.get((queue, payload), [])
            firsts = [one.receive.call for one in chain] + [min(
                (wipe for wipe in self.wiped.get(queue, ()) if wipe > publish.call),
                default=float("inf"))]
            if publish.outcome is True and chain and chain[0].attempt == 1:
                yield Ready(publish, publish.answer, firsts[0])
            for i, one in enumerate(chain):
                back = [use.answer for use in one.uses if use.kind == "nack" and use.outcome is True]
                if back and i + 1 < len(chain) and chain[i + 1].attempt == one.attempt + 1:
                    yield Ready(publish, back[0], firsts[i + 1])


class Ready:
    """From its begin to its end nobody can have had it."""

    def __init__(self, publish, begin, end):
        self.publish, self.begin, self.end = publish, begin, end

    def __repr__(self):
        return "%s (ready from %s to %s)" % (self.publish.payload, self.begin, self.end)


def comes_before(one, other):
    if one.priority != other.priority:
        return one.priority > other.priority
    return one.answer < other.call and one.outcome is True


def lease_of(delivery, begin, end):
    """Between which times of the clock it ends, as it is for something from `begin` to `end`."""
    receive = delivery.receive
    lease = receive.call_ms + receive.lease_ms, receive.answer_ms + receive.lease_ms
    for use in delivery.uses:
        if use.kind != "extend" or use.outcome is False or use.call > end:
            continue
        anew = use.call_ms + use.lease_ms, use.answer_ms + use.lease_ms
        if use.outcome is True and use.answer < begin:
            lease = anew
        else:
            lease = min(lease[0], anew[0]), max(lease[1], anew[1])
    return lease


def one_holder(one, other):
    """That other could come: one was given back, or its lease was over."""
    receive = other.receive
    given_back = any(use.kind == "nack" and use.outcome is not False and use.call < receive.answer
                     for use in one.uses)
    acked = next((use for use in one.uses if use.kind == "ack" and use.outcome is True), None)
    need(not acked, "%r was acknowledged, and came again: %r", one, other)
    lease = lease_of(one, receive.call, receive.answer)
    need(given_back or lease[0] <= receive.answer_ms + SLACK_MS,
         "two holders: %r, and %r %d ms before its lease is over", one, other,
         lease[0] - receive.answer_ms)


def receipts(delivery, later):
    """Each use of its receipt was answered as it had to be."""
    ends = [use for use in delivery.uses if use.kind in ("ack", "nack")]
    done = [use for use in ends if use.outcome is True]
    need(len(done) <= 1, "ended twice: %s", done)
    for use in delivery.uses:
        lease = lease_of(delivery, use.call, use.answer)
        if use.outcome is True:
            need(use.call_ms < lease[1] + SLACK_MS, "a dead receipt is taken: %r, its lease was over "
                 "%d ms before", use, use.call_ms - lease[1])
            for end in done:
                need(use is end or end.answer > use.call, "%r behind %r", use, end)
            for other in later:
                need(other.receive.answer > use.call, "a stale receipt: %r behind %r", use, other)
        elif use.outcome is False:
            need(use.answer_ms + SLACK_MS >= lease[0] or any(
                end is not use and end.outcome is not False and end.call < use.answer for end in ends),
                "a good receipt is refused: %r, %d ms of its lease are left; all uses: %s", use,
                lease[0] - use.answer_ms, delivery.uses)


# --- the checker checked ---

class Story:
    """A history as told in a few words; one thing happens in each turn, a ms long."""

    def __init__(self):
        self.now, self.ms = 0, 0
        self.publishes, self.receives, self.receipts = [], [], 0
        self.most, self.wiped = {"q": (0, None), "twice": (2, "dead")}, {}

    def set(self, event, outcome, turns=1):
        call, call_ms = self.now, self.ms
        self.now, self.ms = self.now + turns, self.ms + turns
        return event.set(call + 0.1, self.now, call_ms, self.ms, outcome)

    def publish(self, payload, outcome=True, queues=("q",), priority=0):
        self.publishes.append(self.set(Publish(payload, queues, priority), outcome))

    def receive(self, *got, most=1, lease_ms=1000, queue="q", outcome=True):
        """got: payloads with attempts, as a1; the deliveries."""
        receive = self.set(Receive(queue, most, lease_ms), outcome)
        self.receives.append(receive)
        for text in got:
            self.receipts += 1
            receive.got.append(Delivery(receive, text[:-1], int(text[-1]), self.receipts))
        return receive.got[0] if len(receive.got) == 1 else receive.got

    def use(self, kind, delivery, outcome=True, lease_ms=0):
        self.set(Use(kind, delivery, lease_ms), outcome)

    def later(self, ms):
        self.ms += ms

    def judge(self, drained=False):
        try:
            History(self.publishes, self.receives, self.most, self.wiped).judge(drained)
        except Broken as broken:
            return str(broken)
        return None


def right_stories():
    story = Story()
    story.publish("a")
    story.publish("b")
    one = story.receive("a1")
    story.use("nack", one)
    again = story.receive("a2")
    story.use("ack", one, False)
    story.use("ack", again)
    story.use("ack", again, False)
    story.use("ack", story.receive("b1"))
    story.receive()
    yield "given back, acknowledged, in order", story, True
    story = Story()
    story.publish("a")
    one = story.receive("a1")
    story.later(500)
    story.use("extend", one, lease_ms=5000)
    story.later(2000)
    story.receive()
    story.later(4000)
    story.use("ack", one, False)
    story.use("ack", story.receive("a2"))
    yield "a lease that ran anew and out", story, True
    story = Story()
    story.publish("low")
    story.publish("high", priority=1)
    for text in ("high1", "low1"):
        story.use("ack", story.receive(text))
    yield "higher ones first", story, True
    story = Story()
    story.publish("a", queues=("twice",))
    for text in ("a1", "a2"):
        story.use("nack", story.receive(text, queue="twice"))
    story.use("ack", story.receive("a1", queue="dead"))
    yield "a dead letter", story, True
    story = Story()
    story.publish("a")
    story.publish("b", UNKNOWN)
    story.receive(outcome=UNKNOWN)
    story.later(2000)
    story.use("ack", story.receive("a2"), UNKNOWN)
    yield "a lost receive, a lost ACK, a lost publish", story, True
    story = Story()
    story.publish("a")
    story.receive(outcome=UNKNOWN)
    story.receive()
    story.receives[0].answer = story.now
    story.use("ack", story.receive("a1"))
    yield "nothing beside a lost receive, whose lease is lost", story, True


def wrong_stories():
    """(what is wrong, story, whether it was drained); a part of what is said of it comes first."""
    for outcome in (True, UNKNOWN):
        story = Story()
        story.publish("a", outcome)
        story.receive("a1")
        story.receive("a2")
        yield "two holders", story, False
    story = Story()
    story.publish("a")
    one = story.receive("a1")
    story.later(900)
    story.use("extend", one, lease_ms=5000)
    story.later(900)
    story.receive("a2")
    yield "two holders", story, False
    story = Story()
    story.publish("a")
    one = story.receive("a1")
    story.later(2000)
    story.receive("a2")
    story.use("nack", one)
    yield "a dead receipt is taken", story, False
    story = Story()
    story.publish("a")
    one = story.receive("a1", lease_ms=4000)
    story.use("nack", one)
    story.receive("a2", lease_ms=4000)
    story.use("extend", one, lease_ms=9000)
    yield "extend of", story, False
    story = Story()
    story.publish("a")
    one = story.receive("a1")
    story.use("ack", one)
    story.later(2000)
    story.receive("a2")
    yield "was acknowledged, and came again", story, False
    story = Story()
    story.publish("a")
    one = story.receive("a1")
    story.use("ack", one)
    story.use("ack", one)
    yield "ended twice", story, False
    story = Story()
    story.publish("a")
    story.use("ack", story.receive("a1"), False)
    yield "a good receipt is refused", story, False
    story = Story()
    story.publish("a")
    story.later(5)
    one = story.receive("a1")
    story.later(2000)
    story.receive("a3")
    yield "attempts too many", story, False
    story = Story()
    story.publish("a")
    story.receive("a1")
    story.later(2000)
    story.receive("a1")
    yield "an attempt twice", story, False
    story = Story()
    story.publish("a")
    story.publish("b")
    story.use("ack", story.receive("b1"))
    story.use("ack", story.receive("a1"))
    yield "was ready, and", story, False
    story = Story()
    story.publish("a")
    story.publish("b")
    story.receive("b1", "a1", most=2)
    yield "in one receive", story, False
    story = Story()
    story.publish("low")
    story.publish("high", priority=1)
    story.receive("low1")
    story.receive("high1")
    yield "was ready, and", story, False
    story = Story()
    story.publish("a")
    story.receive()
    story.receive("a1")
    yield "a receive took 0 of 1", story, False
    story = Story()
    story.publish("a")
    story.use("nack", story.receive("a1"))
    story.receive()
    story.receive("a2")
    yield "a receive took 0 of 1", story, False
    story = Story()
    story.publish("a")
    story.receive(outcome=UNKNOWN)
    story.receive()
    story.receive("a1")
    yield "a receive took 0 of 1", story, False
    story = Story()
    story.publish("a")
    yield "lost: publish a", story, True
    story = Story()
    story.publish("a", queues=("q", "other"))
    story.use("ack", story.receive("a1"))
    yield "lost: publish a", story, True
    story = Story()
    story.publish("a", UNKNOWN, queues=("q", "other"))
    story.use("ack", story.receive("a1"))
    yield "in some of its queues", story, True
    story = Story()
    story.publish("a")
    story.receive("a1")
    yield "gone without an ACK", story, True
    story = Story()
    story.publish("a", False)
    story.receive("a1")
    yield "was refused, and came", story, False
    story = Story()
    story.receive("a1")
    yield "nobody published", story, False
    story = Story()
    story.publish("a", queues=("twice",))
    story.use("nack", story.receive("a1", queue="twice"))
    story.receive("a1", queue="dead")
    yield "dead before its time", story, False
    story = Story()
    story.publish("a", queues=("twice",))
    for text in ("a1", "a2", "a3"):
        story.use("nack", story.receive(text, queue="twice"))
    yield "delivered too often", story, False
    story = Story()
    story.publish("a", queues=("twice",))
    story.use("nack", story.receive("a1", queue="twice"))
    story.receive("a2", queue="twice")
    story.receive("a1", queue="dead")
    yield "two holders", story, False
    story = Story()
    story.publish("a")
    story.wiped = {"q": [story.now + 0.5]}
    story.later(1)
    story.now += 1
    story.receive("a1")
    yield "outlived its queue", story, False


def self_test(say=print):
    right = list(right_stories())
    for name, story, _ in right:
        why = story.judge(True)
        assert why is None or name.startswith("a lost"), "%s: %s" % (name, why)
        assert story.judge() is None, "%s: %s" % (name, story.judge())
    wrong = list(wrong_stories())
    for what, story, drained in wrong:
        why = story.judge(drained)
        assert why and what in why, "%s was not found, but %s" % (what, why)
    say("%d right histories of queues accepted, %d wrong ones found out" % (len(right), len(wrong)))


if __name__ == "__main__":
    if sys.argv[1:] != ["--self-test"]:
        sys.exit(__doc__)
    self_test()
