# SPDX-License-Identifier: MIT
"""A namespace's changes as events: told in order, resumed without a gap or with a word about it."""
import hashlib
import http.client
import json
import random
import socket
import threading
import time

import harness
from broker_doors import fresh
from harness import PATIENCE, Answer, Server, check, connect, same, unhurried, wait_until

WORKSPACE = "11111111-2222-3333-4444-555555555555"


class Watch:
    """A stream of one namespace, event by event."""

    def __init__(self, server, namespace, storage, last_id=None, token=None, port=None, **query):
        path = "/api2/%s/%s" % (WORKSPACE, namespace)
        query = dict({"watch": 1, "type": storage}, **query)
        more = "Authorization: Bearer %s\r\n" % token if token else ""
        more += "Last-Event-ID: %s\r\n" % last_id if last_id is not None else ""
        self.sock = connect(("127.0.0.1", port or server.http), PATIENCE)
        self.sock.sendall(("GET %s?%s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n%s\r\n" % (
            path, "&".join("%s=%s" % pair for pair in query.items()), more)).encode())
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split(b" ")[1])
        self.headers = http.client.parse_headers(self.file)
        self.text, self.ended = b"", False
        if self.status == 200 and harness.judge:
            harness.judge.http("GET", path, None, Answer(200, self.headers, b""))
        if self.status != 200:
            body = self.file.read(int(self.headers["Content-Length"]))
            if harness.judge:
                harness.judge.http("GET", path, None, Answer(self.status, self.headers, body))

    def read(self):
        size = int(self.file.readline() or b"0", 16)
        part = self.file.read(size) if size else b""
        if size:
            self.file.readline()
        self.ended = not part
        self.text += part

    def event(self):
        """(name, id, data) of the next event; None at the end of the stream."""
        while True:
            while b"\n\n" not in self.text and not self.ended:
                self.read()
            if b"\n\n" not in self.text:
                return None
            event, self.text = self.text.split(b"\n\n", 1)
            fields = dict(line.split(": ", 1) for line in event.decode().split("\n")
                          if not line.startswith(":"))
            if "data" in fields:
                return (fields.get("event", "message"), int(fields["id"]),
                        json.loads(fields["data"]))

    def begins(self, name="ready"):
        found = self.event()
        same(found[0], name, "the first event")
        same(found[1], found[2]["revision"], "its id")
        return found[1]

    def change(self):
        name, place, data = self.event()
        same((name, place), ("message", data["revision"]), "a change")
        return data

    def close(self):
        self.file.close()
        self.sock.close()


def path_of(namespace, storage, key="", **query):
    words = "&".join("%s=%s" % pair for pair in dict({"type": storage}, **query).items())
    return "/api2/%s/%s%s?%s" % (WORKSPACE, namespace, "/" + key if key else "", words)


def put(server, namespace, storage, key, value, **query):
    answer = server.request("PUT", path_of(namespace, storage, key, **query), value)
    same(answer.status, 204, "PUT")
    return int(answer.headers["Hati-Revision"])


def told(change):
    return change["kind"], change.get("key"), change["revision"]


