# SPDX-License-Identifier: MIT
"""Kills a server whose queues are in use, again and again; the clients' ledger says what must be
left: nothing acknowledged is lost, nothing acknowledged comes again, a fan-out is all or none, order
holds for what came but once."""
import collections
import json
import os
import random
import subprocess
import threading
import time

from harness import Server, check, same
from queue_ledger import Ledger
from starts import Starts

DEFAULT_ROUNDS = 40
LEASE_MS = 1500
DURABILITIES = ("commit", "commit", "interval:50", "interval:60000")
WINDOW = 48
ROUNDS_AN_EPOCH = 5

# router or None, queues that get what is published so
ROUTES = {"work": (None, ("work",)), "fan": ("fan", ("fan-a", "fan-b")),
          "outbox": (None, ("outbox",)), "poison": (None, ("poison",))}
QUEUES = ("work", "fan-a", "fan-b", "outbox", "poison", "dead")


class Client(threading.Thread):
    """One connection that is used until the server is killed."""

    def __init__(self, ledger, seed):
        super().__init__()
        self.ledger = ledger
        self.random = random.Random(seed)
        self.error = None

    def begin(self, server):
        self.line = server.line()
        self.start()

    def run(self):
        try:
            self.converse()
        except (OSError, EOFError):
            pass  # killed
        except Exception as error:
            self.error = error
        finally:
            try:
                self.line.close()
            except OSError:
                pass

    def read_line(self):
        line = self.line.read_line()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def read_frame(self, head):
        _, receipt, attempt, _, length = head[:-1].decode().split(" ")
        payload = self.line.read(int(length) + 1)
        if len(payload) != int(length) + 1:
            raise EOFError
        return receipt, int(attempt), payload[:-1].decode()

    def finish(self):
        self.join(30)
        check(not self.is_alive(), "a client hangs")
        if self.error:
            raise self.error


class Producer(Client):
    """Publishes unique payloads, some dozens ahead of the answers."""

    def __init__(self, ledger, seed, name, route, again=()):
        super().__init__(ledger, seed)
        self.name, self.route = name, route
        self.again = list(again)  # whose outcome is not known: published once more under their ids
        self.count = 0

    def next_payload(self):
        if self.again:
            return self.again.pop()
        self.count += 1
        return "%s/%06d/%s" % (self.name, self.count, "x" * self.random.randrange(120))

    def words(self, payload):
        router, queues = ROUTES[self.route]
        if self.route == "fan":
            return b"PUBLISHB fan k %d\n%s\n" % (len(payload), payload.encode())
        id = payload[:payload.rindex("/")]
        method, params = "Broker.Publish", {"router": "default", "key": queues[0], "id": id,
                                            "payload": payload}
        if self.route == "outbox":
            method, params = "Storage.Batch", {"namespace": "outbox", "ops": [
                {"op": "set", "key": id, "value": "1"},
                {"op": "publish", "router": "default", "routing-key": "outbox",
                 "payload": payload}]}
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                           "params": params}).encode() + b"\n"

    def is_answer_good(self, answer):
        if self.route == "fan":
            return answer.startswith(b"+OK ") and answer.endswith(b" 2\n")
        return "result" in json.loads(answer)

    def converse(self):
        waiting = collections.deque()
        while True:
            some = [self.next_payload() for _ in range(self.random.randrange(1, WINDOW))]
            for payload in some:
                self.ledger.published(self.route, payload)
                waiting.append(payload)
            self.line.send(b"".join(self.words(payload) for payload in some))
            while len(waiting) > WINDOW // 2:
                answer = self.read_line()
                check(self.is_answer_good(answer), "a publish was answered %r" % answer)
                self.ledger.confirmed(waiting.popleft())


class Consumer(Client):
    def __init__(self, ledger, seed, queue):
        super().__init__(ledger, seed)
        self.queue = queue
        self.name = "%s consumer %d" % (queue, seed)
        self.waiting = collections.deque()  # (word, payload, attempt) whose answers are to come

    def took(self, receipt, attempt, payload):
        """Notes a delivery; the words to answer it with."""
        self.ledger.delivered(self.queue, payload, attempt, self.name)
        dice = self.random.random()
        if self.queue == "poison" or dice < 0.05:
            word = "NACK"
        elif dice < 0.92:
            word = "ACK"
            self.ledger.acking(self.queue, payload, attempt)
        else:
            return b""  # its lease ends
        self.waiting.append((word, payload, attempt))
        return ("%s %s %s\n" % (word, self.queue, receipt)).encode()

    def answered(self, answer):
        word, payload, attempt = self.waiting.popleft()
        if answer == b"+OK\n":
            if word == "ACK":
                self.ledger.acked(self.queue, payload, attempt)
        else:
            check(answer.startswith(b"+ERR RECEIPT_INVALID "), "%s was answered %r" % (word, answer))
            if word == "ACK":
                self.ledger.refused(self.queue, payload, attempt)


