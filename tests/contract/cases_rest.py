# SPDX-License-Identifier: MIT
"""REST key routes, and what every answer over HTTP has."""
import hashlib
import threading

from doors import WORKSPACE
from harness import check, connect_http, same

BASE = "/api2/%s/rest" % WORKSPACE


def md5(data):
    return hashlib.md5(data).hexdigest()


def an_entry_has_its_headers(server):
    answer = server.request("PUT", BASE + "/e", "hello", {"Content-Type": "text/html"})
    same((answer.status, answer.body), (204, b""))
    same(answer.headers["ETag"], '"%s"' % md5(b"hello"))
    revision = int(answer.headers["Hati-Revision"])
    for method, body in (("GET", b"hello"), ("HEAD", b"")):
        answer = server.request(method, BASE + "/e")
        same((answer.status, answer.body), (200, body), method)
        same(answer.headers["ETag"], '"%s"' % md5(b"hello"))
        same(int(answer.headers["Hati-Revision"]), revision)
        same(answer.headers["Content-Type"], "text/html")
        same(answer.headers["Content-Length"], "5")
        same(answer.headers["X-Content-Type-Options"], "nosniff")
        same(answer.headers["Content-Security-Policy"], "sandbox")
        check(answer.headers["X-Request-Id"], "X-Request-Id")
        check("Hati-Ttl" not in answer.headers, "no ttl")
    server.request("PUT", BASE + "/plain?ttl=50000", "x")
    answer = server.request("GET", BASE + "/plain")
    same(answer.headers["Content-Type"], "application/octet-stream")
    check(0 < int(answer.headers["Hati-Ttl"]) <= 50000, "Hati-Ttl")
    for method in ("GET", "HEAD", "DELETE"):
        same(server.request(method, BASE + "/none").status, 404, method)


def conditions(server):
    path = BASE + "/c"
    table = [
        ("PUT", {"If-Match": "*"}, "1", 412), ("PUT", {"If-Match": md5(b"1")}, "1", 412),
        ("PUT", {"If-None-Match": "*"}, "1", 201), ("PUT", {"If-None-Match": "*"}, "2", 412),
        ("PUT", {"If-None-Match": '"%s"' % md5(b"1")}, "2", 400),
        ("PUT", {"If-Match": "*"}, "1", 204), ("PUT", {"If-Match": md5(b"1")}, "2", 204),
        ("PUT", {"If-Match": '"%s"' % md5(b"1")}, "3", 412),
        ("PUT", {"If-Match": '"%s", "%s"' % (md5(b"1"), md5(b"2"))}, "3", 204),
        ("PUT", {"If-Match": "nonsense"}, "4", 400), ("PUT", {"If-Match": '"'}, "4", 400),
        ("PUT", {"If-Match": ""}, "4", 400),
        ("PUT", {"If-Match": "*", "If-None-Match": "*"}, "4", 400),
        ("GET", {"If-None-Match": '"%s"' % md5(b"3")}, None, 304),
        ("GET", {"If-None-Match": md5(b"3")}, None, 304), ("GET", {"If-None-Match": "*"}, None, 304),
        ("GET", {"If-None-Match": '"%s"' % md5(b"9")}, None, 200),
        ("GET", {"If-None-Match": 'W/"%s"' % md5(b"3")}, None, 304),
        ("GET", {"If-None-Match": '"other", W/"%s"' % md5(b"3")}, None, 304),
        ("GET", {"If-None-Match": '"other"'}, None, 200),
        ("DELETE", {"If-Match": md5(b"9")}, None, 412),
        ("DELETE", {"If-Match": md5(b"3")}, None, 204), ("DELETE", {}, None, 404),
        ("DELETE", {"If-Match": "*"}, None, 412),
    ]
    for method, headers, body, status in table:
        answer = server.request(method, path, body, headers)
        same(answer.status, status, "%s with %s: %r" % (method, headers, answer.body))
        if status == 304:
            same(answer.headers["ETag"], '"%s"' % md5(b"3"))
            same(answer.body, b"")
        if status >= 400:
            check(answer.headers["Content-Type"].startswith("application/problem+json"), "problem")


