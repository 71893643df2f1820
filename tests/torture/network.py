# SPDX-License-Identifier: MIT
"""The network at its worst: storms of connects, half-open connections, requests that trickle in,
resets in the middle, single bytes, readers that never read, no descriptors left; on each door, in the
clear and through TLS. Who behaves is answered all the time, and afterwards nothing is left behind."""
import multiprocessing
import os
import resource
import socket
import ssl
import statistics
import struct
import time

from cases_olivia import Olivia
from harness import PATIENCE, TLS_FLAGS, Failure, check, same, trusting, wait_until

DEADLINES = ("--http-header-timeout", "1s", "--http-body-timeout", "1s", "--line-timeout", "1s",
             "--handshake-timeout", "1s", "--idle-timeout", "5s")
SLOWEST_S = 5.0            # an answer to who behaves, on a machine that has other things to do
FLOOR_S = 0.001            # faster than this is not slow, whatever it was before
AT_ONCE_S = 1.0            # for a newcomer to have 20 answers, where there is time to tell
CONNECTS = 10000           # a second make a storm
WORSE = 2                  # times as slow may half of the answers be under attack
LEFT_BYTES = 80 << 20      # that the process may have grown by in the end: TLS keeps 58 MB of heap
CROWD = 400
GREEDY = 42
TRICKLE_S = 0.05
VALUE = "v" * 60000
FEW = 150                  # descriptors of the server that has few
SEGMENT_AND_MORE = 45      # megabytes
RESET = struct.pack("ii", 1, 0)
DOORS = ("tcp", "http", "olivia")
HALVES = {"tcp": b"SET hdd 0 half of a l", "http": b"POST /rpc HTTP/1.1\r\nHost: h\r\nContent-Le",
          "olivia": b"SET half:of a l"}
BODY = b"PUT /api/default/half HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf"
LARGE = {"tcp": b"GET hdd large\n", "olivia": b"GET large\n",
         "http": b"GET /api/default/large HTTP/1.1\r\nHost: h\r\n\r\n"}
ASKED = {"tcp": (b"GET hdd kept\n", b"good\n"),
         "http": (b"GET /api/default/kept HTTP/1.1\r\nHost: h\r\n\r\n", b"good"),
         "olivia": (b"GET kept\n", b":GOT kept:good\n")}


def dial(server, door):
    return socket.create_connection(("127.0.0.1", getattr(server, door)), PATIENCE)


def speak(server, door):
    """With a handshake behind it, where the server wants one."""
    sock = dial(server, door)
    return trusting().wrap_socket(sock) if server.secure else sock


