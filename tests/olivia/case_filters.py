# SPDX-License-Identifier: MIT
"""What the original makes of our filter."""
import random
import threading
import time

import olivia_filter
from harness import check, same
from node import Node
from olivia_filter import Filter

BYTES = bytes(i for i in range(1, 256) if i not in b"\n\r,:")
LOOKED_UP = 20  # keys that are not there, of each set


def the_vectors_are_right(runner):
    olivia_filter.check_vectors()
    keys = [b"key1", b"key2", b"key3"]
    check(Filter.of(keys).is_readable(), "choose other keys")
    same(Filter.parse(Filter.of(keys).text()).bits, Filter.of(keys).bits, "there and back")
    same(olivia_filter.unroll(b"A12B2CD10"), b"A" * 12 + b"BBC" + b"D" * 10)


def random_keys(dice):
    """Mostly a few, sometimes up to 2000."""
    count = dice.choice((1, 1, 2, 3, 5, 8, 13, 21, 34)) if dice.random() < 0.995 else \
        dice.randint(200, 2000)
    kind = dice.randrange(3)
    if kind == 0:
        return [bytes(dice.choices(BYTES, k=dice.randint(1, 40))) for _ in range(count)]
    stem = b"%x" % dice.getrandbits(32)
    return [b"%s%s%d" % (stem, b"/" if kind == 1 else b" ", i) for i in range(count)]


def every_key_is_in_the_filter_that_the_original_reads(runner):
    dice = random.Random(runner.seed)
    node = Node()
    door = node.door()
    sets = [sorted(set(random_keys(dice))) for _ in range(runner.sets)]
    start = time.monotonic()

    def send():
        for keys in sets:
            door.sock.sendall(b"SET %s\n:REQUEST BLOOMFILTER\nSETEX %s\n" % (
                b",".join(key + b":v" for key in keys),
                b",".join(key + b":v:0" for key in keys)))

    sender = threading.Thread(target=send)
    sender.start()
    keys_seen = maybe = asked = widened = 0
    for number, keys in enumerate(sets):
        check(door.read_line().startswith(b":SAT "), "SET of set %d" % number)
        head, _, text = door.read_line().rstrip(b"\n").partition(b" ")
        same(head, b":FULFILLED", "set %d" % number)
        got = Filter.parse(text)
        for key in keys:
            check(got.has(key), "set %d: the filter says no to %r" % (number, key))
        wanted = Filter.of(keys)
        same(got.bits & wanted.bits, wanted.bits, "bits that are missing in set %d" % number)
        check(door.read_line().startswith(b":SATEX "), "SETEX of set %d" % number)
        keys_seen += len(keys)
        widened += got.bits != wanted.bits
        if len(keys) < 50:
            asked += LOOKED_UP
            maybe += sum(got.has(b"-%d-%d" % (number, i)) for i in range(LOOKED_UP))
    sender.join()
    check(maybe * 100 <= asked, "it says maybe to %d of %d keys that are not there" % (maybe, asked))
    runner.say("%d sets, %d keys, %d filters widened, maybe to %d of %d others, %.0f s" % (
        len(sets), keys_seen, widened, maybe, asked, time.monotonic() - start))
    door.close()
    node.close()


def a_filter_that_is_full_can_be_read_too(runner):
    node, keys = Node(), [b"k%d" % i for i in range(60000)]
    door = node.door()
    for count in (1500, 4000, 10000, 60000):
        door.send(b"SET %s\nREQUEST BLOOMFILTER\n" % b",".join(key + b":v" for key in keys[:count]))
        check(door.read_line().startswith(b":SAT "), "SET")
        got = Filter.parse(door.read_line().rstrip(b"\n").partition(b" ")[2])
        for key in keys[:count]:
            check(got.has(key), "of %d keys the filter says no to %r" % (count, key))
        runner.say("%d keys: %d of %d bits, %d without widening" % (
            count, got.count(), olivia_filter.BITS, Filter.of(keys[:count]).count()))
    door.send(b"SETEX %s\n" % b",".join(key + b":v:0" for key in keys))
    check(door.read_line().startswith(b":SATEX "), "SETEX")
    same(door.ask("REQUEST BLOOMFILTER"), ":FULFILLED " + Filter().text().decode(), "all are gone")
    door.close()
    node.close()


CASES = [the_vectors_are_right, every_key_is_in_the_filter_that_the_original_reads,
         a_filter_that_is_full_can_be_read_too]
