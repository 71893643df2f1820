# SPDX-License-Identifier: MIT
"""Nodes come, go, and are cut off."""
import contextlib
import json
import random
import subprocess
import time

import haproxy
import netns
from cluster import Cluster, Node, fresh_schema, start_together
from harness import Failure, Server, check, same
from postgres import Postgres
from process import wait_until
from workload import Load


def needs_haproxy(runner):
    reason = haproxy.why_not()
    if reason:
        raise runner.skip(reason)


@contextlib.contextmanager
def database(*arguments, **settings):
    server = Postgres(*arguments, **settings).start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def cluster(*arguments, **more):
    made = Cluster(*arguments, **more)
    try:
        yield made
    finally:
        made.close()


def nodes_are_killed_while_clients_write(runner):
    needs_haproxy(runner)
    pick = random.Random(runner.seed)
    with database() as db, cluster(db.url()) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        for number in range(runner.rounds):
            node = nodes.nodes[pick.randrange(len(nodes.nodes))]
            load.work(runner.seconds / 2)
            node.kill()
            load.goes_on()
            load.work(runner.seconds / 2)
            node.restart("kill")
            nodes.wait_ready()
            load.goes_on()
        load.finish(runner)


def nodes_are_replaced_one_by_one(runner):
    """A rolling update: each drains, ends and starts; no client hears a refusal of it."""
    needs_haproxy(runner)
    with database(fsync="off") as db, cluster(db.url(), flags=("--drain-delay", "2s")) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        for node in nodes.nodes:
            node.restart("stop")
            nodes.wait_ready()
            load.goes_on()
        load.finish(runner)


def a_node_is_cut_off_while_clients_write(runner):
    needs_haproxy(runner)
    reason = netns.why_not()
    if reason:
        raise runner.skip(reason)
    with netns.Network(["db", "lb", "client", "n0", "n1", "n2"]) as network, \
            database(network.addresses["db"], network.space("db")) as db, \
            cluster(db.url(), network=network) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        for number in range(max(runner.rounds, 3)):
            name = "n%d" % (number % 3)
            load.work(runner.seconds / 2)
            (lambda: network.cut(name), lambda: network.cut(name, ["db"]),
             lambda: network.pull(name))[number % 3]()
            nodes.proxy.wait_for({0, 1, 2} - {number % 3})
            load.goes_on()
            load.work(runner.seconds / 2)
            network.heal(name)
            network.plug(name)
            nodes.wait_ready()
            load.goes_on()
        load.finish(runner)


def ten_nodes_start_at_once_on_an_empty_schema(runner):
    with database(fsync="off") as db:
        for _ in range(runner.rounds):
            schema = fresh_schema()
            nodes = start_together([lambda: Node(db.url(), schema, "--engine-connections", "3")
                                    for _ in range(10)])
            try:
                for node in nodes:
                    same(node.request("GET", "/readyz").status, 200, "readiness")
                    same(node.request("PUT", "/api/a/" + str(node.http_port), "1").status, 204)
                same(len(nodes[0].request("GET", "/api/a").json()["keys"]), 10, "keys")

                def alive():
                    return node_list(nodes[3])

                wait_until(lambda: len(alive()) == 10, "ten nodes in /stats: %r" % alive(), 15)
                same({one["address"] for one in alive()}, {node.advertise for node in nodes})
            finally:
                for node in nodes:
                    node.close()


def node_list(node):
    """Nodes that /stats calls alive."""
    found = node.request("GET", "/stats").json().get("nodes")
    check(isinstance(found, list), "/stats lists no nodes")
    return [one for one in found if one.get("alive", True)]


def version_table(db, schema):
    """(table, column) of the schema's version."""
    rows = db.psql("SELECT table_name, column_name FROM information_schema.columns WHERE"
                   " table_schema = '%s' AND column_name = 'version' AND table_name LIKE '%%schema%%'"
                   % schema).split("\n")
    check(len(rows) == 1 and rows[0], "the table of the schema's version: %r" % rows)
    return rows[0].split("|")


def a_node_older_than_the_schema_does_not_start(runner):
    with database(fsync="off") as db:
        schema = fresh_schema()
        node = Node(db.url(), schema)
        same(node.stop(), 0, "status")
        table, column = version_table(db, schema)
        db.psql("UPDATE %s.%s SET %s = %s + 1000" % (schema, table, column, column))
        try:
            node.release()
            node.start()
        except Failure as failure:
            text = str(failure)
        else:
            raise Failure("it started")
        finally:
            node.close()
        check("version" in text or "newer" in text, "the line does not say why: %r" % text)
        same(node.process.wait(10) != 0, True, "its status")
        runner.say(text.strip().split("\n")[-1][-200:])


def a_database_that_is_not_there_is_said(runner):
    done = subprocess.run([Server.binary, "start", "--engine", "postgresql://hati@127.0.0.1:1/x",
                           "--tcp-port", "0", "--rpc-port", "0", "--engine-timeout", "2s"],
                          capture_output=True, timeout=30)
    text = done.stderr.decode()
    check(done.returncode != 0, "it started")
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    same(len(lines), 1, "lines on stderr: %r" % text)
    check("engine" in lines[0], lines[0])


CASES = [nodes_are_killed_while_clients_write, nodes_are_replaced_one_by_one,
         a_node_is_cut_off_while_clients_write, ten_nodes_start_at_once_on_an_empty_schema,
         a_node_older_than_the_schema_does_not_start, a_database_that_is_not_there_is_said]
