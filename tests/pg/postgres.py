# SPDX-License-Identifier: MIT
"""PostgreSQL as Debian ships it, in directories of our own, run as an ordinary user: primaries,
standbys, failover."""
import glob
import os
import re
import signal
import subprocess

import process
from harness import Failure, check

USER, DATABASE = "hati", "postgres"

SETTINGS = {
    "max_connections": "300", "shared_buffers": "'32MB'", "max_wal_senders": "10",
    "wal_level": "replica", "wal_keep_size": "'256MB'", "hot_standby": "on",
    "wal_receiver_status_interval": "'1s'", "wal_retrieve_retry_interval": "'100ms'",
    "wal_sender_timeout": "'10s'", "wal_receiver_timeout": "'10s'",
    "log_line_prefix": "'%m [%p] %a '", "timezone": "'UTC'", "datestyle": "'ISO'",
}

_template = None


def binaries():
    """The directory of the newest version that is here."""
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    found += glob.glob("/usr/pgsql-*/bin/postgres")
    check(found, "no PostgreSQL here: install the packages of tests/pg/packages")
    return os.path.dirname(max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path)]))


def why_not():
    """Why no PostgreSQL can be started here, or None."""
    try:
        binaries()
        process.ordinary_user()
    except Failure as failure:
        return str(failure)
    return None


def run(command, namespace=None, patience=120):
    done = subprocess.run(process.as_ordinary(command, namespace), capture_output=True, cwd="/",
                          stdin=subprocess.DEVNULL, timeout=patience)
    if done.returncode:
        raise Failure("%s: %s" % (" ".join(command[:3]), done.stderr.decode()[-800:]))
    return done.stdout.decode()


def psql(url, sql, namespace=None, patience=60):
    """What it answers: rows as lines, columns parted by |."""
    environment = dict(os.environ, PGCONNECT_TIMEOUT="10", PGOPTIONS="")
    done = subprocess.run(
        process.in_namespace(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql],
                             namespace),
        capture_output=True, stdin=subprocess.DEVNULL, timeout=patience, env=environment)
    if done.returncode:
        raise Failure("psql: %s: %s" % (sql[:80], done.stderr.decode()[-500:]))
    return done.stdout.decode().rstrip("\n")


def template():
    """A cluster that is made once a run and copied then."""
    global _template
    if _template is None:
        base = process.directory("hati-pg-template-")
        data = os.path.join(base, "data")
        run([os.path.join(binaries(), "initdb"), "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--data-checksums", "--no-sync"])
        with open(os.path.join(data, "pg_hba.conf"), "w", encoding="utf-8") as file:
            for database in ("all", "replication"):
                file.write("local %s all trust\nhost %s all all trust\n" % (database, database))
        _template = data
    return _template


