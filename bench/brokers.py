# SPDX-License-Identifier: MIT
"""Hati's broker beside beanstalkd, redis Streams, NATS core and JetStream.

One load (bench/broker_load.c) speaks all their protocols, 100-byte messages, and counts at the end
of each measurement that every message came exactly once. Every measurement has a server of its own,
with an empty directory. RabbitMQ is not among them: AMQP and an Erlang system are not in this load.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile

from measure import BUILD, Hati, free_port, load, note, pinned, results, settings, stop, wait_for

ECHO = "(bare echo, as many round trips)"
WAYS = [(1, 1), (1, 32), (50, 1), (50, 32)]  # connections, messages in flight on each


class Peer:
    """A server of somebody else's on core 0, with a directory of its own."""

    def __init__(self, *words):
        self.dir = tempfile.mkdtemp(prefix="hati-bench-", dir=os.environ.get("BENCH_DIR"))
        self.tcp = free_port()
        words = [word.format(port=self.tcp, dir=self.dir) for word in words]
        self.process = pinned(0, *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.tcp)

    def close(self):
        stop(self.process)
        shutil.rmtree(self.dir)


BEANSTALKD = "beanstalkd", "-l", "127.0.0.1", "-p", "{port}"
REDIS = ("redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{dir}",
         "--auto-aof-rewrite-percentage", "0", "--appendfsync", "always", "--appendonly")
NATS = "nats-server", "-a", "127.0.0.1", "-p", "{port}"
SYSTEMS = {  # name: how to start it, how to talk to it, whether it keeps what nobody waits for
    "hati memory": (Hati, ["hati", "--storage", "memory"], True),
    "hati memory, SUBSCRIBE": (Hati, ["hati-push", "--storage", "memory"], True),
    "beanstalkd": (lambda: Peer(*BEANSTALKD), ["beanstalk"], True),
    "redis Streams, no file": (lambda: Peer(*REDIS, "no"), ["redis"], True),
    "NATS core": (lambda: Peer(*NATS), ["nats"], False),
    "hati hdd": (Hati, ["hati", "--storage", "hdd"], True),
    "hati hdd, SUBSCRIBE": (Hati, ["hati-push", "--storage", "hdd"], True),
    "beanstalkd -b -f0": (lambda: Peer(*BEANSTALKD, "-b", "{dir}", "-f0"), ["beanstalk"], True),
    "redis Streams, always": (lambda: Peer(*REDIS, "yes"), ["redis"], True),
    "JetStream file, unsynced": (lambda: Peer(*NATS, "-js", "-sd", "{dir}"), ["jetstream"], True),
}


def ask_load(server, dialect, mode, *words):
    out = load(os.path.join(BUILD, "bench_broker_load"), "--port", server.tcp, "--dialect", *dialect,
               "--mode", mode, *words)
    return json.loads(out)


def measure(name, mode, *words):
    """A fresh server, one mode of the load, what it saw; None where that failed (and says why)."""
    start, dialect, _ = SYSTEMS[name]
    server = start()
    try:
        return ask_load(server, dialect, mode, *words)
    except subprocess.CalledProcessError as failed:
        print("%s, %s: FAILED: %s%s" % (name, mode, failed.stdout.decode(), failed.stderr.decode()),
              flush=True)
        return None
    finally:
        server.close()


def both_phases(name, connections, depth):
    """Publish, receive+ack, both one after the other, and all at once: messages per second."""
    words = ["--connections", connections, "--depth", depth, "--seconds", settings.broker_seconds]
    turns = measure(name, "turns" if SYSTEMS[name][2] else "publish", *words) or {}
    flow = measure(name, "flow", *words) or {}
    return [turns.get("publish_per_second"), turns.get("consume_per_second"),
            turns.get("both_per_second"), flow.get("through_per_second")]


def middle_of(rounds):
    columns = [[figure for figure in column if figure] for column in zip(*rounds)]
    return [statistics.median(column) if column else None for column in columns]


