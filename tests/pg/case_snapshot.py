# SPDX-License-Identifier: MIT
"""Snapshots between files and a database."""
import contextlib
import subprocess

import cases_snapshot
from case_nodes import database
from cases_snapshot import Place, rpc, same_items, to
from harness import PATIENCE, Server, same
from process import wait_until


@contextlib.contextmanager
def server(url=None):
    kind = type("Kept", (Server,), {"engine": url})
    made = kind("--payload-limit", "8m")
    try:
        yield made
    finally:
        made.close()


def a_snapshot_goes_from_files_to_a_database_and_back(runner):
    with database(fsync="off") as db, Place() as place, server() as files, \
            server(db.url()) as node, server() as back:
        cases_snapshot.fill(files)
        rpc(files, "Storage.Set", type="hdd", key="l" * 3000, value="long key")
        rpc(files, "Storage.Set", type="hdd", key="large", value="x" * (7 << 20))
        rpc(files, "Broker.CreateQueue", queue="once", dedup_window=3600000)
        rpc(files, "Broker.Publish", router="default", key="once", payload="a", id="same")
        wanted = place.lines(*to(files))
        place.good("export", *to(files), "one")
        place.good("import", *to(node), "one")
        same_items(place.lines(*to(node)), wanted)
        place.bad(1, "imported here already", "import", *to(node), "one")
        rpc(node, "Broker.Publish", router="default", key="once", payload="b", id="same")
        same(rpc(node, "Broker.GetQueue", queue="once")["ready"], 1, "an id that was there before")
        got = rpc(node, "Broker.Receive", queue="once", max=1)["messages"]
        same(got[0]["payload"], "a", "what is received")
        rpc(node, "Broker.Nack", queue="once", receipt=got[0]["receipt"])
        engine = ["--engine", db.url(), "--engine-schema", node.schema]
        place.good("export", *engine, "two")
        place.good("import", *to(back), "--replace", "two")
        same(rpc(back, "Broker.Peek", queue="once")["messages"][0]["attempt"], 1, "deliveries")
        rest = lambda lines: [line for line in lines if '"once"' not in line]
        same_items(rest(place.lines(*to(back))), rest(wanted))
        check_revisions(files, back)
        place.good("import", *engine, "--replace", "one")
        same_items(place.lines(*to(node)), wanted)


def check_revisions(files, back):
    """Written later than the snapshot, so greater than all it has."""
    before = rpc(back, "Storage.GetEntry", type="hdd", key="k1")["revision"]
    rpc(back, "Storage.Set", type="hdd", key="k1", value="new")
    after = rpc(back, "Storage.GetEntry", type="hdd", key="k1")["revision"]
    same(after > before > rpc(files, "Storage.GetEntry", type="hdd", key="k1")["revision"], True,
         "revisions %d and %d" % (before, after))


def fill_with_many(files):
    rpc(files, "Broker.CreateQueue", queue="many")
    for number in range(3):
        rpc(files, "Broker.PublishMany", router="default", messages=[
            {"key": "many", "payload": "%d %d %s" % (number, i, "m" * 1000)} for i in range(1000)])
    line = files.line()
    for number in range(1000):
        same(line.ask("SET hdd 0 k%d %s" % (number, "v" * 500)), "+OK", "SET")
    line.close()


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def end_in_the_middle_of_a_block(db, schema, program, how):
    """What it writes waits for a lock by then."""
    lock = subprocess.Popen(
        ["psql", "-XAtq", "-d", db.url()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    lock.stdin.write(b"BEGIN; LOCK TABLE %s.msg IN EXCLUSIVE MODE; SELECT 'locked';\n" % schema.encode())
    lock.stdin.flush()
    same(lock.stdout.readline(), b"locked\n", "the lock")
    import_ = program()
    wait_until(lambda: db.psql(WAITS) != "0", "a block waits")
    db.restart(how)
    lock.communicate(timeout=PATIENCE)
    return import_.wait(PATIENCE)


def an_import_goes_on_over_the_end_of_its_database(runner):
    with Place() as place, server() as files, database(fsync="off") as db:
        fill_with_many(files)
        wanted = place.lines(*to(files))
        place.good("export", *to(files), "one")
        for how in ("kill", "immediate"):
            with server(db.url()) as node:
                schema = node.schema  # made, and left
            engine = ["--engine", db.url(), "--engine-schema", schema]
            status = end_in_the_middle_of_a_block(
                db, schema, lambda at=engine: subprocess.Popen(
                    [Server.binary, "import", *at, "one"], cwd=place.dir,
                    stderr=subprocess.DEVNULL), how)
            if status != 0:
                same(status, 3, "the status of an import that was cut off")
                place.good("import", *engine, "one")
            same_items(place.lines(*engine), wanted)


CASES = [a_snapshot_goes_from_files_to_a_database_and_back,
         an_import_goes_on_over_the_end_of_its_database]
