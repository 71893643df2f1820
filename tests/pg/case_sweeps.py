# SPDX-License-Identifier: MIT
"""What is over leaves the database; who was away meanwhile notices."""
import contextlib
import itertools
import json
import signal

from case_model import Moved
from case_queues import ack, make_queue, publish_many, receive
from cluster import fresh_schema
from harness import check, same
from process import wait_until
from same_queues import HOUR

AT_ONCE = 10000  # messages that a delete of their queue takes with it
KEPT = 600000    # ms that what is gone is remembered for
NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::int8"


@contextlib.contextmanager
def two_nodes(runner):
    """With the database under them, and how to move its clock and theirs."""
    with Moved(runner) as moved:
        schema, nodes = fresh_schema(), []
        database = moved.database
        database.psql("ALTER DATABASE postgres SET search_path = %s" % schema)
        try:
            for _ in range(2):
                nodes.append(moved.node("--no-auth", schema=schema))
            yield database, moved.control, nodes
        finally:
            for node in nodes:
                node.close()


def rows(database, table, condition="true"):
    return int(database.psql("SELECT count(*) FROM %s AS t WHERE %s" % (table, condition)))


def later(control, ms):
    for clock in ("clock_ms", "steady_ms"):
        control.set(clock, control.get(clock) + ms)


def fill(node):
    """With keys, ids, counters and messages; and one of each that stays."""
    line = node.line()
    for storage in ("hdd", "memory"):
        for number in range(600):
            same(line.ask("SET %s 600 k%d v" % (storage, number)), "+OK", "SET")
        same(line.ask("SET %s 0 kept v" % storage), "+OK", "SET")
    line.close()
    make_queue(node, "long", **{"dedup-window": 600000})
    make_queue(node, "kept")
    same(node.request("PUT", "/broker/routers/r?type=direct").status, 201, "a router")
    same(node.request("PUT", "/broker/routers/r/bindings/long?pattern=x").status, 201, "a binding")
    same(node.request("POST", "/broker/routers/r/messages?key=x&id=once", "m").status, 201, "PUBLISH")
    publish_many(node, "long", AT_ONCE + 1200)
    publish_many(node, "kept", 1)


def what_is_over_leaves_the_database(runner):
    with two_nodes(runner) as (database, control, (stays, goes)):
        begins = database.psql("SELECT " + NOW)
        fill(goes)
        over = {
            "kv": "expires > 0", "kv_mem": "expires > 0",
            "op": "at > 0 AND at < %s + " + str(HOUR), "op_mem": "at > 0 AND at < %s + " + str(HOUR),
            "dedup": "until < %s + " + str(HOUR), "node": "heartbeat < %s + " + str(HOUR),
            "queue_node": "published > 100", "router_node": "published = 1",
            "msg": "queue <> (SELECT id FROM queue WHERE name = 'kept')", "msg_mem": "true"}
        over = {table: condition.replace("%s", begins) for table, condition in over.items()}
        database.psql("INSERT INTO msg_mem SELECT * FROM msg LIMIT 700")
        wait_until(lambda: rows(database, "queue_node", over["queue_node"]) and
                   rows(database, "router_node", over["router_node"]), "the counters are written")
        for table, condition in over.items():
            check(rows(database, table, condition), table + " has none")
        goes.kill()
        same(stays.request("DELETE", "/broker/queues/long").status, 204, "DELETE")
        later(control, 26 * HOUR)
        for table, condition in over.items():
            wait_until(lambda at=table, such=condition: rows(database, at, such) == 0, table)
        line = stays.line()
        for storage in ("hdd", "memory"):
            same(line.ask("GET %s kept" % storage), "v", storage)
        line.close()
        (message,) = receive(stays, "kept")
        same(ack(stays, "kept", message), 204, "an ACK")


def the_planner_is_told_what_grew(runner):
    with two_nodes(runner) as (database, _, (node, _)):
        database.reload(autovacuum="off")
        database.psql("VACUUM msg")
        make_queue(node, "q")
        publish_many(node, "q", 1500)
        wait_until(lambda: rows(database, "pg_class", "oid = 'msg'::regclass AND reltuples > 1000"),
                   "its plans know of 1500 messages")


def reached(node):
    """How many queues a message gets to."""
    answer = node.request("POST", "/broker/routers/r/messages?key=x", "m")
    return answer.json()["queues"] if answer.status == 201 else None


def counters_of_a_router_go_with_it(runner):
    with two_nodes(runner) as (database, _, (first, second)):
        same(first.request("PUT", "/broker/routers/r?type=direct").status, 201, "a router")
        for node in (first, second):
            same(reached(node), 0, "queues")
        wait_until(lambda: rows(database, "router_node") == 2, "both have written what they counted")
        same(first.request("DELETE", "/broker/routers/r").status, 204, "DELETE")
        same(rows(database, "router_node"), 0, "counters of what is gone")


def definitions(node):
    return [json.loads(node.request("GET", "/broker/" + kind).body) for kind in ("queues", "routers")]


def who_was_away_while_what_is_gone_was_swept_notices(runner):
    with two_nodes(runner) as (database, control, (first, second)):
        make_queue(first, "old")
        make_queue(first, "other")
        same(first.request("PUT", "/broker/routers/r?type=direct").status, 201, "a router")
        for queue in ("old", "other"):
            same(first.request("PUT", "/broker/routers/r/bindings/%s?pattern=x" % queue).status, 201,
                 "a binding")
        wait_until(lambda: reached(second) == 2, "the other node knows of it")
        new = itertools.count()

        def swept():
            later(control, KEPT + 1)
            make_queue(first, "new%d" % next(new))
            return not any(rows(database, table, "gone") for table in ("queue", "binding"))

        second.process.send_signal(signal.SIGSTOP)
        try:
            same(first.request("DELETE", "/broker/queues/old").status, 204, "DELETE")
            same(first.request("DELETE", "/broker/routers/r/bindings/other?pattern=x").status, 204,
                 "UNBIND")
            wait_until(swept, "what is gone was swept")
        finally:
            second.process.send_signal(signal.SIGCONT)
        same(reached(first), 0, "queues")
        wait_until(lambda: reached(second) == 0, "the same on the other node")
        wait_until(lambda: definitions(first) == definitions(second), "they know the same")


CASES = [what_is_over_leaves_the_database, the_planner_is_told_what_grew,
         counters_of_a_router_go_with_it, who_was_away_while_what_is_gone_was_swept_notices]
