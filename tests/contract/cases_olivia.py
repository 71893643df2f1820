# SPDX-License-Identifier: MIT
"""Olivia's protocol, byte for byte, and that its keys are everybody's."""
import os
import re
import socket
import subprocess
import threading
import time

import olivia_filter
from cases_auth import SECRET, own_address, token
from doors import WORKSPACE
from harness import (PATIENCE, REFUSAL, Failure, Line, Server, b64url, check, connect, first_answer,
                     same, tls, unhurried, wait_until)

INVALID = "[]Invalid command sent in."
UNBALANCED = "Invalid command sent in. Unbalanced keys:expirations."
LARGEST = 2**63 - 1

# (what is sent, what comes back), in this order
TABLE = [
    ("SET key1:value1,key2:value2,key3:value3", ":SAT key1:value1,key2:value2,key3:value3"),
    ("GET key2", ":GOT key2:value2"),
    ("GET key3,key1", ":GOT key3:value3,key1:value1"),
    ("GET key3,none,key1", ":GOT key3:value3,key1:value1"),
    ("GET none", ":GOT "),
    ("GET none,nor,neither", ":GOT "),
    ("get key1", ":GOT key1:value1"),
    ("gEt key1", ":GOT key1:value1"),
    ("set Key1:Other", ":SAT Key1:Other"),
    ("GET key1,Key1", ":GOT key1:value1,Key1:Other"),
    ("GET key1\r", ":GOT key1:value1"),
    # the hash: all before the first colon
    ("abc:GET key1", "abc:GOT key1:value1"),
    ("abc:GET none", "abc:GOT "),
    ("0123456789abcdef0123456789abcdef:set h:1", "0123456789abcdef0123456789abcdef:SAT h:1"),
    (":GET key1", ":GOT key1:value1"),
    ("h:GET:dropped key1", "h:GOT key1:value1"),
    ("h:GET:more:dropped key1", "h:GOT key1:value1"),
    ("h:i:GET key1", INVALID),
    ("€,{}\"':GET key1", "€,{}\"':GOT key1:value1"),
    # pairs
    ("SET a", ":SAT a:"),
    ("GET a", ":GOT a:"),
    ("SET a:", ":SAT a:"),
    ("SET a,b:2", ":SAT a:,b:2"),
    ("SET a:b:c:d", ":SAT a:b"),
    ("GET a", ":GOT a:b"),
    ("SET u:http://x/", ":SAT u:http"),
    ("SET a:1:30", ":SAT a:1"),
    ("SET a:1,a:2", ":SAT a:2"),
    ("GET a", ":GOT a:2"),
    ("SET a:1,b:2,a:3", ":SAT a:3,b:2"),
    ("SET a:1,b:2,a", ":SAT a:,b:2"),
    ("SET a:3,b:2", ":SAT a:3,b:2"),
    ("GET a,b,a", ":GOT a:3,b:2"),
    ("GET b,a,b,b", ":GOT b:2,a:3"),
    ("GET a:what,b:ever:else", ":GOT a:3,b:2"),
    ("SET with space:and two  more ", ":SAT with space:and two  more "),
    ("GET with space", ":GOT with space:and two  more "),
    ("GET  none", ":GOT "),
    ("SET  a:led", ":SAT  a:led"),
    ("GET  a,a", ":GOT  a:led,a:3"),
    ("SET é:ü", ":SAT é:ü"),
    ("GET é", ":GOT é:ü"),
    # seconds
    ("SETEX k:v:300", ":SATEX k:v:300"),
    ("GET k", ":GOT k:v"),
    ("h:setex k:v:300,l:w:400", "h:SATEX k:v:300,l:w:400"),
    ("SETEX k:v:300:more", ":SATEX k:v:300"),
    ("SETEX k:v:+5", ":SATEX k:v:5"),
    ("SETEX k:v:007", ":SATEX k:v:7"),
    ("SETEX k:v:%d" % LARGEST, ":SATEX k:v:%d" % LARGEST),
    ("GET k", ":GOT k:v"),
    ("SETEX no:v", UNBALANCED),
    ("h:SETEX no:v", UNBALANCED),
    ("SETEX no:v:30,nor:w", UNBALANCED),
    ("SETEX no", UNBALANCED),
    ("GET no,nor", ":GOT "),
    ("SETEX k:v,k:w:300", ":SATEX k:w:300"),
    ("SETEX k:w:300,k:v", ":SATEX k:v:300"),
    ("SETEX k:v:300,k:w:400", ":SATEX k:w:400"),
    ("GET k", ":GOT k:w"),
    ("SETEX no:v:x", ":SATEX "),
    ("SETEX no:v:", ":SATEX "),
    ("SETEX no:v:1.5", ":SATEX "),
    ("SETEX no:v: 5", ":SATEX "),
    ("SETEX no:v:5 ", ":SATEX "),
    ("SETEX no:v:0x10", ":SATEX "),
    ("SETEX no:v:1_0", ":SATEX "),
    ("SETEX no:v:+", ":SATEX "),
    ("SETEX no:v:--1", ":SATEX "),
    ("SETEX no:v:%d" % (LARGEST + 1), ":SATEX "),
    ("SETEX no:v:-%d" % (LARGEST + 2), ":SATEX "),
    ("SETEX no:v:99999999999999999999999999", ":SATEX "),
    ("GET no", ":GOT "),
    ("SETEX a:1:30,no:2:x", ":SATEX a:1:30,"),
    ("SETEX no:2:x,a:1:30", ":SATEX a:1:30,"),
    ("SETEX no:2:x,a:1:30,nor:3:y,b:2:30", ":SATEX a:1:30,b:2:30,,"),
    ("h:SETEX no:1:x,nor:2:y", "h:SATEX ,"),
    ("GET no,nor,a,b", ":GOT a:1,b:2"),
    ("SET gone:1,away:2", ":SAT gone:1,away:2"),
    ("SETEX gone:1:0", ":SATEX gone:1:0"),
    ("SETEX away:2:-1,stays:3:300", ":SATEX away:2:-1,stays:3:300"),
    ("SETEX never:1:0", ":SATEX never:1:0"),
    ("SETEX never:1:-%d" % (LARGEST + 1), ":SATEX never:1:-%d" % (LARGEST + 1)),
    ("SETEX never:1:-0", ":SATEX never:1:0"),
    ("GET gone,away,never,stays", ":GOT stays:3"),
    # others
    ("PING 1", "0:PONG 1"),
    ("ping 0", "0:PONG 1"),
    ("h:PING 1", "0:PONG 1"),
    ("PING what,ever:you like", "0:PONG 1"),
    ("PING", INVALID),
    ("REQUEST PEERS", ":FULFILLED "),
    ("h:request peers", "h:FULFILLED "),
    ("h:REQUEST DISCONNECT", "h:FULFILLED Peer not found in peer list."),
    ("REQUEST NOSUCH", INVALID),
    ("h:REQUEST NOSUCH", INVALID),
    ("REQUEST ", INVALID),
    ("REQUEST", INVALID),
    ("FETCH " + b64url(b"stays").decode() + "x!", INVALID),
    ("h:FETCH " + b64url(b"none").decode(), "h:FETCHED -"),
    ("SET fetched:me", ":SAT fetched:me"),
    ("h:FETCH " + b64url(b"fetched").decode(), "h:FETCHED 0::" + b64url(b"me").decode()),
    ("DELETE key1", INVALID),
    ("h:NOSUCH key1", INVALID),
    ("GETX key1", INVALID),
    ("GET", INVALID),
    ("SET", INVALID),
    ("h:SET", INVALID),
    ("SET ", INVALID),
    ("SET :v", INVALID),
    ("SET q:1,:v", INVALID),
    ("SET q:1,,r:2", INVALID),
    ("SET q:1,", INVALID),
    ("GET q,r", ":GOT "),
    ("SETEX q:1:300,:v:300", INVALID),
    ("GET q", ":GOT "),
    ("", INVALID),
    (" ", INVALID),
    (":", INVALID),
    (": ", INVALID),
    ("GET key1", ":GOT key1:value1"),
]