def show(figure):
    return "{:,.0f}".format(figure) if figure else "-"


def echo(connections, depth):
    """What the same load sees of a server that does nothing: one round trip for a publish and, one
    at a time, two for receive and ACK."""
    port = free_port()
    server = pinned(0, os.path.join(BUILD, "bench_echo"), port, stdout=subprocess.DEVNULL)
    wait_for(port)
    seen = json.loads(load(os.path.join(BUILD, "bench_line_load"), "--port", port, "--mode", "echo",
                           "--connections", connections, "--depth", depth, "--seconds",
                           settings.broker_seconds))["per_second"]
    stop(server)
    return [seen, seen / 2, seen / 3, None] if depth == 1 else [seen, None, None, None]


def compare(names, connections, depth):
    """A table of one way of asking; figures by system."""
    rounds = {name: [] for name in names + [ECHO]}
    for _ in range(settings.rounds):
        rounds[ECHO].append(echo(connections, depth))
        for name in names:
            rounds[name].append(both_phases(name, connections, depth))
    seen = {name: middle_of(rows) for name, rows in rounds.items()}
    print("\n%-34s %12s %12s %12s %12s" % (
        "%d connection%s, %d in flight on each" % (connections, "s" * (connections > 1), depth),
        "publish/s", "receive+ack", "both", "end to end"))
    for name, figures in seen.items():
        print("%-34s" % name, *("%12s" % show(figure) for figure in figures), flush=True)
        results.append({"what": "broker: " + name, "connections": connections, "depth": depth,
                        "publish": figures[0], "receive_ack": figures[1], "both": figures[2],
                        "end_to_end": figures[3]})
    return seen


def judge(what, figure, beside, against, least, bare=None):
    """Pass or miss; where a bare echo would miss too, its ratio is said beside."""
    if figure and beside:
        wanted = "%g" % least
        if bare and bare / beside < least:
            wanted += " (a bare echo: %.2f)" % (bare / beside)
        note(what, figure, beside, against, wanted, passed=figure / beside >= least)
    else:
        print("%-56s not measured" % what)


def judge_all(seen):
    """The goals that compare throughput."""
    columns = {"publish": 0, "receive+ack": 1, "publish, receive+ack": 2, "end to end": 3}
    print()
    for (connections, depth), figures in seen.items():
        def one(column, name, against, least):
            if name in figures and against in figures:
                judge("%s %s, %d x %d" % (name, column, connections, depth),
                      figures[name][columns[column]], figures[against][columns[column]], against,
                      least, figures[ECHO][columns[column]])
        for name in ("hati memory", "hati memory, SUBSCRIBE"):
            one("publish, receive+ack", name, "beanstalkd", 2)
            one("end to end", name, "beanstalkd", 2)
        if connections == 50:
            for column in ("publish", "receive+ack"):
                one(column, "hati hdd", "beanstalkd -b -f0", 5)
                one(column, "hati hdd", "redis Streams, always", 1)
                if depth == 1:
                    one(column, "hati hdd", "JetStream file, unsynced", 1)
    stream, hati = seen[1, 1].get("JetStream file, unsynced"), seen[50, 1].get("hati hdd")
    if stream and hati:
        judge("hati hdd publish, 50 x 1", hati[0], stream[0], "JetStream one by one, 1 x 1", 1)


def compare_latency(names):
    print()
    for name in names:
        seen = measure(name, "latency")
        if seen:
            wanted = "under 100" if name == "hati memory, SUBSCRIBE" else None
            note("publish to frame, %s: median" % name, seen["median_us"], unit=" us", target=wanted,
                 passed=seen["median_us"] < 100 if wanted else None)
            note("publish to frame, %s: p99" % name, seen["p99_us"], unit=" us")


