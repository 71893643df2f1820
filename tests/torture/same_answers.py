# SPDX-License-Identifier: MIT
"""Random operations through lines, JSON-RPC and REST against both storages and a plain model of them,
in a server of its own or on an engine: the same answers everywhere, from the seed alone. The clock moves in whole hours, and TTLs end half an
hour before or after one, so that it is known what has expired."""
import base64
import bisect
import collections
import hashlib
import http.client
import json
import os
import random
import re

from harness import PATIENCE, Failure, Server, check
from rest_said import RestTalk
from shim import Control

STORAGES = ("memory", "hdd")
LINES, RPC, REST = "lines", "JSON-RPC", "REST"
DOORS = (LINES, LINES, LINES, RPC, RPC, REST)
FLAGS = ("--write-buffer", "1m", "--payload-limit", "64k", "--read-cache", "64k", "--hdd-shards",
         "2", "--durability", "interval:50")
HOUR = 3600000
SLACK = HOUR // 4  # of the time that the run itself takes
TURN = 200         # operations at most before all answers are read
TOLD = 12          # operations that a failure names
NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
PLACES = ("default", "other")
KEYS = ["k%d" % number for number in range(24)] + [
    "a/b", "a/bc", "a%", "a_", "ä", "\U0001f600", "l" * 480, "l" * 520, "l" * 521, "x" * 4096,
    "{\"", "k1 "[:2] + "0"]
VALUES = [b"", b"0", b"1", b"-7", b"41", b"007", b"-0", b"+5", b"1.5", b"9223372036854775807",
          b"-9223372036854775808", b"9223372036854775808", b"plain", "ü".encode(), b"with  blanks ",
          b"two\nlines", b"\xff\xfe\x00\x01", b"\r", b"\"quoted\\", b"v" * 5000]
ANY = object()


class Entry:
    __slots__ = ("value", "ends", "known")

    def __init__(self, value, ends):
        self.value, self.ends = value, ends
        self.known = {}  # revision by storage, where it was read


class Model:
    """What both storages hold."""

    def __init__(self):
        self.now = 0
        self.places = {place: {} for place in PLACES}

    def ends(self, ttl):
        return self.now + ttl if ttl else None

    def get(self, place, key):
        entry = self.places[place].get(key)
        if entry is not None and entry.ends is not None and entry.ends <= self.now:
            del self.places[place][key]
            return None
        return entry

    def put(self, place, key, value, ttl):
        self.places[place][key] = Entry(value, self.ends(ttl))

    def incr(self, place, key, by):
        """The new number, or None."""
        entry = self.get(place, key)
        if entry is None:
            number, ends = 0, None
        elif NUMBER.fullmatch(entry.value):
            number, ends = int(entry.value), entry.ends
        else:
            return None
        if not all(-1 << 63 <= one < 1 << 63 for one in (number, number + by)):
            return None
        self.places[place][key] = Entry(b"%d" % (number + by), ends)
        return number + by

    def ttl(self, entry):
        return 0 if entry.ends is None else entry.ends - self.now

    def keys(self, place, prefix=""):
        return sorted((key for key in list(self.places[place])
                       if key.startswith(prefix) and self.get(place, key)),
                      key=lambda key: key.encode())

    def count(self):
        return sum(len(self.keys(place)) for place in PLACES)


class Remaining:
    """A TTL as it is told some time later."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __eq__(self, got):
        return got == 0 if not self.wanted else self.wanted - SLACK < got <= self.wanted

    def __repr__(self):
        return "up to %d" % self.wanted


def etag(value):
    return hashlib.md5(value).hexdigest()


def as_json(value):
    """How JSON-RPC tells a value."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"value": base64.b64encode(value).decode(), "encoding": "base64"}


def as_member(value, pick):
    """How JSON-RPC is told one."""
    told = as_json(value)
    if isinstance(told, str) and pick.random() < 0.8:
        return {"value": told}
    return {"value": base64.b64encode(value).decode(), "encoding": "base64"}


class Op:
    """One operation: how it is said to a storage, and the answer that the model has for it."""
    __slots__ = ("text", "call", "wanted", "learns", "frame")

    def __init__(self, wanted, text=None, call=None, learns=None, frame=False):
        self.wanted, self.text, self.call = wanted, text, call
        self.learns, self.frame = learns, frame

    def told(self):
        return "%.200r: %.100r" % (self.text or self.call, self.wanted)


class Error:
    def __init__(self, word):
        self.word = word

    def __eq__(self, got):
        return isinstance(got, Error) and got.word == self.word

    def __repr__(self):
        return self.word