def a_prefix_that_no_key_could_have_is_refused_as_the_documents_tell(server):
    long = "x" * 4097
    same(server.request("GET", BASE + "?prefix=" + long).json()["code"], "KEY_INVALID")
    failed = server.rpc("Storage.List", {"type": "hdd", "prefix": long})["error"]
    same(failed["code"], -32014, failed)


def an_answer_that_sends_no_body_tells_of_none(server):
    """fetch in Node waited for ever for as many bytes as a 304 told."""
    path = BASE + "/not-modified"
    server.request("PUT", path, b"four")
    headers = {"If-None-Match": md5(b"four")}
    for method, at in (("GET", path), ("HEAD", path), ("GET", "/openapi.json")):
        if at != path:
            headers = {"If-None-Match": server.request("GET", at).headers["ETag"]}
        answer = server.request(method, at, None, headers)
        same((answer.status, answer.headers.get("Content-Length"),
              answer.headers.get("Transfer-Encoding")), (304, "0", None), at)


def exactly_one_of_two_conditional_writes_wins(server):
    for round_number in range(20):
        path = BASE + "/race%d" % round_number
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(
            server.request("PUT", path, "x", {"If-None-Match": "*"}).status)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(sorted(statuses), [201, 412, 412, 412])


def paths_are_decoded_once_and_by_length(server):
    table = [("/a%00b", 400), ("/a%zz", 400), ("/a%2", 400), ("/%", 400), ("/%2541", 204),
             ("/x%2Fy", 204), ("/%C3%A4", 204), ("/%FF", 204)]
    for path, status in table:
        same(server.request("PUT", BASE + path, "v").status, status, path)
    keys = server.request("GET", BASE + "?prefix=x").json()["keys"]
    same(keys, ["x/y"])
    same(server.request("GET", BASE + "/x/y").body, b"v", "a plain slash is the same key")
    same(server.request("GET", BASE + "?prefix=%2541").json()["keys"], ["%41"])
    for path in ("/api2/no-uuid/ns/key", "/api2/%s/%s/key" % (WORKSPACE, "n" * 256)):
        same(server.request("GET", path).status, 400, path[:40])
    same(server.request("GET", BASE + "/" + "k" * 4097).status, 400, "a long key")


def listings(server):
    base = "/api2/%s/list" % WORKSPACE
    for key in ("b", "a", "c%2F1", "c%2F2", "%25", "d%22"):
        same(server.request("PUT", base + "/" + key, "1").status, 204)
    whole = server.request("GET", base).json()
    same(whole, {"workspace": WORKSPACE, "namespace": "list", "count": 6,
                 "keys": ["%", "a", "b", "c/1", "c/2", 'd"']})
    page = server.request("GET", base + "?limit=4").json()
    same((page["count"], page["keys"]), (4, ["%", "a", "b", "c/1"]))
    rest = server.request("GET", base + "?limit=4&cursor=" + page["cursor"]).json()
    same(rest["keys"], ["c/2", 'd"'])
    check("cursor" not in rest, "the last page")
    same(server.request("GET", base + "?prefix=c%2F").json()["keys"], ["c/1", "c/2"])
    same(server.request("GET", "/api/list?prefix=c/").json(),
         {"namespace": "list", "count": 2, "keys": ["c/1", "c/2"]})
    same(server.request("GET", "/api2/%s/empty" % WORKSPACE).json()["keys"], [])
    for query in ("limit=0", "limit=x", "cursor=!!", "type=disk"):
        same(server.request("GET", base + "?" + query).status, 400, query)


