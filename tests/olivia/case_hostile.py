# SPDX-License-Identifier: MIT
"""Peers that lie, fall silent, talk without end: a node stays well, and others are served."""
import random
import socket
import threading
import time

from case_originals import readable
from harness import check, same, wait_until
from node import Node
from original import Original
from process import free_port


class Hostile:
    """A listener; behave(sock) is what it does with each caller."""

    def __init__(self, behave):
        self.behave, self.ended, self.callers = behave, threading.Event(), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.callers += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            with sock:
                self.behave(self, sock)
        except OSError:
            pass

    def close(self):
        self.ended.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def each_line(sock, answer):
    with sock.makefile("rb") as file:
        for line in file:
            sock.sendall(answer(line))


def hash_of(line):
    return line.partition(b" ")[0].partition(b":")[0] if b":" in line.partition(b" ")[0] else b""


def garbage(hostile, sock):
    dice = random.Random(4)
    while not hostile.ended.is_set():
        sock.sendall(dice.randbytes(1000) + b"\n")


def an_endless_line(hostile, sock):
    while not hostile.ended.is_set():
        sock.sendall(b"A" * 65536)


def endless_lines(hostile, sock):
    while not hostile.ended.is_set():
        sock.sendall(b":FULFILLED hati:1:0123456789abcdef\n0:PONG 1\n[]Invalid command sent in.\n" *
                     1000)


def silence(hostile, sock):
    with sock.makefile("rb") as file:
        while not hostile.ended.is_set() and file.readline():
            pass


def no_reading(hostile, sock):
    hostile.ended.wait()


def hanging_up(hostile, sock):
    sock.recv(10)


def half_a_reply(hostile, sock):
    sock.recv(1000)
    sock.sendall(b":FULFILLED A8")


def wrong_hashes(hostile, sock):
    each_line(sock, lambda line: b"f00:FULFILLED hati:1:0123456789abcdef\n")


def a_hati_that_lies(hostile, sock):
    """Takes every filter to be huge, then small; sends hashes and bytes that are none."""
    dice = random.Random(5)

    def answer(line):
        kind = line.partition(b"REQUEST ")[2]
        if kind.startswith(b"HATI"):
            reply = b"FULFILLED hati:1:%016x" % dice.getrandbits(64)
        elif kind.startswith(b"PULSE"):
            reply = dice.choice((
                b"FULFILLED 7:1:1:9223372036854775807:9223372036854775807:-",
                b"FULFILLED 7:1:1:1:1073741824:-", b"FULFILLED 7:1:1:1:8192:-",
                b"FULFILLED 7:1:1:1:8193:-", b"FULFILLED 7:1:1:1:0:-", b"FULFILLED 0:0:0:0:0:",
                b"FULFILLED 7:5:5:5:8192:AAA", b"FULFILLED 7:5:5:5:8192:!!!!", b"FULFILLED ",
                b"FULFILLED 7:99999999999999999999:1:1:8192:-", b"FULFILLED -1:-1:-1:-1:-1:-",
                b"FULFILLED 7:1:9000000000000000000:1:8192:" + b"A" * 43))
        elif kind.startswith(b"FILTER"):
            reply = dice.choice((
                b"FULFILLED 7:0:-", b"FULFILLED 7:0:" + b"_" * 262144, b"FULFILLED 7:0:",
                b"FULFILLED 7:196608:" + b"_" * 400, b"FULFILLED 7:9223372036854775807:____",
                b"FULFILLED 8:0:____", b"FULFILLED x"))
        else:
            reply = dice.choice((b"FETCHED 0::", b"FETCHED -", b"FETCHED -1::QQ", b"GOT a:b",
                                 b"FETCHED 9223372036854775807:QQ:!", b"PONG 1", b"FETCHED"))
        return hash_of(line) + b":" + reply + b"\n"

    each_line(sock, answer)


