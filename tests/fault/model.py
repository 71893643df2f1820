# SPDX-License-Identifier: MIT
"""One writer: its connection, what it sent, what was acknowledged, and what may therefore stand
in the store after a kill.

A writer owns its namespace, and the server carries out what comes on one connection in order. So
what stands after a kill is the state after some prefix of what was sent, and the prefix holds all
that was acknowledged.
"""
import json
import random
import socket
import threading
import time

from harness import PATIENCE, Failure, Line, check, same

VALUE_KEYS = 300   # set, deleted, touched, set together
SHORT_KEYS = 40    # with a TTL that passes while the test runs
NUMBER_KEYS = 40   # incremented
LARGE_KEYS = 3     # of 1 to 8 MiB, where a round has such
MEMORY_KEYS = 20   # on memory: gone with the process
NEVER = (0, 0)
SLACK_MS = 2       # of rounding


def now_ms():
    return time.time() * 1000


class State:
    """A value and between which times it expires."""
    __slots__ = ("value", "expiry")

    def __init__(self, value, expiry):
        self.value = value
        self.expiry = expiry


def expiry_of(ttl, sent, answered):
    return NEVER if ttl == 0 else (sent + ttl - SLACK_MS, answered + ttl + SLACK_MS)


def long_key(kind, i):
    """Some are longer than LMDB's keys may be."""
    return "%s%d%s" % (kind, i, "-" * (600 + 11 * i) if i % 25 == 7 else "")


