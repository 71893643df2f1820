# SPDX-License-Identifier: MIT
"""Flips a few bits in the files of a server that was stopped, or killed, and looks what it says."""
import collections
import os
import shutil

from harness import PATIENCE, Failure, Server, check, wait_until
from power_cut import LEASE_MS, QUEUE

KEYS = 400
MESSAGES = 200


def value_of(number):
    return "%d-" % number + "v" * (number * 37 % (9000 if number % 20 == 0 else 300))


def fill(place, killed):
    """A data directory with known entries and messages; what LMDB has, and the journal's end."""
    server = Server("--write-buffer", "1m", keep=place)
    line = server.line()
    server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd", "lease": LEASE_MS})
    for number in range(KEYS):
        if killed and number == KEYS // 2:
            line.close()
            check(server.stop() == 0, "the end of a server")
            server.process.stdout.close()
            server.log.close()
            server.start()
            line = server.line()
        line.send("SET hdd 0 key%d %s\n" % (number, value_of(number)))
        check(line.read_line() == b"+OK\n", "a SET")
        if number < MESSAGES:
            line.send("PUBLISH default %s message%d\n" % (QUEUE, number))
            line.read_line()
    line.close()
    if killed:
        server.kill()
    else:
        check(server.stop() == 0, "the end of a server")
    server.process.stdout.close()
    server.log.close()


def targets(data):
    """Files that hold something, each with the part of it that is in use."""
    for folder, _, names in os.walk(data):
        for name in names:
            path = os.path.join(folder, name)
            if name == "data.mdb":
                yield path, os.path.getsize(path)
            elif name.startswith("segment-"):
                with open(path, "rb") as file:
                    used = len(file.read().rstrip(b"\0"))
                yield path, max(used, 64)
            elif name in ("format", "shards"):
                yield path, os.path.getsize(path)


def flip(pick, data, files):
    """Which bits were turned."""
    path, size = pick.choice(files)
    full = os.path.join(data, path)
    places = []
    with open(full, "r+b") as file:
        at = pick.randrange(size)
        for _ in range(pick.randrange(1, 9)):
            file.seek(at)
            byte = file.read(1)[0]
            bit = pick.randrange(8)
            file.seek(at)
            file.write(bytes([byte ^ 1 << bit]))
            places.append("%s@%d.%d" % (path, at, bit))
            at = min(size - 1, at + pick.randrange(64)) if pick.random() < 0.5 else \
                pick.randrange(size)
    return places


def look(server):
    """How it answers: counts of right and of found out; Failure where it lies."""
    seen = collections.Counter()
    line = server.line()
    for number in range(KEYS):
        line.send("GET hdd key%d\n" % number)
        reply = line.read_line()
        check(reply.endswith(b"\n"), "the server ended while it was read: %r" % server.process.poll())
        if reply == value_of(number).encode() + b"\n":
            seen["right"] += 1
        elif reply.startswith((b"+ERR CORRUPT", b"+ERR UNAVAILABLE")):
            seen["found out"] += 1
        else:
            raise Failure("key%d is %.80r" % (number, reply))
    line.close()
    found = set()
    while True:
        answer = server.rpc("Broker.Receive", {"queue": QUEUE, "max": 1000})
        if "error" in answer:
            seen["found out"] += 1
            return seen
        messages = answer["result"]["messages"]
        if not messages:
            break
        for message in messages:
            check(message["payload"].startswith("message") and message["payload"][7:].isdigit() and
                  int(message["payload"][7:]) < MESSAGES, "a message is %.80r" % message["payload"])
            found.add(message["payload"])
    if len(found) < MESSAGES:
        check("damaged" in server.log_text() or "checksum" in server.log_text() or
              "fewer than were counted" in server.log_text(),
              "%d of %d messages came, and no line says why" % (len(found), MESSAGES))
        seen["found out"] += 1
    return seen


def run(runner, rounds):
    outcomes = collections.Counter()
    for killed in (False, True):
        origin = runner.room()
        fill(origin, killed)
        data = os.path.join(origin, "data")
        files = [(os.path.relpath(path, data), size) for path, size in targets(data)]
        for _ in range(rounds // 2):
            outcomes[attack(runner, data, files)] += 1
    runner.say("%d times bits were turned: %s" % (
        sum(outcomes.values()), ", ".join("%s %d" % pair for pair in sorted(outcomes.items()))))


def attack(runner, data, files):
    place = runner.room()
    shutil.copytree(data, os.path.join(place, "data"))
    turned = flip(runner.random, os.path.join(place, "data"), files)
    server = None
    try:
        try:
            server = Server("--write-buffer", "1m", keep=place)
        except Failure as failure:
            check("did not start: " in str(failure) and "hati: " in str(failure), str(failure))
            return "refused at start"
        wait_until(lambda: "verified" in server.log_text() or "damaged" in server.log_text(),
                   "every record to be looked at")
        seen = look(server)
        return "found out when read" if seen["found out"] else "harmless"
    except (Failure, OSError) as failure:
        if server and "is damaged" in server.log_text() and server.process.wait(PATIENCE) == 1:
            return "ended with a line"
        status = server.process.poll() if server else None
        if server and status is None:
            server.kill()
        runner.keep(place)
        raise Failure("%s: %s; status %s" % (turned, failure, status)) from failure
    finally:
        if server:
            server.close()
        shutil.rmtree(place, ignore_errors=True)