NONE = Error("KEY_NOT_EXIST")
NO_NUMBER = Error("NOT_A_NUMBER")
NOT_SO = Error("PRECONDITION_FAILED")


class Maker:
    """Makes operations, and carries each out on the model as it does."""

    def __init__(self, seed):
        self.pick = random.Random(seed)
        self.model = Model()
        self.place = "default"  # of the line connections
        self.kinds = ([self.set] * 5 + [self.get] * 4 + [self.delete] * 2 + [self.incr] * 3 +
                      [self.touch, self.ttl, self.keys, self.count] + [self.use])
        self.calls = self.kinds[:-1] + [self.condition] * 5 + [self.entry] * 2 + [
            self.set_many, self.get_many, self.batch, self.batch, self.delete_if]

    def ttl_ms(self):
        dice = self.pick.random()
        return 0 if dice < 0.6 else self.pick.randrange(1, 6) * HOUR - HOUR // 2

    def make(self, as_call, by_http):
        """An operation for a line, or for JSON-RPC."""
        self.unnamed = "default" if by_http else self.place
        self.where = self.pick.choice(PLACES) if as_call else self.place
        key = self.pick.choice(KEYS)
        return self.pick.choice(self.calls if as_call else self.kinds)(as_call, key)

    def call(self, method, wanted, learns=None, **params):
        if self.where != self.unnamed or self.pick.random() < 0.2:
            params["namespace"] = self.where
        return Op(wanted, call=("Storage." + method, params), learns=learns)

    def line(self, wanted, verb, form=b"", *parts, frame=False):
        """Between verb and the rest comes the storage."""
        return Op(wanted, text=(verb, form % parts), frame=frame)

    def set(self, as_call, key):
        value, ttl = self.pick.choice(VALUES), self.ttl_ms()
        self.model.put(self.where, key, value, ttl)
        if as_call:
            more = {"ttl": self.pick.choice((ttl, str(ttl)))} if ttl else {}
            return self.call("Set", True, key=key, **more, **as_member(value, self.pick))
        if b"\n" in value or b"\r" in value or self.pick.random() < 0.3:
            return self.line(b"+OK", b"SETB", b" %d %s %d\n%s", ttl, key.encode(), len(value),
                             value)
        return self.line(b"+OK", b"SET", b" %d %s %s", ttl, key.encode(), value)

    def get(self, as_call, key):
        entry = self.model.get(self.where, key)
        if as_call:
            if self.pick.random() < 0.3:
                return self.call("Has", entry is not None, key=key)
            return self.call("Get", as_json(entry.value) if entry else NONE, key=key)
        kind = self.pick.choice((b"GET", b"GETB", b"GETB", b"HAS"))
        if entry is None:
            return self.line(NONE, kind, b" %s", key.encode())
        wanted = b"+OK" if kind == b"HAS" else entry.value
        if kind == b"GET" and b"\n" in entry.value:
            wanted = Error("NOT_FRAMABLE")
        return self.line(wanted, kind, b" %s", key.encode(), frame=kind == b"GETB")

    def delete(self, as_call, key):
        entry = self.model.get(self.where, key)
        self.model.places[self.where].pop(key, None)
        if as_call:
            return self.call("Delete", entry is not None, key=key)
        return self.line(b"+OK", b"DELETE", b" %s", key.encode())

    def delete_if(self, as_call, key):
        entry = self.model.get(self.where, key)
        wanted = self.pick.choice([etag(entry.value)] * 3 + [etag(b"else")] if entry else
                                  [etag(b"")])
        if entry is None or etag(entry.value) != wanted:
            return self.call("Delete", NOT_SO, key=key, ifEtag=wanted)
        del self.model.places[self.where][key]
        return self.call("Delete", True, key=key, ifEtag=wanted)

    def incr(self, as_call, key):
        by = self.pick.choice((1, 1, -1, 5, 1 << 62, -1 << 63, (1 << 63) - 1))
        number = self.model.incr(self.where, key, by)
        if as_call:
            return self.call("Increment", NO_NUMBER if number is None else number, key=key, by=by)
        return self.line(NO_NUMBER if number is None else b"%d" % number, b"INCR", b" %s %d",
                         key.encode(), by)

    def touch(self, as_call, key):
        ttl, entry = self.ttl_ms(), self.model.get(self.where, key)
        if entry:
            # Its revision may be another now, so what was known of it does not hold.
            self.model.put(self.where, key, entry.value, ttl)
        if as_call:
            return self.call("Touch", True if entry else NONE, key=key, ttl=ttl)
        return self.line(b"+OK" if entry else NONE, b"TOUCH", b" %d %s", ttl, key.encode())

    def ttl(self, as_call, key):
        entry = self.model.get(self.where, key)
        wanted = Remaining(self.model.ttl(entry)) if entry else NONE
        return self.call("Ttl", wanted, key=key) if as_call else self.line(
            wanted, b"TTL", b" %s", key.encode())

    def keys(self, as_call, key):
        prefix = self.pick.choice(("", "k", "k1", "a", "a/", "a%", "l", "none", key))
        keys = self.model.keys(self.where, prefix)
        limit = self.pick.choice((1, 2, 5, 100))
        cut = self.pick.choice(keys) if keys and self.pick.random() < 0.3 else None
        if cut is not None:
            keys = keys[keys.index(cut) + 1:]
        # hati's cursor is the last key of the page before, and whoever lists hands it back.
        cursor = base64.urlsafe_b64encode(cut.encode()).rstrip(b"=") if cut is not None else None
        wanted = {"keys": keys[:limit]}
        if len(keys) > limit:
            wanted["cursor"] = base64.urlsafe_b64encode(
                keys[limit - 1].encode()).rstrip(b"=").decode()
        if as_call:
            more = {"cursor": cursor.decode()} if cursor else {}
            return self.call("List", wanted, prefix=prefix, limit=limit, **more)
        return self.line(wanted, b"KEYS", b" %s %d%s", prefix.encode() or b"*",
                         limit, b" " + cursor if cursor else b"")

    def count(self, as_call, _):
        number = self.model.count()
        return Op(number, call=("Storage.Count", {})) if as_call else self.line(
            b"%d" % number, b"COUNT")

    def use(self, _, __):
        self.place = self.pick.choice(PLACES)
        return Op(b"+OK", text=(b"USE " + self.place.encode(), None))

    def condition(self, _, key):
        entry, value, ttl = self.model.get(self.where, key), self.pick.choice(VALUES), self.ttl_ms()
        kind = self.pick.choice(("absent", "etag", "revision"))
        params, holds = {"key": key, "ttl": ttl, **as_member(value, self.pick)}, False
        if kind == "absent":
            params["ifAbsent"], holds = True, entry is None
        elif kind == "etag":
            right = entry is not None and self.pick.random() < 0.6
            params["ifEtag"], holds = etag(entry.value if right else b"no such"), right
        else:
            known = entry.known if entry and self.pick.random() < 0.8 else {}
            holds = len(known) == len(STORAGES)
            params["ifRevision"] = dict(known) if holds else {storage: 3 for storage in STORAGES}
        if holds:
            self.model.put(self.where, key, value, ttl)
        return self.call("Set", True if holds else NOT_SO, **params)

    def entry(self, _, key):
        entry = self.model.get(self.where, key)
        if entry is None:
            return self.call("GetEntry", NONE, key=key)
        told = as_json(entry.value)
        wanted = {"etag": etag(entry.value), "ttl": Remaining(self.model.ttl(entry)),
                  **(told if isinstance(told, dict) else {"value": told})}
        return self.call("GetEntry", wanted, learns=entry, key=key)

    def set_many(self, _, __):
        entries = {}
        for key in self.pick.sample(KEYS, self.pick.randrange(1, 9)):
            value, ttl = self.pick.choice(VALUES), self.ttl_ms()
            self.model.put(self.where, key, value, ttl)
            entries[key] = as_member(value, self.pick)
            if ttl or self.pick.random() < 0.5:
                entries[key]["ttl"] = ttl
            elif "encoding" not in entries[key]:
                entries[key] = entries[key]["value"]
        return self.call("SetMany", len(entries), entries=entries)

    def get_many(self, _, __):
        keys = self.pick.sample(KEYS, self.pick.randrange(1, 9))
        found = {key: self.model.get(self.where, key) for key in keys}
        return self.call("GetMany", {key: as_json(entry.value) for key, entry in found.items()
                                     if entry}, keys=keys)

    def batch(self, _, __):
        """All or nothing; memory has no such call and is told what came of it."""
        held = dict(self.model.places[self.where])
        ops, results = [], []
        for key in self.pick.choices(KEYS, k=self.pick.randrange(1, 7)):
            op, result = self.batch_op(key)
            ops.append(op)
            if isinstance(result, Error):
                self.model.places[self.where] = held
                return self.call("Batch", result, ops=ops)
            results.append(result)
        return self.call("Batch", {"results": results}, ops=ops, )

    def batch_op(self, key):
        kind = self.pick.choice(("set", "set", "delete", "incr", "check", "check"))
        entry = self.model.get(self.where, key)
        if kind == "set":
            value, ttl = self.pick.choice(VALUES), self.ttl_ms()
            self.model.put(self.where, key, value, ttl)
            return {"op": kind, "key": key, "ttl": ttl, **as_member(value, self.pick)}, ANY
        if kind == "delete":
            self.model.places[self.where].pop(key, None)
            return {"op": kind, "key": key}, entry is not None
        if kind == "incr":
            number = self.model.incr(self.where, key, 3)
            return {"op": kind, "key": key, "by": 3}, NO_NUMBER if number is None else number
        if entry is None or self.pick.random() < 0.1:
            return {"op": kind, "key": key, "absent": True}, NOT_SO if entry else True
        right = self.pick.random() < 0.9
        return ({"op": kind, "key": key, "etag": etag(entry.value if right else b"no such")},
                True if right else NOT_SO)