class Op:
    """What is sent, and what it does to a state."""
    __slots__ = ("verb", "key", "value", "ttl", "sent", "answered", "reply")

    def __init__(self, verb, key, value=None, ttl=0):
        self.verb, self.key, self.value, self.ttl = verb, key, value, ttl
        self.sent = self.answered = self.reply = None

    def encode(self):
        key = self.key
        if self.verb == "SET":
            return b"SET hdd %d %s %s\n" % (self.ttl, key.encode(), self.value)
        if self.verb == "SETB":
            return b"SETB hdd %d %s %d\n%s\n" % (self.ttl, key.encode(), len(self.value),
                                                 self.value)
        if self.verb == "DELETE":
            return b"DELETE hdd %s\n" % key.encode()
        if self.verb == "TOUCH":
            return b"TOUCH hdd %d %s\n" % (self.ttl, key.encode())
        if self.verb == "INCR":
            return b"INCR hdd %s %d\n" % (key.encode(), self.value)
        if self.verb == "KEEP":
            return b"SET memory 0 %s %s\n" % (key.encode(), self.value)
        if self.verb == "RECALL":
            return b"GET memory %s\n" % key.encode()
        if self.verb == "BATCH":
            return self.encode_batch()
        entries = {}
        for name, value in self.value.items():
            entries[name] = {"value": value.decode(), "ttl": self.ttl} if self.ttl else \
                value.decode()
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Storage.SetMany",
                           "params": {"type": "hdd", "entries": entries}}).encode() + b"\n"

    def encode_batch(self):
        """Sets, deletes (of what has no value), and a message that tells of them."""
        namespace, message = self.key
        ops = [{"op": "delete", "key": key} if value is None else
               {"op": "set", "key": key, "value": value.decode()}
               for key, value in self.value.items()]
        ops.insert(len(ops) // 2, {"op": "publish", "router": "default", "payload": message,
                                   "routing-key": queue_of(namespace)})
        params = {"type": "hdd", "ops": ops, "namespace": namespace.split("/")[-1]}
        if "/" in namespace:
            params["workspace"] = namespace.split("/")[0]
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Storage.Batch",
                           "params": params}).encode() + b"\n"

    def keys(self):
        """Whose state on hdd it changes."""
        if self.verb in ("KEEP", "RECALL"):
            return []
        return list(self.value) if self.verb in ("MANY", "BATCH") else [self.key]

    def apply(self, state, key):
        """The state of `key` afterwards, and the reply that it must have given."""
        answered = self.answered or now_ms()
        if self.verb in ("SET", "SETB"):
            return State(self.value, expiry_of(self.ttl, self.sent, answered)), b"+OK\n"
        if self.verb == "MANY":
            return State(self.value[key], expiry_of(self.ttl, self.sent, answered)), None
        if self.verb == "BATCH":
            value = self.value[key]
            return None if value is None else State(value, NEVER), None
        if self.verb == "DELETE":
            return None, b"+OK\n"
        if self.verb == "TOUCH":
            if state is None:
                return None, b"+ERR KEY_NOT_EXIST"
            return State(state.value, expiry_of(self.ttl, self.sent, answered)), b"+OK\n"
        number = b"%d" % (int(state.value if state else b"0") + self.value)
        return State(number, state.expiry if state else NEVER), number + b"\n"

    def check_reply(self, wanted):
        if self.verb == "MANY":
            check(json.loads(self.reply).get("result") == len(self.value),
                  "SetMany of %d was answered %r" % (len(self.value), self.reply))
        elif self.verb == "BATCH":
            results = json.loads(self.reply).get("result", {}).get("results", ())
            check(len(results) == len(self.value) + 1 and
                  results[len(self.value) // 2].get("queues") == 1,
                  "a batch of %d was answered %r" % (len(self.value) + 1, self.reply[:200]))
        else:
            check(self.reply.startswith(wanted),
                  "%s %s was answered %r, wanted %r" % (self.verb, self.key[:20], self.reply,
                                                        wanted))


def queue_of(namespace):
    return "tx-" + namespace.split("/")[-1]


class Writer:
    def __init__(self, number, seed):
        self.number = number
        self.has_large = False
        self.messages = set()  # of transactions that were acknowledged and not taken out yet
        self.batches = self.large = 0
        self.random = random.Random(seed)
        self.serial = 0
        self.states = {}
        self.namespace = None
        self.thread = None
        self.acknowledged = self.unknown = self.survived = 0
        self.ops = []
        self.error = None

    def use(self, namespace):
        self.namespace = namespace
        self.states = {}
        self.messages = set()

    def make_value(self):
        self.serial += 1
        dice = self.random.random()
        size = self.random.randrange(0, 300) if dice < 0.9 else \
            self.random.randrange(0, 5000) if dice < 0.995 else self.random.randrange(0, 200000)
        return b"%d.%d." % (self.number, self.serial) + b"%c" % (97 + self.serial % 26) * size

    def make_ttl(self):
        return self.random.choice((0, 0, 60000, 3600000))

    def make_op(self):
        pick = self.random
        dice = pick.random()
        if dice < 0.12:
            return Op("INCR", long_key("n", pick.randrange(NUMBER_KEYS)),
                      pick.randrange(-1000, 1000))
        if dice < 0.14:
            return Op("DELETE", long_key("n", pick.randrange(NUMBER_KEYS)))
        if dice < 0.20:
            return Op("SET", long_key("s", pick.randrange(SHORT_KEYS)), self.make_value(),
                      pick.randrange(1, 2500))
        key = long_key("v", pick.randrange(VALUE_KEYS))
        if dice < 0.32:
            return Op("DELETE", key)
        if dice < 0.44:
            return Op("TOUCH", key, ttl=self.make_ttl())
        if dice < 0.49:
            keys = pick.sample(range(VALUE_KEYS), pick.randrange(2, 40))
            return Op("MANY", None, {long_key("v", i): self.make_value() for i in keys},
                      self.make_ttl())
        if dice < 0.6:
            return Op("SETB", key, self.make_value() + b"\x00\n\xff", self.make_ttl())
        return Op("SET", key, self.make_value(), self.make_ttl())

    def make_rare_op(self):
        """One that is not about single small entries of hdd, or None."""
        pick = self.random
        dice = pick.random()
        if dice < 0.05:
            return Op("KEEP", "m%d" % pick.randrange(MEMORY_KEYS), self.make_value())
        if dice < 0.10:
            return Op("RECALL", "m%d" % pick.randrange(MEMORY_KEYS))
        if dice < 0.15:
            self.serial += 1
            return Op("BATCH", (self.namespace, "%d.%d" % (self.number, self.serial)), {
                long_key("v", i): self.make_value() if pick.random() < 0.8 else None
                for i in pick.sample(range(VALUE_KEYS), pick.randrange(1, 20))})
        if dice < 0.17 and self.has_large:
            size = pick.randrange(1 << 20, 8 << 20)
            return Op("SETB", "L%d" % pick.randrange(LARGE_KEYS),
                      self.make_value() + pick.randbytes(4096) * (size >> 12))
        return None

    def start(self, server, has_large=False):
        self.ops = []
        self.error = None
        self.memory = {}
        self.has_large = has_large
        line = server.line()
        same(line.ask("USE " + self.namespace), "+OK", "USE")
        self.thread = threading.Thread(target=self.write, args=(line,))
        self.thread.start()

    def send_batch(self, line):
        batch = [self.make_rare_op() or self.make_op() for _ in range(self.random.choice((1, 3, 16, 64, 200)))]
        data = b"".join(op.encode() for op in batch)
        sent = now_ms()
        for op in batch:
            op.sent = sent
        self.ops += batch
        line.send(data)
        return batch

    def write(self, line):
        """Until the server is gone; a batch is always under way while one is answered."""
        try:
            ahead = self.send_batch(line)
            while True:
                batch, ahead = ahead, self.send_batch(line)
                for op in batch:
                    reply = line.read_line()
                    if not reply.endswith(b"\n"):
                        return
                    op.answered = now_ms()
                    op.reply = reply
        except socket.timeout:
            self.error = "a write was not answered within %d s" % PATIENCE
        except OSError:
            pass
        finally:
            try:
                line.close()
            except OSError:
                pass

    def finish(self):
        """After the kill: what was acknowledged is now the state; the rest stays in ops."""
        self.thread.join()
        check(self.error is None, self.error)
        ended = now_ms()
        done = sum(1 for op in self.ops if op.reply is not None)
        for op in self.ops[:done]:
            for key in op.keys():
                after, wanted = op.apply(self.states.get(key), key)
                self.states[key] = after
            self.note(op)
            op.check_reply(wanted if op.keys() else self.memory_reply(op))
        self.acknowledged += done
        self.ops = self.ops[done:]
        self.unknown += len(self.ops)
        for op in self.ops:
            op.answered = ended

    def note(self, op):
        if op.verb == "BATCH":
            self.messages.add(op.key[1])
            self.batches += 1
        self.large += op.verb == "SETB" and len(op.value) >= 1 << 20

    def memory_reply(self, op):
        if op.verb == "KEEP":
            self.memory[op.key] = op.value
            return b"+OK\n"
        value = self.memory.get(op.key)
        return b"+ERR KEY_NOT_EXIST" if value is None else value + b"\n"

    def take_messages(self, server):
        """Everything in the queue of its transactions, acknowledged."""
        line, queue, came = server.line(), queue_of(self.namespace), []
        while True:
            line.send("RECEIVE %s 200\n" % queue)
            words = []
            while (head := line.read_line()).startswith(b"MSG "):
                _, receipt, attempt, _, length = head[:-1].decode().split(" ")
                same(attempt, "1", "the first time that it comes")
                came.append(line.read(int(length) + 1)[:-1].decode())
                words.append("ACK %s %s\n" % (queue, receipt))
            check(head == b"+OK %d\n" % len(words), "RECEIVE was answered %r" % head)
            if not words:
                break
            line.send("".join(words))
            for _ in words:
                same(line.read_line(), b"+OK\n", "ACK")
        line.close()
        same(len(set(came)), len(came), "how many messages are different")
        return set(came)

    def narrow_by_messages(self, server, possible):
        """A transaction's message is there where its entries are."""
        came = self.take_messages(server)
        check(came >= self.messages, "%s: messages of acknowledged transactions are gone: %s" % (
            self.namespace, sorted(self.messages - came)[:5]))
        came -= self.messages
        for place, op in enumerate(self.ops, 1):
            if op.verb != "BATCH":
                continue
            if op.key[1] in came:
                came.discard(op.key[1])
                possible[:place] = [False] * place
            else:
                possible[place:] = [False] * (len(possible) - place)
        check(not came, "%s: messages that nobody sent: %s" % (self.namespace, sorted(came)[:5]))
        check(any(possible), "%s: messages of transactions are no prefix" % self.namespace)
        self.messages = set()

    def read_back(self, server):
        """{key: (value or None, when expiry may be, when it was read)}"""
        line = server.line()
        same(line.ask("USE " + self.namespace), "+OK", "USE")
        keys = [long_key(kind, i) for kind, count in
                (("v", VALUE_KEYS), ("s", SHORT_KEYS), ("n", NUMBER_KEYS), ("L", LARGE_KEYS))
                for i in range(count)]
        seen = {}
        for at in range(0, len(keys), 50):
            some = keys[at:at + 50]
            before = now_ms()
            line.send(b"".join(b"GETB hdd %s\nTTL hdd %s\n" % (key.encode(), key.encode())
                               for key in some))
            answers = [(read_framed(line), line.read_line()) for _ in some]
            after = now_ms()
            for key, (value, ttl) in zip(some, answers):
                if value is None or ttl.startswith(b"+ERR KEY_NOT_EXIST"):
                    seen[key] = (None, NEVER, (before, after))
                    continue
                left = int(ttl)
                expiry = NEVER if left == 0 else (before + left - SLACK_MS,
                                                  after + left + SLACK_MS)
                seen[key] = (value, expiry, (before, after))
        line.close()
        return seen

    def compare(self, server):
        """Fails unless some prefix of what was sent, with all that was acknowledged, stands."""
        seen = self.read_back(server)
        possible = [True] * (len(self.ops) + 1)
        self.narrow_by_messages(server, possible)
        histories = {key: [(0, self.states.get(key))] for key in seen}
        for place, op in enumerate(self.ops, 1):
            for key in op.keys():
                after, _ = op.apply(histories[key][-1][1], key)
                histories[key].append((place, after))
        for key, history in histories.items():
            self.narrow(key, history, seen[key], possible)
        self.survived += max(place for place, may in enumerate(possible) if may)
        self.adopt(histories, seen)
        self.check_listing(server)

    def narrow(self, key, history, seen, possible):
        fits = []
        for at, (place, state) in enumerate(history):
            end = history[at + 1][0] if at + 1 < len(history) else len(possible)
            good = matches(state, seen)
            fits.append(good)
            if not good:
                possible[place:end] = [False] * (end - place)
        if not any(fits) or not any(possible):
            self.complain(key, history, seen, "no state" if not any(fits) else
                          "no common prefix of the unacknowledged writes")

    def complain(self, key, history, seen, what):
        raise Failure("%s/%s: %s; read %s; acknowledged %s; %d unacknowledged states: %s" % (
            self.namespace, key[:20], what, show(seen[0], seen[1]), show_state(history[0][1]),
            len(history) - 1, [show_state(state) for _, state in history[1:4]]))

    def adopt(self, histories, seen):
        """What was read is from now on what must stand."""
        self.ops = []
        for key, (value, expiry, _) in seen.items():
            if value is None:
                self.states[key] = None
                continue
            fits = [state for _, state in histories[key] if matches(state, seen[key])]
            if expiry != NEVER:  # which of them it is cannot be told where their times overlap
                expiry = (max(expiry[0], min(state.expiry[0] for state in fits)),
                          min(expiry[1], max(state.expiry[1] for state in fits)))
            self.states[key] = State(value, expiry)

    def check_listing(self, server):
        """A listing and the reads agree."""
        line = server.line()
        same(line.ask("USE " + self.namespace), "+OK", "USE")
        listed, cursor = [], ""
        while True:
            page = json.loads(line.ask(("KEYS hdd * 100 " + cursor).rstrip()))
            listed += page["keys"]
            cursor = page.get("cursor")
            if not cursor:
                break
        same(line.ask("KEYS memory"), '{"keys":[]}', "what is left on memory")
        line.close()
        wanted = sorted(key for key, state in self.states.items()
                        if state is not None and key[0] != "s")
        same(sorted(key for key in listed if key[0] != "s"), wanted, "KEYS")


def read_framed(line):
    head = line.read_line()
    if head.startswith(b"+ERR KEY_NOT_EXIST"):
        return None
    check(head.startswith(b"$"), "GETB was answered %r" % head[:200])
    length = int(head[1:])
    data = line.read(length + 1)
    check(len(data) == length + 1, "GETB was cut")
    return data[:-1]


def matches(state, seen):
    value, expiry, (before, after) = seen
    if value is None:
        return state is None or state.expiry != NEVER and after >= state.expiry[0]
    if state is None or state.value != value:
        return False
    if state.expiry == NEVER or expiry == NEVER:
        return state.expiry == expiry
    return before <= state.expiry[1] and \
        expiry[0] <= state.expiry[1] and state.expiry[0] <= expiry[1]


def show(value, expiry):
    if value is None:
        return "nothing"
    return "%r (%d bytes) until %s" % (value[:24], len(value),
                                       "ever" if expiry == NEVER else "%.0f..%.0f" % expiry)


def show_state(state):
    return "nothing" if state is None else show(state.value, state.expiry)
