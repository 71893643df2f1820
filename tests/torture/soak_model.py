# SPDX-License-Identifier: MIT
"""What answers must be: the entries of one client, and the messages of queues that the clients of
one process share."""
import time

from harness import Failure

SLACK_MS = 3        # of rounding
LEASE_MS = 10000
NONE = 0            # a message's state: sent, its answer not known
CONFIRMED = 1
VOID = 2            # its transaction was not carried out, or it was on memory before a restart
ACKING = 3          # its ACK was sent, its answer not known
ACKED = 4


def now_ms():
    return time.time() * 1000


class Entry:
    """What may stand under a key: [(value or None, when it may expire or None)]."""
    __slots__ = ("may",)

    def __init__(self):
        self.may = [(None, None)]

    def wrote(self, value, ttl=0, sent=0):
        expiry = (sent + ttl - SLACK_MS, now_ms() + ttl + SLACK_MS) if ttl else None
        self.may = [(value, expiry)]

    def may_have_written(self, value, ttl=0, sent=0):
        before = self.may
        self.wrote(value, ttl, sent)
        self.may = before + self.may

    def read(self, value, sent):
        """Whether `value` may be read between `sent` and now; later reads have to agree."""
        fits = []
        for stands, expiry in self.may:
            if value is None:
                if stands is None or expiry and now_ms() >= expiry[0]:
                    fits.append((None, None))
            elif stands == value and (expiry is None or sent <= expiry[1]):
                fits.append((stands, expiry))
        if fits:
            self.may = fits
        return bool(fits)


class Number:
    """The same of a number that is only added to; nobody knows which additions were carried out
    that had no answer."""
    __slots__ = ("may",)

    def __init__(self):
        self.may = {0}

    def added(self, by, result):
        fits = result - by in self.may
        self.may = {result}
        return fits

    def may_have_added(self, by):
        self.may |= {number + by for number in self.may}

    def read(self, number):
        fits = number in self.may
        self.may = {number}
        return fits


class Queue:
    """One queue's messages, by their serial numbers."""

    def __init__(self, name, is_durable):
        self.name, self.is_durable = name, is_durable
        self.states = bytearray()
        self.held = {}  # serial: (attempt, when its receive was sent) of what was delivered last
        self.deliveries = self.came_again = 0

    def wrong(self, serial, text):
        raise Failure("%s: message %d %s (state %d, held %s)" % (
            self.name, serial, text, self.states[serial], self.held.get(serial)))

    def next_serial(self):
        self.states.append(NONE)
        return len(self.states) - 1

    def published(self, serial, is_carried_out=True):
        if self.states[serial] == NONE:
            if not is_carried_out and serial in self.held:
                self.wrong(serial, "came, and its transaction was not carried out")
            self.states[serial] = CONFIRMED if is_carried_out else VOID

    def delivered(self, serial, attempt, sent):
        self.deliveries += 1
        if not 0 <= serial < len(self.states):
            raise Failure("%s: nobody published %d" % (self.name, serial))
        if self.states[serial] in (VOID, ACKED):
            self.wrong(serial, "came as attempt %d" % attempt)
        before, since = self.held.get(serial, (0, 0))
        if attempt <= before:
            self.wrong(serial, "came twice as attempt %d" % attempt)
        if before:
            self.came_again += 1
            if time.monotonic() * 1000 < since + LEASE_MS - SLACK_MS:
                self.wrong(serial, "came as attempt %d under another's lease" % attempt)
        self.held[serial] = (attempt, sent)

    def acking(self, serial):
        if self.states[serial] != ACKED:
            self.states[serial] = ACKING

    def acked(self, serial, attempt, is_good):
        now = time.monotonic() * 1000
        held, since = self.held.get(serial, (0, 0))
        if is_good:
            if self.states[serial] == ACKED or held != attempt:
                self.wrong(serial, "was acknowledged as attempt %d" % attempt)
            self.states[serial] = ACKED
            del self.held[serial]
        elif now < since + LEASE_MS - SLACK_MS and held == attempt:
            self.wrong(serial, "could not be acknowledged in its lease, attempt %d" % attempt)
        elif self.states[serial] == ACKING and held == attempt:
            self.states[serial] = CONFIRMED

    def forget(self):
        """After a restart: what was on memory must not come."""
        if not self.is_durable:
            self.states = bytearray(bytes([VOID]) * len(self.states))
            self.held = {}

    def missing(self):
        """After all was drained: serials that were confirmed and never acknowledged."""
        return [serial for serial, state in enumerate(self.states) if state == CONFIRMED]
