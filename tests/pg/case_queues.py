# SPDX-License-Identifier: MIT
"""Queues that several nodes look after."""
import contextlib
import json
import socket
import subprocess
import threading
import time

from case_model import Moved
from case_nodes import database
from cluster import Node, fresh_schema
from harness import PATIENCE, check, same
from process import wait_until
from same_queues import HOUR
from workload import JSON


@contextlib.contextmanager
def nodes_of(db, count):
    schema, nodes = fresh_schema(), []
    try:
        for _ in range(count):
            nodes.append(Node(db.url(), schema))
        yield nodes
    finally:
        for node in nodes:
            node.close()


def make_queue(node, name, **options):
    same(node.request("PUT", "/broker/queues/" + name, json.dumps(dict(options, type="hdd")),
                      JSON).status, 201, name)


def receive(node, queue, most=100, wait_ms=0):
    answer = node.request("POST", "/broker/queues/%s/receive?max=%d&wait=%d" % (
        queue, most, wait_ms), "")
    same(answer.status, 200, "receive")
    return answer.json()["messages"]


def ack(node, queue, message):
    return node.request("DELETE", "/broker/queues/%s/messages/%s" % (
        queue, message["receipt"])).status


def a_publish_on_one_node_reaches_who_waits_on_another(runner):
    with database(fsync="off") as db, nodes_of(db, 2) as (first, second):
        make_queue(first, "q")
        waits = []
        for number in range(20):
            came = []
            thread = threading.Thread(target=lambda: came.append(
                (receive(second, "q", 1, 10000), time.monotonic())))
            thread.start()
            wait_until(lambda: second.request("GET", "/broker/queues/q").json()["consumers"] >= 1
                       or came, "somebody waits")
            published = time.monotonic()
            same(first.request("POST", "/broker/routers/default/messages?key=q",
                               str(number)).status, 201)
            thread.join()
            messages, at = came[0]
            same([message["payload"] for message in messages], [str(number)], "what came")
            same(ack(first, "q", messages[0]), 204, "an ACK on the other node")
            waits.append((at - published) * 1000)
        waits.sort()
        runner.say("from node to node in %.0f ms, at most %.0f ms" % (waits[len(waits) // 2],
                                                                     waits[-1]))


def what_expires_becomes_one_dead_letter_each(runner):
    count = 300
    with database(fsync="off") as db, nodes_of(db, 3) as nodes:
        make_queue(nodes[0], "dead")
        make_queue(nodes[1], "short", ttl=700, **{"dead-letter": "dead"})
        for number in range(count):
            same(nodes[number % 3].request(
                "POST", "/broker/routers/default/messages?key=short", str(number)).status, 201)
        came, end = [], time.monotonic() + 30
        while len(came) < count and time.monotonic() < end:
            for message in receive(nodes[len(came) % 3], "dead", 50, 500):
                came.append(message["payload"])
                same(ack(nodes[1], "dead", message), 204)
        same(sorted(map(int, came)), list(range(count)), "dead letters")
        same(receive(nodes[2], "dead", 50, 500), [], "and no more")
        same(receive(nodes[2], "short"), [], "the queue is empty")


def consumers_of_all_nodes_share_a_queue(runner):
    """Nothing comes to two, nothing is left."""
    count = 1500
    with database(fsync="off") as db, nodes_of(db, 3) as nodes:
        make_queue(nodes[0], "shared")
        for at in range(0, count, 500):
            answer = nodes[at // 500].rpc("Broker.PublishMany", {
                "router": "default", "messages": [{"key": "shared", "payload": str(i)}
                                                  for i in range(at, at + 500)]})
            check("result" in answer, repr(answer)[:300])
        came, failures = [], []

        def consume(node):
            try:
                while messages := receive(node, "shared", 7, 300):
                    for message in messages:
                        came.append(int(message["payload"]))
                        same(message["attempt"], 1, "attempt")
                        same(ack(node, "shared", message), 204, "ack")
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=consume, args=(nodes[i % 3],)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        same(sorted(came), list(range(count)), "each once")


def a_definition_is_known_to_every_node_at_once(runner):
    with database(fsync="off") as db, nodes_of(db, 3) as nodes:
        for number in range(30):
            name = "q%d" % number
            here, there, third = (nodes[(number + i) % 3] for i in range(3))
            make_queue(here, name)
            same(there.request("POST", "/broker/routers/default/messages?key=" + name,
                               "x").json()["queues"], 1, "a publish behind the definition")
            same(len(receive(third, name)), 1, "a receive")
            same(there.request("DELETE", "/broker/queues/" + name).status, 204)
            same(third.request("POST", "/broker/queues/%s/receive" % name, "").status, 404,
                 "a receive behind the deletion")
            same(here.request("POST", "/broker/routers/default/messages?key=" + name,
                              "x").json()["queues"], 0, "a publish behind the deletion")


def publish_many(node, queue, count):
    for at in range(0, count, 1000):
        answer = node.rpc("Broker.PublishMany", {"router": "default", "messages": [
            {"key": queue, "payload": str(i)} for i in range(at, min(at + 1000, count))]})
        check("result" in answer, repr(answer)[:300])


