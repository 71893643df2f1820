# SPDX-License-Identifier: MIT
"""The client through TLS: whom it believes, what it shows, and that all works as in the clear."""
import os
import re
import socket
import subprocess
import threading

import tls_files
from cases_single import HOSTILE, PATIENCE, Client, binary_values, messages, scripts
from cases_single import subscription, values
from harness import Server, check, same
from screen import Screen


class Secure(Client):
    """Believes the server's authority."""

    def __init__(self, server, folder, *flags):
        super().__init__(server, folder)
        self.flags = list(flags)

    def command(self, *words):
        return [self.server.binary, "client", *self.flags, *words]


def trust(server, files, folder):
    client = Secure(server, folder)
    same(client.out("--tls-ca", files.cert("ca-a"), "PING"), b"+PONG\n")
    same(client.out("--tls", "PING", env={"HATI_TLS_CA": files.cert("ca-a")}), b"+PONG\n")
    same(client.out("PING", env={"HATI_TLS_CA": files.cert("ca-a"), "HATI_TCP_TLS": "true"}),
         b"+PONG\n")
    unknown = client.run("--tls", "PING", status=3).stderr
    check(b"is not trusted" in unknown and b"unknown" in unknown, unknown)
    same(client.run("--tls-ca", files.cert("ca-b"), "PING", status=3).stdout, b"")
    wrong = client.run("--tls-ca", files.cert("ca-a"), "--tcp-host", "127.0.0.2", "PING",
                       status=3).stderr
    check(b"name in the certificate" in wrong, wrong)
    plain = client.run("PING", status=3)
    same(plain.stdout, b"", "of a server that speaks TLS to who does not")
    check(b"--tls" in plain.stderr, plain.stderr)
    for flags in (["--tls-ca", "/nosuch"], ["--tls-cert", files.cert("good")],
                  ["--tls-fingerprint", "12:34"], ["--tls", "--tcp-socket", server.socket_path],
                  ["--tls-ca", files.cert("ca-a"), "--tls-fingerprint", "00" * 32]):
        client.run(*flags, "PING", status=2)


def fingerprints(server, files, folder):
    out = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in",
                          files.cert("one")], capture_output=True, check=True).stdout.decode()
    shown = out.strip().partition("=")[2]
    client = Secure(server, folder)
    for text in (shown, shown.lower(), shown.replace(":", "")):
        same(client.out("--tls-fingerprint", text, "PING"), b"+PONG\n")
    same(client.out("--tls", "PING", env={"HATI_TLS_FINGERPRINT": shown}), b"+PONG\n")
    other = ("0" if shown[0] != "0" else "1") + shown[1:]
    refused = client.run("--tls-fingerprint", other, "SET", "memory", "0", "pinned", "1", status=3)
    check(shown.encode() in refused.stderr, refused.stderr)
    good = Secure(server, folder, "--tls-fingerprint", shown)
    same(good.run("GET", "memory", "pinned", status=1).stdout, b"", "what was sent to a stranger")


def printed_fingerprint(folder):
    server = Server("--tcp-tls")
    try:
        shown = re.search(r"SHA-256 (\S+)", server.greeting).group(1)
        same(Secure(server, folder).out("--tls-fingerprint", shown, "PING"), b"+PONG\n")
    finally:
        server.close()


def all_as_in_the_clear(server, files, folder):
    client = Secure(server, folder, "--tls-ca", files.cert("ca-a"))
    values(client)
    binary_values(client, folder)
    scripts(client)
    messages(client)
    subscription(client)
    large = os.urandom(2 << 20)
    client.run("SET", "hdd", "0", "large", "@-", stdin=large)
    check(client.out("GET", "hdd", "large") == large, "2 MiB through TLS are others")
    check(client.out("stats").startswith(b'{"version"'), "stats")


