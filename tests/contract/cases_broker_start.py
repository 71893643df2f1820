# SPDX-License-Identifier: MIT
"""The broker across restarts, and who may do what with it."""
import json
import time

from broker_doors import LineBroker, RpcBroker
from cases_auth import SECRET, token
from cases_broker import drain, payloads, queue_of, take
from cases_broker_push import Stream
from harness import PATIENCE, Server, check, same, unhurried, wait_until


def restarted(server, end):
    """Doors of a server that was ended and started again."""
    end()
    server.process.stdout.close()
    server.log.close()
    server.start()
    return LineBroker(server), RpcBroker(server)


def fill(rpc):
    """Definitions and messages of every kind; what must be there afterwards."""
    rpc.create_router("logs", "topic")
    rpc.create_router("all", "fanout")
    rpc.create_router("gone", "direct")
    queue_of(rpc, "hdd", "dead")
    rpc.create_queue("kept", type="hdd", lease=600000, max_deliver=7, dead_letter="dead",
                     ttl=900000, max_length=1000, overflow="drop-head", dedup_window=600000)
    rpc.create_queue("in-memory", type="memory")
    rpc.create_queue("deleted", type="hdd")
    rpc.create_queue("flushed", type="hdd")
    rpc.create_queue("paused", type="hdd")
    for router, queue, pattern in (("logs", "kept", "a.#"), ("logs", "kept", "*.b"),
                                   ("all", "kept", None), ("logs", "deleted", "a.#")):
        same(rpc.bind(router, queue, pattern)[1], None, "bind")
    rpc.unbind("logs", "kept", "*.b")
    rpc.delete_router("gone")
    for queue in ("deleted", "flushed", "in-memory", "paused"):
        for i in range(3):
            rpc.publish("default", queue, b"%d" % i)
    rpc.delete_queue("deleted")
    same(rpc.flush("flushed"), 3, "flush")
    rpc.publish("default", "flushed", b"after")
    rpc.pause("paused")


def definitions_and_messages_survive(end_name):
    server = Server()
    rpc = RpcBroker(server)
    fill(rpc)
    for i in range(8):
        rpc.publish("default", "kept", b"%d\xff" % i, id="id%d" % i, headers={"n": i},
                    priority=5 if i == 7 else 0)
    rpc.publish("default", "kept", b"later", delay=600000)
    rpc.publish("default", "kept", b"soon", delay=1)
    first, second, third, fourth = take(rpc, "kept", 4)  # 7, 0, 1, 2
    same(first.payload, b"7\xff", "the higher priority")
    same(rpc.ack("kept", second.receipt), None, "ack")
    same(rpc.nack("kept", third.receipt), None, "nack")
    same(rpc.nack("kept", fourth.receipt, 600000), None, "nack for later")
    again = take(rpc, "kept")[0]
    same((again.payload, again.attempt), (b"1\xff", 2), "redelivered")
    wanted = rpc.get_queue("kept")[0]
    line, rpc = restarted(server, getattr(server, end_name))
    same(set(rpc.list_queues()), {"kept", "flushed", "paused"} | {
        name for name in rpc.list_queues() if name.startswith("dead-")} | (
            {"in-memory"} & set(rpc.list_queues())), "queues")
    same(rpc.list_routers(), ["all", "default", "logs"], "routers")
    same(rpc.get_router("logs")[0]["type"], "topic", "type")
    same(rpc.get_router("logs")[0]["bindings"], [{"queue": "kept", "pattern": "a.#"}], "bindings")
    got = rpc.get_queue("kept")[0]
    for member in ("type", "lease", "max-deliver", "dead-letter", "ttl", "max-length", "overflow",
                   "dedup-window", "leased"):
        same(got[member], wanted[member], member)
    same(got["ready"] + got["delayed"], wanted["ready"] + wanted["delayed"], "messages")
    same(rpc.get_queue("paused")[0]["paused"], True, "paused")
    same(rpc.receive("paused"), [], "paused")
    same(drain(line, "flushed"), [b"after"], "a flush stays one")
    same(rpc.ack("kept", second.receipt), "RECEIPT_INVALID", "an ACK stays one")
    same(rpc.ack("kept", third.receipt), "RECEIPT_INVALID", "a stale receipt stays one")
    same(line.ack("kept", again.receipt), None, "a receipt of before is good")
    same(line.extend("kept", first.receipt, 60), None, "and may be extended")
    came = take(rpc, "kept", 6)
    same(sorted(payloads(came)), [b"3\xff", b"4\xff", b"5\xff", b"6\xff", b"7\xff", b"soon"], "ready")
    same(next(m.attempt for m in came if m.payload == b"7\xff"), 2, "attempts are kept")
    same([m.payload for m in came if m.payload not in (b"soon", b"7\xff")],
         [b"%d\xff" % i for i in range(3, 7)], "order is kept")
    for message in came:
        if message.payload[:1].isdigit():
            number = int(message.payload[:1])
            same((message.more["id"], message.more["headers"]), ("id%d" % number, {"n": number}),
                 "id and headers")
    same(rpc.get_queue("kept")[0]["delayed"], 2, "delayed")
    same(rpc.publish("default", "kept", b"x", id="id0")[0], {"id": "id0", "queues": 1}, "dedup")
    same(rpc.receive("kept"), [], "an id is remembered")
    same(rpc.publish("logs", "a.x", b"topic")[0]["queues"], 1, "routing goes on")
    same(rpc.publish("all", "", b"fanout")[0]["queues"], 1, "routing goes on")
    line.close()
    server.close()


