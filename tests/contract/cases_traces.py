# SPDX-License-Identifier: MIT
"""Traces: taken from callers, handed on with messages, told to a collector, which may be slow, wrong
or away."""
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.parse

import harness
from collector import Collector
from harness import PATIENCE, Server, check, connect_http, same, wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = "00-%s-%s-01" % (TRACE, PARENT)
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
UNSAMPLED = "00-%s-%s-00" % (TRACE, PARENT)
STATE = 'congo=t61rcWkgMzE,rojo="q\\'
MALFORMED = ["", "00", SAMPLED.upper(), SAMPLED + "-", SAMPLED + "0", SAMPLED[:-1], "ff" + SAMPLED[2:],
             SAMPLED.replace("-", "_"), "00-" + "0" * 32 + SAMPLED[35:],
             SAMPLED[:36] + "0" * 16 + "-01", "0g" + SAMPLED[2:], SAMPLED[:-2] + "0x",
             SAMPLED + " x", "00-%s-%s-1" % (TRACE, PARENT)]


def queue(server, name, storage="memory"):
    same(server.request("PUT", "/broker/queues/" + name, json.dumps({"type": storage})).status, 201,
         "a queue")
    return name


def publish(server, name, headers=None, own=None):
    path = "/broker/routers/default/messages?key=" + name
    if own is not None:
        path += "&headers=" + urllib.parse.quote(json.dumps(own))
    answer = server.request("POST", path, "payload", headers)
    same(answer.status, 201, "a publish")
    return answer.json()["id"]


def receive(server, name, headers=None, **more):
    query = "".join("&%s=%s" % pair for pair in more.items())
    answer = server.request("POST", "/broker/queues/%s/receive?max=10%s" % (name, query), "", headers)
    return answer.json()["messages"]


