# SPDX-License-Identifier: MIT
"""The schema is made by many at once, cut off and newer; hulykvs' entries are taken over."""
import os
import random
import subprocess
import time

from case_nodes import database
from cluster import fresh_schema
from harness import Server, check, same

HULYKVS = """CREATE SCHEMA hulykvs;
CREATE TABLE hulykvs.kvs (workspace uuid NOT NULL, namespace text NOT NULL, key text NOT NULL,
 md5 bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (workspace, namespace, key));
INSERT INTO hulykvs.kvs SELECT ('11111111-2222-3333-4444-55555555555' || i %% 3)::uuid,
 'ns' || i %% 5, CASE WHEN i %% 2 = 0 THEN 'Ключ ' ELSE 'key' END || i, decode(md5('v' || i), 'hex'),
 convert_to('v' || i, 'UTF8') FROM generate_series(1, %d) AS i;
INSERT INTO hulykvs.kvs VALUES ('11111111-2222-3333-4444-555555555555', 'n',
 repeat('L', 3000) || 'end', '', 'long')"""
TAKEN = """SELECT count(*) FROM %s.kv AS v JOIN hulykvs.kvs AS k ON v.ws = k.workspace
 AND v.ns = convert_to(k.namespace, 'UTF8') AND v.value = k.value
 AND coalesce(v.long_key, v.key) = convert_to(k.key, 'UTF8')"""


def start_import(db, schema, *flags):
    return subprocess.Popen([Server.binary, "import", "--from-hulykvs", "--engine", db.url(),
                             "--engine-schema", schema, "--log-level", "error"] + list(flags),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_import(db, schema, *flags):
    program = start_import(db, schema, *flags)
    out, err = program.communicate(timeout=120)
    return program.returncode, out.strip(), err


def units(runner, db, name):
    done = subprocess.run([os.path.join(runner.build, name)], capture_output=True, text=True,
                          timeout=300, env=dict(os.environ, HATI_TEST_PG_URL=db.url()))
    check(done.returncode == 0, "%s:\n%s%s" % (name, done.stdout[-2000:], done.stderr[-4000:]))
    check("skip" not in done.stdout, "%s was skipped" % name)


def the_schema_is_made_once_by_many_at_once(runner):
    with database() as db:
        units(runner, db, "unit_engine_test_migrate")


def every_statement_is_taken_and_planned_by_index(runner):
    with database() as db:
        units(runner, db, "unit_engine_test_statements")


def starters_that_are_killed_leave_a_schema_that_the_next_can_finish(runner):
    chance = random.Random(runner.seed)
    with database() as db:
        db.psql(HULYKVS % 10)
        for _ in range(runner.rounds * 3):
            schema = fresh_schema()
            for _ in range(4):
                program = start_import(db, schema)
                time.sleep(chance.random() * 0.15)
                program.kill()
                program.communicate()
                # The lease of the dead ends some day; here it is today.
                if db.psql("SELECT to_regclass('%s.lock')" % schema):
                    db.psql("UPDATE %s.lock SET until = 0" % schema)
            same(run_import(db, schema)[0], 0, "its status")
            same(db.psql(TAKEN % schema), "11", "entries")


def entries_of_hulykvs_are_taken_over(runner):
    with database() as db:
        db.psql(HULYKVS % 5000)
        schema = fresh_schema()
        program = start_import(db, schema)
        time.sleep(0.2)
        program.kill()
        program.communicate()
        if db.psql("SELECT to_regclass('%s.lock')" % schema):
            db.psql("UPDATE %s.lock SET until = 0" % schema)
        same(run_import(db, schema)[0], 0, "its status")
        same(db.psql(TAKEN % schema), "5001", "entries")
        db.psql("UPDATE %s.kv SET value = 'mine', rev = 9e15 WHERE key = 'key1'" % schema)
        same(run_import(db, schema)[:2],
             (0, "5001 read, 0 written, 5001 kept as hati has them, 0 not taken"), "once more")
        same(db.psql(TAKEN % schema), "5000", "what hati has is kept")
        same(run_import(db, schema, "--overwrite")[1],
             "5001 read, 5001 written, 0 kept as hati has them, 0 not taken", "overwritten")
        same(db.psql(TAKEN % schema), "5001", "entries")
        same(db.psql("SELECT rev FROM %s.kv WHERE key = 'key1'" % schema), "9000000000000001",
             "revisions grow")
        db.psql("INSERT INTO hulykvs.kvs VALUES"
                " ('11111111-2222-3333-4444-555555555555', repeat('n', 256), 'k', '', 'v')")
        status, out, err = run_import(db, schema)
        same((status, out), (1, "5002 read, 0 written, 5001 kept as hati has them, 1 not taken"))
        check("a namespace has 1 to 255 bytes" in err, err)
        status, out, err = run_import(db, schema, "--from-hulykvs=elsewhere")
        check(status == 1 and 'no table kvs in the schema "elsewhere"' in err, err)


CASES = [
    the_schema_is_made_once_by_many_at_once,
    every_statement_is_taken_and_planned_by_index,
    starters_that_are_killed_leave_a_schema_that_the_next_can_finish,
    entries_of_hulykvs_are_taken_over,
]
