# SPDX-License-Identifier: MIT
"""Olivia's door beside Hati's, and what a miss costs among peers."""
import json
import os
import time
import urllib.request

from measure import BUILD, Hati, free_port, load, middle, note, settings

PEERS, KEYS_EACH = 16, 1000000
NOBODYS = 10**11  # where the numbers of keys begin that nobody has


class OliviaHati(Hati):
    def __init__(self, *flags):
        self.olivia = free_port()
        super().__init__("--olivia", "--olivia-port", str(self.olivia), *flags)

    def olivias(self, mode, depth, keys, first=0, value_bytes=100, seconds=None):
        out = load(os.path.join(BUILD, "bench_line_load"), "--port", self.olivia, "--mode", mode,
                   "--dialect", "olivia", "--depth", depth, "--keys", keys, "--first", first,
                   "--value-bytes", value_bytes, "--seconds", seconds or settings.seconds)
        seen = json.loads(out)
        if seen["errors"]:
            raise SystemExit("errors in %s" % out)
        return seen["per_second"]

    def stats(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/stats" % self.http) as answer:
            return json.loads(answer.read())


def bench_dialects():
    hati = OliviaHati()
    hati.lines("fill", "memory", 32, 100000)
    hati.olivias("fill", 32, 100000)
    for depth in (1, 32):
        theirs, ours, theirs_set, ours_set = middle(
            lambda: hati.lines("get", "memory", depth, 100000),
            lambda: hati.olivias("get", depth, 100000),
            lambda: hati.lines("set", "memory", depth, 100000),
            lambda: hati.olivias("set", depth, 100000))
        for what, one, other in (("GET", ours, theirs), ("SET", ours_set, theirs_set)):
            note("Olivia %s, depth %d" % (what, depth), one, other, "Hati lines", "0.9",
                 passed=one / other >= 0.9)
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
        peers.append(asker)
        wait_for_filters(asker)
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


def wait_for_filters(asker):
    for _ in range(3000):
        nodes = asker.stats()["peers"]["nodes"]
        if all(node["filter"] and node["keys"] == KEYS_EACH for node in nodes):
            return
        time.sleep(0.02)
    raise SystemExit("not all filters came: %s" % nodes)


def bench_olivia():
    bench_dialects()
    bench_misses()
