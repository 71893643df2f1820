# SPDX-License-Identifier: MIT
"""Credentials: tokens on every door, scopes, and callers from elsewhere."""
import json
import os
import subprocess
import time

from doors import WORKSPACE
from harness import REFUSAL, Failure, Server, b64url, check, connect, first_answer, same, sign

SECRET = "a development secret of more than 32 bytes"
OTHER = "00000000-0000-0000-0000-00000000000b"
SYSTEM = "1749089e-22e6-48de-af4e-165e18fbd2f9"
PATH = "/api2/%s/auth/k" % WORKSPACE


def token(**claims):
    claims.setdefault("exp", int(time.time()) + 600)
    return sign({k: v for k, v in claims.items() if v is not None}, SECRET)


def without_a_token_nothing_is_told(server):
    for method, path in (("GET", PATH), ("PUT", PATH), ("GET", "/api/auth/k"), ("GET", "/stats"),
                         ("POST", "/rpc"), ("POST", "/")):
        answer = server.request(method, path, b"{}" if method == "POST" else None)
        same(answer.status, 401, path)
        check(answer.headers["WWW-Authenticate"].startswith("Bearer"), "WWW-Authenticate")
    check("error" in server.rpc_raw("{}").json(), "a JSON-RPC body")
    for path in ("/status", "/healthz", "/readyz"):
        same(server.request("GET", path).status, 200, path)


def bad_tokens_are_refused_alike(server):
    header = b64url(b'{"alg":"none"}').decode()
    body = b64url(json.dumps({"workspace": WORKSPACE}).encode()).decode()
    good = token(workspace=WORKSPACE)
    head, claims, signature = good.split(".")
    bad = [header + "." + body + ".", header + "." + body, good + ".", good + "x", good[:-2],
           head + "." + claims + ".", "x", "a.b.c", token(workspace=WORKSPACE, exp=1),
           token(workspace=WORKSPACE, exp="99999999999"), token(workspace=WORKSPACE, exp=9e99),
           token(workspace=WORKSPACE, nbf=int(time.time()) + 600), token(workspace="no uuid"),
           sign({"workspace": WORKSPACE}, "another secret of more than 32 bytes...")]
    bodies = set()
    for one in bad:
        answer = server.request("GET", PATH, token=one)
        same(answer.status, 401, one[:40])
        bodies.add(answer.json()["detail"])
    same(len(bodies), 1, "one text for all")
    for alg in ("HS256", "HS384", "HS512"):
        good = sign({"workspace": WORKSPACE}, SECRET, alg)
        same(server.request("GET", PATH, token=good).status, 404, alg)


def a_token_has_one_place(server):
    good = token(workspace=WORKSPACE)
    path = PATH + "-none"
    for name in ("token", "access_token", "jwt", "ticket", "authorization"):
        same(server.request("GET", "%s?%s=%s" % (path, name, good)).status, 401, name)
    same(server.request("GET", path, headers={"Cookie": "token=" + good}).status, 401, "a cookie")
    same(server.request("GET", path, headers={"Authorization": "bearer " + good}).status, 404)
    for before in ("Basic ", "Token ", "", "Bearer Bearer ", "Bearer " + good + ", "):
        answer = server.request("GET", path, headers={"Authorization": before + good})
        same(answer.status, 401, before[:20])
    for pair in ((good, "x"), ("x", good), (good, good)):
        got, closed = server.raw(("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                                  "authorization: Bearer %s\r\n\r\n" % ((path,) + pair)).encode())
        check(got.startswith(b"HTTP/1.1 400") and closed, repr(got[:40]))


def a_workspace_claim_opens_that_workspace_alone(server):
    good = token(workspace=WORKSPACE)
    same(server.request("PUT", PATH, "1", token=good).status, 204)
    same(server.request("GET", PATH, token=good).body, b"1")
    for claims in ({"workspace": OTHER}, {}):
        answer = server.request("GET", PATH, token=token(**claims))
        same(answer.status, 403, str(claims))
        same(answer.json()["code"], "FORBIDDEN")
    same(server.request("GET", PATH, token=token(account=SYSTEM)).status, 200)
    same(server.request("GET", "/api/auth/k", token=token()).status, 200, "v1 takes any good token")


def scopes_narrow(server):
    reader = token(workspace=WORKSPACE, scope="kv:read")
    same(server.request("GET", PATH, token=reader).status, 200)
    same(server.request("PUT", PATH, "2", token=reader).status, 403)
    team = token(workspace=WORKSPACE, scope="kv:write:team* kv:read:team*")
    same(server.request("PUT", "/api2/%s/team-a/k" % WORKSPACE, "2", token=team).status, 204)
    same(server.request("PUT", PATH, "2", token=team).status, 403)
    same(server.request("GET", "/stats", token=team).status, 403)
    same(server.request("GET", "/stats", token=token(scope="admin")).status, 200)
    batch = [{"jsonrpc": "2.0", "id": 1, "method": "Storage.Get", "params": ["hdd", "none"]},
             {"jsonrpc": "2.0", "id": 2, "method": "Storage.Set", "params": ["hdd", "a", "1"]},
             {"jsonrpc": "2.0", "id": 3, "method": "Storage.FlushAll", "params": ["memory"]}]
    answer = server.rpc_raw(json.dumps(batch), reader)
    same(answer.status, 200)
    same([one["error"]["code"] for one in answer.json()], [-32001, -32013, -32013])


def lines_want_a_token_too(server):
    line = server.line()
    for open_word, reply in (("PING", "+PONG"),):
        same(line.ask(open_word), reply)
    for word in ("GET hdd a", "SET hdd 0 a 1", "STATS", "USE x", "NOSUCH", "GET disk a", "GET"):
        check(line.ask(word).startswith("+ERR AUTH_REQUIRED "), word)
    for method, storage in (("Storage.Get", "hdd"), ("Storage.Get", "disk"), ("No.Such", "hdd")):
        same(json.loads(line.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                                             "params": [storage, "a"]})))["error"]["code"],
             -32013, method)
    check(line.ask("AUTH nonsense").startswith("+ERR FORBIDDEN "), "AUTH")
    same(line.ask("AUTH " + token(workspace=WORKSPACE)), "+OK")
    same(line.ask("SET hdd 0 a 1"), "+OK")
    same(line.ask("GET hdd a"), "1")
    line.close()


