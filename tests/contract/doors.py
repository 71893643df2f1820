# SPDX-License-Identifier: MIT
"""The same few words for every door, so that one case runs through all of them."""
import base64
import json
import urllib.parse

from harness import Failure, same

WORKSPACE = "11111111-2222-3333-4444-555555555555"


def plain(value):
    """A value as JSON carries it."""
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value": base64.b64encode(value).decode(), "encoding": "base64"}


def unplain(result):
    if isinstance(result, dict):
        return base64.b64decode(result["value"])
    return result.encode()


class LineDoor:
    name = "lines"
    increments = lists = counts = touches = True

    def __init__(self, server, storage):
        self.line = self.connect(server)
        self.storage = storage

    def connect(self, server):
        return server.line()

    def close(self):
        self.line.close()

    def ask(self, words):
        reply = self.line.ask(words)
        if reply.startswith("+ERR "):
            return None, reply.split(" ")[1]
        return reply, None

    def set(self, key, value, ttl=0):
        head = b"SETB %s %d %s %d\n" % (self.storage.encode(), ttl, key.encode(), len(value))
        self.line.send(head + value + b"\n")
        reply = self.line.read_line().decode()
        return None if reply == "+OK\n" else reply.split(" ")[1]

    def get(self, key):
        self.line.send("GETB %s %s\n" % (self.storage, key))
        head = self.line.read_line().decode()
        if head.startswith("+ERR "):
            return None
        value = self.line.read(int(head[1:]))
        same(self.line.read(1), b"\n", "the end of a frame")
        return value

    def has(self, key):
        reply, code = self.ask("HAS %s %s" % (self.storage, key))
        return reply == "+OK" and code is None

    def delete(self, key):
        same(self.ask("DELETE %s %s" % (self.storage, key)), ("+OK", None), "DELETE")

    def incr(self, key, by):
        reply, code = self.ask("INCR %s %s %d" % (self.storage, key, by))
        return code or int(reply)

    def touch(self, key, ttl):
        return self.ask("TOUCH %s %d %s" % (self.storage, ttl, key))[1]

    def ttl(self, key):
        reply, code = self.ask("TTL %s %s" % (self.storage, key))
        return code or int(reply)

    def keys(self, prefix):
        reply, code = self.ask("KEYS %s %s" % (self.storage, prefix or "*"))
        return code or json.loads(reply)["keys"]

    def count(self):
        return int(self.ask("COUNT " + self.storage)[0])

    def flush(self):
        same(self.ask("FLUSHALL " + self.storage), ("+OK", None), "FLUSHALL")


class UnixDoor(LineDoor):
    name = "UNIX socket"

    def connect(self, server):
        return server.unix_line()


class RpcDoor:
    name = "JSON-RPC"
    increments = lists = counts = touches = True

    def __init__(self, server, storage):
        self.server = server
        self.storage = storage
        self.open()

    def open(self):
        pass

    def close(self):
        pass

    def send(self, call):
        answer = self.server.rpc_raw(json.dumps(call))
        same(answer.status, 200, "status of JSON-RPC")
        if not answer.body.endswith(b"\n"):
            raise Failure("an answer without a newline")
        return answer.json()

    def call(self, method, **params):
        answer = self.send({"jsonrpc": "2.0", "id": 7, "method": "Storage." + method,
                            "params": dict(params, type=self.storage)})
        same(answer["id"], 7, "id")
        if "error" in answer:
            return None, answer["error"]["message"].split(":")[0].split(" ")[0]
        return answer["result"], None

    def set(self, key, value, ttl=0):
        return self.call("Set", key=key, ttl=ttl, **plain(value))[1]

    def get(self, key):
        result, code = self.call("Get", key=key)
        return None if code else unplain(result)

    def has(self, key):
        return self.call("Has", key=key)[0]

    def delete(self, key):
        self.call("Delete", key=key)

    def incr(self, key, by):
        result, code = self.call("Increment", key=key, by=by)
        return code or result

    def touch(self, key, ttl):
        return self.call("Touch", key=key, ttl=ttl)[1]

    def ttl(self, key):
        result, code = self.call("Ttl", key=key)
        return code or result

    def keys(self, prefix):
        result, code = self.call("List", prefix=prefix)
        return code or result["keys"]

    def count(self):
        return self.call("Count")[0]

    def flush(self):
        same(self.call("FlushAll"), (True, None), "FlushAll")


class RpcLineDoor(RpcDoor):
    name = "JSON lines"

    def open(self):
        self.line = self.server.line()

    def close(self):
        self.line.close()

    def send(self, call):
        return json.loads(self.line.ask(json.dumps(call)))


class Rpc1Door(RpcDoor):
    """As Go's net/rpc/jsonrpc speaks."""

    name = "JSON-RPC 1.0"

    def send(self, call):
        answer = self.server.rpc_raw(json.dumps({"method": call["method"], "id": call["id"],
                                                 "params": [call["params"]]}), path="/").json()
        same(sorted(answer), ["error", "id", "result"], "members of a 1.0 answer")
        if answer["error"] is not None:
            same(answer["result"], None, "result beside an error")
            return {"id": answer["id"], "error": {"message": answer["error"]}}
        return {"id": answer["id"], "result": answer["result"]}


class RestDoor:
    name = "REST v2"
    increments = lists = True
    counts = touches = False
    base = "/api2/%s/default" % WORKSPACE

    def __init__(self, server, storage):
        self.server = server
        self.storage = storage

    def close(self):
        pass

    def path(self, key="", **query):
        path = self.base + ("/" + urllib.parse.quote(key, safe="/") if key else "")
        return path + "?" + urllib.parse.urlencode(dict(query, type=self.storage))

    def set(self, key, value, ttl=0):
        answer = self.server.request("PUT", self.path(key, ttl=ttl), value)
        return None if answer.status == 204 else answer.json()["code"]

    def get(self, key):
        answer = self.server.request("GET", self.path(key))
        return answer.body if answer.status == 200 else None

    def has(self, key):
        return self.server.request("HEAD", self.path(key)).status == 200

    def delete(self, key):
        self.server.request("DELETE", self.path(key))

    def incr(self, key, by):
        answer = self.server.request("POST", self.path(key, op="incr", by=by))
        return int(answer.body) if answer.status == 200 else answer.json()["code"]

    def keys(self, prefix):
        return self.server.request("GET", self.path(prefix=prefix)).json()["keys"]

    def ttl(self, key):
        answer = self.server.request("HEAD", self.path(key))
        if answer.status != 200:
            return "KEY_NOT_EXIST"
        return int(answer.headers.get("Hati-Ttl", "0"))


class RestV1Door(RestDoor):
    name = "REST v1"
    increments = False
    base = "/api/default"

    def set(self, key, value, ttl=0):
        answer = self.server.request("POST", self.path(key, ttl=ttl), value)
        return None if answer.status == 204 else answer.json()["code"]


DOORS = [LineDoor, UnixDoor, RpcDoor, Rpc1Door, RpcLineDoor, RestDoor, RestV1Door]
