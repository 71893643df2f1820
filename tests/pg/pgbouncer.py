# SPDX-License-Identifier: MIT
"""pgbouncer as Debian ships it, in transaction mode, in front of one database."""
import os
import shutil
import socket

import process
from postgres import DATABASE, USER


def binary():
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def why_not():
    return None if binary() else "no pgbouncer here: install the packages of tests/pg/packages"


class Pgbouncer:
    def __init__(self, database, pool_size=12):
        self.base = process.directory("hati-pgbouncer-")
        self.port = process.free_port()
        users = os.path.join(self.base, "users")
        with open(users, "w", encoding="utf-8") as file:
            file.write('"%s" ""\n' % USER)
        self.config = os.path.join(self.base, "pgbouncer.ini")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("[databases]\n* = host=%s port=%d\n[pgbouncer]\n" % (
                database.address, database.port))
            for name, value in (("listen_addr", "127.0.0.1"), ("listen_port", self.port),
                                ("unix_socket_dir", ""), ("auth_type", "trust"),
                                ("auth_file", users), ("pool_mode", "transaction"),
                                ("default_pool_size", pool_size), ("max_client_conn", 2000),
                                ("admin_users", USER), ("server_login_retry", 1),
                                ("ignore_startup_parameters", "extra_float_digits")):
                file.write("%s = %s\n" % (name, value))
        self.program = None

    def start(self):
        self.program = process.Program([binary(), self.config], os.path.join(self.base, "log"))
        self.program.wait_until(self.answers, "the start of pgbouncer")
        return self

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def url(self, options=""):
        return "postgresql://%s@127.0.0.1:%d/%s%s" % (USER, self.port, DATABASE, options)

    def close(self):
        if self.program and self.program.runs():
            self.program.kill()
        process.remove(self.base)