def compare_lengths():
    """A long queue against a short one; what the server keeps in memory for it. On hdd that is what
    is not in LMDB yet (64 MiB at most), however long the queue."""
    print()
    rounds = settings.rounds if settings.standing <= 1000000 else 1
    for storage in ("memory", "hdd"):
        pairs = [(measure_length(storage, 1000), measure_length(storage, settings.standing))
                 for _ in range(rounds)]
        if not all(one and other for one, other in pairs):
            continue
        short, long = ({what: statistics.median(seen[what] for seen in column) for what in
                        ("consume_per_second", "own_kib", "all_kib")} for column in zip(*pairs))
        what = "hati %s receive+ack, queue of %s" % (storage, show(settings.standing))
        note(what, long["consume_per_second"], short["consume_per_second"], "queue of 1,000",
             "0.67", passed=long["consume_per_second"] * 1.5 >= short["consume_per_second"])
        grown_kib = long["own_kib"] - short["own_kib"]
        note("  its own memory", long["own_kib"] * 1024, short["own_kib"] * 1024, "queue of 1,000",
             "96 MiB more at most" if storage == "hdd" else None, unit=" bytes",
             passed=grown_kib < 96 * 1024 if storage == "hdd" else None)
        note("  resident, pages of files included", long["all_kib"] * 1024, short["all_kib"] * 1024,
             "queue of 1,000", unit=" bytes")


def measure_length(storage, standing):
    server = Hati()
    try:
        return ask_load(server, ["hati", "--storage", storage], "drain", "--standing", standing,
                        "--connections", 4, "--depth", 16, "--seconds", settings.seconds, "--pid",
                        server.process.pid)
    except subprocess.CalledProcessError as failed:
        print("queue of %d: FAILED: %s%s" % (standing, failed.stdout.decode(),
                                             failed.stderr.decode()))
        return None
    finally:
        server.close()


def tell(sock, lines):
    """Sends lines in portions that the answers keep up with; every answer must be +OK."""
    answers = sock.makefile("rb")
    for at in range(0, len(lines), 1000):
        portion = lines[at:at + 1000]
        sock.sendall("".join(line + "\n" for line in portion).encode())
        for line in portion:
            answer = answers.readline()
            if answer != b"+OK\n":
                raise SystemExit("%s: %s" % (line, answer))


def measure_bindings(count):
    """Publishes by a direct router that has so many bindings, one of which fits."""
    server = Hati()
    try:
        with socket.create_connection(("127.0.0.1", server.tcp)) as sock:
            tell(sock, ["CREATEROUTER r direct", "CREATEQUEUE q memory", "CREATEQUEUE other memory",
                        "BIND r q k"] + ["BIND r other k%d" % i for i in range(1, count)])
        return ask_load(server, ["hati", "--storage", "memory"], "turns", "--router", "r", "--key",
                        "k", "--connections", 50, "--depth", 32, "--seconds",
                        settings.broker_seconds)["publish_per_second"]
    except subprocess.CalledProcessError as failed:
        print("%d bindings: FAILED: %s%s" % (count, failed.stdout.decode(), failed.stderr.decode()))
        return None
    finally:
        server.close()


def compare_bindings():
    print()
    rounds = [(measure_bindings(10000), measure_bindings(10)) for _ in range(settings.rounds)]
    many, few = middle_of(rounds)
    judge("direct publish, 10,000 bindings", many, few, "10 bindings", 0.5)


def bench_broker():
    programs = {"beanstalkd": "beanstalkd", "redis": "redis-server", "NATS": "nats-server",
                "JetStream": "nats-server", "hati": "taskset"}
    names = []
    for name in SYSTEMS:
        program = programs[name.split()[0]]
        if shutil.which(program):
            names.append(name)
        else:
            print("%s is left out: %s is not installed (./dev bench does)" % (name, program))
    print("broker: 100-byte messages; RabbitMQ is left out (this load does not speak AMQP)")
    print("NATS core keeps nothing and acknowledges nothing; JetStream's publishes are answered "
          "before they are synced")
    compare_latency(names)
    compare_lengths()
    compare_bindings()
    judge_all({way: compare(names, *way) for way in WAYS})
