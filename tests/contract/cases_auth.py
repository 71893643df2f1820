# SPDX-License-Identifier: MIT
"""Credentials: tokens on every door, scopes, and callers from elsewhere."""
import hmac
import json
import os
import subprocess
import tempfile
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


def by_hand(header, claims, secret=SECRET):
    """A token of JSON as it stands, signed rightly: nothing but what it says refuses it."""
    text = b64url(header) + b"." + b64url(claims)
    made = hmac.new(secret.encode(), text, "sha256").digest()
    return (text + b"." + b64url(made)).decode()


def hostile_tokens():
    hs256, claims = b'{"alg":"HS256"}', ('{"workspace":"%s"' % WORKSPACE).encode()
    oct_key = b64url(b"aaaaaaaa")
    return {
        "alg None": by_hand(b'{"alg":"None"}', claims + b"}"),
        "alg RS256 by the secret": by_hand(b'{"alg":"RS256"}', claims + b"}"),
        "alg twice": by_hand(b'{"alg":"none","alg":"HS256"}', claims + b"}"),
        "alg by a list": by_hand(b'{"alg":["HS256"]}', claims + b"}"),
        "alg with a NUL": by_hand(b'{"alg":"HS256\\u0000"}', claims + b"}"),
        "crit": by_hand(b'{"alg":"HS256","crit":["x"],"x":1}', claims + b"}"),
        "b64": by_hand(b'{"alg":"HS256","b64":false}', claims + b"}"),
        "kid as a path": by_hand(b'{"alg":"HS256","kid":"../../dev/null"}', claims + b"}", "\0"),
        "kid as SQL": by_hand(b'{"alg":"HS256","kid":"x\' UNION SELECT \'aaaaaaaa"}',
                              claims + b"}", "aaaaaaaa"),
        "kid of 64 KiB": by_hand(b'{"alg":"HS256","kid":"' + b"k" * 65536 + b'"}', claims + b"}"),
        "a key it brings": by_hand(b'{"alg":"HS256","jwk":{"kty":"oct","k":"' + oct_key + b'"}}',
                                   claims + b"}", "aaaaaaaa"),
        "exp twice": by_hand(hs256, claims + b',"exp":1,"exp":9999999999}'),
        "workspace twice": by_hand(hs256, claims + b"," + claims[1:] + b"}"),
        "a NUL in a claim": by_hand(hs256, claims + b',"sub":"a\\u0000b"}'),
        "a bare NUL": by_hand(hs256, claims + b"}\0"),
        "exp of 2^63": by_hand(hs256, claims + b',"exp":9223372036854775808}'),
        "exp of 2^64": by_hand(hs256, claims + b',"exp":18446744073709551616}'),
        "exp of null": by_hand(hs256, claims + b',"exp":null}'),
        "nbf tomorrow": by_hand(hs256, claims + b',"nbf":%d}' % (time.time() + 86400)),
        "nbf of 2^63 - 1": by_hand(hs256, claims + b',"nbf":9223372036854775807}'),
        "no object": by_hand(hs256, b"[" + claims + b"}]"),
        "2000 deep": by_hand(hs256, claims + b',"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        "64 KiB": by_hand(hs256, claims + b',"a":"' + b"x" * 49000 + b'"}'),
        "an empty secret": by_hand(hs256, claims + b"}", ""),
    }


def hostile_tokens_are_refused_on_every_door_and_told_nothing(server):
    told = set()
    for name, one in hostile_tokens().items():
        if len(one) > 8192: # the library may say so first
            got, _ = server.raw_bytes(("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                                       "Connection: close\r\n\r\n" % (PATH, one)).encode(), 5)
            check(got[9:12] in (b"401", b"431"), "%s: %r" % (name, got[:40]))
            continue
        answer = server.request("GET", PATH, token=one)
        same(answer.status, 401, name)
        told.add(answer.json()["detail"])
        call = {"jsonrpc": "2.0", "id": 1, "method": "Storage.Get", "params": ["memory", "a"]}
        same(server.rpc_raw(json.dumps(call), one).status, 401, name)
        line = server.line()
        told.add(line.ask("AUTH " + one))
        check(line.ask("GET memory a").startswith("+ERR AUTH_REQUIRED "), name)
        line.close()
    same(len(told), 2, "one text for each door: %r" % told)


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


def the_token_command_signs_what_the_server_takes(server):
    env = dict(os.environ, HATI_JWT_SECRET=SECRET)
    made = subprocess.run([Server.binary, "token", "--workspace", WORKSPACE, "--scope", "kv:read",
                           "--lifetime", "60s"], env=env, capture_output=True, check=True)
    made = made.stdout.decode().strip()
    same(server.request("GET", PATH, token=made).status, 200)
    same(server.request("PUT", PATH, "1", token=made).status, 403)


def a_public_key_decides_the_algorithm():
    directory = tempfile.mkdtemp(prefix="hati-keys-")
    run = lambda *words: subprocess.run(words, check=True, capture_output=True)
    for kind, make in (("RS256", ("openssl", "genrsa", "-out", directory + "/key", "2048")),
                       ("ES256", ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout",
                                  "-out", directory + "/key"))):
        run(*make)
        run("openssl", "pkey", "-in", directory + "/key", "-pubout", "-out", directory + "/pub")
        server = Server("--jwt-key-file", directory + "/pub")
        try:
            claims = {"workspace": WORKSPACE, "exp": int(time.time()) + 600}
            with open(directory + "/pub") as pem:
                forged = sign(claims, pem.read())
            same(server.request("GET", PATH, token=forged).status, 401, "the key's text as secret")
            signed = sign_with_openssl(claims, kind, directory)
            same(server.request("GET", PATH, token=signed).status, 404, kind)
        finally:
            server.close()
    subprocess.run(["rm", "-rf", directory], check=True)


def sign_with_openssl(claims, kind, directory):
    text = b64url(json.dumps({"alg": kind}).encode()) + b"." + b64url(json.dumps(claims).encode())
    made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", directory + "/key"], input=text,
                          capture_output=True, check=True).stdout
    if kind == "ES256":
        made = raw_signature(made)
    return (text + b"." + b64url(made)).decode()


def raw_signature(der):
    """r and s, 32 bytes each, out of their DER."""
    out, at = b"", 2
    for _ in range(2):
        size = der[at + 1]
        out += int.from_bytes(der[at + 2:at + 2 + size], "big").to_bytes(32, "big")
        at += 2 + size
    return out


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
         hostile_tokens_are_refused_on_every_door_and_told_nothing, a_token_has_one_place,
         a_workspace_claim_opens_that_workspace_alone, scopes_narrow, lines_want_a_token_too,
         the_token_command_signs_what_the_server_takes]
ALONE = [a_public_key_decides_the_algorithm, without_credentials_only_this_machine_is_served,
         secrets_that_are_none_are_refused]


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