def for_memory(ops):
    """What a batch that was carried out comes to, call by call."""
    for op in ops:
        params = {name: value for name, value in op.items() if name != "op"}
        if op["op"] != "check":
            yield {"set": "Set", "delete": "Delete", "incr": "Increment"}[op["op"]], params


def calls_of(op, storage):
    """The JSON-RPC calls that say an operation to a storage."""
    method, params = op.call
    if method == "Storage.Batch" and storage == "memory":
        if isinstance(op.wanted, Error):
            return []
        space = {"namespace": params["namespace"]} if "namespace" in params else {}
        return [{"jsonrpc": "2.0", "id": 1, "method": "Storage." + name,
                 "params": {"type": storage, **more, **space}}
                for name, more in for_memory(params["ops"])]
    params = {"type": storage, **params}
    if "ifRevision" in params:
        params["ifRevision"] = params["ifRevision"][storage]
    return [{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}]


class Talk:
    """A storage, spoken to through both doors."""

    def __init__(self, server, storage):
        self.storage = storage
        self.server = server
        self.highest = 0  # revision

    def open(self):
        self.line = self.server.line()
        self.http = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=PATIENCE)
        self.rest = RestTalk(self.server.http)

    def close(self):
        self.line.close()
        self.http.close()
        self.rest.close()

    def say(self, ops, door):
        if door == REST:
            return
        if door == RPC:
            calls = [call for op in ops for call in calls_of(op, self.storage)]
            self.sent = len(calls)
            if calls:
                self.http.request("POST", "/rpc", json.dumps(calls),
                                  {"Content-Type": "application/json"})
            return
        told = []
        for op in ops:
            if op.text is None:
                told += [json.dumps(call).encode() for call in calls_of(op, self.storage)]
            else:
                verb, rest = op.text
                told.append(verb if rest is None else b"%s %s%s" % (verb, self.storage.encode(), rest))
        self.line.send(b"\n".join(told) + b"\n")

    def read_line(self):
        line = self.line.file.readline()
        check(line.endswith(b"\n"), "the connection ended")
        return line[:-1]

    def answers(self, ops, door):
        if door == REST:
            told = self.rest.ask([call for op in ops for call in calls_of(op, self.storage)])
        if door == RPC:
            told = json.loads(self.http.getresponse().read()) if self.sent else []
            check(len(told) == self.sent, "%d answers to %d calls" % (len(told), self.sent))
            told = iter(told)
        for op in ops:
            if op.text is not None:
                yield op, self.text_answer(op)
                continue
            calls = calls_of(op, self.storage)
            for_one = [next(told) if door != LINES else json.loads(self.read_line()) for _ in calls]
            if op.call[0] == "Storage.Batch" and self.storage == "memory":
                check(all("result" in one for one in for_one), "a batch on memory: %r" % for_one)
                continue
            yield op, of_call(for_one[0])

    def text_answer(self, op):
        line = self.read_line()
        if line.startswith(b"+ERR "):
            return Error(line.split(b" ")[1].decode())
        if op.frame:
            check(line[:1] == b"$", "a frame is %.80r" % line)
            data = self.line.read(int(line[1:]) + 1)
            return data[:-1]
        if isinstance(op.wanted, Remaining):
            return int(line)
        return json.loads(line) if isinstance(op.wanted, dict) else line

    def judge(self, op, got):
        if op.learns and isinstance(got, dict):
            revision = got.pop("revision", 0)
            before = op.learns.known.setdefault(self.storage, revision)
            check(before == revision and revision > 0, "a revision changed by itself")
        if op.call and op.call[0] == "Storage.Batch" and isinstance(got, dict):
            got = {"results": [ANY if isinstance(one, dict) else one for one in got["results"]]}
        if not op.wanted == got or type(op.wanted) is bool and got is not op.wanted:
            raise Failure("%s answers %.300r" % (self.storage, got))


