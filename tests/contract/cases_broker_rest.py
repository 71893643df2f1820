# SPDX-License-Identifier: MIT
"""What is a door's own: statuses and headers of REST, codes of JSON-RPC, many at once."""
import json
import time
import urllib.parse

from broker_doors import RestBroker, RpcBroker, fresh
from cases_broker import drain, payloads, queue_of, take
from harness import check, same, settles

def statuses_of_rest(server, storage):
    q, r = fresh("q"), fresh("r")
    queue, router = "/broker/queues/" + q, "/broker/routers/" + r
    options = {"type": storage, "max-length": 2}
    binding = "%s/bindings/%s?pattern=a" % (router, q)
    table = [
        ("GET", queue, None, 404), ("PUT", queue, options, 201), ("PUT", queue, options, 200),
        ("PUT", queue, {"type": storage}, 409), ("GET", queue, None, 200),
        ("PUT", queue, {"type": "disk"}, 400), ("PUT", queue, {"lease": "x"}, 400),
        ("PUT", queue, [], 400), ("PUT", queue, "text", 400), ("POST", queue, {}, 405),
        ("GET", router, None, 404), ("PUT", router, None, 201), ("PUT", router, {}, 200),
        ("PUT", router, {"type": "direct"}, 200), ("PUT", router, {"type": "topic"}, 409),
        ("PUT", router, {"type": "mesh"}, 400), ("GET", router, None, 200),
        ("PUT", binding, None, 201), ("PUT", binding, None, 200), ("DELETE", binding, None, 204),
        ("DELETE", binding, None, 404), ("PUT", binding, None, 201),
        ("PUT", "%s/bindings/nosuch" % router, None, 404),
        ("PUT", "/broker/routers/nosuch/bindings/" + q, None, 404),
        ("PUT", "/broker/routers/default/bindings/" + q, None, 409),
        ("POST", router + "/messages?key=a", None, 201),
        ("POST", router + "/messages?key=b", None, 201),
        ("POST", router + "/messages?key=a&delay=600000", None, 201),
        ("POST", router + "/messages?key=a", None, 429),
        ("POST", router + "/messages?key=a&priority=10", None, 400),
        ("POST", router + "/messages?key=a&delay=-1", None, 400),
        ("POST", "/broker/routers/nosuch/messages?key=a", None, 404),
        ("GET", router + "/messages", None, 405),
        ("GET", queue + "/messages", None, 200), ("GET", queue + "/messages?limit=0", None, 400),
        ("POST", queue + "/receive?max=0", None, 400),
        ("POST", queue + "/receive?wait=-1", None, 400),
        ("GET", queue + "/receive", None, 405),
        ("POST", queue + "/receive?max=10", None, 200),
        ("DELETE", queue + "/messages/nosuch", None, 404),
        ("POST", queue + "/messages/nosuch/nack", None, 404),
        ("POST", queue + "/messages/nosuch/extend?lease=5", None, 404),
        ("POST", queue + "/messages/nosuch/extend", None, 400),
        ("DELETE", queue + "/messages", None, 200), ("POST", queue + "/redrive", None, 200),
        ("POST", queue + "/pause", None, 204), ("POST", queue + "/resume", None, 204),
        ("DELETE", queue, None, 204), ("DELETE", queue, None, 404),
        ("POST", queue + "/receive", None, 404), ("DELETE", queue + "/messages", None, 404),
        ("DELETE", router, None, 204), ("DELETE", router, None, 404),
        ("DELETE", "/broker/routers/default", None, 409),
        ("PUT", "/broker/queues/" + "n" * 256, None, 400), ("PUT", "/broker/queues/a%20b", None, 400),
        ("PUT", "/broker/queues/a%00b", None, 400), ("PUT", "/broker/queues/a%0Ab", None, 400),
        ("PUT", "/broker/queues/%FF", None, 400), ("PUT", "/broker/queues/%zz", None, 400),
        ("GET", "/broker/queues", None, 200), ("GET", "/broker/routers", None, 200),
        ("DELETE", "/broker/queues", None, 405), ("GET", "/broker", None, 404),
        ("GET", "/broker/nosuch", None, 404),
    ]
    for method, path, body, wanted in table:
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        answer = server.request(method, path, text)
        same(answer.status, wanted, "%s %s %s: %r" % (method, path, text, answer.body[:200]))
        if wanted == 429:
            check(int(answer.headers["Retry-After"]) >= 0, "Retry-After")
            same(answer.json()["code"], "QUEUE_FULL", "code")
        if wanted == 405:
            check(answer.headers["Allow"], "Allow")
        if wanted >= 400:
            same(answer.headers.get_content_type(), "application/problem+json", path)