class Olivia(Server):
    """A hati with that door."""

    def __init__(self, *flags, **more):
        super().__init__("--olivia", "--olivia-port", "0", *flags, **more)

    def start(self, *more):
        super().start(*more)
        self.olivia = int(re.search(r"olivia .*localhost[ :](\d+)", self.greeting).group(1))

    def door(self):
        return Line(connect(("127.0.0.1", self.olivia), PATIENCE))


def the_table(server):
    door = server.door()
    for sent, wanted in TABLE:
        same(door.ask(sent), wanted, sent)
    door.close()


def netcat(server, text, *flags):
    done = subprocess.run(["nc", *flags, "127.0.0.1", str(server.olivia)], input=text.encode(),
                          capture_output=True, timeout=PATIENCE)
    return done.stdout.decode()


def the_dialogue_of_its_readme_through_nc(server):
    sent = "SET key1:value1,key2:value2,key3:value3\nGET key2\n"
    wanted = ":SAT key1:value1,key2:value2,key3:value3\n:GOT key2:value2\n"
    for flags in (["-q3"], ["-N"]):
        same(netcat(server, sent, *flags), wanted, "nc " + flags[0])


def every_line_of_the_table_through_nc(server):
    same(netcat(server, "".join(sent + "\n" for sent, _ in TABLE), "-N"),
         "".join(wanted + "\n" for _, wanted in TABLE))