def json_lines_of_strangers_are_answered_nothing_else(server):
    line = server.line()
    for call, call_id in (('{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}', 1),
                          ('{"jsonrpc":"2.0","id":2,"method":"rpc.discover"}', 2),
                          ('{"jsonrpc":"2.0","id":3,"method":5}', 3),
                          ('{"jsonrpc":"1.9","id":4,"method":"Server.Ping"}', 4),
                          ('{"jsonrpc":"2.0","id":5,"method":"Server.Ping","params":"x"}', 5),
                          ('{"jsonrpc":', None), ("[]", None)):
        answer = json.loads(line.ask(call))
        same((answer.get("error", {}).get("code"), answer["id"]), (-32013, call_id), call)
    same([one["error"]["code"] for one in json.loads(line.ask(
        '[7,{"jsonrpc":"2.0","method":"Server.Ping"},{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}]'))],
         [-32013, -32013])
    same(json.loads(line.ask('{"id":6,"method":"Server.Ping","params":[]}')),
         {"id": 6, "result": None, "error": "AUTH_REQUIRED"})
    same(line.ask("AUTH " + token(workspace=WORKSPACE)), "+OK")
    same(json.loads(line.ask('{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}'))["result"], "pong")
    line.close()


def the_token_command_signs_what_the_server_takes(server):
    env = dict(os.environ, HATI_JWT_SECRET=SECRET)
    made = subprocess.run([Server.binary, "token", "--workspace", WORKSPACE, "--scope", "kv:read",
                           "--lifetime", "60s"], env=env, capture_output=True, check=True)
    made = made.stdout.decode().strip()
    path = PATH + "-command"
    same(server.request("PUT", path, "1", token=token(workspace=WORKSPACE)).status, 204)
    same(server.request("GET", path, token=made).status, 200)
    same(server.request("PUT", path, "1", token=made).status, 403)


def own_address():
    """An address of this machine that is not loopback, or None."""
    try:
        names = subprocess.run(["hostname", "-I"], capture_output=True).stdout.decode().split()
    except OSError:
        names = []
    return next((name for name in names if "." in name), None)


def without_credentials_only_this_machine_is_served():
    address = own_address()
    if not address:
        print("     (this machine has no address but loopback: callers from elsewhere untried)")
        return
    for flags, served in (((), False), (("--no-auth",), True)):
        server = Server(*flags)
        try:
            check(("Only callers on this machine" in server.greeting) != served, "the notice")
            sock = connect((address, server.http), 5)
            sock.sendall(b"GET /api/x/y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = sock.recv(100)
            check(got.startswith(b"HTTP/1.1 404" if served else b"HTTP/1.1 403"), repr(got))
            sock.close()
            got = first_answer((address, server.tcp), b"GET memory a\n")
            check(got.startswith(b"+ERR KEY_NOT_EXIST" if served else REFUSAL), repr(got))
            if not served:
                check(b"KEY_NOT_EXIST" not in got, "served from elsewhere")
        finally:
            server.close()


def secrets_that_are_none_are_refused():
    for env, flags, starts in (({"HATI_JWT_SECRET": ""}, (), False),
                               ({"HULY_TOKEN_SECRET": "secret"}, (), False),
                               ({"HATI_JWT_SECRET": "short"}, (), False),
                               ({"HULY_TOKEN_SECRET": "secret"}, ("--allow-weak-secret",), True)):
        server = None
        try:
            server = Server(*flags, env=env)
            started = True
        except Failure as failure:
            started = False
            check("secret" in str(failure), "the line names the secret: %s" % failure)
        same(started, starts, "%r %r" % (env, flags))
        if server:
            server.close()


CASES = [without_a_token_nothing_is_told, bad_tokens_are_refused_alike,
         a_token_has_one_place, a_workspace_claim_opens_that_workspace_alone, scopes_narrow,
         lines_want_a_token_too, json_lines_of_strangers_are_answered_nothing_else,
         the_token_command_signs_what_the_server_takes]
ALONE = [without_credentials_only_this_machine_is_served, secrets_that_are_none_are_refused]


def run(runner):
    server = Server(env={"HATI_JWT_SECRET": SECRET})
    try:
        for case in CASES:
            runner.case(case.__name__, lambda c=case: c(server))
        log = server.log_text()
        runner.case("the log holds no secret and no token", lambda: check(
            SECRET not in log and "eyJ" not in log, "found in the log"))
    finally:
        server.close()
    for case in ALONE:
        runner.case(case.__name__, case)