def options_of_a_publish_travel_in_the_query(server, storage):
    door = RestBroker(server)
    queue = queue_of(door, storage)
    path = "/broker/routers/default/messages?key=%s&id=%%C3%%A4+1&priority=3&ttl=600000" % queue
    answer = server.request("POST", path.replace("+", "%2B"), b"\xff",
                            {"Content-Type": "image/png"})
    same((answer.status, answer.json()), (201, {"id": "\u00e4+1", "queues": 1}), "publish")
    message = take(door, queue)[0]
    same(message.payload, b"\xff", "payload")
    same((message.more["id"], message.more["encoding"], message.more["headers"]),
         ("\u00e4+1", "base64", {}), "message")
    check(abs(message.more["published_at"] - time.time() * 1000) < 60000, "published_at in ms")
    same(door.ack(queue, message.receipt), None, "ack")


def codes_of_json_rpc(server, storage):
    door = RpcBroker(server)
    queue, router = queue_of(door, storage, max_length=1), fresh("router")
    door.create_router(router)
    door.publish("default", queue, b"1")
    for method, params, code in (
            ("CreateQueue", {"queue": queue, "type": storage}, -32010),
            ("CreateQueue", {"queue": "a b"}, -32602), ("CreateQueue", {}, -32602),
            ("CreateQueue", {"queue": "x", "type": "disk"}, -32002),
            ("CreateQueue", {"queue": "x", "nosuch": 1}, -32602),
            ("CreateQueue", {"name": "x", "queue": "y"}, -32602),
            ("CreateRouter", {"router": router, "type": "topic"}, -32010),
            ("GetQueue", ["nosuch"], -32009), ("GetRouter", ["nosuch"], -32008),
            ("Publish", ["nosuch", "k", "x"], -32008), ("Publish", ["default", queue], -32602),
            ("Publish", ["default", queue, "x"], -32012),
            ("Publish", {"router": "default", "payload": "%", "encoding": "base64"}, -32602),
            ("Publish", {"router": "default", "payload": "", "headers": []}, -32602),
            ("Publish", {"router": "default", "payload": "", "priority": "high"}, -32602),
            ("Publish", {"router": "default", "payload": "", "headers": {"h": "x" * 70000}}, None),
            ("Receive", {"queue": "nosuch"}, -32009), ("Receive", {"queue": queue, "max": 0}, -32602),
            ("Ack", {"queue": queue, "receipt": "0" * 32}, -32011),
            ("Nack", {"queue": queue, "receipt": "x"}, -32011),
            ("Extend", {"queue": queue, "receipt": "x", "lease": 5}, -32011),
            ("Extend", {"queue": queue, "receipt": "x"}, -32602),
            ("Flush", ["nosuch"], -32009), ("Peek", ["nosuch"], -32009),
            ("NoSuch", [], -32601)):
        answer = server.rpc("Broker." + method, params)
        check("error" in answer, "%s %r: %r" % (method, params, answer))
        if code:
            same(answer["error"]["code"], code, "%s %r" % (method, params))
    for words in (["CreateQueue", {"name": queue, "type": storage, "max-length": 1}],
                  ["GetQueue", {"name": queue}], ["GetQueue", [queue]], ["Flush", {"name": queue}],
                  ["Publish", ["default", queue, "eHg=", "base64"]]):
        answer = server.rpc("Broker." + words[0], words[1])
        check("result" in answer, "%r: %r" % (words, answer))
    same(payloads(take(door, queue)), [b"xx"], "base64, by position")


