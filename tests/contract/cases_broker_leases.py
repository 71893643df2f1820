# SPDX-License-Identifier: MIT
"""Leases and waits: every door, both storages."""
import threading
import time

from cases_broker import drain, payloads, queue_of, run_cases, take
from harness import check, same, settles, wait_until

LEASE = 100
FOREVER = 25000  # ms to wait for what comes at once


def refuses(others, queue, receipt, what):
    """A receipt that is no good is refused by every word of every door."""
    for other in others:
        same(other.ack(queue, receipt), "RECEIPT_INVALID", "%s: ACK by %s" % (what, other.name))
        same(other.nack(queue, receipt), "RECEIPT_INVALID", "%s: NACK by %s" % (what, other.name))
        same(other.extend(queue, receipt, 99), "RECEIPT_INVALID",
             "%s: EXTEND by %s" % (what, other.name))


def a_lease_that_ends_brings_the_message_again_in_its_old_place(door, others, storage):
    queue = queue_of(door, storage, lease=LEASE)
    for i in range(4):
        door.publish("default", queue, b"%d" % i)
    first = door.receive(queue, 2)
    same(payloads(first), [b"0", b"1"], "leased")
    wait_until(lambda: door.get_queue(queue)[0]["ready"] == 4, "the leases end")
    refuses(others, queue, first[0].receipt, "before it is handed out again")
    again = door.receive(queue, 4, lease=60000)
    same(payloads(again), [b"0", b"1", b"2", b"3"], "in the old place")
    same([message.attempt for message in again], [2, 2, 1, 1], "attempts")
    check(again[0].receipt != first[0].receipt, "a new receipt")
    refuses(others, queue, first[0].receipt, "while another holds it")
    for message in again:
        same(door.ack(queue, message.receipt), None, "the new holder is unharmed")
    refuses(others, queue, again[0].receipt, "after its ACK")
    got = door.get_queue(queue)[0]
    same((got["ready"], got["leased"]), (0, 0), "nothing is left")
    settles(lambda: [door.get_queue(queue)[0][name] for name in ("acked", "redelivered")], [4, 2],
            "counters")


def a_receipt_that_never_was_is_refused(door, others, storage):
    queue, other_queue = queue_of(door, storage), queue_of(door, storage)
    door.publish("default", queue, b"1")
    message = take(door, queue)[0]
    same(door.ack(other_queue, message.receipt), "RECEIPT_INVALID", "another queue's")
    twisted = message.receipt[:-1] + ("0" if message.receipt[-1] != "0" else "1")
    for receipt in ("0" * 32, "f" * 32, "x", message.receipt + "0", message.receipt[:-1],
                    message.receipt.upper() + "x", "%", "a" * 255, twisted):
        refuses([door], queue, receipt, repr(receipt))
    same(door.ack(queue, message.receipt), None, "the good one")


def one_consumer_has_a_message_at_a_time(door, others, storage):
    queue = queue_of(door, storage)
    door.publish("default", queue, b"1")
    message = take(door, queue)[0]
    for other in others:
        same(other.receive(queue, 10), [], "by " + other.name)
    same(door.ack(queue, message.receipt), None, "ack")


def a_message_that_is_given_back_comes_at_once(door, others, storage):
    queue = queue_of(door, storage)
    for i in range(3):
        door.publish("default", queue, b"%d" % i)
    for attempt, other in enumerate(others, 1):
        message = take(door, queue)[0]
        same((message.payload, message.attempt), (b"0", attempt), "in its old place")
        same(other.nack(queue, message.receipt), None, "NACK by " + other.name)
        refuses([other], queue, message.receipt, "after its NACK")
    same(drain(door, queue), [b"0", b"1", b"2"], "in order")


def a_message_may_be_given_back_for_later(door, others, storage):
    queue = queue_of(door, storage)
    for other in others:
        door.publish("default", queue, b"1")
        message = take(door, queue)[0]
        same(other.nack(queue, message.receipt, 600000), None, "NACK by " + other.name)
        same(door.receive(queue), [], "not yet")
        same(door.get_queue(queue)[0]["delayed"], 1, "delayed")
        same(door.flush(queue), 1, "flush")
        door.publish("default", queue, b"2")
        message = take(door, queue)[0]
        same(other.nack(queue, message.receipt, 50), None, "NACK by " + other.name)
        again = take(door, queue, wait=FOREVER)[0]
        same((again.payload, again.attempt), (b"2", 2), "later, by " + other.name)
        same(door.ack(queue, again.receipt), None, "ack")


def a_lease_may_be_extended(door, others, storage):
    queue = queue_of(door, storage, lease=600000)
    for other in others:
        door.publish("default", queue, b"1")
        message = take(door, queue)[0]
        same(other.extend(queue, message.receipt, 700000), None, "longer, by " + other.name)
        same(other.extend(queue, message.receipt, 60), None, "shorter, by " + other.name)
        again = take(door, queue, wait=FOREVER)[0]
        same(again.attempt, 2, "the shorter lease counts")
        refuses([other], queue, message.receipt, "its lease is over")
        same(door.ack(queue, again.receipt), None, "ack")


