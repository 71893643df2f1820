# SPDX-License-Identifier: MIT
"""The broker in the same few words for every door."""
import base64
import itertools
import json
import urllib.parse

from doors import plain
from harness import check, same

fresh_numbers = itertools.count(1)


def fresh(word):
    """A name that no case used before."""
    return "%s-%d" % (word, next(fresh_numbers))


class Message:
    """A delivery; id, headers and what else lines do not tell is None there."""

    def __init__(self, receipt, attempt, key, payload, more=None):
        self.receipt, self.attempt, self.key, self.payload = receipt, attempt, key, payload
        self.more = more

    def __repr__(self):
        return "<%s attempt %s %r>" % (self.receipt, self.attempt, self.payload[:40])


def message_of(object):
    payload = object["payload"]
    if object.get("encoding") == "base64":
        payload = base64.b64decode(payload)
    else:
        payload = payload.encode()
    return Message(object.get("receipt"), object["attempt"], object["key"], payload, object)


def number_of(object):
    """The number of an object with one member."""
    check(isinstance(object, dict) and len(object) == 1, "not one member: %r" % (object,))
    return next(iter(object.values()))


class RpcBroker:
    """Each word gives (result, None) or (None, code word); receive gives messages."""

    name = "JSON-RPC"

    def __init__(self, server):
        self.server = server
        self.open()

    def open(self):
        pass

    def close(self):
        pass

    def send(self, call):
        answer = self.server.rpc_raw(json.dumps(call))
        same(answer.status, 200, "status of JSON-RPC")
        return answer.json()

    def call(self, method, **params):
        answer = self.send({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
        if "error" in answer:
            return None, answer["error"]["message"].split(":")[0].split(" ")[0]
        return answer["result"], None

    def create_router(self, router, type=None):
        return self.call("Broker.CreateRouter", router=router, **({"type": type} if type else {}))

    def create_queue(self, queue, **options):
        options = {name.replace("_", "-"): value for name, value in options.items()}
        return self.call("Broker.CreateQueue", queue=queue, **options)

    def delete_router(self, router):
        return self.call("Broker.DeleteRouter", router=router)

    def delete_queue(self, queue):
        return self.call("Broker.DeleteQueue", queue=queue)

    def get_router(self, router):
        return self.call("Broker.GetRouter", router=router)

    def get_queue(self, queue):
        return self.call("Broker.GetQueue", queue=queue)

    def list_routers(self):
        return self.call("Broker.ListRouter")[0]["routers"]

    def list_queues(self):
        return self.call("Broker.ListQueue")[0]["queues"]

    def bind(self, router, queue, pattern=None):
        return self.call("Broker.Bind", router=router, queue=queue,
                         **({} if pattern is None else {"pattern": pattern}))

    def unbind(self, router, queue, pattern=None):
        return self.call("Broker.Unbind", router=router, queue=queue,
                         **({} if pattern is None else {"pattern": pattern}))

    def publish(self, router, key, payload, **options):
        body = plain(payload)
        body["payload"] = body.pop("value")
        return self.call("Broker.Publish", router=router, key=key, **body, **options)

    def receive(self, queue, max=None, wait=None, lease=None):
        given = {"max": max, "wait": wait, "lease": lease}
        result, code = self.call("Broker.Receive", queue=queue, **{
            name: value for name, value in given.items() if value is not None})
        same(code, None, "Receive")
        same(list(result), ["messages"], "members")
        return [message_of(object) for object in result["messages"]]

    def ack(self, queue, receipt):
        return self.call("Broker.Ack", queue=queue, receipt=receipt)[1]

    def nack(self, queue, receipt, delay=None):
        return self.call("Broker.Nack", queue=queue, receipt=receipt,
                         **({} if delay is None else {"delay": delay}))[1]

    def extend(self, queue, receipt, lease):
        return self.call("Broker.Extend", queue=queue, receipt=receipt, lease=lease)[1]

    def flush(self, queue):
        result, code = self.call("Broker.Flush", queue=queue)
        return code or result["dropped"]

    def redrive(self, queue):
        result, code = self.call("Broker.Redrive", queue=queue)
        return code or number_of(result)

    def pause(self, queue, pause=True):
        return self.call("Broker.Pause" if pause else "Broker.Resume", queue=queue)[1]

    def peek(self, queue, limit=None, cursor=None):
        given = {"limit": limit, "cursor": cursor}
        return self.call("Broker.Peek", queue=queue, **{
            name: value for name, value in given.items() if value is not None})


class RpcLineBroker(RpcBroker):
    name = "JSON lines"

    def open(self):
        self.line = self.server.line()

    def close(self):
        self.line.close()

    def send(self, call):
        return json.loads(self.line.ask(json.dumps(call)))


class LineBroker(RpcLineBroker):
    """Lines; what they have no words for goes as JSON over the same connection."""

    name = "lines"

    def ask(self, *words):
        reply = self.line.ask(" ".join(str(word) for word in words if word is not None))
        if reply.startswith("+ERR "):
            return None, reply.split(" ")[1]
        return reply, None

    def done(self, *words):
        reply, code = self.ask(*words)
        check(code or reply == "+OK", "%r was answered %r" % (words, reply))
        return (None, code) if code else (True, None)

    def object(self, *words):
        reply, code = self.ask(*words)
        return (None, code) if code else (json.loads(reply), None)

    def counted(self, *words):
        reply, code = self.ask(*words)
        check(code or reply.startswith("+OK "), "%r was answered %r" % (words, reply))
        return code or int(reply[4:])

    def create_router(self, router, type=None):
        return self.done("CREATEROUTER", router, type)

    def create_queue(self, queue, type="hdd", **options):
        return self.done("CREATEQUEUE", queue, type, *(
            "%s=%s" % (name.replace("_", "-"), value) for name, value in options.items()))

    def delete_router(self, router):
        return self.done("DELETEROUTER", router)

    def delete_queue(self, queue):
        return self.done("DELETEQUEUE", queue)

    def get_router(self, router):
        return self.object("GETROUTER", router)

    def get_queue(self, queue):
        return self.object("GETQUEUE", queue)

    def list_routers(self):
        return self.object("LISTROUTER")[0]

    def list_queues(self):
        return self.object("LISTQUEUE")[0]

    def bind(self, router, queue, pattern=None):
        return self.done("BIND", router, queue, pattern)

    def unbind(self, router, queue, pattern=None):
        return self.done("UNBIND", router, queue, pattern)

    def publish(self, router, key, payload, **options):
        if options or not key:
            return super().publish(router, key, payload, **options)
        self.line.send(b"PUBLISHB %s %s %d\n%s\n" % (router.encode(), key.encode(), len(payload),
                                                     payload))
        reply = self.line.read_line().decode()
        if reply.startswith("+ERR "):
            return None, reply.split(" ")[1]
        words = reply.rstrip("\n").split(" ")
        same((words[0], len(words)), ("+OK", 3), "PUBLISHB")
        return {"id": words[1], "queues": int(words[2])}, None

    def receive(self, queue, max=None, wait=None, lease=None):
        if lease is not None:
            return super().receive(queue, max, wait, lease)
        words = ["RECEIVE", queue, max or 1] + ([] if wait is None else [wait])
        self.line.send(" ".join(str(word) for word in words) + "\n")
        return read_messages(self.line)

    def ack(self, queue, receipt):
        return self.done("ACK", queue, receipt)[1]

    def nack(self, queue, receipt, delay=None):
        return self.done("NACK", queue, receipt, delay)[1]

    def extend(self, queue, receipt, lease):
        return self.done("EXTEND", queue, receipt, lease)[1]

    def flush(self, queue):
        return self.counted("FLUSH", queue)

    def redrive(self, queue):
        return self.counted("REDRIVE", queue)

    def pause(self, queue, pause=True):
        return self.done("PAUSE" if pause else "RESUME", queue)[1]

    def peek(self, queue, limit=None, cursor=None):
        return self.object("PEEK", queue, limit, cursor)


def read_frame(line, head):
    """The rest of a `MSG` frame whose first line is head."""
    words = head[:-1].decode().split(" ")
    same((words[0], len(words)), ("MSG", 5), "the head %r" % head)
    length = int(words[4])
    payload = line.read(length)
    same(line.read(1), b"\n", "the end of a frame")
    return Message(words[1], int(words[2]), words[3], payload)


def read_messages(line):
    """Frames up to `+OK <count>`."""
    messages = []
    while True:
        head = line.read_line()
        if not head.startswith(b"MSG "):
            same(head, b"+OK %d\n" % len(messages), "the end of RECEIVE")
            return messages
        messages.append(read_frame(line, head))


class RestBroker:
    name = "REST"
    call = RpcBroker.call  # where there is no path for it
    send = RpcBroker.send

    def __init__(self, server):
        self.server = server

    def close(self):
        pass

    def ask(self, method, *parts, body=None, **query):
        """(status, JSON or None, code word or None)"""
        path = "/broker/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)
        query = {name: value for name, value in query.items() if value is not None}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        answer = self.server.request(method, path, body)
        said = answer.json() if answer.body else None
        if answer.status >= 400:
            same(answer.headers.get_content_type(), "application/problem+json", path)
            same(said["status"], answer.status, "status in the problem")
            return answer.status, None, said["code"]
        return answer.status, said, None

    def create(self, kind, name, options):
        status, said, code = self.ask("PUT", kind, name, body=json.dumps(options))
        check(code or status in (200, 201), "status %d" % status)
        return (None, code) if code else (said, None)

    def create_router(self, router, type=None):
        return self.create("routers", router, {"type": type} if type else {})

    def create_queue(self, queue, **options):
        return self.create("queues", queue, {name.replace("_", "-"): value
                                             for name, value in options.items()})

    def nothing(self, *words, **query):
        status, said, code = self.ask(*words, **query)
        if not code:
            same((status, said), (204, None), "%r" % (words,))
        return (None, code) if code else (True, None)

    def something(self, *words, status=200, **query):
        got, said, code = self.ask(*words, **query)
        if not code:
            same(got, status, "status of %r" % (words,))
        return (None, code) if code else (said, None)

    def delete_router(self, router):
        return self.nothing("DELETE", "routers", router)

    def delete_queue(self, queue):
        return self.nothing("DELETE", "queues", queue)

    def get_router(self, router):
        return self.something("GET", "routers", router)

    def get_queue(self, queue):
        return self.something("GET", "queues", queue)

    def list_routers(self):
        return self.something("GET", "routers")[0]["routers"]

    def list_queues(self):
        return self.something("GET", "queues")[0]["queues"]

    def bind(self, router, queue, pattern=None):
        status, _, code = self.ask("PUT", "routers", router, "bindings", queue, pattern=pattern)
        check(code or status in (200, 201), "status %d" % status)
        return (None, code) if code else (True, None)

    def unbind(self, router, queue, pattern=None):
        return self.nothing("DELETE", "routers", router, "bindings", queue, pattern=pattern)

    def publish(self, router, key, payload, **options):
        if "headers" in options:
            return RpcBroker.publish(self, router, key, payload, **options)
        return self.something("POST", "routers", router, "messages", key=key, body=payload,
                              status=201, **options)

    def receive(self, queue, max=None, wait=None, lease=None):
        said, code = self.something("POST", "queues", queue, "receive", max=max, wait=wait,
                                    lease=lease)
        same(code, None, "receive")
        return [message_of(object) for object in said["messages"]]

    def ack(self, queue, receipt):
        return self.nothing("DELETE", "queues", queue, "messages", receipt)[1]

    def nack(self, queue, receipt, delay=None):
        return self.nothing("POST", "queues", queue, "messages", receipt, "nack", delay=delay)[1]

    def extend(self, queue, receipt, lease):
        return self.nothing("POST", "queues", queue, "messages", receipt, "extend", lease=lease)[1]

    def flush(self, queue):
        said, code = self.something("DELETE", "queues", queue, "messages")
        return code or said["dropped"]

    def redrive(self, queue):
        said, code = self.something("POST", "queues", queue, "redrive")
        return code or number_of(said)

    def pause(self, queue, pause=True):
        return self.nothing("POST", "queues", queue, "pause" if pause else "resume")[1]

    def peek(self, queue, limit=None, cursor=None):
        return self.something("GET", "queues", queue, "messages", limit=limit, cursor=cursor)


DOORS = [LineBroker, RpcBroker, RpcLineBroker, RestBroker]
