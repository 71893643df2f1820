# SPDX-License-Identifier: MIT
"""The n-th allocation fails, for every n, while one thing is done through one door."""
import json
import os
import socket
import time

import contract_faults
from harness import PATIENCE, Failure, Server, check
from shim import Control

QUEUE = "scarce"
MOST = 5000  # allocations of one scene
REST_S = 1.5
SILENCE_S = 10  # the disk may take its time for a moment
SLACK = 6   # blocks that are kept for the next request
SWEEPS = 3  # what is kept once does not grow again, what is lost does


def call(method, params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def post(path, body, kind=b"application/json", more=b""):
    return b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nConnection: close\r\n%s" \
        b"Content-Length: %d\r\n\r\n%s" % (path, kind, more, len(body), body)


def http(method, path, body=b"", more=b""):
    return b"%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (
        method, path, more, len(body), body)


LONG = b"x" * 5000
SCENES = [
    ("line SET and GET", "tcp", b"SET hdd 0 k v\nGET hdd k\nSET memory 60000 k v\nGET memory k\n"),
    ("line binary", "tcp", b"SETB hdd 0 b 5000\n" + LONG + b"\nGETB hdd b\n"),
    ("line numbers", "tcp", b"INCR hdd n 5\nTOUCH hdd 60000 n\nEXISTS hdd n\nDELETE hdd n\n"),
    ("line listing", "tcp", b"KEYS hdd\nKEYS memory\nCOUNT hdd\nHELP\n"),
    ("line broker", "tcp", b"PUBLISH default scarce m1\nRECEIVE scarce\nQUEUES\nROUTERS\n"),
    ("line subscribe", "tcp", b"SUBSCRIBE scarce 5\n"),
    ("line JSON-RPC", "tcp", call("Storage.Set", {"type": "hdd", "key": "j", "value": "v"}) + b"\n"),
    ("rpc get", "http", post(b"/rpc", call("Storage.Get", {"type": "hdd", "key": "j"}))),
    ("rpc many", "http", post(b"/rpc", call("Storage.SetMany", {
        "type": "hdd", "entries": {"a%d" % i: "v" for i in range(20)}}))),
    ("rpc batch", "http", post(b"/rpc", b"[" + b",".join(
        call("Storage.Set", {"type": "memory", "key": "c%d" % i, "value": "v"})
        for i in range(8)) + b"]")),
    ("rpc transaction", "http", post(b"/rpc", call("Storage.Batch", {"type": "hdd", "ops": [
        {"op": "set", "key": "t1", "value": "v"}, {"op": "incr", "key": "t2", "by": 1},
        {"op": "publish", "router": "default", "key": QUEUE, "payload": "m"}]}))),
    ("rpc publish many", "http", post(b"/rpc", call("Broker.PublishMany", {
        "router": "default", "messages": [{"key": QUEUE, "payload": "m%d" % i}
                                          for i in range(10)]}))),
    ("rpc receive", "http", post(b"/rpc", call("Broker.Receive", {
        "queue": QUEUE, "max": 5, "lease": 1000}))),
    ("rpc topology", "http", post(b"/rpc", b"[" + b",".join([
        call("Broker.CreateRouter", {"name": "r", "type": "topic"}),
        call("Broker.Bind", {"router": "r", "queue": QUEUE, "pattern": "a.*.#"}),
        call("Broker.Publish", {"router": "r", "key": "a.b.c", "payload": "p"}),
        call("Broker.DeleteRouter", {"name": "r"})]) + b"]")),
    ("rest put", "http", http(b"PUT", b"/api/default/rest%2Fkey", LONG,
                              b"Content-Type: text/x\r\nTTL: 60\r\n")),
    ("rest get", "http", http(b"GET", b"/api/default/rest%2Fkey")),
    ("rest list", "http", http(b"GET", b"/api/default?limit=10")),
    ("rest delete", "http", http(b"DELETE", b"/api/default/rest%2Fkey")),
    ("stats", "http", http(b"GET", b"/stats")),
    ("metrics", "http", http(b"GET", b"/metrics")),
    ("status", "http", http(b"GET", b"/status")),
    ("nothing there", "http", http(b"GET", b"/no/such/thing")),
]


def speak(server, door, data):
    """Everything that comes back; b"" where the connection was refused or ended."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", getattr(server, door)), PATIENCE) as sock:
            sock.settimeout(SILENCE_S)
            sock.sendall(data)
            if door == "tcp":
                sock.shutdown(socket.SHUT_WR)
            while True:
                part = sock.recv(65536)
                if not part:
                    return got
                got += part
    except socket.timeout:
        return got + b"(silence)"
    except OSError:
        return got


def all_scenes(server):
    for _, door, data in SCENES:
        speak(server, door, data)
    contract_faults.reset(server)
    server.rpc("Broker.DeleteQueue", {"queue": contract_faults.LEDGER})
    server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd", "lease": 1000})


def blocks_held(control, seconds, enough=0):
    """The least in a time: what waits to be written down is let go of by and by."""
    least, until = control.get("blocks"), time.monotonic() + seconds
    while time.monotonic() < until and least > enough:
        time.sleep(0.02)
        least = min(least, control.get("blocks"))
    return least


def is_well(server):
    line = server.line()
    check(line.ask("SET hdd 0 canary bird") == "+OK", "a SET with memory again")
    check(line.ask("GET hdd canary") == "bird", "a GET with memory again")
    check(line.ask("SET memory 0 canary bird") == "+OK", "a SET to memory with memory again")
    line.close()
    check(server.request("GET", "/readyz").status == 200, "it is not ready any more")


def sweep(server, control):
    """Each allocation of each scene fails once; how many did."""
    tries = 0
    for name, door, data in SCENES:
        speak(server, door, data)
        quiet = 0
        for number in range(1, MOST):
            control.fail("alloc", number, 12)
            answer = speak(server, door, data)
            failed = control.get("failed")
            control.heal()
            tries += 1
            if server.process.poll() is not None:
                raise Failure("%s, allocation %d: the server ended with %d: %.300r" % (
                    name, number, server.process.poll(), server.log_text()[-300:]))
            check(not answer.endswith(b"(silence)") or name == "line subscribe",
                  "%s, allocation %d: no answer, %.80r" % (name, number, answer))
            quiet = 0 if failed else quiet + 1
            if quiet >= 3:
                break
        try:
            is_well(server)
        except (OSError, Failure) as failure:
            raise Failure("after %s: %s; status %s, log %s" % (
                name, failure, server.process.poll(), server.log_text()[-500:])) from failure
    return tries


def run(runner):
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"))
    server = Server(keep=room, env=control.env())
    try:
        server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd", "lease": 1000})
        tries = sweep(server, control)
        all_scenes(server)
        for _ in range(SWEEPS):
            before = blocks_held(control, REST_S)
            tries += sweep(server, control)
            all_scenes(server)
            after = blocks_held(control, PATIENCE, before + SLACK)
            if after <= before + SLACK:
                break
        check(after <= before + SLACK, "%d blocks of memory before, %d afterwards" % (before, after))
        check(server.stop() == 0, "the end")
        runner.say("%d failed allocations in %d scenes; %d blocks of memory before, %d afterwards" % (
            tries, len(SCENES), before, after))
    except Failure:
        if server.process.poll() is None:
            server.kill()
        runner.keep(room)
        raise
    finally:
        if server.process.poll() is None:
            server.kill()
        control.close()
        server.close()
