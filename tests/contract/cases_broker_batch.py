# SPDX-License-Identifier: MIT
"""Keys and queues changed together, all or none; through JSON-RPC and REST."""
import base64
import json
import threading

from broker_doors import RpcBroker, fresh
from cases_broker import payloads, queue_of, take
from doors import WORKSPACE
from harness import check, same, settles

OTHER = "00000000-0000-0000-0000-0000000000ba"


class RpcBatch:
    name = "JSON-RPC"

    def __init__(self, server, namespace):
        self.server, self.namespace = server, namespace

    def run(self, *ops, **more):
        """(results, None) or (None, (code word, index of the op))"""
        answer = self.server.rpc("Storage.Batch", dict({"namespace": self.namespace, "ops": ops},
                                                       **more))
        if "error" in answer:
            return None, (answer["error"]["message"].split(":")[0].split(" ")[0],
                          answer["error"].get("data", {}).get("index"))
        same(list(answer["result"]), ["results"], "members")
        return answer["result"]["results"], None


class RestBatch(RpcBatch):
    name = "REST"

    def run(self, *ops, workspace=WORKSPACE, **more):
        answer = self.server.request("POST", "/api2/%s/%s" % (workspace, self.namespace),
                                     json.dumps(dict({"ops": ops}, **more)))
        if answer.status != 200:
            problem = answer.json()
            same(problem["status"], answer.status, "status in the problem")
            return None, (problem["code"], problem.get("index"))
        return answer.json()["results"], None

    def status(self, *ops):
        return self.server.request("POST", "/api2/%s/%s" % (WORKSPACE, self.namespace),
                                   json.dumps({"ops": ops})).status


def get(server, namespace, key, workspace=WORKSPACE):
    answer = server.request("GET", "/api2/%s/%s/%s" % (workspace, namespace, key))
    return answer.body if answer.status == 200 else None


def set_op(key, value, **more):
    return dict({"op": "set", "key": key, "value": value}, **more)


def publish_op(key, payload, router="default", **more):
    return dict({"op": "publish", "router": router, "routing-key": key, "payload": payload}, **more)


def all_ops_are_carried_out_in_order(server, door):
    broker = RpcBroker(server)
    work, done = queue_of(broker, "hdd"), queue_of(broker, "hdd")
    broker.publish("default", work, b"order 1")
    message = take(broker, work)[0]
    results, failure = door.run(
        set_op("a", "1"), set_op("b", base64.b64encode(b"\xff\0").decode(), encoding="base64"),
        set_op("t", "short", ttl=600000), set_op("gone", "x"), {"op": "delete", "key": "gone"},
        {"op": "delete", "key": "never"}, {"op": "incr", "key": "n", "by": 5},
        {"op": "incr", "key": "n"}, {"op": "check", "key": "nosuch", "absent": True},
        publish_op(done, "order 1 done", id="m1", headers={"a": 1}, priority=2),
        publish_op(done, "/w==", encoding="base64"), publish_op("nobody", "x"),
        {"op": "ack", "queue": work, "receipt": message.receipt})
    same(failure, None, "the batch")
    same(len(results), 13, "one result for each op")
    same([get(server, door.namespace, key) for key in ("a", "b", "t", "gone", "n")],
         [b"1", b"\xff\0", b"short", None, b"6"], "keys")
    came = take(broker, done, 2)
    same(payloads(came), [b"order 1 done", b"\xff"], "messages")
    same((came[0].more["id"], came[0].more["headers"]), ("m1", {"a": 1}), "options")
    same(broker.ack(work, message.receipt), "RECEIPT_INVALID", "it is acked")
    same(broker.get_queue(work)[0]["leased"], 0, "leased")
    settles(lambda: broker.get_queue(work)[0]["acked"], 1, "acked")
    text = json.dumps(results)
    check("m1" in text and "6" in text, "results tell ids and numbers: " + text)


