# SPDX-License-Identifier: MIT
"""The console and the docs page as a browser fetches them; what they do is tests/console."""
import gzip
import re

from harness import Server, check, same, sign

SECRET = "a development secret of more than 32 bytes"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = ("/console", "/docs")


def get(server, path, encoding=None, etag=None, method="GET"):
    headers = {"Accept-Encoding": encoding} if encoding is not None else {}
    if etag is not None:
        headers["If-None-Match"] = etag
    return server.request(method, path, headers=headers)


def assets_of(server, page, base=""):
    text = get(server, base + page).body.decode()
    paths = re.findall(r'(?:href|src)="(assets/[^"]+)"', text)
    check(len(paths) >= 3, "%s loads %r" % (page, paths))
    return [base + "/" + path for path in paths]


def one_is_served(server, path, kind, cached):
    plain, packed = get(server, path, "identity"), get(server, path, "br, gzip;q=0.5")
    for answer, encoding in ((plain, None), (packed, "gzip")):
        same((answer.status, answer.headers.get("Content-Encoding")), (200, encoding), path)
        check(answer.headers["Content-Type"].startswith(kind), answer.headers["Content-Type"])
        same(answer.headers["Cache-Control"], cached, path)
        same(answer.headers["X-Content-Type-Options"], "nosniff", path)
        check("Accept-Encoding" in answer.headers["Vary"], "Vary")
        etag = answer.headers["ETag"]
        for given, status in ((etag, 304), ("*", 304), ('"a", W/' + etag, 304), ('"a"', 200)):
            again = get(server, path, encoding or "identity", given)
            same((again.status, again.headers["ETag"]), (status, etag), path)
            same(again.body, answer.body if status == 200 else b"", path)
        head = get(server, path, encoding or "identity", method="HEAD")
        same((head.status, head.headers["Content-Length"], head.body),
             (200, str(len(answer.body)), b""), path)
    same(gzip.decompress(packed.body), plain.body, path)
    check(plain.headers["ETag"] != packed.headers["ETag"], "each form has an ETag of its own")


def they_are_served_whole(server):
    for page in PAGES:
        one_is_served(server, page, "text/html", "no-cache")
        assets = assets_of(server, page)
        kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
                 ".txt": "text/plain"}
        for path in assets:
            one_is_served(server, path, kinds[path[path.rindex("."):]],
                          "public, max-age=31536000, immutable")
    check(any("rapidoc" in path for path in assets_of(server, "/docs")),
          "the docs page is built without RapiDoc")


