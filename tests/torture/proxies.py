# SPDX-License-Identifier: MIT
"""HAProxy and nginx as Debian ships them, each as one process with as few connections to the server
behind as it can do with: what two clients send shares them. Each says how many requests it handed on."""
import os
import shutil
import socket
import subprocess

from harness import Failure, wait_until
from process import free_port

HAPROXY = """global
    nbthread 1
    stats socket %(room)s/admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout http-request 5s
    timeout server 5s
    retries 0
    %(lax)s
frontend front
    bind 127.0.0.1:%(h1)d
    bind 127.0.0.1:%(h2)d proto h2
    http-request deny if { path_beg -i /api/smuggled }
    default_backend back
backend back
    http-reuse always
    server hati 127.0.0.1:%(hati)d
"""

NGINX = """daemon off;
master_process off;
pid %(room)s/pid;
error_log %(room)s/error.log;
events { worker_connections 1000; }
http {
    log_format counted "handed on: $upstream_addr";
    access_log %(room)s/access.log counted;
    client_body_temp_path %(room)s/body;
    proxy_temp_path %(room)s/proxy;
    fastcgi_temp_path %(room)s/fastcgi;
    uwsgi_temp_path %(room)s/uwsgi;
    scgi_temp_path %(room)s/scgi;
    client_header_timeout 5s;
    client_body_timeout 5s;
    upstream hati { server 127.0.0.1:%(hati)d; keepalive 1; }
    server {
        listen 127.0.0.1:%(h1)d;
        listen 127.0.0.1:%(h2)d http2;
        %(lax)s
        location ~* ^/api/smuggled { return 403; }
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
            proxy_buffering off;
            proxy_pass http://hati;
        }
    }
}
"""


def program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def why_not():
    missing = [name for name in ("haproxy", "nginx") if not program(name)]
    return "not here: %s (tests/torture/packages)" % ", ".join(missing) if missing else None


class Proxy:
    """In front of the HTTP port `hati`, with HTTP/1 on port h1, HTTP/2 on h2 (in the clear)."""

    def __init__(self, room, hati, text, lax):
        self.room = room
        os.makedirs(room)
        self.h1, self.h2 = free_port(), free_port()
        self.config = os.path.join(room, "config")
        with open(self.config, "w", encoding="ascii") as file:
            file.write(text % {"room": room, "hati": hati, "h1": self.h1, "h2": self.h2, "lax": lax})
        with open(os.path.join(room, "said"), "wb") as said:
            self.process = subprocess.Popen(self.command(), stdout=said, stderr=said)
        wait_until(self.listens, "a proxy to listen")

    def listens(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.room, "said"), encoding="utf-8") as said:
                raise Failure("a proxy ended: " + said.read()[-500:])
        try:
            socket.create_connection(("127.0.0.1", self.h1), 5).close()
        except ConnectionError:
            return False
        return True

    def close(self):
        self.process.kill()
        self.process.wait()


class Haproxy(Proxy):
    """lax: hands on what it would refuse."""

    def __init__(self, room, hati, lax=False):
        super().__init__(room, hati, HAPROXY, "option accept-invalid-http-request" if lax else "")

    def command(self):
        return [program("haproxy"), "-db", "-f", self.config]

    def handed_on(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(os.path.join(self.room, "admin.sock"))
            sock.sendall(b"show stat\n")
            text = b""
            while part := sock.recv(65536):
                text += part
        rows = [line.split(",") for line in text.decode().split("\n") if line]
        row = next(row for row in rows if row[0] == "back" and row[1] == "BACKEND")
        return int(row[rows[0].index("req_tot")])


class Nginx(Proxy):
    """lax: takes names that are none, and sends a body on before it has all of it."""

    def __init__(self, room, hati, lax=False):
        super().__init__(room, hati, NGINX, "ignore_invalid_headers off; underscores_in_headers on;"
                         "proxy_request_buffering off;" if lax else "")

    def command(self):
        return [program("nginx"), "-p", self.room, "-e", os.path.join(self.room, "error.log"), "-c",
                self.config]

    def handed_on(self):
        with open(os.path.join(self.room, "access.log"), encoding="utf-8") as file:
            said = [line.split(": ", 1)[1].strip() for line in file]
        return sum(len(one.split(",")) for one in said if one != "-")
