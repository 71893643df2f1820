# SPDX-License-Identifier: MIT
"""Ten thousand who watch one namespace, and one of them who reads nothing: everybody hears of every
change, in order, and writers wait for none of them."""
import resource
import selectors
import time

from harness import Server, check, connect, same, wait_until

WATCHERS = 10000
SPARE = 600  # descriptors for anything else
PATIENCE = 120
CHANGES = 20
WORKSPACE = "11111111-2222-3333-4444-555555555555"
REQUEST = ("GET /api2/%s/crowd?watch=1&type=%%s HTTP/1.1\r\nHost: x\r\n\r\n" % WORKSPACE)


class Crowd:
    def __init__(self, server, storage, count):
        self.text, self.selector = {}, selectors.DefaultSelector()
        for _ in range(count):
            sock = connect(("127.0.0.1", server.http), PATIENCE)
            sock.sendall((REQUEST % storage).encode())
            self.text[sock] = b""
            self.selector.register(sock, selectors.EVENT_READ)

    def wait(self, is_done):
        """Reads until it is done for each."""
        left = {sock for sock in self.text if not is_done(self.text[sock])}
        while left:
            ready = self.selector.select(PATIENCE)
            check(ready, "%d hear nothing" % len(left))
            for key, _ in ready:
                got = key.fileobj.recv(65536)
                check(got, "a watcher was hung up on")
                self.text[key.fileobj] += got
                if is_done(self.text[key.fileobj]):
                    left.discard(key.fileobj)

    def close(self):
        for sock in self.text:
            sock.close()
        self.selector.close()


def memory_of(server):
    with open("/proc/%d/status" % server.process.pid, encoding="utf-8") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))


def all_hear(server, storage, count, say):
    crowd = Crowd(server, storage, count)
    deaf = connect(("127.0.0.1", server.http), PATIENCE)
    deaf.sendall((REQUEST % storage).encode())
    crowd.wait(lambda text: b"event: ready" in text)
    line = server.line()
    same(line.ask("USE crowd"), "+OK", "USE")
    start = time.monotonic()
    for i in range(CHANGES):
        same(line.ask("SET %s 0 k%d value" % (storage, i)), "+OK", "SET")
    wrote = time.monotonic() - start
    crowd.wait(lambda text: b'"key":"k%d"' % (CHANGES - 1) in text)
    took = time.monotonic() - start
    for text in crowd.text.values():
        places = [text.find(b'"key":"k%d"' % i) for i in range(CHANGES)]
        check(-1 not in places and places == sorted(places), "each hears of all, in order")
        check(b"resync" not in text, "none misses any")
    say("%d watch %s: %d changes in %.2f s, heard by all %.1f s after the first; %d MB" % (
        count, storage, CHANGES, wrote, took, memory_of(server)))
    crowd.close()
    deaf.close()
    line.close()


def nobody_watches(server):
    page = server.request("GET", "/metrics").body.decode()
    return "\nhati_watchers 0\n" in page


def run(runner):
    """The server has as many descriptors as this process."""
    count = min(WATCHERS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE)
    check(count >= 500, "too few descriptors")
    server = Server()
    try:
        for storage in ("memory", "hdd"):
            all_hear(server, storage, count, runner.say)
            wait_until(lambda: nobody_watches(server), "those who hung up watch on", PATIENCE)
        same(server.stop(), 0, "the end")
    finally:
        server.close()
