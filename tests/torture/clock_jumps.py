# SPDX-License-Identifier: MIT
"""The wall clock jumps, forward and back, under a server that serves."""
import os
import threading

from harness import PATIENCE, Server, check, same, wait_until
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


def run(runner):
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