def who_extends_a_lease_is_in_nobodys_way_who_ends_it(door, others, storage):
    """A receipt that is in use was refused as if it were dead."""
    queue, line = queue_of(door, storage), door.server.line()
    for i in range(20):
        door.publish("default", queue, b"%d" % i)
    receipts = [message.receipt for message in door.receive(queue, 20)]
    line.send("".join("EXTEND %s %s 60000\nEXTEND %s %s 50000\n%s %s %s\n" % (
        queue, receipt, queue, receipt, ("ACK", "NACK")[i % 2], queue, receipt)
        for i, receipt in enumerate(receipts)))
    same({line.read_line() for _ in range(60)}, {b"+OK\n"}, "answers")
    line.close()
    got = door.get_queue(queue)[0]
    same((got["ready"], got["leased"]), (10, 0), "what is left")


def a_receive_may_bring_its_own_lease(door, others, storage):
    queue = queue_of(door, storage, lease=600000)
    for other in others:
        door.publish("default", queue, b"1")
        same(len(other.receive(queue, lease=50)), 1, "leased shortly by " + other.name)
        again = take(door, queue, wait=FOREVER)[0]
        same((again.attempt, door.ack(queue, again.receipt)), (2, None), other.name)


def elsewhere(run):
    """Runs in a thread; join() gives what it returned or raises what it raised."""
    class Elsewhere(threading.Thread):
        def run(self):
            try:
                self.got, self.error = run(), None
            except BaseException as error:
                self.error = error

        def join(self, timeout=60):
            super().join(timeout)
            check(not self.is_alive(), "it does not end")
            if self.error:
                raise self.error
            return self.got

    thread = Elsewhere()
    thread.start()
    return thread


def has_consumers(door, queue, count):
    wait_until(lambda: door.get_queue(queue)[0]["consumers"] == count,
               "%s: not %d who wait" % (queue, count))


def a_wait_ends_at_once_when_a_message_comes(door, others, storage):
    queue = queue_of(door, storage)
    for other in others:
        mine = type(door)(door.server)
        start = time.monotonic()
        waiting = elsewhere(lambda: mine.receive(queue, 10, FOREVER))
        has_consumers(other, queue, 1)
        other.publish("default", queue, b"woken")
        messages = waiting.join()
        same(payloads(messages), [b"woken"], "published by " + other.name)
        check(time.monotonic() - start < FOREVER / 1250, "it was not woken")
        same(mine.ack(queue, messages[0].receipt), None, "ack")
        has_consumers(other, queue, 0)
        mine.close()


def a_wait_without_messages_ends_empty(door, others, storage):
    queue = queue_of(door, storage)
    same(door.receive(queue, 10, 0), [], "no wait")
    same(door.receive(queue, 10), [], "no wait asked for")
    start = time.monotonic()
    same(door.receive(queue, 10, 150), [], "a wait")
    check(time.monotonic() - start >= 0.14, "it ended early")


def a_wait_ends_when_its_queue_is_deleted(door, others, storage):
    queue = queue_of(door, storage)
    mine = type(door)(door.server)

    def wait():
        try:
            return mine.receive(queue, 1, FOREVER)
        except Exception as failure:
            return str(failure)

    waiting = elsewhere(wait)
    has_consumers(door, queue, 1)
    door.delete_queue(queue)
    check("QUEUE_NOT_EXIST" in str(waiting.join()), "the answer: %s" % (waiting.got,))
    mine.close()


def those_who_wait_are_served_in_their_order(door, others, storage):
    queue = queue_of(door, storage)
    doors, threads = [type(door)(door.server) for _ in range(3)], []
    for i, one in enumerate(doors):
        threads.append(elsewhere(lambda d=one: d.receive(queue, 1, FOREVER)))
        has_consumers(door, queue, i + 1)
    for i in range(3):
        door.publish("default", queue, b"%d" % i)
    same([payloads(thread.join()) for thread in threads], [[b"0"], [b"1"], [b"2"]], "in turn")
    for one in doors:
        one.close()


CASES = [a_lease_that_ends_brings_the_message_again_in_its_old_place,
         a_receipt_that_never_was_is_refused, one_consumer_has_a_message_at_a_time,
         a_message_that_is_given_back_comes_at_once, a_message_may_be_given_back_for_later,
         a_lease_may_be_extended, who_extends_a_lease_is_in_nobodys_way_who_ends_it,
         a_receive_may_bring_its_own_lease, a_wait_ends_at_once_when_a_message_comes,
         a_wait_without_messages_ends_empty, a_wait_ends_when_its_queue_is_deleted,
         those_who_wait_are_served_in_their_order]


def run(runner, server):
    run_cases(CASES, runner, server)
