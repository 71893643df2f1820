# SPDX-License-Identifier: MIT
"""Starts real servers and talks to them as bare clients do; counts what was checked."""
import base64
import hashlib
import hmac
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

PATIENCE = 30
judge = None  # of every answer, where somebody set one (documents.Judge)
_schemas = itertools.count(1)
tls = os.environ.get("HATI_TEST_TLS") == "1"  # every server speaks it, and whoever calls it
encryption = os.environ.get("HATI_TEST_ENCRYPTION") == "1"  # every server seals what it keeps
_key = os.urandom(32).hex()  # one for all: directories are copied
gentle = os.environ.get("HATI_TEST_GENTLE") == "1"  # servers write down what they ran through
TLS_FLAGS = ["--tcp-tls", "--rpc-tls", "--olivia-tls"]


class Failure(AssertionError):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def same(got, wanted, what=""):
    if got != wanted:
        raise Failure("%s: got %r, wanted %r" % (what, got, wanted))


def trusting():
    """Of somebody who takes whatever certificate is shown, as curl -k."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(address, patience=None, context=None):
    """A connection to a door, through TLS where the servers speak it."""
    sock = socket.create_connection(address, patience)
    if context or tls:
        sock = (context or trusting()).wrap_socket(sock, suppress_ragged_eofs=False)
    return sock


REFUSAL = b"TLS: " if tls else b"+ERR "  # of a connection, before it said anything


def first_answer(address, text):
    """What comes first to a connection that may be refused; through TLS that is an alert."""
    try:
        with connect(address, PATIENCE) as sock:
            sock.sendall(text)
            return sock.recv(200)
    except (ssl.SSLError, ConnectionError) as error:
        return b"TLS: " + str(error).encode()


def connect_http(port, patience=None, context=None):
    if context or tls:
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=patience,
                                           context=context or trusting())
    return http.client.HTTPConnection("127.0.0.1", port, timeout=patience)


class Server:
    """A hati of our own on free ports, with its data in a temporary directory; on a database where
    HATI_TEST_ENGINE_URL names one, in a schema of its own then."""

    binary = None
    nodes = 1  # that take turns
    engine = os.environ.get("HATI_TEST_ENGINE_URL")
    prefix = ()  # what comes before the binary
    base = ""    # what a path may begin with that no document names

    def __init__(self, *flags, env=None, keep=None, schema=None):
        self.dir = keep or tempfile.mkdtemp(prefix="hati-contract-")
        self.env = dict(os.environ)
        for name in list(self.env):
            if name.startswith(("HATI_", "HULY_", "OTEL_")):
                del self.env[name]
        self.env.update(env or {})
        self.flags = list(flags)
        self.tls_flags = TLS_FLAGS if tls else []
        self.schema = schema or "hati_test_%d_%d" % (os.getpid(), next(_schemas))
        self.start()

    def engine_flags(self):
        if not self.engine:
            return []
        return ["--engine", self.engine, "--engine-schema", self.schema, "--engine-connections",
                "4"]

    def encryption_flags(self):
        """A key, where it keeps something and no case gave it one."""
        given = [*self.flags, *self.env]
        if not encryption or self.engine or {
                "--engine", "--encryption-key-file", "HATI_ENGINE", "HULY_DB_CONNECTION"} & set(given):
            return []
        path = os.path.join(self.dir, "keys")
        if not os.path.exists(path):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as keys:
                keys.write(_key + "\n")
        return ["--encryption-key-file", path]

    def start(self, *more):
        socket_path = os.path.join(self.dir, "line.sock")
        command = [*self.prefix, self.binary, "start", "--data-dir",
                   os.path.join(self.dir, "data"), "--tcp-port", "0", "--rpc-port", "0",
                   "--tcp-socket", socket_path] + self.engine_flags() + self.encryption_flags()
        self.socket_path = socket_path
        self.log = open(os.path.join(self.dir, "log"), "ab")
        self.process = subprocess.Popen(command + self.tls_flags + self.flags + list(more), env=self.env,
                                        stdout=subprocess.PIPE, stderr=self.log)
        text = ""
        while "Ctrl-C" not in text:
            line = self.process.stdout.readline().decode()
            if not line:
                with open(os.path.join(self.dir, "log")) as log:
                    raise Failure("the server did not start: " + log.read()[-500:])
            text += line
        found = re.search(r"lines .*localhost[ :](\d+)", text)
        self.tcp = int(found.group(1)) if found else None
        found = re.search(r"http .*localhost:(\d+)", text)
        self.http = int(found.group(1)) if found else None
        self.greeting = text

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            if gentle:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    pass
            self.kill()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8") as log:
            return log.read()

    def line(self, token=None):
        line = Line(connect(("127.0.0.1", self.tcp), PATIENCE))
        if token:
            same(line.ask("AUTH " + token), "+OK", "AUTH")
        return line

    def unix_line(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(self.socket_path)
        return Line(sock)

    def request(self, method, path, body=None, headers=None, token=None):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        connection = connect_http(self.http, PATIENCE)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            if isinstance(body, str):
                body = body.encode()
            if body is not None or method in ("PUT", "POST"):
                headers.setdefault("Content-Length", str(len(body or b"")))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            if body:
                connection.send(body)
            answer = connection.getresponse()
            answer = Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        if judge:
            judge.http(method, path.removeprefix(self.base) or "/", body, answer)
        return answer

    def raw(self, data, patience=PATIENCE):
        """Bytes to the HTTP port; everything that comes back until it closes or is silent."""
        got, closed = self.raw_bytes(data, patience)
        if judge:
            judge.raw(data, got)
        return got, closed

    def raw_bytes(self, data, patience):
        sock = connect(("127.0.0.1", self.http), patience)
        try:
            sock.sendall(data)
            got = b""
            try:
                while True:
                    part = sock.recv(65536)
                    if not part:
                        return got, True
                    got += part
            except socket.timeout:
                return got, False
        finally:
            sock.close()

    def rpc_raw(self, body, token=None, content_type="application/json", path="/rpc"):
        return self.request("POST", path, body, {"Content-Type": content_type}, token)

    def rpc(self, method, params=None, token=None):
        call = {"jsonrpc": "2.0", "id": 1, "method": method}
        if params is not None:
            call["params"] = params
        answer = self.rpc_raw(json.dumps(call), token)
        same(answer.status, 200, method)
        return json.loads(answer.body)


class Several(Server):
    """Nodes of one engine: each connection goes to the next of them."""

    def __init__(self, count):
        self.ports, self.others, self.turns = {}, [], itertools.count()
        super().__init__()
        self.others = [Server(schema=self.schema) for _ in range(count - 1)]

    def next_port(self, door):
        turn = next(self.turns) % (len(self.others) + 1)
        return getattr(self.others[turn - 1], door) if turn else self.ports[door]

    http = property(lambda self: self.next_port("http"),
                    lambda self, port: self.ports.update(http=port))
    tcp = property(lambda self: self.next_port("tcp"),
                   lambda self, port: self.ports.update(tcp=port))

    def stop(self):
        return max([super().stop()] + [other.stop() for other in self.others], key=abs)

    def close(self):
        for other in self.others:
            other.close()
        super().close()


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Line:
    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rwb")
        self.sent = None  # the first line that was not answered yet

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.sent = data.split(b"\n")[0]
        self.file.write(data)
        self.file.flush()

    def read_line(self):
        line = self.file.readline()
        if judge and self.sent and line.endswith(b"\n"):
            judge.line(self.sent, line)
        self.sent = None
        return line

    def read(self, count):
        return self.file.read(count)

    def ask(self, text):
        """One line out, one line back, without its newline."""
        self.send((text if isinstance(text, bytes) else text.encode()) + b"\n")
        line = self.read_line()
        check(line.endswith(b"\n"), "the reply %r has no newline" % line)
        return line[:-1].decode("utf-8", "surrogateescape")

    def close(self):
        self.file.close()
        self.sock.close()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(claims, secret, alg="HS256"):
    header = b64url(json.dumps({"alg": alg, "typ": "JWT"}).encode())
    payload = b64url(json.dumps(claims).encode())
    hashes = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
    digest = hmac.new(secret.encode(), header + b"." + payload, hashes[alg]).digest()
    return (header + b"." + payload + b"." + b64url(digest)).decode()


def wait_until(condition, text, patience=PATIENCE):
    end = time.monotonic() + patience
    while not condition():
        check(time.monotonic() < end, text)
        time.sleep(0.01)


def settles(read, wanted, what=""):
    """At once on one node; of several each writes down by and by what it counted."""
    end = time.monotonic() + (PATIENCE if Server.nodes > 1 else 0)
    while (got := read()) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    same(got, wanted, what)


def unhurried(run, ms):
    """run(ms), whose steps mean something only where they take less than ms; it gives what judges
    them. Where the machine took longer: again, with five times as many."""
    while True:
        begin = time.monotonic()
        judge = run(ms)
        if time.monotonic() - begin < ms / 1000:
            return judge()
        check(ms < 60000, "steps took %.1f s" % (time.monotonic() - begin))
        ms *= 5
