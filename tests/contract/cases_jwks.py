# SPDX-License-Identifier: MIT
"""Key sets: from files and from an issuer that comes and goes, and their rotation under load."""
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from doors import WORKSPACE
from harness import Failure, Server, b64url, check, connect_http, same, sign, wait_until
from cases_tokens import raw_signature

PATH = "/api2/%s/jwks/k" % WORKSPACE
SECRETS = ["the first secret, of more than 32 bytes", "the second secret, of more than 32 bytes"]


def openssl(*words, text=None):
    return subprocess.run(("openssl",) + words, input=text, check=True, capture_output=True).stdout


class Key:
    """A key pair made and used by openssl alone."""

    MAKE = {"RS256": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
            "ES256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
            "EdDSA": ("-algorithm", "ED25519")}

    def __init__(self, directory, kid, alg="ES256"):
        self.kid, self.alg = kid, alg
        self.path = os.path.join(directory, "%s-%s.pem" % (alg, kid))
        openssl("genpkey", *self.MAKE[alg], "-out", self.path)
        self.pem = openssl("pkey", "-in", self.path, "-pubout")

    def jwk(self, **more):
        der = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        text = lambda number: b64url(number).decode()
        if self.alg == "RS256":
            out = openssl("rsa", "-in", self.path, "-modulus", "-noout").decode()
            numbers = {"kty": "RSA", "e": "AQAB",
                       "n": text(bytes.fromhex(out.strip().partition("=")[2]))}
        elif self.alg == "ES256":
            numbers = {"kty": "EC", "crv": "P-256", "x": text(der[-64:-32]), "y": text(der[-32:])}
        else:
            numbers = {"kty": "OKP", "crv": "Ed25519", "x": text(der[-32:])}
        return dict(numbers, kid=self.kid, use="sig", alg=self.alg, **more)

    def token(self, **header):
        claims = {"workspace": WORKSPACE, "exp": int(time.time()) + 600, "iss": "us"}
        header = dict({"alg": self.alg, "kid": self.kid}, **header)
        header = {name: value for name, value in header.items() if value is not None}
        text = b64url(json.dumps(header).encode()) + b"." + b64url(json.dumps(claims).encode())
        return (text + b"." + b64url(self.sign(text))).decode()

    def sign(self, text):
        if self.alg == "EdDSA":
            with tempfile.NamedTemporaryFile() as file: # it wants to know the length before
                file.write(text)
                file.flush()
                return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", file.name)
        made = openssl("dgst", "-sha256", "-sign", self.path, text=text)
        return raw_signature(made) if self.alg == "ES256" else made


class Issuer:
    """Answers GET with what it was told to; away: the port is closed."""

    def __init__(self, context=None):
        self.body, self.status, self.headers = b"", 200, {}
        self.fetches = 0
        self.context = context
        self.port, self.holds = 0, None
        self.come()

    def come(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.fetches += 1
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(issuer.body)))
                self.end_headers()
                try:
                    self.wfile.write(issuer.body)
                except OSError:
                    pass # it had enough

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass

        self.server = Listener(("127.0.0.1", self.port), Handler, bind_and_activate=False)
        self.server.server_bind()
        if self.holds:
            self.holds.close()
        self.server.server_activate()
        self.port = self.server.server_address[1]
        if self.context:
            self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def go(self):
        self.server.shutdown()
        self.server.server_close()
        self.holds = socket.socket()  # nobody else gets the port meanwhile, and nobody listens
        self.holds.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holds.bind(("127.0.0.1", self.port))

    def publish(self, *keys):
        self.status, self.headers = 200, {}
        self.body = json.dumps({"keys": [key if isinstance(key, dict) else key.jwk()
                                         for key in keys]}).encode()

    def url(self, scheme="http"):
        return "%s://localhost:%d/keys" % (scheme, self.port)


