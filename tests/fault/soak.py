# SPDX-License-Identifier: MIT
"""Two thousand HTTP connections that stay, some of whose requests wait for the disk."""
import asyncio
import json
import os
import random
import time
from multiprocessing import get_context

from harness import Server, check

CONNECTIONS = 2000
PROCESSES = 2
DEFAULT_SECONDS = 20
PATIENCE = 30
FLOOR_S = 1.0
HANG_UP = 0.001  # of the requests are left by their client while they wait


class Client(asyncio.Protocol):
    """One request after another; what is kept of an answer is its status and body."""

    def __init__(self):
        self.buffer = b""
        self.answer = None
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17:].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        body = self.buffer[end + 4:end + 4 + length]
        self.buffer = self.buffer[end + 4 + length:]
        if self.answer and not self.answer.done():
            self.answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error):
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed without an answer: %s" % error))

    def ask(self, request):
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer


class Half:
    """What one process does: its connections, what went wrong, how long answers took."""

    def __init__(self, port, first, count, seconds):
        self.port, self.first, self.count = port, first, count
        self.end = time.monotonic() + seconds
        self.times, self.wrong = [], []
        self.unanswered = self.left = 0

    async def connect(self):
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Client, "127.0.0.1", self.port))[1]

    def next_request(self, key, pick, stored):
        """(request, whether it waits for the disk, status and body of its answer, then stored)"""
        dice = pick.random()
        path = "/api2/11111111-2222-3333-4444-555555555555/soak/%s" % key
        host = " HTTP/1.1\r\nHost: localhost\r\n"
        if dice < 0.4 or stored is None:
            body = b"%s.%d" % (key.encode(), pick.randrange(1 << 40)) + b"x" * pick.randrange(200)
            head = "PUT %s?type=hdd%sContent-Length: %d\r\n\r\n" % (path, host, len(body))
            return head.encode() + body, True, 204, b"", body
        if dice < 0.9:
            return ("GET %s?type=hdd%s\r\n" % (path, host)).encode(), False, 200, stored, stored
        return ("GET %s?type=memory%s\r\n" % (path, host)).encode(), False, 404, None, stored

    async def converse(self, number):
        pick = random.Random(number)
        stored, key = None, "k%d" % number
        client = await self.connect()
        while time.monotonic() < self.end:
            request, waits, status, body, after = self.next_request(key, pick, stored)
            start = time.perf_counter()
            answer = client.ask(request)
            if waits and pick.random() < HANG_UP:
                await asyncio.sleep(0)
                answer.cancel()
                client.transport.abort()
                self.left += 1
                stored, key = None, key + "-"  # what was left may yet be carried out
                client = await self.connect()
                continue
            try:
                got = await asyncio.wait_for(answer, PATIENCE)
            except asyncio.TimeoutError:
                self.unanswered += 1
                return
            self.times.append(time.perf_counter() - start)
            if got[0] != status or body is not None and got[1] != body:
                self.wrong.append("%r was answered %d %r, wanted %d %r" % (
                    request[:60], got[0], got[1][:60], status, (body or b"")[:60]))
                return
            stored = after
        client.transport.close()

    async def run(self):
        tasks = [self.converse(number) for number in range(self.first, self.first + self.count)]
        for failure in await asyncio.gather(*tasks, return_exceptions=True):
            if failure is not None:
                self.wrong.append(repr(failure))


def run_half(pipe, *arguments):
    half = Half(*arguments)
    asyncio.run(half.run())
    pipe.send((half.times, half.wrong, half.unanswered, half.left))
    pipe.close()


def drive(server, seconds):
    """Both processes' (times, wrong, unanswered, left), added."""
    context = get_context("fork")
    share = CONNECTIONS // PROCESSES
    running = []
    for i in range(PROCESSES):
        ours, theirs = context.Pipe(False)
        process = context.Process(target=run_half,
                                  args=(theirs, server.http, i * share, share, seconds))
        process.start()
        theirs.close()
        running.append((process, ours))
    times, wrong, unanswered, left = [], [], 0, 0
    for process, ours in running:
        check(ours.poll(seconds + 3 * PATIENCE), "a client process gave no result")
        part = ours.recv()
        process.join()
        times += part[0]
        wrong += part[1]
        unanswered += part[2]
        left += part[3]
    return times, wrong, unanswered, left


def run(runner):
    seconds = float(os.environ.get("HATI_SOAK_S") or DEFAULT_SECONDS)
    server = Server()
    try:
        times, wrong, unanswered, left = drive(server, seconds)
        check(times, "nothing was answered")
        times.sort()
        median, slowest = times[len(times) // 2], times[-1]
        runner.say("%d connections, %.0f s: %d answered (%.0f a second), %d hung up on; median "
                   "%.1f ms, 99 %% %.1f ms, slowest %.1f ms (%.1f times the median)" % (
                       CONNECTIONS, seconds, len(times), len(times) / seconds, left,
                       median * 1e3, times[len(times) * 99 // 100] * 1e3, slowest * 1e3,
                       slowest / median))
        check(server.process.poll() is None, "the server ended with %s: %s" % (
            server.process.poll(), server.log_text()[-7000:]))
        check(not wrong, "%d wrong answers: %s" % (len(wrong), wrong[:3]))
        check(unanswered == 0, "%d requests had no answer in %d s" % (unanswered, PATIENCE))
        check(slowest <= max(100 * median, FLOOR_S), "the slowest was too slow")
        stats = json.loads(server.request("GET", "/stats").body)
        check(stats["connections"], "/stats")
        check(server.stop() == 0, "the server did not end well")
    finally:
        server.close()
