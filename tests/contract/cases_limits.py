# SPDX-License-Identifier: MIT
"""Limits of each client through every door: rate, bytes, connections, requests in flight; proxies that
say who the client is; peers that are slow on purpose."""
import json
import re
import select
import socket
import struct

import harness
from harness import (PATIENCE, Line, Server, check, connect, connect_http, first_answer, same, sign,
                     trusting, wait_until)

SECRET = "limits-of-clients-1a2b3c4d5e6f7081"
BEHIND = ("--trusted-proxies", "127.0.0.1")
V2 = b"\r\n\r\n\0\r\nQUIT\n"
PING = {"jsonrpc": "2.0", "id": 7, "method": "Server.Ping"}


def one_server(*flags, env=None):
    """A server for one case."""
    def decorate(case):
        def run():
            server = Server(*flags, env=env)
            try:
                case(server)
            finally:
                server.close()
        run.__name__ = case.__name__
        ALL.append(run)
        return run
    return decorate


ALL = []


def v1(client, family="TCP4"):
    return ("PROXY %s %s 10.0.0.1 4711 4242\r\n" % (family, client)).encode()


def v2(client, command=1, tlvs=b""):
    six = ":" in client
    family = socket.AF_INET6 if six else socket.AF_INET
    to = socket.inet_pton(family, "fd00::1" if six else "10.0.0.1")
    body = socket.inet_pton(family, client) + to + struct.pack(">HH", 4711, 4242) + tlvs
    return V2 + bytes([0x20 | command, 0x21 if six else 0x11]) + struct.pack(">H", len(body)) + body


def limited(server, reason):
    answer = server.request("GET", "/metrics", headers={"X-Forwarded-For": "192.0.2.99"})
    text = answer.body.decode()
    return int(re.search(r'hati_limited_total{reason="%s"} (\d+)' % reason, text).group(1))


def plain(port):
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def proxied(port, header, slow=False):
    """A connection as a proxy makes it: its header comes before TLS."""
    sock = plain(port)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in [header[i:i + 1] for i in range(len(header))] if slow else [header]:
        sock.sendall(part)
    return trusting().wrap_socket(sock, suppress_ragged_eofs=False) if harness.tls else sock


def answer_to(sock, data):
    sock.sendall(data)
    got = b""
    while part := sock.recv(65536):
        got += part
    sock.close()
    return got


