# SPDX-License-Identifier: MIT
"""Messages that are pushed, waits that are left, and the line protocol's frames byte by byte."""
import http.client
import json
import re
import socket
import struct

import harness
from broker_doors import LineBroker, RestBroker, fresh, message_of, read_frame
from cases_broker import queue_of, take
from cases_broker_leases import has_consumers
from harness import PATIENCE, Answer, Failure, check, connect, same, settles, wait_until

# (what is sent, a pattern of all that comes back); {r} is the receipt of the MSG frame before
FRAMES = [
    (b"CREATEQUEUE {q} {storage}\n", rb"\+OK\n"),
    (b"create_queue {q} {storage}\n", rb"\+OK\n"),
    (b"CREATEQUEUE {q} {storage} lease=5\n", rb"\+ERR CONFLICT [^\n]+\n"),
    (b"CREATEQUEUE {q}x disk\n", rb"\+ERR STORAGE_TYPE_INVALID [^\n]+\n"),
    (b"CREATEQUEUE {q}x {storage} lease\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"CREATEQUEUE {q}x {storage} nosuch=1\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"CREATEQUEUE {q}x {storage} lease=5 lease=6\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"CREATEROUTER {q} topic\n", rb"\+OK\n"),
    (b"CREATE_ROUTER {q} topic\n", rb"\+OK\n"),
    (b"CREATEROUTER {q}\n", rb"\+ERR CONFLICT [^\n]+\n"),
    (b"BIND {q} {q} a.*\n", rb"\+OK\n"),
    (b"BIND {q} nosuch a.*\n", rb"\+ERR QUEUE_NOT_EXIST [^\n]+\n"),
    (b"BIND nosuch {q} a.*\n", rb"\+ERR ROUTER_NOT_EXIST [^\n]+\n"),
    (b"RECEIVE {q}\n", rb"\+OK 0\n"),
    (b"receive {q} 5 1\r\n", rb"\+OK 0\n"),
    (b"RECEIVE {q} 0\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"RECEIVE {q} 1001\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"RECEIVE {q} 1 -1\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"RECEIVE nosuch\n", rb"\+ERR QUEUE_NOT_EXIST [^\n]+\n"),
    (b"PUBLISH {q} a.b hello  world \n", rb"\+OK \S+ 1\n"),
    (b"RECEIVE {q}\n", rb"MSG (\S+) 1 a\.b 13\nhello  world \n\+OK 1\n"),
    (b"ACK {q} {r}\n", rb"\+OK\n"),
    (b"ACK {q} {r}\n", rb"\+ERR RECEIPT_INVALID [^\n]+\n"),
    (b"NACK {q} {r}\n", rb"\+ERR RECEIPT_INVALID [^\n]+\n"),
    (b"EXTEND {q} {r} 5\n", rb"\+ERR RECEIPT_INVALID [^\n]+\n"),
    (b"EXTEND {q} {r}\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"PUBLISHB {q} a.c 5\n\0\n\r\xff \n", rb"\+OK \S+ 1\n"),
    (b"PUBLISHB {q} a.d 0\n\n", rb"\+OK \S+ 1\n"),
    (b"PUBLISH {q} b.b nobody\n", rb"\+OK \S+ 0\n"),
    (b"PUBLISH nosuch a.b x\n", rb"\+ERR ROUTER_NOT_EXIST [^\n]+\n"),
    (b"PUBLISHB nosuch a.b 3\nPUB\n", rb"\+ERR ROUTER_NOT_EXIST [^\n]+\n"),
    (b"RECEIVE {q} 9\n", rb"MSG \S+ 1 a\.c 5\n\0\n\r\xff \nMSG (\S+) 1 a\.d 0\n\n\+OK 2\n"),
    (b"EXTEND {q} {r} 50000\n", rb"\+OK\n"),
    (b"NACK {q} {r}\n", rb"\+OK\n"),
    (b"RECEIVE {q}\n", rb"MSG (\S+) 2 a\.d 0\n\n\+OK 1\n"),
    (b"NACK {q} {r} 100000\n", rb"\+OK\n"),
    (b"FLUSH {q}\n", rb"\+OK 1\n"),
    (b"FLUSH nosuch\n", rb"\+ERR QUEUE_NOT_EXIST [^\n]+\n"),
    (b"GETQUEUE {q}\n", rb'\{{"[^\n]*"name":"{q}"[^\n]*\}}\n|\{{"name":"{q}"[^\n]*\}}\n'),
    (b"GET_ROUTER {q}\n", rb'\{{"name":"{q}"[^\n]*"pattern":"a\.\*"[^\n]*\}}\n'),
    (b"UNBIND {q} {q} a.*\n", rb"\+OK\n"),
    (b"PUBLISH {q} a.b unbound\n", rb"\+OK \S+ 0\n"),
    (b"DELETEROUTER {q}\n", rb"\+OK\n"),
    (b"DELETEROUTER {q}\n", rb"\+ERR ROUTER_NOT_EXIST [^\n]+\n"),
    (b"DELETEQUEUE {q}\n", rb"\+OK\n"),
    (b"DELETEQUEUE {q}\n", rb"\+ERR QUEUE_NOT_EXIST [^\n]+\n"),
    (b"GETQUEUE {q}\n", rb"\+ERR QUEUE_NOT_EXIST [^\n]+\n"),
    (b"GETROUTER {q}\n", rb"\+ERR ROUTER_NOT_EXIST [^\n]+\n"),
    (b"PUBLISH\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"SUBSCRIBE nosuch\n", rb"\+ERR QUEUE_NOT_EXIST [^\n]+\n"),
    (b"SUBSCRIBE {q} 0\n", rb"\+ERR SYNTAX [^\n]+\n"),
    (b"UNSUBSCRIBE {q}\n", rb"\+OK\n"),
]


def frames_are_byte_exact(server, storage):
    line, queue, receipt = server.line(), fresh("frames"), b""
    for sent, wanted in FRAMES:
        sent = sent.replace(b"{q}", queue.encode()).replace(b"{storage}", storage.encode())
        sent = sent.replace(b"{r}", receipt)
        line.send(sent + b"PING\n")
        got = b""
        while not got.endswith(b"+PONG\n"):
            part = line.read_line()
            check(part, "%r: closed after %r" % (sent, got))
            got += part
        wanted = wanted.replace(b"{q}", queue.encode()).replace(b"{{", b"{").replace(b"}}", b"}")
        found = re.fullmatch(wanted, got[:-len(b"+PONG\n")], re.DOTALL)
        check(found, "%r was answered %r, wanted %r" % (sent, got, wanted))
        if found.groups():
            receipt = found.group(1)
    line.close()


def requests_behind_a_wait_keep_their_order(server, storage):
    door = LineBroker(server)
    queue = queue_of(door, storage)
    line = server.line()
    line.send("RECEIVE %s 1 30000\nPING\nSET %s 0 order 1\nGET %s order\n" % (
        queue, storage, storage))
    has_consumers(door, queue, 1)
    door.publish("default", queue, b"1")
    message = read_frame(line, line.read_line())
    same([line.read_line() for _ in range(4)], [b"+OK 1\n", b"+PONG\n", b"+OK\n", b"1\n"], "order")
    same(door.ack(queue, message.receipt), None, "ack")
    line.close()
    door.close()


def hang_up(sock):
    """Closes with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def line_waiter(server, queue):
    sock = connect(("127.0.0.1", server.tcp), PATIENCE)
    sock.sendall(b"RECEIVE %s 10 600000\n" % queue.encode())
    return sock


def json_line_waiter(server, queue):
    sock = connect(("127.0.0.1", server.tcp), PATIENCE)
    sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Broker.Receive",
                             "params": {"queue": queue, "wait": 600000}}).encode() + b"\n")
    return sock


def http_waiter(server, queue):
    sock = connect(("127.0.0.1", server.http), PATIENCE)
    sock.sendall(b"POST /broker/queues/%s/receive?wait=600000 HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: 0\r\n\r\n" % queue.encode())
    return sock


def rpc_waiter(server, queue):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Broker.Receive",
                       "params": {"queue": queue, "wait": 600000}}).encode()
    sock = connect(("127.0.0.1", server.http), PATIENCE)
    sock.sendall(b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return sock


def stream_waiter(server, queue):
    sock = connect(("127.0.0.1", server.http), PATIENCE)
    sock.sendall(b"GET /broker/queues/%s/stream HTTP/1.1\r\nHost: x\r\n\r\n" % queue.encode())
    return sock


def subscriber(server, queue):
    sock = connect(("127.0.0.1", server.tcp), PATIENCE)
    sock.sendall(b"SUBSCRIBE %s\n" % queue.encode())
    return sock


WAITERS = [line_waiter, json_line_waiter, http_waiter, rpc_waiter, stream_waiter, subscriber]


def who_hangs_up_while_waiting_is_charged_nothing(server, storage):
    door = LineBroker(server)
    for wait in WAITERS:
        for leave in (hang_up, socket.socket.close):
            queue = queue_of(door, storage, lease=600000)
            socks = [wait(server, queue) for _ in range(3)]
            has_consumers(door, queue, 3)
            for sock in socks:
                leave(sock)
            if leave is hang_up:  # else it might only have no more to say
                has_consumers(door, queue, 0)
            door.publish("default", queue, b"1")
            message = take(door, queue)[0]
            same(message.attempt, 1, wait.__name__)
            same(door.ack(queue, message.receipt), None, "ack")
            door.delete_queue(queue)
    door.close()


def who_hangs_up_at_once_does_not_wait(server, storage):
    door = LineBroker(server)
    for wait in WAITERS:
        queue = queue_of(door, storage)
        for _ in range(50):
            hang_up(wait(server, queue))
        has_consumers(door, queue, 0)
        door.delete_queue(queue)
    door.close()


def one_who_hangs_up_does_not_hold_up_others(server, storage):
    """Waiters that leave while messages come: each message reaches one that stayed."""
    door, stays = LineBroker(server), server.line()
    queue = queue_of(door, storage, lease=2000)
    for i in range(20):
        sock = WAITERS[i % len(WAITERS)](server, queue)
        if i % 2:
            has_consumers(door, queue, 1)
        hang_up(sock)
        stays.send("RECEIVE %s 1 30000\n" % queue)
        door.publish("default", queue, b"%d" % i)
        message = read_frame(stays, stays.read_line())
        same((message.payload, stays.read_line()), (b"%d" % i, b"+OK 1\n"), "who stayed")
        same(door.ack(queue, message.receipt), None, "ack")
        has_consumers(door, queue, 0)
    stays.close()
    door.close()


class Subscriber:
    """A line connection that tells replies from pushed frames."""

    def __init__(self, server):
        self.line = server.line()
        self.pushed = []

    def reply(self):
        """The next line that is no frame; frames before it are kept."""
        while True:
            head = self.line.read_line()
            check(head, "closed")
            if not head.startswith(b"MSG "):
                return head
            self.pushed.append(read_frame(self.line, head))

    def ask(self, text):
        self.line.send(text + "\n")
        return self.reply()

    def next(self):
        if not self.pushed:
            head = self.line.read_line()
            check(head.startswith(b"MSG "), "no frame: %r" % head)
            self.pushed.append(read_frame(self.line, head))
        return self.pushed.pop(0)


def messages_are_pushed_as_they_come(server, storage):
    door, sub = LineBroker(server), Subscriber(server)
    queue = queue_of(door, storage)
    door.publish("default", queue, b"before")
    same(sub.ask("SUBSCRIBE %s 3" % queue), b"+OK\n", "SUBSCRIBE")
    for payload in (b"before", b"", b"\n", b"\x00\xff", b"x" * 100000):
        if payload != b"before":
            door.publish("default", queue, payload)
        message = sub.next()
        same((message.payload, message.attempt, message.key), (payload, 1, queue), "pushed")
        same(sub.ask("ACK %s %s" % (queue, message.receipt)), b"+OK\n", "ACK")
    same(sub.ask("PING"), b"+PONG\n", "other words go on")
    settles(lambda: door.get_queue(queue)[0]["consumers"], 1, "consumers")
    same(sub.ask("UNSUBSCRIBE %s" % queue), b"+OK\n", "UNSUBSCRIBE")
    settles(lambda: door.get_queue(queue)[0]["consumers"], 0, "consumers")
    door.publish("default", queue, b"after")
    same(sub.ask("PING"), b"+PONG\n", "PING")
    same(sub.pushed, [], "nothing is pushed any more")
    same(take(door, queue)[0].payload, b"after", "it stays for others")
    sub.line.close()
    door.close()


def no_more_than_prefetch_are_pushed(server, storage):
    door, sub = LineBroker(server), Subscriber(server)
    queue = queue_of(door, storage, lease=600000)
    for i in range(10):
        door.publish("default", queue, b"%d" % i)
    same(sub.ask("SUBSCRIBE %s 4" % queue), b"+OK\n", "SUBSCRIBE")
    held = [sub.next() for _ in range(4)]
    same(sub.ask("PING"), b"+PONG\n", "PING")
    got = door.get_queue(queue)[0]
    same((got["leased"], got["ready"], len(sub.pushed)), (4, 6, 0), "four at most")
    same(door.ack(queue, held[0].receipt), None, "an ACK through another connection")
    same(sub.next().payload, b"4", "makes room")
    same(sub.ask("ACK %s %s" % (queue, held[1].receipt)), b"+OK\n", "ACK")
    same(sub.next().payload, b"5", "makes room")
    same(sub.ask("NACK %s %s" % (queue, held[2].receipt)), b"+OK\n", "NACK")
    again = sub.next()
    same((again.payload, again.attempt), (b"2", 2), "what it gives back comes to it again")
    same(sub.ask("EXTEND %s %s 60" % (queue, held[3].receipt)), b"+OK\n", "EXTEND")
    again = sub.next()
    same((again.payload, again.attempt), (b"3", 2), "a lease that ends makes room")
    same(sub.ask("SUBSCRIBE %s 4" % queue), b"+OK\n", "again with the same prefetch")
    same(door.get_queue(queue)[0]["leased"], 4, "four at most")
    sub.line.close()
    has_consumers(door, queue, 0)
    same(door.get_queue(queue)[0]["leased"], 4, "what was sent stays leased")
    door.delete_queue(queue)
    door.close()


def subscribers_share_a_queue(server, storage):
    door, subs = LineBroker(server), [Subscriber(server) for _ in range(4)]
    queue = queue_of(door, storage)
    for sub in subs:
        same(sub.ask("SUBSCRIBE %s 1" % queue), b"+OK\n", "SUBSCRIBE")
    for i in range(40):
        door.publish("default", queue, b"%d" % i)
    got = []
    while len(got) < 40:
        for sub in subs:
            if len(got) == 40:
                break
            sub.line.sock.settimeout(PATIENCE)
            message = sub.next()
            got.append(message.payload)
            same(message.attempt, 1, "attempt")
            if len(got) <= 36:
                same(sub.ask("ACK %s %s" % (queue, message.receipt)), b"+OK\n", "ACK")
    same(sorted(got), sorted(b"%d" % i for i in range(40)), "each once")
    for sub in subs:
        sub.line.close()
    door.close()


class Stream:
    """An event stream, event by event."""

    def __init__(self, server, queue, prefetch=None, token=None):
        self.sock = connect(("127.0.0.1", server.http), PATIENCE)
        query = "" if prefetch is None else "?prefetch=%d" % prefetch
        more = "Authorization: Bearer %s\r\n" % token if token else ""
        self.sock.sendall(("GET /broker/queues/%s/stream%s HTTP/1.1\r\nHost: x\r\n"
                           "Accept: text/event-stream\r\n%s\r\n" % (queue, query, more)).encode())
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split(b" ")[1])
        self.headers = http.client.parse_headers(self.file)
        if harness.judge:
            harness.judge.http("GET", "/broker/queues/%s/stream" % queue, None,
                               Answer(self.status, self.headers, b""))
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        self.text = b""

    def read(self):
        if not self.chunked:
            part = self.file.read1(65536)
        else:
            size = int(self.file.readline(), 16)
            part = self.file.read(size)
            same(self.file.readline(), b"\r\n", "the end of a chunk")
        check(part, "the stream ended")
        self.text += part

    def event(self):
        """{field: value} of the next event; comments are passed over."""
        while True:
            while b"\n\n" not in self.text:
                self.read()
            event, self.text = self.text.split(b"\n\n", 1)
            lines = [line for line in event.decode().split("\n") if not line.startswith(":")]
            if lines:
                return dict(line.split(": ", 1) for line in lines)

    def message(self):
        event = self.event()
        same(sorted(event), ["data", "event", "id"], "fields")
        same(event["event"], "message", "event")
        data = json.loads(event["data"])
        if harness.judge:
            harness.judge.schema("Message", data, "data of an event")
        message = message_of(data)
        same(event["id"], message.receipt, "id is the receipt")
        return message

    def close(self):
        self.file.close()
        self.sock.close()


def a_stream_pushes_messages(server, storage):
    door = RestBroker(server)
    queue = queue_of(door, storage, lease=600000)
    door.publish("default", queue, b"before")
    stream = Stream(server, queue, 2)
    same((stream.status, stream.headers["content-type"].split(";")[0]), (200, "text/event-stream"),
         "the head")
    for payload in (b"before", b"two\nlines\n\nid: x\n", b"", b"\x00\xff", b"x" * 100000):
        if payload != b"before":
            door.publish("default", queue, payload)
        message = stream.message()
        same((message.payload, message.attempt), (payload, 1), "pushed")
        same(door.ack(queue, message.receipt), None, "ack")
    for i in range(5):
        door.publish("default", queue, b"%d" % i)
    held = [stream.message() for _ in range(2)]
    got = door.get_queue(queue)[0]
    same((got["leased"], got["ready"]), (2, 3), "prefetch")
    settles(lambda: door.get_queue(queue)[0]["consumers"], 1, "consumers")
    for i in range(2, 5):
        same(door.ack(queue, held[i - 2].receipt), None, "ack")
        held.append(stream.message())
        same(held[-1].payload, b"%d" % i, "an ACK makes room")
    stream.close()
    has_consumers(door, queue, 0)
    door.delete_queue(queue)


def a_stream_has_its_refusals(server, storage):
    door = RestBroker(server)
    queue = queue_of(door, storage)
    for path, status in (("/broker/queues/nosuch/stream", 404),
                         ("/broker/queues/%s/stream?prefetch=0" % queue, 400),
                         ("/broker/queues/%s/stream?prefetch=x" % queue, 400)):
        answer = server.request("GET", path)
        same(answer.status, status, path)
    same(server.request("POST", "/broker/queues/%s/stream" % queue).status, 405, "POST")


CASES = [frames_are_byte_exact, requests_behind_a_wait_keep_their_order,
         who_hangs_up_while_waiting_is_charged_nothing, who_hangs_up_at_once_does_not_wait,
         one_who_hangs_up_does_not_hold_up_others,
         messages_are_pushed_as_they_come, no_more_than_prefetch_are_pushed,
         subscribers_share_a_queue, a_stream_pushes_messages, a_stream_has_its_refusals]


def run(runner, server):
    for storage in ("memory", "hdd"):
        for case in CASES:
            runner.case("%s, %s" % (case.__name__, storage), lambda c=case: c(server, storage))