def the_broker_survives_sigterm():
    definitions_and_messages_survive("stop")


def the_broker_survives_a_kill():
    definitions_and_messages_survive("kill")


def leases_and_delays_run_on_while_it_is_down():
    server = Server()
    rpc = RpcBroker(server)
    queue = queue_of(rpc, "hdd", lease=300, max_deliver=5)
    for i in range(3):
        rpc.publish("default", queue, b"%d" % i)
    rpc.publish("default", queue, b"later", delay=200)
    rpc.publish("default", queue, b"old", ttl=100)
    leased = take(rpc, queue, 2)
    end = time.monotonic() + 0.35
    server.kill()
    wait_until(lambda: time.monotonic() > end, "time passes")
    _, rpc = restarted(server, lambda: None)
    came = take(rpc, queue, 4, lease=600000)
    same(payloads(came), [b"0", b"1", b"2", b"later"], "in the old place")
    same([message.attempt for message in came], [2, 2, 1, 1], "attempts")
    same(rpc.ack(queue, leased[0].receipt), "RECEIPT_INVALID", "a lease that ended meanwhile")
    same(rpc.receive(queue), [], "what expired is gone")
    server.close()


def what_expires_needs_nobody_to_look_after_a_restart():
    def stops(ttl):
        server = Server()
        rpc = RpcBroker(server)
        dead = queue_of(rpc, "hdd", "dead")
        queue = queue_of(rpc, "hdd", ttl=ttl, dead_letter=dead)
        for at in range(0, 3000, 1000):
            rpc.call("Broker.PublishMany", router="default", messages=[
                {"key": queue, "payload": str(i)} for i in range(at, at + 1000)])
        same(server.stop(), 0, "the end")

        def starts():
            _, rpc = restarted(server, lambda: None)
            wait_until(lambda: rpc.get_queue(dead)[0]["ready"] == 3000, "not all are dead letters",
                       PATIENCE + ttl / 1000)
            got = take(rpc, dead, 3000)
            same(sorted(int(m.payload) for m in got), list(range(3000)), "dead letters")
            wait_until(lambda: rpc.get_queue(queue)[0]["expired"] == 3000, "not all are counted")
            server.close()
        return starts

    unhurried(stops, 1500)


def what_was_flushed_behind_its_lease_stays_gone_over_a_kill():
    """The end of a lease has no record, and what is leased outlives a flush."""
    server = Server()
    try:
        lines = LineBroker(server)
        lines.create_queue("q", lease=20)
        for i in range(5):
            lines.publish("default", "q", b"%d" % i)
        same(len(lines.receive("q", 3)), 3, "leased")
        wait_until(lambda: lines.get_queue("q")[0]["ready"] == 5, "the leases end")
        held = lines.receive("q", 1, lease=600000)[0]
        same(lines.flush("q"), 4, "flushed")
        lines, _ = restarted(server, server.kill)
        got = lines.get_queue("q")[0]
        same((got["ready"], got["leased"]), (0, 1), "behind the kill")
        same(lines.ack("q", held.receipt), None, "what was leased")
    finally:
        server.close()


