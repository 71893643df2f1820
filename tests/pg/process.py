# SPDX-License-Identifier: MIT
"""Programs of others, run as an ordinary user, in a network namespace where wanted, and ended with
us."""
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import Failure

USERS = ("postgres", "nobody")
PATIENCE = 60

_programs = set()
_directories = set()


def ordinary_user():
    """Who runs the databases: a name where we are root, else None (ourselves)."""
    if os.geteuid() != 0:
        return None
    with open("/etc/passwd", encoding="utf-8") as file:
        known = {line.split(":")[0] for line in file}
    for name in USERS:
        if name in known:
            return name
    raise Failure("no user to run a database as: none of %s" % ", ".join(USERS))


def as_ordinary(command, namespace=None, ends_with_us=False):
    """The command as the ordinary user runs it; each of these wrappers becomes the command."""
    user = ordinary_user()
    if user:
        drop = ["setpriv", "--reuid", user, "--regid", group_of(user), "--clear-groups"]
        # Linux sends it when the thread ends that forked: only the main one lives as long as we do.
        if ends_with_us and threading.current_thread() is threading.main_thread():
            drop += ["--pdeathsig", "KILL"]
        command = drop + ["--"] + command
    return in_namespace(command, namespace)


def in_namespace(command, namespace):
    return ["ip", "netns", "exec", namespace] + command if namespace else command


def group_of(user):
    with open("/etc/passwd", encoding="utf-8") as file:
        return next(line.split(":")[3] for line in file if line.split(":")[0] == user)


def directory(prefix):
    """A new one that belongs to the ordinary user."""
    path = tempfile.mkdtemp(prefix=prefix)
    user = ordinary_user()
    if user:
        shutil.chown(path, user, int(group_of(user)))
    _directories.add(path)
    return path


def remove(path):
    _directories.discard(path)
    shutil.rmtree(path, ignore_errors=True)


_given = set()


def free_port():
    """One that nobody listens on. Not of those that the system gives to callers: between this and
    the listening, a connection of somebody's would take it."""
    while True:
        port = random.SystemRandom().randrange(12000, 30000)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as file:
                    after_name = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if after_name[1] == str(pid):
                found.append(int(entry))
    return found


def is_running(pid):
    """A zombie does not run."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Program:
    """One process of ours; its output goes to a file."""

    def __init__(self, command, log, namespace=None):
        self.log = log
        with open(log, "ab") as file:
            self.process = subprocess.Popen(as_ordinary(command, namespace, True), stdout=file,
                                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            cwd="/")
        self.pid = self.process.pid
        _programs.add(self)

    def runs(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, patience=PATIENCE):
        status = self.process.wait(patience)
        _programs.discard(self)
        return status

    def kill(self):
        """With its children, at once."""
        if self.runs():
            self.process.send_signal(signal.SIGSTOP)
            family = children_of(self.pid)
            for pid in [self.pid] + family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + PATIENCE
            while any(is_running(pid) for pid in family):
                if time.monotonic() > end:
                    raise Failure("a killed process lives on")
                time.sleep(0.005)
        return self.wait()

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-1500:]

    def wait_until(self, condition, what, patience=PATIENCE):
        end = time.monotonic() + patience
        while not condition():
            if not self.runs():
                raise Failure("%s: it ended with %s: %s" % (what, self.process.returncode,
                                                            self.tail()))
            if time.monotonic() > end:
                raise Failure("%s: not within %d s: %s" % (what, patience, self.tail()))
            time.sleep(0.01)


def wait_until(condition, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise Failure(what)
        time.sleep(0.02)


@atexit.register
def end_all():
    for program in list(_programs):
        try:
            program.kill()
        except (Failure, OSError, subprocess.SubprocessError):
            pass
    for path in list(_directories):
        remove(path)
