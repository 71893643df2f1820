# SPDX-License-Identifier: MIT
"""A collector of spans that takes nothing it was not promised: OTLP over HTTP with JSON."""
import http.server
import json
import re
import socket
import threading

from harness import Failure, check, same, wait_until

SPAN = {"traceId": r"[0-9a-f]{32}", "spanId": r"[0-9a-f]{16}", "parentSpanId": r"[0-9a-f]{16}",
        "startTimeUnixNano": r"[1-9][0-9]{18}", "endTimeUnixNano": r"[1-9][0-9]{18}",
        "traceState": r"[ -~]{1,512}"}
NEEDED = {"traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "flags",
          "attributes", "status"}
MAY = NEEDED | {"parentSpanId", "traceState", "links", "droppedLinksCount",
                "droppedAttributesCount"}
KINDS = {1: "INTERNAL", 2: "SERVER", 4: "PRODUCER", 5: "CONSUMER"}


def attributes(items):
    """The attributes as a dictionary; each key once, each value of one type."""
    found = {}
    for item in items:
        same(set(item), {"key", "value"}, "an attribute's members")
        check(item["key"] not in found, "%s stands twice" % item["key"])
        (kind, value), = item["value"].items()
        if kind == "intValue":
            check(isinstance(value, str) and re.fullmatch(r"-?\d+", value), "intValue is no text")
            value = int(value)
        else:
            check(kind == "stringValue" and isinstance(value, str), "a value of " + kind)
        found[item["key"]] = value
    return found


def plain(what, value, pattern):
    check(isinstance(value, str) and re.fullmatch(pattern, value), "%s is %r" % (what, value))


class Span:
    def __init__(self, span, resource):
        check(NEEDED <= set(span) <= MAY, "members of a span: %s" % sorted(span))
        for name, pattern in SPAN.items():
            if name in span:
                plain(name, span[name], pattern)
        check(span["kind"] in KINDS, "kind %r" % span["kind"])
        check(span["flags"] in (1, 0x101, 0x301), "flags %r" % span["flags"])
        same(bool(span["flags"] & 0x100), "parentSpanId" in span, "whether a parent is told of")
        check(span["status"] in ({}, {"code": 2}), "status %r" % span["status"])
        self.trace, self.id, self.parent = (span["traceId"], span["spanId"],
                                            span.get("parentSpanId"))
        check(self.trace.strip("0") and self.id.strip("0"), "an id of zeros")
        self.start, self.end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        check(self.start <= self.end, "a span ends before it begins")
        self.name, self.kind = span["name"], KINDS[span["kind"]]
        self.failed = span["status"] == {"code": 2}
        self.remote = bool(span["flags"] & 0x200)
        self.state = span.get("traceState")
        self.attributes = attributes(span["attributes"])
        self.resource = resource
        self.links = []
        for link in span.get("links", []):
            same(set(link), {"traceId", "spanId", "flags"}, "a link's members")
            plain("traceId", link["traceId"], SPAN["traceId"])
            plain("spanId", link["spanId"], SPAN["spanId"])
            self.links.append((link["traceId"], link["spanId"]))
        self.dropped_links = span.get("droppedLinksCount", 0)

    def __repr__(self):
        return "%s %s %s<%s" % (self.kind, self.name, self.id, self.parent)


def spans_of(body):
    document = json.loads(body)
    same(set(document), {"resourceSpans"}, "the members of a body")
    found = []
    for part in document["resourceSpans"]:
        same(set(part), {"resource", "scopeSpans"}, "the members of a resource's spans")
        same(set(part["resource"]), {"attributes"}, "the members of a resource")
        resource = attributes(part["resource"]["attributes"])
        for scope in part["scopeSpans"]:
            same(set(scope), {"scope", "spans"}, "the members of a scope's spans")
            same(scope["scope"]["name"], "hati", "the scope")
            check(0 < len(scope["spans"]) <= 512, "a batch of %d spans" % len(scope["spans"]))
            found += [Span(span, resource) for span in scope["spans"]]
    return found


class Collector:
    """answers: what is done with each POST in turn, the last for ever: a status, (status,
    headers), (status, headers, body), "close" or "hang"."""

    def __init__(self, *answers, context=None):
        self.answers = list(answers) or [200]
        self.spans, self.requests, self.faults, self.bodies = [], [], [], []
        self.lock = threading.Lock()
        self.release = threading.Event()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                collector.take(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # servers that end hang up
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = "%s://127.0.0.1:%d" % ("https" if context else "http", self.port)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def next_answer(self):
        with self.lock:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        answer = self.next_answer()
        with self.lock:
            self.requests.append((handler.path, dict(handler.headers)))
        if answer == "hang":
            self.release.wait(60)
            handler.close_connection = True
            return
        if answer == "close":
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        status, headers, text = ((answer,) if isinstance(answer, int) else answer) + (
            {}, b"{}")[(0 if isinstance(answer, int) else len(answer) - 1):]
        if status == 200:
            self.keep(handler, body)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        try:
            handler.end_headers()
            handler.wfile.write(text)
        except ConnectionError:
            pass  # a server that ends does not wait for the answer

    def keep(self, handler, body):
        try:
            same(handler.path, "/v1/traces", "the path")
            same(handler.headers["Content-Type"], "application/json", "the type")
            found = spans_of(body)
        except (Failure, ValueError, KeyError) as fault:
            self.faults.append("%s in %.2000s" % (fault, body.decode(errors="replace")))
            return
        with self.lock:
            self.bodies.append(len(found))
            self.spans += found

    def named(self, name, **wanted):
        """The spans of this name whose attributes are as wanted (. written as __)."""
        wanted = {key.replace("__", "."): value for key, value in wanted.items()}
        with self.lock:
            return [span for span in self.spans if span.name == name and
                    all(span.attributes.get(key) == value for key, value in wanted.items())]

    def wait(self, name, count=1, **wanted):
        wait_until(lambda: self.faults or len(self.named(name, **wanted)) >= count,
                   "no span %s came, but %r" % (name, self.spans[:20]))
        same(self.faults, [], "what is wrong with the bodies")
        return self.named(name, **wanted)

    def one(self, name, **wanted):
        found = self.wait(name, **wanted)
        same(len(found), 1, "spans called " + name)
        return found[0]

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
