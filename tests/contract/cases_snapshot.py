# SPDX-License-Identifier: MIT
"""Snapshots: out of a server and into one, by the commands and by the routes."""
import base64
import json
import os
import shutil
import struct
import subprocess
import tempfile
import threading

import harness
from harness import Server, check, same, sign

HEAD, BLOCK_HEAD = 96, 56
PAYLOAD_LIMIT = ["--payload-limit", "8m"]


class Place:
    """A directory for files, and the commands run in it."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="hati-snapshot-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, *words, stdin=b"", env=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HATI_", "HULY_"))}
        clean.update({"TMPDIR": self.dir}, **(env or {}))
        return subprocess.run([Server.binary, *words], input=stdin, env=clean, cwd=self.dir,
                              capture_output=True, timeout=60)

    def good(self, *words, stdin=b"", env=None):
        done = self.run(*words, stdin=stdin, env=env)
        same(done.returncode, 0, "%r: %r" % (words, done.stderr))
        same(sorted(name for name in os.listdir(self.dir) if "part" in name or "XX" in name), [],
             "what is left behind")
        return done

    def bad(self, status, word, *words, stdin=b"", env=None):
        done = self.run(*words, stdin=stdin, env=env)
        same(done.returncode, status, "%r: %r" % (words, done.stderr))
        lines = done.stderr.decode().splitlines()
        same(len(lines), 1, "lines on stderr: %r" % lines)
        check(word in lines[0], "%r does not say %r" % (lines[0], word))

    def lines(self, *words, env=None):
        """What a snapshot holds, without what differs between two stores that hold the same."""
        done = self.good("export", *words, "--format", "ndjson", "-", env=env)
        items = [json.loads(line) for line in done.stdout.splitlines()]
        check("hatiSnapshot" in items[0] and "end" in items[-1], "head or end is missing")
        for item in items:
            item.pop("revision", None)
            if item.get("kind") == "entry" and "expires" in item:  # a database has its own clock
                item["expires"] = True
        return sorted(json.dumps(item, sort_keys=True) for item in items[1:-1])


def same_items(got, wanted):
    missing = [item[:300] for item in wanted if item not in got]
    more = [item[:300] for item in got if item not in wanted]
    check(not missing and not more and len(got) == len(wanted),
          "%d items, not %d; missing: %s; too many: %s" % (len(got), len(wanted), missing[:3],
                                                           more[:3]))


def to(server):
    words = ["--rpc-host", "127.0.0.1", "--rpc-port", str(server.http)]
    return words + (["--rpc-tls", "--tls-insecure"] if harness.tls else [])


def rpc(server, method, **params):
    answer = server.rpc(method, {name.replace("_", "-"): value for name, value in params.items()})
    check("result" in answer, "%s: %r" % (method, answer))
    return answer["result"]


def fill(server):
    """Something of every kind."""
    odd = base64.b64encode(bytes(range(256))).decode()
    for storage in ("hdd", "memory"):
        for i in range(20):
            rpc(server, "Storage.Set", type=storage, key="k%d" % i, value="v%d" % i)
        rpc(server, "Storage.Set", type=storage, key="odd", value=odd, encoding="base64")
        rpc(server, "Storage.Set", type=storage, key="short", value="x", ttl=3600000)
    same(server.request("PUT", "/api/default/typed", "<p>", {"Content-Type": "text/html"}).status,
         204, "PUT")
    rpc(server, "Broker.CreateQueue", queue="dead")
    rpc(server, "Broker.CreateQueue", queue="jobs", max_deliver=2, dead_letter="dead", lease=60000)
    rpc(server, "Broker.CreateQueue", queue="fast", type="memory")
    rpc(server, "Broker.CreateQueue", queue="still")
    rpc(server, "Broker.Pause", queue="still")
    for name, kind in (("news", "topic"), ("all", "fanout"), ("one", "direct")):
        rpc(server, "Broker.CreateRouter", router=name, type=kind)
    rpc(server, "Broker.Bind", router="news", queue="jobs", pattern="a.*")
    rpc(server, "Broker.Bind", router="news", queue="fast", pattern="#")
    rpc(server, "Broker.Bind", router="all", queue="fast")
    rpc(server, "Broker.Bind", router="one", queue="jobs", pattern="x")
    for i in range(5):
        rpc(server, "Broker.Publish", router="news", key="a.%d" % i, payload="m%d" % i, priority=i)
    rpc(server, "Broker.Publish", router="news", key="a.b", payload=odd, encoding="base64",
        headers={"n": 1}, id="mine", ttl=3600000)
    rpc(server, "Broker.Publish", router="news", key="a.c", payload="later", delay=3600000)
    for _ in range(2):  # the first one dies, another is leased
        got = rpc(server, "Broker.Receive", queue="jobs", max=1)["messages"]
        rpc(server, "Broker.Nack", queue="jobs", receipt=got[0]["receipt"])
    rpc(server, "Broker.Receive", queue="jobs", max=1)


def everything_comes_back_elsewhere():
    with Place() as place:
        one, two = Server(), Server()
        try:
            fill(one)
            place.good("export", *to(one), "all.snapshot")
            same(oct(os.stat(place.path("all.snapshot")).st_mode & 0o777), "0o600", "who may read it")
            place.good("import", *to(two), "all.snapshot")
            same_items(place.lines(*to(two)), place.lines(*to(one)))
            dead = rpc(two, "Broker.Peek", queue="dead")["messages"]
            same([(m["reason"], m["from"]) for m in dead], [("max-deliver", "jobs")], "dead letters")
            same(two.request("GET", "/api/default/typed").headers["Content-Type"], "text/html", "type")
            check(rpc(two, "Broker.GetQueue", queue="still")["paused"], "it is not paused")
            ttl = rpc(two, "Storage.GetEntry", type="hdd", key="short")["ttl"]
            check(0 < ttl <= 3600000, "ttl left: %r" % ttl)
        finally:
            one.close()
            two.close()


def lines_go_out_and_come_in_through_pipes():
    with Place() as place:
        one, two = Server(), Server()
        try:
            fill(one)
            lines = place.good("export", *to(one), "--format", "ndjson", "-").stdout
            place.good("import", *to(two), "-", stdin=lines)
            same_items(place.lines(*to(two)), place.lines(*to(one)))
            place.bad(2, "line 2", "import", *to(two), "-", stdin=lines.replace(b"k1", b"kX", 1)
                      .split(b"\n", 1)[0] + b"\n{}\n")
            place.bad(2, "not defined", "import", *to(two), "-", stdin=b"\n".join(
                [lines.split(b"\n")[0]] + [line for line in lines.split(b"\n")
                                           if b'"kind":"message"' in line and b'"jobs"' in line][:1]
                + [b'{"end":{"router":0,"queue":0,"binding":0,"entry":0,"message":1}}', b""]))
            place.bad(2, "check", "import", *to(two), "-", stdin=lines.replace(b'"v1"', b'"vX"', 1))
        finally:
            one.close()
            two.close()


def damaged_files_change_nothing():
    with Place() as place:
        one, two = Server(), Server()
        try:
            fill(one)
            place.good("export", *to(one), "good")
            with open(place.path("good"), "rb") as file:
                good = file.read()
            first = blocks(good)
            spoiled = {
                "no snapshot": b"x" + good[1:],
                "another format version": good[:11] + b"\x02" + good[12:],
                "head is damaged": good[:20] + b"\xff\xfe" + good[22:],
                "is cut off": good[:-1],
                "damaged": good[:HEAD + 80] + bytes([good[HEAD + 80] ^ 1]) + good[HEAD + 81:],
                "missing, or stands here twice": good[:HEAD] + good[HEAD + len(first[0]):],
                "behind the end": good + b"\0",
            }
            for word, bytes_ in spoiled.items():
                place.bad(2, word, "import", *to(two), "--replace", "-", stdin=bytes_)
            for length in range(0, len(good), 97):
                place.bad(2, "cut off", "import", *to(two), "-", stdin=good[:length])
                if length > 400:
                    break
            place.bad(2, "cannot read", "import", *to(two), "nosuch")
            for other in (b'{"some":"json"}\n', b"{}\n", b'{"hatiSnapshots":1}\n'):
                place.bad(2, "this is no snapshot of hati", "import", *to(two), "-", stdin=other)
            place.bad(2, "another format version", "import", *to(two), "-",
                      stdin=b'{"hatiSnapshot":9}\n')
            same_items(place.lines(*to(two)), [])
        finally:
            one.close()
            two.close()


def values_over_the_limit_are_refused_before_replace_drops_anything():
    with Place() as place:
        one, two = Server(*PAYLOAD_LIMIT), Server()
        try:
            rpc(one, "Storage.Set", type="hdd", key="large", value="x" * 3000000)
            rpc(one, "Broker.CreateQueue", queue="jobs")
            rpc(two, "Storage.Set", type="hdd", key="kept", value="x")
            place.good("export", *to(one), "large")
            place.bad(1, "nothing was changed", "import", *to(two), "--replace", "large")
            rpc(one, "Storage.Set", type="hdd", key="large", value="x")
            rpc(one, "Broker.Publish", router="default", key="jobs", payload="x" * 3000000)
            place.good("export", *to(one), "message")
            place.bad(1, "3000000 bytes", "import", *to(two), "--replace", "message")
            left = place.lines(*to(two))
            check(len(left) == 1 and '"kept"' in left[0], "what was there is gone: %r" % left)
        finally:
            one.close()
            two.close()


def blocks(file):
    """The blocks of a file, each with its head."""
    found, at = [], HEAD
    while at < len(file):
        length = BLOCK_HEAD + struct.unpack(">Q", file[at + 32:at + 40])[0]
        found.append(file[at:at + length])
        at += length
    return found


def exported(server, token=None):
    answer = server.request("GET", "/snapshot", token=token)
    same(answer.status, 200, "GET /snapshot")
    return answer.body


def put(server, ident, number, block, status=200):
    answer = server.request("PUT", "/snapshot/%s/%d" % (ident, number), block)
    same(answer.status, status, answer.body)
    return answer.json()


def an_import_goes_on_after_a_power_cut_and_doubles_nothing():
    with Place() as place:
        one, two = Server(*PAYLOAD_LIMIT), Server(*PAYLOAD_LIMIT)
        try:
            fill(one)
            rpc(one, "Storage.Set", type="hdd", key="large", value="x" * (3 << 20))
            for i in range(40):
                rpc(one, "Broker.PublishMany", router="news", messages=[
                    {"key": "a.many", "payload": "%d/%d" % (i, j)} for j in range(50)])
            file = exported(one)
            ident, parts = file[16:32].hex(), blocks(file)
            check(len(parts) > 6, "%d blocks" % len(parts))
            begin = lambda: two.request("POST", "/snapshot/%s" % ident, file[:HEAD])
            same(two.request("GET", "/snapshot/%s" % ident).json()["known"], False, "before")
            same(put(two, ident, 0, parts[0], 412)["code"], "PRECONDITION_FAILED", "not begun")
            same(begin().json()["next"], {"memory": 0, "hdd": 0}, "begun")
            same(put(two, ident, 1, parts[1], 412)["code"], "PRECONDITION_FAILED", "a gap")
            same(put(two, ident, 0, parts[1], 400)["code"], "SYNTAX", "another block")
            spoiled = parts[0][:-1] + bytes([parts[0][-1] ^ 1])
            same(put(two, ident, 0, spoiled, 400)["code"], "SYNTAX", "a damaged block")
            for number, part in enumerate(parts):
                put(two, ident, number, part)
                put(two, ident, number, part)  # its answer may have been lost
                if number % 3 == 1:
                    two.kill()
                    two.start()
                    state = begin().json()
                    check(state["next"]["hdd"] <= number + 1, state)
                    for again, other in enumerate(parts[:number + 1]):
                        put(two, ident, again, other)
            check(two.request("GET", "/snapshot/%s" % ident).json()["done"], "it is not done")
            same(begin().status, 409, "once more")
            same_items(place.lines(*to(two)), place.lines(*to(one)))
        finally:
            one.close()
            two.close()


def replace_leaves_nothing_of_what_was_there():
    with Place() as place:
        one, two = Server(), Server()
        try:
            fill(one)
            for storage in ("hdd", "memory"):
                rpc(two, "Storage.Set", type=storage, key="other", value="x")
                rpc(two, "Storage.Set", type=storage, key="k1", value="other")
            rpc(two, "Broker.CreateQueue", queue="gone")
            rpc(two, "Broker.CreateQueue", queue="jobs", type="memory")
            rpc(two, "Broker.CreateRouter", router="news", type="fanout")
            place.good("export", *to(one), "all")
            place.bad(1, "jobs is on memory here", "import", *to(two), "all")
            place.bad(1, "without --replace was cut off", "import", *to(two), "--replace", "all")
            place.good("import", *to(two), "--replace", "--again", "all")
            wanted = place.lines(*to(one))
            same_items(place.lines(*to(two)), wanted)
            place.bad(1, "imported here already", "import", *to(two), "all")
            place.good("import", *to(two), "--replace", "all")
            same_items(place.lines(*to(two)), wanted)
        finally:
            one.close()
            two.close()


def memory_that_is_full_takes_each_message_once():
    if Server.engine:  # memory is the database's
        return
    with Place() as place:
        one, two = Server(), Server("--memory-limit", "1m")
        try:
            rpc(one, "Broker.CreateQueue", queue="fast", type="memory")
            for i in range(4):
                rpc(one, "Broker.PublishMany", router="default", messages=[
                    {"key": "fast", "payload": "%d/%d" % (i, j) + "x" * 900} for j in range(200)])
            rpc(two, "Broker.CreateQueue", queue="fill", type="memory")
            rpc(two, "Broker.Publish", router="default", key="fill", payload="y" * 600000)
            place.good("export", *to(one), "all")
            for _ in range(2):
                place.bad(1, "memory limit", "import", *to(two), "all")
                check(0 < rpc(two, "Broker.GetQueue", queue="fast")["ready"] < 800, "all went in")
            rpc(two, "Broker.DeleteQueue", queue="fill")
            place.good("import", *to(two), "all")
            same_items(place.lines(*to(two)), place.lines(*to(one)))
        finally:
            one.close()
            two.close()


def merge_keeps_what_the_file_does_not_name():
    with Place() as place:
        one, two = Server(), Server()
        try:
            fill(one)
            rpc(two, "Storage.Set", type="hdd", key="other", value="mine")
            rpc(two, "Storage.Set", type="hdd", key="k1", value="old")
            rpc(two, "Broker.CreateQueue", queue="jobs", lease=1000)
            rpc(two, "Broker.Publish", router="default", key="jobs", payload="first")
            place.good("export", *to(one), "all")
            done = place.good("import", *to(two), "all")
            check(b"queue jobs: it is there with other options" in done.stderr, done.stderr)
            same(rpc(two, "Storage.Get", type="hdd", key="other"), "mine", "other")
            same(rpc(two, "Storage.Get", type="hdd", key="k1"), "v1", "k1")
            queue = rpc(two, "Broker.GetQueue", queue="jobs")
            same((queue["lease"], queue["ready"] + queue["delayed"]), (1000, 7), "jobs")
        finally:
            one.close()
            two.close()


def a_data_directory_is_read_and_written_without_a_server():
    if Server.engine:
        return
    with Place() as place:
        one = Server()
        key = one.encryption_flags()
        try:
            fill(one)
            data = os.path.join(one.dir, "data")
            place.bad(1, "another process serves", "export", "--data-dir", data, *key, "all")
            one.stop()
            place.good("export", "--data-dir", data, *key, "all")
            done = place.good("import", "--data-dir", place.path("fresh"), "all")
            lines = place.lines("--data-dir", place.path("fresh"))
            same_items(lines, place.lines("--data-dir", data, *key))
            check(any('"jobs"' in line for line in lines), "nothing is there")
            same(done.stderr, b"", "nothing of memory was in it")
            place.bad(2, "no data directory", "export", "--data-dir", "none", "-")
            one.start()
            same_items(place.lines(*to(one)), lines)
        finally:
            one.close()


def who_may_take_and_bring_snapshots():
    secret = "a-secret-that-is-long-enough-for-all"
    server = Server(env={"HATI_JWT_SECRET": secret})
    try:
        claims = {"exp": 4102444800}
        for scope, status in (("kv:read kv:write", 403), ("admin:other", 403), ("admin", 200)):
            token = sign(dict(claims, scope=scope), secret)
            same(server.request("GET", "/snapshot", token=token).status, status, scope)
            same(server.request("GET", "/snapshot/" + "0" * 32, token=token).status, status, scope)
        of_one = dict(claims, account="11111111-2222-3333-4444-555555555556",
                      workspace="11111111-2222-3333-4444-555555555555")
        same(server.request("GET", "/snapshot", token=sign(of_one, secret)).status, 403,
             "a token of one workspace")
        same(server.request("GET", "/snapshot").status, 401, "no token")
        with Place() as place:
            place.bad(1, "wants a token", "export", *to(server), "-")
            token = sign(dict(claims, scope="admin"), secret)
            place.good("export", *to(server), "-", env={"HATI_TOKEN": token})
            with open(place.path("token"), "w") as file:
                file.write(token + "\n")
            place.good("export", *to(server), "--token-file", "token", "all")
            place.good("import", *to(server), "--token-file", "token", "all")
    finally:
        server.close()


def words_that_make_no_sense_are_told():
    with Place() as place:
        place.bad(2, "which file", "export")
        place.bad(2, "which file", "import", "--rpc-port", "1")
        place.bad(2, "one file, not two", "export", "a", "b")
        place.bad(2, "hati or ndjson", "export", "--format", "xml", "a")
        place.bad(2, "nosuch", "import", "--nosuch", "-", stdin=b"x")
        place.bad(2, "one of them", "export", "--data-dir", "a", "--engine", "postgresql://x", "f")
        place.bad(2, "no data directory a", "export", "--data-dir", "a", "f",
                  env={"HATI_ENGINE": "postgresql://127.0.0.1:1/x"})
        place.bad(2, "go together", "export", "--tls-client-cert", "x", "a")
        place.bad(3, "127.0.0.1:1", "export", "--rpc-host", "127.0.0.1", "--rpc-port", "1", "a")
        same(os.listdir(place.dir), [], "what is left behind")


def routes_refuse_what_is_none(server):
    for method, path, status in (
            ("GET", "/snapshot?format=xml", 400), ("GET", "/snapshot?nosuch=1", 400),
            ("HEAD", "/snapshot", 200), ("HEAD", "/snapshot?format=ndjson", 200),
            ("HEAD", "/snapshot/" + "0" * 32, 200), ("GET", "/snapshot/xyz", 400), ("GET", "/snapshot/" + "0" * 31, 400),
            ("PUT", "/snapshot/" + "0" * 32, 405), ("POST", "/snapshot", 405),
            ("GET", "/snapshot/" + "0" * 32 + "/1", 405), ("PUT", "/snapshot/a/b/c", 404)):
        same(server.request(method, path).status, status, path)
    ident = "0" * 32
    same(server.request("POST", "/snapshot/" + ident, b"x" * HEAD).status, 400, "no head")
    same(server.request("POST", "/snapshot/" + ident, b"").status, 400, "nothing")
    same(server.request("POST", "/snapshot/%s?largest=-1" % ident, b"").status, 400, "no length")
    same(server.request("PUT", "/snapshot/%s/0" % ident, b"x" * 10).status, 400, "no block")
    same(server.request("PUT", "/snapshot/%s/0" % ident, b"x" * 100).status, 400, "no block")


def one_instant_under_load_is_told():
    """Money moves between keys, and each transfer is told to a queue, all in one batch."""
    accounts, each = 8, 100
    with Place() as place:
        server = Server()
        try:
            rpc(server, "Broker.CreateQueue", queue="ledger")
            rpc(server, "Storage.SetMany", type="hdd",
                entries={"a%d" % i: str(each) for i in range(accounts)})
            rpc(server, "Storage.Set", type="hdd", key="transfers", value="0")
            stop = threading.Event()

            def move(seed):
                turn = seed
                while not stop.is_set():
                    turn += 1
                    rpc(server, "Storage.Batch", ops=[
                        {"op": "incr", "key": "a%d" % (turn % accounts), "by": -1},
                        {"op": "incr", "key": "a%d" % (turn * 7 % accounts), "by": 1},
                        {"op": "incr", "key": "transfers"},
                        {"op": "publish", "router": "default", "routing-key": "ledger",
                         "payload": "t"}])

            threads = [threading.Thread(target=move, args=(i,)) for i in range(3)]
            for thread in threads:
                thread.start()
            try:
                for i in range(4):
                    place.good("export", *to(server), "s%d" % i)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            other = Server()
            try:
                for i in range(4):
                    place.good("import", *to(other), "--replace", "s%d" % i)
                    got = rpc(other, "Storage.GetMany", type="hdd",
                              keys=["a%d" % i for i in range(accounts)] + ["transfers"])
                    transfers = int(got.pop("transfers"))
                    same(sum(map(int, got.values())), accounts * each, "money")
                    same(rpc(other, "Broker.GetQueue", queue="ledger")["ready"], transfers, "told")
            finally:
                other.close()
        finally:
            server.close()


def run(runner):
    for case in (everything_comes_back_elsewhere, lines_go_out_and_come_in_through_pipes,
                 damaged_files_change_nothing,
                 values_over_the_limit_are_refused_before_replace_drops_anything,
                 an_import_goes_on_after_a_power_cut_and_doubles_nothing,
                 replace_leaves_nothing_of_what_was_there,
                 memory_that_is_full_takes_each_message_once, merge_keeps_what_the_file_does_not_name,
                 a_data_directory_is_read_and_written_without_a_server,
                 who_may_take_and_bring_snapshots, words_that_make_no_sense_are_told,
                 one_instant_under_load_is_told):
        runner.case("snapshot: " + case.__name__, case)
    server = Server()
    try:
        runner.case("snapshot: routes_refuse_what_is_none", lambda: routes_refuse_what_is_none(server))
    finally:
        server.close()