def counters_and_parameters(server):
    path = BASE + "/count"
    answer = server.request("POST", path + "?op=incr&by=5")
    same((answer.status, answer.body), (200, b"5"))
    same(server.request("POST", path + "?op=incr").body, b"6")
    same(server.request("POST", path + "?op=incr&by=x").status, 409)
    same(server.request("POST", path + "?op=nosuch").status, 400)
    server.request("PUT", path, "word")
    answer = server.request("POST", path + "?op=incr")
    same((answer.status, answer.json()["code"]), (409, "NOT_A_NUMBER"))
    same(server.request("PUT", path + "?ttl=-1", "x").status, 400)
    same(server.request("PUT", path + "?type=disk", "x").json()["code"], "STORAGE_TYPE_INVALID")
    server.request("PUT", path + "?type=memory", "in memory")
    same(server.request("GET", path).body, b"word", "storages are apart")
    same(server.request("GET", path + "?type=memory").body, b"in memory")


def version_one(server):
    same(server.request("POST", "/api/v1/key", "one").status, 204)
    same(server.request("PUT", "/api/v1/key", "two").status, 204)
    same(server.request("GET", "/api/v1/key").body, b"two")
    same(server.request("GET", "/api2/%s/v1/key" % WORKSPACE).body, b"two")
    same(server.request("DELETE", "/api/v1/key").status, 204)
    same(server.request("DELETE", "/api/v1/key").status, 404)


def a_part_of_a_value(server):
    path, value = BASE + "/parts", bytes(range(256)) * 40
    etag = '"%s"' % md5(value)
    server.request("PUT", path, value, {"Content-Type": "video/mp4"})
    table = [({"Range": "bytes=0-9"}, 206, value[:10], "bytes 0-9/10240"),
             ({"Range": "bytes=10000-"}, 206, value[10000:], "bytes 10000-10239/10240"),
             ({"Range": "bytes=-40"}, 206, value[-40:], "bytes 10200-10239/10240"),
             ({"Range": "bytes=5-5", "If-Range": etag}, 206, value[5:6], "bytes 5-5/10240"),
             ({"Range": "bytes=0-9", "If-Range": '"%s"' % md5(b"older")}, 200, value, None),
             ({"Range": "bytes=0-9,20-29"}, 200, value, None), ({"Range": "x"}, 200, value, None),
             ({"Range": "bytes=10240-"}, 416, b"", "bytes */10240"),
             ({"Range": "bytes=0-9", "If-None-Match": etag}, 304, b"", None),
             ({"Range": "bytes=0-9", "If-Match": md5(b"older")}, 412, None, None)]
    for headers, status, body, said in table:
        answer = server.request("GET", path, None, headers)
        same(answer.status, status, headers)
        if body is not None:
            same(answer.body, body, headers)
        same(answer.headers.get("Content-Range"), said, headers)
        if status == 206:
            same((answer.headers["ETag"], answer.headers["Content-Type"]), (etag, "video/mp4"))
    for method, status in (("GET", 200), ("HEAD", 200)):
        answer = server.request(method, path)
        same((answer.status, answer.headers["Accept-Ranges"]), (status, "bytes"), method)
    same(server.request("HEAD", path, None, {"Range": "bytes=0-9"}).headers["Content-Length"],
         "10240")
    server.request("PUT", path, "")
    same(server.request("GET", path, None, {"Range": "bytes=0-"}).status, 416, "of nothing")


def errors_are_problems(server):
    answer = server.request("GET", BASE + "/none")
    problem = answer.json()
    same(answer.headers["Content-Type"].split(";")[0], "application/problem+json")
    same((problem["status"], problem["code"]), (404, "KEY_NOT_EXIST"))
    check(problem["title"] and problem["detail"], "title and detail")
    same(server.request("GET", "/nowhere").status, 404)
    for method, path in (("PATCH", BASE + "/x"), ("DELETE", BASE), ("POST", "/status"),
                         ("PUT", "/rpc"), ("DELETE", "/")):
        answer = server.request(method, path)
        same(answer.status, 405, method + " " + path)
        check(answer.headers["Allow"], "Allow")
    answer = server.request("PUT", BASE + "/big", b"x" * (2 * 1024 * 1024 + 1))
    same(answer.status, 413)