def a_delayed_message_does_not_outlive_its_ttl_over_a_kill():
    server = Server()
    try:
        lines, rpc = LineBroker(server), RpcBroker(server)
        lines.create_queue("q")
        same(rpc.publish("default", "q", b"x", delay=600000, ttl=300)[1], None, "publish")
        lines, _ = restarted(server, server.kill)
        wait_until(lambda: lines.get_queue("q")[0]["delayed"] == 0, "its time is over")
        same(lines.get_queue("q")[0]["ready"], 0, "ready")
    finally:
        server.close()


def a_long_queue_keeps_its_order_over_restarts():
    server = Server("--write-buffer", "1m")
    rpc = RpcBroker(server)
    queue, count = queue_of(rpc, "hdd"), 5000
    for at in range(0, count, 1000):
        messages = [{"key": queue, "payload": "%d %s" % (i, "x" * 400)}
                    for i in range(at, at + 1000)]
        results = rpc.call("Broker.PublishMany", router="default", messages=messages)[0]["results"]
        same([one["queues"] for one in results], [1] * 1000, "published")
    at = 0
    for end in (server.kill, server.stop, server.kill):
        for _ in range(2):
            messages = take(rpc, queue, 700)
            same([int(m.payload.split(b" ")[0]) for m in messages],
                 list(range(at, at + 700)), "order")
            same(rpc.call("Broker.AckMany", queue=queue,
                          receipts=[m.receipt for m in messages])[0]["results"], [True] * 700, "ack")
            at += 700
        _, rpc = restarted(server, end)
    rest = take(rpc, queue, count - at)
    same([int(m.payload.split(b" ")[0]) for m in rest], list(range(at, count)), "the rest")
    got = rpc.get_queue(queue)[0]
    same((got["ready"], got["leased"]), (0, count - at), "counters")
    server.close()


def waits_end_when_the_server_stops():
    server = Server()
    rpc = RpcBroker(server)
    queue = queue_of(rpc, "hdd")
    line, sub = server.line(), server.line()
    line.send("RECEIVE %s 1 600000\n" % queue)
    same(sub.ask("SUBSCRIBE " + queue), "+OK", "SUBSCRIBE")
    stream = Stream(server, queue)
    wait_until(lambda: rpc.get_queue(queue)[0]["consumers"] == 3, "those who wait")
    same(server.stop(), 0, "it ends well, at once")
    check(line.read_line() in (b"+OK 0\n", b""), "the wait is answered")
    same(line.read_line(), b"", "closed")
    for one in (line, sub, stream):
        one.close()
    server.close()


# --- who may do what ---

def broker_tokens():
    return {"admin": token(scope="admin"), "publish": token(scope="broker:publish"),
            "consume": token(scope="broker:consume"), "all": token(),
            "orders": token(scope="broker:publish:orders* broker:consume:orders*"),
            "kv": token(scope="kv:read kv:write")}


RIGHTS = [ # method, path, who may
    ("PUT", "/broker/queues/orders-1", "admin all"), ("GET", "/broker/queues/orders-1", "admin all"),
    ("PUT", "/broker/routers/orders", "admin all"), ("GET", "/broker/routers/orders", "admin all"),
    ("PUT", "/broker/routers/orders/bindings/orders-1", "admin all"),
    ("GET", "/broker/queues", "admin all"), ("GET", "/broker/routers", "admin all"),
    ("POST", "/broker/routers/orders/messages?key=orders-1", "publish all orders"),
    ("POST", "/broker/routers/default/messages?key=orders-1", "publish all"),
    ("POST", "/broker/queues/orders-1/receive", "consume all orders"),
    ("POST", "/broker/queues/others/receive", "consume all"),
    ("GET", "/broker/queues/orders-1/messages", "consume all orders"),
    ("DELETE", "/broker/queues/orders-1/messages/x", "consume all orders"),
    ("POST", "/broker/queues/orders-1/messages/x/nack", "consume all orders"),
    ("POST", "/broker/queues/orders-1/messages/x/extend?lease=5", "consume all orders"),
    ("DELETE", "/broker/queues/orders-1/messages", "admin all"),
    ("POST", "/broker/queues/orders-1/redrive", "admin all"),
    ("POST", "/broker/queues/orders-1/pause", "admin all"),
    ("POST", "/broker/queues/orders-1/resume", "admin all"),
    ("DELETE", "/broker/routers/orders/bindings/orders-1", "admin all"),
    ("DELETE", "/broker/routers/orders", "admin all"),
    ("DELETE", "/broker/queues/orders-1", "admin all"),
]


