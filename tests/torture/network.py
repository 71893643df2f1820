# SPDX-License-Identifier: MIT
"""The network at its worst: storms of connects, half-open connections, resets in the middle,
single bytes, readers that never read, no descriptors left. Who behaves is answered all the time,
and afterwards nothing is left behind."""
import os
import resource
import socket
import struct
import threading
import time

from harness import PATIENCE, Server, check, same, wait_until

DEADLINES = ("--http-header-timeout", "1s", "--http-body-timeout", "1s", "--line-timeout", "1s",
             "--idle-timeout", "5s")
SLOWEST_S = 5.0            # an answer to who behaves, on a machine that has other things to do
LEFT_BYTES = 48 << 20      # that the process may have grown by in the end
CROWD = 400
GREEDY = 40
VALUE = "v" * 60000
FEW = 150                  # descriptors of the server that has few
SEGMENT_AND_MORE = 45      # megabytes
RESET = struct.pack("ii", 1, 0)
DOORS = ("tcp", "http")
HALVES = {"tcp": b"SET hdd 0 half of a l", "http": b"POST /rpc HTTP/1.1\r\nHost: h\r\nContent-Le"}
BODY = b"PUT /api/default/half HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf"


def dial(server, door):
    return socket.create_connection(("127.0.0.1", getattr(server, door)), PATIENCE)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


class Behaved:
    """Asks one thing after another on one connection of each door, and of a new one now and then."""

    def __init__(self, server, new=True):
        self.server, self.new = server, new
        self.slowest = self.answers = 0
        self.failure = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.guarded)
        self.thread.start()

    def guarded(self):
        try:
            self.run()
        except Exception as failure:
            self.failure = failure

    def run(self):
        asked = {"tcp": (b"GET hdd kept\n", b"good\n"),
                 "http": (b"GET /api/default/kept HTTP/1.1\r\nHost: h\r\n\r\n", b"good")}
        socks = {door: dial(self.server, door) for door in DOORS}
        while not self.ending.is_set():
            for door, (request, ending) in asked.items():
                start = time.monotonic()
                if self.new and self.answers % 5 == 0:
                    socks[door].close()
                    socks[door] = dial(self.server, door)
                socks[door].sendall(request)
                got = b""
                while not got.endswith(ending):
                    part = socks[door].recv(65536)
                    check(part, "who behaves was hung up on by %s, after %r" % (door, got[-200:]))
                    got += part
                self.slowest = max(self.slowest, time.monotonic() - start)
                self.answers += 1
            self.ending.wait(0.005)
        for sock in socks.values():
            sock.close()

    def end(self, what):
        self.ending.set()
        self.thread.join(PATIENCE * 2)
        if self.failure:
            raise self.failure
        check(self.answers > 0, "nobody was answered during %s" % what)
        check(self.slowest < SLOWEST_S, "%s: an answer took %.1f s" % (what, self.slowest))
        return "%s: %d answers, %.0f ms at most" % (what, self.answers, self.slowest * 1000)


def storm(server, seconds):
    """Connects that end at once, half of them by a reset; how many a second."""
    count, start = 0, time.monotonic()
    while time.monotonic() < start + seconds:
        for door in DOORS:
            try:
                reset(dial(server, door))
                count += 1
            except ConnectionError:
                pass
    return "%.0f connects a second" % (count / (time.monotonic() - start))


def halves(server, _):
    """They are cut off by the server's own deadlines."""
    socks = []
    for number in range(CROWD):
        door = DOORS[number % 2]
        socks.append(dial(server, door))
        socks[-1].sendall(BODY if number % 4 == 3 else HALVES[door])
    end = time.monotonic() + PATIENCE
    for sock in socks:
        sock.settimeout(max(end - time.monotonic(), 0.1))
        try:
            while sock.recv(1000):
                pass
        except ConnectionError:
            pass
        sock.close()
    return "%d half requests cut off" % len(socks)


def resets(server, _):
    for number in range(CROWD):
        door = DOORS[number % 2]
        sock = dial(server, door)
        sock.sendall(BODY if number % 4 == 3 else HALVES[door])
        reset(sock)
    return "%d resets" % CROWD


