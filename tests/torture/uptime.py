# SPDX-License-Identifier: MIT
"""A server, and the machine that it runs on, that have been up for long: past 2^31 and 2^32 ms (24.8
and 49.7 days) and for 100 days, by the steady clock and the wall clock alike."""
import json
import math
import os
import re
import threading
import time

from cases_jwks import Issuer, Key
from doors import WORKSPACE
from harness import PATIENCE, Line, Server, b64url, check, connect, same, wait_until
from shim import Control

HOUR = 3600 * 1000
DAY = 24 * HOUR
FAR = 60 * DAY   # more than 2^32 ms
END = 100 * DAY
BURST = 5
MEMORY_KEYS = 50


def marks(machine_ms):
    """Uptimes of the server at which something may overflow: of its own and of the machine's."""
    edges = [bits - since for bits in (1 << 31, 1 << 32) for since in (0, machine_ms)]
    return sorted(at for edge in edges for at in (edge - 1000, edge + 1000) if at > 0) + [END]


class Long:
    """A server whose clocks are moved to where they would be after so long."""

    def __init__(self, runner, *flags, machine_ms=0, env=None):
        room = runner.room()
        self.control = Control(runner.library, os.path.join(room, "data"))
        self.base = machine_ms
        self.control.set("steady_ms", machine_ms)
        self.server = Server(*flags, keep=room, env=dict(self.control.env(), **(env or {})))
        self.began = time.monotonic()
        self.at = 0

    def move(self, at):
        self.at = at
        self.control.set("clock_ms", at)
        self.control.set("steady_ms", self.base + at)

    def now_s(self):
        return time.time() + self.at / 1000

    def close(self):
        if self.server.process.poll() is None:
            self.server.kill()
        self.control.close()
        self.server.close()


class Lasting:
    """What is open from the first day to the last."""

    def __init__(self, server):
        self.line, self.subscriber, self.watcher = server.line(), server.line(), server.line()
        same(self.line.ask("CREATEQUEUE pushed memory"), "+OK", "CREATEQUEUE")
        same(self.subscriber.ask("SUBSCRIBE pushed"), "+OK", "SUBSCRIBE")
        same(self.watcher.ask("WATCH hdd seen"), "+OK", "WATCH")
        same(self.watcher.read_line()[:5], b"READY", "WATCH")

    def look(self, server, number):
        same(self.line.ask("PING"), "+PONG", "an old connection")
        same(self.line.ask("PUBLISH default pushed %d" % number)[:3], "+OK", "PUBLISH")
        head = self.subscriber.file.readline()
        same(head[:4], b"MSG ", "what is pushed")
        length = int(head.split(b" ")[-1])
        same(self.subscriber.file.read(length + 1), b"%d\n" % number, "a message pushed")
        same(self.subscriber.ask("ACK pushed " + head.split(b" ")[1].decode()), "+OK", "ACK")
        same(server.request("PUT", "/api/default/seen%d" % number, "v").status, 204, "PUT")
        check(b"seen%d" % number in self.watcher.file.readline(), "a change told")

    def close(self):
        for line in (self.line, self.subscriber, self.watcher):
            line.close()


def every_door(server, number, moved):
    """moved: an hour or more since the last time."""
    line = server.line()
    for storage in ("memory", "hdd"):
        same(line.ask("SET %s %d soon%d v" % (storage, HOUR, number)), "+OK", "SET")
        check(HOUR - 60000 < int(line.ask("TTL %s soon%d" % (storage, number))) <= HOUR, "TTL")
        same(line.ask("INCR %s count" % storage), str(number + 1), "INCR")
        if moved:
            told = line.ask("GET %s soon%d" % (storage, number - 1))
            check(told.startswith("+ERR KEY_NOT_EXIST"), "an entry outlives its TTL")
    same(server.rpc("Server.Ping")["result"], "pong", "JSON-RPC")
    same(server.request("GET", "/status").status, 200, "/status")
    same(server.request("GET", "/readyz").status, 200, "/readyz")
    same(server.request("GET", "/kv-store/key-count").status, 200, "/kv-store")
    for queue in ("passing", "passinghdd"):
        same(line.ask("PUBLISH default %s m" % queue)[:3], "+OK", "PUBLISH")
        got = server.rpc("Broker.Receive", {"queue": queue})["result"]["messages"]
        same([one["payload"] for one in got], ["m"], "received")
        same(line.ask("ACK %s %s" % (queue, got[0]["receipt"])), "+OK", "ACK")
        line.send("RECEIVE %s 1 20\n" % queue)
        same(line.file.readline(), b"+OK 0\n", "a wait of 20 ms")
    line.close()


