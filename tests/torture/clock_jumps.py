# SPDX-License-Identifier: MIT
"""The wall clock jumps, forward and back, under a server that serves."""
import json
import os
import threading
import time

from cases_olivia import Olivia
from cases_tokens import SECRET
from cases_watch import WORKSPACE, Watch
from harness import PATIENCE, Server, check, same, sign, wait_until
from shim import Control

HOUR = 3600 * 1000
DAY = 24 * HOUR
QUEUE = "jumps"
EMPTY = "empty"


def ask_all(line, storage, ttl):
    same(line.ask("SET %s %d short v" % (storage, ttl)), "+OK", "SET")
    same(line.ask("SET %s 0 ever v" % storage), "+OK", "SET")
    same(line.ask("GET %s short" % storage), "v", "GET")


def receive(server, wait, queue=QUEUE):
    answer = server.rpc("Broker.Receive", {"queue": queue, "wait": wait, "lease": HOUR})
    return [message["payload"] for message in answer["result"]["messages"]]


def waits_through(server, control, to):
    """A receive that waits ends in its own time, whatever the wall clock does."""
    got = []
    thread = threading.Thread(target=lambda: got.append(receive(server, 300, EMPTY)))
    thread.start()
    wait_until(lambda: server.rpc("Broker.GetQueue", {"name": EMPTY})["result"]["consumers"] > 0
               or not thread.is_alive(), "somebody to wait")
    control.set("clock_ms", to)
    thread.join(PATIENCE)
    check(not thread.is_alive(), "a receive of 300 ms hangs after the clock jumped")
    same(got, [[]], "what a receive got from an empty queue")


def asks(server, line, olivia, token):
    """What each door says to who showed that token, on connections that were good once."""
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Storage.Get", "params": ["memory", "a"]})
    return {"http": server.request("GET", "/api/x/a", token=token).status,
            "rpc": server.rpc_raw(call, token).status,
            "ticket": server.request("POST", "/tickets", token=token).status,
            "lines": line.ask("GET memory a").split(" ")[1],
            "rpc on lines": json.loads(line.ask(call))["error"]["code"],
            "olivia": olivia.ask("GET a").split(" ")[0]}


GOOD = {"http": 404, "rpc": 200, "ticket": 201, "lines": "KEY_NOT_EXIST", "rpc on lines": -32001,
        "olivia": ":GOT"}
OVER = {"http": 401, "rpc": 401, "ticket": 401, "lines": "AUTH_REQUIRED", "rpc on lines": -32013,
        "olivia": "+ERR"}


def streams(server, token):
    """Two that are told of changes, by HTTP and by a line."""
    watch = Watch(server, "default", "memory", token=token)
    same((watch.status, watch.event()[0]), (200, "ready"), "a stream")
    told = server.line(token)
    check(told.ask("WATCH memory").startswith("+OK"), "WATCH")
    return watch, told


def tokens_end(runner):
    """A token ends on every door, though it was found good before and connections are open."""
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"))
    server = Olivia(keep=room, env={**control.env(), "HATI_JWT_SECRET": SECRET})
    try:
        now = int(time.time())
        token = sign({"workspace": WORKSPACE, "exp": now + 3600}, SECRET)
        longer = sign({"workspace": WORKSPACE, "exp": now + 900 * 86400}, SECRET)
        line, olivia = server.line(token), server.door()
        same(olivia.ask("AUTH " + token), "+OK", "AUTH")
        for _ in range(2):
            same(asks(server, line, olivia, token), GOOD, "before it ends")
        watch, told = streams(server, token)
        control.set("clock_ms", 3600 * 1000 + 50 * 1000)
        same(asks(server, line, olivia, token), GOOD, "within the leeway")
        control.set("clock_ms", 3600 * 1000 + 90 * 1000)
        same(asks(server, line, olivia, token), OVER, "once it ended")
        same(server.request("PUT", "/api/default/later?type=memory", "secret", token=longer).status,
             204, "a change")
        same(watch.event(), None, "a stream told it, behind the end of its token")
        text = told.file.readline()
        while b" READY " in text or text.startswith(b"READY"):
            text = told.file.readline()
        check(b"AUTH_REQUIRED" in text, "a line behind the end of its token was told %r" % text)
        control.set("clock_ms", -DAY)
        early = sign({"workspace": WORKSPACE, "nbf": now}, SECRET)
        same(server.request("GET", "/api/x/a", token=early).status, 401, "not valid yet")
        control.set("clock_ms", 0)
        same(server.request("GET", "/api/x/a", token=early).status, 404, "valid now")
    finally:
        server.kill()
        control.close()
        server.close()


def run(runner):
    tokens_end(runner)
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"))
    server = Server(keep=room, env=control.env())
    try:
        server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd"})
        server.rpc("Broker.CreateQueue", {"name": EMPTY})
        line = server.line()
        for storage in ("memory", "hdd"):
            control.set("clock_ms", 0)
            ask_all(line, storage, HOUR)
            control.set("clock_ms", 2 * HOUR)
            check(line.ask("GET %s short" % storage).startswith("+ERR KEY_NOT_EXIST"),
                  "an entry outlives its TTL after a jump of the clock")
            same(line.ask("GET %s ever" % storage), "v", "an entry without a TTL")
            control.set("clock_ms", -DAY)
            ask_all(line, storage, HOUR)
            ttl = int(line.ask("TTL %s short" % storage))
            check(HOUR - 60000 < ttl <= HOUR, "TTL after a jump back: %d" % ttl)
        control.set("clock_ms", 0)
        same(line.ask("PUBLISH default %s m" % QUEUE)[:1] != "+E", True, "PUBLISH")
        same(receive(server, 0), ["m"], "the first delivery")
        same(receive(server, 0), [], "a leased message")
        control.set("clock_ms", 2 * HOUR)
        wait_until(lambda: receive(server, 1000) == ["m"], "a lease that ran out by the clock")
        for to in (4 * HOUR, -DAY, 400 * DAY, 0):
            waits_through(server, control, to)
        same(line.ask("SET hdd 0 still here"), "+OK", "a SET after all jumps")
        control.set("clock_ms", -DAY)
        check(server.request("GET", "/stats").json()["uptime"] >= 0, "the uptime in the past")
        control.set("clock_ms", 0)
        line.close()
        server.kill()
        control.set("clock_ms", -30 * DAY)
        server.process.stdout.close()
        server.log.close()
        server.start()
        line = server.line()
        same(line.ask("GET hdd still"), "here", "after a start in the past")
        line.close()
        check(server.stop() == 0, "the end")
    finally:
        if server.process.poll() is None:
            server.kill()
        control.close()
        server.close()
