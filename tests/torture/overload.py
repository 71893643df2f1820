# SPDX-License-Identifier: MIT
"""Five times as much work as a server can do comes at once: it does as much as before, and who asks
for one thing beside that is answered in bounded time."""
import multiprocessing
import selectors
import socket
import time

from harness import PATIENCE, Server, check, same

PEAK_CONNECTIONS = 16
TIMES = 5
LEAST = 0.8    # of the peak, where nothing else runs,
BESIDE = 0.05  # and beside other tests only that it does not give in
MOST = 0.95    # of those who are turned away are told why; a hasty one may cut that off
TRIES = 3
SLOWEST_S = 3.0  # a lone request
VALUE = b"v" * 100


def get(path):
    return b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path


def put(path):
    return b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (path, len(VALUE), VALUE)


# Name, door, what a connection keeps sending, its answers' beginnings (good, refused: of
# one length), the depth.
SCENES = [
    ("lines, GET memory", "tcp", b"GET memory k\n", b"vvv\n", b"+ERR", 200),
    ("lines, SET hdd", "tcp", b"SET hdd 0 k " + VALUE + b"\n", b"+OK\n", b"+ERR", 200),
    ("HTTP, GET", "http", get(b"/api/default/k"), b"HTTP/1.1 200", b"HTTP/1.1 503", 16),
    ("HTTP, PUT", "http", put(b"/api/default/k"), b"HTTP/1.1 204", b"HTTP/1.1 503", 16),
]


class Peer:
    """Keeps `depth` requests in flight."""

    def __init__(self, port, scene):
        _, _, self.request, self.good, self.bad, self.depth = scene
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setblocking(False)
        self.rest, self.tail = self.request * self.depth, b""
        self.done = self.refused = 0

    def push(self):
        try:
            while self.rest:
                self.rest = self.rest[self.sock.send(self.rest):]
        except BlockingIOError:
            pass

    def pull(self):
        """Whether it goes on."""
        try:
            got = self.sock.recv(262144)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not got:
            return False
        got = self.tail + got
        good, bad = got.count(self.good), got.count(self.bad)
        self.tail = got[len(got) - max(len(self.good), len(self.bad)) + 1:]
        self.done += good
        self.refused += bad
        self.rest += self.request * (good + bad)
        self.push()
        return True


def drive(port, scene, count, seconds, pipe):
    peers = [Peer(port, scene) for _ in range(count)]
    selector = selectors.DefaultSelector()
    for peer in peers:
        selector.register(peer.sock, selectors.EVENT_READ, peer)
        peer.push()
    pipe.send("ready")
    start = time.monotonic()
    skipped = None
    while (now := time.monotonic()) < start + seconds:
        if skipped is None and now > start + seconds / 4:
            skipped, since = sum(peer.done for peer in peers), now
        for key, _ in selector.select(0.05):
            if not key.data.pull():
                selector.unregister(key.data.sock)
        for peer in peers:
            peer.push()
    done = sum(peer.done for peer in peers) - skipped
    idle = sum(peer.done == 0 for peer in peers)
    pipe.send((done / (time.monotonic() - since), sum(peer.refused for peer in peers), idle))


class Load:
    """In a process of its own, so that who measures beside it is not held up by it."""

    def __init__(self, server, scene, count, seconds):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=drive, daemon=True, args=(
            getattr(server, scene[1]), scene, count, seconds, other))
        self.process.start()
        other.close()
        self.wait()

    def wait(self):
        check(self.pipe.poll(PATIENCE), "a load does not end")
        return self.pipe.recv()

    def end(self):
        """(answers a second, refusals, connections without any answer)"""
        told = self.wait()
        self.process.join(PATIENCE)
        return told


def lone(server, scene):
    """How long one answer takes to a client of its own, that connects for it."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", getattr(server, scene[1])), PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(scene[2])
        got = sock.recv(65536)
    check(got and not got.startswith(scene[4]), "a lone request is answered %.100r" % got)
    return time.monotonic() - start


def attack(server, scene, seconds):
    """(peak, under overload, refused, connections without an answer, the slowest lone answer)"""
    peak = Load(server, scene, PEAK_CONNECTIONS, seconds / 2).end()[0]
    load = Load(server, scene, PEAK_CONNECTIONS * TIMES, seconds)
    slowest, end = 0, time.monotonic() + seconds * 0.8
    while time.monotonic() < end:
        slowest = max(slowest, lone(server, scene))
        time.sleep(0.01)
    goodput, refused, idle = load.end()
    return peak, goodput, refused, idle, slowest


def crowd_out(runner):
    """More connections than there may be: those that were let in are served, the rest are told."""
    limit = 100
    server = Server("--connection-limit", str(limit), keep=runner.room())
    try:
        for door, request in (("tcp", b"PING\n"), ("http", get(b"/status"))):
            socks = [socket.create_connection(("127.0.0.1", getattr(server, door)), PATIENCE)
                     for _ in range(limit * TIMES)]
            served = told = 0
            for sock in socks:
                try:
                    sock.sendall(request)
                    got = sock.recv(1000)
                except ConnectionError:
                    continue
                served += got.startswith((b"+PONG", b"HTTP/1.1 200"))
                told += got.startswith((b"+ERR UNAVAILABLE", b"HTTP/1.1 503")) and (
                    door == "tcp" or b"\r\nRetry-After: 1\r\n" in got)
            check(told >= MOST * (len(socks) - served), "only %d of %d who are not served on %s were "
                  "told why" % (told, len(socks) - served, door))
            check(limit - 5 <= served <= limit, "%d of %d are served on %s" % (served, limit, door))
            for sock in socks:
                sock.close()
            end = time.monotonic() + PATIENCE
            while not answers(server, door, request):
                check(time.monotonic() < end, "nobody is let in after the crowd left")
    finally:
        server.close()


def answers(server, door, request):
    try:
        with socket.create_connection(("127.0.0.1", getattr(server, door)), PATIENCE) as sock:
            sock.sendall(request)
            return sock.recv(1000).startswith((b"+PONG", b"HTTP/1.1 200"))
    except ConnectionError:
        return False


def run(runner, seconds, alone):
    server = Server(keep=runner.room())
    try:
        line = server.line()
        for storage in ("memory", "hdd"):
            same(line.ask("SET %s 0 k vvv" % storage), "+OK", "SET")
        line.close()
        for scene in SCENES:
            for last in range(TRIES, 0, -1):
                peak, goodput, refused, idle, slowest = attack(server, scene, seconds)
                if last == 1 or (goodput >= LEAST * peak and not idle and slowest < SLOWEST_S):
                    break
            runner.say("%s: %.0f/s at most, %.0f/s (%.0f %%) of %d times that, %d refused, a lone "
                       "answer in %.0f ms at most" % (scene[0], peak, goodput, 100 * goodput / peak,
                                                      TIMES, refused, slowest * 1000))
            same(idle, 0, "connections of %s without an answer" % scene[0])
            check(goodput >= (LEAST if alone else BESIDE) * peak, "%s: %.0f/s of %.0f/s are left" % (
                scene[0], goodput, peak))
            check(slowest < SLOWEST_S, "%s: a lone answer takes %.1f s" % (scene[0], slowest))
        check(server.stop() == 0, "the end of a server")
    finally:
        server.close()
    crowd_out(runner)
