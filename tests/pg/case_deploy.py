# SPDX-License-Identifier: MIT
"""What deploy/ says, carried out: its HAProxy before three nodes, its scripts of PostgreSQL."""
import http.client
import itertools
import os
import re
import shutil
import socket
import subprocess
import threading

import haproxy
import postgres
import process
from cluster import Node, fresh_schema
from harness import Line, check, same

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy")


class Deployed(haproxy.Haproxy):
    """deploy/haproxy.cfg with the addresses of here."""

    def __init__(self, nodes):
        super().__init__([(node.address, node.http_port, node.tcp_port) for node in nodes])
        self.names = ["hati%d" % (i + 1) for i in range(len(nodes))]
        with open(os.path.join(DEPLOY, "haproxy.cfg"), encoding="utf-8") as file:
            text = file.read()
        for name, node in zip(self.names, nodes):
            text = text.replace("%s:6767" % name, "%s:%d" % (node.address, node.http_port))
            text = text.replace("%s:4242 port 6767" % name,
                                "%s:%d port %d" % (node.address, node.tcp_port, node.http_port))
        text = text.replace("bind :6767", "bind %s:%d" % (self.address, self.http))
        text = text.replace("bind :4242", "bind %s:%d" % (self.address, self.lines))
        text = text.replace("\nglobal\n", "\nglobal\n    stats socket %s/admin mode 600 level admin\n"
                            % self.base)
        check(not re.search(r"hati\d:|bind :", text), "an address of deploy/haproxy.cfg is left")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def answers(self):
        try:
            return self.names[0] in self.states()
        except OSError:
            return False


class Callers:
    """Threads that each go on asking; the first answer that is none, or a bad one, is kept."""

    def __init__(self, runs):
        self.ended = threading.Event()
        self.failures, self.counts = [], [0] * len(runs)
        self.threads = [threading.Thread(target=self.go, args=(i, run))
                        for i, run in enumerate(runs)]
        for thread in self.threads:
            thread.start()

    def go(self, i, run):
        try:
            for number in itertools.count():
                if self.ended.is_set():
                    return
                run(number)
                self.counts[i] += 1
        except Exception as error:
            self.failures.append("caller %d, behind %d answers: %r" % (i, self.counts[i], error))

    def each_goes_on(self, patience=20):
        before = list(self.counts)
        process.wait_until(lambda: self.failures or all(now > then + 5 for now, then
                                                        in zip(self.counts, before)),
                           "every caller goes on", patience)
        check(not self.failures, "; ".join(self.failures))

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        check(not self.failures, "; ".join(self.failures))


def http_caller(proxy, method, path, body, wanted):
    connection = http.client.HTTPConnection(proxy.address, proxy.http, timeout=30)

    def ask(number):
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        check(answer.status in wanted, "%s %s: %d" % (method, path, answer.status))
    return ask


def line_caller(proxy):
    """A connection each, as a client has that comes anew."""
    import socket

    def ask(number):
        line = Line(socket.create_connection((proxy.address, proxy.lines), timeout=30))
        same(line.ask("SET hdd 0 line %d" % number), "+OK")
        line.close()
    return ask


def the_haproxy_of_deploy_lets_no_request_fail_while_nodes_drain(runner):
    if haproxy.why_not():
        raise runner.skip(haproxy.why_not())
    db = postgres.Postgres(fsync="off").start()
    nodes, proxy, callers = [], None, None
    try:
        schema = fresh_schema()
        nodes = [Node(db.url(), schema, "--drain-delay", "5s", "--trusted-proxies",
                      "127.0.0.0/8", "--tcp-proxy-protocol") for _ in range(3)]
        proxy = Deployed(nodes).start()
        proxy.wait_for({0, 1, 2})
        same(nodes[0].request("PUT", "/broker/queues/q").status, 201)
        callers = Callers([http_caller(proxy, "PUT", "/api/a/b", "1", {204}),
                           http_caller(proxy, "GET", "/api/a/none", None, {404}),
                           http_caller(proxy, "PUT", "/broker/queues/q", None, {200}),
                           http_caller(proxy, "POST", "/broker/queues/q/receive?wait=300", None,
                                       {200}),
                           line_caller(proxy)])
        callers.each_goes_on()
        for node in nodes:
            same(node.stop(), 0, "the status of a node that drained")
            node.release()
            callers.each_goes_on()
            node.start()
            proxy.wait_for({0, 1, 2})
            callers.each_goes_on()
        callers.end()
        runner.say("requests: " + " ".join(map(str, callers.counts)))
        outside = http.client.HTTPConnection(proxy.address, proxy.http, timeout=10)
        outside.request("POST", "/internal/poke?queue=1")
        same(outside.getresponse().status, 404, "a poke from outside")
    finally:
        if callers:
            callers.ended.set()
        if proxy:
            proxy.close()
        for node in nodes:
            node.close()
        db.close()