def single_bytes(server, _):
    """Through both doors at once, a byte at a time."""
    asked = {"tcp": b"SET hdd 0 slow v\nGETB hdd slow\n", "http":
             b"GET /api/default/kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"}
    wanted = {"tcp": b"+OK\n$1\nv\n", "http": b"good"}
    for door in DOORS:
        sock = dial(server, door)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(asked[door])):
            sock.sendall(asked[door][at:at + 1])
        got = b""
        while not got.endswith(wanted[door]):
            part = sock.recv(1000)
            check(part, "single bytes on %s: %r" % (door, got))
            got += part
        sock.close()
    return "single bytes"


def never_read(server, _):
    """They ask for much and take none of it: a bounded part of it is made."""
    before = memory(server)
    wants = {"tcp": b"GET hdd large\n" * 3000,
             "http": b"GET /api/default/large HTTP/1.1\r\nHost: h\r\n\r\n" * 300}
    socks = []
    for number in range(GREEDY):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", getattr(server, DOORS[number % 2])))
        sock.setblocking(False)
        try:
            sock.send(wants[DOORS[number % 2]])
        except BlockingIOError:
            pass
        socks.append(sock)
    most, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        most = max(most, memory(server) - before)
        time.sleep(0.05)
    wanted = GREEDY / 2 * 3300 * len(VALUE)
    check(most < wanted / 10, "%d MB more for who reads nothing" % (most >> 20))
    wait_until(lambda: descriptors(server) < GREEDY, "who never reads to be cut off")
    for sock in socks:
        sock.close()
    return "readers that never read made it grow by %d MB of %d" % (most >> 20, int(wanted) >> 20)


def descriptors(server):
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


def memory(server):
    with open("/proc/%d/statm" % server.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def beside(server, run, seconds, new=True):
    behaved = Behaved(server, new)
    wait_until(lambda: behaved.answers or behaved.failure, "who behaves to be there")
    try:
        told = run(server, seconds)
    finally:
        what = behaved.end(run.__name__)
    return told + "; " + what


def quiet(server, before):
    wait_until(lambda: descriptors(server) <= before, "descriptors to come back to %d" % before)


def fill(server):
    line = server.line()
    same(line.ask("SET hdd 0 kept good"), "+OK", "SET")
    same(line.ask("SET hdd 0 large " + VALUE), "+OK", "SET")
    line.close()


def exhaust(server, _):
    """More connections than there are descriptors. The store keeps what it needs of them: it goes
    on to its next journal segment meanwhile."""
    line = server.line()
    socks = [dial(server, DOORS[number % 2]) for number in range(FEW * 2)]
    try:
        wait_until(lambda: descriptors(server) > FEW // 2, "descriptors to be taken")
        for number in range(SEGMENT_AND_MORE):
            same(line.ask("SET hdd 0 big%d %s" % (number, "z" * 1000000)), "+OK",
                 "a SET without descriptors")
        taken = descriptors(server)
    finally:
        for sock in socks:
            sock.close()
        line.close()
    return "%d descriptors taken of %d, by %d connections" % (taken, FEW, len(socks))


def recovers(server):
    """How long a newcomer waits after it is over."""
    start = time.monotonic()
    behaved = Behaved(server)
    wait_until(lambda: behaved.answers > 20 or behaved.failure, "a newcomer to be answered")
    behaved.end("afterwards")
    return time.monotonic() - start


class Few(Server):
    prefix = ("prlimit", "--nofile=%d:%d" % (FEW, FEW))


def run(runner, seconds):
    server = Server(*DEADLINES, keep=runner.room())
    try:
        fill(server)
        recovers(server)
        quiet(server, descriptors(server))
        before, bytes_before = descriptors(server), memory(server)
        for scene in (storm, halves, resets, single_bytes, never_read):
            runner.say(beside(server, scene, seconds))
            check(recovers(server) < SLOWEST_S, "it does not recover from %s" % scene.__name__)
            quiet(server, before)
        grown = memory(server) - bytes_before
        check(grown < LEFT_BYTES, "%d MB are left behind" % (grown >> 20))
        runner.say("%d descriptors before, %d after; %d MB more" % (
            before, descriptors(server), grown >> 20))
        check(server.stop() == 0, "the end of a server")
    finally:
        server.close()
    server = Few(*DEADLINES, keep=runner.room())
    try:
        fill(server)
        recovers(server)
        wait_until(lambda: descriptors(server) <= FEW // 3, "descriptors to come back")
        before = FEW // 3
        runner.say(beside(server, exhaust, seconds, new=False))
        check(recovers(server) < SLOWEST_S, "it does not recover from a lack of descriptors")
        quiet(server, before)
        check(server.stop() == 0, "the end of a server")
    finally:
        server.close()
