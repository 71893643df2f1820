# SPDX-License-Identifier: MIT
"""Data directories of earlier versions (old/*.tar.xz) open, and everything is there.

A new one is packed by: old_data.py HATI-OF-THAT-VERSION NAME [sealed], which writes old/NAME.tar.xz
with one directory of a server that was stopped and one of a server that was killed; sealed ones have
their keys beside them."""
import base64
import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "contract")]

from harness import Failure, Server, check, same  # noqa: E402

NEVER_MS = 3 * 10 ** 12  # a TTL that outlives us
SOON_MS = 1
LEASE_MS = NEVER_MS
WORKSPACE = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
LONG_KEY = "long/" + "k" * 4091
FLAGS = ("--write-buffer", "1m")
ENTRIES = {"plain%03d" % number: "value %d %s" % (number, "v" * (number * 7 % 90))
           for number in range(150)}
ENTRIES.update({"empty": "", "größe/ключ/鍵": "ä\U0001f600", LONG_KEY: "of a long key",
                LONG_KEY[:-1] + "l": "of its sibling", "big": "big " * 50000})
BINARY = bytes(range(256)) * 4


def flags_of(place):
    keys = os.path.join(place, "keys")
    if not os.path.exists(keys):
        return FLAGS
    os.chmod(keys, 0o600)
    return (*FLAGS, "--encryption-key-file", keys)


def call(server, method, **params):
    answer = server.rpc(method, params)
    check("result" in answer, "%s %s: %s" % (method, params, answer.get("error")))
    return answer["result"]


def fill_keys(server, part):
    """Two halves, so that some of it is applied and some only in the journal where it is killed."""
    for number, (key, value) in enumerate(sorted(ENTRIES.items())):
        if number % 2 == part:
            call(server, "Storage.Set", type="hdd", key=key, value="to be overwritten")
            call(server, "Storage.Set", type="hdd", key=key, value=value)
    tail = str(part)
    call(server, "Storage.Set", type="hdd", key="binary" + tail, encoding="base64",
         value=base64.b64encode(BINARY).decode())
    call(server, "Storage.Set", type="hdd", key="lasting" + tail, value="v", ttl=NEVER_MS)
    call(server, "Storage.Set", type="hdd", key="expired" + tail, value="v", ttl=SOON_MS)
    call(server, "Storage.Set", type="hdd", key="gone" + tail, value="v")
    call(server, "Storage.Delete", type="hdd", key="gone" + tail)
    call(server, "Storage.Increment", type="hdd", key="number" + tail, by=-41)
    call(server, "Storage.Batch", type="hdd", ops=[
        {"op": "set", "key": "batched" + tail, "value": "b"},
        {"op": "incr", "key": "number" + tail, "by": -1}])
    call(server, "Storage.Set", type="hdd", namespace="other", key="plain000", value="elsewhere")
    same(server.request("PUT", "/api2/%s/room/typed%s" % (WORKSPACE, tail), "<p>",
                        {"Content-Type": "text/html"}).status, 204, "PUT")


def fill_broker(server):
    make = {"graves": {}, "work": {"dead-letter": "graves", "max-deliver": 1, "lease": LEASE_MS},
            "ordered": {"dedup-window": LEASE_MS}, "late": {}, "held": {"lease": LEASE_MS}}
    for name, options in make.items():
        call(server, "Broker.CreateQueue", name=name, type="hdd", **options)
    for name, kind in (("all", "fanout"), ("topics", "topic"), ("straight", "direct")):
        call(server, "Broker.CreateRouter", name=name, type=kind)
    call(server, "Broker.Bind", router="all", queue="ordered")
    call(server, "Broker.Bind", router="topics", queue="ordered", pattern="a.*.#")
    call(server, "Broker.Bind", router="straight", queue="ordered", pattern="exact")


def publish(server, key, payload, router="default", **options):
    return call(server, "Broker.Publish", router=router, key=key, payload=payload, **options)