def metric(server, name):
    for line in server.request("GET", "/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return int(line.split(" ")[1])
    return None


class Traced:
    """A server, and a collector it tells."""

    def __init__(self, *answers, flags=(), env=None, context=None):
        self.collector = Collector(*answers, context=context)
        self.server = Server("--otlp-endpoint", self.collector.url, *flags,
                             env=dict(SOON, **(env or {})))

    def __enter__(self):
        return self.server, self.collector

    def __exit__(self, *_):
        self.server.close()
        self.collector.close()


def a_message_carries_the_trace_of_its_publisher_without_a_collector(server):
    name = queue(server, "traced-plain")
    for sent in (SAMPLED, UNSAMPLED, "01" + SAMPLED[2:] + "-more"):
        publish(server, name, {"traceparent": sent, "tracestate": STATE})
        (message,) = receive(server, name)
        same(message["headers"], {"traceparent": "00" + sent[2:55], "tracestate": STATE},
             "headers for " + sent)
    publish(server, name)
    same(receive(server, name)[0]["headers"], {}, "headers without a trace")
    server.request("DELETE", "/broker/queues/" + name)


def what_is_no_trace_is_not_handed_on(server):
    name = queue(server, "traced-malformed")
    for sent in MALFORMED:
        publish(server, name, {"traceparent": sent})
        same(receive(server, name)[0]["headers"], {}, "headers for %r" % sent)
    twice = ("POST /broker/routers/default/messages?key=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0"
             "\r\nConnection: close\r\ntraceparent: %s\r\ntraceparent: %s\r\n\r\n")
    server.raw((twice % (name, SAMPLED, SAMPLED)).encode())
    same(receive(server, name)[0]["headers"], {}, "headers for two of them")
    for state in ("UPPER=x", "a", "a=b,a=c", "=x", "a=", "a=b=c", ",".join("k%d=v" % i for i in
                                                                            range(33)), "a=\x80"):
        publish(server, name, {"traceparent": SAMPLED, "tracestate": state.encode("latin-1")})
        same(receive(server, name)[0]["headers"], {"traceparent": SAMPLED}, "state %r" % state)
    server.request("DELETE", "/broker/queues/" + name)


def a_trace_that_the_message_has_stays_and_full_headers_stay_as_they_are(server):
    name = queue(server, "traced-own")
    own = {"a": [1, {"b": "}\\\""}], "Traceparent": "mine"}
    call = {"router": "default", "key": name, "payload": "x", "headers": own}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Broker.Publish", "params": call})
    head = {"Content-Type": "application/json", "traceparent": SAMPLED}
    same(server.request("POST", "/rpc", body, head).json().get("error"), None, "a publish")
    same(receive(server, name)[0]["headers"], own, "headers that had one")
    before = metric(server, "hati_traces_left_out_total")
    for size, fits in ((65536, False), (65536 - 70, False), (65536 - 73, True)):
        call["headers"] = {"h": "x" * (size - len('{"h":""}'))}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Broker.Publish", "params": call})
        same(server.request("POST", "/rpc", body, head).json().get("error"), None, "a publish")
        got = receive(server, name)[0]["headers"]
        wanted = dict(call["headers"], **({"traceparent": SAMPLED} if fits else {}))
        check(got == wanted, "headers of %d bytes came as %s" % (size, sorted(got)))
    if not Server.engine or Server.nodes == 1:
        same(metric(server, "hati_traces_left_out_total") - before, 2, "those left out")
    server.request("DELETE", "/broker/queues/" + name)


def the_trace_comes_through_each_door_to_each_consumer(server):
    name = queue(server, "traced-doors", "hdd")
    line = server.line()
    params = {"router": "default", "key": name, "payload": "x"}
    rpc = lambda method, **more: {"jsonrpc": "2.0", "id": 1, "method": method, "params": more}
    batch = {"ops": [{"op": "set", "key": "traced", "value": "v"},
                     dict({"op": "publish", "routing-key": name, "router": "default"},
                          payload="x")]}
    head = {"traceparent": SAMPLED, "Content-Type": "application/json"}

    def by_rpc(call):
        answer = server.request("POST", "/rpc", json.dumps(call), head).json()
        check("error" not in answer, "%r" % answer)

    publishers = [
        lambda: publish(server, name, {"traceparent": SAMPLED}),
        lambda: by_rpc(rpc("Broker.Publish", **params)),
        lambda: by_rpc(rpc("Broker.PublishMany", router="default",
                           messages=[{"key": name, "payload": "x"}])),
        lambda: by_rpc(rpc("Storage.Batch", **batch)),
        lambda: line.ask(json.dumps(rpc("Broker.Publish", **dict(
            params, headers={"traceparent": SAMPLED})))),
    ]
    for publisher in publishers:
        publisher()
    messages = receive(server, name)
    same([message["headers"] for message in messages], [{"traceparent": SAMPLED}] * len(publishers),
         "the headers by REST")
    for message in messages:
        server.request("POST", "/broker/queues/%s/messages/%s/nack" % (name, message["receipt"]))
    answer = server.rpc("Broker.Receive", {"queue": name, "max": 2})
    same([m["headers"] for m in answer["result"]["messages"]], [{"traceparent": SAMPLED}] * 2,
         "the headers by JSON-RPC")
    answer = json.loads(line.ask(json.dumps(rpc("Broker.Receive", queue=name, max=1))))
    same([m["headers"] for m in answer["result"]["messages"]], [{"traceparent": SAMPLED}],
         "the headers by JSON lines")
    connection = connect_http(server.http, PATIENCE)
    connection.request("GET", "/broker/queues/%s/stream" % name)
    stream = connection.getresponse()
    data = next(text for text in iter(stream.readline, b"") if text.startswith(b"data: "))
    same(json.loads(data[6:])["headers"], {"traceparent": SAMPLED}, "the headers in the stream")
    connection.close()
    line.close()
    server.request("DELETE", "/broker/queues/" + name)


def a_request_is_a_span_below_its_callers():
    with Traced(env={"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "team=a%20b,host.name=x"}
                ) as (server, collector):
        head = {"traceparent": SAMPLED, "tracestate": STATE}
        same(server.request("PUT", "/api/ns/secret-key", "v", head).status, 204, "a write")
        span = collector.one("Storage.Set")
        same((span.trace, span.parent, span.remote, span.kind, span.failed, span.state),
             (TRACE, PARENT, True, "SERVER", False, STATE), "the span")
        wanted = {"http.request.method": "PUT", "http.route": "/api/{namespace}/{key}",
                  "url.path": "/api/{namespace}/{key}", "http.response.status_code": 204,
                  "url.scheme": "https" if harness.tls else "http",
                  "network.protocol.name": "http", "network.protocol.version": "1.1",
                  "network.peer.address": "127.0.0.1", "client.address": "127.0.0.1",
                  "server.port": server.http}
        same(span.attributes, wanted, "its attributes")
        same(span.resource["service.name"], "shop", "the service")
        same((span.resource["team"], span.resource["process.pid"]), ("a b", server.process.pid),
             "its attributes")
        check(span.resource["host.name"] != "x", "our own is said by others")
        commit = collector.one("commit")
        same((commit.trace, commit.parent, commit.kind, commit.remote),
             (TRACE, span.id, "INTERNAL", False), "the time it was parked")
        check(span.start <= commit.start <= commit.end <= span.end, "it is not within its parent")
        check(abs(span.start / 1e9 - time.time()) < 60, "it was long ago")
        same(server.request("GET", "/api/ns/nothing").status, 404, "a miss")
        miss = collector.one("Storage.GetEntry", http__response__status_code=404)
        same((miss.parent, miss.failed, miss.attributes["error.type"]),
             (None, False, "KEY_NOT_EXIST"), "a miss")
        check(miss.trace != TRACE, "it is in somebody else's trace")
        server.request("GET", "/healthz")
        server.request("GET", "/nowhere", headers={"traceparent": SAMPLED})
        same(collector.one("GET").parent, PARENT, "of an unknown path")
        server.request("GET", "/kv-store/key-count")
        collector.one("GET /kv-store/key-count")
        same(collector.named("GET /healthz"), [], "spans of probes")
        check(not any("secret-key" in repr(span.attributes) for span in collector.spans),
              "a key left the server")


def calls_of_json_rpc_are_spans_below_that_of_their_request():
    with Traced() as (server, collector):
        calls = [{"jsonrpc": "2.0", "id": 1, "method": "Storage.Set",
                  "params": {"type": "hdd", "key": "k", "value": "v"}},
                 {"jsonrpc": "2.0", "id": 2, "method": "Storage.Get",
                  "params": {"type": "memory", "key": "nothing"}},
                 {"jsonrpc": "2.0", "method": "Server.Ping"}, 7]
        server.request("POST", "/rpc", json.dumps(calls),
                       {"Content-Type": "application/json", "traceparent": SAMPLED})
        whole = collector.one("JSON-RPC")
        same((whole.trace, whole.parent, whole.attributes["http.route"]), (TRACE, PARENT, "/rpc"),
             "the request")
        written, read, ping = (collector.one(name) for name in
                               ("Storage.Set", "Storage.Get", "Server.Ping"))
        for span in (written, read, ping):
            same((span.trace, span.parent, span.kind, span.attributes["rpc.system"],
                  span.attributes["rpc.method"]), (TRACE, whole.id, "SERVER", "jsonrpc", span.name),
                 "a call")
        same((read.attributes["rpc.jsonrpc.error_code"], read.attributes["error.type"]),
             (-32001, "KEY_NOT_EXIST"), "its error")
        same(collector.one("commit").parent, written.id, "the commit")
        line = server.line()
        line.ask(json.dumps(calls[1]))
        alone = collector.wait("Storage.Get", 2)[1]
        same((alone.parent, alone.attributes["rpc.system"]), (None, "jsonrpc"), "by JSON lines")
        line.ask("GET memory nothing")
        words = collector.wait("Storage.Get", 3)[2]
        same((words.attributes["network.protocol.name"], words.attributes["error.type"]),
             ("hati", "KEY_NOT_EXIST"), "by words")
        line.ask("SET hdd 0 k v")
        collector.one("Storage.Set", network__protocol__name="hati")
        line.close()


def publish_and_deliver_are_linked():
    with Traced() as (server, collector):
        name = queue(server, "linked", "hdd")
        key = publish(server, name, {"traceparent": SAMPLED})
        request = collector.one("Broker.Publish")
        sent = collector.one("publish default")
        same((sent.trace, sent.parent, sent.kind), (TRACE, request.id, "PRODUCER"), "the publish")
        same((sent.attributes["messaging.system"], sent.attributes["messaging.destination.name"],
              sent.attributes["messaging.message.id"], sent.attributes["messaging.operation.type"]),
             ("hati", "default", key, "send"), "its attributes")
        (message,) = receive(server, name)
        same(message["headers"]["traceparent"], "00-%s-%s-01" % (TRACE, sent.id), "what it carries")
        got = collector.one("deliver " + name)
        same((got.parent, got.kind, got.links),
             (collector.one("Broker.Receive").id, "CONSUMER", [(TRACE, sent.id)]), "the delivery")
        publish(server, name, {"traceparent": UNSAMPLED})
        (message,) = receive(server, name, {"traceparent": UNSAMPLED})
        same(message["headers"]["traceparent"], UNSAMPLED, "of one that is not recorded")
        line = server.line()
        same(line.ask("SUBSCRIBE " + name), "+OK", "SUBSCRIBE")
        line.send("PUBLISH default %s x\n" % name)
        heads = sorted(line.file.readline()[:3] for _ in range(3))
        same(heads, [b"+OK", b"MSG", b"x\n"], "what came")
        pushed = collector.wait("deliver " + name, 2)[1]
        producer = collector.wait("publish default", 2)[1]
        same((pushed.trace, pushed.parent, pushed.links),
             (producer.trace, producer.id, [(producer.trace, producer.id)]), "pushed")
        line.close()
        same(len(collector.named("publish default")), 2, "publishes that were recorded")


def calls_that_publish_are_told_once_and_link_what_messages_bring():
    with Traced() as (server, collector):
        name = queue(server, "brought", "hdd")
        head = {"traceparent": SAMPLED, "Content-Type": "application/json"}
        call = {"jsonrpc": "2.0", "id": 1, "method": "Broker.Publish",
                "params": {"router": "default", "key": name, "payload": "x"}}
        many = {"jsonrpc": "2.0", "id": 2, "method": "Broker.PublishMany", "params": {
            "router": "default", "messages": [{"key": name, "payload": "x"},
                                              {"key": name, "payload": "x",
                                               "headers": {"traceparent": SAMPLED}}]}}
        batch = {"jsonrpc": "2.0", "id": 3, "method": "Storage.Batch", "params": {"ops": [
            {"op": "set", "key": "brought", "value": "v"},
            {"op": "publish", "router": "default", "routing-key": name, "payload": "x"}]}}
        server.request("POST", "/rpc", json.dumps([call, many, batch]), head)
        one, two = (collector.one("Broker." + method) for method in ("Publish", "PublishMany"))
        three = collector.one("Storage.Batch")
        sent = {span.parent: span for span in collector.wait("publish default", 2)}
        alone, several = sent[one.id], sent[two.id]
        last = collector.one("publish")
        same(last.parent, three.id, "the publish of a batch")
        same((several.attributes["messaging.batch.message_count"], several.links),
             (2, [(TRACE, PARENT)]), "of several")
        same([message["headers"]["traceparent"] for message in receive(server, name)],
             ["00-%s-%s-01" % (TRACE, span.id) for span in (alone, several)] + [SAMPLED] +
             ["00-%s-%s-01" % (TRACE, last.id)], "what they carry")
        got = collector.one("deliver " + name)
        same(got.links, [(TRACE, alone.id), (TRACE, several.id), (TRACE, PARENT),
                         (TRACE, last.id)], "what is linked")
        line = server.line()
        call["params"]["headers"] = {"traceparent": SAMPLED}
        line.ask(json.dumps(call))
        wait_until(lambda: len(collector.named("Broker.Publish")) == 2, "no span of the line")
        by_line = collector.named("Broker.Publish")[1]
        same((by_line.trace, by_line.parent, by_line.remote), (TRACE, PARENT, True), "by JSON lines")
        line.close()


def who_says_not_to_record_is_heard_and_others_are_drawn():
    with Traced(flags=["--otlp-sample", "0"]) as (server, collector):
        server.request("GET", "/api/ns/a")
        server.request("GET", "/api/ns/b", headers={"traceparent": UNSAMPLED})
        server.request("GET", "/api/ns/c", headers={"traceparent": SAMPLED})
        collector.wait("Storage.GetEntry")
        same(server.stop(), 0, "the end")
        same(len({span.trace for span in collector.spans}), 1, "traces")
        same(len(collector.named("Storage.GetEntry")), 1, "spans")
    with Traced(flags=["--otlp-sample=0.5"]) as (server, collector):
        line = server.line()
        line.send("PING\nHAS memory x\n" * 1000)
        for _ in range(2000):
            line.read_line()
        same(server.stop(), 0, "the end")
        line.close()
        count = len(collector.named("Storage.Has"))
        check(350 < count < 650, "%d of 1000 were drawn" % count)
    with Traced(flags=["--otlp-sample", "0.5"]) as (server, collector):
        body = json.dumps([{"jsonrpc": "2.0", "id": i, "method": "Server.Ping"} for i in range(10)])
        for _ in range(40):
            server.rpc_raw(body)
        same(server.stop(), 0, "the end")
        requests = len(collector.named("JSON-RPC"))
        check(0 < requests < 40, "%d of 40 requests were drawn" % requests)
        same(len(collector.named("Server.Ping")), 10 * requests, "calls of those")


def strangers_do_not_choose_what_is_recorded():
    flags = ["--otlp-sample", "0"]
    env = {"HATI_JWT_SECRET": "a secret of this test, of more than 32 bytes"}
    with Traced(flags=flags, env=env) as (server, collector):
        same(server.request("GET", "/api/ns/k", headers={"traceparent": SAMPLED}).status, 401, "")
        same(server.stop(), 0, "the end")
        same(collector.spans, [], "spans")


def headers_go_to_the_collector_and_come_from_a_file_or_the_environment():
    with Traced(env={"OTEL_EXPORTER_OTLP_HEADERS": "x-token=a%20b, x-other = c"}) as (server, collector):
        server.request("GET", "/api/ns/k")
        collector.wait("Storage.GetEntry")
        headers = collector.requests[0][1]
        same((headers.get("x-token"), headers.get("x-other")), ("a b", "c"), "headers")
    collector = Collector()
    server = Server(env=dict(SOON, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url + "/v1/traces/",
                             OTEL_SERVICE_NAME=""))
    try:
        server.request("GET", "/api/ns/k")
        same(collector.one("Storage.GetEntry").resource["service.name"], "hati", "the service")
        same(server.stop(), 0, "the end")
        path = os.path.join(server.dir, "headers")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# of the collector\nAuthorization: Bearer x:y\n\n")
        server.start("--otlp-headers-file", path)
        server.request("GET", "/api/ns/k")
        collector.wait("Storage.GetEntry", 2)
        same(collector.requests[-1][1].get("Authorization"), "Bearer x:y", "the header")
    finally:
        server.close()
        collector.close()


def settings_that_are_none_are_refused():
    for flags in (["--otlp-endpoint", "ftp://x"], ["--otlp-endpoint", "http://a:b@x"],
                  ["--otlp-endpoint", "http://x/?y"], ["--otlp-endpoint", "http://x", "--otlp-sample", "2"],
                  ["--otlp-endpoint", "http://x", "--otlp-sample", "-1"],
                  ["--otlp-endpoint", "http://x", "--otlp-sample", "."]):
        try:
            Server(*flags).close()
        except harness.Failure:
            continue
        raise harness.Failure("the server started with %r" % flags)


def a_collector_that_fails_for_a_while_gets_all():
    answers = (503, "close", (429, {"Retry-After": "1"}), 200)
    with Traced(*answers) as (server, collector):
        for i in range(600):
            server.request("GET", "/api/ns/k")
        collector.wait("Storage.GetEntry", 600)
        check(len(collector.requests) >= 5, "it was asked %d times" % len(collector.requests))
        check(max(collector.bodies) > 1, "spans come one by one")
        wait_until(lambda: metric(server, "hati_spans_exported_total") >= 600, "they are not counted")
        for reason in ("full", "away", "refused"):
            same(metric(server, 'hati_spans_dropped_total{reason="%s"}' % reason), 0, reason)


def what_a_collector_refuses_is_counted():
    partial = json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no"}}).encode()
    with Traced(500, (200, {}, partial)) as (server, collector):
        server.request("GET", "/openapi.json")
        refused = lambda: metric(server, 'hati_spans_dropped_total{reason="refused"}')
        wait_until(lambda: refused() == 1, "the first was not refused")
        server.request("GET", "/openapi.json")
        wait_until(lambda: refused() == 2, "the second was not refused")
        check("answered 500" in server.log_text(), "nothing is said of it")


def a_collector_that_stays_away_is_one_line_of_the_log():
    collector = Collector()
    server = Server("--otlp-endpoint", collector.url, env=SOON)
    try:
        collector.close()
        server.request("GET", "/api/ns/k")
        told = lambda: server.log_text().count("cannot be reached")
        wait_until(lambda: told() == 1, "nothing is said of it")
        same(server.stop(), 0, "the end")  # which tries once more
        same(told(), 1, "lines of the log")
    finally:
        server.close()


def a_collector_that_hangs_holds_nobody_up():
    with Traced("hang") as (server, collector):
        line = server.line()
        line.send("HAS memory x\n" * 12000)
        for _ in range(12000):
            line.read_line()
        wait_until(lambda: collector.requests, "nothing came")
        check(metric(server, 'hati_spans_dropped_total{reason="full"}') >= 12000 - 8192 - 512,
              "what found no room is not counted")
        check(metric(server, "hati_spans_waiting") <= 8192, "too many wait")
        line.close()
        start = time.monotonic()
        same(server.stop(), 0, "the end")
        check(time.monotonic() - start < 15, "a collector that hangs holds up the end")


def what_waits_is_sent_before_the_end():
    count = 1000  # a batch that goes at once, and a rest that would wait for long
    with Traced(env={"OTEL_BSP_SCHEDULE_DELAY": "60000"}) as (server, collector):
        line = server.line()
        line.send("HAS memory x\n" * count)
        for _ in range(count):
            line.read_line()
        line.close()
        same(server.stop(), 0, "the end")
        same(collector.faults, [], "what is wrong with the bodies")
        same(len(collector.named("Storage.Has")), count, "spans")
        same(len({span.id for span in collector.named("Storage.Has")}), count, "their ids")


def a_collector_that_nobody_vouches_for_gets_nothing():
    folder = tempfile.mkdtemp(prefix="hati-traces-")
    cert, key = os.path.join(folder, "cert"), os.path.join(folder, "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-subj",
                    "/CN=collector", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    try:
        with Traced(context=context) as (server, collector):
            server.request("GET", "/api/ns/k")
            wait_until(lambda: "certificate" in server.log_text(), "nothing is said of it")
            same(server.stop(), 0, "the end")
            same(collector.requests, [], "what it got")
            server.start("--otlp-ca", cert)
            server.request("GET", "/api/ns/k")
            collector.wait("Storage.GetEntry")
    finally:
        shutil.rmtree(folder)


ALONE = [a_request_is_a_span_below_its_callers, calls_of_json_rpc_are_spans_below_that_of_their_request,
         publish_and_deliver_are_linked,
         calls_that_publish_are_told_once_and_link_what_messages_bring, who_says_not_to_record_is_heard_and_others_are_drawn,
         strangers_do_not_choose_what_is_recorded,
         headers_go_to_the_collector_and_come_from_a_file_or_the_environment,
         settings_that_are_none_are_refused, a_collector_that_fails_for_a_while_gets_all,
         what_a_collector_refuses_is_counted,
         a_collector_that_stays_away_is_one_line_of_the_log, a_collector_that_nobody_vouches_for_gets_nothing, a_collector_that_hangs_holds_nobody_up,
         what_waits_is_sent_before_the_end]
SHARED = [a_message_carries_the_trace_of_its_publisher_without_a_collector,
          what_is_no_trace_is_not_handed_on,
          a_trace_that_the_message_has_stays_and_full_headers_stay_as_they_are,
          the_trace_comes_through_each_door_to_each_consumer]


def run(runner, server):
    for case in SHARED:
        runner.case("traces: " + case.__name__, lambda case=case: case(server))


def run_alone(runner):
    for case in ALONE:
        runner.case("traces: " + case.__name__, case)
