# SPDX-License-Identifier: MIT
"""Answers of the database are lost: what was carried out must be found out, or called unknown."""
import contextlib
import time

from case_nodes import cluster, database, needs_haproxy
from cluster import Node, fresh_schema
from harness import check, same
from postgres import DATABASE
from process import wait_until
from wire import Wire
from workload import Load, key_path


@contextlib.contextmanager
def wire_to(db, seed):
    wire = Wire(db.address, db.port, seed)
    try:
        yield wire
    finally:
        wire.close()


def answers_of_the_database_are_lost(runner):
    needs_haproxy(runner)
    with database() as db, wire_to(db, runner.seed) as wire, cluster(wire.url(db)) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        for requests, answers in ((0, 0.02), (0.02, 0), (0.005, 0.005)):
            wire.lose_requests, wire.lose_answers = requests, answers
            load.work(runner.seconds)
            load.goes_on()
        wire.lose_requests = wire.lose_answers = 0
        nodes.wait_ready()
        load.goes_on()
        runner.say("%d connections lost behind a request or before an answer" % wire.losses)
        check(wire.losses > 10, "too few losses to tell")
        load.finish(runner)


def a_database_that_falls_silent_costs_no_more_than_the_deadline(runner):
    with database() as db, wire_to(db, runner.seed) as wire:
        node = Node(wire.url(db), fresh_schema(), "--engine-timeout", "1s")
        try:
            same(node.request("PUT", "/api/a/b", "1").status, 204)
            wire.freeze()
            for method, body in (("GET", None), ("PUT", "2"), ("DELETE", None)):
                start = time.monotonic()
                answer = node.request(method, "/api/a/b", body)
                same(answer.status, 503, method)
                check(time.monotonic() - start < 10, "%s took %.1f s" % (
                    method, time.monotonic() - start))
            wait_until(lambda: node.request("GET", "/readyz").status == 503, "readyz", 30)
            wire.thaw()
            wait_until(lambda: node.request("PUT", "/api/a/b", "3").status == 204, "heals", 30)
            wait_until(lambda: node.request("GET", "/readyz").status == 200, "ready again", 30)
        finally:
            node.close()


def transactions_are_serializable(runner):
    """As on CockroachDB, the database refuses some with 40001: nobody hears of it."""
    needs_haproxy(runner)
    with database(fsync="off", default_transaction_isolation="'serializable'") as db, \
            cluster(db.url()) as nodes:
        load = Load(nodes.client, runner.seed).start()
        load.goes_on()
        load.work(runner.seconds)
        load.finish(runner)
        runner.say("%s transactions were rolled back" % db.psql(
            "SELECT xact_rollback FROM pg_stat_database WHERE datname = '%s'" % DATABASE))
        counts = load.tally.counts
        check(counts["unknown"] + counts["not applied"] == 0, "clients heard of it: %s" % counts)


COMMITTED = b"C\0\0\0\x0bCOMMIT\0"  # as the protocol has it: kind, length, tag


def refusal(state):
    fields = b"SERROR\0VERROR\0C" + state.encode() + b"\0Mplanted\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


def a_commit_of_which_the_database_does_not_know_is_carried_out_once(runner):
    """CockroachDB says 40003 where it cannot tell; nothing may be written again for it."""
    with database(fsync="off") as db, wire_to(db, runner.seed) as wire:
        node = Node(wire.url(db), fresh_schema())
        try:
            same(node.request("POST", key_path("count") + "?op=incr&by=1").body, b"1")
            for state in ("40003", "XX000"):
                changed = []

                def change(data, state=state, changed=changed):
                    if COMMITTED not in data or len(changed) == 3:
                        return data, False
                    changed.append(state)
                    return data.replace(COMMITTED, refusal(state)), False

                wire.change = change
                before = int(node.request("GET", key_path("count")).body)
                answer = node.request("POST", key_path("count") + "?op=incr&by=1")
                same((answer.status, int(answer.body)), (200, before + 1), state)
                wire.change = None
                same(int(node.request("GET", key_path("count")).body), before + 1, state)
                check(changed, "no commit was changed")
        finally:
            node.close()


def an_answered_commit_is_believed_though_the_connection_ends_behind_it(runner):
    """Only so the revision of a write that looked at nothing is known."""
    with database(fsync="off") as db, wire_to(db, runner.seed) as wire:
        node = Node(wire.url(db), fresh_schema())
        try:
            cuts = []

            def change(data):
                at = data.find(COMMITTED)
                if at < 0 or cuts:
                    return data, False
                cuts.append(at)
                return data[:at + len(COMMITTED)], True

            wire.change = change
            answer = node.request("PUT", "/api/a/b", "1")
            same(answer.status, 204)
            check(cuts, "nothing was cut")
            same(answer.headers["Hati-Revision"],
                 node.request("GET", "/api/a/b").headers["Hati-Revision"], "revision")
        finally:
            node.close()


def a_revision_that_was_lost_is_not_made_up(runner):
    with database(fsync="off") as db, wire_to(db, runner.seed) as wire:
        node = Node(wire.url(db), fresh_schema())
        try:
            cuts = []

            def change(data):
                at = data.find(COMMITTED)
                if at < 0 or cuts:
                    return data, False
                cuts.append(at)
                return b"", True

            wire.change = change
            answer = node.request("PUT", "/api/a/b", "1")
            same((answer.status, len(cuts)), (204, 1))
            same(answer.headers.get("Hati-Revision"), None, "revision")
            check(node.request("GET", "/api/a/b").headers["Hati-Revision"], "a read tells")
        finally:
            node.close()


CASES = [a_commit_of_which_the_database_does_not_know_is_carried_out_once,
         an_answered_commit_is_believed_though_the_connection_ends_behind_it,
         a_revision_that_was_lost_is_not_made_up,
         answers_of_the_database_are_lost,
         a_database_that_falls_silent_costs_no_more_than_the_deadline,
         transactions_are_serializable]