def figures(long):
    stats = long.server.request("GET", "/stats").json()
    over = stats["uptime"] - long.at - (time.monotonic() - long.began) * 1000
    check(abs(over) < 60000, "an uptime of %d after %d" % (stats["uptime"], long.at))
    text = long.server.request("GET", "/metrics").body.decode()
    for row in text.split("\n"):
        if row and not row.startswith("#"):
            value = float(row.rpartition(" ")[2])
            check(value >= 0 and math.isfinite(value), "in /metrics: " + row)
    uptime = float(re.search(r"^hati_uptime_seconds (\S+)", text, re.M).group(1))
    check(abs(uptime - stats["uptime"] / 1000) < 60, "%r and %r" % (uptime, stats["uptime"]))


def far_things(server, line):
    """What ends after 60 days."""
    for queue, kind in (("passing", "memory"), ("passinghdd", "hdd"), ("far", "hdd"),
                        ("farmem", "memory"), ("held", "hdd"), ("idle", "memory")):
        same(line.ask("CREATEQUEUE %s %s lease=%d" % (queue, kind, FAR)), "+OK", "CREATEQUEUE")
    for storage in ("memory", "hdd"):
        same(line.ask("SET %s %d far v" % (storage, FAR)), "+OK", "SET")
        for number in range(MEMORY_KEYS):
            line.ask("SET %s %d swept%d v" % (storage, HOUR, number))
    for queue in ("far", "farmem"):
        answer = server.rpc("Broker.Publish", {"router": "default", "key": queue, "payload": "late",
                                               "delay": FAR})
        check("result" in answer, answer)
    line.ask("PUBLISH default held m")
    same(len(take(server, "held")), 1, "a lease of 60 days")


def take(server, queue):
    return server.rpc("Broker.Receive", {"queue": queue, "max": 10, "wait": 0})["result"]["messages"]


def look_at_far_things(server, line, at):
    over = at > FAR
    for storage in ("memory", "hdd"):
        same(line.ask("HAS %s far" % storage) == "+OK", not over, "a TTL of 60 days")
        if not over:
            left = int(line.ask("TTL %s far" % storage))
            check(FAR - at - 120000 < left <= FAR - at, "%d ms left of a TTL" % left)
    for queue in ("far", "farmem", "held"):
        if over:
            wait_until(lambda: take(server, queue), "what was to come to %s after 60 days" % queue)
        else:
            same(take(server, queue), [], "what is to come later")


def long_up(runner, machine_ms, whole):
    """All doors serve, and what ends does so by its definition."""
    long = Long(runner, "--olivia", "--olivia-port", "0", machine_ms=machine_ms)
    server, line = long.server, None
    try:
        olivia = int(re.search(r"livia .*localhost[ :](\d+)", server.greeting).group(1))
        line, lasting = server.line(), Lasting(server)
        far_things(server, line)
        stops = [0] + marks(machine_ms + int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1000))
        stops = stops if whole else [0, *stops[-5:]]
        for number, at in enumerate(stops):
            ended = []
            thread = threading.Thread(target=lambda: ended.append(server_wait(server)))
            thread.start()
            wait_until(lambda: server.rpc("Broker.GetQueue", {"name": "idle"})["result"]["consumers"]
                       == 1, "somebody to wait")
            before = long.at
            long.move(at)
            if at - before > HOUR:
                thread.join(30)
                same(ended, [[]], "a wait of an hour, days later")
            else:
                line.ask("PUBLISH default idle m")
                thread.join(30)
                same(len(ended[0]), 1, "a wait that was served")
            every_door(server, number, at - before > HOUR)
            lasting.look(server, number)
            ask_olivia(olivia, number)
            figures(long)
            look_at_far_things(server, line, at)
        wait_until(lambda: all(server.request("GET", "/stats").json()["storage"][storage]["keys"] <
                               MEMORY_KEYS for storage in ("memory", "hdd")), "what ended is swept")
        lasting.close()
        line.close()
        check(server.stop() == 0, "the end")
        server.process.stdout.close()
        server.log.close()
        server.start()
        line = server.line()
        same(line.ask("GET hdd seen1"), "v", "a start on a machine that is up for long")
        line.close()
        check(server.stop() == 0, "the second end")
    finally:
        long.close()