def changes_are_told_as_they_come(server, storage):
    space = fresh("watch")
    watch = Watch(server, space, storage, values=1)
    place = watch.begins()
    first = put(server, space, storage, "a", b"one")
    check(first > place, "the first change is behind the beginning")
    found = watch.change()
    same(told(found), ("set", "a", first), "a SET")
    same((found["etag"], found["size"], found["value"]),
         (hashlib.md5(b"one").hexdigest(), 3, "one"), "what was set")
    put(server, space, storage, "b", b"\xff\0", ttl=600000)
    found = watch.change()
    same((found["value"], found["encoding"]), ("/wA=", "base64"), "a value that is no text")
    check(abs(found["expires_at"] - time.time() * 1000 - 600000) < 60000, "when it expires")
    server.request("POST", path_of(space, storage, "n", op="incr", by=7))
    found = watch.change()
    same((found["kind"], found["value"]), ("set", "7"), "INCR")
    server.rpc("Storage.Touch", {"type": storage, "namespace": space, "key": "n", "ttl": 500000})
    found = watch.change()
    same((found["kind"], found["value"], "expires_at" in found), ("set", "7", True), "TOUCH")
    server.request("DELETE", path_of(space, storage, "a"))
    same(told(watch.change())[:2], ("delete", "a"), "DELETE")
    server.request("DELETE", path_of(space, storage, "a"))  # it is not there: nothing changes
    put(server, space, storage, "c", b"x" * 70000)
    found = watch.change()
    same((found["key"], found["size"], "value" in found), ("c", 70000, False), "a large value")
    same(server.rpc("Storage.FlushAll", {"type": storage})["result"], True, "FLUSHALL")
    same(watch.change()["kind"], "flush", "FLUSHALL")
    watch.close()


def a_batch_is_told_once_it_stands(server, storage):
    space = fresh("watch")
    watch = Watch(server, space, storage)
    watch.begins()
    ops = [{"op": "set", "key": "k%d" % (i % 7), "value": str(i)} for i in range(20)]
    ops += [{"op": "delete", "key": "k0"}]
    if storage == "memory":  # it has no other batch
        entries = {"k%d" % i: "v" for i in range(9)}
        server.rpc("Storage.SetMany", {"type": storage, "namespace": space, "entries": entries})
        found = [watch.change() for _ in entries]
        same([c["key"] for c in found], list(entries), "many")
        check(all(a["revision"] < b["revision"] for a, b in zip(found, found[1:])), "in order")
        watch.close()
        return
    path = "/api2/%s/%s?type=%s" % (WORKSPACE, space, storage)
    failing = ops + [{"op": "check", "key": "nosuch", "etag": "0" * 32}]
    json_type = {"Content-Type": "application/json"}
    same(server.request("POST", path, json.dumps({"ops": failing}), json_type).status, 412, "one")
    same(server.request("POST", path, json.dumps({"ops": ops}), json_type).status, 200, "two")
    found = [watch.change() for _ in ops]
    same([(c["kind"], c["key"]) for c in found], [(op["op"], op["key"]) for op in ops], "a batch")
    check(all(a["revision"] < b["revision"] for a, b in zip(found, found[1:])), "in order")
    watch.close()


def only_what_begins_so_is_told(server, storage):
    space = fresh("watch")
    watch = Watch(server, space, storage, prefix="a%25b")
    watch.begins()
    put(server, space, storage, "a%25", b"no")
    put(server, fresh("other"), storage, "a%25b", b"no")
    wanted = put(server, space, storage, "a%25bc", b"yes")
    same(told(watch.change()), ("set", "a%bc", wanted), "with a prefix")
    watch.close()


def the_other_storage_is_another(server, storage):
    space = fresh("watch")
    watch = Watch(server, space, storage)
    watch.begins()
    put(server, space, "hdd" if storage == "memory" else "memory", "a", b"no")
    wanted = put(server, space, storage, "b", b"yes")
    same(told(watch.change()), ("set", "b", wanted), "one storage")
    watch.close()


def what_expires_is_told(server, storage):
    def sets(ttl):
        space = fresh("watch")
        put(server, space, storage, "before", b"1", ttl=7 * ttl)
        watch = Watch(server, space, storage)
        watch.begins()
        put(server, space, storage, "after", b"1", ttl=ttl + 50)
        put(server, space, storage, "again", b"1", ttl=ttl)
        put(server, space, storage, "again", b"1")

        def tells():
            same([watch.change()["key"] for _ in range(3)], ["after", "again", "again"], "SETs")
            same(told(watch.change())[:2], ("expired", "after"), "the first to expire")
            same(told(watch.change())[:2], ("expired", "before"), "what was there before")
            watch.close()
        return tells

    unhurried(sets, 200)


