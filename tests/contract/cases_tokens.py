# SPDX-License-Identifier: MIT
"""Hostile tokens, on every door: refused with one text, whatever is wrong with them."""
import hmac
import json
import subprocess
import tempfile
import time

from cases_auth import PATH, SECRET, token
from cases_olivia import Olivia
from doors import WORKSPACE
from harness import b64url, check, same, sign

CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Storage.Get", "params": ["memory", "a"]})


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
        "alg in small letters": by_hand(b'{"alg":"hs256"}', claims + b"}"),
        "alg ES256 by the secret": by_hand(b'{"alg":"ES256"}', claims + b"}"),
        "alg PS256 by the secret": by_hand(b'{"alg":"PS256"}', claims + b"}"),
        "alg HS512 by a shorter hash": by_hand(b'{"alg":"HS512"}', claims + b"}"),
        "alg none": b64url(b'{"alg":"none"}').decode() + "." + b64url(claims + b"}").decode() + ".",
        "no alg": by_hand(b"{}", claims + b"}"),
        "a key at a URL": by_hand(b'{"alg":"HS256","jku":"http://127.0.0.1:1/","x5u":"file:///dev/'
                                  b'null"}', claims + b"}", "\0"),
        "expired": by_hand(hs256, claims + b',"exp":%d}' % (time.time() - 3600)),
        "a NUL behind it": by_hand(hs256, claims + b"}") + "\0",
        "a NUL inside": by_hand(hs256, claims + b"}").replace(".", "\0.", 1),
    }


def refused_by_library(server, name, one):
    try:
        got, _ = server.raw_bytes(("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                                   "Connection: close\r\n\r\n" % (PATH, one)).encode(), 5)
    except OSError: # hung up on before all of it was sent
        return
    check(got[9:12] in (b"400", b"401", b"431"), "%s: %r" % (name, got[:40]))


def refused(server, name, one):
    """On every door alike: each text that was told."""
    told = set()
    if len(one) > 8192 or not one.isprintable(): # the library may say so first
        refused_by_library(server, name, one)
    else:
        answer = server.request("GET", PATH, token=one)
        same(answer.status, 401, name)
        told.add(answer.json()["detail"])
        for path in ("/rpc", "/"):
            same(server.rpc_raw(CALL, one, path=path).status, 401, name)
        same(server.request("POST", "/tickets", token=one).status, 401, name)
        same(server.request("GET", "/api2/%s/auth?watch=1&ticket=%s" % (WORKSPACE, one)).status, 401,
             "as a ticket: " + name)
    for line in (server.line(), server.door()):
        told.add(line.ask("AUTH " + one))
        check(line.ask("GET memory a").startswith("+ERR AUTH_REQUIRED "), name)
        line.close()
    line = server.line()
    line.ask("AUTH " + one)
    same(json.loads(line.ask(CALL))["error"]["code"], -32013, name)
    line.close()
    return told


def hostile_tokens_are_refused_on_every_door_and_told_nothing(server):
    told = set()
    for name, one in hostile_tokens().items():
        told |= refused(server, name, one)
    same(len(told), 2, "one text for HTTP and one for lines: %r" % told)


def a_token_for_others_is_refused_on_every_door():
    server = Olivia("--jwt-audience", "hati", "--jwt-issuer", "https://id.example",
                    env={"HATI_JWT_SECRET": SECRET})
    try:
        right = {"workspace": WORKSPACE, "aud": "hati", "iss": "https://id.example"}
        same(server.request("GET", PATH, token=token(**right)).status, 404, "for hati")
        told = set()
        for claims in ({"aud": "other"}, {"aud": None}, {"aud": ["hat", "hati2"]}, {"aud": {"hati": 1}},
                       {"aud": "HATI"}, {"aud": ""}, {"iss": "https://id.example.evil"}, {"iss": None},
                       {"iss": ["https://id.example"]}):
            told |= refused(server, "%r" % claims, token(**{**right, **claims}))
        same(len(told), 2, "one text for HTTP and one for lines: %r" % told)
    finally:
        server.close()


def a_public_key_decides_the_algorithm():
    directory = tempfile.mkdtemp(prefix="hati-keys-")
    run = lambda *words: subprocess.run(words, check=True, capture_output=True)
    for kind, make in (("RS256", ("openssl", "genrsa", "-out", directory + "/key", "2048")),
                       ("ES256", ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout",
                                  "-out", directory + "/key"))):
        run(*make)
        run("openssl", "pkey", "-in", directory + "/key", "-pubout", "-out", directory + "/pub")
        server = Olivia("--jwt-key-file", directory + "/pub")
        try:
            claims = {"workspace": WORKSPACE, "exp": int(time.time()) + 600}
            with open(directory + "/pub") as pem:
                forged = sign(claims, pem.read())
            same(len(refused(server, "the key's text as secret", forged)), 2, "texts")
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


def run(runner):
    server = Olivia(env={"HATI_JWT_SECRET": SECRET})
    try:
        runner.case("hostile_tokens_are_refused_on_every_door_and_told_nothing",
                    lambda: hostile_tokens_are_refused_on_every_door_and_told_nothing(server))
        log = server.log_text()
        runner.case("the log holds no part of a hostile token", lambda: check(
            SECRET not in log and "eyJ" not in log, "found in the log"))
    finally:
        server.close()
    for case in (a_public_key_decides_the_algorithm, a_token_for_others_is_refused_on_every_door):
        runner.case(case.__name__, case)
