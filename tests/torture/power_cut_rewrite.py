# SPDX-License-Identifier: MIT
"""Cuts the power while `hati reencrypt` runs: whatever it left, a server with the old key and the new
finds everything, and another run ends what this one began."""
import os
import random
import shutil
import subprocess

from disk_image import Disk
from harness import Failure, Server, check, same
from power_cut import QUEUE, drain
from shim import Control

KEYS = 500
MESSAGES = 120
SECRET = "nobody-may-read-this"


def value_of(number):
    return "%s-%d-%s" % (SECRET, number, "x" * (number % 50 * 40))


def write_keys(path, *keys):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(keys))


def fill(server):
    line = server.line()
    for i in range(KEYS):
        line.send("SET hdd 0 key-%d %s\n" % (i, value_of(i)))
    for i in range(KEYS):
        same(line.read_line(), b"+OK\n", "SET")
    line.close()
    server.rpc("Broker.CreateQueue", {"name": QUEUE, "type": "hdd"})
    for i in range(MESSAGES):
        server.rpc("Broker.Publish", {"router": "default", "key": QUEUE, "payload": value_of(i)})


def compare(server):
    line = server.line()
    for i in range(KEYS):
        same(line.ask("GET hdd key-%d" % i), value_of(i), "key-%d" % i)
    line.close()
    same(drain(server), {value_of(i): 1 for i in range(MESSAGES)}, "messages")


def reencrypt(data, keys, env=None):
    done = subprocess.run([Server.binary, "reencrypt", "--data-dir", data, "--encryption-key-file",
                           keys], env=dict(os.environ, **(env or {})), capture_output=True,
                          timeout=120)
    check(done.returncode == 0, "reencrypt: %r" % done.stderr[-300:])


def run(runner, images):
    pick = random.Random(runner.seed)
    room = runner.room()
    keys, old, new = os.path.join(room, "keys"), os.urandom(32).hex(), os.urandom(32).hex()
    control = Control(runner.library, os.path.join(room, "data"), os.path.join(room, "log.bin"))
    sealed = pick.random() < 0.5  # else it was plain before
    flags = ["--hdd-shards", "2"]
    if sealed:
        write_keys(keys, old)
        flags += ["--encryption-key-file", keys]
    server = Server(*flags, keep=room, env=control.env())
    try:
        fill(server)
        if pick.random() < 0.5:
            server.stop()
        else:
            server.kill()
        first = control.get("events")
        write_keys(keys, new, *([old] if sealed else []))
        reencrypt(os.path.join(room, "data"), keys, control.env())
        last = control.get("events")
        disk = Disk(control.log)
        for cut in sorted(pick.sample(range(first, last), min(images, last - first))):
            disk.advance(cut)
            try_image(runner, disk, cut, pick, keys)
        runner.say("cuts in a rewrite of %d events" % (last - first))
    finally:
        server.kill()
        control.close()
        server.close()


def try_image(runner, disk, cut, pick, keys):
    place = runner.room()
    data = os.path.join(place, "data")
    try:
        disk.image(pick, data)
        if pick.random() < 0.5:
            reencrypt(data, keys)
            found = subprocess.run(["grep", "-rqaF", SECRET, data]).returncode
            check(found != 0, "something is left in plain")
        server = Server("--hdd-shards", "2", "--encryption-key-file", keys, keep=place)
        try:
            compare(server)
        finally:
            server.close()
    except Failure as failure:
        runner.keep(place)
        raise Failure("power cut at event %d: %s" % (cut, failure)) from failure
    finally:
        shutil.rmtree(place, ignore_errors=True)
