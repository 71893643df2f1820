# SPDX-License-Identifier: MIT
"""An allocation of the server's fails while it works on the engine: one after another, in a few
scenes. HATI_TORTURE_LONG=1: every one, else some of them."""
import json
import os
import socket
import time

import contract_faults
import process
from harness import Failure, Server, check
from no_memory import blocks_held, call, http, post, speak
from postgres import Postgres
from shim import Control

MOST = 3000      # allocations of one scene
STEP = 16        # of them one is tried, from a random first one on
ROWS = (1, 1, 1, 2, 1, 1, 1, 1, 20)  # so many in a row fail
SLACK = 24       # blocks: what a loaded machine is late with; a leak in the long run comes to more
REST_S, ROUNDS = 0.3, 4
MORE_ROUNDS = 40  # until it is as little as before: whether it has one connection then is chance
# libpq looks for Kerberos' credentials at each connect; that ends the process without memory
SPARED = contract_faults.SPARED + " libgssapi_krb5 libkrb5 libkrb5support libk5crypto libcom_err"
LISTED = ["listed-%d" % i for i in range(5)]
ACK_LEASE_MS = 600000
OUT_OF_MEMORY, KEY_NOT_EXIST = -32006, -32001


class Room:
    """A server on a database, and what it acknowledged."""

    def __init__(self, runner, database):
        self.dir = process.directory("hati-pg-memory-")
        self.control = Control(os.path.join(os.path.abspath(runner.build), "libhati_shim.so"),
                               os.path.join(self.dir, "data"))
        self.trace = os.path.join(self.dir, "trace")
        on_engine = type("OnEngine", (Server,), {"engine": database.url()})
        self.database = database
        self.server = on_engine("--engine-timeout", "30s", env=dict(
            self.control.env(), HATI_SHIM_SPARED=SPARED,
            HATI_SHIM_TRACE=self.trace))
        self.number = 0  # of the try: names are of one try alone

    def rpc(self, method, **params):
        """Where there is memory; the topology may have to be pulled first."""
        answer = self.server.rpc(method, params)
        check("result" in answer, "%s with memory: %s" % (method, answer))
        return answer["result"]

    def get(self, key, storage="hdd"):
        answer = self.server.rpc("Storage.Get", {"type": storage, "key": key})
        absent = answer.get("error", {}).get("code") == KEY_NOT_EXIST
        check(absent or "result" in answer, "GET with memory: %s" % answer)
        return None if absent else answer["result"]

    def take_all(self, queue):
        """Payloads of all that is ready."""
        taken = []
        while messages := self.rpc("Broker.Receive", queue=queue, max=1000,
                                   lease=ACK_LEASE_MS)["messages"]:
            taken += [message["payload"] for message in messages]
        return taken

    def end_connections(self):
        self.database.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                           " WHERE application_name = 'hati'")

    def blocks(self, enough=0):
        """The least that it holds with as few connections to the database as there ever are: each
        has some thirty blocks."""
        least = 1 << 40
        for _ in range(ROUNDS if not enough else MORE_ROUNDS):
            if least <= enough:
                break
            self.end_connections()
            self.get("listed-0")
            least = min(least, blocks_held(self.control, REST_S, enough))
        return least

    def close(self):
        self.server.close()
        self.control.close()
        process.remove(self.dir)

    def last_trace(self):
        if not os.path.exists(self.trace):
            return ""
        with open(self.trace, encoding="utf-8", errors="replace") as file:
            return file.read()[-2500:]


def line_answers(got):
    return got.decode(errors="replace").split("\n")[:-1]


def body_of(got):
    """The JSON of an HTTP answer; None where there is none."""
    try:
        return json.loads(got.partition(b"\r\n\r\n")[2])
    except ValueError:
        return None


def is_refusal(answer):
    """An error that means that nothing was done."""
    return answer.startswith("+ERR") and "TIMEOUT" not in answer


class Keys:
    """SET, INCR and a SET of memory: what is acknowledged is there, what is refused is not."""

    def send(self, room):
        n = room.number
        self.sent = "SET hdd 0 s%d v\nINCR hdd c%d 3\nSET memory 0 m%d v\nGET hdd s%d\n" % (n, n, n, n)
        return speak(room.server, "tcp", self.sent.encode())

    def judge(self, room, got):
        answers = line_answers(got) + [""] * 4
        for answer, good, key, value in ((answers[0], "+OK", "hdd s", "v"), (answers[1], "3", "hdd c", "3"),
                                         (answers[2], "+OK", "memory m", "v")):
            storage, prefix = key.split()
            there = room.get(prefix + str(room.number), storage)
            check(there in (None, value), "%r is there" % there)
            check(answer != good or there == value, "%r, and there is %r" % (answer, there))
            check(not is_refusal(answer) or there is None, "%r, and it was done" % answer)
        if answers[0] == "+OK":
            check(answers[3] == "v" or answers[3].startswith("+ERR") or not answers[3],
                  "a GET behind the SET: %r" % answers[3])