def narrow(port):
    """A connection that takes little ahead."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    return trusting().wrap_socket(sock, suppress_ragged_eofs=False) if harness.tls else sock


def is_closed(sock):
    try:
        while sock.recv(65536):
            pass
    except OSError as error: # through TLS without a word, too
        return not isinstance(error, socket.timeout)
    return True


# ---- rates ----

@one_server("--rate-limit", "3/h", "--no-auth")
def requests_over_the_rate_are_told_when_to_come_again(server):
    for left in (2, 1, 0):
        answer = server.request("GET", "/api/default/none")
        same(answer.status, 404)
        same(answer.headers["RateLimit-Policy"], '"requests";q=3;w=3600')
        check(re.fullmatch(r'"requests";r=%d;t=\d+' % left, answer.headers["RateLimit"]),
              answer.headers["RateLimit"])
    answer = server.request("PUT", "/api/default/a", "1", {"Origin": "https://page.example"})
    same(answer.status, 429)
    same(answer.json()["code"], "RATE_LIMITED")
    same(answer.headers["Content-Type"], "application/problem+json")
    after = int(answer.headers["Retry-After"])
    check(1 <= after <= 1200, after)
    same(answer.headers["RateLimit"], '"requests";r=0;t=%d' % after)
    exposed = answer.headers["Access-Control-Expose-Headers"]
    for name in ("RateLimit", "RateLimit-Policy", "Retry-After"):
        check(name in exposed.split(", "), "not exposed: " + name)
    for path in ("/status", "/healthz", "/readyz"):
        same(server.request("GET", path).status, 200, path)
    same(server.request("GET", "/openapi.json").status, 429)
    same(server.request("GET", "/kv-store/key-count").status, 429)
    same(server.request("GET", "/nothing/here").status, 429)
    got, closed = server.raw(b"GET /status HTTP/1.9\r\nHost: x\r\n\r\n")
    check(got.startswith(b"HTTP/1.1 400") and closed, got[:60])
    got, closed = server.raw(b"GET /api/default/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
    check(got.startswith(b"HTTP/1.1 429") and closed, got[:60])
    line = server.line()
    found = re.fullmatch(r"\+ERR RATE_LIMITED too many requests of this client; again in (\d+) s",
                         line.ask("PING"))
    check(found and after - 60 < int(found.group(1)) <= after, "a line")
    line.close()


@one_server("--rate-limit", "5/h", "--rate-limit-burst", "2", *BEHIND, "--no-auth")
def lines_over_the_rate_are_answered_in_their_order_and_go_on(server):
    line = server.line()
    line.send("SET memory 0 a 1\nGET memory a\nGET memory a\nSETB memory 0 a 3\nPING\nHELP\n"
              "SETB memory 0 b 2\nxy\nNOSUCH\nQUIT\nPING\n")
    same(line.read_line(), b"+OK\n")
    same(line.read_line(), b"1\n")
    over = line.read_line()
    check(over.startswith(b"+ERR RATE_LIMITED "), over)
    # the frame that is `PIN` and no newline behind it ends the connection, as ever
    check(line.read_line().startswith(b"+ERR"), "a frame without its newline")
    line.close()
    line = server.line()
    line.send("\n\r\n\nSETB memory 0 b 2\nxy\nHELP\nUSE there\n" + json.dumps(PING) + "\nQUIT\nPING\n")
    for what in ("SETB", "HELP", "USE"):
        got = line.read_line()
        check(got.startswith(b"+ERR RATE_LIMITED "), "%s: %r" % (what, got))
    got = json.loads(line.read_line())
    same((got["id"], got["error"]["code"]), (7, -32015))
    check(got["error"]["message"].startswith("RATE_LIMITED"), got)
    same(line.read_line(), b"+OK\n")  # who leaves may
    same(line.read_line(), b"")
    line.close()
    same(limited(server, "rate") >= 6, True)


@one_server("--rate-limit", "4/h", "--trusted-proxies", "127.0.0.1", "--no-auth")
def each_call_of_a_batch_counts(server):
    def ask(body, client="192.0.2.1"):
        return server.request("POST", "/rpc", body, {"Content-Type": "application/json",
                                                     "X-Forwarded-For": client})
    answer = ask(json.dumps([dict(PING, id=i) for i in range(6)]))
    same(answer.status, 200)
    got = [one.get("result") or one["error"]["code"] for one in answer.json()]
    same(got, ["pong"] * 4 + [-32015] * 2)
    same([one["id"] for one in answer.json()], list(range(6)))
    check(answer.headers["RateLimit"].startswith('"requests";r=0;'), answer.headers["RateLimit"])
    answer = ask(json.dumps(PING))
    same((answer.status, answer.json()["id"]), (429, 7))
    same(answer.json()["error"]["code"], -32015)
    check(int(answer.headers["Retry-After"]) >= 1, "Retry-After")
    answer = ask('{"jsonrpc":"2.0","method":"Server.Ping"}')
    same((answer.status, answer.json()["id"]), (429, None))
    answer = ask('{"method":"Server.Ping","params":[],"id":3}')
    same((answer.status, answer.json()), (429, {"id": 3, "result": None, "error": "RATE_LIMITED"}))
    same(ask("{").status, 429)
    same(ask(json.dumps(PING), "192.0.2.2").status, 200)
    # calls that wait for the disk are bound twice and count once
    sets = [{"jsonrpc": "2.0", "id": i, "method": "Storage.Set",
             "params": {"type": "hdd", "key": "k", "value": "v"}} for i in range(4)]
    answer = ask(json.dumps(sets), "192.0.2.3")
    same([one.get("result") for one in answer.json()], [True] * 4)
    same(ask(json.dumps(sets), "192.0.2.3").json()[0]["error"]["code"], -32015)


@one_server("--rate-limit", "2/h", env={"HATI_JWT_SECRET": SECRET})
def a_token_has_a_limit_of_its_own_on_all_doors(server):
    def token(**claims):
        return sign(dict(claims, workspace="11111111-2222-3333-4444-555555555555"), SECRET)
    ann, bob = token(sub="ann"), token(sub="bob")
    other_ann = token(sub="ann", account="another token of hers")
    for _ in range(2):
        same(server.request("GET", "/api/default/a", token=ann).status, 404)
    same(server.request("GET", "/api/default/a", token=ann).status, 429)
    same(server.request("GET", "/api/default/a", token=other_ann).status, 429)
    same(server.request("GET", "/api/default/a", token=bob).status, 404)
    line = server.line()
    same(line.ask("AUTH " + bob), "+OK")  # counts for the address
    same(line.ask("GET memory a").split()[1], "KEY_NOT_EXIST")
    same(line.ask("GET memory a").split()[1], "RATE_LIMITED")
    line.close()
    same(server.request("GET", "/api/default/a").status, 401)
    # who tries tokens is stopped by its address
    same(server.request("GET", "/api/default/a", token=sign({"sub": "x"}, "wrong" * 9)).status, 429)
    same(server.request("GET", "/api/default/a", token=ann).status, 429)
    line = server.unix_line()  # no address, no limit; a token has one
    for _ in range(5):
        same(line.ask("PING"), "+PONG")
    line.close()


@one_server("--rate-limit-bytes", "1k", *BEHIND, "--no-auth")
def bytes_over_the_limit_are_paid_for_before_the_next_request(server):
    answer = server.request("PUT", "/api/default/a?type=memory", b"x" * 40000)
    same(answer.status, 204)
    same(answer.headers["RateLimit-Policy"], '"bytes";q=10240;qu="content-bytes";w=10')
    wait_until(lambda: server.request("HEAD", "/api/default/a?type=memory").status == 429,
               "the bytes to be counted: that is once the answer is on its way")
    answer = server.request("GET", "/api/default/a?type=memory")
    same(answer.status, 429)
    check(25 <= int(answer.headers["Retry-After"]) <= 31, answer.headers["Retry-After"])
    line = server.line()
    got = line.ask("GET memory a")
    check(got.startswith("+ERR RATE_LIMITED too many bytes"), got)
    line.close()
    check(limited(server, "bytes") >= 1, "counted")


@one_server("--rate-limit-bytes", "100k", "--no-auth")
def a_head_costs_nothing_of_the_body_that_it_does_not_send(server):
    answer = server.request("PUT", "/api/default/a?type=memory", b"x" * 300000)
    same(answer.status, 204)
    for _ in range(10):
        answer = server.request("HEAD", "/api/default/a?type=memory")
        same((answer.status, answer.headers["Content-Length"]), (200, "300000"))


# ---- what is open ----

@one_server("--max-connections-per-client", "3", "--no-auth")
def connections_of_an_address_are_bounded(server):
    lines = [server.line() for _ in range(2)]
    for line in lines:
        same(line.ask("PING"), "+PONG")
    http = connect_http(server.http, PATIENCE)
    http.request("GET", "/status")
    same(http.getresponse().read(), b"ok")
    got = first_answer(("127.0.0.1", server.tcp), b"")
    check(got.startswith(harness.REFUSAL), got)
    if not harness.tls:
        same(got, b"+ERR RATE_LIMITED too many connections from this address\n")
        sock = plain(server.http)
        got = sock.recv(1000)
        check(got.startswith(b"HTTP/1.1 429 ") and b"Retry-After: 1" in got, got)
        sock.close()
    same(server.unix_line().ask("PING"), "+PONG")
    http.close()
    lines[0].close()

    def is_let_in():
        line = Line(connect(("127.0.0.1", server.tcp), PATIENCE))
        try:
            return line.ask("PING") == "+PONG"
        except (OSError, harness.Failure):
            return False
        finally:
            line.close()
    wait_until(is_let_in, "a place that is free is given away")
    lines[1].close()


@one_server("--max-requests-per-client", "2", "--no-auth")
def requests_in_flight_of_a_client_are_bounded(server):
    line = server.line()
    same(line.ask("CREATEQUEUE jobs memory"), "+OK")
    waiting = [connect_http(server.http, PATIENCE) for _ in range(2)]
    for connection in waiting:
        connection.request("POST", "/broker/queues/jobs/receive?wait=20000")
    free = server.unix_line()  # has no address, and no limits
    ask = '{"jsonrpc":"2.0","id":1,"method":"Broker.GetQueue","params":{"name":"jobs"}}'
    wait_until(lambda: json.loads(free.ask(ask))["result"]["consumers"] == 2, "two that wait")
    path = "/broker/queues/jobs/receive?wait=1"
    wait_until(lambda: server.request("POST", path).status == 429, "the third is refused")
    answer = server.request("GET", "/api/default/a")
    same((answer.status, answer.json()["code"], answer.headers["Retry-After"]),
         (429, "RATE_LIMITED", "1"))
    same(server.request("GET", "/status").status, 200)
    same(line.ask("GET memory a").split()[1], "KEY_NOT_EXIST")  # it is never in flight
    got = line.ask("RECEIVE jobs 1 20000")
    same(got, "+ERR RATE_LIMITED too many requests of this client at once")
    same(server.unix_line().ask("PUBLISH default jobs x").split()[0], "+OK")
    same(server.unix_line().ask("PUBLISH default jobs y").split()[0], "+OK")
    for connection in waiting:
        same(len(json.loads(connection.getresponse().read())["messages"]), 1)
        connection.close()
    line.send("SET hdd 0 a 1\n" * 200)  # of one connection they wait for each other
    same([line.read_line() for _ in range(200)], [b"+OK\n"] * 200)
    same(server.request("GET", "/api/default/a").status, 200)
    free.close()
    line.close()


# ---- proxies ----

@one_server("--rate-limit", "1/h", "--trusted-proxies", "127.0.0.1,10.0.0.0/8", "--no-auth")
def the_client_is_the_last_address_that_is_not_trusted(server):
    def status(*lines):
        head = "".join("X-Forwarded-For: %s\r\n" % line for line in lines)
        got, _ = server.raw(("GET /api/default/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n"
                             % head).encode())
        return int(got.split()[1])
    same(status("192.0.2.1"), 404)
    same(status("192.0.2.1"), 429)
    same(status("6.6.6.6, 192.0.2.1"), 429)
    same(status("6.6.6.6", "192.0.2.1, 10.1.2.3", "10.0.0.9"), 429)
    same(status("192.0.2.2, 10.1.2.3"), 404)
    same(status("2001:db8::1"), 404)
    same(status("[2001:db8::ffff]:4711"), 429)
    same(status("2001:db8:0:1::1"), 404)
    same(status(*["9.9.9.9"] * 20 + ["192.0.2.9"]), 404)
    same(status("unknown"), 404)
    same(status(), 429)


@one_server("--rate-limit", "1/h", "--trusted-proxies", "192.0.2.0/24", "--no-auth")
def who_is_not_trusted_is_not_believed(server):
    for client, status in (("192.0.2.1", 404), ("192.0.2.2", 429)):
        answer = server.request("GET", "/api/default/a", headers={"X-Forwarded-For": client})
        same(answer.status, status)


@one_server("--trusted-proxies", "127.0.0.1", "--tcp-proxy-protocol", "--rpc-proxy-protocol",
            "--olivia", "--olivia-port", "0", "--olivia-proxy-protocol")
def without_credentials_the_clients_address_decides_not_the_proxys(server):
    for header, good in ((v1("127.0.0.1"), True), (v2("127.0.0.1"), True), (v2("::1"), True),
                         (v1("::1", "TCP6").replace(b"10.0.0.1", b"fd00::1"), True),
                         (v2("127.0.0.1", 0), True), (v1("192.0.2.1"), False),
                         (v2("192.0.2.1"), False), (v2("2001:db8::1"), False),
                         (b"PROXY UNKNOWN\r\n", False), (V2 + b"\x21\0\0\0", False),
                         (v2("192.0.2.1", 0, b"\x04\0\x01x"), True)):
        for slow in (False, True):
            try:
                line = Line(proxied(server.tcp, header, slow))
                got = line.ask("PING")
                line.close()
            except (OSError, harness.Failure):
                got = ""
            same(got == "+PONG", good, "line %r: %r" % (header, got))
            try:
                got = answer_to(proxied(server.http, header, slow),
                                b"GET /api/default/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            except OSError:
                got = b""
            same(got[:12], b"HTTP/1.1 404" if good else b"HTTP/1.1 403", "http %r" % header)
    olivia = int(re.search(r"olivia .*localhost[ :](\d+)", server.greeting).group(1))
    line = Line(proxied(olivia, v2("127.0.0.1")))
    same(line.ask("PING 1"), "0:PONG 1")
    line.close()


@one_server("--trusted-proxies", "127.0.0.1", "--tcp-proxy-protocol", "--rpc-proxy-protocol",
            "--no-auth")
def a_proxy_without_a_good_header_is_closed_with_a_line_in_the_log(server):
    wrong = (b"PING\n", b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n",
             b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
             b"PROXY " + b"x" * 200, V2 + b"\x31\x11\0\0", V2 + b"\x21\x11\xff\xff",
             V2 + b"\x21\x11\0\x04abcd")
    for port in (server.tcp, server.http):
        for data in wrong:
            sock = plain(port)
            sock.sendall(data)
            check(is_closed(sock), data)
            sock.close()
        sock = plain(port)  # a check whether somebody listens is not worth a line
        sock.close()
    sock = proxied(server.tcp, v1("192.0.2.1"))
    line = Line(sock)
    same(line.ask("PING"), "+PONG")
    line.close()
    text = server.log_text()
    same(text.count("no PROXY header from the proxy 127.0.0.1: "), 2 * len(wrong))
    got = answer_to(proxied(server.http, v2("192.0.2.1")),
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    check('hati_limited_total{reason="proxy_header"} %d\n' % (2 * len(wrong)) in got, "counted")


@one_server("--trusted-proxies", "192.0.2.0/24", "--tcp-proxy-protocol", "--rpc-proxy-protocol",
            "--no-auth")
def a_header_from_elsewhere_is_not_taken(server):
    line = server.line()
    same(line.ask("PING"), "+PONG")
    line.close()
    same(server.request("GET", "/status").status, 200)
    line = server.line()
    check(line.ask(v1("127.0.0.1")[:-2]).startswith("+ERR UNKNOWN_COMMAND"), "a line as any")
    line.close()
    got, closed = server.raw(v1("127.0.0.1") + b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
    check(b" 400 " in got.split(b"\r\n")[0] and closed, got)


@one_server("--trusted-proxies", "127.0.0.1", "--tcp-proxy-protocol", "--rpc-proxy-protocol",
            "--rate-limit", "2/h", "--max-connections-per-client", "2", "--no-auth")
def clients_behind_a_proxy_have_limits_of_their_own(server):
    one = [Line(proxied(server.tcp, v2("192.0.2.1"))) for _ in range(2)]
    for line in one:
        same(line.ask("PING"), "+PONG")
    try:
        sock = proxied(server.tcp, v1("192.0.2.1"))
        got = sock.recv(100)
        sock.close()
    except OSError:
        got = b""
    check(b"PONG" not in got and (harness.tls or got.startswith(b"+ERR RATE_LIMITED")), got)
    same(one[0].ask("PING").split()[1], "RATE_LIMITED")
    ask = b"GET /api/default/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    same(answer_to(proxied(server.http, v2("192.0.2.2")), ask)[:12], b"HTTP/1.1 404")
    for line in one:
        line.close()
    wait_until(lambda: answer_to(proxied(server.http, v2("192.0.2.1")), ask)[:12] == b"HTTP/1.1 429",
               "its requests count on all doors")


# ---- slow peers ----

SLOW = ("--http-header-timeout", "400", "--http-body-timeout", "400", "--handshake-timeout", "400",
        "--line-timeout", "1000",
        "--idle-timeout", "1000", "--line-idle-timeout", "1s",
        "--min-rate", "100k", "--no-auth")


def drip(socks, rounds=60, every=0.1):
    """A byte to each of them now and then; those that did not have enough before the end."""
    left = dict(socks)
    for _ in range(rounds):
        for name, sock in list(left.items()):
            sock.settimeout(every / len(socks))
            try:
                sock.sendall(b"x")
                if sock.recv(100) == b"":
                    del left[name]
            except socket.timeout:
                continue
            except OSError:
                del left[name]
        if not left:
            break
    return list(left)


@one_server(*SLOW)
def who_drips_is_cut_off(server):
    """Each of them sends a byte every 100 ms: never silent, never done."""
    idle = connect(("127.0.0.1", server.http), PATIENCE)
    socks = {
        "a head": (server.http, b"GET /status HTTP/1.1\r\nHost: x\r\nX: "),
        "a body": (server.http, b"PUT /api/default/a HTTP/1.1\r\nHost: x\r\n"
                                b"Content-Length: 1000000\r\n\r\n"),
        "chunks": (server.http, b"PUT /api/default/a HTTP/1.1\r\nHost: x\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n8000\r\n"),
        "a line": (server.tcp, b"SET memory 0 a "),
        "a frame": (server.tcp, b"SETB memory 0 a 1000000\n"),
        "a second line": (server.tcp, b"PING\nPIN"),
    }
    opened = {}
    for name, (port, start) in socks.items():
        opened[name] = connect(("127.0.0.1", port), PATIENCE)
        opened[name].sendall(start)
    same(drip(opened), [], "these are waited for")
    for sock in opened.values():
        sock.close()
    check(is_closed(idle), "a connection without a request is closed")
    idle.close()
    line = server.line()
    same(line.ask("PING"), "+PONG")
    check(is_closed(line.sock), "an idle line connection is closed")
    line.close()
    for reason, least in (("slow_headers", 1), ("slow_body", 2), ("slow_line", 3), ("idle", 1)):
        check(limited(server, reason) >= least, reason)


@one_server(*SLOW)
def who_keeps_the_rate_may_take_its_time(server):
    size, piece = 1 << 20, 1 << 17
    body = b"y" * size
    line, http = server.line(), connect(("127.0.0.1", server.http), PATIENCE)
    head = (b"PUT /api/default/large?type=memory HTTP/1.1\r\nHost: x\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size)
    start = b"SETB memory 0 line %d\n" % size
    for at in range(0, size, piece):  # 800 KB a second: three times the timeout
        http.sendall(head + body[at:at + piece])
        line.send(start + body[at:at + piece])
        head = start = b""
        select.select([http], [], [], 0.15)
    check(http.recv(100).startswith(b"HTTP/1.1 204"), "the body was taken")
    line.send(b"\n")
    same(line.read_line(), b"+OK\n")
    http.close()
    # what stands behind a call that waits begins when its turn comes
    same(line.ask("CREATEQUEUE pace memory"), "+OK")
    line.send("RECEIVE pace 1 1300\nHELP\nPIN")
    same(line.read_line(), b"+OK 0\n")
    while line.read_line() != b"+OK\n":
        continue
    same(line.ask("G"), "+PONG")
    line.close()


@one_server(*SLOW[:8], "--min-rate", "100k", "--payload-limit", "16m", "--no-auth")
def who_does_not_take_its_answer_is_cut_off(server):
    body = b"z" * (16 << 20)
    same(server.request("PUT", "/api/default/large?type=memory", body).status, 204)
    http, line = narrow(server.http), narrow(server.tcp)
    http.sendall(b"GET /api/default/large?type=memory HTTP/1.1\r\nHost: x\r\n\r\n")
    line.sendall(b"GETB memory large\n")
    wait_until(lambda: limited(server, "slow_reader") == 2, "both are cut off")
    for sock in (http, line):
        got = 0
        try:
            while part := sock.recv(1 << 20):
                got += len(part)
        except OSError:
            pass
        check(got < len(body), "not all of it was sent")
        sock.close()


@one_server(*SLOW, "--trusted-proxies", "127.0.0.1", "--tcp-proxy-protocol", "--rpc-proxy-protocol")
def a_proxy_header_that_does_not_end_is_cut_off(server):
    opened = {port: plain(port) for port in (server.tcp, server.http)}
    for sock in opened.values():
        sock.sendall(b"PROXY UNKNOWN ")
    same(drip(opened), [], "these are waited for")
    for sock in opened.values():
        sock.close()
    got = answer_to(proxied(server.http, v2("192.0.2.1")),
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    check('hati_limited_total{reason="slow_handshake"} 2\n' in got, "counted")


# ---- settings ----

def wrong_settings_are_told():
    for flags, what in ((("--rate-limit", "x"), "rate-limit"), (("--rate-limit", "5/d"), "rate-limit"),
                        (("--rate-limit-burst", "5"), "there is no rate-limit"),
                        (("--trusted-proxies", "10.0.0.1/8"), "trusted-proxies"),
                        (("--trusted-proxies", "proxy.example"), "trusted-proxies"),
                        (("--tcp-proxy-protocol",), "trusted-proxies")):
        try:
            Server(*flags).close()
        except harness.Failure as failure:
            check(what in str(failure), failure)
            continue
        check(False, "%r is taken" % (flags,))


ALL.append(wrong_settings_are_told)


def run(runner):
    """Not on an engine: limits are the doors', and know nothing of what is stored where."""
    for case in ALL if not Server.engine else ():
        runner.case(case.__name__, case)
