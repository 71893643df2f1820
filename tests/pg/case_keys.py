# SPDX-License-Identifier: MIT
"""Keys at their edges, on several nodes of one database."""
import contextlib
import json
import random
import subprocess
import threading
import time

from case_nodes import database
from case_wire import wire_to
from cluster import Node, fresh_schema
from harness import check, same
from postgres import DATABASE, USER
from process import wait_until
from workload import JSON, key_path

KEYS = 30


@contextlib.contextmanager
def nodes_on(url, count, *flags):
    schema, nodes = fresh_schema(), []
    try:
        for _ in range(count):
            nodes.append(Node(url, schema, *flags))
        yield schema, nodes
    finally:
        for node in nodes:
            node.close()


class Session:
    """A session of somebody else's, with a transaction that stays open."""

    def __init__(self, db):
        self.program = subprocess.Popen(
            ["psql", "-XAtq", "-h", db.base, "-p", str(db.port), "-U", USER, "-d", DATABASE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, sql):
        self.program.stdin.write((sql + ";\nSELECT 'done';\n").encode())
        self.program.stdin.flush()
        while line := self.program.stdout.readline():
            if line == b"done\n":
                return

    def close(self):
        self.program.stdin.close()
        self.program.wait(30)
        self.program.stdout.close()


def waits_for_a_lock(db):
    return db.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != "0"


def batch(node, *ops):
    path = key_path("").rstrip("/")
    return node.request("POST", path, json.dumps({"ops": ops}), JSON)


def a_revision_is_more_than_those_of_an_entry_that_was_deleted_meanwhile(runner):
    with database(fsync="off") as db, \
            nodes_on(db.url(), 2, "--engine-timeout", "30s") as (schema, (one, other)):
        for key in "ab":
            same(one.request("PUT", key_path(key), "1").status, 204)
        session, answers = Session(db), []
        session.run("BEGIN; SELECT 1 FROM %s.kv WHERE key = 'a' FOR UPDATE" % schema)
        thread = threading.Thread(target=lambda: answers.append(
            batch(one, {"op": "incr", "key": "a"}, {"op": "incr", "key": "b"})))
        thread.start()
        wait_until(lambda: waits_for_a_lock(db), "it waits for the first key")
        set_at = int(other.request("PUT", key_path("b"), "7").headers["Hati-Revision"])
        same(other.request("DELETE", key_path("b")).status, 204)
        session.run("COMMIT")
        thread.join()
        session.close()
        same((answers[0].status, answers[0].body), (200, b'{"results":[2,1]}\n'))
        now_at = int(one.request("GET", key_path("b")).headers["Hati-Revision"])
        check(now_at > set_at, "%d comes behind %d" % (now_at, set_at))


def a_revision_is_never_given_twice(runner):
    """Also where the one before is ahead of the clock, and a transaction writes a key repeatedly."""
    with database(fsync="off") as db, nodes_on(db.url(), 1) as (schema, (node,)):
        same(node.request("PUT", key_path("a"), "1").status, 204)
        db.psql("UPDATE %s.kv SET rev = rev + 3600000000" % schema)
        before = int(node.request("GET", key_path("a")).headers["Hati-Revision"])
        sets = [{"op": "set", "key": "a", "value": str(i)} for i in range(5)]
        given = [result["revision"] for result in batch(node, *sets).json()["results"]]
        now_at = int(node.request("GET", key_path("a")).headers["Hati-Revision"])
        check(all(one < other for one, other in zip([before] + given, given)),
              "%s behind %d" % (given, before))
        same(given[-1], now_at)


def who_waits_behind_others_is_answered_by_the_deadline_too(runner):
    """Calls that come while the database is silent, and what goes with them, end with their own
    time."""
    with database() as db, wire_to(db, runner.seed) as wire, \
            nodes_on(wire.url(db), 1, "--engine-timeout", "3s") as (_, (node,)):
        same(node.request("PUT", key_path("a"), "1").status, 204)
        wire.freeze()
        took, threads = [], []

        def ask(method, number):
            start = time.monotonic()
            status = node.request(method, key_path("k%d" % number), "1").status
            took.append((time.monotonic() - start, method, status))

        began = time.monotonic()
        for number in range(24):
            for method in ("GET", "PUT"):
                threads.append(threading.Thread(target=ask, args=(method, number)))
                threads[-1].start()
            threading.Event().wait(max(0, began + 0.25 * (number + 1) - time.monotonic()))
        for thread in threads:
            thread.join()
        wire.thaw()
        reads = max(t for t in took if t[1] == "GET")
        writes = max(t for t in took if t[1] == "PUT")
        runner.say("a read %.1f s at most, a write %.1f s" % (reads[0], writes[0]))
        same({t[2] for t in took}, {503})
        check(reads[0] < 5, "a read took %.1f s" % reads[0])
        check(writes[0] < 7, "a write took %.1f s" % writes[0])


def nodes_that_write_the_same_keys_do_not_wait_for_each_other_in_circles(runner):
    """Some keys of a transaction are read first, others only written."""
    with database(fsync="off") as db, nodes_on(db.url(), 3) as (_, nodes):
        failures = []
        line = nodes[0].line()  # keys that are not there yet cannot be locked in an order
        for number in range(KEYS):
            same(line.ask("SET hdd 0 k%d 1" % number), "+OK", "SET")
        line.close()

        def write(number):
            pick = random.Random(runner.seed * 100 + number)
            line = nodes[number % 3].line()
            for _ in range(40):
                calls = [pick.choice(("SET hdd 0 k%d 1\n", "INCR hdd k%d\n")) % pick.randrange(KEYS)
                         for _ in range(20)]
                line.send("".join(calls))
                failures.extend(answer for answer in (line.read_line() for _ in calls)
                                if not answer[:1].isdigit() and answer != b"+OK\n")
            line.close()

        threads = [threading.Thread(target=write, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(failures[:3], [])
        with open(db.log, encoding="utf-8", errors="replace") as log:
            same(log.read().count("deadlock detected"), 0, "deadlocks")


CASES = [a_revision_is_never_given_twice,
         nodes_that_write_the_same_keys_do_not_wait_for_each_other_in_circles,
         a_revision_is_more_than_those_of_an_entry_that_was_deleted_meanwhile,
         who_waits_behind_others_is_answered_by_the_deadline_too]
