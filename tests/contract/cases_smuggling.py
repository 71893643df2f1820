# SPDX-License-Identifier: MIT
"""Requests that a server in front may read in another way than this one: where one ends, where the
next begins, whose path it is. What could be misread is refused, and its connection closed."""
from harness import check, same

TAIL = b"GET /status HTTP/1.1\r\nHost: second\r\nConnection: close\r\n\r\n"
PUT = b"PUT /api/smuggle/k?type=memory HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /status HTTP/1.1\r\nHost: x\r\n"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {  # name: what is sent; the second request must not be heard
    "a length and chunks": PUT + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": PUT + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": PUT + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
    "the same length twice": PUT + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": PUT + b"Content-Length: 3, 3\r\n\r\nabc",
    "a length with a sign": PUT + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": PUT + b"Content-Length: -1\r\n\r\nabc",
    "a hexadecimal length": PUT + b"Content-Length: 0x3\r\n\r\nabc",
    "an empty length": PUT + b"Content-Length: \r\n\r\nabc",
    "a length with words": PUT + b"Content-Length: 3 x\r\n\r\nabc",
    "a length past 64 bits": PUT + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "a length behind a vertical tab": PUT + b"Content-Length: \x0b3\r\n\r\nabc",
    "another coding": PUT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": PUT + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
    "chunked twice": PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in a list": PUT + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked behind a vertical tab": PUT + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked with a parameter": PUT + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "chunked in quotes": PUT + b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "a space before the colon": PUT + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": PUT + b"Content-Length\t: 3\r\n\r\nabc",
    "a folded value": PUT + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded header": PUT + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a fold by a tab": PUT + b"X: y\r\n\tContent-Length: 3\r\n\r\nabc",
    "a fold before the first header": b"PUT /api/smuggle/k HTTP/1.1\r\n Host: x\r\n\r\n",
    "a bare LF behind a header": PUT + b"X: y\nContent-Length: 3\r\n\r\nabc",
    "bare LFs": b"GET /status HTTP/1.1\nHost: x\n\n",
    "a bare CR in a value": PUT + b"X: y\rContent-Length: 3\r\n\r\nabc",
    "a NUL in a value": PUT + b"X: y\0z\r\nContent-Length: 3\r\n\r\nabc",
    "a NUL in a name": PUT + b"X\0: y\r\nContent-Length: 3\r\n\r\nabc",
    "a line without a colon": PUT + b"Transfer-Encoding\r\nContent-Length: 3\r\n\r\nabc",
    "a header without a name": PUT + b": y\r\nContent-Length: 3\r\n\r\nabc",
    "a name that is no token": PUT + b"Content Length: 5\r\nContent-Length: 3\r\n\r\nabc",
    "two hosts": PUT + b"Host: y\r\nContent-Length: 0\r\n\r\n",
    "no host": b"GET /status HTTP/1.1\r\n\r\n",
    "two authorizations": GET + b"Authorization: a\r\nAuthorization: b\r\n\r\n",
    "chunks in 1.0": b"PUT /api/smuggle/k HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"0\r\n\r\n",
    "version 1.9": b"GET /status HTTP/1.9\r\nHost: x\r\n\r\n",
    "version 2.0": b"GET /status HTTP/2.0\r\nHost: x\r\n\r\n",
    "a control character in the method": b"G\x01ET /status HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the path": b"GET /sta\0tus HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab in the request line": b"GET\t/status HTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces in the request line": b"GET  /status HTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces and a bare LF": b"GET  /status HTTP/1.1\r\nHost: x\r\nX:\n\r\n",
    "a space in the query": b"GET /status?a=b /status HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab in the query": b"GET /status?a=\tb HTTP/1.1\r\nHost: x\r\n\r\n",
    "a chunk with a sign": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "a chunk with 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk past 64 bits": CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "a chunk that is shorter than it says": CHUNKED + b"8\r\nabc\r\n0\r\n\r\nxx\r\n",
    "a chunk of nothing": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "a chunk behind a space": CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
    "chunks by bare LFs": CHUNKED + b"3\nabc\n0\n\n",
    "an extension by a bare LF": CHUNKED + b"3;x\nabc\r\n0\r\n\r\n",
    "a chunk by a bare CR": CHUNKED + b"3\rabc\r\n0\r\n\r\n",
}