def fill_messages(server):
    for number in range(40):
        publish(server, "ordered", "message%d" % number, headers={"n": str(number)})
    publish(server, "x", "to all", "all")
    publish(server, "a.b.c", "by topic", "topics", id="once")
    publish(server, "exact", "straight on", "straight")
    publish(server, "ordered", "urgent", priority=9)
    publish(server, "ordered", "m" * 100000)
    for number in range(5):
        publish(server, "work", "dies%d" % number)
    for message in call(server, "Broker.Receive", queue="work", max=4)["messages"]:
        call(server, "Broker.Nack", queue="work", receipt=message["receipt"])
    call(server, "Broker.Receive", queue="work")  # the dead are moved by now
    for number in range(6):
        publish(server, "held", "held%d" % number)
    held = call(server, "Broker.Receive", queue="held", max=4)["messages"]
    for message in held[:2]:
        call(server, "Broker.Ack", queue="held", receipt=message["receipt"])
    publish(server, "late", "not before its time", delay=NEVER_MS)
    return held[2]["receipt"]


def listing(server, **where):
    """Every key of a namespace."""
    keys, more = [], {}
    while True:
        page = call(server, "Storage.List", type="hdd", limit=100, **where, **more)
        keys += page["keys"]
        if "cursor" not in page:
            return keys
        more = {"cursor": page["cursor"]}


def told(server):
    """What the server says that it has, of which nothing changes with time."""
    seen = {}
    for where in ({}, {"namespace": "other"}, {"namespace": "room", "workspace": WORKSPACE}):
        for key in listing(server, **where):
            entry = call(server, "Storage.GetEntry", type="hdd", key=key, **where)
            seen["%s %s" % (where.get("namespace"), key)] = {
                "value": entry["value"], "etag": entry["etag"], "revision": entry["revision"],
                "encoding": entry.get("encoding"), "lasting": entry["ttl"] > 0}
    for name in ("graves", "work", "ordered", "late", "held"):
        queue = call(server, "Broker.GetQueue", name=name)
        seen["queue " + name] = {field: queue[field] for field in (
            "type", "lease", "max-deliver", "dead-letter", "dedup-window", "ready", "leased",
            "delayed") if field in queue}
    for name in ("all", "topics", "straight"):
        router = call(server, "Broker.GetRouter", name=name)
        seen["router " + name] = {field: router[field] for field in ("type", "bindings")}
    return seen


def check_keys(server, seen):
    for key, value in ENTRIES.items():
        same(seen["None " + key]["value"], value, "the value of %.60s" % key)
    for tail in "01":
        same(seen["None binary" + tail]["value"], base64.b64encode(BINARY).decode(), "binary")
        same(seen["None number" + tail]["value"], "-42", "a number")
        check(seen["None lasting" + tail]["lasting"], "a TTL is lost")
        for key in ("gone", "expired"):
            check("None " + key + tail not in seen, "%s is there again" % key)
        answer = server.request("GET", "/api2/%s/room/typed%s" % (WORKSPACE, tail))
        same((answer.status, answer.body, answer.headers["Content-Type"]),
             (200, b"<p>", "text/html"), "an entry with a type")
    same(seen["other plain000"]["value"], "elsewhere", "a key of another namespace")


def check_messages(server, receipt):
    def drain(queue):
        return call(server, "Broker.Receive", queue=queue, max=1000)["messages"]

    got = drain("ordered")
    same([message["payload"] for message in got],
         ["urgent"] + ["message%d" % number for number in range(40)] +
         ["to all", "by topic", "straight on", "m" * 100000], "the messages")
    same([message["headers"] for message in got[1:41]],
         [{"n": str(number)} for number in range(40)], "headers")
    again = publish(server, "a.b.c", "by topic", "topics", id="once")
    same(again["id"], "once", "the id of a publish that was sent again")
    same(drain("ordered"), [], "what a publish sent again left")
    graves = drain("graves")
    same(sorted(message["payload"] for message in graves), ["dies%d" % n for n in range(4)],
         "the dead letters")
    same({message["headers"].get("from") or message.get("from") for message in graves}, {"work"},
         "where they died")
    same([message["payload"] for message in drain("held")], ["held4", "held5"], "not yet leased")
    call(server, "Broker.Ack", queue="held", receipt=receipt)
    same(drain("late"), [], "a delayed message")


def check_goes_on(server, seen):
    top = max(one["revision"] for one in seen.values() if "revision" in one)
    call(server, "Storage.Set", type="hdd", key="new", value="today")
    fresh = call(server, "Storage.GetEntry", type="hdd", key="new")["revision"]
    check(fresh > top, "a revision came again: %d after %d" % (fresh, top))