class Batch:
    """A transaction of keys and a message that goes to two queues is done, or it is not."""

    def send(self, room):
        n = room.number
        return speak(room.server, "http", post(b"/rpc", call("Storage.Batch", {"type": "hdd", "ops": [
            {"op": "set", "key": "t%d" % n, "value": "v"}, {"op": "incr", "key": "u%d" % n},
            {"op": "publish", "router": "both", "key": "", "payload": "b%d" % n}]})))

    def judge(self, room, got):
        n = room.number
        answer = body_of(got)
        there = [room.get("t%d" % n) == "v", room.get("u%d" % n) == "1"] + [
            "b%d" % n in room.take_all(queue) for queue in ("one", "two")]
        check(all(there) or not any(there), "half of a transaction: %s" % there)
        if answer and "result" in answer:
            check(all(there), "answered, and not done: %s" % answer)
        if answer and answer.get("error", {}).get("code") == OUT_OF_MEMORY:
            check(not any(there), "refused, and done: %s" % answer)


class Publish:
    """Many messages to two queues: each reaches both of them, or none."""

    def send(self, room):
        return speak(room.server, "http", post(b"/rpc", call("Broker.PublishMany", {
            "router": "both", "messages": [{"key": "", "payload": "p%d-%d" % (room.number, i)}
                                           for i in range(20)]})))

    def judge(self, room, got):
        one, two = room.take_all("one"), room.take_all("two")
        check(sorted(one) == sorted(two), "one has %s, two %s" % (one, two))
        check(len(set(one)) == len(one), "twice: %s" % one)
        answer = body_of(got)
        if answer and "result" in answer and "error" not in str(answer["result"]):
            check(len(one) == 20, "answered, and %d are there: %s" % (len(one), answer))


class Receive:
    """A message is received and acknowledged: then it is gone, else it is there still."""

    def send(self, room):
        room.control.heal()
        name = "r%d" % room.number
        room.rpc("Broker.CreateQueue", name=name, type="hdd", lease=1000)
        room.rpc("Broker.Publish", router="default", key=name, payload=name)
        room.arm()
        got = speak(room.server, "http", post(b"/rpc", call("Broker.Receive", {
            "queue": name, "max": 5, "lease": ACK_LEASE_MS})))
        messages = ((body_of(got) or {}).get("result") or {}).get("messages") or []
        self.was_told = bool(messages)
        if not messages:
            return got
        return speak(room.server, "tcp",
                     ("ACK %s %s\n" % (name, messages[0]["receipt"])).encode())

    def judge(self, room, got):
        name = "r%d" % room.number
        info = room.rpc("Broker.GetQueue", queue=name)
        left = info["ready"] + info["leased"]
        if self.was_told and line_answers(got)[:1] == ["+OK"]:
            check(left == 0, "acknowledged, and there: %s" % info)
        if not self.was_told:
            check(left == 1, "nobody got it, and it is not there: %s" % info)
        room.rpc("Broker.DeleteQueue", queue=name)


class Subscribe:
    """A subscription ends with its connection; what it was given and did not acknowledge is there."""

    def send(self, room):
        room.control.heal()
        name = "r%d" % room.number
        room.rpc("Broker.CreateQueue", name=name, type="hdd", lease=1000)
        room.rpc("Broker.Publish", router="default", key=name, payload=name)
        room.arm()
        got = b""
        try:
            with socket.create_connection(("127.0.0.1", room.server.tcp), 2) as sock:
                sock.sendall(("SUBSCRIBE %s 5\n" % name).encode())
                sock.settimeout(0.2)
                while b"+ERR" not in got and name.encode() + b"\n" not in got and (
                        part := sock.recv(4096)):
                    got += part
        except OSError:
            pass
        speak(room.server, "tcp", b"COUNT hdd\n")  # meanwhile the subscription is ended
        return got

    def judge(self, room, got):
        name = "r%d" % room.number
        process.wait_until(lambda: room.rpc("Broker.GetQueue", queue=name)["consumers"] == 0,
                           "the subscription stays", 10)
        info = room.rpc("Broker.GetQueue", queue=name)
        check(info["ready"] + info["leased"] == 1, "nobody acknowledged it: %s" % info)
        room.rpc("Broker.DeleteQueue", queue=name)


class Topology:
    """A queue is made, bound and paused: what is acknowledged is so."""

    def send(self, room):
        n = room.number
        return speak(room.server, "http", post(b"/rpc", b"[" + b",".join([
            call("Broker.CreateQueue", {"name": "made%d" % n, "type": "hdd"}),
            call("Broker.Bind", {"router": "both", "queue": "made%d" % n}),
            call("Broker.ListQueue", {})]) + b"]"))

    def judge(self, room, got):
        name = "made%d" % room.number
        answers = body_of(got)
        names = room.rpc("Broker.ListQueue")["queues"]
        if isinstance(answers, list):
            if "result" in answers[0]:
                check(name in names, "made, and not there")
            for answer in answers:
                listed = answer.get("result")
                if isinstance(listed, dict) and "queues" in listed:
                    check({"one", "two"} <= set(listed["queues"]), "a list without some: %s" % listed)
        if name in names:
            room.rpc("Broker.DeleteQueue", queue=name)


