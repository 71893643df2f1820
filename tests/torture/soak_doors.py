# SPDX-License-Identifier: MIT
"""The doors through which the clients of the long soak speak: each says the same things in its own
words. An answer that makes no sense is a Failure; None stands for a key that is not there."""
import asyncio
import base64
import json
import urllib.parse

from harness import Failure
from soak import Client as HttpClient

NAMESPACE = "/api2/11111111-2222-3333-4444-555555555555/default"


class Refused(ConnectionError):
    """A server that ends takes nothing more: whether it did this is not known."""


def odd(what, got):
    raise Failure("%s was answered %.200r" % (what, got))


class LineClient(asyncio.Protocol):
    """One request after another on a connection of lines."""

    def __init__(self):
        self.buffer = b""
        self.answer = self.transport = self.parse = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        if self.answer is None or self.answer.done():
            return
        parsed = self.parse(self.buffer)
        if parsed:
            self.buffer = self.buffer[parsed[1]:]
            self.answer.set_result(parsed[0])

    def connection_lost(self, error):
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed without an answer: %s" % error))

    def ask(self, request, parse):
        self.answer = asyncio.get_running_loop().create_future()
        self.parse = parse
        self.transport.write(request)
        return self.answer


def parse_line(data):
    """(line, bytes taken), or None while it is not whole."""
    end = data.find(b"\n")
    return (data[:end], end + 1) if end >= 0 else None


def parse_value(data):
    end = data.find(b"\n")
    if end < 0 or not data.startswith(b"$"):
        return (data[:end], end + 1) if end >= 0 else None
    length = int(data[1:end])
    whole = end + 1 + length + 1
    return (data[:whole], whole) if len(data) >= whole else None


def parse_frames(data):
    """([(receipt, attempt, payload)], bytes taken)"""
    frames, at = [], 0
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        head = data[at:end]
        if not head.startswith(b"MSG "):
            return (frames if head == b"+OK %d" % len(frames) else head), end + 1
        _, receipt, attempt, _, length = head.split(b" ")
        at = end + 1 + int(length) + 1
        if len(data) < at:
            return None
        frames.append((receipt.decode(), int(attempt), data[end + 1:at - 1]))


def batch_results(what, results, wanted):
    if not isinstance(results, list) or len(results) != wanted:
        odd(what, results)
    return results


class Door:
    port = "http"
    protocol = HttpClient

    def __init__(self):
        self.client = None

    async def connect(self, ports):
        loop = asyncio.get_running_loop()
        self.client = (await loop.create_connection(self.protocol, "127.0.0.1",
                                                    ports[self.port]))[1]

    def close(self, hard=False):
        if self.client:
            self.client.transport.abort() if hard else self.client.transport.close()

    def ask(self, *request):
        if self.client.transport.is_closing():
            raise ConnectionError("closed between requests")
        return self.client.ask(*request)


class Lines(Door):
    port = "tcp"
    protocol = LineClient

    async def say(self, request, parse=parse_line):
        got = await self.ask(request, parse)
        if isinstance(got, bytes) and got.startswith(b"+ERR UNAVAILABLE"):
            raise Refused(got)
        return got

    async def good(self, request):
        got = await self.say(request)
        if got != b"+OK":
            odd(request[:60], got)

    async def set(self, storage, key, value, ttl):
        await self.good(b"SETB %s %d %s %d\n%s\n" % (storage.encode(), ttl, key.encode(),
                                                     len(value), value))

    async def get(self, storage, key):
        got = await self.say(("GETB %s %s\n" % (storage, key)).encode(), parse_value)
        if got.startswith(b"+ERR KEY_NOT_EXIST"):
            return None
        if not got.startswith(b"$"):
            odd("GETB", got)
        return got[got.index(b"\n") + 1:-1]

    async def delete(self, storage, key):
        await self.good(("DELETE %s %s\n" % (storage, key)).encode())

    async def increment(self, key, by):
        return int(await self.say(("INCR hdd %s %d\n" % (key, by)).encode()))

    async def batch(self, ops):
        call = {"jsonrpc": "2.0", "id": 1, "method": "Storage.Batch",
                "params": {"type": "hdd", "ops": ops}}
        return rpc_batch(ops, await self.say(json.dumps(call).encode() + b"\n"))

    async def publish(self, queue, payload):
        got = await self.say(b"PUBLISHB default %s %d\n%s\n" % (queue.encode(), len(payload),
                                                                 payload))
        if not got.startswith(b"+OK ") or not got.endswith(b" 1"):
            odd("PUBLISHB", got)

    async def receive(self, queue, most):
        got = await self.say(("RECEIVE %s %d\n" % (queue, most)).encode(), parse_frames)
        if not isinstance(got, list):
            odd("RECEIVE", got)
        return got

    async def ack(self, queue, receipt):
        got = await self.say(("ACK %s %s\n" % (queue, receipt)).encode())
        if got != b"+OK" and not got.startswith(b"+ERR RECEIPT_INVALID"):
            odd("ACK", got)
        return got == b"+OK"