def a_stream_goes_on_where_it_was(server, storage):
    space = fresh("watch")
    watch = Watch(server, space, storage)
    watch.begins()
    places = [put(server, space, storage, "k%d" % i, b"1") for i in range(10)]
    same([watch.change()["revision"] for _ in places], places, "ten changes")
    watch.close()
    for place in (places[3], places[8]):
        watch = Watch(server, space, storage, last_id=place)
        same(watch.begins(), place, "the place")
        rest = [p for p in places if p > place]
        same([watch.change()["revision"] for _ in rest], rest, "behind %d" % place)
        watch.close()
    watch = Watch(server, space, storage, last_id=places[9])
    same(watch.begins(), places[9], "nothing is missing")
    watch.close()
    for strange in (places[9] + 10 ** 9, "0", "nonsense", "-1", "9" * 40):
        watch = Watch(server, space, storage, last_id=strange)
        same(watch.begins("resync"), places[9], "after %r" % strange)
        watch.close()


def from_a_listing_on_nothing_is_missing(server, storage):
    space = fresh("watch")
    Watch(server, space, storage).close()
    keys = set()
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            put(server, space, storage, "k%d" % i, b"1")
            keys.add("k%d" % i)
            i += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            answer = server.request("GET", path_of(space, storage))
            watch = Watch(server, space, storage, since=answer.headers["Hati-Revision"])
            watch.begins()
            have, written = set(answer.json()["keys"]), set(keys)
            while not written <= have:
                have.add(watch.change()["key"])
            watch.close()
    finally:
        stop.set()
        thread.join()


def a_watch_has_its_refusals(server, storage):
    space = fresh("watch")
    for query in ("watch=2", "watch=", "watch=1&since=x", "watch=1&since=-1", "watch=1&values=2",
                  "watch=1&type=disk", "watch=1&prefix=%00"):
        answer = server.request("GET", "/api2/%s/%s?%s" % (WORKSPACE, space, query))
        same(answer.status, 400, query)
    same(server.request("GET", "/api2/nosuch/%s?watch=1" % space).status, 400, "a workspace")
    same(server.request("GET", path_of(space, storage, watch=0)).json()["keys"], [], "watch=0")
    same(server.request("HEAD", path_of(space, storage, watch=1)).status, 200, "HEAD")


class Mirror:
    """What the events of a stream come to; it judges their order."""

    def __init__(self):
        self.entries, self.last, self.seen = {}, 0, 0
        self.mortal = set()  # those that are to expire

    def take(self, change):
        check(change["revision"] > self.last, "%r comes after %d" % (change, self.last))
        self.last = change["revision"]
        self.seen += 1
        self.mortal.discard(change.get("key"))
        if change["kind"] == "flush":
            self.entries.clear()
            self.mortal.clear()
        elif change["kind"] == "set":
            self.entries[change["key"]] = change["revision"]
            if "expires_at" in change:
                self.mortal.add(change["key"])
        else:
            self.entries.pop(change["key"], None)


def follow(server, space, storage, mirror, stop, place):
    """Connects again and again, as a browser does, until told to stop and nothing more comes."""
    while True:
        try:
            watch = Watch(server, space, storage, last_id=place[0])
            watch.sock.settimeout(1)
            while True:
                name, found, data = watch.event() or ("end", 0, {})
                if name == "end":
                    break
                if name == "resync":
                    raise AssertionError("resync")
                place[0] = found
                if name == "message":
                    mirror.take(data)
                if place[1] and random.random() < 0.002:
                    place[1] -= 1
                    break
            watch.close()
        except socket.timeout:
            if stop.is_set():
                return
        except (OSError, ValueError):  # the server is away
            if stop.wait(0.05):
                return


