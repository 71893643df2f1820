# SPDX-License-Identifier: MIT
"""hati on PostgreSQL beside pgbench with the same statements on the same server, in one run.

One PostgreSQL is started in a temporary directory (fsync on, as it ships but for more shared
buffers) and serves all. Nothing is pinned: pgbench, or load and hati, share the machine with it.
Sides take turns, settings.rounds times, and the best of each counts: what else the machine does
makes a figure lower, never higher."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from measure import BUILD, HERE, free_port, note, settings, started, stop, wait_for

sys.path += [os.path.join(HERE, "..", "tests", "pg"), os.path.join(HERE, "..", "tests", "contract")]
import postgres  # noqa: E402

CONNECTIONS = 50
KEYS = 100000
SCHEMA = "bench"
FIRST = 1000000000000000  # pgbench's keys: numbers of 16 digits, as bytes; as long as hati's
WORKSPACE = "11111111-2222-3333-4444-555555555555"
NAMESPACE = "default"
ONE_KEY = ["ARRAY['%s'::uuid]" % WORKSPACE, "ARRAY['%s'::bytea]" % NAMESPACE,
           "ARRAY[:key::bytea]"]
EMPTY, ZERO = "ARRAY[''::bytea]", "ARRAY[0::int8]"
PLAIN = {
    "GET": "SELECT value FROM {t} WHERE ws = '%s' AND ns = '%s' AND key = :key::bytea"
           % (WORKSPACE, NAMESPACE),
    "SET": "INSERT INTO {t} AS t (ws, ns, key, value, ctype, rev, expires) VALUES ('%s', '%s',"
           " :key::bytea, :value::bytea, '', 1, 0) ON CONFLICT (ws, ns, key) DO UPDATE SET"
           " value = excluded.value, rev = t.rev + 1" % (WORKSPACE, NAMESPACE),
}
OURS = {
    "GET": ("keys_read", ONE_KEY + [ZERO]),
    "SET": ("keys_upsert", ONE_KEY + ["ARRAY[NULL::bytea]", "ARRAY[:value::bytea]", EMPTY, ZERO,
                                      ZERO]),
}


def statement(what, how, table):
    """What pgbench repeats: what a client of PostgreSQL would say (plain), or the very statement of
    hati, for one key."""
    table = "%s.%s" % (SCHEMA, table)
    if how == "plain":
        return PLAIN[what].format(t=table)
    name, values = OURS[what]
    listed = run([os.path.join(BUILD, "hati"), "help", "sql"])
    text = re.search("### %s\n.*?```sql\n(.*?)\n```" % name, listed, re.S).group(1)
    for i, value in enumerate(values):
        text = re.sub(r"\$%d::\w+\[\]" % (i + 1), lambda _: value, text)
    return text.replace("hati.kv", table)


class Database:
    def __init__(self):
        self.server = postgres.Postgres(shared_buffers="'512MB'", max_wal_size="'4GB'",
                                        checkpoint_timeout="'30min'", wal_level="minimal",
                                        max_wal_senders="0", fsync="on").start()
        self.url = self.server.url()
        self.scripts = tempfile.mkdtemp(prefix="hati-bench-")

    def sql(self, text):
        return self.server.psql(text.format(s=SCHEMA), patience=600)

    def fill(self, keys, table="kv"):
        """Keys of pgbench and of the loads, as many of each, with values of 100 bytes."""
        self.sql("TRUNCATE {s}.%s" % table)
        for prefix, first in (("", FIRST), ("key:", 0)):
            self.sql("INSERT INTO {s}.%s SELECT '%s', '%s', convert_to('%s' ||"
                     " lpad((%d + i)::text, %d, '0'), 'UTF8'), NULL, convert_to(repeat('v', 100),"
                     " 'UTF8'), '', 1, 0 FROM generate_series(0, %d) AS i"
                     % (table, WORKSPACE, NAMESPACE, prefix, first, 16 - len(prefix), keys - 1))
        self.sql("VACUUM ANALYZE {s}.%s" % table)

    def pgbench(self, what, how, table="kv", keys=KEYS, connections=CONNECTIONS):
        path = os.path.join(self.scripts, "script")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\\set key random(%d, %d)\n%s;\n"
                       % (FIRST, FIRST + keys - 1, statement(what, how, table)))
        done = run(["pgbench", "-n", "-M", "prepared", "-c", connections, "-j", 1, "-T",
                    settings.seconds, "-D", "value=" + "v" * 100, "-f", path,
                    "-h", "127.0.0.1", "-p", self.server.port, "-U", postgres.USER,
                    postgres.DATABASE])
        return float(done.rpartition("tps = ")[2].split()[0])

    def close(self):
        self.server.close()
        shutil.rmtree(self.scripts)


class Node:
    def __init__(self, database, *flags):
        self.dir = tempfile.mkdtemp(prefix="hati-bench-")
        self.tcp, self.http = free_port(), free_port()
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "hati"), "start", "--engine", database.url, "--engine-schema",
             SCHEMA, "--data-dir", os.path.join(self.dir, "data"), "--tcp-port", str(self.tcp),
             "--rpc-port", str(self.http), "--rpc-host", "127.0.0.1", "--tcp-host", "127.0.0.1",
             "--advertise", "127.0.0.1:%d" % self.http, "--log-level", "warn", *flags],
            stdout=subprocess.DEVNULL)
        started.append(self.process)
        wait_for(self.tcp)
        wait_for(self.http)

    def tell(self, line):
        """One line, one answer."""
        with socket.create_connection(("127.0.0.1", self.tcp)) as sock:
            sock.sendall(line.encode() + b"\n")
            return sock.makefile().readline().strip()

    def close(self):
        stop(self.process)
        shutil.rmtree(self.dir)


def run(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit("%s: %s" % (command[0], done.stderr.decode()[-500:]))
    return done.stdout.decode()


def lines(nodes, mode, kind="hdd", depth=1, keys=KEYS, value_bytes=100, connections=CONNECTIONS,
          whole=False):
    out = json.loads(run([os.path.join(BUILD, "bench_line_load"), "--port",
                          ",".join(str(node.tcp) for node in nodes), "--mode", mode, "--type", kind,
                          "--depth", depth, "--keys", keys, "--value-bytes", value_bytes,
                          "--connections", connections, "--seconds", settings.seconds]))
    return out if whole else out["per_second"]


def messages(nodes, mode, storage, depth=1, connections=CONNECTIONS, dialect="hati"):
    """The queue is there before, so that every node knows it, and is empty."""
    nodes[0].tell("DELETEQUEUE q")
    nodes[0].tell("CREATEQUEUE q " + storage)
    return json.loads(run([os.path.join(BUILD, "bench_broker_load"), "--dialect", dialect, "--port",
                           ",".join(str(node.tcp) for node in nodes), "--mode", mode, "--storage",
                           storage, "--depth", depth, "--connections", connections, "--seconds",
                           settings.seconds]))


def http(node, mode, kind="hdd"):
    """One thread; its requests, for 5000 of the keys, are made before: the load is not measured."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("local made, at = {}, 0\n"
                     "init = function()\n"
                     " local body = %s\n"
                     " for i = 1, 5000 do\n"
                     "  local key = string.format('key:%%012d?type=%s', math.random(0, %d))\n"
                     "  made[i] = wrk.format('%s', '/api/default/' .. key, nil, body)\n"
                     " end\nend\n"
                     "request = function()\n at = at %% 5000 + 1\n return made[at]\nend\n"
                     % ("nil" if mode == "get" else "string.rep('v', 100)", kind, KEYS - 1,
                        "GET" if mode == "get" else "PUT"))
        script.flush()
        out = run(["wrk", "-t1", "-c", CONNECTIONS, "-d", "%ds" % settings.seconds, "-s",
                   script.name, "http://127.0.0.1:%d" % node.http])
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit("errors: " + out)
    return float(out.rpartition("Requests/sec:")[2].split()[0])


