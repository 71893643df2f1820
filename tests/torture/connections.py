# SPDX-License-Identifier: MIT
"""Many connections to a server in one thread, each with one request under way: what was sent and
what was answered before what is known exactly, since all of it happens in one order."""
import collections
import itertools
import json
import selectors
import socket

from harness import PATIENCE, check

LINES, JSON_LINES, REST, RPC = "lines", "JSON lines", "REST", "JSON-RPC"
DOORS = (LINES, JSON_LINES, REST, RPC)
HTTP_DOORS = (REST, RPC)


class Answer:
    """Of a line: text, and frames where it had some. Of HTTP: status, headers, body."""
    __slots__ = ("text", "frames", "status", "headers", "body")

    def __init__(self, text=b"", frames=(), status=None, headers=None, body=b""):
        self.text, self.frames = text, frames
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body if self.status else self.text)

    def code(self):
        """The word of a failure, or None."""
        if self.status is None and not self.text.startswith(b"{"):
            return self.text.split(b" ")[1].decode() if self.text.startswith(b"+ERR ") else None
        if self.status and self.status >= 400:
            return self.json()["code"]
        if not self.body and self.status:
            return None
        said = self.json() if self.status is None or self.body.startswith(b"{") else {}
        if not isinstance(said, dict) or "error" not in said:
            return None
        return said["error"]["message"].split(":")[0].split(" ")[0]


def call(method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def http(method, path, body=b"", **headers):
    """Names of headers as they stand, but for _ in place of -."""
    head = "%s %s HTTP/1.1\r\nHost: h\r\n" % (method, path)
    head += "".join("%s: %s\r\n" % (name.replace("_", "-"), value)
                    for name, value in headers.items())
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def rpc(text):
    return http("POST", "/rpc", text, Content_Type="application/json")


class Connection:
    def __init__(self, number, door):
        self.number, self.door = number, door
        self.sock, self.op, self.data = None, None, b""

    def open(self, server):
        port = server.http if self.door in HTTP_DOORS else server.tcp
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def answer(self):
        """A whole one, or None."""
        return self.http_answer() if self.door in HTTP_DOORS else self.line_answer()

    def http_answer(self):
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return None
        rows = self.data[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in rows[1:])}
        length = int(headers.get("content-length", 0))
        if len(self.data) < end + 4 + length:
            return None
        body = self.data[end + 4:end + 4 + length]
        self.data = self.data[end + 4 + length:]
        return Answer(status=int(rows[0].split(" ")[1]), headers=headers, body=body)

    def line_answer(self):
        """Its frames, if any, and its last line."""
        at, frames = 0, []
        while True:
            end = self.data.find(b"\n", at)
            if end < 0:
                return None
            head = self.data[at:end]
            if not head.startswith((b"MSG ", b"$")):
                break
            length = int(head.split(b" ")[-1].lstrip(b"$"))
            frame = self.data[end + 1:end + 1 + length]
            if len(self.data) < end + 2 + length:
                return None
            frames.append((head, frame))
            at = end + 2 + length
            if head.startswith(b"$"):
                self.data = self.data[at:]
                return Answer(text=head, frames=frames)
        self.data = self.data[end + 1:]
        return Answer(text=head, frames=frames)


class Crowd:
    """An op has request(door), answered(answer), which says whether more answers are to come, and
    lost(); its call and answer are set here, from one count of all that happens."""

    def __init__(self, server, doors):
        self.server = server
        self.stamps = itertools.count(1)
        self.members = [Connection(number, door) for number, door in enumerate(doors)]
        self.done = collections.Counter()
        self.selector = None
        self.open()

    def open(self):
        self.selector = selectors.DefaultSelector()
        for member in self.members:
            member.open(self.server)
            self.selector.register(member.sock, selectors.EVENT_READ, member)

    def close(self):
        self.selector.close()
        for member in self.members:
            member.sock.close()

    def begin(self, member, op, request=None):
        request = request or op.request(member.door)
        op.call = next(self.stamps)
        member.op = op
        member.sock.sendall(request)

    def idle(self):
        return [member for member in self.members if member.op is None]

    def is_busy(self):
        return any(member.op for member in self.members)

    def take(self, member, patient=True):
        """What has come; False where the other side is gone."""
        try:
            got = member.sock.recv(262144)
        except OSError:
            got = b""
        if not got:
            check(not patient, "a connection for %s was ended while %r was under way; the rest: "
                  "%.200r" % (member.door, member.op, member.data))
            return False
        member.data += got
        while member.op and (answer := member.answer()):
            op, member.op = member.op, None
            op.answer = next(self.stamps)
            self.done[member.door] += 1
            if op.answered(answer):
                member.op = op
        return True

    def turn(self):
        """Waits until something came."""
        ready = self.selector.select(PATIENCE)
        check(ready, "no answer: %s" % [(member.door, member.op) for member in self.members
                                        if member.op][:3])
        for key, _ in ready:
            self.take(key.data)

    def finish(self):
        while self.is_busy():
            self.turn()

    def volley(self, ops):
        """All of them as close together as can be, by one connection each, and their answers."""
        check(not self.is_busy() and len(ops) <= len(self.members), "all have to be idle")
        requests = [op.request(member.door) for member, op in zip(self.members, ops)]
        for member, op, request in zip(self.members, ops, requests):
            self.begin(member, op, request)
        self.finish()

    def after_kill(self):
        """What the server still sent counts; what it left open may have happened, until now."""
        for member in self.members:
            while self.take(member, patient=False):
                pass
        now = next(self.stamps)
        for member in self.members:
            if member.op:
                op, member.op = member.op, None
                op.answer = now
                op.lost()
        self.close()
        return now
