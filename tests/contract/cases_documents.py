# SPDX-License-Identifier: MIT
"""The documents are served, and what they give as examples goes through every door."""
import json
import urllib.parse

from harness import Failure, Server, check, same, sign

SECRET = "a development secret of more than 32 bytes"
SEED = [
    ("Broker.CreateQueue", {"queue": "jobs"}),
    ("Broker.CreateRouter", {"router": "events", "type": "topic"}),
    ("Broker.Bind", {"router": "events", "queue": "jobs", "pattern": "orders.#"}),
    ("Broker.Publish", {"router": "events", "key": "orders.new", "payload": "hello"}),
    ("Broker.Publish", {"router": "events", "key": "orders.new", "payload": "hello"}),
    ("Storage.Set", {"type": "hdd", "key": "greeting", "value": "hello", "ttl": 60000}),
    ("Storage.SetMany", {"type": "hdd", "entries": {"visits": "0", "n": "0"}}),
]


def document(server, name):
    answer = server.request("GET", "/" + name)
    same((answer.status, answer.headers["Content-Type"]), (200, "application/json"), name)
    return answer.json()


def they_are_served_and_known_by_their_etag(server):
    for name in ("openapi.json", "openrpc.json"):
        answer = server.request("GET", "/" + name)
        etag = answer.headers["ETag"]
        for given, status in ((etag, 304), ("*", 304), ('"other", %s' % etag, 304),
                              ("W/" + etag, 304), ('"other"', 200), ("", 200)):
            again = server.request("GET", "/" + name, headers={"If-None-Match": given})
            same((again.status, again.headers["ETag"]), (status, etag), given)
            same(again.body, answer.body if status == 200 else b"", given)
        head = server.request("HEAD", "/" + name)
        same((head.status, head.headers["Content-Length"], head.body),
             (200, str(len(answer.body)), b""))
    same(server.rpc("rpc.discover")["result"], document(server, "openrpc.json"), "rpc.discover")


def they_are_open_to_all(_):
    server = Server(env={"HATI_JWT_SECRET": SECRET})
    try:
        for name in ("openapi.json", "openrpc.json"):
            document(server, name)
        same(server.request("GET", "/stats").status, 401, "the rest is not")
        same(server.rpc_raw('{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}').status, 401)
        line = server.line()
        answer = json.loads(line.ask('{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'))
        same(answer["error"]["code"], -32013, "on lines as on HTTP")
        line.close()
        token = sign({"exp": 99999999999}, SECRET)
        check("result" in server.rpc("rpc.discover", token=token), "any token opens it")
    finally:
        server.close()


def seed(server):
    """What the examples are about, made anew; a receipt."""
    for method, params in (("Broker.DeleteRouter", {"router": "events"}),
                           ("Broker.DeleteQueue", {"queue": "jobs"})):
        server.rpc(method, params)
    for method, params in SEED:
        check("result" in server.rpc(method, params), "%s of the seed" % method)
    messages = server.rpc("Broker.Receive", {"queue": "jobs"})["result"]["messages"]
    return messages[0]["receipt"]


def with_receipt(params, receipt):
    params = dict(params)
    if "receipt" in params:
        params["receipt"] = receipt
    if "receipts" in params:
        params["receipts"] = [receipt]
    return params


def over_http(server, call):
    return server.rpc_raw(json.dumps(call)).json()


def over_lines(server, call):
    line = server.line()
    try:
        return json.loads(line.ask(json.dumps(call)))
    finally:
        line.close()


def as_1_0(server, call):
    return over_http(server, {"id": 1, "method": call["method"], "params": [call["params"]]})


def placed(server, call):
    """By place, up to the first that is left out."""
    methods = {method["name"]: method for method in document(server, "openrpc.json")["methods"]}
    params = []
    for param in methods[call["method"]]["params"]:
        if param["name"] not in call["params"]:
            break
        params.append(call["params"][param["name"]])
    return over_http(server, dict(call, params=params))


def examples_of_methods_go_through(server):
    for method in document(server, "openrpc.json")["methods"]:
        for send in (over_http, over_lines, as_1_0, placed):
            example = method["examples"][0]
            params = {param["name"]: param["value"] for param in example["params"]}
            params = with_receipt(params, seed(server))
            answer = send(server, {"jsonrpc": "2.0", "id": 1, "method": method["name"],
                                   "params": params})
            if answer.get("error") is not None:
                raise Failure("%s %s: %r" % (send.__name__, method["name"], answer["error"]))
            wanted = example["result"]["value"]
            if isinstance(wanted, dict):
                same(set(wanted) - set(answer["result"]), set(), method["name"])
            else:
                same(type(answer["result"]), type(wanted), method["name"])