def read_receipts(stream, receipts, wanted):
    """Of events, until there are so many."""
    while len(receipts) < wanted:
        line = stream.readline()
        check(line, "the stream ended")
        if line.startswith(b"id: "):
            receipts.append(line[4:].decode().strip())


def an_ack_on_another_node_makes_room_in_a_large_prefetch(runner):
    prefetch, acked = 1500, 400
    with database(fsync="off") as db, nodes_of(db, 2) as (first, second):
        make_queue(first, "q", lease=600000)
        publish_many(first, "q", prefetch + acked)
        sock = socket.create_connection((first.address, first.http_port), PATIENCE)
        sock.sendall(b"GET /broker/queues/q/stream?prefetch=%d HTTP/1.1\r\nHost: x\r\n\r\n" %
                     prefetch)
        receipts, stream = [], sock.makefile("rb")
        read_receipts(stream, receipts, prefetch)
        answer = second.rpc("Broker.AckMany", {"queue": "q", "receipts": receipts[:acked]})
        same(answer["result"]["results"], [True] * acked, "the oldest are acknowledged")
        read_receipts(stream, receipts, prefetch + acked)
        sock.close()


def publish_with_id(node, queue, payload):
    """Its status, once the database is there."""
    answers = []
    wait_until(lambda: answers.append(node.request(
        "POST", "/broker/routers/default/messages?id=x&key=" + queue, payload)) or
        answers[-1].status != 503, "the database is back")
    return answers[-1].status


def ids_of_a_memory_queue_go_with_its_messages(runner):
    with database() as db, nodes_of(db, 2) as (first, second):
        make_queue(first, "kept", **{"dedup-window": 600000})
        same(first.request("PUT", "/broker/queues/lost?type=memory&dedup-window=600000").status, 201)
        for queue in ("kept", "lost"):
            same(publish_with_id(first, queue, "before"), 201)
            same(publish_with_id(second, queue, "again"), 201)
        db.restart("kill")
        for queue, payloads in (("kept", ["before"]), ("lost", ["behind"])):
            same(publish_with_id(second, queue, "behind"), 201)
            same([message["payload"] for message in receive(first, queue)], payloads, queue)


@contextlib.contextmanager
def held(db, table):
    """Every row of it is locked meanwhile: sweepers pass over it."""
    psql = subprocess.Popen(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", db.url()], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE)
    try:
        psql.stdin.write(b"BEGIN; SELECT 'row' FROM %s FOR UPDATE; SELECT 'all';\n" % table.encode())
        psql.stdin.flush()
        while psql.stdout.readline() not in (b"all\n", b""):
            pass
        check(psql.poll() is None, "psql ended")
        yield
    finally:
        psql.stdin.close()
        psql.wait(PATIENCE)
        psql.stdout.close()


def what_expired_takes_no_room_before_it_is_swept(runner):
    with Moved(runner) as moved:
        node = moved.node("--no-auth")
        try:
            begins = moved.control.get("clock_ms")
            make_queue(node, "dead")
            for overflow in ("reject", "drop-head"):  # also the queues' names
                make_queue(node, overflow, overflow=overflow, ttl=HOUR, **{
                    "max-length": 2, "dead-letter": "dead"})
                publish_many(node, overflow, 2)
            make_queue(node, "flushed", ttl=HOUR, **{"dead-letter": "dead"})
            publish_many(node, "flushed", 2)
            with held(moved.database, node.schema + ".msg"):
                moved.control.set("clock_ms", begins + 2 * HOUR)
                same(node.request("DELETE", "/broker/queues/flushed/messages").json(),
                     {"dropped": 0}, "a flush of what expired")
                for overflow, last, kept in (("reject", 429, ["a", "b"]),
                                             ("drop-head", 201, ["b", "c"])):
                    told = [node.request("POST", "/broker/routers/default/messages?key=" + overflow,
                                         payload).status for payload in "abc"]
                    same(told, [201, 201, last], overflow)
                    same([message["payload"] for message in receive(node, overflow)], kept, overflow)
            wait_until(lambda: node.request("GET", "/broker/queues/dead").json()["ready"] == 6,
                       "all that expired came to the dead letters")
        finally:
            node.close()


def a_redrive_holds_nothing_up_that_stays(runner):
    with database(fsync="off") as db, nodes_of(db, 1) as (node,):
        make_queue(node, "q")
        publish_many(node, "q", 100)
        for number in range(100):
            same(node.rpc("Broker.Redrive", {"queue": "q"})["result"], {"moved": 0}, "a redrive")
            messages = receive(node, "q", 1)
            same([message["payload"] for message in messages], [str(number)], "what came first")
            same(ack(node, "q", messages[0]), 204, "an ACK")


CASES = [a_publish_on_one_node_reaches_who_waits_on_another,
         what_expires_becomes_one_dead_letter_each, consumers_of_all_nodes_share_a_queue,
         a_definition_is_known_to_every_node_at_once, ids_of_a_memory_queue_go_with_its_messages,
         an_ack_on_another_node_makes_room_in_a_large_prefetch,
         what_expired_takes_no_room_before_it_is_swept, a_redrive_holds_nothing_up_that_stays]