def filters_that_are_none(hostile, sock):
    """An Olivia node that says maybe to nothing one can read, and gives what was not asked for."""
    dice = random.Random(6)

    def answer(line):
        if b"REQUEST HATI" in line:
            return b"Invalid command sent in.\n"
        if b"REQUEST" in line:
            reply = dice.choice((b"A999999999999999999999", b"A1612", b"99", b"", b"A8JXEA4294967295",
                                 b"A8JXE_1598", b"A8JXE_1600", b"%", b"A" * 1611))
            return hash_of(line) + b":FULFILLED " + reply + b"\n"
        if b"GET" in line:
            return hash_of(line) + dice.choice((b":GOT other:1,more:2\n", b":GOT ,,,:::\n",
                                                b":GOT\n", b":GOT :\n", b":SAT x:1\n"))
        return b"0:PONG 1\n"

    each_line(sock, answer)


def a_hati_that_says(pulse=b"7:0:0:1:8192:", fetched=b"FETCHED -"):
    """Its filter says maybe to all; pulse is its heartbeat once its filter is known."""
    def behave(hostile, sock):
        def answer(line):
            _, _, request = line.strip().partition(b"REQUEST ")
            reply = b"FULFILLED hati:1:0123456789abcdef"
            if request.startswith(b"PULSE:"):
                reply = b"FULFILLED " + (pulse if b":7:" in request else b"7:0:0:1:8192:-")
            elif request.startswith(b"FILTER:"):
                reply = b"FULFILLED 7:0:" + b"_" * 1365 + b"w"
            elif b"FETCH " in line:
                reply = fetched
            return hash_of(line) + b":" + reply + b"\n"

        each_line(sock, answer)

    return behave


KINDS = [garbage, an_endless_line, endless_lines, silence, no_reading, hanging_up, half_a_reply,
         wrong_hashes, a_hati_that_lies, filters_that_are_none]