class Puller(Consumer):
    def converse(self):
        while True:
            self.line.send(b"RECEIVE %s %d 100\n" % (self.queue.encode(),
                                                    self.random.randrange(1, 40)))
            words = b""
            while True:
                head = self.read_line()
                if not head.startswith(b"MSG "):
                    check(head.startswith(b"+OK "), "RECEIVE was answered %r" % head)
                    break
                words += self.took(*self.read_frame(head))
            self.line.send(words)
            while self.waiting:
                self.answered(self.read_line())


class Pushed(Consumer):
    def converse(self):
        self.line.send(b"SUBSCRIBE %s 32\n" % self.queue.encode())
        same(self.read_line(), b"+OK\n", "SUBSCRIBE")
        while True:
            head = self.read_line()
            if head.startswith(b"MSG "):
                self.line.send(self.took(*self.read_frame(head)))
            else:
                self.answered(head)


def in_time(answer, begin, what):
    """Whether a receipt was good still; one may be refused only where its lease can be over."""
    if answer.startswith(b"+ERR RECEIPT_INVALID ") and \
            time.monotonic() - begin > LEASE_MS / 1000:
        return False
    same(answer, b"+OK\n", what)
    return True


class Crash:
    def __init__(self, runner):
        self.random = random.Random(runner.seed)
        self.runner = runner
        self.server = Server("--write-buffer", "1m")
        self.ledger = Ledger(ROUTES)
        self.starts = Starts()
        self.names = self.messages = self.deliveries = 0
        line = self.server.line()
        options = {"work": " dedup-window=3600000", "poison": " max-deliver=2 dead-letter=dead"}
        for queue in QUEUES:
            same(line.ask("CREATEQUEUE %s hdd lease=%d%s" % (
                queue, LEASE_MS, options.get(queue, ""))), "+OK", queue)
        same(line.ask("CREATEROUTER fan fanout"), "+OK", "CREATEROUTER")
        for queue in ROUTES["fan"][1]:
            same(line.ask("BIND fan " + queue), "+OK", "BIND")
        line.close()

    def clients(self):
        def seed():
            return self.random.randrange(1 << 30)

        def name():
            self.names += 1
            return "p%d" % self.names

        again = self.ledger.unknown("work")
        producers = [Producer(self.ledger, seed(), name(), "work", again),
                     Producer(self.ledger, seed(), name(), "work"),
                     Producer(self.ledger, seed(), name(), "fan"),
                     Producer(self.ledger, seed(), name(), "fan"),
                     Producer(self.ledger, seed(), name(), "outbox"),
                     Producer(self.ledger, seed(), name(), "poison")]
        if self.random.random() < 0.3:  # queues grow beyond what is held in memory
            return producers
        return producers + [
            Puller(self.ledger, seed(), "work"), Pushed(self.ledger, seed(), "work"),
            Puller(self.ledger, seed(), "fan-a"), Pushed(self.ledger, seed(), "fan-b"),
            Puller(self.ledger, seed(), "outbox"), Pushed(self.ledger, seed(), "poison")]

    def kill_half_started(self):
        """Launches the server on its data and kills it before it is up, most likely."""
        command = [Server.binary, "start", "--data-dir", os.path.join(self.server.dir, "data"),
                   "--tcp-port", "0", "--rpc-port", "0"] + self.server.flags
        process = subprocess.Popen(command, env=self.server.env, stdout=subprocess.DEVNULL,
                                   stderr=self.server.log)
        time.sleep(self.random.uniform(0, 0.1))
        check(process.poll() is None, "the server ended by itself with %s: %s" % (
            process.returncode, self.server.log_text()[-500:]))
        process.kill()
        process.wait()

    def restart(self):
        self.server.flags = ["--write-buffer", self.random.choice(("1m", "64m")), "--durability",
                             self.random.choice(DURABILITIES)]
        while self.random.random() < 0.2:
            self.kill_half_started()
        self.starts.start(self.server)

    def round(self):
        clients = self.clients()
        for client in clients:
            client.begin(self.server)
        time.sleep(self.random.uniform(0.05, 0.5))
        check(self.server.process.poll() is None, "the server ended by itself with %s: %s" % (
            self.server.process.poll(), self.server.log_text()[-2000:]))
        if self.random.random() < 0.15:
            same(self.server.stop(), 0, "it ends well when asked to")
        else:
            self.server.kill()
        for client in clients:
            client.finish()
        self.restart()

    def drain(self, queue):
        """Acknowledges everything there is, the leases of before included."""
        line = self.server.line()
        end = time.monotonic() + 60
        while True:
            begin = time.monotonic()
            line.send("RECEIVE %s 500 50\n" % queue)
            words, taken = [], []
            while True:
                head = line.read_line()
                if not head.startswith(b"MSG "):
                    break
                _, receipt, attempt, _, length = head[:-1].decode().split(" ")
                payload = line.read(int(length) + 1)[:-1].decode()
                self.ledger.delivered(queue, payload, int(attempt), "drain")
                self.ledger.acking(queue, payload, int(attempt))
                taken.append((payload, int(attempt)))
                words.append("ACK %s %s\n" % (queue, receipt))
            check(head == b"+OK %d\n" % len(taken), "RECEIVE was answered %r" % head)
            line.send("".join(words))
            for payload, attempt in taken:
                if in_time(line.read_line(), begin, "ACK of %s %s" % (queue, payload[:20])):
                    self.ledger.acked(queue, payload, attempt)
                else:
                    self.ledger.refused(queue, payload, attempt)
            if not taken:
                left = json.loads(line.ask("GETQUEUE " + queue))
                if left["ready"] + left["leased"] + left["delayed"] == 0:
                    break
                check(time.monotonic() < end, "%s does not get empty: %s" % (queue, left))
        line.close()

    def compare(self):
        """Everything out, and nothing missing or too much."""
        self.move_poison()
        for queue in QUEUES:
            self.drain(queue)
        line = self.server.line()
        same(line.ask("USE outbox"), "+OK", "USE")

        def has_key(payload):
            return line.ask("HAS hdd " + payload[:payload.rindex("/")]) == "+OK"

        self.ledger.compare(has_key)
        same(line.ask("FLUSHALL hdd"), "+OK", "FLUSHALL")
        line.close()
        self.messages += len(self.ledger.states)
        self.deliveries += self.ledger.deliveries
        self.ledger = Ledger(ROUTES)

    def move_poison(self):
        """Until all of it is in the dead-letter queue."""
        line = self.server.line()
        end = time.monotonic() + 60
        while True:
            begin = time.monotonic()
            line.send("RECEIVE poison 500 50\n")
            words, count = "", 0
            while True:
                head = line.read_line()
                if not head.startswith(b"MSG "):
                    break
                _, receipt, attempt, _, length = head[:-1].decode().split(" ")
                payload = line.read(int(length) + 1)[:-1].decode()
                self.ledger.delivered("poison", payload, int(attempt), "drain")
                words += "NACK poison %s\n" % receipt
                count += 1
            line.send(words)
            for _ in range(count):
                in_time(line.read_line(), begin, "NACK")
            left = json.loads(line.ask("GETQUEUE poison"))
            if left["ready"] + left["leased"] == 0:
                break
            check(time.monotonic() < end, "poison does not get empty: %s" % left)
        line.close()


def run(runner, rounds=None):
    rounds = rounds or int(os.environ.get("HATI_FAULT_ROUNDS") or DEFAULT_ROUNDS)
    crash = Crash(runner)
    try:
        for number in range(1, rounds + 1):
            crash.round()
            if number % ROUNDS_AN_EPOCH == 0 or number == rounds:
                crash.compare()
        runner.say("%d kills, %d messages, %d deliveries: none lost, none twice; %s" % (
            rounds, crash.messages, crash.deliveries, crash.starts))
    except Exception:
        for line in crash.server.log_text().splitlines():
            if '"level":"info"' not in line:
                runner.say(line)
        raise
    finally:
        crash.server.close()
