# SPDX-License-Identifier: MIT
"""The door /kv-store: every row, every error, contexts in bodies and headers, hostile requests."""
import json
import socket
import threading
import time

from doors import WORKSPACE
from harness import Failure, Server, check, connect, same, sign

SECRET = "a development secret of more than 32 bytes"
FAR = {"hati": "r18446744073709551615"}
UNPARSED = "Failed to parse request body"


def ask(server, method, path, body=None, context=None, header=None, token=None):
    """(status, the answer without its context, the context). Every answer has an object."""
    if context is not None:
        body = dict(body or {}, **{"causal-context": context})
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    headers = {} if header is None else {"Causal-Context": header}
    answer = server.request(method, "/kv-store" + path, body, headers, token)
    same(answer.headers["Content-Type"], "application/json", path)
    got = answer.json()
    seen = got.pop("causal-context")
    check(isinstance(seen, dict), "the context of %r is an object" % path)
    if header is not None and answer.status < 500 and "causal-context" not in str(body):
        same(json.loads(answer.headers["Causal-Context"]) if seen else seen, seen, "the header")
    return answer.status, got, seen


def put(server, key, value, **more):
    status, got, seen = ask(server, "PUT", "/keys/" + key, {"value": value}, **more)
    check(status in (200, 201), "PUT %s: %r %r" % (key, status, got))
    return seen


def error(method, text, **more):
    return dict({"message": "Error in " + method, "error": text}, **more)


def a_key_lives_its_life(server):
    for key in ("kv-life", "kv/with/slashes", "kv%2Fescaped", "%C3%A9", "a%20b", "x" * 50):
        path = "/keys/" + key
        absent = dict(doesExist=False)
        same(ask(server, "GET", path)[:2], (404, error("GET", "Key does not exist", **absent)))
        same(ask(server, "DELETE", path)[:2],
             (404, error("DELETE", "Key does not exist", **absent)))
        same(ask(server, "PUT", path, {"value": "1", "causal-context": {}})[:2],
             (201, {"message": "Added successfully", "replaced": False}))
        same(ask(server, "PUT", path, {"value": "2\u0000\"\u00e9"})[:2],
             (200, {"message": "Updated successfully", "replaced": True}))
        same(ask(server, "GET", path)[:2],
             (200, {"message": "Retrieved successfully", "doesExist": True,
                    "value": "2\u0000\"\u00e9"}))
        same(ask(server, "DELETE", path)[:2],
             (200, {"message": "Deleted successfully", "doesExist": True}))
        same(ask(server, "GET", path)[0], 404)
        same(ask(server, "PUT", path, {"value": "3"})[0], 201, "added after it was deleted")
        ask(server, "DELETE", path)


def the_bytes_are_those_of_the_contract(server):
    answer = server.request("PUT", "/kv-store/keys/kv-bytes", '{"value":"1","causal-context":{}}')
    check(answer.body.startswith(b'{"message":"Added successfully","replaced":false,'
                                 b'"causal-context":{'), answer.body)
    answer = server.request("GET", "/kv-store/keys/kv-bytes")
    check(answer.body.startswith(b'{"message":"Retrieved successfully","doesExist":true,'
                                 b'"value":"1","causal-context":{'), answer.body)
    answer = server.request("GET", "/kv-store/key-count")
    check(answer.body.startswith(b'{"message":"Key count retrieved successfully","key-count":'),
          answer.body)
    head = server.request("HEAD", "/kv-store/keys/kv-bytes")
    same((head.status, head.body), (200, b""))
    server.request("DELETE", "/kv-store/keys/kv-bytes")


def an_expired_key_is_added_anew(server):
    server.request("PUT", "/api/default/kv-short?ttl=1", "x")
    end = time.monotonic() + 30
    while ask(server, "GET", "/keys/kv-short")[0] == 200 and time.monotonic() < end:
        pass
    same(ask(server, "PUT", "/keys/kv-short", {"value": "y"})[0], 201)
    ask(server, "DELETE", "/keys/kv-short")


