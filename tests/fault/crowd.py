# SPDX-License-Identifier: MIT
"""Ten thousand consumers that wait on one queue: each message goes to one of them, in order."""
import json
import resource
import selectors
import socket

from harness import Server, check, same, wait_until

CONSUMERS = 10000
SPARE = 600  # descriptors for anything else
LIMIT_LINE = b"RECEIVE crowd 1 600000\n"
PATIENCE = 60


def figures(line):
    return json.loads(line.ask("GETQUEUE crowd"))


class Crowd:
    def __init__(self, port, count):
        self.answers = []
        self.parts = {}
        self.selector = selectors.DefaultSelector()
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(LIMIT_LINE)
            self.parts[sock] = b""
            self.selector.register(sock, selectors.EVENT_READ)

    def take_one(self, sock):
        got = sock.recv(4096)
        check(got, "a consumer was hung up on")
        self.parts[sock] += got
        lines = self.parts[sock].split(b"\n")
        if len(lines) == 4:
            same(lines[2:], [b"+OK 1", b""], "the end of an answer")
            self.answers.append((int(lines[1]), lines[0].split(b" ")[1]))

    def take(self, count):
        while len(self.answers) < count:
            ready = self.selector.select(PATIENCE)
            check(ready, "%d of %d consumers were served" % (len(self.answers), count))
            for key, _ in ready:
                self.take_one(key.fileobj)

    def close(self):
        for sock in self.parts:
            sock.close()
        self.selector.close()


def serve_all(server, storage, count, say):
    line = server.line()
    same(line.ask("CREATEQUEUE crowd %s lease=600000" % storage), "+OK", "create")
    crowd = Crowd(server.tcp, count)
    wait_until(lambda: figures(line)["consumers"] == count, "all wait", PATIENCE)
    for first in range(0, count, 500):
        line.send("".join("PUBLISH default crowd %d\n" % n for n in range(first, first + 500)))
        for _ in range(500):
            check(line.read_line().startswith(b"+OK "), "a publish failed")
    crowd.take(count)
    same(sorted(number for number, _ in crowd.answers), list(range(count)), "what came")
    same(len({receipt for _, receipt in crowd.answers}), count, "receipts")
    now = figures(line)
    same((now["ready"], now["leased"], now["consumers"]), (0, count, 0), "counters")
    crowd.close()
    same(line.ask("DELETEQUEUE crowd"), "+OK", "delete")
    line.close()
    say("%d consumers of a queue on %s, each served once" % (count, storage))


def room():
    """How many consumers the descriptors of this process and the server's allow."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(CONSUMERS, (limit - SPARE) // 500 * 500)


def run(runner):
    count = room()
    check(count >= 500, "too few descriptors")
    server = Server()
    try:
        for storage in ("memory", "hdd"):
            serve_all(server, storage, count, runner.say)
    finally:
        server.close()