def request_of(path, operation, receipt):
    """Path with its query, headers and body, as the examples have them."""
    query, headers, body = {}, {}, None
    for param in operation.get("parameters", []):
        example = param.get("example")
        if param["in"] == "path":
            example = receipt if param["name"] == "receipt" else example
            path = path.replace("{%s}" % param["name"], urllib.parse.quote(str(example), safe=""))
        elif param["in"] == "query" and example is not None:
            query[param["name"]] = example
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        if "example" in media:
            example = media["example"]
            body = example if kind == "*/*" else json.dumps(with_receipt(example, receipt))
            headers["Content-Type"] = "text/plain" if kind == "*/*" else kind
    return path + ("?" + urllib.parse.urlencode(query) if query else ""), headers, body


def examples_of_routes_go_through(server):
    for path, item in document(server, "openapi.json")["paths"].items():
        for method, operation in item.items():
            if method == "parameters" or path in ("/broker/queues/{queue}/stream",
                                                  "/internal/poke", "/assets/{set}/{file}"):
                continue
            if path == "/" and method != "post": # cases_pages.py
                continue
            if "application/octet-stream" in operation.get("requestBody", {}).get("content", {}):
                continue  # cases_snapshot.py: bytes are no example
            target, headers, body = request_of(path, operation, seed(server))
            answer = server.request(method.upper(), target, body, headers)
            same(answer.status // 100, 2, "%s %s: %r" % (method, target, answer.body))
            known = set(operation["responses"])
            check(str(answer.status) in known, "%s %s: %d" % (method, target, answer.status))


def what_is_no_call_and_no_route_of_examples(server):
    """A stream without its events, and what nodes of an engine say to each other."""
    seed(server)
    answer = server.request("HEAD", "/broker/queues/jobs/stream")
    same((answer.status, answer.headers["Content-Type"]), (200, "text/event-stream"), "HEAD")
    answer = server.request("POST", "/internal/poke?queue=1")
    same(answer.status, 204 if Server.engine else 404, "a poke")


def every_path_tells_its_methods(server):
    for path, item in document(server, "openapi.json")["paths"].items():
        methods = {method.upper() for method in item if method != "parameters"} | {"OPTIONS"}
        operations = [operation for method, operation in item.items() if method != "parameters"]
        target = request_of(path, operations[0], "1.1.1")[0]
        answer = server.request("OPTIONS", target)
        same((answer.status, set(answer.headers["Allow"].split(", "))), (204, methods), path)


def aliases_are_their_verbs(server):
    seed(server)
    line = server.line()
    for verb, words in (("DELETE_QUEUE", "jobs"), ("DELETE_ROUTER", "events"),
                        ("CREATE_ROUTER", "events topic"), ("CREATE_QUEUE", "jobs memory"),
                        ("GET_ROUTER", "events"), ("GET_QUEUE", "jobs"), ("LIST_ROUTER", ""),
                        ("LIST_QUEUE", "")):
        reply = line.ask("%s %s" % (verb, words) if words else verb)
        check(not reply.startswith("+ERR"), "%s: %s" % (verb, reply))
    same(json.loads(line.ask("LIST_QUEUE")), json.loads(line.ask("LISTQUEUE")), "LIST_QUEUE")
    line.close()


def methods_have_their_optional_parameters_last(server):
    """OpenRPC wants that, and clients made from the document rely on it."""
    for method in document(server, "openrpc.json")["methods"]:
        required = [param["required"] for param in method["params"]]
        same(required, sorted(required, reverse=True), method["name"])
    publish = {"router": "default", "key": "nobody", "payload": "by name"}
    same(server.rpc("Broker.Publish", publish)["result"]["queues"], 0)
    same(server.rpc("Broker.Publish", ["default", "nobody", "by place"])["result"]["queues"], 0)


CASES = [they_are_served_and_known_by_their_etag, they_are_open_to_all,
         examples_of_methods_go_through, examples_of_routes_go_through,
         what_is_no_call_and_no_route_of_examples, every_path_tells_its_methods,
         aliases_are_their_verbs, methods_have_their_optional_parameters_last]


def run(runner):
    server = Server()
    for case in CASES:
        runner.case("documents: " + case.__name__, lambda c=case: c(server))
    server.close()