def nothing_is_done_where_one_fails(server, door):
    broker = RpcBroker(server)
    queue, full = queue_of(broker, "hdd"), queue_of(broker, "hdd", max_length=1)
    broker.publish("default", full, b"1")
    broker.publish("default", queue, b"work")
    message = take(broker, queue)[0]
    door.run(set_op("base", "word"), set_op("there", "1"))
    head = [set_op("half", "1"), publish_op(queue, "half"), {"op": "incr", "key": "half-n"},
            {"op": "delete", "key": "there"},
            {"op": "ack", "queue": queue, "receipt": message.receipt}]
    for bad, code in (({"op": "check", "key": "base", "absent": True}, "PRECONDITION_FAILED"),
                      ({"op": "check", "key": "base", "etag": "0" * 32}, "PRECONDITION_FAILED"),
                      ({"op": "check", "key": "base", "revision": 1 << 60}, "PRECONDITION_FAILED"),
                      ({"op": "check", "key": "half", "absent": True}, "PRECONDITION_FAILED"),
                      ({"op": "incr", "key": "base"}, "NOT_A_NUMBER"),
                      (publish_op("k", "x", router="nosuch"), "ROUTER_NOT_EXIST"),
                      (publish_op(full, "x"), "QUEUE_FULL"),
                      ({"op": "ack", "queue": queue, "receipt": "0" * 32}, "RECEIPT_INVALID"),
                      ({"op": "ack", "queue": queue, "receipt": message.receipt},
                       "RECEIPT_INVALID"),
                      ({"op": "ack", "queue": "nosuch", "receipt": "0" * 32}, "QUEUE_NOT_EXIST"),
                      ({"op": "set", "key": "", "value": "x"}, "KEY_INVALID"),
                      ({"op": "set", "key": "k"}, "SYNTAX"), ({"op": "nosuch"}, "SYNTAX"),
                      ({"op": "set", "key": "k", "value": 5}, "SYNTAX"), ("text", "SYNTAX")):
        for ops, index in ((head + [bad], 5), (head + [bad, set_op("tail", "1")], 5)):
            results, failure = door.run(*ops)
            check(failure, "%r: %r" % (bad, results))
            same(failure[0], code, "%r" % (bad,))
            same(failure[1], index, "index of %r" % (bad,))
        same([get(server, door.namespace, key) for key in ("half", "half-n", "there", "tail")],
             [None, None, b"1", None], "keys after %r" % (bad,))
        got = broker.get_queue(queue)[0]
        same((got["ready"], got["leased"]), (0, 1), "queue after %r" % (bad,))
        settles(lambda: broker.get_queue(queue)[0]["published"], 1, "published after %r" % (bad,))
    same(broker.extend(queue, message.receipt, 50000), None, "the receipt is still good")
    same(broker.get_queue(full)[0]["ready"], 1, "the full one")
    results, failure = door.run(*head)
    same(failure, None, "without the bad one it goes through")


def checks_see_what_the_ops_before_them_did(server, door):
    same(door.run(set_op("c", "1"), {"op": "delete", "key": "c"},
                  {"op": "check", "key": "c", "absent": True}, set_op("c", "2"))[1], None, "absent")
    etag = server.request("GET", "/api2/%s/%s/c" % (WORKSPACE, door.namespace)).headers
    md5, revision = etag["ETag"].strip('"'), int(etag["Hati-Revision"])
    same(door.run({"op": "check", "key": "c", "etag": md5},
                  {"op": "check", "key": "c", "revision": revision}, set_op("c", "3"))[1], None,
         "etag and revision")
    same(door.run({"op": "check", "key": "c", "etag": md5}, set_op("c", "4"))[1],
         ("PRECONDITION_FAILED", 0), "an old etag")
    same(get(server, door.namespace, "c"), b"3", "unchanged")


def a_fan_out_is_part_of_it(server, door):
    broker, router = RpcBroker(server), fresh("fanout")
    broker.create_router(router, "fanout")
    queues = [queue_of(broker, "hdd") for _ in range(3)]
    for queue in queues:
        broker.bind(router, queue)
    same(door.run(set_op("f", "1"), publish_op("", "x", router=router),
                  publish_op("", "y", router=router))[1], None, "batch")
    for queue in queues:
        same(payloads(take(broker, queue, 2)), [b"x", b"y"], "fan-out")


