# SPDX-License-Identifier: MIT
"""The contract suite, each of its servers on the engine: PostgreSQL, pgbouncer, CockroachDB."""
import os
import subprocess
import sys

import pgbouncer
import postgres
from case_nodes import database
from harness import Failure, check

SUITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "contract", "run")
# Parts of names of cases, where not all are run: what is the same behind every door.
THROUGH_PGBOUNCER = ("REST", "survives", "batch", ": watch,")
THREE_NODES = ("REST", "kv-store", ": watch,")


def parts(quick):
    return ("",) if os.environ.get("HATI_PG_WHOLE") else quick


def contract(runner, url, wanted="", nodes=1):
    """Its failures are shown as it prints them."""
    environment = dict(os.environ, HATI_TEST_ENGINE_URL=url, HATI_TEST_ENGINE_NODES=str(nodes))
    done = subprocess.run([sys.executable, SUITE, runner.build, wanted], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = done.stdout.decode(errors="replace").rstrip().split("\n")
    if done.returncode:
        raise Failure("%d cases\n%s" % (sum(line.startswith("FAIL") for line in lines),
                                        "\n".join(lines)))
    check(" 0 passed" not in " " + lines[-1], "no case has %r in its name" % wanted)
    runner.say("%s%s" % (wanted and wanted + ": ", lines[-1]))


def the_contract_holds_on_postgresql(runner):
    with database(fsync="off") as db:
        contract(runner, db.url())
        made = db.psql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'hati_test_%'")
        check(int(made) > 5, "the servers stood on something else")


def the_contract_holds_where_three_nodes_take_turns(runner):
    with database(fsync="off") as db:
        for wanted in parts(THREE_NODES):
            contract(runner, db.url(), wanted, nodes=3)


def the_contract_holds_through_pgbouncer(runner):
    reason = pgbouncer.why_not()
    if reason:
        raise runner.skip(reason)
    with database(fsync="off") as db:
        bouncer = pgbouncer.Pgbouncer(db).start()
        try:
            for wanted in parts(THROUGH_PGBOUNCER):
                contract(runner, bouncer.url(), wanted)
        finally:
            bouncer.close()


def the_contract_holds_on_cockroachdb(runner):
    url = os.environ.get("HATI_TEST_COCKROACH_URL")
    if not url:
        raise runner.skip("HATI_TEST_COCKROACH_URL names none")
    try:
        contract(runner, url)
    finally:
        drop_schemas(url)


def drop_schemas(url):
    """Those of the suite: that database is not ours."""
    names = postgres.psql(url, "SELECT schema_name FROM information_schema.schemata"
                          " WHERE schema_name LIKE 'hati_test_%'").split()
    for name in names:
        postgres.psql(url, "DROP SCHEMA %s CASCADE" % name)


CASES = [the_contract_holds_on_postgresql, the_contract_holds_where_three_nodes_take_turns,
         the_contract_holds_through_pgbouncer, the_contract_holds_on_cockroachdb]
