# SPDX-License-Identifier: MIT
"""Snapshots between files and a database."""
import contextlib

import cases_snapshot
from case_nodes import database
from cases_snapshot import Place, rpc, same_items, to
from harness import Server, same


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


CASES = [a_snapshot_goes_from_files_to_a_database_and_back]
