# SPDX-License-Identifier: MIT
"""TLS of lines and HTTP: certificates, clients' certificates, reload, hostile and slow peers."""
import hashlib
import os
import re
import select
import signal
import socket
import ssl
import struct

import cases_lines
import cases_rest
import cases_rpc
import harness
import tls_skips
from broker_doors import LineBroker
from cases_broker_leases import has_consumers
from cases_broker_push import stream_waiter, subscriber
from harness import PATIENCE, Failure, Line, Server, check, connect, connect_http, same, wait_until
from cases_start import refused
from doors import WORKSPACE
from tls_client import Client
from tls_files import Files, shown

LARGE = 10 << 20
BASE = "/api2/%s/tls" % WORKSPACE


class Secure(Server):
    """A server that speaks TLS, and callers who check it where they have a context."""

    def __init__(self, *flags, context=None, **more):
        self.context = context or harness.trusting()
        super().__init__(*flags, **more)

    def dial(self, context=None, port=None):
        return connect(("127.0.0.1", port or self.tcp), PATIENCE, context or self.context)

    def line(self, token=None):
        return Line(self.dial())

    def ask(self, method, path, body=None, context=None):
        connection = connect_http(self.http, PATIENCE, context or self.context)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def hang_up_signal(self, word):
        """SIGHUP, and what the log says of it."""
        before = self.log_text().count(word)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log_text().count(word) > before, "the log does not say " + word)


def with_server(*flags, **more):
    """Gives the case a server of its own."""
    def take(case):
        def run():
            server = Secure(*flags, **more)
            try:
                case(server)
                same(server.stop(), 0, "the status at the end")
            finally:
                server.close()
        run.__name__ = case.__name__
        return run
    return take


def with_files(case):
    def run():
        files = Files()
        try:
            case(files)
        finally:
            files.close()
    run.__name__ = case.__name__
    return run


def fingerprint_told(server):
    return re.search(r"SHA-256 ([0-9A-F:]{95})", server.greeting).group(1)


def fingerprint_shown(server, port):
    with server.dial(port=port) as sock:
        digest = hashlib.sha256(sock.getpeercert(True)).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, 64, 2))


def one_is_made_and_kept():
    server = Secure()
    try:
        told = fingerprint_told(server)
        for port in (server.tcp, server.http):
            same(fingerprint_shown(server, port), told, "the fingerprint")
        kept = os.path.join(server.dir, "data", "self-signed.pem")
        same(os.stat(kept).st_mode & 0o777, 0o600, "who may read the key")
        with open(kept + ".new", "w") as file:
            file.write("of a start that was cut off")
        same(server.stop(), 0)
        server.process.stdout.close()
        server.log.close()
        server.start()
        same(fingerprint_told(server), told, "after a restart")
        same(fingerprint_shown(server, server.tcp), told, "after a restart")
        server.hang_up_signal("certificates read anew")
        same(fingerprint_shown(server, server.http), told, "after SIGHUP")
        same(server.stop(), 0)
        server.process.stdout.close()
        server.log.close()
        os.unlink(kept)
        server.start()
        check(fingerprint_told(server) != told, "the same key was made again")
        same(sorted(name for name in os.listdir(os.path.dirname(kept)) if "self" in name),
             ["self-signed.pem"], "files")
        same(server.stop(), 0)
        with open(kept, "w") as file:
            file.write("garbage")
        refused("--data-dir", server.dir + "/data", "--tcp-port", "0", "--rpc-port", "0",
                "--tcp-tls", word="self-signed.pem")
    finally:
        server.close()