def many_writers_are_told_whole(server, storage):
    space = fresh("watch")
    watch = Watch(server, space, storage)
    place = [watch.begins(), 20]
    watch.close()
    mirror, stop = Mirror(), threading.Event()

    def write(number):
        line = server.line()
        line.ask("USE " + space)
        dice = random.Random(number)
        for _ in range(400):
            key = "k%d" % dice.randrange(50)
            line.send(dice.choice(["SET %s 0 %s x\n", "SET %s 40 %s y\n", "DELETE %s %s\n"]) % (
                storage, key))
            line.read_line()
        line.close()

    reader = threading.Thread(target=follow, daemon=True,
                              args=(server, space, storage, mirror, stop, place))

    def listed():
        return set(server.request("GET", path_of(space, storage)).json()["keys"])

    reader.start()
    try:
        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        wait_until(lambda: set(mirror.entries) == listed() and not mirror.mortal,
                   "the mirror is not the listing")
    finally:  # it goes on for ever where the server is gone
        stop.set()
        reader.join(PATIENCE)
    check(not reader.is_alive(), "who follows does not end")
    same(set(mirror.entries), listed(), "the end")


def pushed(line):
    word, storage, data = line.read_line().decode().rstrip("\n").split(" ", 2)
    return word, storage, json.loads(data)


def lines_watch(server, storage):
    space = fresh("watch")
    line = server.line()
    for words in ("WATCH", "WATCH %s a since=x" % storage, "WATCH %s a since=-1" % storage,
                  "WATCH %s a nosuch" % storage, "UNWATCH %s a values" % storage, "UNWATCH"):
        check(line.ask(words).startswith("+ERR SYNTAX"), words)
    check(line.ask("WATCH disk").startswith("+ERR STORAGE_TYPE_INVALID"), "another storage")
    line.ask("USE " + space)
    line.send("WATCH %s k values\n" % storage)
    same(line.read_line(), b"+OK\n", "WATCH")
    word, named, data = pushed(line)
    same((word, named), ("READY", storage), "the first line")
    check(line.ask("WATCH %s k" % storage).startswith("+ERR CONFLICT"), "again")
    other = server.line()
    other.ask("USE " + space)
    other.ask("SET %s 0 nothing x" % storage)
    other.ask("SET %s 0 k1 one two" % storage)
    word, named, change = pushed(line)
    same((word, named, change["kind"], change["key"], change["value"]),
         ("CHANGE", storage, "set", "k1", "one two"), "a SET")
    other.ask("DELETE %s k1" % storage)
    same(told(pushed(line)[2])[:2], ("delete", "k1"), "a DELETE")
    same(line.ask("PING"), "+PONG", "commands go on")
    same(line.ask("UNWATCH %s k" % storage), "+OK", "UNWATCH")
    same(line.ask("UNWATCH %s k" % storage), "+OK", "again")
    other.ask("SET %s 0 k2 x" % storage)
    same(line.ask("PING"), "+PONG", "nothing is pushed any more")
    line.send("WATCH %s * since=%d\n" % (storage, data["revision"]))
    same(line.read_line(), b"+OK\n", "WATCH")
    same(pushed(line)[0], "READY", "from a revision")
    same([pushed(line)[2]["key"] for _ in range(4)], ["nothing", "k1", "k1", "k2"], "all of it")
    line.send("WATCH %s k2 since=%d\n" % (storage, 1 << 62))
    same(line.read_line(), b"+OK\n", "WATCH")
    same(pushed(line)[0], "RESYNC", "from a revision that is none")
    line.close()
    other.close()


