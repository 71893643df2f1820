# SPDX-License-Identifier: MIT
"""The database ends, comes back, fails over; replicas lag."""
import contextlib
import json
import time

import clients
import process
from case_nodes import cluster, database, needs_haproxy
from cluster import Node, fresh_schema
from harness import check, same
from postgres import DATABASE, USER
from workload import JSON, Load, key_path


def the_database_restarts_while_clients_write(runner):
    needs_haproxy(runner)
    with database() as db, cluster(db.url()) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        for number in range(runner.rounds):
            load.work(runner.seconds / 2)
            db.restart(("kill", "fast", "immediate")[number % 3])
            nodes.wait_ready()
            load.goes_on()
        load.finish(runner)


def without_its_database_a_node_says_so_and_heals(runner):
    with database() as db:
        node = Node(db.url(), fresh_schema())
        try:
            same(node.request("PUT", "/api/a/b", "1").status, 204)
            db.kill9()
            process.wait_until(lambda: node.request("GET", "/readyz").status == 503, "readyz", 15)
            same(node.request("GET", "/healthz").status, 200, "healthz")
            before = time.monotonic()
            for method, body in (("GET", None), ("PUT", "2")):
                answer = node.request(method, "/api/a/b", body)
                same((answer.status, answer.json().get("code")), (503, "UNAVAILABLE"), method)
                check(method == "GET" or answer.headers["Hati-Outcome"] in
                      ("unknown", "not-applied"), "no Hati-Outcome")
            check(time.monotonic() - before < 20, "an answer takes far longer than the deadline")
            answer = node.rpc("Storage.Get", ["hdd", "b"])
            same(answer["error"]["code"], -32007, "JSON-RPC")
            line = node.line()
            check(line.ask("GET hdd b").startswith("+ERR UNAVAILABLE "), "lines")
            line.close()
            db.start()
            process.wait_until(lambda: node.request("GET", "/readyz").status == 200, "it heals", 30)
            same(node.request("GET", "/api/a/b").status, 200)
        finally:
            node.close()


@contextlib.contextmanager
def pair():
    """A primary and its synchronous standby, and a URL of both, in that order."""
    with database() as first:
        second = first.make_standby("s1")
        try:
            first.commit_waits_for("s1")
            yield first, second, "postgresql://%s@%s:%d,%s:%d/%s?target_session_attrs=read-write" \
                "&connect_timeout=2" % (USER, first.address, first.port, second.address,
                                        second.port, DATABASE)
        finally:
            second.close()


def a_standby_takes_over_and_the_old_primary_is_refused(runner):
    needs_haproxy(runner)
    with pair() as (first, second, url), cluster(url) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        load.work(runner.seconds / 2)
        first.kill9()
        second.promote()
        nodes.wait_ready()
        load.goes_on()
        # It is back, nobody fenced it, it takes writes, and it is the first of the URL.
        first.settings["synchronous_standby_names"] = "''"
        first.start()
        changes = changes_of(first, nodes.schema)
        load.goes_on()
        load.work(runner.seconds / 2)
        for mode in ("fast", "kill"):
            second.restart(mode)  # so that every connection is made anew
            nodes.wait_ready()
            load.goes_on()
        same(changes_of(first, nodes.schema), changes, "the old primary was written to")
        first.stop()
        first.rewind(second, "s2")
        second.commit_waits_for("s2")
        load.goes_on()
        load.finish(runner)


def changes_of(server, schema):
    """How many rows were ever changed there, since its start."""
    return server.psql("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
                       " WHERE schemaname = '%s'" % schema)


def a_lost_standby_is_never_reported_as_done(runner):
    """Commits wait for a standby that is gone: they are unknown, until it is back."""
    with pair() as (first, second, url):
        node = Node(url, fresh_schema(), "--engine-timeout", "1500")
        try:
            process.wait_until(
                lambda: node.request("PUT", "/api/a/before", "1").status == 204, "a commit", 30)
            second.kill9()
            client = clients.Http(node.address, node.http_port)
            reply = client.ask("PUT", "/api/a/meanwhile", "1")
            same((reply.outcome, reply.status), (clients.UNKNOWN, 503), "a write meanwhile")
            same(reply.headers["Hati-Outcome"], "unknown")
            client.close()
            second.start()
            first.wait_for_standby("s1")
            process.wait_until(
                lambda: node.request("PUT", "/api/a/after", "1").status == 204, "it heals", 30)
        finally:
            node.close()