class List:
    """A list tells of all there is, or of an error."""

    def send(self, room):
        return speak(room.server, "http", http(b"GET", b"/api/default?prefix=listed-&limit=100"))

    def judge(self, room, got):
        if got.startswith(b"HTTP/1.1 200"):
            answer = body_of(got)
            if answer is not None:
                check(answer["keys"] == LISTED, "a list of %s" % answer)


class Stats:
    def send(self, room):
        return speak(room.server, "http", http(b"GET", b"/stats"))

    def judge(self, room, got):
        answer = body_of(got) if got.startswith(b"HTTP/1.1 200") else None
        if answer is not None:
            check(len(answer["nodes"]) == 1, "nodes: %s" % answer["nodes"])


class Anew:
    """The connections to the database are gone: they are made anew."""

    def send(self, room):
        room.control.heal()
        room.end_connections()
        room.arm()
        return speak(room.server, "tcp", b"GET hdd listed-0\n")

    def judge(self, room, got):
        answers = line_answers(got)
        check(not answers or answers[0] == "v" or answers[0].startswith("+ERR"), "GET: %s" % answers)


SCENES = (Keys, Batch, Publish, Receive, Subscribe, Topology, List, Stats, Anew)


def is_well(room):
    """Within the second in which what it knows of queues is read anew."""
    process.wait_until(lambda: room.server.request("GET", "/readyz").status == 200,
                       "it is not ready any more", 15)
    line = room.server.line()
    check(line.ask("SET hdd 0 canary bird") == "+OK", "a SET with memory again")
    check(line.ask("GET hdd canary") == "bird", "a GET with memory again")
    line.close()


def one_try(room, scene, number):
    """Whether an allocation failed."""
    room.number += 1
    row = ROWS[room.number % len(ROWS)]
    room.arm = lambda: room.control.fail("alloc", number, 12, row)
    room.arm()
    got = scene.send(room)
    failed = room.control.get("failed")
    room.control.heal()
    status = room.server.process.poll()
    check(status is None, "the server ended with %s: %s" % (status, room.server.log_text()[-300:]))
    check(row > 2 or not got.endswith(b"(silence)"), "no answer: %.80r" % got)
    scene.judge(room, got)
    return failed > 0


def sweep(runner, room, scenes):
    tries = 0
    step = 1 if os.environ.get("HATI_TORTURE_LONG") else STEP
    for kind in scenes:
        scene, quiet = kind(), 0
        for number in range(1 + (runner.seed + tries) % step, MOST, step):
            try:
                quiet = 0 if one_try(room, scene, number) else quiet + 1
            except (OSError, Failure) as failure:
                raise Failure("%s, allocation %d: %s\n%s" % (
                    kind.__name__, number, failure, room.last_trace())) from failure
            tries += 1
            if quiet >= 2:
                break
        is_well(room)
    return tries


def prepare(room):
    room.rpc("Broker.CreateRouter", name="both", type="fanout")
    for queue in ("one", "two"):
        room.rpc("Broker.CreateQueue", name=queue, type="hdd")
        room.rpc("Broker.Bind", router="both", queue=queue)
    for key in LISTED:
        room.rpc("Storage.Set", type="hdd", key=key, value="v")


def all_well(room, scenes):
    room.number += 1
    room.arm = lambda: None
    for kind in scenes:
        scene = kind()
        scene.judge(room, scene.send(room))


def what_finds_no_memory_on_the_engine_is_an_error(runner):
    with_database = Postgres(fsync="off").start()
    room = Room(runner, with_database)
    try:
        prepare(room)
        start = time.monotonic()
        tries = sweep(runner, room, SCENES)
        all_well(room, SCENES)
        before = room.blocks()
        tries += sweep(runner, room, SCENES)
        all_well(room, SCENES)
        after = room.blocks(before + SLACK)
        runner.say("%d failed allocations in %d scenes in %.0f s; %d blocks of memory before, %d"
                   " afterwards" % (tries, len(SCENES), time.monotonic() - start, before, after))
        check(after <= before + SLACK, "%d blocks of memory before, %d afterwards" % (before, after))
        check(room.server.stop() == 0, "the end")
    except OSError as error:
        raise Failure("%s: the server %s: %s\n%s" % (
            error, room.server.process.poll(), room.server.log_text()[-600:],
            room.last_trace())) from error
    finally:
        room.close()
        with_database.close()


CASES = [what_finds_no_memory_on_the_engine_is_an_error]
