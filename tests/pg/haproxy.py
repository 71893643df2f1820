# SPDX-License-Identifier: MIT
"""HAProxy as Debian ships it, in front of several nodes: HTTP and lines, each node asked by /readyz
whether it may get new work, so that one that drains gets none."""
import os
import shutil
import socket

import process

CONFIG = """global
    maxconn 4000
    stats socket %(base)s/admin mode 600 level admin
defaults
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 1s
    # Only a connection that could not be made is tried elsewhere: nothing was sent then.
    retries 2
    option redispatch 1
    retry-on conn-failure
    default-server inter 300ms fastinter 100ms downinter 300ms fall 2 rise 1
frontend http
    mode http
    bind %(address)s:%(http)d
    default_backend http
backend http
    mode http
    # What a node has begun it ends, up or down: 503 says that no node got the request.
    timeout server 8s
    balance roundrobin
    option http-keep-alive
    option httpchk GET /readyz
    http-check expect status 200
%(http_servers)s
frontend lines
    mode tcp
    bind %(address)s:%(lines)d
    default_backend lines
backend lines
    mode tcp
    balance leastconn
    default-server on-marked-down shutdown-sessions
    # The line door has no answer of its own to "may you have new connections".
    option httpchk GET /readyz
    http-check expect status 200
%(line_servers)s
"""


def binary():
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def why_not():
    return None if binary() else "no HAProxy here: install the packages of tests/pg/packages"


class Haproxy:
    """nodes: (address, HTTP port, line port or None) each."""

    def __init__(self, nodes, address="127.0.0.1", namespace=None):
        self.base = process.directory("hati-haproxy-")
        self.address, self.namespace = address, namespace
        self.http, self.lines = process.free_port(), process.free_port()
        self.config = os.path.join(self.base, "haproxy.cfg")
        self.names = ["node%d" % i for i in range(len(nodes))]
        http = ["    server %s %s:%d check" % (name, node[0], node[1])
                for name, node in zip(self.names, nodes)]
        lines = ["    server %s %s:%d check port %d" % (name, node[0], node[2], node[1])
                 for name, node in zip(self.names, nodes) if node[2]]
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG % {"base": self.base, "address": address, "http": self.http,
                                 "lines": self.lines, "http_servers": "\n".join(http),
                                 "line_servers": "\n".join(lines)})
        self.program = None

    def start(self):
        self.program = process.Program([binary(), "-db", "-f", self.config],
                                       os.path.join(self.base, "log"), self.namespace)
        self.program.wait_until(self.answers, "the start of HAProxy")
        return self

    def answers(self):
        try:
            return "node0" in self.states()
        except OSError:
            return False

    def states(self):
        """{node: "UP", "DOWN", ...} as seen by the health checks of HTTP."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(os.path.join(self.base, "admin"))
            sock.sendall(b"show stat\n")
            text = b""
            while part := sock.recv(65536):
                text += part
        finally:
            sock.close()
        rows = [line.split(",") for line in text.decode().split("\n") if line]
        status = rows[0].index("status")
        return {row[1]: row[status] for row in rows if row[0] == "http" and row[1] in self.names}

    def wait_for(self, wanted, patience=30):
        """Until the nodes that are up are exactly those numbers."""
        names = {self.names[i] for i in wanted}
        self.program.wait_until(
            lambda: {name for name, state in self.states().items() if state.startswith("UP")} == names,
            "HAProxy sees the nodes %s up" % sorted(wanted), patience)

    def close(self):
        if self.program and self.program.runs():
            self.program.kill()
        process.remove(self.base)
