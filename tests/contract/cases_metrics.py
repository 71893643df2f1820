# SPDX-License-Identifier: MIT
"""The page of /metrics: its formats, who may read it, and that it counts what was asked."""
import json
import re
import time

from cases_auth import SECRET, token
from harness import Server, check, same, wait_until

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def page(server, **headers):
    answer = server.request("GET", "/metrics", headers=headers)
    same(answer.status, 200, "GET /metrics")
    return answer


def value(text, series):
    found = re.search("^" + re.escape(series) + r" (\S+)$", text, re.M)
    return float(found.group(1)) if found else 0


def the_page_comes_in_both_formats(server):
    prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    for accept, wanted in ((None, TEXT), ("*/*", TEXT), ("text/plain", TEXT), (prometheus, OPENMETRICS),
                           ("application/openmetrics-text", OPENMETRICS),
                           ("application/openmetrics-text;version=2.0.0, */*", TEXT),
                           ("application/openmetrics-text;q=0.1, text/plain;q=0.9", TEXT),
                           ("application/openmetrics-text; q=0", TEXT)):
        answer = page(server, **({"Accept": accept} if accept else {}))
        same(answer.headers["Content-Type"], wanted, str(accept))
        text = answer.body.decode()
        same(text.endswith("# EOF\n"), wanted == OPENMETRICS, "# EOF")
        counter = "hati_requests" if wanted == OPENMETRICS else "hati_requests_total"
        check("# TYPE %s counter\n" % counter in text, "the type of a counter")
        same("# UNIT hati_uptime_seconds seconds\n" in text, wanted == OPENMETRICS, "units")


def the_page_has_each_family_once_and_each_series_once(server):
    text = page(server).body.decode()
    names = re.findall(r"^# TYPE (\S+)", text, re.M)
    same(len(names), len(set(names)), "families")
    series = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    same(len(series), len(set(series)), "series")
    for line in series:
        check(re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})?', line), line)


def other_methods_are_refused(server):
    for method in ("POST", "PUT", "DELETE"):
        answer = server.request(method, "/metrics")
        same(answer.status, 405, method)
        same(answer.headers["Allow"], "GET, HEAD, OPTIONS")
    same(server.request("HEAD", "/metrics").status, 200)


def requests_are_counted_by_door_operation_and_code(server):
    body = json.dumps([{"jsonrpc": "2.0", "id": i, "method": "Storage.Get",
                        "params": {"type": "memory", "key": "metrics-none"}} for i in range(3)])

    def ask():
        line = server.line()
        same(line.ask("SET memory 0 metrics-key 1"), "+OK")
        check(line.ask("GET memory metrics-none").startswith("+ERR KEY_NOT_EXIST"), "GET")
        line.close()
        same(server.request("GET", "/api/metrics/none?type=memory").status, 404)
        server.rpc_raw(body)

    wanted = {('line', "Storage.Set", "OK"): 1, ("line", "Storage.Get", "KEY_NOT_EXIST"): 1,
              ("http_rest", "Storage.GetEntry", "KEY_NOT_EXIST"): 1,
              ("http_rpc", "Storage.Get", "KEY_NOT_EXIST"): 3}
    before = page(server).body.decode()
    ask()
    after = page(server).body.decode()
    for (door, operation, code), more in wanted.items():
        labels = 'door="%s",operation="%s"' % (door, operation)
        series = 'hati_requests_total{%s,code="%s"}' % (labels, code)
        same(value(after, series) - value(before, series), more, series)
        count = "hati_request_duration_seconds_count{%s}" % labels
        check(value(after, count) - value(before, count) >= more, count)
        last = 'hati_request_duration_seconds_bucket{%s,le="+Inf"}' % labels
        same(value(after, last), value(after, count), last)
    series = 'hati_refusals_total{code="KEY_NOT_EXIST"}'
    same(value(after, series) - value(before, series), 5, series)
    for door in ("line", "http_rest", "http_rpc"):
        for family in ("hati_received_bytes_total", "hati_sent_bytes_total"):
            series = '%s{door="%s"}' % (family, door)  # bytes count once the answer is on its way
            wait_until(lambda: value(page(server).body.decode(), series) > value(before, series),
                       series)


