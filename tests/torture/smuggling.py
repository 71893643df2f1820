# SPDX-License-Identifier: MIT
"""Two requests out of one, behind a proxy: HAProxy and nginx, as they come and as lax as they can be
set. The proxy lets nobody write below /api/smuggled; each attack hides such a write where the proxy
may take it for a part of another request. If it is ever carried out, or a bystander, who shares the
connection to the server, gets an answer that is not his, two ends read one thing in two ways."""
import os
import re
import select
import socket
import threading

import proxies
from cases_smuggling import CHUNKS, REFUSED, SERVED, TOO_LARGE
from harness import PATIENCE, Failure, Server, check, same, wait_until
from http2 import Connection

WAIT_S = 0.01         # for a proxy that waits for more of an attack
HIDDEN = "PUT /api/smuggled/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\ngold"
OUTER = b"PUT /api/outer/k?type=memory HTTP/1.1\r\nHost: h\r\n"
LENGTHS = (b"Content-Length: %d\r\n", b"Content-Length: %d\r\nContent-Length: 0\r\n",
           b"Content-Length: 0\r\nContent-Length: %d\r\n", b"Content-Length: +%d\r\n",
           b"Content-Length: %d, 0\r\n", b"Content-Length : %d\r\n", b"Content-Length\t: %d\r\n",
           b"X: y\r\n Content-Length: %d\r\n", b"X: y\nContent-Length: %d\r\n",
           b"X: y\rContent-Length: %d\r\n", b"Content-Length:\r\n %d\r\n", b"Content_Length: %d\r\n",
           b"Content-Length: \x0b%d\r\n", b"\x0bContent-Length: %d\r\n",
           b"X\0: y\r\nContent-Length: %d\r\n", b"Content-Length: %d\x00\r\n",
           b"Content-Length: 000000000000000000000%d\r\n", b"Content-Length:%d;x\r\n",
           b"Connection: Content-Length\r\nContent-Length: %d\r\n",
           b"Expect: 100-continue\r\nContent-Length: %d\r\n",
           b"Expect: y 100-continue\r\nContent-Length: %d\r\n")
CODINGS = (b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n",
           b"Transfer-Encoding\t: chunked\r\n", b"Transfer-Encoding:chunked\r\n",
           b"Transfer-Encoding: \tchunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n",
           b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked, identity\r\n",
           b"Transfer-Encoding: identity, chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
           b"Transfer-Encoding: chunked, chunked\r\n", b"Transfer-Encoding: \"chunked\"\r\n",
           b"Transfer-Encoding: 'chunked'\r\n", b"Transfer-Encoding: chunked;a=b\r\n",
           b"Transfer-Encoding: CHUNKED\r\n", b"Transfer-Encoding: identity\r\n",
           b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding:\n chunked\r\n",
           b"X: y\r\n Transfer-Encoding: chunked\r\n", b"X: y\nTransfer-Encoding: chunked\r\n",
           b"X: y\rTransfer-Encoding: chunked\r\n", b"Transfer-Encoding\r\n: chunked\r\n",
           b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
           b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
           b"Transfer-Encoding: \r\nTransfer-Encoding: chunked\r\n", b"Transfer_Encoding: chunked\r\n",
           b"Transfer-Encoding: chunked\x00\r\n", b"Transfer-Encoding\x00: chunked\r\n",
           b"Transfer-Encoding: chunked\x80\r\n", b" Transfer-Encoding: chunked\r\n",
           b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
           b"TE: trailers\r\nTransfer-Encoding: ,chunked\r\n")
CHUNK_ENDS = (b";\nxx", b"\n", b";x\n", b"\r", b";\r", b";x=\"\r\n", b" ", b"\t\r\n", b"\x0b\r\n",
              b"\0\r\n", b";" + b"x" * 5000 + b"\r\n")


def hidden(number):
    return (HIDDEN % number).encode()


def chunked(data):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def framed():
    """Attacks on where a body ends: {name: what is sent, told what it has to hide}."""
    made = {}
    for line in LENGTHS:
        made["a body by %r" % line] = lambda hide, line=line: OUTER + line % len(hide) + b"\r\n" + hide
        made["GET with %r" % line] = lambda hide, line=line: \
            OUTER.replace(b"PUT", b"GET", 1) + line % len(hide) + b"\r\n" + hide
    for coding in CODINGS:
        for method in (b"PUT", b"GET"):
            outer = OUTER.replace(b"PUT", method, 1)
            name = "%s by %r" % (method.decode(), coding)
            made["length first, " + name] = lambda hide, coding=coding, outer=outer: (
                outer + b"Content-Length: %d\r\n%s\r\n0\r\n\r\n" % (len(hide) + 5, coding) + hide)
            made["chunks first, " + name] = lambda hide, coding=coding, outer=outer: (
                outer + coding + b"Content-Length: %d\r\n\r\n" % len(b"%x\r\n" % len(hide)) +
                chunked(hide))
            made["1.0, " + name] = lambda hide, coding=coding, outer=outer: (
                outer.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n" + coding + b"\r\n" +
                chunked(hide))
            made["alone, " + name] = lambda hide, coding=coding, outer=outer: (
                outer + coding + b"\r\n" + chunked(hide))
    return made


