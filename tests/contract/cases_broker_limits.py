# SPDX-License-Identifier: MIT
"""At the edges of the broker's doors: what a newcomer types, what a hostile one sends."""
import json

from broker_doors import fresh
from harness import check, same

WORKSPACE = "11111111-2222-3333-4444-555555555555"
LIMIT = 2 * 1024 * 1024


def json_bodies_are_taken_under_any_type(server):
    name = fresh("typed")
    router, queue = "/broker/routers/" + name, "/broker/queues/" + name
    for type in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=x"):
        for method, path, body, wanted in (
                ("PUT", router, '{"type":"topic"}', (200, 201)),
                ("PUT", queue, '{"type":"memory"}', (200, 201)),
                ("POST", router + "/batch", '{"messages":[]}', (200,)),
                ("POST", queue + "/ack", '{"receipts":[]}', (200,)),
                ("POST", "/api2/%s/n" % WORKSPACE, '{"ops":[]}', (200,)),
                ("PUT", queue, "type=memory", (400,)), ("PUT", queue, "{}{}", (400,))):
            answer = server.request(method, path, body, {"Content-Type": type})
            check(answer.status in wanted, "%s %s %r: %d" % (method, path, type, answer.status))
        if not type.startswith("application/json"):
            same(server.rpc_raw("{}", content_type=type).status, 415, "JSON-RPC as " + type)


def a_payload_may_have_the_limit_and_no_byte_more(server):
    name = fresh("large")
    line = server.line()
    same(line.ask("CREATEQUEUE %s memory" % name), "+OK")
    batch = "/broker/routers/default/batch"
    for size, status, code in ((LIMIT, 201, None), (LIMIT + 1, 413, "VALUE_TOO_LARGE")):
        payload = "x" * size
        answer = server.request("POST", "/broker/routers/default/messages?key=" + name, payload)
        same(answer.status, status, "REST")
        for words in ("PUBLISH default %s %s" % (name, payload),
                      "PUBLISHB default %s %d\n%s" % (name, size, payload)):
            reply = line.ask(words)
            check(reply.startswith("+ERR " + code if code else "+OK "), reply[:60])
            same(line.ask("PING"), "+PONG", "behind it")
        answer = server.rpc("Broker.Publish", {"router": "default", "key": name,
                                               "payload": payload})
        same(answer.get("error", {}).get("code"), -32004 if code else None, "JSON-RPC")
        messages = [{"key": name, "payload": payload}, {"key": name, "payload": "small"}]
        results = server.request("POST", batch, json.dumps({"messages": messages})).json()["results"]
        same(results[0].get("error", {}).get("code"), code, "in a batch")
        check("id" in results[1], "the one behind it went through")
    same(line.ask("FLUSH " + name), "+OK 7")
    line.close()


def lengths_that_are_none_are_refused_and_the_connection_lives(server):
    line = server.line()
    for length in ("-1", "x", "", "99999999999999999999", "1e3", "0x1"):
        reply = line.ask("PUBLISHB default q " + length)
        check(reply.startswith("+ERR SYNTAX "), "%r: %s" % (length, reply))
        same(line.ask("PING"), "+PONG", "behind " + repr(length))
    line.close()


def pushed_messages_and_replies_do_not_mix(server):
    name, count = fresh("mix"), 2000
    line = server.line()
    same(line.ask("CREATEQUEUE %s memory" % name), "+OK")
    line.send("SUBSCRIBE %s 7\n" % name + "".join(
        "PUBLISH default %s m%d\nSET memory 0 %s %d\nGET memory %s\n" % (name, i, name, i, name)
        for i in range(count)))
    fine, values, payloads = 0, [], []
    while len(payloads) < count or fine < 1 + 3 * count:  # an ACK's reply each, too
        head = line.read_line()
        if head.startswith(b"MSG "):
            words = head.split()
            payloads.append(line.read(int(words[4]) + 1))
            line.send(b"ACK %s %s\n" % (name.encode(), words[1]))
        elif head.startswith(b"+OK"):
            fine += 1
        else:
            values.append(int(head))
    same(values, list(range(count)), "values")
    same(payloads, [b"m%d\n" % i for i in range(count)], "payloads")
    line.close()


def a_queue_that_buries_in_itself_is_refused(server):
    name = fresh("self")
    line = server.line()
    check(line.ask("CREATEQUEUE %s hdd ttl=5 dead-letter=%s" % (name, name))
          .startswith("+ERR SYNTAX "), "lines")
    body = json.dumps({"dead-letter": name})
    same(server.request("PUT", "/broker/queues/" + name, body).status, 400, "REST")
    answer = server.rpc("Broker.CreateQueue", {"queue": name, "dead-letter": name})
    same(answer["error"]["code"], -32602, "JSON-RPC")
    line.close()


def a_batch_mixes_keys_and_queues_in_order(server):
    name, calls = fresh("order"), []
    same(server.rpc("Broker.CreateQueue", [name])["result"]["type"], "hdd")
    for i in range(20):
        for method, params in (("Storage.Set", ["hdd", name, str(i)]),
                               ("Broker.Publish", ["default", name, "m%d" % i]),
                               ("Storage.Get", ["hdd", name]), ("Broker.Receive", [name])):
            call = {"jsonrpc": "2.0", "method": method, "params": params}
            if method in ("Storage.Get", "Broker.Receive") or i % 2:
                call["id"] = len(calls)
            calls.append(call)
    answers = {answer["id"]: answer["result"] for answer in server.rpc_raw(json.dumps(calls)).json()}
    same(list(answers), [call["id"] for call in calls if "id" in call], "who is answered")
    for i in range(20):
        same(answers[4 * i + 2], str(i), "the key")
        payloads = [message["payload"] for message in answers[4 * i + 3]["messages"]]
        same(payloads, ["m%d" % i], "the message")


CASES = [json_bodies_are_taken_under_any_type, a_payload_may_have_the_limit_and_no_byte_more,
         lengths_that_are_none_are_refused_and_the_connection_lives,
         pushed_messages_and_replies_do_not_mix, a_queue_that_buries_in_itself_is_refused,
         a_batch_mixes_keys_and_queues_in_order]


def run(runner, server):
    for case in CASES:
        runner.case(case.__name__, lambda case=case: case(server))
