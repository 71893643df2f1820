# SPDX-License-Identifier: MIT
"""The tools themselves, without hati: each does what the cases rely on."""
import http.server
import json
import os
import subprocess
import threading

import cluster
import haproxy
import linear
import netns
import pgbouncer
import postgres
import process
import workload
from harness import Failure, check, same
from postgres import Postgres, psql
from wire import Wire


def the_checker_finds_planted_faults(runner):
    linear.self_test(runner.say)


def a_database_ends_and_comes_back(runner):
    database = Postgres().start()
    database.psql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    same(psql(database.url(), "SELECT a FROM t"), "1", "over TCP")
    same(database.psql("SHOW data_checksums"), "on")
    if os.geteuid() == 0:
        check(os.stat("/proc/%d" % database.program.pid).st_uid != 0, "it runs as root")
    for mode in ("fast", "immediate", "kill"):
        database.restart(mode)
        same(database.psql("SELECT a FROM t"), "1", mode)
    check(database.stop("smart") == 0, "its status")
    database.close()


def a_synchronous_standby_takes_over(runner):
    first = Postgres().start()
    first.psql("CREATE TABLE t (a int)")
    second = first.make_standby("s1")
    first.commit_waits_for("s1")
    first.psql("INSERT INTO t VALUES (1)")
    first.kill9()
    second.promote()
    same((second.psql("SELECT a FROM t"), second.is_standby(), second.timeline()), ("1", False, 2))
    second.psql("INSERT INTO t VALUES (2)")
    first.rewind(second, "s2")
    second.commit_waits_for("s2")
    second.psql("INSERT INTO t VALUES (3)")
    process.wait_until(lambda: first.psql("SELECT count(*) FROM t") == "3", "it follows")
    check(first.is_standby(), "the old primary is a standby")
    first.close()
    second.close()


def a_replica_lags(runner):
    primary = Postgres(fsync="off").start()
    primary.psql("CREATE TABLE t (a int)")
    replica = primary.make_standby("r1", apply_delay_ms=3600000)
    primary.psql("INSERT INTO t VALUES (1)")
    same(replica.psql("SELECT count(*) FROM t"), "0", "at once")
    replica.reload(recovery_min_apply_delay="'100ms'")
    process.wait_until(lambda: replica.psql("SELECT count(*) FROM t") == "1", "later")
    replica.close()
    primary.close()


def pgbouncer_passes_on(runner):
    reason = pgbouncer.why_not()
    if reason:
        raise runner.skip(reason)
    database = Postgres(fsync="off").start()
    bouncer = pgbouncer.Pgbouncer(database).start()
    same(psql(bouncer.url(), "SELECT 1"), "1")
    bouncer.close()
    database.close()