def in_chunks():
    """Attacks on where a chunk ends."""
    head = OUTER + b"Transfer-Encoding: chunked\r\n\r\n"
    made = {}
    for end in CHUNK_ENDS:
        made["a chunk's line by %.9r" % end] = lambda hide, end=end: (
            head + b"5" + end + b"xxxxx\r\n%x\r\n" % (len(hide) + 5) + b"0\r\n\r\n" + hide +
            b"\r\n0\r\n\r\n")
        made["an end of chunks by %.9r" % end] = lambda hide, end=end: (
            head + b"3\r\nabc\r\n0" + end + b"\r\n" + hide)
    for number, end in enumerate((b"", b"\n", b"\r", b"\r\r", b"xx", b"  ")):
        made["a chunk's data by %r" % end] = lambda hide, end=end: (
            head + b"3\r\nabc" + end + b"%x\r\n" % len(hide) + hide + b"\r\n0\r\n\r\n")
    for size in (b"%x", b"+%x", b"0x%x", b"-%x", b" %x", b"%x ", b"00000000000000000000%x",
                 b"10000000000000000%x", b"%xg", b"%x,", b"%x.", b"_%x"):
        made["a chunk of %r" % size] = lambda hide, size=size: (
            head + size % len(hide) + b"\r\n" + hide + b"\r\n0\r\n\r\n")
    for trailer in (b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n", b" x\r\n", b"x\n",
                    b"Host: y\r\n", b":\r\n", b"\0\r\n"):
        made["a trailer %r" % trailer] = lambda hide, trailer=trailer: (
            head + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n" + hide)
    return made


def in_heads():
    """Attacks on where a head ends, and on what is asked."""
    made = {}
    for end in (b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\r", b"\r\n\r\r\n", b"\0\r\n\r\n", b"\x0b\r\n\r\n",
                b"\r\n \r\n", b"\r\n:\r\n\r\n", b"\r\n\x0c\r\n"):
        made["a head's end by %r" % end] = lambda hide, end=end: OUTER.replace(b"PUT", b"GET")[:-2] + \
            end + hide
        made["a header's end by %r" % end] = lambda hide, end=end: OUTER + b"X: y" + end + hide
    for line in (b"GET /api/outer/k HTTP/1.1\nX: y", b"GET /api/outer/k HTTP/0.9",
                 b"GET /api/outer/k", b"GET /api/outer/k HTTP/1.10", b"GET /api/outer/k http/1.1",
                 b"GET /api/outer/k HTTP/1.1 HTTP/1.1", b"GET /api/outer/k\0 HTTP/1.1",
                 b"GET http://other/api/outer/k HTTP/1.1", b"GET http://h:1/../status HTTP/1.1",
                 b"GET /api/outer/k HTTP/2.0", b"GET /api/outer/k\tHTTP/1.1", b"GET * HTTP/1.1",
                 b"OPTIONS * HTTP/1.1", b"CONNECT h:80 HTTP/1.1", b"TRACE / HTTP/1.1",
                 b"HEAD /api/outer/k HTTP/1.1", b"GET /api/outer/%00%0d%0a HTTP/1.1",
                 b"GET /api/outer/k HTTP/1.1\r\nConnection: upgrade, HTTP2-Settings\r\n"
                 b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
                 b"GET /api/outer/k HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="):
        for length in (b"", b"Content-Length: %d\r\n"):
            made["%.60r%s" % (line, " and a length" if length else "")] = \
                lambda hide, line=line, length=length: (
                    line + b"\r\nHost: h\r\n" + (length % len(hide) if length else b"") + b"\r\n" + hide)
    return made


def known():
    """What is refused and served without a proxy, with another request behind it."""
    rows = dict(REFUSED)
    rows.update({name: row[0] for table in (SERVED, TOO_LARGE) for name, row in table.items()})
    rows.update(CHUNKS)
    return {name: lambda hide, data=data: data + hide for name, data in rows.items()}


def attacks():
    made = {}
    for table in (known(), framed(), in_chunks(), in_heads()):
        made.update(table)
    return made


def in_frames():
    """Attacks through HTTP/2, whose values have lengths: {name: (headers, body)}."""
    plain = [(":method", "PUT"), (":path", "/api/outer/k?type=memory"), (":scheme", "http"),
             (":authority", "h")]

    def of(pairs, body=lambda hide: hide):
        return lambda hide: (pairs(hide.decode("latin-1")), body(hide))

    def instead(name, value):
        return lambda hide: [(n, value(hide) if n == name else v) for n, v in plain]

    def more(name, value):
        return lambda hide: plain + [(name, value(hide))]

    head = "x\r\n\r\n"
    return {
        "a length that is too small": of(more("content-length", lambda hide: "0")),
        "a length that is too large": of(more("content-length", lambda hide: str(len(hide) + 400))),
        "two lengths": of(lambda hide: plain + [("content-length", "0"),
                                                ("content-length", str(len(hide)))]),
        "chunks": of(more("transfer-encoding", lambda hide: "chunked"),
                     lambda hide: b"0\r\n\r\n" + hide),
        "a connection's header": of(more("connection", lambda hide: "transfer-encoding")),
        "a value of lines": of(more("x", lambda hide: "y\r\n\r\n" + hide)),
        "a value of bare LFs": of(more("x", lambda hide: "y\n\n" + hide)),
        "a value with a coding": of(more("x", lambda hide: "y\r\nTransfer-Encoding: chunked"),
                                    lambda hide: b"0\r\n\r\n" + hide),
        "a value with a NUL": of(more("x", lambda hide: "y\0\r\n\r\n" + hide)),
        "a name of lines": of(more("x: y\r\n\r\n" + HIDDEN[:4].lower(), lambda hide: hide)),
        "a name with a colon": of(more("transfer-encoding: chunked\r\nx", lambda hide: "y"),
                                  lambda hide: b"0\r\n\r\n" + hide),
        "a name with a space": of(more("transfer-encoding ", lambda hide: "chunked"),
                                  lambda hide: b"0\r\n\r\n" + hide),
        "a name in capitals": of(more("Transfer-Encoding", lambda hide: "chunked"),
                                 lambda hide: b"0\r\n\r\n" + hide),
        "a path of lines": of(instead(":path", lambda hide: "/status HTTP/1.1\r\nHost: h\r\n\r\n" +
                                      hide)),
        "a path with a space": of(instead(":path", lambda hide: "/status HTTP/1.1 x")),
        "a method of lines": of(instead(":method", lambda hide: hide)),
        "an authority of lines": of(instead(":authority", lambda hide: "h\r\n\r\n" + hide)),
        "a host beside the authority": of(more("host", lambda hide: "other" + head + hide)),
        "a scheme of lines": of(instead(":scheme", lambda hide: "http://h/ HTTP/1.1\r\n\r\n" + hide)),
        "a path that is none": of(instead(":path", lambda hide: "")),
    }


class Bystander:
    """Asks for what is his alone, on a connection of his own through the proxy."""

    def __init__(self, port, value):
        self.port, self.value = port, value
        self.sock = None
        self.asked = self.again = 0

    def ask(self, after):
        """A connection that the server ended meanwhile is a 502; then he asks once more."""
        for _ in range(20):
            status, body = self.once(after)
            if status == 200:
                same(body, self.value, "the bystander's answer after " + after)
                self.asked += 1
                return
            check(status in (502, 503), "the bystander was answered %d after %s" % (status, after))
            self.again += 1
        raise Failure("the bystander is answered no more after " + after)

    def once(self, after):
        if not self.sock:
            self.sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.sock.sendall(b"GET /api/bystander/%s HTTP/1.1\r\nHost: h\r\n\r\n" % self.value)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.part(after, got)
        head, body = got.split(b"\r\n\r\n", 1)
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(lines.get(b"content-length", b"0"))
        while len(body) < length:
            body += self.part(after, got)
        same(body[length:], b"", "behind the bystander's answer after " + after)
        if lines.get(b"connection") == b"close":
            self.close()
        return int(head[9:12]), body

    def part(self, after, got):
        part = self.sock.recv(65536)
        check(part, "the bystander was hung up on after %s: %r" % (after, got))
        return part

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None


def send(port, data, wait_s=WAIT_S):
    """The attacker's connection, which stays open; waits a moment for an answer."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    try:
        sock.sendall(data)
        if select.select([sock], [], [], wait_s)[0]:
            sock.recv(65536)
    except ConnectionError:
        pass
    return sock


def counted(server):
    """HTTP requests that the server has answered, this one aside."""
    text = server.request("GET", "/metrics").body.decode()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.split("\n")
               if line.startswith("hati_requests_total{") and 'door="http' in line and
               'operation="metrics"' not in line)


class Attack:
    """On one proxy."""

    def __init__(self, server, proxy):
        self.server, self.proxy = server, proxy
        self.others = [Bystander(proxy.h1, b"of-%d" % number) for number in range(2)]
        for other in self.others:
            same(server.request("PUT", "/api/bystander/" + other.value.decode(), other.value).status,
                 204, "PUT")
        wait_until(lambda: counted(server) == counted(server), "the server to be quiet")
        self.own, self.handed = counted(server), proxy.handed_on()
        self.tried = 0

    def after(self, name):
        for other in self.others:
            other.ask(name)

    def hides(self):
        self.tried += 1
        return hidden(self.tried)

    def through_lines(self, made_of):
        socks = []
        for name, made in made_of.items():
            socks.append(send(self.proxy.h1, made(self.hides())))
            self.after(name)
        for sock in socks:
            sock.close()

    def through_frames(self):
        for name, made in in_frames().items():
            headers, body = made(self.hides())
            connection = Connection(self.proxy.h2, PATIENCE)
            connection.ask(headers, body, WAIT_S)
            self.after("HTTP/2: " + name)
            connection.close()

    def keys(self):
        return self.server.request("GET", "/api/smuggled").json()["keys"]

    def no_key(self):
        same(self.keys(), [], "attacks that wrote what nobody may write")

    def counts(self, patience):
        """(Requests that the server had, those handed on); the former may be fewer."""
        told = []

        def agree():
            told.append((counted(self.server) - self.own, self.proxy.handed_on() - self.handed))
            return told[-1][0] <= told[-1][1]

        try:
            wait_until(agree, "", patience)
        except Failure:
            raise Failure("the server had %d requests of %d handed on" % told[-1]) from None
        return told[-1]

    def judge(self):
        for other in self.others:
            other.close()
        told = self.counts(PATIENCE)
        self.no_key()
        return told


def one(server, proxy):
    connection = Connection(proxy.h2, PATIENCE) # HTTP/2 is spoken there
    check(connection.ask([(":method", "GET"), (":path", "/status"), (":scheme", "http"),
                          (":authority", "h")], b"", PATIENCE) == b"200", "GET /status by HTTP/2")
    connection.close()
    attack = Attack(server, proxy)
    attack.through_lines(attacks())
    attack.through_frames()
    had, handed = attack.judge()
    again = sum(other.again for other in attack.others)
    return "%d attacks, %d of them by HTTP/2; %d requests handed on, %d had; bystanders asked %d " \
           "times, %d of them again" % (attack.tried, len(in_frames()), handed, had,
                                        sum(other.asked for other in attack.others), again)


class Gullible:
    """Between a proxy and the server: makes the server overlook every Content-Length. What a proxy
    takes for a body is a request then, which has to be noticed."""

    def __init__(self, port):
        self.behind = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            behind = socket.create_connection(("127.0.0.1", self.behind))
            for one, other in ((sock, behind), (behind, sock)):
                threading.Thread(target=self.pump, args=(one, other, one is sock),
                                 daemon=True).start()

    def pump(self, one, other, requests):
        try:
            while data := one.recv(65536):
                other.sendall(re.sub(b"(?i)content-length:", b"x-ontent-length:", data)
                              if requests else data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def sees_what_it_should(runner, server, kind):
    """An attack that comes true is noticed."""
    between = Gullible(server.http)
    proxy = kind(os.path.join(runner.room(), "proxy"), between.port)
    try:
        noticed = {}
        attack = Attack(server, proxy)
        hide = hidden(0)
        send(proxy.h1, OUTER + b"Content-Length: %d\r\n\r\n" % len(hide) + hide, PATIENCE).close()
        wait_until(attack.keys, "the planted attack to come true")
        for name, look in (("an answer", lambda: attack.after("a planted attack")),
                           ("a key", attack.no_key), ("the count", lambda: attack.counts(1))):
            try:
                look()
            except Failure as failure:
                noticed[name] = failure
        check({"a key", "the count"} <= set(noticed), # the answer, where it comes late enough
              "the planted attack was noticed by %s alone" % sorted(noticed))
        same(server.request("DELETE", "/api/smuggled/0").status, 204, "DELETE")
    finally:
        proxy.close()
        between.close()


def run(runner):
    why = proxies.why_not()
    if why:
        runner.say("skipped: " + why)
        return
    server = Server(keep=runner.room())
    try:
        for kind in (proxies.Haproxy, proxies.Nginx):
            sees_what_it_should(runner, server, kind)
            for lax in (False, True):
                proxy = kind(os.path.join(runner.room(), "proxy"), server.http, lax)
                try:
                    runner.say("%s%s: %s" % (kind.__name__, ", lax" if lax else "",
                                             one(server, proxy)))
                finally: # what it left under way is not for the next one's count
                    proxy.close()
        check(server.stop() == 0, "the end of the server")
    finally:
        server.close()