def net_rpc_of_go_publishes_and_receives(server, storage):
    queue = queue_of(RpcBroker(server), storage)

    def call(method, params):
        return server.rpc_raw(json.dumps({"method": "Broker." + method, "params": [params],
                                          "id": 3})).json()

    answer = call("Publish", {"router": "default", "key": queue, "payload": "hello"})
    same((answer["error"], answer["result"]["queues"]), (None, 1), "Publish")
    answer = call("Receive", {"queue": queue, "wait": 5000})
    message = answer["result"]["messages"][0]
    same(message["payload"], "hello", "Receive")
    same(call("Ack", {"queue": queue, "receipt": message["receipt"]}),
         {"id": 3, "result": True, "error": None}, "Ack")
    same(call("Ack", {"queue": queue, "receipt": message["receipt"]}),
         {"id": 3, "result": None, "error": "RECEIPT_INVALID"}, "Ack again")


def a_batch_of_json_rpc_calls_may_wait(server, storage):
    queue = queue_of(RpcBroker(server), storage)
    calls = [{"jsonrpc": "2.0", "id": 1, "method": "Broker.Receive", "params": [queue, 1, 10]},
             {"jsonrpc": "2.0", "id": 2, "method": "Broker.Publish",
              "params": ["default", queue, "x"]},
             {"jsonrpc": "2.0", "method": "Broker.Publish", "params": ["default", queue, "y"]},
             {"jsonrpc": "2.0", "id": 3, "method": "Server.Ping"}]
    answers = {one["id"]: one["result"] for one in server.rpc_raw(json.dumps(calls)).json()}
    same(sorted(answers), [1, 2, 3], "answers")
    same(answers[2]["queues"], 1, "Publish")
    got = len(answers[1]["messages"])
    same(len(RpcBroker(server).receive(queue, 9)), 2 - got, "the rest")


def headers_travel(server, storage):
    door = RpcBroker(server)
    queue = queue_of(door, storage)
    headers = {"trace": "a\u00e4\n\"", "n": 1.5, "deep": {"a": [1, None, True, {}]}, "": ""}
    same(door.publish("default", queue, b"1", headers=headers)[1], None, "publish")
    same(door.peek(queue)[0]["messages"][0]["headers"], headers, "peeked at")
    message = take(RestBroker(server), queue)[0]
    same(message.more["headers"], headers, "headers")
    same(door.publish("default", queue, b"2", headers={})[1], None, "publish")
    same(take(door, queue)[0].more["headers"], {}, "no headers")
    deep = "[" * 5000 + "]" * 5000
    body = '{"jsonrpc":"2.0","id":1,"method":"Broker.Publish","params":{"router":"default",' \
           '"key":"%s","payload":"","headers":{"a":%s}}}' % (queue, deep)
    check("error" in server.rpc_raw(body).json(), "nested too deep")


def many_are_published_at_once(server, storage):
    door = RpcBroker(server)
    queue = queue_of(door, storage, max_length=1005, dedup_window=600000)
    messages = [{"key": queue, "payload": "0"}, {"key": queue, "payload": "/w==",
                                                 "encoding": "base64", "id": "one"},
                {"key": queue, "payload": "2", "priority": 11}, {"key": queue},
                {"key": queue, "payload": "4", "id": "one"}, {"key": "nosuch", "payload": "5"},
                {"key": queue, "payload": "6", "headers": {"a": 1}, "delay": 0, "ttl": 600000},
                {"key": queue, "payload": "7", "nosuch": 1}, "text"]
    outcomes = [1, 1, "SYNTAX", "SYNTAX", 1, 0, 1, "SYNTAX", "SYNTAX"]

    def outcome(one):
        return one["error"]["code"] if "error" in one else one["queues"]

    for send in (lambda: door.call("Broker.PublishMany", router="default", messages=messages)[0],
                 lambda: server.request("POST", "/broker/routers/default/batch",
                                        json.dumps({"messages": messages})).json()):
        results = send()["results"]
        same([outcome(one) for one in results], outcomes, "outcomes")
        same([results[i]["id"] for i in (1, 4)], ["one", "one"], "ids")
    same(drain(door, queue), [b"0", b"\xff", b"6", b"0", b"6"], "what came")
    many = [{"key": queue, "payload": str(i)} for i in range(1001)]
    answer = server.rpc("Broker.PublishMany", {"router": "default", "messages": many})
    same(answer["error"]["code"], -32602, "1001 messages")
    answer = server.rpc("Broker.PublishMany", {"router": "default", "messages": many[:1000]})
    same([outcome(one) for one in answer["result"]["results"]], [1] * 1000, "1000 messages")
    answer = server.rpc("Broker.PublishMany", {"router": "default", "messages": many[:10]})
    same([outcome(one) for one in answer["result"]["results"]], [1] * 5 + ["QUEUE_FULL"] * 5,
         "a queue that gets full in the middle")
    got = take(door, queue, 1005)
    same(payloads(got), [b"%d" % i for i in list(range(1000)) + list(range(5))], "in order")
    same(server.request("POST", "/broker/routers/nosuch/batch",
                        json.dumps({"messages": many[:2]})).status, 404, "no such router")
    ack_many(server, door, queue, [message.receipt for message in got])