class Case:
    """A directory, an issuer, and the servers of one case."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="hati-jwks-")
        self.issuer = Issuer()
        self.servers = []
        return self

    def server(self, *flags, **more):
        self.servers.append(Server(*flags, **more))
        return self.servers[-1]

    def file(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path + ".new", "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.rename(path + ".new", path)
        return path

    def __exit__(self, *_):
        for server in self.servers:
            server.close()
        self.issuer.go()
        shutil.rmtree(self.dir)


def status(server, token):
    return server.request("GET", PATH, token=token).status


def hang_up(server, wanted):
    """SIGHUP, and the line of the log about it; the server is there still."""
    before = len(server.log_text())
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP: " in server.log_text()[before:], "no line about the SIGHUP")
    check(wanted in server.log_text()[before:], server.log_text()[before:])


def a_key_set_in_a_file_takes_tokens_of_every_kind():
    with Case() as case:
        keys = [Key(case.dir, "k%d" % i, alg) for i, alg in enumerate(Key.MAKE)]
        document = json.dumps({"keys": [key.jwk() for key in keys]})
        server = case.server("--jwks-file", case.file("set", document))
        for key in keys:
            same(status(server, key.token()), 404, key.alg)
            same(status(server, key.token(kid=None)), 404, key.alg + " without kid")
            same(status(server, key.token(kid="other")), 401, key.alg + " of another kid")
            same(status(server, key.token(alg="HS256")), 401, "HS256")
            claims = {"workspace": WORKSPACE}
            for text in (key.pem.decode(), document, json.dumps(key.jwk())):
                same(status(server, sign(claims, text)), 401, "a public key as secret")
        line = server.line(keys[2].token())
        same(line.ask("SET hdd 0 a 1"), "+OK")
        line.close()


def an_unknown_kid_has_the_set_fetched():
    with Case() as case:
        old, new = Key(case.dir, "old"), Key(case.dir, "new", "EdDSA")
        case.issuer.publish(old)
        server = case.server("--jwks-url", case.issuer.url(), "--jwks-cooldown", "100ms")
        same(status(server, old.token()), 404, "fetched at start")
        case.issuer.publish(old, new)
        same(status(server, new.token()), 401, "answered at once")
        wait_until(lambda: status(server, new.token()) == 404, "the new key is not fetched")
        good = old.token()
        same(status(server, good), 404, "the old one beside it; verified, and kept")
        case.issuer.publish(new)
        hang_up(server, "read anew")
        wait_until(lambda: status(server, good) == 401, "a removed key's token is still good")
        same(status(server, new.token()), 404)


def many_unknown_kids_are_one_fetch_in_a_cool_down():
    with Case() as case:
        key, stranger = Key(case.dir, "a"), Key(case.dir, "b")
        case.issuer.publish(key)
        server = case.server("--jwks-url", case.issuer.url(), "--jwks-cooldown", "10m")
        same(case.issuer.fetches, 1)
        for _ in range(20):
            same(status(server, stranger.token()), 401)
        same(case.issuer.fetches, 1, "fetches within the cool-down")
        hang_up(server, "read anew")
        wait_until(lambda: case.issuer.fetches == 2, "SIGHUP does not wait for the cool-down")


def an_issuer_that_is_away_leaves_the_keys_as_they_are():
    with Case() as case:
        key = Key(case.dir, "a")
        case.issuer.publish(key)
        server = case.server("--jwks-url", case.issuer.url(), "--jwks-cooldown", "100ms")
        set_of_one = case.issuer.body
        private = dict(key.jwk(), d="AAAA")
        huge = json.dumps({"keys": [key.jwk()], "x": "x" * (1 << 20)}).encode()
        bad = [(500, b"", {}, "answered 500"), (200, b"garbage", {}, "no JSON object"),
               (200, b'{"keys":[]}', {}, "empty"), (200, huge, {}, "over 1 MiB"),
               (302, b"", {"Location": case.issuer.url() + "2"}, "redirects are not followed"),
               (200, json.dumps({"keys": [private]}).encode(), {}, "private key"),
               (200, b"[" * 100000, {}, "no JSON object"), (404, set_of_one, {}, "answered 404")]
        for code, body, headers, word in bad:
            before = len(server.log_text())  # it asks by itself, too, and says the same once
            case.issuer.status, case.issuer.body, case.issuer.headers = code, body, headers
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: word in server.log_text()[before:], word)
            check("stay good" in server.log_text()[before:], "the line says so")
            same(status(server, key.token()), 404, word)
        before = len(server.log_text())
        case.issuer.go()
        wait_until(lambda: "cannot be asked" in server.log_text()[before:], "away is not noticed")
        same(status(server, key.token()), 404)
        case.issuer.come()
        case.issuer.publish(key)
        wait_until(lambda: "answers again" in server.log_text()[before:], "back is not noticed")
        same(status(server, key.token()), 404)


def a_start_does_not_wait_for_an_issuer_that_is_away():
    with Case() as case:
        key = Key(case.dir, "a", "RS256")
        case.issuer.go()
        try:
            server = case.server("--jwks-url", case.issuer.url(), "--jwks-cooldown", "100ms")
            same(server.request("GET", "/readyz").status, 200)
            same(status(server, key.token()), 401)
            same(status(server, sign({"workspace": WORKSPACE}, "")), 401, "an empty secret")
            check("refused until it gives them" in server.log_text(), server.log_text())
        finally:
            case.issuer.come()
        case.issuer.publish(key)
        wait_until(lambda: status(server, key.token()) == 404, "it does not try again")


def https_is_verified():
    with Case() as case:
        key = Key(case.dir, "a")
        files = {name: os.path.join(case.dir, name) for name in ("key", "cert", "other")}
        for cert in ("other", "cert"):
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", files["key"],
                    "-out", files[cert], "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["cert"], files["key"])
        issuer = Issuer(context)
        try:
            issuer.publish(key)
            for flags, url, good in ((("--jwks-ca", files["cert"]), issuer.url("https"), True),
                                     (("--jwks-ca", files["other"]), issuer.url("https"), False),
                                     ((), issuer.url("https"), False),
                                     (("--jwks-ca", files["cert"]),
                                      issuer.url("https").replace("localhost", "127.0.0.1"), False)):
                server = case.server("--jwks-url", url, *flags)
                same(status(server, key.token()), 404 if good else 401, "%s %s" % (url, flags))
                same(issuer.fetches, 1)
        finally:
            issuer.go()


def a_set_or_a_url_that_is_not_to_be_trusted_does_not_start():
    with Case() as case:
        key = Key(case.dir, "a")
        private = json.dumps({"keys": [dict(key.jwk(), d="AAAA")]})
        secret = case.file("secret", SECRETS[0])
        for flags, word in ((("--jwks-file", case.file("set", "garbage")), "jwks-file: the key set"),
                            (("--jwks-file", case.file("set2", private)), "private key"),
                            (("--jwks-file", case.dir + "/none"), "jwks-file"),
                            (("--jwks-url", "http://issuer.example/keys"), "https"),
                            (("--jwks-url", "https://me:you@issuer.example/"), "password"),
                            (("--jwks-url", case.issuer.url(), "--jwt-secret-file", secret),
                             "both set"),
                            (("--jwt-secret-file-old", secret), "stands alone")):
            try:
                case.server(*flags)
            except Failure as failure:
                check(word in str(failure), "%r says: %s" % (flags, failure))
            else:
                raise Failure("started: %r" % (flags,))


class Load:
    """Clients that ask without a pause, by connections that they keep."""

    def __init__(self, server, token_of):
        self.server, self.token_of = server, token_of
        self.done, self.count, self.problems = False, [0] * 4, []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self, index):
        try:
            (self.run_lines if index % 2 else self.run_http)(index)
        except Exception as problem: # a connection that was closed, a server that is gone
            self.problems.append(repr(problem))

    def run_http(self, index):
        connection = connect_http(self.server.http, 30)
        connection.connect()
        while not self.done:
            connection.request("GET", PATH, headers={"Authorization": "Bearer " + self.token_of()})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 404 or not connection.sock:
                self.problems.append("status %d" % answer.status)
            self.count[index] += 1
        connection.close()

    def run_lines(self, index):
        line = self.server.line()
        while not self.done:
            same(line.ask("AUTH " + self.token_of()), "+OK", "AUTH")
            check(line.ask("GET hdd none").startswith("+ERR KEY_NOT_EXIST"), "GET")
            self.count[index] += 1
        line.close()

    def goes_on(self):
        """Until each has had answers of what is so now."""
        wanted = [count + 3 for count in self.count]
        wait_until(lambda: self.problems or all(
            count >= least for count, least in zip(self.count, wanted)), "no answers")
        same(self.problems, [])

    def end(self):
        self.done = True
        for thread in self.threads:
            thread.join()
        same(self.problems, [])


def a_secret_is_rotated_under_load_and_no_request_is_lost():
    with Case() as case:
        path, old = case.file("secret", SECRETS[0]), case.file("old", "")
        server = case.server(env={"HULY_TOKEN_SECRET_FILE": path, "HATI_JWT_SECRET_FILE_OLD": old})
        claims = {"workspace": WORKSPACE, "exp": int(time.time()) + 600}
        tokens = [sign(claims, secret) for secret in SECRETS]
        used = 0
        load = Load(server, lambda: tokens[used])
        try:
            for _ in range(5):
                load.goes_on()
                other = 1 - used
                same(status(server, tokens[other]), 401, "before")
                case.file("old", SECRETS[used])
                case.file("secret", SECRETS[other])
                hang_up(server, "2 are in use")
                load.goes_on()
                used = other
                load.goes_on() # whoever asked by the other is answered
                case.file("old", "")
                hang_up(server, "1 are in use")
                same(status(server, tokens[1 - used]), 401, "after, though it was verified")
        finally:
            load.end()


def a_broken_file_leaves_the_old_keys():
    with Case() as case:
        first, second = Key(case.dir, "a"), Key(case.dir, "b", "RS256")
        path = case.file("pem", first.pem)
        server = case.server("--jwt-key-file", path)
        line = server.line(first.token())
        private = open(second.path, "rb").read()
        for broken in (b"", b"garbage", second.pem[:200], first.pem + second.pem[:200], private,
                       first.pem * 17):
            case.file("pem", broken)
            hang_up(server, "stay as they were: ")
            same(status(server, first.token()), 404, repr(broken[:40]))
            same(status(server, second.token()), 401, repr(broken[:40]))
        os.unlink(path)
        hang_up(server, "cannot read")
        case.file("pem", first.pem + second.pem)
        hang_up(server, "2 are in use")
        same(status(server, first.token()), 404)
        same(status(server, second.token()), 404)
        same(line.ask("GET hdd none")[:8], "+ERR KEY", "its connection is there still")
        line.close()
        same(server.stop(), 0)


def a_hangup_without_credentials_changes_nothing():
    server = Server()
    try:
        hang_up(server, "nothing to read anew")
        same(status(server, None), 404)
        same(server.stop(), 0)
    finally:
        server.close()


CASES = [a_key_set_in_a_file_takes_tokens_of_every_kind, an_unknown_kid_has_the_set_fetched,
         many_unknown_kids_are_one_fetch_in_a_cool_down,
         an_issuer_that_is_away_leaves_the_keys_as_they_are,
         a_start_does_not_wait_for_an_issuer_that_is_away, https_is_verified,
         a_set_or_a_url_that_is_not_to_be_trusted_does_not_start,
         a_secret_is_rotated_under_load_and_no_request_is_lost, a_broken_file_leaves_the_old_keys,
         a_hangup_without_credentials_changes_nothing]


def run(runner):
    for case in CASES:
        runner.case(case.__name__, case)