def of_call(answer):
    if "error" in answer:
        return Error(answer["error"]["message"].split(":")[0])
    return answer["result"]


class Play:
    """On a server whose clock, and that of its engine where it has one, the control moves. Some
    storages outlive a restart."""

    def __init__(self, server, control, seed, operations, lasting=("hdd",)):
        self.server, self.control, self.operations = server, control, operations
        self.lasting = lasting
        self.maker = Maker(seed)
        self.recent = collections.deque(maxlen=TOLD)
        self.talks = [Talk(self.server, storage) for storage in STORAGES]
        for talk in self.talks:
            talk.open()

    def turn(self):
        pick = self.maker.pick
        door = pick.choice(DOORS)
        ops = [self.maker.make(door != LINES or pick.random() < 0.3, door != LINES)
               for _ in range(int(min(TURN, 1 + pick.expovariate(1 / 60))))]
        for talk in self.talks:
            talk.say(ops, door)
        for talk in self.talks:
            self.recent.clear()
            for op, got in talk.answers(ops, door):
                self.recent.append(op.told())
                talk.judge(op, got)
        self.forget(ops)
        return len(ops)

    def forget(self, ops):
        """Revisions that one storage told before the entry was gone are told to nobody again."""
        for op in ops:
            if op.learns and len(op.learns.known) < len(STORAGES):
                op.learns.known.clear()

    def tick(self):
        model = self.maker.model
        model.now += self.maker.pick.choice((1, 1, 2, 30)) * HOUR
        self.control.set("clock_ms", model.now)

    def restart(self):
        """What was to last is there again; where one of them begins anew, both do then."""
        for talk in self.talks:
            talk.close()
        if self.maker.pick.random() < 0.5:
            self.server.kill()
        else:
            check(self.server.stop() == 0, "the end of a server")
        self.server.process.stdout.close()
        self.server.log.close()
        self.server.start()
        for talk in self.talks:
            talk.open()
        for talk in self.talks:
            if talk.storage in self.lasting:
                self.read_all(talk)
        if len(self.lasting) < len(STORAGES):
            for storage in self.lasting:
                self.talks[0].line.ask("FLUSHALL " + storage)
            self.maker.model.places = {place: {} for place in PLACES}
        self.maker.place = "default"
        for talk in self.talks:
            check(talk.line.ask("USE default") == "+OK", "USE")

    def read_all(self, talk):
        for place in PLACES:
            talk.line.ask("USE " + place)
            for key in KEYS:
                entry = self.maker.model.get(place, key)
                talk.line.send(b"GETB %s %s\n" % (talk.storage.encode(), key.encode()))
                op = Op(entry.value if entry else NONE, text=(b"GETB", b""), frame=True)
                self.recent.append("after a restart GETB %.80s: %.80r" % (key, op.wanted))
                talk.judge(op, talk.text_answer(op))

    def run(self):
        done = ticks = restarts = 0
        each = max(self.operations // 5, 1)
        while done < self.operations:
            done += self.turn()
            if self.maker.pick.random() < 0.2:
                self.tick()
                ticks += 1
            if done // each > restarts and done < self.operations:
                self.restart()
                restarts += 1
        return "%d operations, %d hours in %d steps, %d restarts" % (
            done, self.maker.model.now // HOUR, ticks, restarts)


def play(runner, made):
    """Closes what it was made with, too."""
    try:
        runner.say(made.run())
        check(made.server.stop() == 0, "the end of a server")
    except (Failure, OSError, ValueError) as failure:
        raise Failure("%s: %s; the last operations:\n      %s" % (
            type(failure).__name__, failure, "\n      ".join(made.recent))) from failure
    finally:
        if made.server.process.poll() is None:
            made.server.kill()
        made.control.close()
        made.server.close()


def run(runner, operations):
    room = runner.room()
    control = Control(runner.library, os.path.join(room, "data"))
    server = Server(*FLAGS, keep=room, env=control.env())
    play(runner, Play(server, control, runner.seed, operations))