def ack_many(server, door, queue, receipts):
    results = door.call("Broker.AckMany", queue=queue,
                        receipts=[receipts[0], "nonsense", receipts[1], receipts[0]])[0]["results"]
    same([one if one is True else one["error"]["code"] for one in results],
         [True, "RECEIPT_INVALID", True, "RECEIPT_INVALID"], "outcomes")
    answer = server.request("POST", "/broker/queues/%s/ack" % queue,
                            json.dumps({"receipts": receipts[2:1002]}))
    same((answer.status, answer.json()["results"]), (200, [True] * 1000), "a thousand")
    got = door.get_queue(queue)[0]
    same(got["leased"], len(receipts) - 1002, "leased")
    settles(lambda: door.get_queue(queue)[0]["acked"], 1007, "acked")
    same(server.rpc("Broker.AckMany", {"queue": queue, "receipts": ["x"] * 1001})["error"]["code"],
         -32602, "1001 receipts")
    same(door.call("Broker.AckMany", queue="nosuch", receipts=["x"])[1], "QUEUE_NOT_EXIST", "queue")
    door.delete_queue(queue)


def a_payload_over_the_limit_is_413(server, storage):
    door = RestBroker(server)
    queue = queue_of(door, storage)
    path = "/broker/routers/default/messages?key=" + urllib.parse.quote(queue)
    big = b"x" * (2 * 1024 * 1024 + 1)
    answer = server.request("POST", path, big)
    same((answer.status, answer.json()["code"]), (413, "VALUE_TOO_LARGE"), "POST")
    line = server.line()
    line.send(b"PUBLISHB default %s %d\n%s\nPING\n" % (queue.encode(), len(big), big))
    check(line.read_line().startswith(b"+ERR VALUE_TOO_LARGE "), "PUBLISHB")
    same(line.read_line(), b"+PONG\n", "the connection lives on")
    line.close()
    same(door.receive(queue), [], "nothing was queued")


def help_names_every_verb(server, storage):
    line = server.line()
    line.send("HELP\n")
    words = set()
    while True:
        text = line.read_line().decode()
        if text == "+OK\n":
            break
        words.add(text.split(" ")[0].strip())
    line.close()
    for verb in ("CREATEROUTER CREATEQUEUE DELETEROUTER DELETEQUEUE BIND UNBIND PUBLISH PUBLISHB "
                 "RECEIVE SUBSCRIBE UNSUBSCRIBE ACK NACK EXTEND GETROUTER GETQUEUE LISTROUTER "
                 "LISTQUEUE FLUSH PEEK PAUSE RESUME REDRIVE").split():
        check(verb in words, "HELP does not name " + verb)


CASES = [statuses_of_rest, options_of_a_publish_travel_in_the_query, codes_of_json_rpc,
         net_rpc_of_go_publishes_and_receives, a_batch_of_json_rpc_calls_may_wait, headers_travel,
         many_are_published_at_once, a_payload_over_the_limit_is_413,
         help_names_every_verb]


def run(runner, server):
    for storage in ("memory", "hdd"):
        for case in CASES:
            runner.case("%s, %s" % (case.__name__, storage), lambda c=case: c(server, storage))
