# SPDX-License-Identifier: MIT
"""Olivia's door beside Hati's, and what a miss costs among peers."""
import json
import os
import socket
import statistics
import time
import urllib.request

from measure import BUILD, Hati, free_port, load, middle, note, settings

PEERS, KEYS_EACH = 16, 1000000
NOBODYS = 10**11  # where the numbers of keys begin that nobody has


class OliviaHati(Hati):
    def __init__(self, *flags):
        self.olivia = free_port()
        super().__init__("--olivia", "--olivia-port", str(self.olivia), "--log-level", "error", *flags)

    def olivias(self, mode, depth, keys, first=0, value_bytes=100, seconds=None):
        out = load(os.path.join(BUILD, "bench_line_load"), "--port", self.olivia, "--mode", mode,
                   "--dialect", "olivia", "--depth", depth, "--keys", keys, "--first", first,
                   "--value-bytes", value_bytes, "--seconds", seconds or settings.seconds)
        seen = json.loads(out)
        if seen["errors"]:
            raise SystemExit("errors in %s" % out)
        return seen["per_second"]

    def processor_seconds(self):
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii") as file:
            words = file.read().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def stats(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/stats" % self.http) as answer:
            return json.loads(answer.read())


def bench_dialects():
    """Requests a second, and how much of the processor each took: other work on the machine
    disturbs that less. Each in a server of its own: of two sets of keys in one table, those that
    came first are found sooner."""
    beside, hati = OliviaHati(), OliviaHati()
    beside.lines("fill", "memory", 32, 100000)
    hati.olivias("fill", 32, 100000)
    for depth in (1, 32):
        seen = {}

        def measured(server, run):
            start, rate = server.processor_seconds(), run()
            seen.setdefault(server, []).append(
                (server.processor_seconds() - start) / (rate * settings.seconds) * 1e9)
            return rate

        for mode in ("get", "set"):
            theirs, ours = middle(
                lambda: measured(beside, lambda: beside.lines(mode, "memory", depth, 100000)),
                lambda: measured(hati, lambda: hati.olivias(mode, depth, 100000)))
            what = "Olivia %s, depth %d" % (mode.upper(), depth)
            note(what, ours, theirs, "Hati lines", "0.9", passed=ours / theirs >= 0.9)
            note(what + ", processor time", statistics.median(seen.pop(hati)),
                 statistics.median(seen.pop(beside)), "Hati lines", unit=" ns")
    beside.close()
    hati.close()


def bench_misses():
    """Sixteen hati nodes, each with a million keys of its own, are the peers of one more."""
    peers, alone = [], None
    try:
        for i in range(PEERS):
            peer = OliviaHati()
            peers.append(peer)
            peer.olivias("fill", 32, KEYS_EACH, i * KEYS_EACH, 8)
        alone = OliviaHati()
        asker = OliviaHati("--peers", ",".join("127.0.0.1:%d" % peer.olivia for peer in peers))
        wait_for_filters(peers, asker)
        peers.append(asker)
        bare, misses = middle(lambda: alone.olivias("get", 1, 10**6, NOBODYS),
                              lambda: asker.olivias("get", 1, 10**6, NOBODYS))
        seen = asker.stats()["peers"]
        each = seen["asked"] / seen["misses"]
        note("GET misses, %d peers of a million keys, depth 1" % PEERS, misses, bare,
             "a node without peers")
        note("peers asked for a miss", each, unit="", target="under 0.3", passed=each < 0.3)
        note("  of so many misses", seen["misses"], unit="")
        note("misses that ran out of time", seen["timeouts"], unit="")
        found = asker.olivias("get", 1, PEERS * KEYS_EACH)
        note("GETs that one of %d peers answers, depth 1" % PEERS, found)
        after = asker.stats()["peers"]
        note("peers asked for such a GET", (after["asked"] - seen["asked"]) /
             max(after["misses"] - seen["misses"], 1), unit="")
        note("  of these found", (after["hits"] - seen["hits"]) /
             max(after["misses"] - seen["misses"], 1), unit="")
    finally:
        for one in peers + [alone] * bool(alone):
            one.close()


def bits(peer):
    """Of its filter."""
    with socket.create_connection(("127.0.0.1", peer.olivia)) as sock, sock.makefile("rb") as file:
        sock.sendall(b"REQUEST PULSE:1:0\n")
        return int(file.readline().split(b":")[5])


def wait_for_filters(peers, asker):
    """Until each is as large as its keys want, and has been fetched."""
    for _ in range(3000):
        nodes = asker.stats()["peers"]["nodes"]
        if all(node["filter"] and node["keys"] == KEYS_EACH for node in nodes) and \
                all(bits(peer) >= 10 * KEYS_EACH for peer in peers):
            time.sleep(3)  # heartbeats
            return
        time.sleep(0.02)
    raise SystemExit("not all filters came: %s" % nodes)


def bench_olivia():
    bench_dialects()
    bench_misses()
