# SPDX-License-Identifier: MIT
"""Judges answers by the documents of the binary under test, and keeps count of what was tried."""
import collections
import gzip
import io
import json
import http.client
import re
import subprocess

import jsonschema

TRANSPORT = {"date", "connection", "content-length", "content-type", "transfer-encoding", "vary",
             "access-control-allow-origin", "access-control-expose-headers"}
METHODS = {"get", "head", "put", "post", "delete"}
# What may be said before a path or a method is looked at, and where neither is known.
UNKNOWN = {400, 401, 403, 404, 405, 413, 429}
GENERAL_CODES = {-32700, -32600, -32601, -32602, -32603, -32013}


def resolved(document, value):
    """The value with references replaced by what they name, and objects that have no other members
    than those told: an answer must not hold what its document does not know."""
    if isinstance(value, list):
        return [resolved(document, element) for element in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        at = document
        for part in value["$ref"][2:].split("/"):
            at = at[part]
        return resolved(document, at)
    whole = {name: resolved(document, element) for name, element in value.items()}
    if whole.get("type") == "object" and isinstance(whole.get("properties"), dict):
        whole.setdefault("additionalProperties", False)
    return whole


def values_of(text):
    """The JSON values that stand one after another in a text."""
    decoder, at, values = json.JSONDecoder(), 0, []
    text = text.decode() if isinstance(text, bytes) else text
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return values
        value, at = decoder.raw_decode(text, at)
        values.append(value)


class Route:
    """A path of the document."""

    def __init__(self, template, item):
        self.template, self.item = template, item
        pattern = re.sub(r"\\{key\\}$", "(.*)", re.escape(template))
        self.pattern = re.compile(re.sub(r"\\{[^}]*\\}", "([^/]*)", pattern), re.S)
        self.allowed = {name.upper() for name in item if name in METHODS} | {"OPTIONS"}


class Judge:
    def __init__(self, binary):
        def load(name):
            return json.loads(subprocess.run([binary, "help", name], check=True,
                                             capture_output=True).stdout)
        rest, rpc = load("openapi"), load("openrpc")
        self.rest = resolved(rest, rest)
        self.rpc_methods = {method["name"]: method for method in resolved(rpc, rpc)["methods"]}
        self.routes = sorted((Route(template, item)
                              for template, item in self.rest["paths"].items()),
                             key=lambda route: route.template.count("{"))
        self.validators = {}
        self.tried = collections.Counter()
        self.faults = {}
        self.case = None
        self.counting = True

    def fault(self, what, text):
        self.faults.setdefault(what, "%s: %s" % (self.case, text))

    def count(self, *what):
        if self.counting:
            self.tried[what] += 1

    def valid(self, schema, value, what):
        validator = self.validators.get(id(schema))
        if not validator:
            validator = jsonschema.Draft202012Validator(schema)
            self.validators[id(schema)] = validator
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if error:
            self.fault((what, error.message[:200]), "at %s: %s" % (
                list(error.absolute_path), repr(value)[:300]))
        return not error

    def schema(self, name, value, what):
        """By a schema of the OpenAPI document."""
        return self.valid(self.rest["components"]["schemas"][name], value, what)

    # HTTP

    def find(self, path):
        for route in self.routes:
            if route.pattern.fullmatch(path):
                return route
        return None

    def http(self, method, path, body, answer):
        path = path.split("?")[0]
        route = self.find(path)
        operation = route.item.get(method.lower()) if route and method.lower() in METHODS else None
        what = "%s %s %d" % (method, route.template if route else path[:60], answer.status)
        if method == "OPTIONS" and answer.status == 204:
            self.allow(route, answer, what)
        elif not operation:
            self.unknown(path, route, answer, what)
        else:
            self.known(operation, method, answer, what)
            if answer.status < 400:
                self.count("route", "%s %s" % (method, route.template))
            if answer.status == 200 and path in ("/rpc", "/"):
                self.rpc("rpc", body or b"", answer.body)

    def allow(self, route, answer, what):
        allowed = set(answer.headers.get("Allow", "").split(", "))
        wanted = route.allowed if route else None
        if wanted is None and "/kv-store/keys" in what:
            wanted = self.find("/kv-store/keys/a").allowed
        if allowed != wanted:
            self.fault(what, "Allow is %r" % answer.headers.get("Allow"))

    def unknown(self, path, route, answer, what):
        if answer.status not in UNKNOWN:
            self.fault(what, "the document does not know it")
        if answer.status == 405 and route:
            self.allow(route, answer, what)
        kind = "RpcFailure" if path in ("/rpc", "/") else "Problem"
        if (path + "/").startswith("/kv-store/"):
            kind = "KvStoreFailure"
        if answer.body:
            self.schema(kind, json.loads(answer.body), what)

    def known(self, operation, method, answer, what):
        response = operation["responses"].get(str(answer.status))
        if not response:
            self.fault(what, "the status is not in the document: %r" % answer.body[:200])
            return
        self.check_headers(response.get("headers", {}), answer.headers, what)
        content = response.get("content")
        if method == "HEAD" or not content:
            if answer.body:
                self.fault(what, "a body where there is none: %r" % answer.body[:200])
            return
        self.check_body(content, answer, what)

    def check_headers(self, declared, headers, what):
        lower = {name.lower(): header for name, header in declared.items()}
        for name, value in headers.items():
            header = lower.get(name.lower())
            if header:
                schema = header["schema"]
                number = schema.get("type") == "integer" and re.fullmatch(r"-?\d+", value)
                self.valid(schema, int(value) if number else value, what + " " + name)
            elif name.lower() not in TRANSPORT:
                self.fault((what, name), "the header %s is not in the document" % name)
        for name, header in declared.items():
            if header.get("required") and headers.get(name) is None:
                self.fault((what, name), "the header %s is missing" % name)

    def check_body(self, content, answer, what):
        kind = (answer.headers.get("Content-Type") or "").split(";")[0].strip()
        media = content.get(kind) or content.get("*/*")
        if not media:
            self.fault((what, kind), "the type %s is not in the document" % kind)
            return
        if "*/*" in content or media["schema"].get("format") == "binary":
            return
        try:
            if kind.endswith("json"):
                for value in values_of(answer.body): # JSON-RPC: none, or several
                    self.valid(media["schema"], value, what)
            else:
                packed = answer.headers.get("Content-Encoding") == "gzip"
                body = gzip.decompress(answer.body) if packed else answer.body
                self.valid(media["schema"], body.decode(), what)
        except ValueError as error:
            self.fault(what, "%s: %r" % (error, answer.body[:200]))

    def raw(self, sent, got):
        """The first answer to bytes that begin with a whole request line; what the library answers
        by itself (without X-Request-Id) is not ours."""
        line = re.match(rb"([A-Z]+) (/[\x21-\x7e]*) HTTP/1\.[01]\r?\n", sent)
        if not line or not got.startswith(b"HTTP/1.1 ") or b"\r\n\r\n" not in got:
            return
        head, rest = got.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ")[1])
        file = io.BytesIO(head.split(b"\r\n", 1)[1] + b"\r\n\r\n")
        headers = http.client.parse_headers(file)
        length = int(headers.get("Content-Length") or 0)
        if headers.get("X-Request-Id") is None or len(rest) < length or status < 200:
            return
        method = line.group(1).decode()
        body = b"" if method == "HEAD" else rest[:length]
        if headers.get("Transfer-Encoding"):
            return
        answer = collections.namedtuple("Answer", "status headers body")(status, headers, body)
        path = line.group(2).decode()
        if status >= 400: # of a request that may be malformed in any way
            self.unknown(path, None, answer, "raw %s %s %d" % (method, path[:60], status))
        elif path not in ("/rpc", "/"):
            self.http(method, path, None, answer)

    # JSON-RPC

    def rpc(self, door, sent, got):
        try:
            calls = values_of(sent)
        except (ValueError, RecursionError):
            calls = []
        flat = [call for value in calls
                for call in (value if isinstance(value, list) else [value])
                if isinstance(call, dict)]
        by_id = {}
        for call in flat:
            by_id.setdefault(json.dumps(call.get("id")), []).append(call)
        for value in values_of(got):
            for answer in value if isinstance(value, list) else [value]:
                same = by_id.get(json.dumps(answer.get("id")), [])
                self.rpc_answer(door, same[0] if len(same) == 1 else None, answer)

    def rpc_answer(self, door, call, answer):
        what = "%s %s" % (door, call.get("method") if call else None)
        name = call.get("method") if call else None
        method = self.rpc_methods.get(name) if isinstance(name, str) else None
        self.schema("RpcAnswer", answer, what)
        if answer.get("error") is not None:
            self.rpc_error(method, answer["error"], what)
        elif method and self.valid(method["result"]["schema"], answer.get("result"), what):
            self.count("jsonrpc" in answer and door or door + " 1.0", method["name"])

    def rpc_error(self, method, error, what):
        errors = method["errors"] if method else []
        words = [text.split(":")[0] for known in errors for text in known["message"].split(" | ")]
        word = error if isinstance(error, str) else error["message"].split(":")[0]
        general = word in ("SYNTAX", "UNKNOWN_COMMAND", "AUTH_REQUIRED", "FORBIDDEN")
        if method and word not in words and not general:
            self.fault((what, word), "an error that is not in the document: %r" % (error,))
        if isinstance(error, str):
            return
        numbers = [known["code"] for known in errors]
        if method and error["code"] not in numbers and error["code"] not in GENERAL_CODES:
            self.fault((what, error["code"]), "an error that is not in the document: %r" % error)

    # Lines

    def line(self, sent, got):
        """A line and the first line of what came back."""
        words = sent.split(b" ")
        if sent[:1] in b"{[":
            if got[:1] in b"{[": # else nothing, and the answer to what was sent behind it
                self.rpc("lines", sent, got)
        elif not got.startswith(b"+ERR"):
            self.count("verb", words[0].strip().decode("ascii", "replace").upper())

    # At the end

    def missing(self, engine):
        """What the documents name and no case has seen go through."""
        missing = []
        if not engine: # nobody is there to poke
            self.tried["route", "POST /internal/poke"] = 1
        for name, method in self.rpc_methods.items():
            for door in ("rpc", "lines"):
                if not self.tried[door, name]:
                    missing.append("%s over %s" % (name, door))
            for line in method["x-hati-lines"]:
                if not self.tried["verb", line.split(" ")[0]]:
                    missing.append("line " + line)
        for route in self.routes:
            for method in sorted(route.allowed - {"OPTIONS"}):
                if not self.tried["route", "%s %s" % (method, route.template)]:
                    missing.append("%s %s" % (method, route.template))
        return missing