def stopped(server):
    check(server.stop() == 0, "the end of a server")
    server.process.stdout.close()
    server.log.close()


def opens(place):
    with open(os.path.join(place, "told.json"), encoding="utf-8") as file:
        before = json.load(file)
    server = Server(*flags_of(place), keep=place)
    try:
        for turn in ("opened", "opened again"):
            seen = told(server)
            for key in sorted(set(seen) | set(before["seen"])):
                same(seen.get(key), before["seen"].get(key), "%s, %.60s" % (turn, key))
            check_keys(server, seen)
            if turn == "opened":
                stopped(server)
                server.start()
        check_messages(server, before["receipt"])
        check_goes_on(server, seen)
        check(server.stop() == 0, "the end of a server")
    finally:
        server.close()
    return len(seen)


def refuses(place, text):
    """A directory in a format to come is left as it is, with one line that says so."""
    with open(os.path.join(place, "data", "format"), "w", encoding="utf-8") as file:
        file.write(text)
    before = held_in(place)
    log = os.path.join(place, "log")
    if os.path.exists(log):
        os.unlink(log)
    try:
        Server(*flags_of(place), keep=place).close()
    except Failure as failure:
        check("in a format this version does not know" in str(failure) and
              str(failure).count("hati: ") == 1, "the refusal of format %r: %s" % (text, failure))
    else:
        raise Failure("a directory of format %r was opened" % text)
    same(held_in(place), before, "a directory that was refused")


def held_in(place):
    held = {}
    for folder, _, names in os.walk(os.path.join(place, "data")):
        for name in names:
            path = os.path.join(folder, name)
            status = os.stat(path)
            held[path] = (status.st_size, status.st_mtime_ns)
    return {path: what for path, what in held.items() if not path.endswith("/LOCK")}


def run(runner):
    told_of = []
    for archive in sorted(glob.glob(os.path.join(HERE, "old", "*.tar.xz"))):
        place = runner.room()
        with tarfile.open(archive) as file:
            file.extractall(place)
        for kind in sorted(os.listdir(place)):
            one = os.path.join(place, kind)
            shutil.copytree(one, one + ".refused")
            for text in ("hati data 3\n", "hati data 10\n", "hati data 1", "\0", "hati data 1\nx"):
                refuses(one + ".refused", text)
            try:
                told_of.append("%s %s: %d things" % (os.path.basename(archive)[:-7], kind, opens(one)))
            except Failure as failure:
                runner.keep(one)
                raise Failure("%s, %s: %s" % (os.path.basename(archive), kind, failure)) from failure
    check(told_of, "no old directory was found")
    runner.say("; ".join(told_of))


def write(place, killed, sealed):
    os.makedirs(place)
    if sealed:
        with open(os.path.join(place, "keys"), "w", encoding="ascii") as keys:
            keys.write(os.urandom(32).hex() + "\n")
    server = Server(*flags_of(place), keep=place)
    fill_broker(server)
    fill_keys(server, 0)
    stopped(server)
    server.start()
    fill_keys(server, 1)
    receipt = fill_messages(server)
    with open(os.path.join(place, "told.json"), "w", encoding="utf-8") as file:
        json.dump({"receipt": receipt, "seen": told(server)}, file, sort_keys=True)
    if killed:
        server.kill()
    else:
        stopped(server)
    for name in ("log", "line.sock"):
        if os.path.exists(os.path.join(place, name)):
            os.unlink(os.path.join(place, name))


def pack(binary, name, sealed=None):
    Server.binary = os.path.abspath(binary)
    place = tempfile.mkdtemp(prefix="hati-old-")
    try:
        for kind in ("stopped", "killed"):
            write(os.path.join(place, kind), kind == "killed", sealed == "sealed")
        os.makedirs(os.path.join(HERE, "old"), exist_ok=True)
        subprocess.run(["tar", "--sparse", "--owner=0", "--group=0", "-C", place, "-cJf",
                        os.path.join(HERE, "old", name + ".tar.xz"), "stopped", "killed"],
                       check=True, env={**os.environ, "XZ_OPT": "-9e"})
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    pack(*sys.argv[1:4])