def one_of_two_batches_on_a_condition_wins(server, door):
    broker = RpcBroker(server)
    queue = queue_of(broker, "hdd")
    for round in range(10):
        outcomes, go = [], threading.Barrier(4)

        def race(number):
            go.wait()
            outcomes.append(door.run({"op": "check", "key": "race%d" % round, "absent": True},
                                     set_op("race%d" % round, str(number)),
                                     publish_op(queue, "%d %d" % (round, number)))[1])

        threads = [threading.Thread(target=race, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(sorted(map(str, outcomes)), sorted(["None"] + 3 * [str(("PRECONDITION_FAILED", 0))]),
             "exactly one")
        winner = get(server, door.namespace, "race%d" % round).decode()
        message = take(broker, queue)[0]
        same(message.payload, ("%d %s" % (round, winner)).encode(), "its message")
        same(broker.ack(queue, message.receipt), None, "ack")


def its_bounds_are_checked(server, door):
    many = [set_op("k%d" % i, "1") for i in range(1001)]
    same(door.run(*many)[1][0], "SYNTAX", "1001 ops")
    results, failure = door.run(*many[:1000])
    same((failure, len(results)), (None, 1000), "1000 ops")
    check(door.run()[1] is None or door.run()[1][0] == "SYNTAX", "no ops")
    check(door.run(set_op("k", "1"), type="memory")[1], "memory is no storage for a batch")
    big = "x" * (2 * 1024 * 1024 + 1)
    check(door.run(set_op("k", big))[1][0] in ("VALUE_TOO_LARGE", "TOO_LARGE"), "too large")
    same(door.run(set_op("w", "1"), workspace=OTHER)[1], None, "another workspace")
    same(get(server, door.namespace, "w", OTHER), b"1", "there")
    same(get(server, door.namespace, "w"), None, "not here")


def statuses_of_a_failed_batch(server, door):
    if door.name != "REST":
        return
    queue = queue_of(RpcBroker(server), "hdd", max_length=1)
    RpcBroker(server).publish("default", queue, b"1")
    for op, status in (({"op": "check", "key": "nosuch", "etag": "0" * 32}, 412),
                       (publish_op("k", "x", router="nosuch"), 404), (publish_op(queue, "x"), 429),
                       ({"op": "ack", "queue": queue, "receipt": "0" * 32}, 404),
                       ({"op": "nosuch"}, 400), (set_op("s", "1"), 200)):
        same(door.status(op), status, str(op))


def many_messages_of_which_a_later_one_waits_for_the_disk(server, door):
    """Its first ones were done at once, and then its caller did not wait for the rest."""
    if door.name != "JSON-RPC":
        return
    queue, memory = fresh("later"), fresh("at-once")
    server.rpc("Broker.CreateQueue", {"queue": queue, "type": "hdd"})
    server.rpc("Broker.CreateQueue", {"queue": memory, "type": "memory"})
    messages = [{"key": key, "payload": "x"} for key in ("nobody", memory, queue, queue)]
    call = {"id": 1, "method": "Broker.PublishMany",
            "params": {"router": "default", "messages": messages}}
    line = server.line()
    for _ in range(50):
        answers = [server.rpc_raw(json.dumps(dict(call, jsonrpc="2.0"))).json(),
                   server.rpc_raw(json.dumps(call)).json(), json.loads(line.ask(json.dumps(call)))]
        for answer in answers:
            same([result["queues"] for result in answer["result"]["results"]], [0, 1, 1, 1], answer)
    line.close()
    for name, count in ((queue, 300), (memory, 150)):
        same(server.rpc("Broker.GetQueue", {"queue": name})["result"]["ready"], count, name)
        server.rpc("Broker.DeleteQueue", {"queue": name})


CASES = [all_ops_are_carried_out_in_order, nothing_is_done_where_one_fails,
         checks_see_what_the_ops_before_them_did, a_fan_out_is_part_of_it,
         one_of_two_batches_on_a_condition_wins, its_bounds_are_checked,
         statuses_of_a_failed_batch, many_messages_of_which_a_later_one_waits_for_the_disk]


def run(runner, server):
    for make in (RpcBatch, RestBatch):
        for case in CASES:
            runner.case("%s: %s" % (case.__name__, make.name),
                        lambda c=case, m=make: c(server, m(server, fresh("batch"))))