def many_who_write_one_new_key_add_it_once(server):
    for turn in range(5):
        got = []
        threads = [threading.Thread(target=lambda: got.append(
            ask(server, "PUT", "/keys/kv-race%d" % turn, {"value": "v"})[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(sorted(got), [200] * 7 + [201])
        got.clear()
        threads = [threading.Thread(target=lambda: got.append(
            ask(server, "DELETE", "/keys/kv-race%d" % turn)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(sorted(got), [200] + [404] * 3)


def its_keys_are_those_of_the_other_doors(server):
    put(server, "kv-shared", "one")
    line = server.line()
    same(server.request("GET", "/api/default/kv-shared").body, b"one")
    same(server.request("GET", "/api2/%s/default/kv-shared" % WORKSPACE).body, b"one")
    same(line.ask("GET hdd kv-shared"), "one")
    same(line.ask("SET hdd 0 kv-shared two"), "+OK")
    same(ask(server, "GET", "/keys/kv-shared")[1]["value"], "two")
    same(server.rpc("Storage.Get", ["hdd", "kv-shared"])["result"], "two")
    server.request("PUT", "/api/default/kv-shared", b"\xff\x00")
    got = ask(server, "GET", "/keys/kv-shared")[1]
    same((got["value"], got["encoding"]), ("/wA=", "base64"))
    ask(server, "DELETE", "/keys/kv-shared")
    line.close()


def what_is_wrong_with_a_put_is_said(server):
    for body in ("", "x", "[]", "1", '"a"', "null", "{", '{"value":"1"', '{"value":1}',
                 '{"value":true}', '{"value":[]}', '{"value":{}}', '{"value":1.5}',
                 '{"value":"1","value":"2"}', '{"value":"1"} x', '{"value":"\udc80"}'.encode(
                     "utf-8", "surrogatepass"), b'{"value":"\xff"}', b"\xff", b"\x00",
                 '{"value":"1","causal-context":1}', '{"value":"1","causal-context":"r1"}',
                 '{"value":"1","causal-context":[]}', '{"value":"1","causal-context":{"hati":1}}',
                 '{"value":"1","causal-context":{"hati":""}}',
                 '{"value":"1","causal-context":{"hati":"a b"}}',
                 '{"value":"1","causal-context":{"hati":"\\u0000"}}',
                 '{"value":"1","causal-context":{"hati":"%s"}}' % ("r" * 129),
                 "[" * 100000, '{"a":' * 5000 + "1" + "}" * 5000,
                 '{"value":"1","x":%s1%s}' % ("[" * 70, "]" * 70)):
        same(ask(server, "PUT", "/keys/kv-bad", body)[:2], (400, error("PUT", UNPARSED)),
             repr(body)[:60])
    for body in ("{}", '{"value":""}', '{"value":null}', '{"causal-context":{}}'):
        same(ask(server, "PUT", "/keys/kv-bad", body)[:2],
             (400, error("PUT", "Value is missing")), body)
    same(ask(server, "GET", "/keys/kv-bad")[0], 404, "nothing was stored")


def what_is_wrong_with_a_key_is_said(server):
    for method in ("PUT", "GET", "DELETE"):
        body = {"value": "1"}
        for path in ("/keys/", "/keys"):
            same(ask(server, method, path, body)[:2], (400, error(method, "Key is missing")))
        for key in ("k" * 51, "%6b" * 51, "k" * 4096, "%C3%A9" * 26):
            same(ask(server, method, "/keys/" + key, body)[:2],
                 (400, error(method, "Key is too long")), key[:60])
        for key in ("%", "%z", "%zz", "%4", "a%", "%00", "a%00b"):
            same(ask(server, method, "/keys/" + key, body)[:2],
                 (400, error(method, "Key is malformed")), key)
        key = "%C3%A9" * 25
        check(ask(server, method, "/keys/" + key, body)[0] < 300, "50 bytes: " + method)


def reads_and_deletes_may_have_a_body(server):
    put(server, "kv-body", "1")
    for body in (None, "{}", {"causal-context": {}}, {"causal-context": None}, {"other": [1, {}]},
                 {"causal-context": {"10.0.0.1:8080": 3}}):
        same(ask(server, "GET", "/keys/kv-body", body)[0], 200, repr(body))
        for path in ("/key-count", "/shards", "/shards/1"):
            same(ask(server, "GET", path, body)[0], 200, path)
    for body in ("x", "[]", "{", '{"causal-context":1}', b"\xff", "[" * 100000):
        for path in ("/keys/kv-body", "/key-count", "/shards", "/shards/1"):
            same(ask(server, "GET", path, body)[:2], (400, error("GET", UNPARSED)), path)
        same(ask(server, "DELETE", "/keys/kv-body", body)[:2], (400, error("DELETE", UNPARSED)))
    same(ask(server, "DELETE", "/keys/kv-body", {"causal-context": {}})[0], 200)


REQUESTS = (("GET", "/keys/kv-context", None), ("PUT", "/keys/kv-context", {"value": "1"}),
            ("DELETE", "/keys/kv-context", None), ("GET", "/key-count", None),
            ("GET", "/shards", None), ("GET", "/shards/1", None), ("GET", "/shards/999999", None),
            ("PUT", "/view-change", {"view": ["a:1"], "repl-factor": 1}))


def a_state_not_reached_is_refused_and_nothing_is_done(server):
    put(server, "kv-context", "before")
    for method, path, body in REQUESTS:
        wanted = (503, error(method, "Unable to satisfy request"))
        status, got, seen = ask(server, method, path, body, context=FAR)
        same((status, got), wanted, method + path)
        same(seen, FAR, "its context is given back")
        same(ask(server, method, path, body, header=json.dumps(FAR))[:2], wanted, "by the header")
    same(ask(server, "GET", "/keys/kv-context")[1]["value"], "before")
    answer = server.request("GET", "/kv-store/keys/kv-context", json.dumps(
        {"causal-context": FAR}))
    same(answer.headers["Hati-Outcome"], "not-applied")


def a_body_wins_over_the_header(server):
    seen = put(server, "kv-context", "1")
    same(ask(server, "GET", "/keys/kv-context", context=FAR, header=json.dumps(seen))[0], 503)
    for context in (seen, {}):
        same(ask(server, "GET", "/keys/kv-context", context=context, header=json.dumps(FAR))[0],
             200)
        same(ask(server, "GET", "/keys/kv-context", context=context, header="rubbish")[0], 200)
    same(ask(server, "GET", "/keys/kv-context", {}, header=json.dumps(FAR))[0], 503)


def a_header_that_is_no_context_is_a_bad_body(server):
    for header in ("rubbish", "", "[]", '"r1"', "null1", '{"hati":1}', '{"hati":""}', '{"hati"',
                   "[" * 5000, '{"hati":"a b"}', '{"hati":"r1","hati":"r2"}'):
        for method, path, body in REQUESTS:
            same(ask(server, method, path, body, header=header)[:2],
                 (400, error(method, UNPARSED)), repr((method, path, header[:30])))
    raw, _ = server.raw(b"GET /kv-store/key-count HTTP/1.1\r\nHost: x\r\nCausal-Context: {}\r\n"
                        b"causal-context: {}\r\nConnection: close\r\n\r\n")
    check(raw.startswith(b"HTTP/1.1 400"), raw[:60])


def each_answer_has_what_was_seen(server):
    """The context of a write, of a read, of an absence: good from then on, on every row."""
    contexts = [put(server, "kv-context", str(i)) for i in range(3)]
    for method, path, body in REQUESTS[:7]:
        status, _, seen = ask(server, method, path, body, context=contexts[-1])
        check(status in (200, 201, 404), "%s %s: %r" % (method, path, status))
        check(seen, "%s %s tells what it saw" % (method, path))
        contexts.append(seen)
    for seen in contexts:
        same(ask(server, "GET", "/key-count", context=seen)[0], 200, repr(seen))
        same(ask(server, "GET", "/key-count", header=json.dumps(seen))[0], 200, repr(seen))


def the_other_doors_take_contexts_too(server):
    far = {"Causal-Context": json.dumps(FAR)}
    seen = {"Causal-Context": json.dumps(put(server, "kv-doors", "1"))}
    call = '{"jsonrpc":"2.0","method":"Storage.Get","params":["hdd","kv-doors"],"id":1}'
    requests = (("GET", "/api2/%s/default/kv-doors" % WORKSPACE, None, 200),
                ("PUT", "/api/default/kv-doors", "1", 204), ("GET", "/api/default", None, 200),
                ("GET", "/api/default/kv-none", None, 404), ("POST", "/rpc", call, 200),
                ("POST", "/", call, 200), ("GET", "/broker/queues", None, 200),
                ("PUT", "/broker/queues/kv-doors", "{}", 201),
                ("POST", "/broker/routers/default/messages?key=kv-doors", "m", 201),
                ("POST", "/broker/queues/kv-doors/receive", None, 200),
                ("GET", "/broker/queues/kv-doors/stream?prefetch=0", None, 400),
                ("DELETE", "/broker/queues/kv-doors", None, 204),
                ("DELETE", "/api/default/kv-doors", None, 204))
    for method, path, body, status in requests:
        if "prefetch=0" not in path:
            answer = server.request(method, path, body, far)
            if "jsonrpc" in (body or ""):
                same(answer.json()["error"]["data"]["outcome"], "not-applied", path)
                same(answer.json()["error"]["code"], -32007, path)
            else:
                same((answer.status, answer.json()["code"]), (503, "UNAVAILABLE"), method + path)
                same(answer.headers["Hati-Outcome"], "not-applied", path)
            same(json.loads(answer.headers["Causal-Context"]), FAR, path)
        for header in (seen, {"Causal-Context": "{}"}):
            answer = server.request(method, path, body, header)
            again = {201: 200, 204: 404}.get(status, status) if header is not seen else status
            check(answer.status in (status, again), "%s %s: %d" % (method, path, answer.status))
            context = json.loads(answer.headers["Causal-Context"])
            same(server.request("GET", "/kv-store/key-count", json.dumps(
                {"causal-context": context})).status, 200, path)
        answer = server.request(method, path, body, {"Causal-Context": "x"})
        same(answer.status, 400, "%s %s, no context" % (method, path))
        check("Causal-Context" not in server.request("GET", "/api/default").headers,
              "none asked, none told")
    answer = server.request("GET", "/broker/queues/kv-none/stream", None, far)
    same(answer.status, 503, "a stream")
    batch = "[%s,%s]" % (call.replace("Get", "Set").replace('"]', '","2"]'), call)
    answer = server.request("POST", "/rpc", batch, dict(
        {"Content-Type": "application/json"}, **seen))
    same([one["result"] for one in answer.json()], [True, "2"])
    context = json.loads(answer.headers["Causal-Context"])
    same(ask(server, "GET", "/keys/kv-doors", context=context)[1]["value"], "2")
    server.request("DELETE", "/api/default/kv-doors")
    for path in ("/status", "/healthz", "/readyz"):
        answer = server.request("GET", path, None, far)
        same((answer.status, answer.headers["Causal-Context"]), (200, None), path)
    answer = server.request("GET", "/api/default", None, {"Origin": "https://a.example"})
    check("Causal-Context" in answer.headers["Access-Control-Expose-Headers"], "exposed")
    answer = server.request("OPTIONS", "/kv-store/keys/a", None, {"Origin": "https://a.example"})
    check("Causal-Context" in answer.headers["Access-Control-Allow-Headers"], "allowed")


def what_is_not_served_is_told_in_its_own_words(server):
    reads = "GET, HEAD, OPTIONS"
    for method, path, allow in (("POST", "/keys/a", "GET, HEAD, PUT, DELETE, OPTIONS"),
                                ("PATCH", "/keys/a", "GET, HEAD, PUT, DELETE, OPTIONS"),
                                ("PUT", "/key-count", reads), ("DELETE", "/shards", reads),
                                ("PUT", "/shards/1", reads), ("GET", "/view-change",
                                                             "PUT, OPTIONS")):
        answer = server.request(method, "/kv-store" + path, "{}")
        same((answer.status, answer.headers["Allow"]), (405, allow), method + path)
        same(answer.json()["causal-context"], {})
    for path in ("", "/", "/none", "/key-count/", "/keysx", "/shards/0", "/shards/-1", "/shards/",
                 "/shards/01", "/shards/1/", "/shards/x", "/shards/99999999999999999999",
                 "/shards/%31", "/view-change/"):
        same(ask(server, "GET", path)[0], 404, path)
    same(server.request("GET", "/kv-storex").headers["Content-Type"], "application/problem+json")


def large_values_have_a_limit(server):
    same(ask(server, "PUT", "/keys/kv-large", {"value": "v" * 2097152})[0], 201)
    same(len(ask(server, "GET", "/keys/kv-large")[1]["value"]), 2097152)
    same(ask(server, "PUT", "/keys/kv-large", {"value": "v" * 2097153})[0], 413)
    same(ask(server, "PUT", "/keys/kv-large", '{"value":"%s"}' % ("\\u0001" * 2097152))[0], 200)
    same(ask(server, "GET", "/keys/kv-large")[1]["value"], "\x01" * 2097152)
    same(ask(server, "PUT", "/keys/kv-large", {"value": "v", "x": "x" * 14000000})[0], 413)
    same(ask(server, "DELETE", "/keys/kv-large")[0], 200)


def pipelined_requests_are_answered_in_order(server):
    body = b'{"value":"1"}'
    count = 200
    text = b"".join(b"PUT /kv-store/keys/kv-p%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                    b"GET /kv-store/keys/kv-p%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
                    b"GET /kv-store/shards/1 HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"DELETE /kv-store/keys/kv-p%d HTTP/1.1\r\nHost: x\r\n%s\r\n"
                    % (i, len(body), body, i, i, b"" if i + 1 < count else
                       b"Connection: close\r\n") for i in range(count))
    sock = connect(("127.0.0.1", server.http), 30)
    threading.Thread(target=sock.sendall, args=(text,)).start()
    got = b""
    while True:
        more = sock.recv(1 << 16)
        if not more:
            break
        got += more
    sock.close()
    words = [part.split(b'"')[1] for part in got.split(b'{"message":')[1:]]
    same(words, [b"Added successfully", b"Retrieved successfully",
                 b"Shard information retrieved successfully", b"Deleted successfully"] * count)


CASES = (a_key_lives_its_life, the_bytes_are_those_of_the_contract, an_expired_key_is_added_anew,
         many_who_write_one_new_key_add_it_once, its_keys_are_those_of_the_other_doors,
         what_is_wrong_with_a_put_is_said, what_is_wrong_with_a_key_is_said,
         reads_and_deletes_may_have_a_body, a_state_not_reached_is_refused_and_nothing_is_done,
         a_body_wins_over_the_header, a_header_that_is_no_context_is_a_bad_body,
         each_answer_has_what_was_seen, the_other_doors_take_contexts_too,
         what_is_not_served_is_told_in_its_own_words, large_values_have_a_limit,
         pipelined_requests_are_answered_in_order)


def keys_fall_into_shards():
    server = Server()
    try:
        same(ask(server, "GET", "/key-count")[1],
             {"message": "Key count retrieved successfully", "key-count": 0})
        status, got, _ = ask(server, "GET", "/shards/1")
        same((status, got), (200, {"message": "Shard information retrieved successfully",
                                   "shard-id": 1, "key-count": 0,
                                   "replicas": ["127.0.0.1:%d" % server.http]}))
        entries = {"k%04d" % i: "v" for i in range(2500)}
        for start in range(0, 2500, 500):
            keys = sorted(entries)[start:start + 500]
            server.rpc("Storage.SetMany", {"type": "hdd", "entries": {k: "v" for k in keys}})
        server.request("PUT", "/api/other/k", "v")
        server.request("PUT", "/api/default/k?type=memory", "v")
        same(ask(server, "GET", "/key-count")[1]["key-count"], 2500, "three pages of a listing")
        view = {"view": ["a:1", "b:2", "c:3", "d:4", "[::1]:5"], "repl-factor": 2}
        status, got, seen = ask(server, "PUT", "/view-change", view)
        same((status, got["message"]), (200, "View change successful"))
        same([(s["shard-id"], s["replicas"]) for s in got["shards"]],
             [(1, ["a:1", "b:2"]), (2, ["c:3", "d:4", "[::1]:5"])])
        same(sum(s["key-count"] for s in got["shards"]), 2500)
        check(all(s["key-count"] > 800 for s in got["shards"]), "%r" % got["shards"])
        same(ask(server, "GET", "/shards")[1],
             {"message": "Shard membership retrieved successfully", "shards": [1, 2]})
        for shard in got["shards"]:
            same(ask(server, "GET", "/shards/%d" % shard["shard-id"], context=seen)[1],
                 dict(shard, message="Shard information retrieved successfully"))
        same(ask(server, "GET", "/shards/3")[:2],
             (404, error("GET", "Shard does not exist")))
        same(ask(server, "GET", "/key-count")[1]["key-count"], 2500, "no key was moved")
        same(server.stop(), 0)
        server.start()
        same(ask(server, "GET", "/shards")[1]["shards"], [1, 2], "it outlives the node")
    finally:
        server.close()


def views_that_are_none_are_refused():
    server = Server()
    try:
        many = ["h%d:1" % i for i in range(4097)]
        for view, factor in ((None, 1), ([], 1), ({}, 1), ("a:1", 1), (1, 1), ([1], 1), ([None], 1),
                             ([["a:1"]], 1), (["a"], 1), (["a:"], 1), ([":1"], 1), (["a:0"], 1),
                             (["a:65536"], 1), (["a:-1"], 1), (["a:1x"], 1), (["a b:1"], 1),
                             (["a:1", "a:1"], 1), (["::1:1"], 1), (["[]:1"], 1), (["a,b:1"], 1),
                             (["a\u0000:1"], 1), (["é:1"], 1), (["a" * 256 + ":1"], 1), (many, 1),
                             (["a:1"], 0), (["a:1"], 2), (["a:1"], -1), (["a:1"], None),
                             (["a:1"], "1"), (["a:1"], 1.0), (["a:1"], True),
                             (["a:1"], 4294967297), (["a:1"], 1 << 62)):
            body = {"view": view, "repl-factor": factor}
            for name in ("view", "repl-factor"):
                if body[name] is None:
                    del body[name]
            status, got, _ = ask(server, "PUT", "/view-change", body)
            same((status, got["message"]), (400, "Error in PUT"), repr(body)[:80])
            check(got["error"], "an error")
        for body in ("", "[]", "x", "{"):
            same(ask(server, "PUT", "/view-change", body)[:2], (400, error("PUT", UNPARSED)))
        same(ask(server, "GET", "/shards")[1]["shards"], [1], "none was taken")
        status, got, _ = ask(server, "PUT", "/view-change", {"view": many[1:], "repl-factor": 1})
        same((status, len(got["shards"])), (200, 4096))
        same(len(ask(server, "GET", "/shards")[1]["shards"]), 4096)
        server.request("PUT", "/api/kv-store-view/view", "rubbish")
        status, got, _ = ask(server, "GET", "/shards")
        same((status, got["message"]), (500, "Error in GET"), "a view that another door spoiled")
        same(ask(server, "PUT", "/view-change", {"view": ["a:1"], "repl-factor": 1})[0], 200)
        same(ask(server, "GET", "/shards/1")[1]["replicas"], ["a:1"])
    finally:
        server.close()


def the_view_is_configured_as_key_value_stores():
    view = "10.0.0.1:8080,10.0.0.2:8080, 10.0.0.3:8080 ,10.0.0.4:8080"
    for env, flags in (({"VIEW": view, "REPL_FACTOR": "2", "ADDRESS": "10.0.0.1"}, ()),
                       ({"VIEW": view, "REPL_FACTOR": "2", "ADDRESS": "10.0.0.1:80"}, ()),
                       ({"HATI_VIEW": view, "HATI_REPL_FACTOR": "2"}, ()),
                       ({}, ("--view", view, "--repl-factor", "2"))):
        server = Server(*flags, env=env)
        try:
            same([ask(server, "GET", "/shards/%d" % i)[1]["replicas"] for i in (1, 2)],
                 [["10.0.0.1:8080", "10.0.0.2:8080"], ["10.0.0.3:8080", "10.0.0.4:8080"]])
            ask(server, "PUT", "/view-change", {"view": ["a:1"], "repl-factor": 1})
            same(ask(server, "GET", "/shards/1")[1]["replicas"], ["a:1"], "a view change wins")
        finally:
            server.close()
    server = Server("--advertise", "node-1.example:443")
    try:
        same(ask(server, "GET", "/shards/1")[1]["replicas"], ["node-1.example:443"])
    finally:
        server.close()
    unused = {"PORT": "x", "REPL_FACTOR": "x"}
    if not Server.engine:  # where nodes of an engine register by it
        unused["ADDRESS"] = "#"
    server = Server(env=unused)
    server.close()
    for env in ({"VIEW": "a"}, {"VIEW": "a:1,"}, {"VIEW": "a:1,a:1"}, {"VIEW": "a:1",
                "REPL_FACTOR": "2"}, {"VIEW": "a:1", "REPL_FACTOR": "0"},
                {"VIEW": "a:1", "PORT": "x"}, {"VIEW": "a:1", "ADDRESS": "a b"}):
        try:
            Server(env=env).close()
        except Failure as failure:
            check("did not start" in str(failure), str(failure))
        else:
            raise Failure("%r was taken" % env)


def tokens_decide_at_this_door_too():
    server = Server(env={"HATI_JWT_SECRET": SECRET})

    def token(scope=None):
        claims = {"workspace": WORKSPACE, "exp": int(time.time()) + 600}
        return sign(dict(claims, scope=scope) if scope else claims, SECRET)

    everything = token()
    view = {"view": ["a:1"], "repl-factor": 1}
    try:
        for method, path, body in REQUESTS + (("GET", "/none", None), ("POST", "/shards", None)):
            for bad in (None, "x", token()[:-2]):
                answer = server.request(method, "/kv-store" + path, json.dumps(body or {}),
                                        token=bad)
                same(answer.status, 401, method + path)
                same(answer.headers["WWW-Authenticate"], "Bearer")
                same(answer.json()["message"], "Error in " + method)
                same(answer.json()["causal-context"], {}, "nothing is told")
        same(ask(server, "PUT", "/keys/a", {"value": "1"}, token=everything)[0], 201)
        for scope, read, write in (("kv:read", 200, 403), ("kv:write", 403, 200),
                                   ("kv:read kv:write", 200, 200), ("kv:read:default", 200, 403),
                                   ("kv:read:other", 403, 403), ("broker:publish", 403, 403)):
            good = token(scope)
            same(ask(server, "PUT", "/keys/a", {"value": "1"}, token=good)[0], write, scope)
            for path in ("/keys/a", "/key-count", "/shards", "/shards/1"):
                status, got, seen = ask(server, "GET", path, token=good)
                same(status, read, scope + path)
                check(status == 200 or not seen, "nothing is told to %s" % scope)
            changes = 200 if read == write == 200 else 403
            same(ask(server, "PUT", "/view-change", view, token=good)[0], changes, scope)
            same(ask(server, "DELETE", "/keys/none", token=good)[0],
                 404 if write == 200 else 403, scope)
        same(ask(server, "GET", "/keys/a", context=FAR, token=token("kv:write"))[0], 403,
             "who may not is told so first")
    finally:
        server.close()


def contexts_outlive_the_node():
    server = Server()
    try:
        contexts = [put(server, "k%d" % i, "v") for i in range(20)]
        server.kill()
        server.start()
        for seen in contexts:
            same(ask(server, "GET", "/keys/k19", context=seen)[:2][0], 200)
        later = put(server, "k", "v", context=contexts[-1])
        same(ask(server, "GET", "/keys/k", header=json.dumps(later))[0], 200)
    finally:
        server.close()


def callers_who_hang_up_take_nothing_with_them():
    server = Server()
    try:
        entries = {"k%04d" % i: "v" for i in range(1000)}
        for start in range(5):
            server.rpc("Storage.SetMany", {"type": "hdd", "entries": {
                "%d%s" % (start, k): "v" for k in entries}})
        for i in range(200):
            sock = connect(("127.0.0.1", server.http), 30)
            sock.sendall(b"GET /kv-store/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (
                (b"key-count", b"shards/1")[i % 2]))
            if i % 3 == 0:
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        same(ask(server, "GET", "/key-count")[1]["key-count"], 5000)
        same(server.stop(), 0)
    finally:
        server.close()


ALONE = (keys_fall_into_shards, views_that_are_none_are_refused,
         the_view_is_configured_as_key_value_stores, tokens_decide_at_this_door_too,
         contexts_outlive_the_node, callers_who_hang_up_take_nothing_with_them)


def run(runner, server):
    for case in CASES:
        runner.case("kv-store: " + case.__name__, lambda c=case: c(server))


def run_alone(runner):
    for case in ALONE:
        runner.case("kv-store: " + case.__name__, case)