def scopes_of_the_broker():
    server = Server(env={"HATI_JWT_SECRET": SECRET})
    tokens = broker_tokens()
    same(server.request("PUT", "/broker/queues/others", "{}", token=tokens["admin"]).status, 201)
    for method, path, may in RIGHTS:
        same(server.request(method, path).status, 401, path)
        for who in sorted(tokens, key=lambda who: who in may.split()):
            status = server.request(method, path, token=tokens[who]).status
            if who not in may.split():
                same(status, 403, "%s: %s %s" % (who, method, path))
            else:
                check(status not in (401, 403), "%s: %s %s: %d" % (who, method, path, status))
    server.close()


def scopes_of_the_broker_on_lines():
    server = Server(env={"HATI_JWT_SECRET": SECRET})
    tokens = broker_tokens()
    admin = server.line(tokens["admin"])
    same(admin.ask("CREATEQUEUE orders-1 memory"), "+OK")
    same(admin.ask("CREATEQUEUE others memory"), "+OK")
    bare = server.line()
    for words in ("RECEIVE others", "SUBSCRIBE others", "UNSUBSCRIBE others", "SUBSCRIBE",
                  "PUBLISH default others x", "LISTQUEUE", "ACK others x"):
        check(bare.ask(words).startswith("+ERR AUTH_REQUIRED "), words)
    bare.send(b"PUBLISHB default others 5\nPING\n\nPING\n")
    check(bare.read_line().startswith(b"+ERR AUTH_REQUIRED "), "PUBLISHB")
    same(bare.read_line(), b"+PONG\n", "its frame was taken in")
    team = server.line(tokens["orders"])
    for words, reply in (("RECEIVE orders-1", "+OK 0"), ("SUBSCRIBE orders-1", "+OK"),
                         ("PUBLISH default orders-1 x", "+ERR FORBIDDEN"),
                         ("SUBSCRIBE others", "+ERR FORBIDDEN"),
                         ("RECEIVE others", "+ERR FORBIDDEN"), ("FLUSH orders-1", "+ERR FORBIDDEN"),
                         ("DELETEQUEUE orders-1", "+ERR FORBIDDEN"),
                         ("LISTQUEUE", "+ERR FORBIDDEN")):
        check(team.ask(words).startswith(reply), words)
    for line in (admin, bare, team):
        line.close()
    batch_needs_the_right_of_each_op(server)
    server.close()


def batch_needs_the_right_of_each_op(server):
    workspace = "11111111-2222-3333-4444-555555555555"
    writer = token(workspace=workspace, scope="kv:write broker:publish:orders*")
    path = "/api2/%s/n" % workspace
    set_op = {"op": "set", "key": "a", "value": "1"}
    publish = {"op": "publish", "router": "default", "routing-key": "x", "payload": "1"}
    ack = {"op": "ack", "queue": "others", "receipt": "x"}
    for ops, allowed in (([set_op], True), ([set_op, publish], False), ([set_op, ack], False),
                         ([{"op": "check", "key": "a", "absent": True}], None)):
        status = server.request("POST", path, json.dumps({"ops": ops}), token=writer).status
        if allowed is not None:
            same(status, 200 if allowed else 403, str(ops))
    same(server.request("GET", path + "/a", token=token(workspace=workspace)).body, b"1")


CASES = [the_broker_survives_sigterm, the_broker_survives_a_kill,
         leases_and_delays_run_on_while_it_is_down,
         what_expires_needs_nobody_to_look_after_a_restart,
         what_was_flushed_behind_its_lease_stays_gone_over_a_kill,
         a_delayed_message_does_not_outlive_its_ttl_over_a_kill, a_long_queue_keeps_its_order_over_restarts,
         waits_end_when_the_server_stops, scopes_of_the_broker, scopes_of_the_broker_on_lines]


def run(runner):
    for case in CASES:
        runner.case(case.__name__, case)