def a_wire_breaks_and_falls_silent(runner):
    database = Postgres(fsync="off").start()
    wire = Wire(database.address, database.port, runner.seed)
    url = wire.url(database)
    same(psql(url, "SELECT 1"), "1")

    def fails(patience=60):
        try:
            psql(url, "SELECT 1", patience=patience)
        except (Failure, subprocess.TimeoutExpired):
            return True
        return False

    wire.lose_answers = 1
    check(fails(), "an answer came")
    wire.lose_answers = 0
    wire.freeze()
    check(fails(0.5), "an answer came over a silent wire")
    wire.thaw()
    same(psql(url, "SELECT 1"), "1")
    wire.close()
    database.close()


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        ready = self.path != "/readyz" or self.server.ready
        body = self.server.name.encode()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Backends(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Health checks close as soon as they know."""


def backends(count):
    made = []
    for i in range(count):
        server = Backends(("127.0.0.1", 0), Backend)
        server.daemon_threads = True
        server.name, server.ready = "b%d" % i, True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.append(server)
    return made


def haproxy_leaves_out_who_drains(runner):
    from clients import Http
    reason = haproxy.why_not()
    if reason:
        raise runner.skip(reason)
    servers = backends(3)
    proxy = haproxy.Haproxy([("127.0.0.1", s.server_port, s.server_port) for s in servers]).start()
    proxy.wait_for({0, 1, 2})

    def names():
        seen = set()
        for _ in range(12):
            client = Http("127.0.0.1", proxy.http)
            seen.add(client.ask("GET", "/").body)
            client.close()
        return seen

    same(names(), {b"b0", b"b1", b"b2"})
    servers[1].ready = False
    proxy.wait_for({0, 2})
    same(names(), {b"b0", b"b2"})
    servers[1].ready = True
    proxy.wait_for({0, 1, 2})
    proxy.close()
    for server in servers:
        server.shutdown()
        server.server_close()


def a_member_of_the_network_is_cut_off_and_healed(runner):
    from clients import Http
    reason = netns.why_not()
    if reason:
        raise runner.skip(reason)
    with netns.Network(["db", "client", "other"]) as network:
        database = Postgres(network.addresses["db"], network.space("db"), fsync="off").start()

        def reaches(member, wanted):
            """Whether it does as wanted; of who is to get through, a slow machine is waited for."""
            try:
                with network.inside(member):
                    client = Http(network.addresses["db"], database.port, 20 if wanted else 0.3)
                    client.connect()
                client.close()
                return wanted
            except OSError:
                return not wanted

        def see(client, other, when):
            check(reaches("client", client), "the client, %s" % when)
            check(reaches("other", other), "the other, %s" % when)

        see(True, True, "whole")
        network.cut("client")
        see(False, True, "one is cut off")
        network.cut("db", ["other"])
        network.heal("client")
        see(True, False, "two do not see each other")
        network.heal("db")
        network.pull("other")
        see(True, False, "the cable is out")
        network.plug("other")
        process.wait_until(lambda: reaches("other", True), "healed")
        same(psql(database.url(), "SELECT 1", network.space("client")), "1")
        database.close()


def the_clients_find_nothing_wrong_with_one_node_on_lmdb(runner):
    reason = haproxy.why_not()
    if reason:
        raise runner.skip(reason)
    nodes = cluster.Cluster(None, 1)
    try:
        load = workload.Load(nodes.client, runner.seed).start()
        load.goes_on()
        nodes.nodes[0].restart("kill")
        nodes.wait_ready()
        load.goes_on()
        load.finish(runner)
    finally:
        nodes.close()


def the_clients_find_what_is_wrong(runner):
    """Behind the clients' back an entry goes, a counter counts twice, a message comes twice."""
    reason = haproxy.why_not()
    if reason:
        raise runner.skip(reason)
    nodes = cluster.Cluster(None, 1)
    node = nodes.nodes[0]
    plants = (("is missing", lambda: node.request("DELETE", workload.key_path("w0-3"))),
              ("counter 2", lambda: [node.request(
                  "POST", workload.key_path("c2") + "?op=incr") for _ in range(3)]),
              ("came twice", lambda: node.request(
                  "POST", "/broker/routers/default/messages?key=work", b"p10/0000002")))
    try:
        for word, plant in plants:
            load = workload.Load(nodes.client, runner.seed).start()
            load.goes_on(count=300)
            load.stop()
            plant()
            try:
                load.finish(runner)
            except Failure as failure:
                check(word in str(failure), "%r does not say %r" % (str(failure), word))
            else:
                raise Failure("nobody finds that an entry %s" % word)
            node.request("POST", "/rpc", json.dumps(
                {"jsonrpc": "2.0", "id": 1, "method": "Storage.FlushAll", "params": ["hdd"]}),
                workload.JSON)
            for key in ("c2", "c3", "shared"):
                node.request("DELETE", workload.key_path(key))
            for queue in workload.QUEUES:
                node.request("DELETE", "/broker/queues/%s" % queue)
    finally:
        nodes.close()


CASES = [the_checker_finds_planted_faults, a_database_ends_and_comes_back,
         a_synchronous_standby_takes_over, a_replica_lags, pgbouncer_passes_on,
         a_wire_breaks_and_falls_silent, haproxy_leaves_out_who_drains,
         a_member_of_the_network_is_cut_off_and_healed,
         the_clients_find_nothing_wrong_with_one_node_on_lmdb, the_clients_find_what_is_wrong]