SERVED = {  # what is sent: its answer, and that to the request behind it
    "a length": (PUT + b"Content-Length: 3\r\n\r\nabc", 204),
    "spaces before a value": (PUT + b"Content-Length: \t 3\r\n\r\nabc", 204),
    "a name with an underscore": (PUT + b"Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
                                  204),
    "a body of GET": (b"GET /api/smuggle/k?type=memory HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
                      b"abc", 200),
    "an encoded slash": (b"GET /api/smuggle/a%2Fb?type=memory HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "an encoded NUL": (b"GET /api/smuggle/k%00b?type=memory HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an encoded nothing": (b"GET /api/smuggle/k%zz?type=memory HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}

CHUNKS = {
    "chunks": CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "chunks in capitals": PUT + b"transfer-encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "extensions of chunks": CHUNKED + b"3;name=value;other=\"x\"\r\nabc\r\n0;last\r\n\r\n",
    "an end by bare LFs": CHUNKED + b"3\r\nabc\r\n0\n\n",
    "a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nX-Tail: y\r\n\r\n",
}

TOO_LARGE = {
    "a path of 40 k": (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414, 431)),
    "5000 headers": (GET + b"".join(b"X-%d: y\r\n" % i for i in range(5000)) + b"\r\n", (431, 413)),
    "a length past the limit": (PUT + b"Content-Length: 99999999999\r\n\r\nabc", (413,)),
}


def statuses(got):
    return [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()] or \
        [int(part[:3]) for part in got.split(b"HTTP/1.0 ")[1:] if part[:3].isdigit()]


def what_others_may_misread_is_refused_and_the_connection_closed(server):
    wrong = []
    for name, data in REFUSED.items():
        got, closed = server.raw(data + TAIL)
        seen = set(statuses(got)) # the library writes some heads twice
        if not closed or len(seen) > 1 or not seen <= {400, 413, 505}:
            wrong.append("%s: %r%s" % (name, seen, "" if closed else ", and open"))
    same(wrong, [])


def what_is_plain_is_served_and_so_is_what_follows(server):
    for name, (data, status) in SERVED.items():
        got, closed = server.raw(data + TAIL)
        same((statuses(got), closed), ([status, 200], True), name)
    for name, data in CHUNKS.items(): # what follows is not believed: the library takes bare LFs
        got, closed = server.raw(data + TAIL)
        same((statuses(got), closed), ([204], True), name)


def what_is_too_large_is_refused(server):
    for name, (data, allowed) in TOO_LARGE.items():
        got, closed = server.raw(data + TAIL)
        seen = statuses(got)
        check(closed and len(seen) <= 1 and (not seen or seen[0] in allowed),
              "%s: %r, closed: %r" % (name, seen, closed))


def no_path_is_cut_by_a_nul(server):
    same(server.request("PUT", "/api/smuggle/cut?type=memory", b"1").status, 204)
    got, _ = server.raw(b"GET /api/smuggle/cut\0x?type=memory HTTP/1.1\r\nHost: x\r\n\r\n")
    check(b" 200 " not in got[:20], got[:60])
    same(server.request("GET", "/api/smuggle/cut%00x?type=memory").status, 400)


CASES = (what_is_plain_is_served_and_so_is_what_follows,
         what_others_may_misread_is_refused_and_the_connection_closed,
         what_is_too_large_is_refused, no_path_is_cut_by_a_nul)


def run(runner, server):
    for case in CASES:
        runner.case(case.__name__, lambda case=case: case(server))