def a_slow_watcher_holds_up_nobody(server, storage):
    """It reads nothing while more is written than the log and its socket hold."""
    space = fresh("watch")
    slow = Watch(server, space, storage, values=1)
    slow.begins()
    line = server.line()
    line.ask("USE " + space)
    value, count = "v" * 60000, 400  # 24 MB; a share of the log is 8 MB
    for start in range(0, count, 20):
        line.send("".join("SET %s 0 k%d %s\n" % (storage, i % 50, value)
                          for i in range(start, start + 20)))
        for _ in range(20):
            same(line.read_line(), b"+OK\n", "SET")
    last = int(server.request("GET", path_of(space, storage)).headers["Hati-Revision"])
    names, place = [], 0
    while place < last and (not names or names[-1] != "resync"):
        name, place, _ = slow.event()
        names.append(name)
    same(names[-1], "resync", "the slow one is told")
    put(server, space, storage, "after", b"1")
    data = None
    while not isinstance(data, dict) or data.get("key") != "after":
        _, _, data = slow.event()  # it goes on, perhaps with what came before
    slow.close()
    line.close()


CASES = [changes_are_told_as_they_come, a_batch_is_told_once_it_stands,
         only_what_begins_so_is_told, the_other_storage_is_another, what_expires_is_told,
         a_stream_goes_on_where_it_was, from_a_listing_on_nothing_is_missing,
         a_watch_has_its_refusals, many_writers_are_told_whole, lines_watch,
         a_slow_watcher_holds_up_nobody]


def run(runner, server):
    for storage in ("memory", "hdd"):
        for case in CASES:
            runner.case("%s: watch, %s" % (case.__name__, storage),
                        lambda c=case: c(server, storage))


SECRET = "a secret of more than thirty-two bytes"
OTHER = "22222222-2222-3333-4444-555555555555"


def token_of(**claims):
    claims.setdefault("workspace", WORKSPACE)
    claims.setdefault("exp", int(time.time()) + 3600)
    return harness.sign(claims, SECRET)


def ticket_of(server, token, path=None):
    body = json.dumps({"path": path}) if path else None
    answer = server.request("POST", "/tickets", body, token=token)
    same(answer.status, 201, "POST /tickets")
    same((answer.json()["expires_in"], answer.headers["Cache-Control"]), (30, "no-store"), "told")
    return answer.json()["ticket"]


def status_with(server, ticket, space="default", storage="memory"):
    watch = Watch(server, space, storage, ticket=ticket)
    watch.close()
    return watch.status


def a_ticket_opens_one_stream(server):
    token = token_of()
    ticket = ticket_of(server, token)
    same(status_with(server, ticket), 200, "a ticket")
    same(status_with(server, ticket), 401, "used twice")
    for at in (0, 3, 20, 40, 60, len(ticket) - 1):
        forged = ticket_of(server, token)
        forged = forged[:at] + ("A" if forged[at] != "A" else "B") + forged[at + 1:]
        same(status_with(server, forged), 401, "forged at %d" % at)
    for bad in ("", "x", "A" * 200, "A" * 3000, "%00"):
        same(status_with(server, bad), 401, bad)
    same(server.request("GET", path_of("default", "memory", ticket=ticket_of(server, token))).status,
         401, "a ticket opens no listing")
    same(server.request("POST", "/tickets").status, 401, "without a token")
    for bad in ("[]", "{", '{"path":1}', '{"path":"x"}', '{"path":"/a?b"}', '{"more":1}'):
        same(server.request("POST", "/tickets", bad, token=token).status, 400, bad)


def a_ticket_is_good_where_it_says(server):
    path = "/api2/%s/default" % WORKSPACE
    same(status_with(server, ticket_of(server, token_of(), path)), 200, "its path")
    same(status_with(server, ticket_of(server, token_of(), path), "other"), 401, "another")


def a_ticket_has_its_makers_rights(server):
    same(status_with(server, ticket_of(server, token_of(workspace=OTHER))), 403, "a workspace")
    narrow = token_of(scope="kv:read:a*")
    same(status_with(server, ticket_of(server, narrow), "abc"), 200, "a namespace")
    same(status_with(server, ticket_of(server, narrow), "xyz"), 403, "another")
    same(status_with(server, ticket_of(server, token_of(scope="kv:write"))), 403, "no reading")
    answer = server.request("GET", path_of("default", "memory", watch=1), token=token_of(
        scope="kv:write"))
    same(answer.status, 403, "with the token itself")
    line = server.line(token_of(scope="kv:write"))
    check(line.ask("WATCH memory").startswith("+ERR FORBIDDEN"), "a line")
    line.close()