def best(*measures):
    """Each measure in turn, settings.rounds times; the best of each."""
    rounds = [[measure() for measure in measures] for _ in range(settings.rounds)]
    return [max(one) for one in zip(*rounds)]


def compare_with_pgbench(database, node):
    for kind, table in (("hdd", "kv"), ("memory", "kv_mem")):
        database.fill(KEYS, table)
        for what, mode in (("GET", "get"), ("SET", "set")):
            plain, same, web, line, deep = best(
                lambda: database.pgbench(what, "plain", table),
                lambda: database.pgbench(what, "ours", table),
                lambda: http(node, mode, kind),
                lambda: lines([node], mode, kind),
                lambda: lines([node], mode, kind, 32))
            for how, figure in (("HTTP", web), ("lines", line)):
                against = max(plain, same)
                note("engine: %s %s %s, %d connections" % (how, what, kind, CONNECTIONS), figure,
                     against, "pgbench's best", "0.7", passed=figure >= 0.7 * against)
            note("engine: lines %s %s, 32 in flight on each" % (what, kind), deep)
            note("engine: pgbench, %s plain, %s" % (what, kind), plain)
            note("engine: pgbench, %s %s, %s" % (what, OURS[what][0], kind), same)


def compare_node_counts(database):
    database.fill(KEYS)
    nodes = [Node(database) for _ in range(6)]
    for mode in ("get", "set"):
        counts = (1, 2, 3, 6)
        figures = best(*[lambda n=n: lines(nodes[:n], mode, depth=4) for n in counts])
        for n, figure in zip(counts, figures):
            note("engine: lines %s hdd, %d nodes, %d connections x 4" % (mode, n, CONNECTIONS),
                 figure, figures[0], "1 node", "1" if n == 3 else None)
    database.sql("TRUNCATE {s}.kv")  # numbers from here on
    ones, threes, sames = best(lambda: lines(nodes[:1], "incr", keys=1),
                               lambda: lines(nodes[:3], "incr", keys=1),
                               lambda: lines(nodes[:3], "incr"))
    one_row, = best(lambda: database.pgbench("SET", "plain", keys=1))
    note("engine: pgbench, SET plain of one key", one_row)
    note("engine: INCR of one key, 1 node", ones)
    note("engine: INCR of one key from 3 nodes", threes, ones, "1 node")
    note("engine: INCR of %d keys from 3 nodes" % KEYS, sames)
    contention(nodes)
    for node in nodes:
        node.close()