def their_policies_are_strict(server):
    for page in PAGES:
        policy = get(server, page).headers["Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        same((rules["default-src"], rules["script-src"], rules["connect-src"]),
             ("'none'", "'self'", "'self'"), page)
        for name in ("frame-ancestors", "base-uri", "form-action"):
            same(rules[name], "'none'", page)
        check("unsafe-eval" not in policy, "no eval")
        same("unsafe-inline" in policy, page == "/docs", "inline styles")
        body = get(server, page).body.decode()
        check(not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|style=|https?://", body), body)


def encodings_are_chosen_by_weight(server):
    for wanted, encoding in ((None, None), ("", None), ("gzip", "gzip"), ("GZIP", "gzip"),
                             ("gzip;q=0", None), ("gzip; q=0.0, *", None), ("*", "gzip"),
                             ("*;q=0", None), ("deflate, br", None), ("identity, gzip ;q=1", "gzip"),
                             (",,;q=,gzip", "gzip")):
        same(get(server, "/console", wanted).headers.get("Content-Encoding"), encoding, wanted)


def other_methods_and_paths_are_refused(server):
    asset = assets_of(server, "/console")[0]
    for path in (*PAGES, asset):
        for method in ("POST", "PUT", "DELETE"):
            answer = server.request(method, path, "x")
            same((answer.status, answer.headers["Allow"]), (405, "GET, HEAD, OPTIONS"), path)
        same(server.request("OPTIONS", path).status, 204, path)
    for path in ("/assets/", "/assets/a", "/assets/a/b", asset + "x", asset[:-1], "/console/",
                 "/docs/x", "/assets/../console", asset.replace("/assets/", "/assets//")):
        same(server.request("GET", path).status, 404, path)


def a_browser_is_led_to_the_console(server):
    for method in ("GET", "HEAD"):
        answer = server.request(method, "/", headers=HTML)
        same((answer.status, answer.headers["Location"]), (303, "console"), method)
    for accept in (None, "*/*", "application/json", "text/html;q=0", "text/htmlx"):
        answer = server.request("GET", "/", headers={"Accept": accept} if accept else {})
        same((answer.status, answer.headers["Allow"]), (405, "POST, OPTIONS"), accept)
        same(answer.json()["error"]["code"], -32600, accept)
    same(server.rpc_raw('{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}', path="/").json(),
         {"jsonrpc": "2.0", "id": 1, "result": "pong"}, "POST / is JSON-RPC")


def they_need_no_token_and_show_none(_):
    server = Server(env={"HATI_JWT_SECRET": SECRET})
    try:
        for path in (*PAGES, *assets_of(server, "/console")):
            answer = server.request("GET", path)
            same(answer.status, 200, path)
            check(SECRET.encode() not in answer.body, "the secret")
        same(server.request("GET", "/", headers=HTML).status, 303)
        same(server.request("GET", "/").status, 401, "for who is no browser")
        same(server.request("GET", "/assets/a/b").status, 404)
        token = sign({"exp": 99999999999}, SECRET)
        same(server.request("GET", "/", token=token).status, 405, "with a token")
    finally:
        server.close()


def they_can_be_switched_off(_):
    server = Server("--no-console")
    try:
        for path in PAGES:
            same((server.request("GET", path).status, server.request("HEAD", path).status),
                 (404, 404), path)
        same(server.request("GET", "/", headers=HTML).status, 405)
        same(server.request("GET", "/openapi.json").status, 200, "the documents stay")
    finally:
        server.close()


def paths_may_have_a_base(_):
    server = Server("--base-path", "/hati/one")
    server.base = "/hati/one"
    try:
        key = "/api2/11111111-2222-3333-4444-555555555555/default/a%2Fb"
        for base in ("/hati/one", ""):
            one_is_served(server, base + "/console", "text/html", "no-cache")
            same(get(server, assets_of(server, "/docs", base)[0]).status, 200, base)
            same(server.request("PUT", base + key, b"v").status, 204, base)
            same(server.request("GET", base + key).body, b"v", base)
            same(server.request("GET", base + "/kv-store/keys/none").status, 404, base)
            same(server.request("GET", base + "/readyz").status, 200, base)
        for path in ("/hati/one", "/hati/one/", "/"):
            answer = server.request("GET", path, headers=HTML)
            same((answer.status, answer.headers["Location"]), (303, "/hati/one/console"), path)
        for path in ("/hati/onex/status", "/hati/status", "/hati/one/hati/one/status",
                     "/HATI/one/status", "/hati/one//status"):
            same(server.request("GET", path).status, 404, path)
        document = server.request("GET", "/hati/one/openapi.json").json()
        same(document["servers"], [{"url": "/hati/one"}])
        ping = server.rpc_raw('{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}', path="/hati/one/rpc")
        same(ping.json()["result"], "pong")
    finally:
        server.close()


SHARED = [
    ("pages: they are served whole", they_are_served_whole),
    ("pages: their policies are strict", their_policies_are_strict),
    ("pages: encodings are chosen by weight", encodings_are_chosen_by_weight),
    ("pages: other methods and paths are refused", other_methods_and_paths_are_refused),
    ("pages: a browser is led to the console", a_browser_is_led_to_the_console),
]
ALONE = [
    ("pages: they need no token and show none", they_need_no_token_and_show_none),
    ("pages: they can be switched off", they_can_be_switched_off),
    ("pages: paths may have a base", paths_may_have_a_base),
]


def run(runner):
    server = Server()
    for name, case in SHARED:
        runner.case(name, lambda c=case: c(server))
    server.close()
    for name, case in ALONE:
        runner.case(name, lambda c=case: c(None))
