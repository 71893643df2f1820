# SPDX-License-Identifier: MIT
"""The client without a terminal: single commands, scripts, exit statuses, hostile servers."""
import os
import signal
import socket
import subprocess
import threading

from harness import check, same, sign, wait_until

PATIENCE = 20
SECRET = "a secret of the client tests, longer than 32 bytes"


class Client:
    """Runs the binary with the server's place in the environment."""

    def __init__(self, server, folder):
        self.server = server
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(("HATI_", "HULY_"))}
        self.env.update(HOME=folder, HATI_TCP_PORT=str(server.tcp))

    def command(self, *words):
        return [self.server.binary, "client", *words]

    def run(self, *words, stdin=b"", status=0, env=None):
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True,
                              timeout=PATIENCE, env=dict(self.env, **(env or {})))
        check(done.returncode == status, "%r: status %r, wanted %r; %r %r" % (
            words, done.returncode, status, done.stdout[-300:], done.stderr[-300:]))
        return done

    def out(self, *words, **more):
        return self.run(*words, **more).stdout

    def start(self, *words):
        return subprocess.Popen(self.command(*words), env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def values(client):
    same(client.out("SET", "hdd", "0", "a", "hello", "world"), b"+OK\n")
    same(client.out("--", "GET", "hdd", "a"), b"hello world")
    same(client.out("get", "hdd", "a"), b"hello world")
    same(client.out("SET", "hdd", "0", "at", "@@x"), b"+OK\n")
    same(client.out("GET", "hdd", "at"), b"@x")
    client.run("SET", "hdd", "0", "empty", "")
    same(client.out("GET", "hdd", "empty"), b"")
    same(client.out("GETB", "hdd", "a"), b"$11\nhello world\n")
    client.run("SET", "hdd", "0", "trap", "+ERR KEY_NOT_EXIST it is a value")
    same(client.out("GET", "hdd", "trap"), b"+ERR KEY_NOT_EXIST it is a value")


def binary_values(client, folder):
    data = os.urandom(1 << 20)
    path = os.path.join(folder, "value")
    with open(path, "wb") as file:
        file.write(data)
    client.run("SET", "hdd", "0", "bytes", "@-", stdin=data)
    check(client.out("GET", "hdd", "bytes") == data, "1 MiB through standard input is another")
    client.run("SET", "memory", "0", "bytes", "@" + path)
    check(client.out("GET", "memory", "bytes") == data, "1 MiB of a file is another")
    client.run("SET", "hdd", "0", "nl", "@-", stdin=b"a\r\n\0\n")
    same(client.out("GET", "hdd", "nl"), b"a\r\n\0\n")


def statuses(client):
    done = client.run("GET", "hdd", "nope", status=1)
    same(done.stdout, b"")
    check(b"KEY_NOT_EXIST" in done.stderr, done.stderr)
    client.run("HAS", "hdd", "nope", status=1)
    client.run("SET", "disk", "0", "a", "1", status=1)
    for words in (["NOSUCH"], ["GET"], ["GET", "hdd"], ["GET", "hdd", "a b"], ["--nosuch"],
                  ["GET", "hdd", "a\nFLUSHALL hdd"], ["SET", "hdd", "0", "a", "@/nosuch/file"]):
        client.run(*words, status=2)
    same(client.out("GET", "hdd", "a"), b"hello world", "a command of status 2 was sent")
    done = client.run("--tcp-port", "1", "PING", status=3)
    check(b"no connection to localhost:1" in done.stderr, done.stderr)
    client.run("--tcp-socket", "/nosuch/socket", "PING", status=3)
    done = subprocess.run(client.command("PING"), env=client.env, stdin=subprocess.DEVNULL,
                          stdout=open("/dev/full", "wb"), stderr=subprocess.PIPE, timeout=PATIENCE)
    same(done.returncode, 2, "standard output that is full")


def places(client):
    same(client.out("--tcp-socket", client.server.socket_path, "PING"), b"+PONG\n")
    client.run("--use", "other", "SET", "hdd", "0", "here", "1")
    client.run("GET", "hdd", "here", status=1)
    same(client.out("--use", "11111111-2222-3333-4444-555555555555/other", "GET", "hdd", "here"),
         b"1")
    client.run("--use", "no-uuid/other", "SET", "hdd", "0", "wrong", "1", status=1)
    client.run("GET", "hdd", "wrong", status=1)


def scripts(client):
    done = client.run(stdin=b'SET memory 0 q "a\\nb"\nGET memory q\n# nothing\n\nUSE other\n'
                            b'GET memory q\nBAD\nSET memory 0 q @-\n'
                            b'{"jsonrpc":"2.0","method":"Server.Ping"}\n'
                            b'{"jsonrpc":"2.0","id":7,"method":"Server.Ping"}\nCOUNT memory',
                      status=2)
    same(done.stdout.split(b"\n")[:4], [b"+OK", b"a", b"b", b"+OK"])
    check(b'"result":"pong","id":7' in done.stdout, done.stdout)
    same(done.stdout.count(b"pong"), 1, "a notification was answered")
    errors = done.stderr.decode().splitlines()
    same([line.split(":")[1].strip() for line in errors], ["line 6", "line 7", "line 8"])
    same(client.out(stdin=b"PING\nQUIT\nPING\n"), b"+PONG\n")
    client.run(stdin=b"GET hdd nope\nPING\n", status=1)
    failed = client.run('{"jsonrpc":"2.0","id":1,"method":"Storage.Get",',
                        '"params":{"type":"hdd","key":"nope"}}', status=1)
    check(b"KEY_NOT_EXIST" in failed.stdout, failed.stdout)


def tables(client):
    same(client.out("--use", "tables", "KEYS", "hdd"), b'{"keys":[]}\n')
    client.run("--use", "tables", "SET", "hdd", "0", "k\x1b[31m", "1")
    same(client.out("--use", "tables", "--table", "KEYS", "hdd"), b"1  k\\x1b[31m\n")
    check(b"\nstorage.hdd.keys" in client.out("--table", "STATS"), "no table of STATS")
    check(client.out("stats").startswith(b'{"version"'), "stats in a pipe is no JSON")
    page = client.out("--table", "stats", "--every", "1s")
    check(b"door               connections" in page and b"\x1b" not in page, page)


def messages(client):
    client.run("CREATEQUEUE", "jobs", "memory")
    check(client.out("PUBLISH", "default", "jobs", "one").startswith(b"+OK "), "PUBLISH")
    client.run("PUBLISH", "default", "jobs", "@-", stdin=b"t\nw\0")
    frames = client.out("--ack", "RECEIVE", "jobs", "5").split(b"\n")
    same([frames[1], frames[3:5], frames[5]], [b"one", [b"t", b"w\0"], b"+OK 2"])
    same(client.out("RECEIVE", "jobs"), b"+OK 0\n")
    check(b'"acked":2' in client.out("GETQUEUE", "jobs"), "what was shown is not acknowledged")


def subscription(client):
    process = client.start("--ack", "SUBSCRIBE", "jobs")
    for number in range(20):
        client.run("PUBLISH", "default", "jobs", "m%d" % number)
        check(process.stdout.readline().startswith(b"MSG "), "no message")
        same(process.stdout.readline(), b"m%d\n" % number)
    process.send_signal(signal.SIGINT)
    same(process.wait(PATIENCE), 0, "the status behind Ctrl-C")
    text = client.out("GETQUEUE", "jobs")
    check(b'"acked":22' in text and b'"consumers":0' in text, text)
    process.stdout.close()
    process.stderr.close()
    client.run("SUBSCRIBE", "nosuch", status=1)


def watch(client):
    process = client.start("WATCH", "memory", "watched", "values")
    check(process.stdout.readline().startswith(b'READY memory {"revision":'), "no READY")
    client.run("SET", "memory", "0", "other", "1")
    for number in range(3):
        client.run("SET", "memory", "0", "watched%d" % number, "v%d" % number)
        line = process.stdout.readline()
        check(line.startswith(b"CHANGE memory {") and b'"key":"watched%d"' % number in line and
              b'"value":"v%d"' % number in line, line)
    process.send_signal(signal.SIGINT)
    same(process.wait(PATIENCE), 0, "the status behind Ctrl-C")
    same(process.stdout.read(), b"", "what comes at the end")
    same(process.stderr.read(), b"", "complaints")
    process.stdout.close()
    process.stderr.close()
    client.run("WATCH", "disk", status=1)
    client.run("WATCH", status=2)


def server_dies(client):
    process = client.start("RECEIVE", "jobs", "1", "60000")
    wait_until(lambda: b'"consumers":1' in client.out("GETQUEUE", "jobs") or
               b'"tcp":2' in client.out("STATS"), "it does not wait")
    client.server.kill()
    same(process.wait(PATIENCE), 3, "the status once the server is gone")
    check(b"not known" in process.stderr.read(), "it knows what it cannot")
    process.stdout.close()
    process.stderr.close()
    client.server.start()
    client.env["HATI_TCP_PORT"] = str(client.server.tcp)
    same(client.out("GET", "hdd", "a"), b"hello world")


def every_verb_is_known(client):
    for line in client.out("HELP").decode().splitlines():
        verb = line.split(" ")[0]
        if verb.startswith("+") or verb in ("AUTH", "QUIT", "HELP", "PING", "STATS"):
            continue
        done = subprocess.run(client.command(verb), env=client.env, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=PATIENCE)
        check(b"there is no command" not in done.stderr, "%s is not known" % verb)


def credentials(server, client, folder):
    good = sign({"scope": "admin kv:read kv:write"}, SECRET)
    bad = sign({}, "another secret, that is longer than 32 bytes")
    check(b"AUTH_REQUIRED" in client.run("GET", "hdd", "a", status=1).stderr, "without a token")
    client.run("SET", "hdd", "0", "a", "1", env={"HATI_TOKEN": good})
    path = os.path.join(folder, "token")
    with open(path, "w", encoding="utf-8") as file:
        file.write(good + "\n")
    same(client.out("--token-file", path, "GET", "hdd", "a"), b"1")
    refused = client.run("GET", "hdd", "a", status=1, env={"HATI_TOKEN": bad})
    check(b"AUTH was refused" in refused.stderr, refused.stderr)
    check(bad.encode() not in refused.stderr, "a token is shown")
    done = client.run("AUTH", good, status=2)
    check(b"command line" in done.stderr and good.encode() not in done.stderr, done.stderr)
    same(client.out(stdin=b"AUTH %s\nGET hdd a\n" % good.encode()), b"+OK\n1\n")
    client.run("SET", "hdd", "0", "f", "FLUSHALL hdd\nFLUSHALL hdd\n", status=1)
    same(client.out("--token-file", path, "GET", "hdd", "a"), b"1")


HOSTILE = [
    b"", b"$99999999999999999999\n", b"$-1\n", b"$1073741825\n", b"$5\nabc", b"$1\nab\n",
    b"MSG r 1 k 1073741825\n", b"MSG r\n", b"+OK\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\xff" * 5000,
]


def hostile_servers(client):
    """Each answers a GET with rubbish, and closes; what is no value never gets out as one."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for rubbish in HOSTILE:
            sock = listener.accept()[0]
            sock.recv(4096)
            sock.sendall(rubbish)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(4096)
            sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    flags = ["--tcp-host", "127.0.0.1", "--tcp-port", str(listener.getsockname()[1])]
    for rubbish in HOSTILE:
        done = client.run(*flags, "GET", "hdd", "a", status=3)
        same(done.stdout, b"", "out of %r" % rubbish)
    thread.join()
    listener.close()


def silent_server(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flags = ["--tcp-host", "127.0.0.1", "--tcp-port", str(listener.getsockname()[1])]
        done = client.run(*flags, "--timeout", "200ms", "PING", status=3)
        check(b"no answer came in time" in done.stderr, done.stderr)


def run(runner, server, folder):
    client = Client(server, folder)
    for name, case in (("values", values), ("statuses", statuses), ("places", places),
                       ("scripts", scripts), ("tables", tables), ("messages", messages),
                       ("subscription", subscription), ("watch", watch), ("server dies", server_dies),
                       ("every verb is known", every_verb_is_known),
                       ("hostile servers", hostile_servers), ("silent server", silent_server)):
        runner.case("single: " + name, lambda case=case: case(client))
    runner.case("single: binary values", lambda: binary_values(client, folder))


def run_with_secret(runner, server, folder):
    client = Client(server, folder)
    runner.case("single: credentials", lambda: credentials(server, client, folder))
