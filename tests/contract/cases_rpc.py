# SPDX-License-Identifier: MIT
"""JSON-RPC over HTTP: the specification's examples and the contract's edges."""
import json

from harness import check, same


def error_of(server, body, status=200, **options):
    answer = server.rpc_raw(body if isinstance(body, str) else json.dumps(body), **options)
    same(answer.status, status, "status of %r" % (body if isinstance(body, str) else body,))
    got = answer.json()
    check(isinstance(got, dict) and "error" in got and "result" not in got, "no error: %r" % got)
    return got


def bad_requests_have_the_standard_codes(server):
    table = [
        ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', -32700, None),
        ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', -32600, None),
        ("[]", -32600, None),
        ('{"jsonrpc":"2.0","id":5,"method":"No.Such"}', -32601, 5),
        ('{"jsonrpc":"2.0","id":6,"method":"Storage.Get","params":{"type":"memory"}}', -32602, 6),
        ('{"jsonrpc":"2.0","id":"x","method":"Storage.Get","params":{"type":"memory","key":"a",'
         '"nosuch":1}}', -32602, "x"),
        ('{"jsonrpc":"2.0","id":7,"method":"Storage.Get","params":null}', -32600, None),
        ('{"jsonrpc":"2.0","id":true,"method":"Server.Ping"}', -32600, None),
        ('{"jsonrpc":"2.0","id":[1],"method":"Server.Ping"}', -32600, None),
        ('{"jsonrpc":"1.9","id":8,"method":"Server.Ping"}', -32600, None),
        ('{"jsonrpc":"2.0","id":9,"method":"Storage.Get","params":{"type":"disk","key":"a"}}',
         -32002, 9),
        ('{"jsonrpc":"2.0","id":9,"method":"Storage.Get","params":{"type":"hdd","key":"none"}}',
         -32001, 9),
        ('{"jsonrpc":"2.0","id":9,"method":"Storage.Get","params":{"type":"hdd","key":""}}',
         -32014, 9),
        ("[" * 65 + "]" * 65, -32700, None),
        ("", None, None),
    ]
    for body, code, number in table:
        if code is None:
            continue
        got = error_of(server, body)
        if got["error"]["code"] not in ((-32600, -32700) if number is None else (code,)) or (
                number is None and code in (-32600,) and got["error"]["code"] != -32600):
            same(got["error"]["code"], code, body[:60])
        if number is not None:
            same(got["id"], number, "id of " + body[:60])
            same(got["jsonrpc"], "2.0")
            check(isinstance(got["error"]["message"], str), "message")


def batches(server):
    body = json.dumps([
        {"jsonrpc": "2.0", "id": "1", "method": "Storage.Set",
         "params": {"type": "memory", "key": "b", "value": "1"}},
        {"jsonrpc": "2.0", "method": "Storage.Set", "params": ["memory", "b", "2"]},
        {"foo": "boo"}, 1,
        {"jsonrpc": "2.0", "id": "5", "method": "foo.get"},
        {"jsonrpc": "2.0", "id": None, "method": "Storage.Get",
         "params": {"type": "memory", "key": "b"}}])
    got = server.rpc_raw(body).json()
    same(len(got), 5, "answers")
    by_id = {json.dumps(one.get("id")): one for one in got}
    same(by_id['"1"']["result"], True)
    same(by_id['"5"']["error"]["code"], -32601)
    values = [one["result"] for one in got if one.get("result") not in (None, True)]
    same(values, ["2"], "in order")
    answer = server.rpc_raw('[{"jsonrpc":"2.0","method":"Server.Ping"}]')
    same((answer.status, answer.body), (200, b""), "a batch of notifications")
    answer = server.rpc_raw('{"jsonrpc":"2.0","method":"Storage.Get"}')
    same((answer.status, answer.body), (200, b""), "a notification")
    same([one["error"]["code"] for one in server.rpc_raw("[1,2,3]").json()], [-32600] * 3)
    many = [{"jsonrpc": "2.0", "id": i, "method": "Storage.Set",
             "params": ["hdd", "many%d" % i, "1"]} for i in range(1000)]
    same([one["result"] for one in server.rpc_raw(json.dumps(many)).json()], [True] * 1000)
    same(error_of(server, many + many[:1])["error"]["code"], -32600, "1001 in a batch")