def server_wait(server):
    """A receive of an hour."""
    got = server.rpc("Broker.Receive", {"queue": "idle", "wait": HOUR})["result"]["messages"]
    for one in got:
        server.rpc("Broker.Ack", {"queue": "idle", "receipt": one["receipt"]})
    return got


def ask_olivia(port, number):
    line = Line(connect(("127.0.0.1", port), PATIENCE))
    same(line.ask("x:SETEX oli%d:v:3600" % number), "x:SATEX oli%d:v:3600" % number, "Olivia")
    same(line.ask("x:GET oli%d" % number), "x:GOT oli%d:v" % number, "Olivia")
    line.close()


def limits_and_tokens(runner):
    """Rates are those that were asked for, tokens end when they say, keys are fetched anew."""
    issuer, key = Issuer(), Key(runner.room(), "one")
    issuer.publish(key)
    long = Long(runner, "--rate-limit", "%d/m" % BURST, "--jwks-url", issuer.url(),
                "--jwks-allow-http")
    server, long.key = long.server, key
    try:
        old, spent = token_of(long, "old", 200 * DAY), -HOUR
        stops = [0] + marks(int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1000))
        stops = sorted(stops + [at + 61000 for at in stops[::2]])
        for number, at in enumerate(stops):
            fetches, before = issuer.fetches, long.at
            short = token_of(long, "short%d" % number, HOUR)
            same(ask(server, short).status, 404, "a token of an hour")
            long.move(at)
            apart = at - before > HOUR
            spend(server, token_of(long, "new%d" % number, HOUR))
            if at - spent >= 60000:
                spend(server, old)
                spent = at
            elif number:
                same(ask(server, old).status, 429, "2 s later")
            same(ask(server, short).status, 401 if apart else 404, "a token that is over")
            if apart:
                same(ask(server, token_of(long, "nobody", HOUR, "other")).status, 401, "a key unknown")
                wait_until(lambda: issuer.fetches > fetches, "keys are fetched again")
        check(server.stop() == 0, "the end")
    finally:
        issuer.go()
        long.close()


def token_of(long, who, lifetime_ms, kid="one"):
    claims = {"sub": who, "iss": "us", "workspace": WORKSPACE,
              "exp": int(long.now_s() + lifetime_ms / 1000)}
    text = b".".join(b64url(json.dumps(part).encode()) for part in (
        {"alg": long.key.alg, "kid": kid}, claims))
    return (text + b"." + b64url(long.key.sign(text))).decode()


def ask(server, token):
    return server.request("GET", "/api/default/none", token=token)


def spend(server, token):
    """The whole burst is there, and no more; the rest is told when to come."""
    for left in range(BURST - 1, -1, -1):
        answer = ask(server, token)
        same(answer.status, 404, "a request within the rate")
        told = re.fullmatch(r'"requests";r=%d;t=(\d+)' % left, answer.headers["RateLimit"])
        check(told and 1 <= int(told.group(1)) <= 60, answer.headers["RateLimit"])
    answer = ask(server, token)
    same(answer.status, 429, "one more")
    check(1 <= int(answer.headers["Retry-After"]) <= 60 // BURST, answer.headers["Retry-After"])
    same(json.loads(answer.body)["code"], "RATE_LIMITED", "the code")


def run(runner, whole):
    long_up(runner, 0, whole)
    if whole:
        long_up(runner, END, whole)
    limits_and_tokens(runner)