# --- causal reads ---

DELAY_MS = 700


@contextlib.contextmanager
def lagging(count=2):
    """Nodes that read from a replica which is late by DELAY_MS."""
    with database(fsync="off") as primary:
        replica = primary.make_standby("r1", apply_delay_ms=DELAY_MS)
        schema, nodes = fresh_schema(), []
        try:
            for _ in range(count):
                nodes.append(Node(primary.url(), schema, "--engine-read", replica.url()))
            yield primary, replica, nodes
        finally:
            for node in nodes:
                node.close()
            replica.close()


def reads_of(replica):
    return int(replica.psql("SELECT sum(tup_fetched + tup_returned) FROM pg_stat_database"
                            " WHERE datname = '%s'" % DATABASE))


class Session:
    """One that carries its causal context from node to node."""

    def __init__(self, nodes):
        self.nodes, self.turn, self.context = nodes, 0, "{}"

    def ask(self, method, path, body=None):
        node = self.nodes[self.turn % len(self.nodes)]
        self.turn += 1
        answer = node.request(method, path, body, {"Causal-Context": self.context})
        told = answer.headers["Causal-Context"]
        check(told, "%s %s has no Causal-Context" % (method, path))
        check("hati" in json.loads(told), "a context is %r" % told)
        self.context = told
        return answer


def reads_with_a_context_never_go_back(runner):
    with lagging() as (_, replica, nodes):
        before = reads_of(replica)
        writer, reader = Session(nodes), Session(nodes)
        seen, end, number = 0, time.monotonic() + max(runner.seconds * 2, 5), 0
        while time.monotonic() < end:
            number += 1
            same(writer.ask("PUT", key_path("causal"), str(number)).status, 204)
            same(int(writer.ask("GET", key_path("causal")).body), number, "one's own write")
            if number % 3 == 0:
                reader.context = writer.context  # as one who was told of it
            if number % 20 == 0:
                time.sleep(DELAY_MS / 1000 * 1.5)  # the replica has caught up by now
            answer = reader.ask("GET", key_path("causal"))
            got = int(answer.body) if answer.status == 200 else 0
            check(got >= seen, "a read went back from %d to %d" % (seen, got))
            check(number % 3 or got >= number, "told of %d, it read %d" % (number, got))
            seen = got
        runner.say("%d writes read back; the replica looked at %d rows meanwhile" % (
            number, reads_of(replica) - before))


def the_kv_store_door_is_causal(runner):
    with lagging() as (_, _, nodes):
        probe = nodes[0].request("GET", "/kv-store/key-count")
        if probe.status == 404 and b"causal-context" not in probe.body:
            raise runner.skip("this hati has no door /kv-store")
        context, turn = {}, 0
        end, number = time.monotonic() + max(runner.seconds, 3), 0

        def ask(method, body):
            nonlocal context, turn
            turn += 1
            answer = nodes[turn % 2].request(method, "/kv-store/keys/x", json.dumps(
                dict(body, **{"causal-context": context})), JSON)
            context = answer.json()["causal-context"]
            check(isinstance(context, dict), "a context is an object")
            return answer

        while time.monotonic() < end:
            number += 1
            check(ask("PUT", {"value": str(number)}).status in (200, 201), "PUT")
            same(ask("GET", {}).json()["value"], str(number), "one's own write on the other node")
            if number % 10 == 0:
                same(ask("DELETE", {}).status, 200, "DELETE")
                same(ask("GET", {}).status, 404, "one's own DELETE on the other node")


CASES = [the_database_restarts_while_clients_write, without_its_database_a_node_says_so_and_heals,
         a_standby_takes_over_and_the_old_primary_is_refused,
         a_lost_standby_is_never_reported_as_done, reads_with_a_context_never_go_back,
         the_kv_store_door_is_causal]