def another_node_takes_the_ticket(server):
    other = Server(env={"HATI_JWT_SECRET": SECRET})
    try:
        same(status_with(other, ticket_of(server, token_of())), 200, "of a node with the secret")
    finally:
        other.close()
    other = Server(env={"HATI_JWT_SECRET": SECRET + "x"})
    try:
        same(status_with(other, ticket_of(server, token_of())), 401, "with another")
    finally:
        other.close()


def a_stream_ends_with_its_token(server):
    """The leeway of 60 s is over but for a moment."""
    watch = Watch(server, "default", "memory", token=token_of(exp=int(time.time()) - 57))
    same(watch.status, 200, "still good")
    watch.begins()
    deadline = time.monotonic() + PATIENCE
    token, ended = token_of(), False
    while not ended:
        check(time.monotonic() < deadline, "the stream outlives its token")
        answer = server.request("PUT", path_of("default", "memory", "a"), b"1", token=token)
        same(answer.status, 204, "PUT")
        ended = watch.event() is None
    watch.close()


def what_was_killed_goes_on_or_says_so(storage="hdd"):
    """Writers and a mirror; the server dies, and comes back; in the end the mirror has it all."""
    server = Server()
    try:
        space, mirror, place = "killed", Mirror(), [0]
        watch = Watch(server, space, storage)
        place[0] = watch.begins()
        for turn in range(3):
            for i in range(200):
                put(server, space, storage, "k%d" % ((turn * 50 + i) % 120), b"1")
                if i % 3 == 0:
                    server.request("DELETE", path_of(space, storage, "k%d" % (i % 120)))
                if i % 20 == 19:  # it is behind what is written when the server dies
                    for _ in range(10):
                        change = watch.change()
                        mirror.take(change)
                        place[0] = change["revision"]
            server.kill()
            server.start()
            watch.close()
            watch = Watch(server, space, storage, last_id=place[0])
            name, found, _ = watch.event()
            check(name in ("ready", "resync"), name)
            if name == "resync":
                listing = server.request("GET", path_of(space, storage)).json()["keys"]
                mirror.entries = {key: found for key in listing}
                mirror.last = found
        same(set(mirror.entries),
             set(server.request("GET", path_of(space, storage)).json()["keys"]), "the mirror")
        watch.close()
        last = put(server, space, storage, "last", b"1")
        server.stop()
        server.start()
        watch = Watch(server, space, storage, last_id=last)
        same(watch.begins(), last, "nothing was missed: no resync")
        watch.close()
    finally:
        server.close()


def no_more_watch_than_may():
    server = Server("--max-watchers", "3")
    try:
        watches = [Watch(server, "s%d" % i, "memory") for i in range(3)]
        same(server.request("GET", path_of("s", "memory", watch=1)).status, 503, "the fourth")
        line = server.line()
        check(line.ask("WATCH memory").startswith("+ERR UNAVAILABLE"), "on a line")
        watches[0].close()
        wait_until(lambda: Watch(server, "s", "memory").status == 200, "one left")
        same(server.stop(), 0, "a stop ends streams")
    finally:
        server.close()


TICKETS = [a_ticket_opens_one_stream, a_ticket_is_good_where_it_says,
           a_ticket_has_its_makers_rights, another_node_takes_the_ticket,
           a_stream_ends_with_its_token]


def run_alone(runner):
    server = Server(env={"HATI_JWT_SECRET": SECRET})
    try:
        for case in TICKETS:
            runner.case(case.__name__ + ": watch", lambda c=case: c(server))
    finally:
        server.close()
    for case in (what_was_killed_goes_on_or_says_so, no_more_watch_than_may):
        runner.case(case.__name__ + ": watch", case)