def rpc_batch(ops, text):
    answer = json.loads(text)
    if "error" in answer and "UNAVAILABLE" in answer["error"]["message"]:
        raise Refused(text)
    if "result" not in answer:
        odd("Storage.Batch", text)
    return batch_results("Storage.Batch", answer["result"]["results"], len(ops))


class Http(Door):
    async def say(self, method, path, body=None, kind=None):
        head = "%s %s HTTP/1.1\r\nHost: localhost\r\n" % (method, path)
        if kind:
            head += "Content-Type: %s\r\n" % kind
        if body is not None or method != "GET":
            head += "Content-Length: %d\r\n" % len(body or b"")
        status, got = await self.ask(head.encode() + b"\r\n" + (body or b""))
        if status == 503:
            raise Refused(got)
        return status, got


class Rest(Http):
    async def entry(self, method, storage, key, wanted, body=None, more=""):
        status, got = await self.say(method, "%s/%s?type=%s%s" % (NAMESPACE, key, storage, more),
                                     body)
        if status not in wanted:
            odd("%s %s" % (method, key), (status, got))
        return None if status == 404 else got

    async def set(self, storage, key, value, ttl):
        await self.entry("PUT", storage, key, (204,), value, "&ttl=%d" % ttl)

    async def get(self, storage, key):
        return await self.entry("GET", storage, key, (200, 404))

    async def delete(self, storage, key):
        await self.entry("DELETE", storage, key, (204, 404))

    async def increment(self, key, by):
        return int(await self.entry("POST", "hdd", key, (200,), None, "&op=incr&by=%d" % by))

    async def batch(self, ops):
        status, got = await self.say("POST", NAMESPACE, json.dumps({"ops": ops}).encode(),
                                     "application/json")
        if status != 200:
            odd("a batch", (status, got))
        return batch_results("a batch", json.loads(got)["results"], len(ops))

    async def publish(self, queue, payload):
        status, got = await self.say("POST", "/broker/routers/default/messages?key=" + queue,
                                     payload)
        if status != 201 or json.loads(got)["queues"] != 1:
            odd("a publish", (status, got))

    async def receive(self, queue, most):
        status, got = await self.say("POST", "/broker/queues/%s/receive?max=%d" % (queue, most))
        if status != 200:
            odd("a receive", (status, got))
        return [(m["receipt"], m["attempt"], m["payload"].encode())
                for m in json.loads(got)["messages"]]

    async def ack(self, queue, receipt):
        status, got = await self.say("DELETE", "/broker/queues/%s/messages/%s" % (
            queue, urllib.parse.quote(receipt)))
        if status not in (204, 404):
            odd("an ack", (status, got))
        return status == 204


class Rpc(Http):
    async def call(self, method, may_fail=None, **params):
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
        status, got = await self.say("POST", "/rpc", body.encode(), "application/json")
        answer = json.loads(got) if status == 200 else {}
        if answer.get("id") != 7:
            odd(method, (status, got))
        if "result" in answer:
            return answer["result"]
        if may_fail and answer["error"]["message"].startswith(may_fail):
            return None
        if answer["error"]["message"].startswith("UNAVAILABLE"):
            raise Refused(got)
        return odd(method, got)

    async def set(self, storage, key, value, ttl):
        text = base64.b64encode(value).decode()
        if await self.call("Storage.Set", type=storage, key=key, value=text, encoding="base64",
                           ttl=ttl) is not True:
            odd("Storage.Set", False)

    async def get(self, storage, key):
        got = await self.call("Storage.Get", "KEY_NOT_EXIST", type=storage, key=key)
        return got if got is None else got.encode()

    async def delete(self, storage, key):
        await self.call("Storage.Delete", type=storage, key=key)

    async def increment(self, key, by):
        return await self.call("Storage.Increment", type="hdd", key=key, by=by)

    async def batch(self, ops):
        result = await self.call("Storage.Batch", type="hdd", ops=ops)
        return batch_results("Storage.Batch", result["results"], len(ops))

    async def publish(self, queue, payload):
        result = await self.call("Broker.Publish", router="default", key=queue,
                                 payload=payload.decode())
        if result["queues"] != 1:
            odd("Broker.Publish", result)

    async def receive(self, queue, most):
        result = await self.call("Broker.Receive", queue=queue, max=most)
        return [(m["receipt"], m["attempt"], m["payload"].encode()) for m in result["messages"]]

    async def ack(self, queue, receipt):
        return await self.call("Broker.Ack", "RECEIPT_INVALID", queue=queue,
                               receipt=receipt) is not None


DOORS = (Lines, Rest, Rpc)