class Scripted(postgres.Postgres):
    """As the image of PostgreSQL makes it: with a superuser of its own, and passwords. What the
    scripts of deploy/postgres set is in postgresql.auto.conf, and stands over settings of here."""

    def __init__(self):
        super().__init__(data="not the template")

    def make(self):
        postgres.run([os.path.join(postgres.binaries(), "initdb"), "-D", self.data, "-U", "postgres",
                      "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"])
        with open(os.path.join(self.data, "pg_hba.conf"), "a", encoding="utf-8") as file:
            file.write("host all all all scram-sha-256\n")
        return self

    def psql(self, sql, patience=60):
        return postgres.psql("host=%s port=%d user=postgres dbname=postgres" % (self.base, self.port),
                             sql, None, patience)


def run_script(base, name, data, *arguments, **environment):
    """A copy of it, with secrets at hand, for who runs it may not see ours."""
    scripts = os.path.join(base, "scripts")
    if not os.path.exists(scripts):
        shutil.copytree(os.path.join(DEPLOY, "postgres"), scripts)
        subprocess.run(["chmod", "-R", "a+rX", scripts], check=True)
    path = postgres.binaries() + ":" + os.environ["PATH"]
    words = ["PATH=" + path, "PGDATA=" + data, "SECRETS_DIR=" + os.path.join(base, "secrets")]
    words += ["%s=%s" % pair for pair in environment.items()]
    postgres.run(["env", *words, "sh", os.path.join(scripts, name), *arguments])


def the_postgres_of_deploy_waits_for_its_standby_and_its_standby_for_nobody(runner):
    base = process.directory("hati-deploy-")
    os.chmod(base, 0o755)
    secrets = os.path.join(base, "secrets")
    subprocess.run([os.path.join(DEPLOY, "make-secrets.sh"), secrets], check=True)
    os.chmod(secrets, 0o755)  # a container is given the files, not the directory
    primary, standby = Scripted(), Scripted()
    node = None
    try:
        primary.make().start()
        run_script(base, "primary.sh", primary.data, PGHOST=primary.base, PGPORT=primary.port)
        os.makedirs(standby.data, mode=0o700)
        if process.ordinary_user():
            shutil.chown(standby.data, process.ordinary_user())
        run_script(base, "standby.sh", standby.data, "true", PRIMARY_HOST=primary.address,
                   PRIMARY_PORT=primary.port)
        primary.restart()
        standby.start()
        process.wait_until(lambda: primary.psql("SELECT application_name || sync_state FROM"
                                                " pg_stat_replication") == "standbysync",
                           "the standby is the synchronous one", 20)
        same(standby.psql("SHOW synchronous_standby_names"), "", "whom the standby waits for")
        config = os.path.join(base, "hati.conf")
        with open(os.path.join(secrets, "hati-postgres.conf"), encoding="utf-8") as file:
            text = file.read()
        for name, server in (("primary", primary), ("standby", standby)):
            text = text.replace("%s:5432" % name, "%s:%d" % (server.address, server.port))
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        node = Node(None, None, "--config", config)
        answer = node.request("PUT", "/api/a/b", "1", headers={"Causal-Context": "{}"})
        same(answer.status, 204)
        seen = node.request("GET", "/api/a/b",
                            headers={"Causal-Context": answer.headers["Causal-Context"]})
        same(seen.body, b"1")
        primary.kill9()
        standby.promote()
        process.wait_until(lambda: node.request("PUT", "/api/a/b", "2").status == 204,
                           "writes go on behind the failover", 30)
    finally:
        if node:
            node.close()
        primary.close()
        standby.close()
        process.remove(base)


CASES = [the_haproxy_of_deploy_lets_no_request_fail_while_nodes_drain,
         the_postgres_of_deploy_waits_for_its_standby_and_its_standby_for_nobody]
