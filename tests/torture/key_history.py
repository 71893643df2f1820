# SPDX-License-Identifier: MIT
"""Operations on single keys through all doors, written down for the checker of linearizability; and
conditions that many put to one key at once, of which one has to win."""
import hashlib
import json
import random

import linear
from connections import JSON_LINES, LINES, REST, RPC, call, http, rpc
from doors import WORKSPACE
from harness import check

NONE, NOT_SO, NO_NUMBER = "KEY_NOT_EXIST", "PRECONDITION_FAILED", "NOT_A_NUMBER"
METHODS = {"read": "Get", "entry": "GetEntry", "write": "Set", "delete": "Delete", "incr": "Increment",
           "absent": "Set", "etag": "Set", "revision": "Set", "delete etag": "Delete"}


def etag(value):
    return hashlib.md5(value.encode()).hexdigest()


class KeyOp:
    """kind: read, entry (with its revision), write, delete, incr; a write where there is none
    (absent), over a value (etag, revision: old is (value, revision)), a delete of a value (delete
    etag). whole: as a transaction, where that can be said."""

    def __init__(self, storage, key, kind, value=None, old=None, whole=False):
        self.storage, self.key, self.kind, self.value = storage, key, kind, value
        self.old = old or (None, None)
        self.whole = whole and storage == "hdd" and kind not in ("read", "entry")
        self.outcome = self.call = self.answer = self.revision = self.seen = None

    def __repr__(self):
        return "%s %s %s %r over %r" % (self.storage, self.key, self.kind, self.value, self.old)

    # --- how it is said ---

    def request(self, door):
        self.door = door
        if self.whole:
            text = self.batch()
            if door == REST:
                return http("POST", "/api2/%s/default" % WORKSPACE,
                            json.dumps({"ops": text}).encode(), Content_Type="application/json")
            text = call("Storage.Batch", type="hdd", ops=text)
        elif door == REST:
            return self.rest()
        elif door == LINES and self.kind in ("read", "write", "delete", "incr"):
            return self.line()
        else:
            text = call("Storage." + METHODS[self.kind], type=self.storage, key=self.key,
                        **self.params())
        return rpc(text) if door == RPC else text + b"\n"

    def params(self):
        if self.kind == "incr":
            return {"by": self.value}
        made = {} if self.value is None else {"value": self.value}
        if self.kind == "absent":
            made["ifAbsent"] = True
        elif self.kind.endswith("etag"):
            made["ifEtag"] = etag(self.old[0])
        elif self.kind == "revision":
            made["ifRevision"] = self.old[1]
        return made

    def line(self):
        words = {"read": "GET %s %s", "delete": "DELETE %s %s", "write": "SET %s 0 %s %s",
                 "incr": "INCR %s %s %d"}[self.kind]
        given = (self.storage, self.key) + (() if self.value is None else (self.value,))
        return (words % given + "\n").encode()

    def rest(self):
        path = "/api2/%s/default/%s?type=%s" % (WORKSPACE, self.key, self.storage)
        if self.kind in ("read", "entry"):
            return http("GET", path)
        if self.kind == "incr":
            return http("POST", path + "&op=incr&by=%d" % self.value)
        if self.kind == "revision":  # REST has no such condition: as JSON-RPC
            return rpc(call("Storage.Set", type=self.storage, key=self.key, **self.params()))
        headers = {}
        if self.kind == "absent":
            headers["If_None_Match"] = "*"
        elif self.kind.endswith("etag"):
            headers["If_Match"] = '"%s"' % etag(self.old[0])
        if self.kind.startswith("delete"):
            return http("DELETE", path, **headers)
        return http("PUT", path, self.value.encode(), **headers)

    def batch(self):
        ops = []
        if self.kind == "absent":
            ops.append({"op": "check", "key": self.key, "absent": True})
        elif self.kind.endswith("etag"):
            ops.append({"op": "check", "key": self.key, "etag": etag(self.old[0])})
        elif self.kind == "revision":
            ops.append({"op": "check", "key": self.key, "revision": self.old[1]})
        if self.kind.startswith("delete"):
            return ops + [{"op": "delete", "key": self.key}]
        if self.kind == "incr":
            return [{"op": "incr", "key": self.key, "by": self.value}]
        return ops + [{"op": "set", "key": self.key, "value": self.value}]

    # --- what came of it ---

    def answered(self, answer):
        code = answer.code()
        if self.kind in ("read", "entry"):
            self.outcome = self.what_was_read(answer, code)
            return
        if code == NONE and self.kind == "delete":
            self.outcome = False
        elif code == NOT_SO:
            self.outcome = False
        elif code == NO_NUMBER:
            self.outcome = linear.NO_NUMBER
        else:
            check(code is None, "%r was answered %s" % (self, code))
            self.outcome = self.what_was_done(answer)

    def what_was_read(self, answer, code):
        if code == NONE:
            return None
        check(code is None, "%r was answered %s" % (self, code))
        if answer.status and self.door == REST:
            self.revision = int(answer.headers["hati-revision"])
            value = answer.body.decode()
        elif self.door == LINES and self.kind == "read":
            value = answer.text.decode()
        else:
            value = answer.json()["result"]
            if self.kind == "entry":
                self.revision, value = value["revision"], value["value"]
        self.seen = (value, self.revision)
        return value

    def what_was_done(self, answer):
        if self.whole:
            said = answer.json()
            told = said.get("result", said)["results"][-1]
        elif self.door == LINES and not answer.text.startswith(b"{"):
            told = None if self.kind == "delete" else answer.text
        elif self.door == REST and self.kind != "revision":
            told = answer.body if self.kind == "incr" else True
            if "hati-revision" in answer.headers and self.value is not None:
                self.revision = int(answer.headers["hati-revision"])
        else:
            told = answer.json()["result"]
        if self.kind == "incr":
            return int(told)
        if self.kind.startswith("delete"):
            return told
        self.seen = (self.value, self.revision)
        return True

    def lost(self):
        self.outcome = linear.UNKNOWN

    def story(self):
        """For the checker."""
        kind, arguments = {
            "read": ("read", ()), "entry": ("read", ()), "write": ("write", (self.value,)),
            "delete": ("delete", ()), "incr": ("incr", (self.value,)),
            "delete etag": ("cas", (self.old[0], None))}.get(
                self.kind, ("cas", (self.old[0], self.value)))
        return linear.Op("%s %s" % (self.storage, self.key), kind, arguments, self.call, self.answer,
                         self.outcome, self.door)