def resident_kib(node):
    with open("/proc/%d/statm" % node.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * 4


def serves_beside(node, good, hostile):
    """Its own keys and a good peer's are found, and misses are told, while the other does its
    worst."""
    start, rounds = hostile.callers, 0
    while rounds < 40:
        rounds += 1
        same(node.ask("SET mine%d:%d" % (rounds, rounds))[:5], ":SAT ")
        same(node.get("mine%d" % rounds), "%d" % rounds)
        same(node.get("theirs"), "1", "a good peer's")
        same(node.get("nobody%d" % rounds), None)
    check(start >= 1, "it was never called")
    node.is_well()


def each_kind_of_hostile_peer(runner):
    for behave in KINDS:
        hostile, good = Hostile(behave), Original(readable({b"theirs": b"1"}))
        node = Node("--peer-reads", peers=[hostile.address, good.address])
        try:
            node.wait_for(good.address)
            wait_until(lambda: hostile.callers, "%s is not called" % behave.__name__)
            serves_beside(node, good, hostile)
            grown = resident_kib(node)
            check(grown < 300000, "%s: %d KiB are resident" % (behave.__name__, grown))
            same(node.stop(), 0, "%s: its end" % behave.__name__)
        finally:
            hostile.close()
            good.close()
            node.close()


def all_of_them_at_once(runner):
    hostiles = [Hostile(behave) for behave in KINDS]
    good = Original(readable({b"theirs": b"1"}))
    node = Node("--peer-reads", peers=[hostile.address for hostile in hostiles] + [good.address])
    try:
        node.wait_for(good.address)
        serves_beside(node, good, hostiles[0])
        line = node.line()
        line.send("SET memory 0 k 1\nGET memory k\nGET memory nobody\n" * 500)
        for _ in range(500):
            same(line.read_line(), b"+OK\n")
            same(line.read_line(), b"1\n")
            check(line.read_line().startswith(b"+ERR KEY_NOT_EXIST "), "nobody")
        line.close()
        same(node.stop(), 0, "its end")
    finally:
        for hostile in hostiles:
            hostile.close()
        good.close()
        node.close()


def gets_no_other(node, key, value):
    """It may take more than one question: an answer may come late again."""
    def there():
        got = node.get(key)
        check(got in (None, value), "%s is %r" % (key, got))
        return got is not None

    wait_until(there, "%s is not found" % key)


def an_answer_that_comes_late_is_for_nobody(runner):
    """It is not taken for the answer to the next question."""
    original = Original(readable({b"slow": b"late", b"quick": b"1"}))
    gate, answer = threading.Event(), original.answer

    def late(line, sock):
        made = answer(line, sock)
        if b"GET slow" in line:
            gate.wait(30)
        return made

    original.answer = late
    node = Node(peers=[original.address], timeout="300ms")
    node.wait_for(original.address)
    same(node.get("slow"), None, "not in time")
    check(node.stats()["timeouts"] >= 1, "timeouts")
    gate.set()
    for key, value in (("quick", "1"), ("slow", "late"), ("quick", "1")):
        gets_no_other(node, key, value)
    node.is_well()
    original.close()
    node.close()


def a_peer_that_hangs_up_on_a_question(runner):
    first, second = Original(readable({b"both": b"1"})), Original(readable({b"both": b"1"}))

    def hang_up(line, sock):
        if b"GET" in line:
            sock.shutdown(socket.SHUT_RDWR)
            return b""
        return Original.answer(first, line, sock)

    first.answer = hang_up
    node = Node(peers=[first.address, second.address])
    node.wait_for(first.address, second.address)
    for _ in range(20):
        same(node.get("both"), "1", "the other has it too")
    node.is_well()
    first.close()
    second.close()
    node.close()


def a_liar_is_called_back_ever_more_rarely(runner):
    """A heartbeat that is answered before the lie does not end the waiting."""
    hostile = Hostile(a_hati_that_says(pulse=b"7:0:0:1:16384:"))
    start, node = time.monotonic(), Node(peers=[hostile.address], beat="20ms")
    wait_until(lambda: hostile.callers >= 7, "it is not called back")
    took = time.monotonic() - start  # seven calls have six waits between them, of 50 ms doubled
    check(took >= 3, "seven calls in %.1f s" % took)
    node.is_well()
    same(node.stop(), 0)
    hostile.close()
    node.close()


def who_wants_filters_without_end_keeps_nobody_waiting(runner):
    """Between the replies to one connection the others have theirs."""
    node, total = Node("--tcp-threads", "1"), 80000
    greedy, other = node.door(), node.door()
    other.ask("SET k:1," + ",".join("key%d:1" % i for i in range(1500)))
    counted, wanted = [0], b"REQUEST BLOOMFILTER\n" * total

    def read():
        while counted[0] < total:
            counted[0] += greedy.sock.recv(1 << 18).count(b"\n")

    reader = threading.Thread(target=read, daemon=True)
    writer = threading.Thread(target=greedy.sock.sendall, args=(wanted,), daemon=True)
    reader.start()
    writer.start()
    wait_until(lambda: counted[0], "no reply")
    turns = 0
    while counted[0] < total:
        same(other.ask("GET k"), ":GOT k:1")
        turns += 1
    check(turns >= 40, "%d replies beside %d filters" % (turns, total))
    reader.join()
    same(node.stop(), 0)
    node.close()


def a_content_type_is_as_every_door_takes_it(runner):
    for text, good in ((b"dGV4dC9wbGFpbg", True), (b"__4", False), (b"DQo", False)):
        hostile = Hostile(a_hati_that_says(fetched=b"FETCHED 0:" + text + b":djE"))
        node = Node("--peer-reads", peers=[hostile.address])
        node.wait_for(hostile.address)
        answer = node.request("GET", "/api/default/theirs?type=memory")
        same(answer.status, 200 if good else 404, text)
        if good:
            same(answer.headers["Content-Type"], "text/plain")
        hostile.close()
        node.close()


def addresses_that_lead_nowhere(runner):
    """A name that is none, a port where nobody listens, and the node itself."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        good = Original(readable({b"theirs": b"1"}))
        port, own = closed.getsockname()[1], free_port()
        node = Node(port=own, peers=["no.such.name.invalid:5454", "127.0.0.1:%d" % port,
                                     "127.0.0.1:%d" % own, "localhost:%d" % own, good.address])
        node.wait_for(good.address)
        same(node.get("theirs"), "1")
        same(node.get("nobody"), None)
        wait_until(lambda: node.peer("127.0.0.1:%d" % own)["state"] == "self", "it asks itself")
        node.is_well()
        same(node.stop(), 0)
        good.close()
        node.close()


CASES = [each_kind_of_hostile_peer, all_of_them_at_once, an_answer_that_comes_late_is_for_nobody,
         a_peer_that_hangs_up_on_a_question, a_liar_is_called_back_ever_more_rarely,
         who_wants_filters_without_end_keeps_nobody_waiting,
         a_content_type_is_as_every_door_takes_it, addresses_that_lead_nowhere]
