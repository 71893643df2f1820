# SPDX-License-Identifier: MIT
"""Large values: how often one is in memory, and how much of them is under way at once."""
import hashlib
import http.client
import os
import socket
import time

import harness
from harness import Server, check, same, wait_until

MIB = 1 << 20
SLACK = 24 * MIB
VALUE = os.urandom(MIB) * 64
LIMITS = ("--payload-limit", "80m", "--log-level", "warn")


def is_sanitized():
    """Then memory is kept back, and shadowed."""
    with open(Server.binary, "rb") as file:
        data = file.read()
    return b"__asan_" in data or b"__tsan_" in data


def memory_of(server, word):
    with open("/proc/%d/status" % server.process.pid, encoding="ascii") as file:
        for line in file:
            if line.startswith(word + ":"):
                return int(line.split()[1]) * 1024
    return 0


def from_here(server):
    """The high-water mark begins anew; what is resident now."""
    with open("/proc/%d/clear_refs" % server.process.pid, "w", encoding="ascii") as file:
        file.write("5")
    return memory_of(server, "VmRSS")


def settled(server):
    """What is resident once nothing of the value is but what the store keeps."""
    if not Server.engine:
        wait_until(lambda: b"\nhati_journal_lag_records 0\n" in
                   server.request("GET", "/metrics").body, "it to be in LMDB", 60)
    return memory_of(server, "VmRSS")


def a_value_is_in_memory_twice_at_most(storage):
    server = Server(*LIMITS)
    try:
        path, etag = "/api/large/one?type=" + storage, '"%s"' % hashlib.md5(VALUE).hexdigest()
        before = from_here(server)
        answer = server.request("PUT", path, VALUE)
        same((answer.status, answer.headers["ETag"]), (204, etag))
        before_get = settled(server)
        high = memory_of(server, "VmHWM") - before
        stays = before_get - before
        from_here(server)
        answer = server.request("GET", path)
        same((answer.status, answer.headers["ETag"]), (200, etag))
        check(answer.body == VALUE, "it comes back as it was")
        read = memory_of(server, "VmHWM") - before_get
        if not is_sanitized():
            check(high < 2 * len(VALUE) + SLACK, "a write took %d MiB more" % (high / MIB))
            # on hdd pages of the file that were read are among what is resident
            most = len(VALUE) * (1 if storage == "memory" else 2) + SLACK
            check(read < most, "a read took %d MiB more" % (read / MIB))
            kept = len(VALUE) if storage == "memory" else 0
            check(stays < kept + SLACK, "%d MiB stay behind a write" % (stays / MIB))
    finally:
        server.close()


def etags_are_right_at_every_length(server):
    for length in (65535, 65536, 65537, 131072, 300001):
        value = VALUE[:length]
        for storage in ("memory", "hdd"):
            path = "/api/large/etag?type=" + storage
            etag = '"%s"' % hashlib.md5(value).hexdigest()
            same(server.request("PUT", path, value).headers["ETag"], etag, "PUT of %d" % length)
            same(server.request("GET", path).headers["ETag"], etag, "GET of %d" % length)
            parts = (value[at:at + 10007] for at in range(0, length, 10007))
            connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=20)
            connection.request("PUT", path, parts, {"Transfer-Encoding": "chunked"},
                               encode_chunked=True)
            answer = connection.getresponse()
            answer.read()
            same((answer.status, answer.headers["ETag"]), (204, etag), "chunks of %d" % length)
            connection.close()


def begin_put(server, announced, sent, extra=b""):
    sock = socket.create_connection(("127.0.0.1", server.http), 20)
    sock.sendall(b"PUT /api/large/slow?type=memory HTTP/1.1\r\nHost: x\r\n" + extra +
                 (b"Content-Length: %d\r\n\r\n" % announced if announced else
                  b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % sent) + bytes(sent))
    return sock


def status_of(sock):
    got = b""
    while b"\r\n\r\n" not in got:
        part = sock.recv(65536)
        if not part:
            return None, got
        got += part
    return int(got.split(b" ")[1]), got


def bodies_under_way_have_a_limit_together(server):
    first = begin_put(server, 6 * MIB, 0, b"Expect: 100-continue\r\n")
    same(status_of(first)[0], 100, "the first one is let in")
    first.sendall(bytes(MIB))
    second = begin_put(server, 6 * MIB, 0, b"Expect: 100-continue\r\n")
    status, got = status_of(second)
    second.close()
    same(status, 503, got)
    check(b"Retry-After: 1\r\n" in got and b"Hati-Outcome: not-applied\r\n" in got, got)
    same(server.request("PUT", "/api/large/small?type=memory", b"x" * 65536).status, 204,
         "small ones are served meanwhile")
    chunked = begin_put(server, 0, 5 * MIB)
    chunked.sendall(b"\r\n0\r\n\r\n")
    same(status_of(chunked)[0], 503, "one that does not tell its length")
    chunked.close()
    first.sendall(bytes(5 * MIB))
    same(status_of(first)[0], 204, "the first is served")
    first.close()
    same(server.request("PUT", "/api/large/slow?type=memory", bytes(6 * MIB)).status, 204, "then others")


def one_who_hangs_up_gives_his_part_back(server):
    for _ in range(5):
        sock = begin_put(server, 6 * MIB, MIB)
        sock.close()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        answer = server.request("PUT", "/api/large/slow?type=memory", bytes(6 * MIB))
        if answer.status == 204:
            break
    same(answer.status, 204)


def slow_readers_have_it_too(server):
    server.request("PUT", "/api/large/slow?type=memory", VALUE[:6 * MIB])
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.http))
    sock.sendall(b"GET /api/large/slow?type=memory HTTP/1.1\r\nHost: x\r\n\r\n")
    sock.recv(100)
    answer = server.request("GET", "/api/large/slow?type=memory")
    same((answer.status, answer.headers["Retry-After"]), (503, "1"))
    sock.close()
    end = time.monotonic() + 30
    while answer.status != 200 and time.monotonic() < end:
        answer = server.request("GET", "/api/large/slow?type=memory")
    check(answer.body == VALUE[:6 * MIB], "then others")


LIMITED = [etags_are_right_at_every_length, bodies_under_way_have_a_limit_together,
           one_who_hangs_up_gives_his_part_back, slow_readers_have_it_too]


def run(runner):
    if Server.engine or harness.tls: # so many bytes are not for a database of a test; plain sockets
        return
    for storage in ("memory", "hdd"):
        runner.case("a_value_is_in_memory_twice_at_most: " + storage,
                    lambda s=storage: a_value_is_in_memory_twice_at_most(s))
    server = Server("--payload-limit", "8m", "--inflight-limit", "9m")
    for case in LIMITED:
        runner.case("large: " + case.__name__, lambda c=case: c(server))
    server.close()