def hello():
    """What a client of TLS says first."""
    out = ssl.MemoryBIO()
    try:
        trusting().wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def half(server, door, number):
    """What stops in the middle: of a handshake, a head, a body, a line."""
    if server.secure and number % 4 < 3:
        said = hello()
        return dial(server, door), (b"", said[:len(said) // 2], said)[number % 4]
    return speak(server, door), BODY if door == "http" and number % 2 else HALVES[door]


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


class Behaved:
    """A process that asks one thing after another on one connection of each door, and of a new one now
    and then, and takes down how long each answer took."""

    def __init__(self, server, new=True):
        self.server, self.new = server, new
        fork = multiprocessing.get_context("fork")
        self.ending, self.count = fork.Event(), fork.Value("i", 0)
        self.told, tell = fork.Pipe(duplex=False)
        self.process = fork.Process(target=self.guarded, args=(tell,), daemon=True)
        self.process.start()
        tell.close()

    @property
    def answers(self):
        return self.count.value

    def over(self):
        return not self.process.is_alive() or self.told.poll()

    def guarded(self, tell):
        try:
            tell.send((self.run(), None))
        except Exception as failure:
            tell.send(([], repr(failure)))

    def run(self):
        took = []
        socks = {door: speak(self.server, door) for door in DOORS}
        while not self.ending.is_set():
            for door, (request, ending) in ASKED.items():
                start = time.monotonic()
                if self.new and len(took) // 3 % 5 == 0:
                    socks[door].close()
                    socks[door] = speak(self.server, door)
                socks[door].sendall(request)
                got = b""
                while not got.endswith(ending):
                    part = socks[door].recv(65536)
                    check(part, "who behaves was hung up on by %s, after %r" % (door, got[-200:]))
                    got += part
                took.append(time.monotonic() - start)
                self.count.value += 1
            time.sleep(0.005)
        return took

    def end(self, what):
        """How long the answers took, those over new connections aside; and the slowest of all."""
        self.ending.set()
        check(self.told.poll(PATIENCE * 2), "%s: who behaves hangs" % what)
        took, failure = self.told.recv()
        self.process.join(PATIENCE)
        if failure:
            raise Failure("%s: %s" % (what, failure))
        check(took, "nobody was answered during %s" % what)
        check(max(took) < SLOWEST_S, "%s: an answer took %.1f s" % (what, max(took)))
        return took


def storm(server, seconds):
    """Connects that end at once, by a reset; how many a second."""
    count, start = 0, time.monotonic()
    said = hello()
    while time.monotonic() < start + seconds:
        for door in DOORS:
            try:
                sock = dial(server, door)
                if server.secure and count % 2:
                    sock.sendall(said)
                reset(sock)
                count += 1
            except ConnectionError:
                pass
    rate = count / (time.monotonic() - start)
    check(rate >= CONNECTS or server.secure or seconds <= 1, "%.0f connects a second are no storm" % rate)
    return "%.0f connects a second" % rate


def cut_off(socks):
    """Reads until the server has ended each of them."""
    end = time.monotonic() + PATIENCE
    for sock in socks:
        sock.settimeout(max(end - time.monotonic(), 0.1))
        try:
            while sock.recv(1000):
                pass
        except socket.timeout:
            raise Failure("a half request is not cut off") from None
        except OSError:
            pass
        sock.close()


def halves(server, _):
    """They are cut off by the server's own deadlines."""
    socks = []
    for number in range(CROWD):
        sock, said = half(server, DOORS[number % 3], number)
        sock.sendall(said)
        socks.append(sock)
    cut_off(socks)
    return "%d half requests cut off" % len(socks)


def slow_loris(server, _):
    """A byte of a request, and soon another: never silent, never done. The deadlines are absolute."""
    socks = {}
    whole = {"tcp": b"SET hdd 0 k " + b"v" * 4000, "olivia": b"SET k:" + b"v" * 4000, "http":
             b"GET /api/default/kept HTTP/1.1\r\nHost: h\r\nX: " + b"v" * 4000}
    for number in range(CROWD):
        door = DOORS[number % 3]
        shake = server.secure and number % 2
        socks[dial(server, door) if shake else speak(server, door)] = \
            hello() if shake else whole[door]
    count, start, at = len(socks), time.monotonic(), 0
    while socks:
        check(time.monotonic() < start + PATIENCE, "%d who trickle are not cut off" % len(socks))
        for sock in list(socks):
            try:
                sock.sendall(socks[sock][at:at + 1])
                sock.setblocking(False)
                if not sock.recv(1000, *(() if isinstance(sock, ssl.SSLSocket) else (0,))):
                    raise ConnectionError
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                sock.setblocking(True)
            except OSError:
                sock.close()
                del socks[sock]
            else:
                sock.setblocking(True)
        at += 1
        time.sleep(TRICKLE_S)
    return "%d who trickle cut off after %.1f s at most" % (count, time.monotonic() - start)


def resets(server, seconds):
    """In the middle of a request, and of its answer."""
    number, end = 0, time.monotonic() + seconds
    while number < CROWD or time.monotonic() < end:
        door = DOORS[number % 3]
        if number % 2:
            sock = speak(server, door)
            sock.sendall(LARGE[door] * 10)
            check(sock.recv(100), "no answer on %s" % door)
        else:
            sock, said = half(server, door, number)
            sock.sendall(said)
        reset(sock)
        number += 1
    return "%d resets" % number


def single_bytes(server, seconds):
    """Through all doors, a byte at a time."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        count += byte_by_byte(server)
    return "%d requests in single bytes" % count


def byte_by_byte(server):
    asked = {"tcp": b"SET hdd 0 slow v\nGETB hdd slow\n", "http":
             b"GET /api/default/kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
             "olivia": b"SET slow:v\nGET slow\n"}
    wanted = {"tcp": b"+OK\n$1\nv\n", "http": b"good", "olivia": b":SAT slow:v\n:GOT slow:v\n"}
    for door in DOORS:
        sock = speak(server, door)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(asked[door])):
            sock.sendall(asked[door][at:at + 1])
        got = b""
        while not got.endswith(wanted[door]):
            part = sock.recv(1000)
            check(part, "single bytes on %s: %r" % (door, got))
            got += part
        sock.close()
    return len(DOORS)


def never_read(server, _):
    """They ask for much and take none of it, with windows of 64 KiB and small ones: a bounded part of
    it is made."""
    before = memory(server)
    wants = {door: request * (300 if door == "http" else 3000) for door, request in LARGE.items()}
    socks = []
    for number in range(GREEDY):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, (4096, 65536)[number % 2])
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", getattr(server, DOORS[number % 3])))
        if server.secure:
            sock = trusting().wrap_socket(sock)
        sock.setblocking(False)
        try:
            sock.send(wants[DOORS[number % 3]])
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        socks.append(sock)
    most, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        most = max(most, memory(server) - before)
        time.sleep(0.05)
    wanted = GREEDY / 3 * 6300 * len(VALUE)
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


def quietly(server, seconds):
    """What half of the answers take less than, with nobody else there."""
    behaved = Behaved(server)
    wait_until(lambda: behaved.answers or behaved.over(), "who behaves to be there")
    behaved.ending.wait(seconds)
    return statistics.median(behaved.end("quiet"))


def beside(server, run, seconds, usual, new=True):
    """Runs an attack beside who behaves; `usual` is what half of his answers took less than before."""
    behaved = Behaved(server, new)
    wait_until(lambda: behaved.answers or behaved.over(), "who behaves to be there")
    try:
        told = run(server, seconds)
    finally:
        took = behaved.end(run.__name__)
    median = statistics.median(took)
    told = "%s; %d answers beside it, half of them within %.2f ms (%.2f before), all within %.0f" % (
        told, len(took), median * 1000, usual * 1000, max(took) * 1000)
    if seconds > 1: # where there is the time to tell chance from slowness
        check(median <= max(usual * WORSE, FLOOR_S), "too slow: " + told)
    return told


def quiet(server, before):
    wait_until(lambda: descriptors(server) <= before, "descriptors to come back to %d" % before)


def fill(server):
    line = server.line()
    for storage in ("hdd", "memory"):
        same(line.ask("SET %s 0 kept good" % storage), "+OK", "SET")
        same(line.ask("SET %s 0 large %s" % (storage, VALUE)), "+OK", "SET")
    line.close()


def exhaust(server, _):
    """More connections than there are descriptors. The store keeps what it needs of them: it goes
    on to its next journal segment meanwhile."""
    line = server.line()
    socks = [dial(server, DOORS[number % 3]) for number in range(FEW * 2)]
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
    wait_until(lambda: behaved.answers > 20 or behaved.over(), "a newcomer to be answered")
    behaved.end("afterwards")
    return time.monotonic() - start


class Doors(Olivia):
    """Each door; through TLS, where it is secure."""

    secure = False

    def line(self, token=None):
        return self.unix_line()


class Few(Doors):
    prefix = ("prlimit", "--nofile=%d:%d" % (FEW, FEW))


def attack(runner, seconds, secure):
    server = Doors(*DEADLINES, *(TLS_FLAGS if secure else ()), keep=runner.room())
    server.secure = secure
    try:
        fill(server)
        recovers(server)
        quiet(server, descriptors(server))
        usual = quietly(server, max(seconds / 2, 0.2))
        before, bytes_before = descriptors(server), memory(server)
        scenes = (storm, halves, slow_loris, resets, single_bytes, never_read)
        for scene in scenes if seconds >= 1 or not secure else scenes[1:3]:
            runner.say(beside(server, scene, seconds, usual))
            recovered = recovers(server)
            check(recovered < (AT_ONCE_S if seconds > 1 else SLOWEST_S), "a newcomer waits %.1f s "
                  "after %s" % (recovered, scene.__name__))
            quiet(server, before)
        grown = memory(server) - bytes_before
        check(grown < LEFT_BYTES, "%d MB are left behind" % (grown >> 20))
        runner.say("%s: %d descriptors before, %d after; %d MB more" % (
            "TLS" if secure else "in the clear", before, descriptors(server), grown >> 20))
        check(server.stop() == 0, "the end of a server")
    finally:
        server.close()


def run(runner, seconds):
    for secure in (False, True):
        attack(runner, seconds, secure)
    server = Few(*DEADLINES, keep=runner.room())
    try:
        fill(server)
        recovers(server)
        wait_until(lambda: descriptors(server) <= FEW // 3, "descriptors to come back")
        before = FEW // 3
        usual = quietly(server, max(seconds / 2, 0.2))
        runner.say(beside(server, exhaust, seconds, usual, new=False))
        check(recovers(server) < SLOWEST_S, "it does not recover from a lack of descriptors")
        quiet(server, before)
        check(server.stop() == 0, "the end of a server")
    finally:
        server.close()