class Keys:
    """Makes operations on few keys that are in use for a short time, and keeps what came of them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.epoch = self.life = self.count = self.judged = self.ops = 0
        self.history, self.known = [], {}

    def key(self, storage, kind):
        """Memory begins anew with each life of the server, disk does not."""
        life = "-%d" % self.life if storage == "memory" else ""
        return "%s%d%s" % (kind, self.epoch, life)

    def make(self):
        pick = self.random
        storage = pick.choice(("memory", "hdd"))
        self.count += 1
        made = self.number(storage) if pick.random() < 0.3 else self.register(storage)
        self.history.append(made)
        return made

    def register(self, storage):
        pick, dice = self.random, self.random.random()
        key = self.key(storage, pick.choice(("a", "b")))
        value, old = "v%d" % self.count, self.known.get((storage, key))
        whole = pick.random() < 0.25
        if dice < 0.25:
            return KeyOp(storage, key, "read")
        if dice < 0.45:
            return KeyOp(storage, key, "entry")
        if dice < 0.55:
            return KeyOp(storage, key, "write", value, whole=whole)
        if dice < 0.6:
            return KeyOp(storage, key, "delete", whole=whole)
        if dice < 0.63:
            return KeyOp(storage, key, "incr", 1, whole=whole)
        if old is None or dice < 0.7:
            return KeyOp(storage, key, "absent", value, whole=whole)
        if dice < 0.78:
            return KeyOp(storage, key, "delete etag", None, old, whole)
        kind = "revision" if old[1] and dice < 0.9 else "etag"
        return KeyOp(storage, key, kind, value, old, whole)

    def number(self, storage):
        pick, dice = self.random, self.random.random()
        key, whole = self.key(storage, "n"), self.random.random() < 0.25
        old = self.known.get((storage, key))
        if dice < 0.65:
            return KeyOp(storage, key, "incr", pick.choice((1, 1, 2, -3)), whole=whole)
        if dice < 0.9:
            return KeyOp(storage, key, "read")
        if dice < 0.93 or old is None:
            return KeyOp(storage, key, "delete", whole=whole)
        return KeyOp(storage, key, "etag", str(pick.randrange(100)), old, whole)

    def learn(self):
        """What values keys have been seen with, for conditions to come."""
        for op in self.history[-100:]:
            if op.seen and (op.seen[0].startswith("v") or op.key.startswith("n")):
                self.known[op.storage, op.key] = op.seen

    def judge(self):
        """All of an epoch, once nothing of it is under way."""
        why = linear.explain([op.story() for op in self.history])
        check(why is None, "not linearizable: %s" % why)
        revisions(self.history)
        self.ops += len(self.history)
        self.judged += len({(op.storage, op.key) for op in self.history})
        self.history, self.known = [], {}
        self.epoch += 1


def revisions(history):
    """A value that was written once has one, and they never go back."""
    told, latest, answered = {}, {}, []
    for op in sorted((op for op in history if op.revision), key=lambda op: op.call):
        place = op.storage, op.key
        for other in [other for other in answered if other.answer < op.call]:
            at = other.storage, other.key
            latest[at] = max(latest.get(at, 0), other.revision)
            answered.remove(other)
        answered.append(op)
        check(op.revision >= latest.get(place, 0), "%r is told of revision %d behind %d" % (
            op, op.revision, latest.get(place, 0)))
        if op.seen and op.seen[0].startswith("v"):
            before = told.setdefault((place, op.seen[0]), op.revision)
            check(before == op.revision, "%r has revision %d and %d" % (op, before, op.revision))


def race(crowd, pick, number):
    """Everybody puts the same condition to one key; says how many it were."""
    storage = pick.choice(("memory", "hdd"))
    key, values = "race%d" % number, ["w%d-%d" % (number, i) for i in range(len(crowd.members))]
    kind = pick.choice(("absent", "etag", "revision", "delete etag", "mixed"))
    old = None
    if kind != "absent":
        set_up = [KeyOp(storage, key, "write", "before"), KeyOp(storage, key, "entry")]
        for op in set_up:
            crowd.volley([op])
            if not op.revision:
                crowd.begin(next(one for one in crowd.members if one.door == JSON_LINES), op)
                crowd.finish()
        old = set_up[1].seen
    kinds = ("etag", "revision", "delete etag") if kind == "mixed" else (kind,)
    ops = [KeyOp(storage, key, pick.choice(kinds), value, old, pick.random() < 0.3)
           for value in values]
    for op in ops:
        op.value = None if op.kind.startswith("delete") else op.value
    crowd.volley(ops)
    winners = [op for op in ops if op.outcome is True]
    check(len(winners) == 1, "%d of %d won by %s on %s: %s" % (len(winners), len(ops), kind, storage,
                                                             winners[:4]))
    last = KeyOp(storage, key, "read")
    crowd.volley([last])
    check(last.outcome == winners[0].value, "%r won, and %r is there" % (winners[0], last.outcome))
    return len(ops)


class Train:
    """Many operations of one connection, sent without waiting for answers."""

    def __init__(self, ops):
        self.ops, self.at = ops, 0

    def request(self, door):
        return b"".join(op.request(door) for op in self.ops)

    def answered(self, answer):
        self.ops[self.at].answered(answer)
        self.at += 1
        return self.at < len(self.ops)


def stampede(crowd, pick, number, keys):
    """Everybody goes through the same keys, as fast as can be: each has one winner, and a number
    that all count up is told to each of them as another."""
    storage, kind = pick.choice(("memory", "hdd")), pick.choice(("absent", "etag", "revision"))
    names = ["s%d-%d" % (number, i) for i in range(keys)]
    olds = [None] * keys
    if kind != "absent":
        reads = [KeyOp(storage, name, "entry") for name in names]
        crowd.volley([Train([KeyOp(storage, name, "write", "before") for name in names])])
        crowd.begin(next(one for one in crowd.members if one.door == JSON_LINES), Train(reads))
        crowd.finish()
        olds = [op.seen for op in reads]
    trains, all_ops = [], [[] for _ in names]
    for member in crowd.members:
        ops = []
        for i, name in enumerate(names):
            ops.append(KeyOp(storage, name, kind, "w%d" % member.number, olds[i]))
            all_ops[i].append(ops[-1])
            ops.append(KeyOp(storage, "t%d" % number, "incr", 1))
        trains.append(Train(ops))
    crowd.volley(trains)
    for ops in all_ops:
        winners = [op for op in ops if op.outcome is True]
        check(len(winners) == 1, "%d of %d won: %s" % (len(winners), len(ops), winners[:4]))
    told = [op.outcome for train in trains for op in train.ops if op.kind == "incr"]
    check(sorted(told) == list(range(1, len(told) + 1)), "%d increments were not told all numbers"
          % len(told))
    return len(names)


def turnstile(crowd, pick, number, rounds):
    """Everybody puts a value of their own where there is none, and takes it away: who did the one
    can do the other, and nobody else. Says how often somebody did."""
    storage, key = pick.choice(("memory", "hdd")), "turn%d" % number
    trains = []
    for member in crowd.members:
        value = "w%d" % member.number
        ops = [[KeyOp(storage, key, "absent", value),
                KeyOp(storage, key, "delete etag", None, (value, None))] for _ in range(rounds)]
        trains.append(Train(sum(ops, [])))
    crowd.volley(trains)
    entered = 0
    for train in trains:
        for put, taken in zip(train.ops[::2], train.ops[1::2]):
            check(put.outcome == taken.outcome, "of %s %s was answered %s, and then %s %s" % (
                storage, put, put.outcome, taken, taken.outcome))
            entered += put.outcome
    return entered
