# SPDX-License-Identifier: MIT
"""What the systemd unit allows is enough: the contract suite, or a share of it, with every server
under the filter of system calls that the unit asks for. One call that is not in it ends the server."""
import os
import signal
import subprocess
import sys

from harness import TLS_FLAGS, Failure, Server, check, same, wait_until
from network import ASKED, Doors, fill, speak

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE = os.path.join(HERE, "..", "contract", "run")
PACKAGE = os.path.join(HERE, "..", "package")


def suite():
    done = subprocess.run([sys.executable, SUITE, os.path.dirname(Server.binary)],
                          env={**os.environ, "HATI_TEST_SANDBOX": "1"}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failure("under the unit's filter: " + done.stdout[-2000:])
    return "the contract suite: " + done.stdout.strip().split("\n")[-1]


class Closed(Doors):
    """Every door through TLS, what is kept is sealed."""

    secure = True


def share(runner):
    """A server with all doors that starts, serves, reloads, ends and starts again."""
    room = runner.room()
    key = os.path.join(room, "keys")
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write(os.urandom(32).hex() + "\n")
    server = Closed(*TLS_FLAGS, "--encryption-key-file", key, keep=room)
    try:
        fill(server)
        for door, (request, ending) in ASKED.items():
            sock, got = speak(server, door), b""
            sock.sendall(request)
            while not got.endswith(ending):
                more = sock.recv(65536)
                check(more, "hung up on by " + door)
                got += more
            sock.close()
        line = server.line()
        for text in ("CREATEQUEUE jobs hdd", "SUBSCRIBE jobs", "WATCH memory"):
            check(line.ask(text).startswith("+OK"), text)
        line.close()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "certificates read anew" in server.log_text(), "a reload")
        check(server.stop() == 0, "the end of a server that is closed in")
        server.process.stdout.close()
        server.log.close()
        server.start()
        line = server.line()
        same(line.ask("GET hdd kept"), "good", "after a restart")
        line.close()
        check(server.stop() == 0, "its end")
    finally:
        server.close()
    return "a server with all doors, TLS and sealed files, twice"


def run(runner, everything):
    sys.path.append(PACKAGE)
    import sandbox
    why = sandbox.why_not()
    if why:
        runner.say("skipped: " + why)
        return
    # a filter that filters: nice is of @resources
    done = subprocess.run([sys.executable, sandbox.__file__, "nice", "-n", "5", "true"], check=False)
    check(done.returncode < 0, "the filter lets through what the unit does not allow")
    os.environ[sandbox.FILTER] = sandbox.program().hex()
    Closed.prefix = (sys.executable, os.path.abspath(sandbox.__file__))
    told = suite() if everything else share(runner)
    runner.say("%d system calls allowed; %s" % (len(sandbox.allowed()), told))