def contention(nodes):
    for storage in ("hdd", "memory"):
        rounds = [[messages(nodes[:n], "turns", storage, 16)["consume_per_second"]
                   for n in (1, 3, 6)] for _ in range(settings.rounds)]
        figures = [max(one) for one in zip(*rounds)]
        for n, figure in zip((1, 3, 6), figures):
            note("engine: receive + ACK of one %s queue, %d nodes, batches of 16" % (storage, n),
                 figure, figures[0], "1 node")


def measure_messages(node):
    for storage in ("hdd", "memory"):
        for depth in (1, 16):
            rounds = [messages([node], "turns", storage, depth) for _ in range(settings.rounds)]
            for what in ("publish", "consume"):
                note("engine: %s, %s, %d connections x %d" %
                     ("publish" if what == "publish" else "receive + ACK", storage, CONNECTIONS,
                      depth), max(one[what + "_per_second"] for one in rounds))
            flow = max(messages([node], "flow", storage, depth)["through_per_second"]
                       for _ in range(settings.rounds))
            note("engine: through, %s, %d and %d connections x %d" %
                 (storage, CONNECTIONS, CONNECTIONS, depth), flow)
    for dialect in ("hati", "hati-push"):
        seen = min((messages([node], "latency", "hdd", dialect=dialect)
                    for _ in range(settings.rounds)), key=lambda one: one["median_us"])
        note("engine: publish to delivery, hdd, idle, %s, median" % dialect, seen["median_us"],
             unit=" us")