@with_files
def files_that_are_of_no_use_are_told_in_one_line(files):
    garbage = files.path("garbage")
    with open(garbage, "w") as file:
        file.write("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    empty = files.path("empty")
    open(empty, "w").close()
    one, key = files.cert("one"), files.key("one")
    data = ("--data-dir", files.path("data"), "--tcp-port", "0", "--rpc-port", "0", "--tcp-tls")
    for cert, key_of, ca, word in (
            (one, files.key("two"), None, "is not the key of the certificate"),
            (files.path("none"), key, None, "none"), (one, files.path("none"), None, "none"),
            (garbage, key, None, "garbage"), (one, garbage, None, "garbage"),
            (empty, key, None, "empty"), (one, empty, None, "empty"), (key, one, None, "one.key"),
            (files.dir, key, None, "tls-cert"), (one, key, files.path("none"), "none"),
            (one, key, garbage, "garbage"), (one, key, empty, "empty")):
        more = ("--tls-client-ca", ca) if ca else ()
        refused(*data, "--tls-cert", cert, "--tls-key", key_of, *more, word=word)
    refused(*data, "--tls-cert", one, word="go together")
    refused(*data, "--tls-key", key, word="go together")


@with_files
def the_certificate_of_the_flags_is_shown(files):
    server = Secure(*files.flags("one"), context=files.context())
    try:
        check("SHA-256" not in server.greeting, "no fingerprint of a certificate that is no secret")
        for port in (server.tcp, server.http):
            with server.dial(port=port) as sock:
                same(shown(sock), "one")
        try:
            server.dial(files.context(ca="b")).close()
            raise Failure("another authority vouches for it")
        except ssl.SSLCertVerificationError:
            pass
        same(server.line().ask("PING"), "+PONG")
        same(server.ask("GET", "/status")[0], 200)
    finally:
        server.close()


def old(version):
    context = harness.trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    return context


@with_server()
def old_versions_are_refused(server):
    for port in (server.tcp, server.http):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            try:
                server.dial(old(version), port).close()
                raise Failure("%s is spoken" % version)
            except (ssl.SSLError, ConnectionError) as error:
                check("CERTIFICATE" not in str(error), str(error))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with server.dial(old(version), port) as sock:
                check(sock.version() in ("TLSv1.2", "TLSv1.3"), sock.version())


@with_files
def without_forward_secrecy_nothing_is_agreed_on(files):
    files.openssl("genpkey", "-algorithm", "RSA", "-out", files.key("rsa"))
    files.openssl("req", "-x509", "-key", files.key("rsa"), "-subj", "/CN=rsa", "-out",
                  files.cert("rsa"))
    server = Secure(*files.flags("rsa"))
    try:
        for port in (server.tcp, server.http):
            for ciphers, served in (("kRSA", False), ("ECDHE", True)):
                context = harness.trusting()
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(ciphers)
                try:
                    server.dial(context, port).close()
                    agreed = True
                except (ssl.SSLError, ConnectionError):
                    agreed = False
                same(agreed, served, ciphers)
    finally:
        server.close()


def refuses_line(server, context):
    """No reply comes; with TLS 1.3 the client hears of it behind its handshake."""
    try:
        with server.dial(context) as sock:
            sock.sendall(b"PING\n")
            got = sock.recv(100)
            check(got == b"", "%r came" % got)
    except (ssl.SSLError, ConnectionError):
        pass


@with_files
def clients_show_certificates(files):
    server = Secure(*files.flags("one"), "--tls-client-ca", files.cert("ca-a"))
    try:
        good = files.context("good")
        with server.dial(good) as sock:
            sock.sendall(b"PING\n")
            same(sock.recv(100), b"+PONG\n")
        same(server.ask("PUT", BASE + "/k", b"v", good)[0], 204)
        same(server.ask("GET", BASE + "/k", context=good), (200, b"v"))
        for name in (None, "foreign", "late", "early", "purpose"):
            bad = files.context(name)
            refuses_line(server, bad)
            for method, path in (("GET", BASE + "/k"), ("PUT", BASE + "/k"), ("POST", "/rpc"),
                                 ("GET", "/nothing"), ("GET", "/stats"), ("GET", "/metrics")):
                status, _ = server.ask(method, path, context=bad)
                check(status == 403, "%s %s of %s: %d" % (method, path, name, status))
            for path in ("/status", "/readyz"):
                same(server.ask("GET", path, context=bad)[0], 200, "%s of %s" % (path, name))
        same(server.ask("GET", BASE + "/k", context=good), (200, b"v"))
        # another authority is believed from SIGHUP on
        os.replace(files.cert("ca-b"), files.cert("ca-a"))
        server.hang_up_signal("certificates read anew")
        foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        foreign.check_hostname = False
        foreign.verify_mode = ssl.CERT_NONE
        foreign.load_cert_chain(files.cert("foreign"), files.key("foreign"))
        with server.dial(foreign) as sock:
            sock.sendall(b"PING\n")
            same(sock.recv(100), b"+PONG\n")
        same(server.ask("GET", BASE + "/k", context=foreign), (200, b"v"))
        refuses_line(server, good)
    finally:
        server.close()


@with_files
def a_reload_shows_another_one_and_ends_nothing(files):
    context = files.context()
    server = Secure(*files.flags("one"), context=context)
    try:
        line = server.line()
        alive = connect_http(server.http, PATIENCE, context)

        def old_ones_go_on():
            same(line.ask("PING"), "+PONG")
            alive.request("GET", "/status")
            same(alive.getresponse().read(), b"ok")
            check(alive.sock, "the connection was closed")

        def now_shown():
            names = []
            for port in (server.tcp, server.http):
                with server.dial(port=port) as sock:
                    names.append(shown(sock))
            return names

        old_ones_go_on()
        same(now_shown(), ["one", "one"])
        sock = alive.sock
        files.put("two", "one")
        server.hang_up_signal("certificates read anew")
        same(now_shown(), ["two", "two"])
        old_ones_go_on()
        for damage in (files.key("ca-a"), files.cert("ca-a"), None):
            if damage:
                os.rename(files.key("one"), files.path("aside"))
                os.symlink(damage, files.key("one"))
            else:
                os.rename(files.cert("one"), files.path("aside"))
            server.hang_up_signal("certificates stay as they were")
            os.replace(files.path("aside"), files.key("one") if damage else files.cert("one"))
            same(now_shown(), ["two", "two"])
            old_ones_go_on()
        for _ in range(20):
            server.process.send_signal(signal.SIGHUP)
            same(now_shown(), ["two", "two"])
        old_ones_go_on()
        check(alive.sock is sock, "HTTP began anew")
        line.close()
        alive.close()
        same(server.stop(), 0)
    finally:
        server.close()


def slowly(sock, data):
    """Reads 1 KiB at a time until that is all that comes."""
    got = bytearray()
    while len(got) < len(data):
        part = sock.recv(1024)
        check(part, "ended after %d bytes" % len(got))
        got += part
    check(bytes(got) == data, "other bytes came")


@with_server("--payload-limit", "16m")
def large_bodies_travel_both_ways(server):
    body = os.urandom(LARGE)
    for storage in ("memory", "hdd"):
        line = server.line()
        line.send(b"SETB %s 0 large %d\n" % (storage.encode(), LARGE) + body + b"\n")
        same(line.read_line(), b"+OK\n", "SETB")
        line.send("GETB %s large\n" % storage)
        same(line.read_line(), b"$%d\n" % LARGE, "GETB")
        check(line.read(LARGE) == body and line.read(1) == b"\n", "other bytes came back")
        path = "%s/%s?type=%s" % (BASE, "large", storage)
        same(server.ask("PUT", path, body)[0], 204)
        check(server.ask("GET", path) == (200, body), "other bytes came back by HTTP")
        line.send("GETB %s large\n" % storage)
        same(line.read_line(), b"$%d\n" % LARGE, "GETB again")
        check(line.read(LARGE) == body and line.read(1) == b"\n", "other bytes came back")
        line.close()


@with_server("--payload-limit", "16m")
def slow_readers_get_all_of_it(server):
    body = os.urandom(LARGE)
    same(server.ask("PUT", BASE + "/slow", body)[0], 204)
    line = server.line()
    line.send(b"SETB memory 0 slow %d\n" % LARGE + body + b"\n")
    same(line.read_line(), b"+OK\n", "SETB")
    line.sock.sendall(b"GETB memory slow\n" * 2)
    slowly(line.sock, (b"$%d\n" % LARGE + body + b"\n") * 2)
    line.close()
    with server.dial(port=server.http) as sock:
        sock.sendall(b"GET %s/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                     % BASE.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        check(head.startswith(b"HTTP/1.1 200"), repr(head))
        slowly(sock, body)
        same(sock.recv(1), b"", "the end")


@with_server()
def handshakes_that_end_halfway(server):
    for port in (server.tcp, server.http):
        hello = Client(port).hello()
        for part in (b"", hello[:1], hello[:5], hello[:-1], hello):
            for how in (None, socket.SHUT_WR, "reset"):
                client = Client(port)
                client.sock.sendall(part if part != hello else client.hello())
                if how == "reset":
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
                elif how is not None:
                    client.sock.shutdown(how)
                    client.read_raw_end()
                client.close()
    works(server)


def works(server):
    line = server.line()
    same(line.ask("PING"), "+PONG")
    line.close()
    same(server.ask("GET", "/status"), (200, b"ok"))


@with_server("--idle-timeout", "1s", "--handshake-timeout", "1s", "--http-header-timeout", "1s")
def handshakes_that_are_never_finished_are_ended(server):
    clients = []
    for port in (server.tcp, server.http):
        for sends in (False, True):
            client = Client(port)
            if sends:
                client.sock.sendall(client.hello()[:20])
            clients.append(client)
    works(server)
    for client in clients:
        client.read_raw_end()
        client.close()
    # a byte now and then does not hold it open
    client = Client(server.http)
    for byte in client.hello()[:-1]:
        client.send_raw(bytes([byte]))
        if client.ended or select.select([client.sock], [], [], 0.2)[0]:
            break
    else:
        raise Failure("a handshake of a byte at a time has no end")
    client.close()
    works(server)


@with_server()
def what_is_no_tls_is_refused(server):
    for port in (server.tcp, server.http):
        for text in (b"PING\n", b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 1000,
                     os.urandom(20000), b"\x16\x03\x01\xff\xff" + b"x" * 70000):
            client = Client(port)
            client.send_raw(text)
            client.read_raw_end(half=True)
            check(b"PONG" not in client.raw and b"HTTP" not in client.raw, repr(client.raw[:99]))
            client.close()
    works(server)


@with_server()
def records_that_are_damaged_end_the_connection(server):
    for port, text in ((server.tcp, b"PING\n"),
                       (server.http, b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")):
        for damage in (lambda seal: os.urandom(500),
                       lambda seal: b"\x17\x03\x03\x00\x20" + b"x" * 32,
                       lambda seal: seal[:-1] + bytes([seal[-1] ^ 1]),
                       lambda seal: b"\x17\x03\x03\xff\xff" + b"x" * 66000):
            client = Client(port).shake()
            client.send(text)
            client.read(lambda got: b"PONG\n" in got or b"\r\n\r\nok" in got)
            before = len(client.got)
            client.send_raw(damage(client.seal(text)))
            client.read_raw_end(half=True)
            same(len(client.got), before, "what came after the damage")
            client.close()
    works(server)


@with_server()
def ends_with_and_without_a_word(server):
    # close_notify: what was asked is answered, and the answer ends with the same
    client = Client(server.tcp).shake()
    client.send(b"SET memory 0 bye 1\nGET memory bye\nSET hdd 0 bye 2\nGET hdd bye\nPI")
    client.say_end()
    same(client.read_end(), b"+OK\n1\n+OK\n2\n")
    check(client.said_end, "the server ended without close_notify")
    client.close()
    # an end of TCP alone
    client = Client(server.tcp).shake()
    client.send(b"SET memory 0 bye 3\nGET memory bye\n")
    client.sock.shutdown(socket.SHUT_WR)
    same(client.read_end(), b"+OK\n3\n")
    client.close()
    client = Client(server.tcp).shake()
    client.send(b"QUIT\n")
    client.read_end()
    check(client.said_end, "QUIT ended without close_notify")
    client.close()
    client = Client(server.http).shake()
    client.send(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(client.read_end().endswith(b"ok"), repr(client.got))
    check(client.said_end, "HTTP ended without close_notify")
    client.close()
    # half a body and an end, with a word and without: nothing is stored
    for says in (True, False):
        client = Client(server.http).shake()
        client.send(b"PUT %s/half HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
                    % BASE.encode())
        if says:
            client.say_end()
        client.sock.shutdown(socket.SHUT_WR)
        client.read_raw_end()
        client.close()
    same(server.ask("GET", BASE + "/half")[0], 404)
    works(server)


@with_server()
def ten_thousand_requests_at_once(server):
    for storage in (b"memory", b"hdd"):
        client = Client(server.tcp).shake()
        text = b"".join(b"SET %s 0 p%d %d\nGET %s p%d\n" % (storage, i, i, storage, i)
                        for i in range(5000))
        got = client.exchange(text, lambda got: got.count(b"\n") >= 10000)
        same(got, b"".join(b"+OK\n%d\n" % i for i in range(5000)), "the answers")
        client.close()
    client = Client(server.http).shake()
    count = 10000
    text = b"".join(b"GET %s/p%d?type=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (
        BASE.encode(), i, (b"memory", b"hdd")[i % 2]) for i in range(count))
    got = client.exchange(text, lambda got: got.count(b"HTTP/1.1 404") >= count)
    same(got.count(b"HTTP/1.1 404"), count, "answers")
    client.close()
    client = Client(server.http).shake()
    text = b"".join(b"PUT %s/p%d?type=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%04d" % (
        BASE.encode(), i, (b"memory", b"hdd")[i % 2], i) for i in range(1000))
    got = client.exchange(text, lambda got: got.count(b"HTTP/1.1 204") >= 1000)
    client.close()


@with_server()
def messages_are_pushed(server):
    door = LineBroker(server)
    for queue, wait in (("tls-sub", subscriber), ("tls-stream", stream_waiter)):
        same(door.line.ask("CREATEQUEUE %s hdd" % queue), "+OK", "CREATEQUEUE")
        sock = wait(server, queue)
        has_consumers(door, queue, 1)
        for i in range(10):
            door.publish("default", queue, b"message %d" % i)
        got = b""
        while b"message 9" not in got:
            part = sock.recv(65536)
            check(part, "ended after %r" % got)
            got += part
        sock.close()
        has_consumers(door, queue, 0)
    door.close()


@with_server()
def input_behind_writes_that_wait(server):
    """A connection with as many writes in flight as it may have is read no further for a while."""
    client = Client(server.tcp).shake()
    text = b"".join(b"SETB hdd 0 w%d 100\n%s\n" % (i, b"%0100d" % i) for i in range(5000))
    text += b"GETB hdd w4999\nPING\n"
    for at in range(0, len(text), 30000):
        client.send(text[at:at + 30000])
    client.say_end()
    same(client.read_end(), b"+OK\n" * 5000 + b"$100\n%0100d\n+PONG\n" % 4999, "the answers")
    check(client.said_end, "the server ended without close_notify")
    client.close()


@with_server("--payload-limit", "16m")
def who_reads_nothing_is_read_no_further(server):
    """Answers that are not read stop its requests, until it reads."""
    client = Client(server.tcp).shake()
    client.send(b"SETB memory 0 big 1000000\n" + b"b" * 1000000 + b"\n")
    client.lines(1)
    client.got.clear()
    client.send(b"GETB memory big\n" * 10)
    client.send(b"SET hdd 0 behind 1\n" + b"PING\n" * 10000)
    works(server)
    wanted = 10 * (b"$1000000\n" + b"b" * 1000000 + b"\n") + b"+OK\n" + b"+PONG\n" * 10000
    check(client.read(lambda got: len(got) >= len(wanted)) == wanted, "other answers came")
    client.close()


def an_end_while_connections_are_open():
    server = Secure("--drain-timeout", "2s")
    try:
        lines = [server.line() for _ in range(5)]
        for line in lines:
            same(line.ask("SET hdd 0 drain 1"), "+OK")
        alive = connect_http(server.http, PATIENCE)
        alive.request("GET", "/status")
        alive.getresponse().read()
        halfway = [Client(port) for port in (server.tcp, server.http)]
        for client in halfway:
            client.send_raw(client.hello()[:50])
        waiting = Client(server.tcp).shake()
        waiting.send(b"CREATEQUEUE idle hdd\nSET hdd 0 last 1\nRECEIVE idle 1 600000\n")
        waiting.lines(2)
        same(server.stop(), 0)
        waiting.read_end()
        check(waiting.said_end, "a waiting line ended without close_notify")
        for line in lines:
            same(line.read_line(), b"", "the end")
    finally:
        server.close()


CASES = [one_is_made_and_kept, files_that_are_of_no_use_are_told_in_one_line,
         the_certificate_of_the_flags_is_shown, old_versions_are_refused,
         without_forward_secrecy_nothing_is_agreed_on, clients_show_certificates,
         a_reload_shows_another_one_and_ends_nothing, large_bodies_travel_both_ways,
         slow_readers_get_all_of_it, handshakes_that_end_halfway,
         handshakes_that_are_never_finished_are_ended, what_is_no_tls_is_refused,
         records_that_are_damaged_end_the_connection, ends_with_and_without_a_word,
         ten_thousand_requests_at_once, messages_are_pushed, input_behind_writes_that_wait,
         who_reads_nothing_is_read_no_further, an_end_while_connections_are_open]


def run(runner):
    """And the cases of one line protocol, of REST and of JSON-RPC, through TLS. Not on an engine:
    TLS is the doors', and knows nothing of what is stored where."""
    if Server.engine and not harness.tls:
        return
    before, harness.tls = harness.tls, True
    for case in CASES:
        runner.case(case.__name__ + ": through TLS", case)
    server = None if before else Server()
    for cases in (cases_lines, cases_rest, cases_rpc) if server else ():
        for case in (case for case in cases.CASES if not tls_skips.reason(case.__name__)):
            runner.case(case.__name__ + ": through TLS", lambda c=case: c(server))
    if server:
        status = server.stop()
        runner.case("the server ends with 0: through TLS", lambda: same(status, 0))
        server.close()
    harness.tls = before