def strange_servers(server, folder):
    """Servers that speak no TLS, or stop in the middle of it."""
    client = Secure(server, folder, "--tls")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for rubbish in HOSTILE + [b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\x40\x00"]:
            sock = listener.accept()[0]
            try:
                sock.recv(4096)
                sock.sendall(rubbish)
                if not rubbish.startswith(b"\x16"):
                    sock.shutdown(socket.SHUT_WR)
                sock.recv(4096)
            except OSError:
                pass  # it does not listen to such things for long
            sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    flags = ["--tcp-host", "127.0.0.1", "--tcp-port", str(listener.getsockname()[1])]
    for _ in HOSTILE + [b""]:
        same(client.run(*flags, "GET", "hdd", "a", status=3).stdout, b"", "out of rubbish")
    done = client.run(*flags, "--timeout", "300ms", "PING", status=3)
    check(b"no answer came in time" in done.stderr, done.stderr)
    thread.join()
    listener.close()


def silence(server, folder):
    done = None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flags = ["--tcp-host", "127.0.0.1", "--tcp-port", str(listener.getsockname()[1])]
        done = Secure(server, folder, "--tls").run(*flags, "--timeout", "200ms", "PING", status=3)
    check(b"no answer came in time" in done.stderr, done.stderr)


def prompt(server, files, folder):
    client = Secure(server, folder, "--tls-ca", files.cert("ca-a"))
    screen = Screen(folder, client.command(), client.env, columns=160)
    try:
        screen.see("localhost:%d default> " % server.tcp)
        screen.keys("SET hdd 0 tls-prompt 1", "Enter")
        screen.see("\nOK")
        screen.keys("GET hdd tls-pro", "Tab")
        screen.see("GET hdd tls-prompt")
        screen.keys("Enter")
        screen.see("\n1\n")
        screen.keys("CREATEQUEUE tlsq memory", "Enter")
        screen.see("\nOK", 2)
        screen.keys("SUBSCRIBE tlsq", "Enter")
        screen.see("subscribed")
        client.run("PUBLISH", "default", "tlsq", "through", "TLS")
        screen.see("through TLS")
        screen.keys("C-c")
        screen.see("ended")
        screen.keys("C-d")
        screen.ends(0)
    finally:
        screen.close()
    screen = Screen(folder, client.command("stats"), client.env, columns=160)
    try:
        screen.see("connections")
        screen.keys("q")
        screen.ends(0)
    finally:
        screen.close()


def mutual(files, folder):
    server = Server("--tcp-tls", "--rpc-tls", "--tls-cert", files.cert("one"), "--tls-key",
                    files.key("one"), "--tls-client-ca", files.cert("ca-a"))
    try:
        client = Secure(server, folder, "--tls-ca", files.cert("ca-a"))
        good = ["--tls-cert", files.cert("good"), "--tls-key", files.key("good")]
        same(client.out(*good, "PING"), b"+PONG\n")
        refused = client.run("PING", status=3).stderr
        check(b"client certificate" in refused, refused)
        for name in ("foreign", "late", "purpose"):
            flags = ["--tls-cert", files.cert(name), "--tls-key", files.key(name)]
            refused = client.run(*flags, "PING", status=3).stderr
            check(b"client certificate" in refused, "%s: %r" % (name, refused))
        flags = ["--tls-cert", files.cert("good"), "--tls-key", files.key("one")]
        same(client.run(*flags, "PING", status=3).stdout, b"", "a key of another certificate")
        healthcheck(server, files, client)
    finally:
        server.close()


def healthcheck(server, files, client):
    """By HTTP none is asked for; by lines it shows one that it is given."""
    def run(status, *flags):
        done = subprocess.run([server.binary, "healthcheck", *flags], env=client.env,
                              capture_output=True, timeout=PATIENCE)
        same(done.returncode, status, "%r: %r" % (flags, done.stderr))
        return done.stderr

    run(0, "--rpc", "--rpc-tls", "--rpc-port", str(server.http))
    lines = ["--tcp", "--tcp-tls", "--tcp-port", str(server.tcp)]
    own = ["--tls-cert", files.cert("one"), "--tls-key", files.key("one"), "--tls-client-ca",
           files.cert("ca-a")]
    run(0, *lines, *own)
    both = ["--tls-cert", files.cert("good"), "--tls-key", files.key("good"), "--tls-client-ca",
            files.cert("ca-a")]
    run(0, *lines, *both)
    run(1, *lines)
    run(0, "--tcp", "--tcp-tls", "--tcp-port", "1", "--tcp-socket", server.socket_path)
    check(b"no good answer" in run(1, "--tcp", "--tcp-port", str(server.tcp)), "in the clear")


def run(runner, folder):
    files = tls_files.Files()
    secure = Server("--tcp-tls", "--tls-cert", files.cert("one"), "--tls-key", files.key("one"))
    try:
        for name, case in (("trust", lambda: trust(secure, files, folder)),
                           ("fingerprints", lambda: fingerprints(secure, files, folder)),
                           ("printed fingerprint", lambda: printed_fingerprint(folder)),
                           ("all as in the clear",
                            lambda: all_as_in_the_clear(secure, files, folder)),
                           ("strange servers", lambda: strange_servers(secure, folder)),
                           ("silence", lambda: silence(secure, folder)),
                           ("prompt", lambda: prompt(secure, files, folder)),
                           ("mutual", lambda: mutual(files, folder))):
            runner.case("tls: " + name, case)
    finally:
        secure.close()
        files.close()