def typed_line_by_line_through_nc(server):
    """As a user does: nc stays, a line is typed once the answer to the last one is there."""
    command = ["nc", "127.0.0.1", str(server.olivia)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        for sent, wanted in TABLE[:12]:
            shell.stdin.write(sent.encode() + b"\n")
            shell.stdin.flush()
            same(shell.stdout.readline().decode(), wanted + "\n", sent)
        shell.stdin.close()
        shell.kill()


def a_key_expires_when_its_seconds_are_over(server):
    door = server.door()
    start = time.monotonic()
    same(door.ask("SETEX soon:1:1,late:2:2,stays:3:300"), ":SATEX soon:1:1,late:2:2,stays:3:300")
    for key, seconds in (("soon", 1), ("late", 2)):
        while True:
            asked = time.monotonic()
            got = door.ask("GET %s,stays" % key)
            if got == ":GOT stays:3":
                break
            check(asked < start + seconds + PATIENCE, "%s stays: %s" % (key, got))
        check(time.monotonic() - start > seconds - 0.002, "%s went after %.6f s" % (
            key, time.monotonic() - start))
    line = server.line()
    check(290000 < int(line.ask("TTL memory stays")) <= 300000, "TTL")
    same(door.ask("SET stays:4"), ":SAT stays:4")
    same(line.ask("TTL memory stays"), "0", "a SET without seconds clears the TTL")
    same(door.ask("SETEX stays:5:%d" % LARGEST), ":SATEX stays:5:%d" % LARGEST)
    check(int(line.ask("TTL memory stays")) > 10**12, "the most seconds")
    line.close()
    door.close()


def its_keys_are_those_of_every_door(server):
    door, line = server.door(), server.line()
    same(door.ask("SET shared:1,with space:2"), ":SAT shared:1,with space:2")
    same(line.ask("GET memory shared"), "1")
    same(server.request("GET", "/api/default/shared?type=memory").body, b"1")
    same(server.request("GET", "/api2/%s/default/with%%20space?type=memory" % WORKSPACE).body, b"2")
    same(server.rpc("Storage.Get", ["memory", "shared"])["result"], "1")
    check(line.ask("GET hdd shared").startswith("+ERR KEY_NOT_EXIST"), "hdd")
    same(line.ask("SET memory 0 shared by lines"), "+OK")
    same(door.ask("GET shared"), ":GOT shared:by lines")
    server.request("PUT", "/api/default/shared?type=memory", "by REST")
    same(door.ask("GET shared"), ":GOT shared:by REST")
    server.rpc("Storage.Set", ["memory", "shared", "by JSON-RPC"])
    same(door.ask("GET shared"), ":GOT shared:by JSON-RPC")
    same(line.ask("DELETE memory shared"), "+OK")
    same(door.ask("GET shared"), ":GOT ")
    line.close()
    door.close()


def values_of_other_doors_that_a_line_cannot_hold(server):
    door, line = server.door(), server.line()
    same(line.ask("SET memory 0 marks a:b,c"), "+OK")
    same(door.ask("GET marks"), ":GOT marks:a:b,c", "as it is")
    line.send(b"SETB memory 0 lines 3\na\nb\n")
    same(line.read_line(), b"+OK\n")
    check(door.ask("GET lines").startswith("+ERR NOT_FRAMABLE "), "a newline")
    check(door.ask("h:GET marks,lines").startswith("h:+ERR NOT_FRAMABLE "), "a newline among others")
    same(door.ask("FETCH " + b64url(b"lines").decode()),
         ":FETCHED 0::" + b64url(b"a\nb").decode(), "peers may have it")
    same(door.ask("PING 1"), "0:PONG 1")
    line.close()
    door.close()


def many_requests_in_one_write_keep_their_order(server):
    door, count = server.door(), 10000
    sent, wanted = [], []
    for i in range(count):
        key = "p%d" % (i % 100)
        if i % 4 == 0:
            sent.append("%d:SET %s:%d,%s:%d" % (i, key, i, key + "x", i))
            wanted.append("%d:SAT %s:%d,%s:%d" % (i, key, i, key + "x", i))
        elif i % 4 == 1:
            sent.append("%d:GET p%d" % (i, (i - 1) % 100))
            wanted.append("%d:GOT p%d:%d" % (i, (i - 1) % 100, i - 1))
        elif i % 4 == 2:
            sent.append("%d:GET nothing,p%dx" % (i, (i - 2) % 100))
            wanted.append("%d:GOT p%dx:%d" % (i, (i - 2) % 100, i - 2))
        else:
            sent.append("%d:PING 1" % i if i % 8 == 3 else "%d:WRONG 1" % i)
            wanted.append("0:PONG 1" if i % 8 == 3 else INVALID)
    data = ("\n".join(sent) + "\n").encode()
    sender = threading.Thread(target=door.sock.sendall, args=(data,))
    sender.start()
    for i, line in enumerate(wanted):
        same(door.read_line().decode(), line + "\n", "reply %d" % i)
    sender.join()
    door.close()


def a_line_has_65536_pairs_at_most(server):
    door = server.door()
    most = ["n%d" % i for i in range(65536)]
    pairs = ",".join("%s:%d" % (key, i) for i, key in enumerate(most))
    same(door.ask("SET " + pairs), ":SAT " + pairs, "as many as may be")
    same(door.ask("GET " + ",".join(most)), ":GOT " + pairs)
    line = server.line()
    same(line.ask("DELETE memory n7"), "+OK")
    more = door.ask("SET %s,n7:seven" % ",".join("%s:x" % key for key in most if key != "n7") +
                    ",more:1")
    check(more == INVALID or more.startswith("+ERR "), "one more: %r" % more[:100])
    check(line.ask("GET memory n7").startswith("+ERR KEY_NOT_EXIST"), "something was applied")
    same(line.ask("GET memory n8"), "8", "something was applied")
    same(door.ask("GET more"), ":GOT ")
    same(door.ask("SETEX " + ",".join("%s:1:0" % key for key in most))[:7], ":SATEX ")
    line.close()
    door.close()


def a_line_over_the_limit_is_dropped_and_the_connection_lives(server):
    door = server.door()
    door.send(b"SET long:" + b"x" * (4 << 20) + b"\nPING 1\nh:GET long\n")
    check(door.read_line().startswith(b"+ERR LINE_TOO_LONG "), "the long line")
    same(door.read_line(), b"0:PONG 1\n", "what follows")
    same(door.read_line(), b"h:GOT \n", "nothing of it was stored")
    largest = b"v" * (2 << 20)
    door.send(b"SET big:" + largest + b"\n")
    same(door.read_line(), b":SAT big:" + largest + b"\n", "the payload limit")
    door.send(b"SET over:" + largest + b"v\nh:SET fine:1,over:" + largest + b"v\nGET big\n")
    check(door.read_line().startswith(b"+ERR VALUE_TOO_LARGE "), "over it")
    check(door.read_line().startswith(b"h:+ERR VALUE_TOO_LARGE "), "over it, among others")
    same(door.read_line(), b":GOT big:" + largest + b"\n")
    same(door.ask("GET over,fine"), ":GOT ", "nothing of the line was applied")
    same(door.ask("SETEX big:1:0"), ":SATEX big:1:0")
    door.close()


def keys_that_cannot_be(server):
    door = server.door()
    longest = "k" * 4096
    same(door.ask("SET %s:1" % longest), ":SAT %s:1" % longest)
    same(door.ask("GET " + longest), ":GOT %s:1" % longest)
    for key in ("k" * 4097, "a\0b", "\0"):
        same(door.ask("SET %s:1" % key), INVALID, "SET %r" % key[:9])
        same(door.ask("SET fine:1,%s:1" % key), INVALID, "SET among others %r" % key[:9])
        same(door.ask("SETEX %s:1:300" % key), INVALID, "SETEX %r" % key[:9])
        check(door.ask("GET " + key) in (":GOT ", INVALID), "GET %r" % key[:9])
    same(door.ask("GET fine"), ":GOT ", "nothing was applied")
    same(door.ask("SETEX %s:1:0" % longest), ":SATEX %s:1:0" % longest)
    door.close()


def bytes_are_bytes(server):
    """NUL in a value, what is no UTF-8 in key and value, every byte but the marks and the newline."""
    door = server.door()
    every = bytes(i for i in range(256) if i not in b"\n,:")
    key = every.replace(b"\0", b"")
    door.send(b"SET nul:a\0b\nGET nul\nSET \xff\xfe:\x80\xc0\nGET \xff\xfe\n")
    for wanted in (b":SAT nul:a\0b", b":GOT nul:a\0b", b":SAT \xff\xfe:\x80\xc0",
                   b":GOT \xff\xfe:\x80\xc0"):
        same(door.read_line(), wanted + b"\n")
    door.send(b"SET " + key + b":" + every + b".\nGET " + key + b"\n\xff\xfe:GET nul\n")
    same(door.read_line(), b":SAT " + key + b":" + every + b".\n")
    same(door.read_line(), b":GOT " + key + b":" + every + b".\n")
    same(door.read_line(), b"\xff\xfe:GOT nul:a\0b\n", "a hash is any bytes")
    line = server.line()
    line.send(b"GETB memory nul\n")
    same(line.read(7), b"$3\na\0b\n", "on lines")
    line.close()
    door.close()


def somebody_who_speaks_http_is_hung_up_on(server):
    door = server.door()
    same(door.ask("SET http:safe"), ":SAT http:safe")
    for head in ("POST / HTTP/1.1\r\nHost: x\r\n", "GET /a,b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n",
                 "PRI * HTTP/2.0\r\n"):
        other = server.door()
        other.send(head + "\r\nSET http:broken\r\nSET http:broken\n")
        try:
            rest = other.file.read()
        except ConnectionError:
            rest = b""
        check(b"SAT" not in rest, "a browser's request was run as commands: %r" % rest)
        other.close()
    same(door.ask("GET http"), ":GOT http:safe")
    door.close()


def callers_that_hang_up(server):
    """Before a byte, within a line, with answers on their way, and without reading any."""
    for text in (b"", b"SET half:1", b"GET a\nSET half:1", b"\n", b"h:REQUEST CONNECT\n",
                 b"REQUEST BLOOMFILTER\n" * 1000):
        for how in (socket.SHUT_WR, socket.SHUT_RDWR, None):
            door = server.door()
            door.sock.sendall(text)
            if how is not None:
                door.sock.shutdown(how)
            if how == socket.SHUT_WR:
                rest = door.file.read()
                same(rest.count(b"\n"), text.count(b"\n"), "answers before it closes")
            door.close()
    door = server.door()
    same(door.ask("GET half"), ":GOT ", "half a line is no request")
    door.close()


def a_filter_of(server, door, hash_text=""):
    got = door.ask("%s:REQUEST BLOOMFILTER" % hash_text)
    check(got.startswith(hash_text + ":FULFILLED "), got[:60])
    return olivia_filter.Filter.parse(got.split(" ", 1)[1].encode())


def the_filter_has_the_keys_of_this_node(server):
    olivia_filter.check_vectors()
    line, door = server.line(), server.door()
    same(line.ask("FLUSHALL memory"), "+OK")
    wait_until(lambda: a_filter_of(server, door).count() == 0, "the filter of no key is not empty")
    same(door.ask("REQUEST BLOOMFILTER"), ":FULFILLED " +
         olivia_filter.Filter().text().decode(), "byte for byte")
    same(door.ask("SET one:1"), ":SAT one:1")
    one = olivia_filter.Filter.of([b"one"])
    check(one.is_readable(), "choose another key: this one's base64 has a digit")
    same(door.ask("REQUEST BLOOMFILTER"), ":FULFILLED " + one.text().decode(), "byte for byte")
    same(door.ask("h:request bloomfilter"), "h:FULFILLED " + one.text().decode())
    keys = ["key%d" % i for i in range(300)]
    same(door.ask("SET " + ",".join(key + ":x" for key in keys))[:5], ":SAT ")
    door.send(b"SET \xff\xfe:1\n")
    door.read_line()
    line.ask("SET memory 0 by-lines 1")
    server.request("PUT", "/api/default/by/rest?type=memory", "1")
    server.rpc("Storage.Set", ["memory", "by rpc", "1"])
    line.ask("SET hdd 0 on-disk 1")
    line.ask("USE elsewhere")
    line.ask("SET memory 0 elsewhere 1")
    full = a_filter_of(server, door)
    for key in [key.encode() for key in keys] + [b"one", b"\xff\xfe", b"by-lines", b"by/rest",
                                                 b"by rpc"]:
        check(full.has(key), "the filter says no to %r" % key)
    maybe = sum(full.has(b"never%d" % i) for i in range(1000))
    check(maybe < 500, "the filter says maybe to %d of 1000 keys that are not there" % maybe)
    for key in (b"on-disk", b"elsewhere"):
        check(not olivia_filter.Filter.of([k.encode() for k in keys]).has(key), "another key")
    line.ask("USE default")
    line.close()
    door.close()


def keys_that_go_leave_the_filter(server):
    line, door = server.line(), server.door()
    same(line.ask("FLUSHALL memory"), "+OK")
    wait_until(lambda: a_filter_of(server, door).count() == 0, "flushed keys stay in the filter")
    has = lambda key: a_filter_of(server, door).has(key)
    same(door.ask("SET a:1,b:2"), ":SAT a:1,b:2")
    same((has(b"a"), has(b"b")), (True, True), "set")
    same(door.ask("SET a:3"), ":SAT a:3")
    same(line.ask("DELETE memory a"), "+OK")
    same((has(b"a"), has(b"b")), (False, True), "set twice, deleted once")
    same(door.ask("SETEX b:2:0"), ":SATEX b:2:0")
    same(has(b"b"), False, "expired at once")

    def sets(ms):
        seconds = ms // 1000
        same(door.ask("SETEX c:3:%d" % seconds), ":SATEX c:3:%d" % seconds)
        there = has(b"c")
        return lambda: same(there, True, "set for %d s" % seconds)

    unhurried(sets, 1000)
    wait_until(lambda: not has(b"c"), "an expired key stays in the filter")
    same(door.ask("SETEX c:3:1"), ":SATEX c:3:1")
    wait_until(lambda: door.ask("GET c") == ":GOT ", "it does not expire")
    same(door.ask("SET c:4"), ":SAT c:4")
    same(has(b"c"), True, "expired and set again")
    same(line.ask("TOUCH memory 1 c"), "+OK")
    wait_until(lambda: not has(b"c"), "a touched key stays in the filter")
    keys = ["k%d" % i for i in range(2000)]
    for _ in range(3):
        same(door.ask("SET " + ",".join(key + ":x" for key in keys))[:5], ":SAT ")
        same(door.ask("SETEX " + ",".join(key + ":x:0" for key in keys))[:7], ":SATEX ")
    same(a_filter_of(server, door).count(), 0, "bits after all went, three times")
    line.close()
    door.close()


def a_peer_says_so_and_takes_its_leave(server):
    door, other = server.door(), server.door()
    got = door.ask("h:REQUEST CONNECT")
    check(got.startswith("h:FULFILLED "), got[:60])
    olivia_filter.Filter.parse(got.split(" ", 1)[1].encode())
    check(other.ask("REQUEST PEERS").startswith(":FULFILLED 127.0.0.1:"), "it is listed")
    same(other.ask("REQUEST DISCONNECT"), ":FULFILLED Peer not found in peer list.")
    same(door.ask("GET none"), ":GOT ")
    same(door.ask("h:REQUEST DISCONNECT"), "h:FULFILLED Peer has been disconnected.")
    same(door.ask("REQUEST DISCONNECT"), ":FULFILLED Peer not found in peer list.", "again")
    same(other.ask("REQUEST PEERS"), ":FULFILLED ")
    same(door.ask("request connect")[:11], ":FULFILLED ")
    door.close()
    wait_until(lambda: other.ask("REQUEST PEERS") == ":FULFILLED ", "one who hung up is listed")
    other.close()


CASES = [the_table, the_dialogue_of_its_readme_through_nc, every_line_of_the_table_through_nc,
         typed_line_by_line_through_nc, a_key_expires_when_its_seconds_are_over,
         its_keys_are_those_of_every_door, values_of_other_doors_that_a_line_cannot_hold,
         many_requests_in_one_write_keep_their_order, a_line_has_65536_pairs_at_most,
         a_line_over_the_limit_is_dropped_and_the_connection_lives, keys_that_cannot_be,
         bytes_are_bytes, somebody_who_speaks_http_is_hung_up_on, callers_that_hang_up,
         the_filter_has_the_keys_of_this_node, keys_that_go_leave_the_filter,
         a_peer_says_so_and_takes_its_leave]


def credentials_are_asked_for():
    server = Olivia(env={"HATI_JWT_SECRET": SECRET})
    try:
        door = server.door()
        same(door.ask("PING 1"), "0:PONG 1")
        for sent in ("GET a", "SET a:1", "SET a:1,b:2", "SETEX a:1:30", "SETEX a", "NOSUCH a",
                     "REQUEST PEERS", "REQUEST BLOOMFILTER", "REQUEST CONNECT", "FETCH YQ", "GET",
                     "REQUEST HATI:1:-"):
            check(door.ask(sent).startswith("+ERR AUTH_REQUIRED "), sent)
            check(door.ask("h:" + sent).startswith("h:+ERR AUTH_REQUIRED "), "h:" + sent)
        check(door.ask("AUTH nonsense").startswith("+ERR FORBIDDEN "), "a bad token")
        check(door.ask("GET a").startswith("+ERR AUTH_REQUIRED "), "behind a bad token")
        same(door.ask("auth " + token()), "+OK")
        same(door.ask("SET a:1,b:2"), ":SAT a:1,b:2")
        same(door.ask("GET a"), ":GOT a:1")
        same(door.ask("REQUEST PEERS"), ":FULFILLED ")
        same(door.ask("AUTH " + token(scope="kv:read")), "+OK")
        same(door.ask("GET a"), ":GOT a:1")
        for sent in ("SET a:2", "SET a:2,b:3", "SETEX a:2:30", "SETEX a:2:0"):
            check(door.ask("h:" + sent).startswith("h:+ERR FORBIDDEN "), sent)
        same(door.ask("GET a,b"), ":GOT a:1,b:2", "nothing was applied")
        same(door.ask("AUTH " + token(scope="kv:write:other*")), "+OK")
        check(door.ask("GET a,b").startswith("+ERR FORBIDDEN "), "reading")
        door.close()
        check("eyJ" not in server.log_text() and SECRET not in server.log_text(), "in the log")
    finally:
        server.close()


def a_unix_socket_serves_it_too():
    path = os.path.join("/tmp", "hati-olivia-%d.sock" % os.getpid())
    server = Olivia("--olivia-socket", path)
    try:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(path)
        near, far = Line(sock), server.door()
        same(near.ask("SET unix:1"), ":SAT unix:1")
        same(far.ask("GET unix"), ":GOT unix:1")
        near.close()
        far.close()
    finally:
        server.close()


def it_is_off_unless_asked_for():
    server = Server()
    try:
        check("livia" not in server.greeting, server.greeting)
    finally:
        server.close()


def callers_from_elsewhere_are_refused_without_credentials():
    address = own_address()
    if not address:
        print("     (this machine has no address but loopback: callers from elsewhere untried)")
        return
    for flags, served in (((), False), (("--no-auth",), True)):
        server = Olivia(*flags)
        try:
            got = first_answer((address, server.olivia), b"GET a\n")
            check(got == b":GOT \n" if served else got.startswith(REFUSAL), repr(got))
            check(served or tls or b" FORBIDDEN " in got, repr(got))
        finally:
            server.close()


def there_are_so_many_connections_at_most():
    server = Olivia("--connection-limit", "3")
    try:
        doors = []
        while len(doors) < 10:
            try:
                door = server.door()
                got = door.ask("PING 1")
            except (Failure, OSError):
                got = "+ERR closed"
            if got != "0:PONG 1":
                check(got.startswith("+ERR "), got)
                break
            doors.append(door)
        same(len(doors), 3, "connections served")
        for door in doors:
            same(door.ask("PING 1"), "0:PONG 1", "those who were first")
        doors.pop().close()
        wait_until(lambda: is_served(server), "nobody is let in where one left")
    finally:
        server.close()


def is_served(server):
    try:
        door = server.door()
    except OSError: # a refusal through TLS
        return False
    try:
        return door.ask("PING 1") == "0:PONG 1"
    except (Failure, OSError):
        return False
    finally:
        door.close()


def the_memory_limit_is_told():
    server = Olivia("--memory-limit", "1m")
    try:
        door = server.door()
        value, got = "v" * 20000, ""
        for i in range(200):
            got = door.ask("%d:SET a%d:%s,b%d:%s" % (i, i, value, i, value))
            if "+ERR" in got:
                break
        check(got.startswith("%d:+ERR OUT_OF_MEMORY " % i), got[:100])
        same(door.ask("GET a0")[:8], ":GOT a0:")
        door.close()
    finally:
        server.close()


def a_stopping_server_answers_what_came():
    server = Olivia()
    door = server.door()
    same(door.ask("SET a:1"), ":SAT a:1")
    same(server.stop(), 0, "status")
    same(door.read_line(), b"", "closed")
    door.close()
    server.close()


def its_settings_are_checked():
    for flags, word in ((("--olivia-port", "99999"), "olivia-port"), (("--peers", "x"), "peers"),
                        (("--peers", "a:1,b"), "peers"), (("--peers", "a:0"), "peers"),
                        (("--peer-timeout", "soon"), "peer-timeout"),
                        (("--olivia-advertise", "x"), "olivia-advertise")):
        done = subprocess.run([Server.binary, "start", "--olivia", *flags], capture_output=True,
                              timeout=PATIENCE)
        text = done.stderr.decode()
        check(done.returncode and word in text, "%s: %r" % (" ".join(flags), text))


def figures_tell_of_the_door():
    server = Olivia()
    try:
        door = server.door()
        same(door.ask("GET a"), ":GOT ")
        stats = server.request("GET", "/stats").json()
        same(stats["connections"]["olivia"], 1, "connections")
        door.close()
    finally:
        server.close()


ALONE = [credentials_are_asked_for, a_unix_socket_serves_it_too, it_is_off_unless_asked_for,
         callers_from_elsewhere_are_refused_without_credentials,
         there_are_so_many_connections_at_most, the_memory_limit_is_told,
         a_stopping_server_answers_what_came, its_settings_are_checked, figures_tell_of_the_door]


def run(runner):
    server = Olivia()
    try:
        for case in CASES:
            runner.case(case.__name__ + ": olivia", lambda c=case: c(server))
    finally:
        server.close()
    for case in ALONE:
        runner.case(case.__name__ + ": olivia", case)