def several_messages_in_one_body(server):
    body = ('{"method":"Storage.Set","params":[{"type":"hdd","key":"go","value":"1","ttl":"0"}],'
            '"id":1}\n{"method":"Storage.Get","params":[{"type":"hdd","key":"go"}],"id":2} '
            '{"method":"Storage.Get","params":[{"type":"hdd","key":"nope"}],"id":3}')
    lines = server.rpc_raw(body, path="/").body.splitlines()
    same([json.loads(line) for line in lines],
         [{"id": 1, "result": True, "error": None}, {"id": 2, "result": "1", "error": None},
          {"id": 3, "result": None, "error": "KEY_NOT_EXIST"}])


def methods(server):
    call = server.rpc
    same(call("Server.Ping")["result"], "pong")
    check("version" in call("Server.Stats")["result"], "stats")
    big = call("Storage.Set", ["memory", "m", "x" * (2 * 1024 * 1024 + 1)])["error"]
    same((big["code"], big["message"].split(":")[0]), (-32004, "TOO_LARGE"))
    same(call("Storage.Set", ["hdd", "m", "v", "60000"])["result"], True)
    entry = call("Storage.GetEntry", {"type": "hdd", "key": "m"})["result"]
    same(sorted(entry), ["etag", "revision", "ttl", "value"])
    same(entry["etag"], "9e3669d19b675bd57058fd4664205d2a")
    check(0 < entry["ttl"] <= 60000, "ttl")
    bad = call("Storage.Set", {"type": "hdd", "key": "m", "value": "w",
                               "ifRevision": entry["revision"] + 1})
    same(bad["error"]["code"], -32003)
    same(call("Storage.Set", {"type": "hdd", "key": "m", "value": "w",
                              "ifRevision": entry["revision"]})["result"], True)
    same(call("Storage.Set", {"type": "hdd", "key": "m", "value": "x", "ifAbsent": True})
         ["error"]["code"], -32003)
    same(call("Storage.Set", {"type": "hdd", "key": "m", "value": "x",
                              "ifEtag": "f1290186a5d0b1ceab27f4e77c0c5d68"})["result"], True)
    same(call("Storage.SetMany", {"type": "hdd", "namespace": "sm", "entries": {
        "a": "1", "b": {"value": "AP8=", "encoding": "base64", "ttl": 50000}}})["result"], 2)
    same(call("Storage.GetMany", {"type": "hdd", "namespace": "sm", "keys": ["a", "b", "c"]})
         ["result"], {"a": "1", "b": {"value": "AP8=", "encoding": "base64"}})
    twice = server.rpc_raw('{"jsonrpc":"2.0","id":1,"method":"Storage.GetMany",'
                           '"params":{"type":"hdd","namespace":"sm","keys":["a","a"]}}').body
    same(twice.count(b'"a"'), 1, "a key asked for twice")
    page = call("Storage.List", {"type": "hdd", "namespace": "sm", "limit": 1})["result"]
    same(page["keys"], ["a"])
    page = call("Storage.List", {"type": "hdd", "namespace": "sm", "limit": 1,
                                 "cursor": page["cursor"]})["result"]
    same(page, {"keys": ["b"]})
    same(call("Storage.Delete", ["hdd", "m"])["result"], True)
    same(call("Storage.Delete", ["hdd", "m"])["result"], False)
    same(call("Storage.Set", {"type": "hdd", "key": "m", "value": "?", "encoding": "base64"})
         ["error"]["code"], -32602)


def content_types(server):
    ping = '{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}'
    for good in ("application/json", "application/json; charset=utf-8", "application/json-rpc",
                 "application/jsonrequest", "APPLICATION/JSON"):
        same(server.rpc_raw(ping, content_type=good).status, 200, good)
    same(server.request("POST", "/rpc", ping).status, 200, "none")
    for bad in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = server.rpc_raw(ping, content_type=bad)
        same(answer.status, 415, bad)
        check("error" in answer.json(), "a JSON-RPC error body")
    answer = server.request("GET", "/rpc")
    same(answer.status, 405)
    check("POST" in answer.headers["Allow"], "Allow")
    check(server.rpc_raw(ping).body.endswith(b"\n"), "newline")
    same(server.rpc_raw(ping).headers["Content-Type"].split(";")[0], "application/json")


CASES = [bad_requests_have_the_standard_codes, batches, several_messages_in_one_body, methods,
         content_types]


def run(runner, server):
    for case in CASES:
        runner.case(case.__name__, lambda c=case: c(server))