def measure_growth(database, node):
    for keys in settings.engine_keys:
        database.fill(keys)
        plain, get, put = best(lambda: database.pgbench("GET", "plain", keys=keys),
                               lambda: lines([node], "get", keys=keys),
                               lambda: lines([node], "set", keys=keys))
        note("engine: lines GET hdd of %d keys" % keys, get, plain, "pgbench plain")
        note("engine: lines SET hdd of %d keys" % keys, put)
    database.fill(KEYS)
    for size in (10, 100, 1000, 10000, 65536):
        keys = min(KEYS, 200000000 // size // 10)
        put, get = best(lambda: lines([node], "set", keys=keys, value_bytes=size),
                        lambda: lines([node], "get", keys=keys))
        note("engine: lines SET hdd, %d bytes" % size, put)
        note("engine: lines GET hdd, %d bytes" % size, get)
    database.fill(KEYS)
    for connections in (1, 10, 50, 200, 1000):
        seen = max((lines([node], "set", connections=connections, whole=True)
                    for _ in range(settings.rounds)), key=lambda one: one["per_second"])
        note("engine: lines SET hdd, %d connections (median %d us)" % (connections,
                                                                       seen["median_us"]),
             seen["per_second"])
    for count in (2, 4, 10, 20):
        other = Node(database, "--engine-connections", str(count))
        get, put = best(lambda: lines([other], "get"), lambda: lines([other], "set"))
        note("engine: lines GET hdd, %d connections to the database" % count, get)
        note("engine: lines SET hdd, %d connections to the database" % count, put)
        other.close()


def measure_sweep(database, node):
    count = 20000 if settings.rounds == 1 else 200000
    database.fill(KEYS)
    before = lines([node], "get")
    database.sql("INSERT INTO {s}.kv SELECT '%s', 'swept', int8send(i), NULL, 'v', '', 1, 1"
                 " FROM generate_series(1, %d) AS i" % (WORKSPACE, count))
    start = time.monotonic()
    meanwhile = lines([node], "get")
    while database.sql("SELECT 1 FROM {s}.kv WHERE expires > 0 LIMIT 1"):
        time.sleep(0.05)
    note("engine: expired keys swept by 1 node", count / (time.monotonic() - start))
    note("engine: lines GET hdd meanwhile", meanwhile, before, "before")


def measure_due(database, node):
    """Leases that ended, all at once."""
    count = 10000 if settings.rounds == 1 else 100000
    node.tell("DELETEQUEUE q")
    node.tell("CREATEQUEUE q hdd")
    database.sql("INSERT INTO {s}.msg SELECT q.id, 5, i, 1, 7, 1, 0, 1, 'id', 'q', '', repeat('v',"
                 " 100)::bytea, 0, '', 0 FROM {s}.queue AS q, generate_series(1, %d) AS i"
                 " WHERE NOT q.gone AND q.name = 'q'" % count)
    start = time.monotonic()
    while database.sql("SELECT 1 FROM {s}.msg WHERE due > 0 LIMIT 1"):
        time.sleep(0.05)
    note("engine: leases that ended and are ready again, 1 node",
         count / (time.monotonic() - start))
    node.tell("DELETEQUEUE q")


def measure_idle(database):
    """Statements a second that nodes send while nobody asks anything of them."""
    def rate():
        seen = []
        for _ in range(2):
            seen.append((time.monotonic(), int(database.sql(
                "SELECT sum(calls) FROM pg_stat_statements WHERE query !~ 'pg_stat'"))))
            if len(seen) == 1:
                time.sleep(10 if settings.rounds > 1 else 4)
        return (seen[1][1] - seen[0][1]) / (seen[1][0] - seen[0][0])
    database.server.settings["shared_preload_libraries"] = "'pg_stat_statements'"
    database.server.restart()
    database.sql("CREATE EXTENSION pg_stat_statements")
    for count in (1, 3, 6):
        nodes = [Node(database) for _ in range(count)]
        time.sleep(3)
        note("engine: statements of %d idle nodes" % count, rate())
        if count == 3:
            waiting = []
            for i in range(300):
                nodes[i % 3].tell("CREATEQUEUE idle%d" % i)
                sock = socket.create_connection(("127.0.0.1", nodes[i % 3].tcp))
                sock.sendall(b"SUBSCRIBE idle%d 1\n" % i)
                waiting.append(sock)
            time.sleep(5)
            note("engine: statements of 3 nodes with 100 idle subscriptions each", rate())
            for sock in waiting:
                sock.close()
            for i in range(300):
                nodes[0].tell("DELETEQUEUE idle%d" % i)
        for node in nodes:
            node.close()


PARTS = ("keys", "messages", "nodes", "growth", "sweep", "idle")


def bench_engine():
    wanted = [part for part in os.environ.get("BENCH_ENGINE", ",".join(PARTS)).split(",") if part]
    why = postgres.why_not()
    if why:
        print("engine: left out: %s" % why)
        return
    print("engine: load average %.1f at the start; best of %d" % (os.getloadavg()[0],
                                                                  settings.rounds))
    database = Database()
    try:
        node = Node(database)
        if "keys" in wanted:
            compare_with_pgbench(database, node)
        if "messages" in wanted:
            measure_messages(node)
        if "growth" in wanted:
            measure_growth(database, node)
        if "sweep" in wanted:
            measure_sweep(database, node)
            measure_due(database, node)
        node.close()
        if "nodes" in wanted:
            compare_node_counts(database)
        if "idle" in wanted:
            measure_idle(database)
    finally:
        database.close()