def a_queue_has_series_with_its_name_escaped(server):
    name = 'metrics-\\-"-q'
    line = server.line()
    same(line.ask("CREATEQUEUE %s type=memory" % name), "+OK")
    for _ in range(3):
        check(line.ask("PUBLISH default %s x" % name).startswith("+OK"), "PUBLISH")
    text = page(server).body.decode()
    labels = '{queue="metrics-\\\\-\\"-q"}'
    same(value(text, "hati_queue_ready_messages" + labels), 3)
    same(value(text, "hati_queue_published_total" + labels), 3)
    same(line.ask("DELETEQUEUE " + name), "+OK")
    check(labels not in page(server).body.decode(), "a deleted queue has none")
    line.close()


def only_admins_read_the_page(server):
    same(server.request("GET", "/metrics").status, 401)
    same(server.request("GET", "/metrics", token="x").status, 401)
    for scope, status in (("kv:read", 403), ("broker:publish:*", 403), ("admin", 200), (None, 200)):
        for path in ("/metrics", "/stats"):
            same(server.request("GET", path, token=token(scope=scope)).status, status,
                 "%s with %s" % (path, scope))


def the_token_cache_is_counted(server):
    good = token(scope="admin", exp=int(time.time()) + 1234)
    texts = [server.request("GET", "/metrics", token=good).body.decode() for _ in range(2)]
    series = "hati_token_cache_hits_total"
    same(value(texts[1], series) - value(texts[0], series), 1, series)


def too_many_queues_have_no_series(server):
    line = server.line()
    for i in range(1001):
        line.send("CREATEQUEUE many-%d type=memory\n" % i)
    for _ in range(1001):
        same(line.read_line(), b"+OK\n")
    text = page(server).body.decode()
    same(value(text, "hati_queues"), 1001)
    same(value(text, "hati_queues_listed"), 0)
    check("{queue=" not in text, "no series of queues")
    same(line.ask("DELETEQUEUE many-0"), "+OK")
    text = page(server).body.decode()
    same(value(text, "hati_queues_listed"), 1000)
    check('hati_queue_ready_messages{queue="many-1000"} 0\n' in text, "a queue's series")
    line.close()


def what_rests_is_in_lmdb_soon(server):
    def lag():
        return value(page(server).body.decode(), "hati_journal_lag_records")

    line = server.line()
    same(line.ask("CREATEQUEUE rests type=hdd"), "+OK")
    for one, commands in (("keys", ("SET hdd 0 rests 1", "DELETE hdd rests")),
                          ("messages", ("PUBLISH default rests x", "FLUSH rests"))):
        for command in commands:
            wait_until(lambda: lag() == 0, "what was there before %s" % one)
            check(line.ask(command).startswith("+OK"), command)
    wait_until(lambda: lag() == 0, "the last of it")
    same(line.ask("DELETEQUEUE rests"), "+OK")
    line.close()


def run(runner, server):
    for case in (the_page_comes_in_both_formats, the_page_has_each_family_once_and_each_series_once,
                 other_methods_are_refused, requests_are_counted_by_door_operation_and_code,
                 a_queue_has_series_with_its_name_escaped):
        runner.case(case.__name__, lambda case=case: case(server))


def run_alone(runner):
    for flags, cases in (({"HATI_JWT_SECRET": SECRET}, (only_admins_read_the_page,
                                                        the_token_cache_is_counted)),
                         ({}, (what_rests_is_in_lmdb_soon, too_many_queues_have_no_series))):
        server = Server(env=flags)
        for case in cases:
            runner.case(case.__name__, lambda case=case: case(server))
        server.close()