class Postgres:
    """One server. Settings may be changed at any time; they hold from the next start or reload."""

    prefix = ()  # what comes before its program

    def __init__(self, address="127.0.0.1", namespace=None, port=None, data=None, **settings):
        self.base = process.directory("hati-pg-")
        self.data = os.path.join(self.base, "data")
        self.log = os.path.join(self.base, "log")
        self.address, self.namespace = address, namespace
        self.port = port or process.free_port()
        self.settings = dict(SETTINGS, **settings)
        self.primary_conninfo = None
        self.program = None
        if data is None:
            run(["cp", "-a", "--reflink=auto", template(), self.data])

    def write_settings(self):
        settings = dict(self.settings, port=str(self.port),
                        listen_addresses="'%s'" % self.address,
                        unix_socket_directories="'%s'" % self.base)
        if self.primary_conninfo:
            settings["primary_conninfo"] = "'%s'" % self.primary_conninfo
        path = os.path.join(self.data, "postgresql.conf")
        with open(path, "w", encoding="utf-8") as file:
            for name, value in settings.items():
                file.write("%s = %s\n" % (name, value))

    def launch(self):
        """Starts it, and does not wait for it."""
        check(not (self.program and self.program.runs()), "PostgreSQL runs already")
        self.write_settings()
        self.program = process.Program(
            [*self.prefix, os.path.join(binaries(), "postgres"), "-D", self.data], self.log,
            self.namespace)

    def is_ready(self):
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
                lines = file.read().split("\n")
        except OSError:
            return False
        return lines[0] == str(self.program.pid) and len(lines) > 7 and \
            lines[7].strip() in ("ready", "standby")

    def start(self):
        self.launch()
        self.program.wait_until(self.is_ready, "the start of PostgreSQL")
        return self

    def stop(self, mode="fast"):
        """smart waits for the clients; fast ends them; immediate leaves recovery to the start."""
        self.program.signal({"smart": signal.SIGTERM, "fast": signal.SIGINT,
                             "immediate": signal.SIGQUIT}[mode])
        return self.program.wait()

    def kill9(self):
        """All of its processes."""
        return self.program.kill()

    def restart(self, mode="fast"):
        if mode == "kill":
            self.kill9()
        else:
            self.stop(mode)
        self.start()

    def reload(self, **settings):
        self.settings.update(settings)
        self.write_settings()
        self.program.signal(signal.SIGHUP)

    def close(self):
        if self.program and self.program.runs():
            self.kill9()
        process.remove(self.base)

    def runs(self):
        return self.program is not None and self.program.runs()

    def conninfo(self, **more):
        parts = dict({"host": self.address, "port": self.port, "user": USER}, **more)
        return " ".join("%s=%s" % item for item in parts.items())

    def url(self, options=""):
        return "postgresql://%s@%s:%d/%s%s" % (USER, self.address, self.port, DATABASE, options)

    def psql(self, sql, patience=60):
        return psql("host=%s port=%d user=%s dbname=%s" % (self.base, self.port, USER, DATABASE),
                    sql, None, patience)

    def is_standby(self):
        return self.psql("SELECT pg_is_in_recovery()") == "t"

    def timeline(self):
        return int(self.psql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[:8], 16)

    # --- replication ---

    def make_standby(self, name, address=None, namespace=None, apply_delay_ms=0, **settings):
        """A running standby of this server, which is not waited for by commits yet."""
        standby = Postgres(address or self.address, namespace or self.namespace, None, data=True,
                           **dict(self.settings, synchronous_standby_names="''", **settings))
        run([os.path.join(binaries(), "pg_basebackup"), "-d", self.conninfo(), "-D", standby.data,
             "-X", "stream", "-c", "fast", "--no-sync"], standby.namespace)
        standby.follow(self, name, apply_delay_ms)
        standby.start()
        self.wait_for_standby(name)
        return standby

    def follow(self, primary, name, apply_delay_ms=0):
        """From its next start on, it is a standby of `primary`."""
        self.primary_conninfo = primary.conninfo(application_name=name, connect_timeout=5)
        self.settings["recovery_min_apply_delay"] = "'%dms'" % apply_delay_ms
        run(["touch", os.path.join(self.data, "standby.signal")])

    def wait_for_standby(self, name, state="streaming"):
        process.wait_until(
            lambda: self.psql("SELECT state FROM pg_stat_replication WHERE application_name = '%s'"
                              % name) == state, "the standby %s does not stream" % name)

    def commit_waits_for(self, name):
        """Every commit from now on waits for that standby; None: for none."""
        self.reload(synchronous_standby_names="'FIRST 1 (%s)'" % name if name else "''")
        if name:
            process.wait_until(
                lambda: self.psql("SELECT sync_state FROM pg_stat_replication"
                                  " WHERE application_name = '%s'" % name) == "sync",
                "the standby %s is not synchronous" % name)

    def promote(self):
        check(self.psql("SELECT pg_promote(true, 60)") == "t", "promoted")
        self.primary_conninfo = None

    def rewind(self, primary, name):
        """An old primary becomes a standby of the new one; it must not run."""
        check(not self.runs(), "a running server is not rewound")
        primary.psql("CHECKPOINT")  # only then its control file tells of the new timeline
        self.write_settings()
        run([os.path.join(binaries(), "pg_rewind"), "-D", self.data, "--source-server",
             primary.conninfo(dbname=DATABASE), "--no-sync"], self.namespace)
        self.settings["synchronous_standby_names"] = "''"
        self.follow(primary, name)
        self.start()
        primary.wait_for_standby(name)
