# SPDX-License-Identifier: MIT
"""What is said as JSON-RPC, said as REST where there is a way to; and the answer told as JSON-RPC
would tell it."""
import base64
import json
import socket
import urllib.parse
import zlib

from doors import WORKSPACE
from harness import PATIENCE, check

AT_ONCE = 20  # requests that are sent before their answers are read
NOT_THERE = {"error": {"message": "KEY_NOT_EXIST"}}


class Said:
    """A request, and how its answer reads."""

    def __init__(self, method, path, read, body=b"", headers=()):
        self.method, self.read = method, read
        head = "%s %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n" % (
            method, path, "".join("%s: %s\r\n" % pair for pair in headers), len(body))
        self.data = head.encode() + body


def failure(answer):
    check(answer.body, "a failure without a body: %d %s" % (answer.status, answer.headers))
    return {"error": {"message": json.loads(answer.body)["code"]}}


def plain(value):
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"value": base64.b64encode(value).decode(), "encoding": "base64"}


def bytes_of(member):
    if member.get("encoding") == "base64":
        return base64.b64decode(member["value"])
    return member["value"].encode()


def path_of(params, key=None, **query):
    """By one of the two APIs, always the same for a key."""
    place = params.get("namespace", "default")
    base = "/api/" if key is not None and zlib.crc32(key.encode()) % 2 else "/api2/%s/" % WORKSPACE
    path = base + urllib.parse.quote(place, safe="")
    if key is not None:
        path += "/" + urllib.parse.quote(key, safe="")
    return path + "?" + urllib.parse.urlencode(dict(query, type=params["type"]))


def said(call):
    """How a call is said, or as JSON-RPC over HTTP."""
    method, params = call["method"].partition(".")[2], call["params"]
    maker = {"Set": of_set, "Get": of_get, "Has": of_has, "GetEntry": of_entry, "Ttl": of_ttl,
             "Delete": of_delete, "Increment": of_increment, "List": of_list,
             "Batch": of_batch}.get(method)
    made = maker(params) if maker else None
    return made or Said("POST", "/rpc", lambda answer: json.loads(answer.body),
                        json.dumps(call).encode(), [("Content-Type", "application/json")])


def of_set(params):
    headers = []
    if "ifRevision" in params:
        return None
    if params.get("ifAbsent"):
        headers.append(("If-None-Match", "*"))
    if "ifEtag" in params:
        headers.append(("If-Match", '"%s"' % params["ifEtag"]))

    def read(answer):
        if answer.status in (201, 204):
            check((answer.status == 201) == bool(params.get("ifAbsent")), "status %d" % answer.status)
            return {"result": True}
        return failure(answer)

    query = {"ttl": params["ttl"]} if "ttl" in params else {}
    return Said("PUT", path_of(params, params["key"], **query), read, bytes_of(params), headers)


def of_get(params):
    return Said("GET", path_of(params, params["key"]), lambda answer: {"result": plain(answer.body)}
                if answer.status == 200 else failure(answer))


def of_has(params):
    return Said("HEAD", path_of(params, params["key"]),
                lambda answer: {"result": {200: True, 404: False}[answer.status]})


def of_entry(params):
    def read(answer):
        if answer.status != 200:
            return failure(answer)
        told = plain(answer.body)
        return {"result": {
            **(told if isinstance(told, dict) else {"value": told}),
            "etag": answer.headers["etag"].strip('"'), "ttl": int(answer.headers.get("hati-ttl", 0)),
            "revision": int(answer.headers["hati-revision"])}}

    return Said("GET", path_of(params, params["key"]), read)


def of_ttl(params):
    return Said("HEAD", path_of(params, params["key"]),
                lambda answer: {"result": int(answer.headers.get("hati-ttl", 0))}
                if answer.status == 200 else NOT_THERE)


def of_delete(params):
    def read(answer):
        if answer.status == 204 or answer.status == 404 and "ifEtag" not in params:
            return {"result": answer.status == 204}
        return failure(answer)

    headers = [("If-Match", '"%s"' % params["ifEtag"])] if "ifEtag" in params else []
    return Said("DELETE", path_of(params, params["key"]), read, headers=headers)


def of_increment(params):
    path = path_of(params, params["key"], op="incr", by=params["by"])
    if not path.startswith("/api2/"):
        return None
    return Said("POST", path, lambda answer: {"result": int(answer.body)}
                if answer.status == 200 else failure(answer))


def of_list(params):
    def read(answer):
        check(answer.status == 200, "a listing is answered %d %.200r" % (answer.status, answer.body))
        told = json.loads(answer.body)
        check(told["count"] == len(told["keys"]), "count and keys differ")
        return {"result": {name: told[name] for name in ("keys", "cursor") if name in told}}

    query = {name: params[name] for name in ("prefix", "limit", "cursor") if params.get(name)}
    return Said("GET", path_of(params, **query), read)


def of_batch(params):
    if "workspace" in params:
        return None
    return Said("POST", path_of(params).partition("?")[0],
                lambda answer: {"result": json.loads(answer.body)} if answer.status == 200
                else failure(answer),
                json.dumps({"ops": params["ops"]}).encode(), [("Content-Type", "application/json")])


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class RestTalk:
    """One connection, on which requests are sent without waiting for the one before."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    def ask(self, calls):
        """The answers, as JSON-RPC would have them."""
        requests = [said(call) for call in calls]
        for at in range(0, len(requests), AT_ONCE):
            some = requests[at:at + AT_ONCE]
            self.sock.sendall(b"".join(request.data for request in some))
            for request in some:
                yield request.read(self.answer(request.method))

    def answer(self, method):
        head = self.file.readline()
        check(head.startswith(b"HTTP/1.1 "), "an answer begins with %.80r" % head)
        headers = {}
        while (row := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = row.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            return Answer(int(head.split(b" ")[1]), headers, self.chunks())
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        return Answer(int(head.split(b" ")[1]), headers, self.file.read(length))

    def chunks(self):
        body = b""
        while length := int(self.file.readline(), 16):
            body += self.file.read(length)
            self.file.readline()
        self.file.readline()
        return body