def the_rest_of_http(server):
    same(server.request("GET", "/status").body, b"ok")
    same(server.request("GET", "/healthz").status, 200)
    same(server.request("GET", "/readyz").status, 200)
    stats = server.request("GET", "/stats").json()
    for member in ("version", "uptime", "storage", "connections", "requests"):
        check(member in stats, "/stats has no " + member)
    answer = server.request("GET", "/status", headers={"X-Request-Id": "my-id.7"})
    same(answer.headers["X-Request-Id"], "my-id.7")
    answer = server.request("GET", "/status", headers={"X-Request-Id": "bad id <x>"})
    check(answer.headers["X-Request-Id"] != "bad id <x>", "an insane id is replaced")
    answer = server.request("OPTIONS", BASE + "/x", headers={
        "Origin": "https://page.example", "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,if-match"})
    same(answer.status, 204)
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "content-type", "if-match", "if-none-match", "x-request-id"):
        check(name in allowed, "preflight does not allow " + name)
    check("PUT" in answer.headers["Access-Control-Allow-Methods"], "methods")
    same(answer.headers["Access-Control-Max-Age"], "3600")
    answer = server.request("GET", "/status", headers={"Origin": "https://page.example"})
    same(answer.headers["Access-Control-Allow-Origin"], "*")
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    for name in ("etag", "hati-revision", "hati-ttl", "x-request-id"):
        check(name in exposed, "not exposed: " + name)


def requests_that_two_servers_would_read_differently_are_refused(server):
    tail = b"GET /status HTTP/1.1\r\nHost: second\r\n\r\n"
    start = b"PUT /api/smuggle/k HTTP/1.1\r\nHost: x\r\n"
    table = [
        (start + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both"),
        (start + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc", "two lengths"),
        (start + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "xchunked"),
        (start + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "gzip, chunked"),
        (start + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "chunked twice"),
        (start + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "a space before the colon"),
        (start + b"Host: y\r\nContent-Length: 0\r\n\r\n", "two hosts"),
        (b"PUT /api/smuggle/k HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "chunked in 1.0"),
        (b"GET /status HTTP/1.1\r\n\r\n", "no host"),
        (b"GET /status HTTP/1.9\r\nHost: x\r\n\r\n", "1.9"),
        (start + b"Authorization: a\r\nAuthorization: b\r\nContent-Length: 0\r\n\r\n",
         "two authorizations"),
    ]
    for request, name in table:
        got, closed = server.raw(request + tail)
        check(got.startswith(b"HTTP/1.1 400") or got.startswith(b"HTTP/1.0 400"),
              "%s: %r" % (name, got[:60]))
        check(got.count(b"Content-Length:") == 1, "%s: the second request was run" % name)
        check(closed, "%s: the connection stays open" % name)
    same(server.request("GET", "/api/smuggle").json()["keys"], [])


def keep_alive_goes_on_after_answers_of_every_kind(server):
    connection = connect_http(server.http, 10)
    for method, path, body, status in (("GET", "/status", None, 200),
                                       ("PUT", BASE + "/alive", b"1", 204),
                                       ("GET", BASE + "/none", None, 404),
                                       ("GET", BASE + "/alive", None, 200),
                                       ("POST", "/rpc", b"{}", 200),
                                       ("GET", BASE, None, 200), ("GET", "/status", None, 200)):
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        same(answer.status, status, path)
        sock = connection.sock
        check(sock is not None, "closed after %s %s" % (method, path))
    connection.close()


CASES = [an_entry_has_its_headers, conditions,
         a_prefix_that_no_key_could_have_is_refused_as_the_documents_tell, an_answer_that_sends_no_body_tells_of_none, a_part_of_a_value, exactly_one_of_two_conditional_writes_wins,
         paths_are_decoded_once_and_by_length, listings, counters_and_parameters, version_one,
         errors_are_problems, the_rest_of_http,
         requests_that_two_servers_would_read_differently_are_refused,
         keep_alive_goes_on_after_answers_of_every_kind]


def run(runner, server):
    for case in CASES:
        runner.case(case.__name__, lambda c=case: c(server))
