# SPDX-License-Identifier: MIT
"""Cases of the contract, each hati that they start under the shim: what it allocates is counted, one
allocation fails (or some in a row, or each so much after another), and it is looked at how all of
them ended. A fault is (number of the allocation, how many in a row, how far between the rest or 0)."""
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import all_cases
import harness
from harness import Failure, Server
from shim import Control

FAR = 1 << 40   # an allocation that never comes
SILENCE_S = 34  # a request that is not answered by then hangs: the server says UNAVAILABLE after 30 s
CASE_S = 50     # a case that waits for what did not happen is ended


SPARED = "libgmp libhogweed libnettle libtasn1"  # they end the process where they find no memory
LEDGER = "ledger"
LEDGER_MOST = 40
TRACE_BYTES = 3000  # of what is told of the allocations that failed
BLOCKS_MOST = 724  # of libraries, at the end of a server that did a bit of everything but TLS:
                   # 716 usually, 717 once in 14,490 tries
BLOCKS_TLS = 8     # GnuTLS makes what it needs when it is first used


class Ended(BaseException):
    """A case took too long; no case catches it."""


class Case:
    def __init__(self, name, group, shared):
        self.name, self.group, self.shared = name, group, shared
        self.most = None    # allocations of the server that made most, once it was counted
        self.blocks = None  # held by a server at its end, once it was counted


class Tally:
    """What one run of a case came to."""

    def __init__(self):
        self.defects, self.allocations, self.blocks = [], [], []
        self.failed = 0      # allocations
        self.failure = None  # of the case


class Collector:
    def __init__(self):
        self.names = []

    def case(self, name, _run):
        self.names.append(name)


class One:
    """Runs the case of a name, and nothing else."""

    def __init__(self, name, around):
        self.name, self.around = name, around

    def case(self, name, run):
        if name == self.name:
            with self.around():
                run()


class Shimmed:
    """While it is entered. `fault` is one, or None."""

    def __init__(self, library, fault, starts=False, held=None):
        self.library, self.fault, self.starts, self.held = library, fault, starts, held
        self.tally = Tally()
        self.servers = []
        self.armed = False
        self.room = tempfile.mkdtemp(prefix="hati-torture-shim-")
        self.originals = {}

    # -- the hooks

    def control(self, env):
        control = Control(self.library, os.path.join(tempfile.mkdtemp(dir=self.room), "data"))
        env.update(control.env())
        env["HATI_SHIM_SPARED"] = SPARED
        env["HATI_SHIM_TRACE"] = os.path.join(self.room, "trace")
        if self.held:
            env["HATI_SHIM_HELD"] = self.held
        return control

    def arm(self, control):
        number, row, every = self.fault or (FAR, 1, 0)
        control.counted = control.get("allocations")
        control.fail("alloc", number, 12, row, every)

    def heal(self, control):
        control.heal()
        self.tally.failed += control.get("failed")
        control.set("failed", 0)

    def start(self, server, *more):
        control = self.control(server.env)
        server.shim, server.expected = control, False
        if server not in self.servers:
            self.servers.append(server)
        if self.armed and self.starts:
            self.arm(control)
        try:
            self.originals["start"](server, *more)
        except Failure as failure:
            self.did_not_start(server, more, failure)
            raise
        if self.armed and not self.starts:
            self.arm(control)

    def did_not_start(self, server, more, failure):
        """It said why, and does where there is memory."""
        status = server.process.wait(SILENCE_S)
        server.expected = True
        failed = server.shim.get("failed")
        self.heal(server.shim)
        if status < 0 or not str(failure).partition(": ")[2]:
            self.defect(server, "it ended with %d while it started" % status)
        if not failed:
            return
        self.armed, armed = False, self.armed
        server.process.stdout.close()
        server.log.close()
        try:
            self.originals["start"](server, *more)
            server.kill()
        except Failure as again:
            self.defect(server, "it does not start any more: %s" % again)
        self.armed = armed

    def kill(self, server):
        server.expected = True
        self.originals["kill"](server)

    def stop(self, server):
        status = self.originals["stop"](server)
        self.ended(server, status)
        server.expected = True
        return status

    def close(self, server):
        if getattr(server, "shim", None) and not server.expected:
            self.look(server)
            if server.process.poll() is None:
                self.heal(server.shim)
                server.process.send_signal(signal.SIGTERM)
                try:
                    server.process.wait(SILENCE_S)
                except subprocess.TimeoutExpired:
                    self.defect(server, "it does not end")
                    server.process.kill()
                    server.process.wait()
            self.ended(server, server.process.poll())
            server.expected = True
        self.originals["close"](server)

    def run_program(self, words, *args, **named):
        if not isinstance(words, (list, tuple)) or words[0] != Server.binary or \
                list(words[1:2]) == ["help"]:
            return self.originals["run"](words, *args, **named)
        env = dict(named.pop("env", None) or os.environ)
        control = self.control(env)
        if self.armed and self.starts:
            self.arm(control)
        done = self.originals["run"](words, *args, env=env, **named)
        self.heal(control)
        if done.returncode < 0 and done.returncode != -signal.SIGTERM:
            self.tally.defects.append("%s ended with %d" % (words[1:3], done.returncode))
        control.close()
        return done

    def ask(self, line, text):
        try:
            return self.originals["ask"](line, text)
        except socket.timeout:
            self.tally.defects.append("no answer to %.80r\n%s" % (text, self.trace()))
            raise

    def request(self, server, method, path, *args, **named):
        try:
            return self.originals["request"](server, method, path, *args, **named)
        except socket.timeout:
            self.tally.defects.append("no answer to %s %.80r" % (method, path))
            raise

    def __enter__(self):
        ours = {"start": (Server, self.start), "kill": (Server, self.kill),
                "stop": (Server, self.stop), "close": (Server, self.close),
                "request": (Server, self.request), "ask": (harness.Line, self.ask)}
        for name, (owner, hook) in ours.items():
            self.originals[name] = getattr(owner, name)
            setattr(owner, name, (lambda hook: lambda me, *args, **named: hook(me, *args, **named))(
                hook))
        self.owners = {name: owner for name, (owner, _) in ours.items()}
        self.originals["run"], subprocess.run = subprocess.run, self.run_program
        self.patience, harness.PATIENCE = harness.PATIENCE, SILENCE_S
        self.excepthook, threading.excepthook = threading.excepthook, lambda _: None
        return self

    def __exit__(self, *_):
        subprocess.run = self.originals["run"]
        harness.PATIENCE = self.patience
        threading.excepthook = self.excepthook
        for name, owner in self.owners.items():
            setattr(owner, name, self.originals[name])
        for server in self.servers:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
            shutil.rmtree(server.dir, ignore_errors=True)
        shutil.rmtree(self.room, ignore_errors=True)

    # -- what it looks at

    def trace(self):
        path = os.path.join(self.room, "trace")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()[-TRACE_BYTES:]

    def defect(self, server, text):
        try:
            log = server.log_text()[-1500:]
        except (OSError, UnicodeDecodeError):
            log = ""
        self.tally.defects.append("%s\n%s\n%s" % (text, log, self.trace()))

    def look(self, server):
        """Without faults it is well, if it is there at all."""
        self.heal(server.shim)
        status = server.process.poll()
        if status is None:
            return True
        if status not in (0, -signal.SIGKILL, -signal.SIGTERM):
            self.defect(server, "it ended with %d" % status)
        server.expected = True
        return False

    def ended(self, server, status):
        if status not in (0, -signal.SIGKILL):
            self.defect(server, "it ended with %s" % status)
        control = server.shim
        self.heal(control)
        if status == 0 and control.get("owner") == server.process.pid:
            through_tls = any("-tls" in flag for flag in server.tls_flags + server.flags)
            self.tally.blocks.append(control.get("blocks") - (BLOCKS_TLS if through_tls else 0))
        if hasattr(control, "counted"):
            self.tally.allocations.append(control.get("allocations") - control.counted)

    @contextlib.contextmanager
    def around(self):
        """A case, faults in it."""
        self.armed = True
        for server in self.servers:
            if server.process.poll() is None:
                self.arm(server.shim)
        try:
            yield
        finally:
            self.armed = False
            for server in self.servers:
                if not server.expected:
                    self.look(server)


def groups():
    """Of cases, each with whether it shares a server."""
    return [(group, True) for group in all_cases.SHARED] + \
        [(group, False) for group in all_cases.ALONE]


def collect(library, group, shared):
    """The cases of a group."""
    collector = Collector()
    with Shimmed(library, None):
        server = Server() if shared else None
        if shared:
            group(collector, server)
        else:
            group(collector)
        if server:
            server.close()
    return [Case(name, group, shared) for name in collector.names]


def out_of_time(*_):
    raise Ended()


def attempt(case, shimmed, group):
    """Runs it once; the tally."""
    tally = shimmed.tally = Tally()
    through_tls = harness.tls
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(CASE_S)
    try:
        group(One(case.name, shimmed.around))
    except Ended:
        tally.failure = "it took too long"
    except Exception as failure:  # what a case says of errors that it did not expect
        tally.failure = "%s: %s" % (type(failure).__name__, failure)
    finally:
        signal.alarm(0)
        harness.tls = through_tls  # some cases turn it on for a while
    return tally


class Ledger:
    """Writes beside a case, and knows what was acknowledged."""

    def __init__(self, server, serial):
        self.server, self.serial = server, serial
        self.keys, self.messages = {}, set()
        self.running = True
        self.thread = threading.Thread(target=self.write)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()

    def write(self):
        number = 0
        while self.running and number < LEDGER_MOST:
            try:
                with socket.create_connection(("127.0.0.1", self.server.tcp), SILENCE_S) as sock:
                    file = sock.makefile("rwb")
                    while self.running and number < LEDGER_MOST:
                        number += 1
                        self.one(file, "%d-%d" % (self.serial, number))
                        time.sleep(0.001)
            except OSError:
                time.sleep(0.001)

    def one(self, file, name):
        storage = "memory" if len(self.keys) % 2 else "hdd"
        for text, note in (
                ("SET %s 0 ledger-%s %s" % (storage, name, name),
                 lambda: self.keys.update({(storage, name): name})),
                ("PUBLISH default %s %s" % (LEDGER, name), lambda: self.messages.add(name))):
            file.write(text.encode() + b"\n")
            file.flush()
            answer = file.readline()
            if not answer.endswith(b"\n"):
                raise OSError("it was closed")
            if answer.startswith(b"+OK"):
                note()

    def missing(self):
        """What was acknowledged and is not there. Takes the messages out."""
        lost = []
        line = self.server.line()
        for (storage, name), value in self.keys.items():
            if line.ask("GET %s ledger-%s" % (storage, name)) != value:
                lost.append("key %s of %s" % (name, storage))
        line.close()
        there = set()
        while True:
            got = self.server.rpc("Broker.Receive", {"queue": LEDGER, "max": 100})["result"]
            got = got["messages"]
            if not got:
                break
            there.update(message["payload"] for message in got)
            self.server.rpc("Broker.AckMany", {
                "queue": LEDGER, "receipts": [message["receipt"] for message in got]})
        return lost + ["message " + name for name in self.messages - there]


def call(server, method, **params):
    answer = server.rpc(method, params)
    if "error" in answer:
        raise Failure("%s: %s" % (method, answer["error"]))
    return answer["result"]


def names(listed):
    return [one["name"] if isinstance(one, dict) else one for one in listed]


def reset(server):
    """As if it had just been started."""
    for queue in names(call(server, "Broker.ListQueue")["queues"]):
        call(server, "Broker.DeleteQueue", queue=queue)
    for router in names(call(server, "Broker.ListRouter")["routers"]):
        if router != "default":
            call(server, "Broker.DeleteRouter", router=router)
    for storage in ("memory", "hdd"):
        call(server, "Storage.FlushAll", type=storage)
    call(server, "Broker.CreateQueue", queue=LEDGER, type="hdd")


def is_well(server):
    line = server.line()
    for storage in ("memory", "hdd"):
        harness.same(line.ask("SET %s 0 canary bird" % storage), "+OK", "a SET afterwards")
        harness.same(line.ask("GET %s canary" % storage), "bird", "a GET afterwards")
    line.close()
    for storage in ("memory", "hdd"):
        queue = "canary-" + storage
        call(server, "Broker.CreateQueue", queue=queue, type=storage)
        call(server, "Broker.Publish", router="default", key=queue, payload="bird")
        got = call(server, "Broker.Receive", queue=queue, wait=SILENCE_S * 1000)
        got = got["messages"]
        harness.same([message["payload"] for message in got], ["bird"], "a message afterwards")
        call(server, "Broker.Ack", queue=queue, receipt=got[0]["receipt"])
    harness.same(server.request("GET", "/readyz").status, 200, "readiness")


def words_of(fault):
    return "%d, %d in a row, then every %d" % fault if fault else "none"


class Sweep:
    """Many tries of one case. Where cases share a server it is used again while that is of use."""

    def __init__(self, library, case, faults, starts=False, held=None):
        self.library, self.case, self.held = library, case, held
        self.faults, self.starts = faults, starts  # faults: from how many allocations to faults
        self.tries = self.failed = self.refused = 0
        self.defects = []
        self.ledger = True

    def note(self, tally, fault):
        self.tries += 1
        self.failed += tally.failed
        self.refused += tally.failure is not None
        for defect in tally.defects:
            self.defects.append("%s, allocation %s: %s (the case: %s)" % (
                self.case.name, words_of(fault), defect, tally.failure))

    def count(self):
        """Some cases want to be alone on their server."""
        failure = self.count_once()
        if failure and self.ledger and self.case.shared:
            self.ledger = False
            failure = self.count_once()
        return failure

    def count_once(self):
        """Without a fault: allocations, and what is held at the end. The case's failure, or None."""
        shimmed = Shimmed(self.library, None)
        with shimmed:
            tally = self.once(shimmed, Server() if self.case.shared else None, None)
            for server in shimmed.servers:
                server.close()
        self.case.most = max(tally.allocations, default=0)
        self.case.blocks = max(tally.blocks, default=None)
        return tally.failure or "; ".join(tally.defects) or None

    def once(self, shimmed, server, fault):
        case, shimmed.fault = self.case, fault
        if not server:
            return attempt(case, shimmed, case.group)
        if not self.ledger:
            return attempt(case, shimmed, lambda one: case.group(one, server))
        call(server, "Broker.CreateQueue", queue=LEDGER, type="hdd")
        with Ledger(server, self.tries) as ledger:
            tally = attempt(case, shimmed, lambda one: case.group(one, server))
        if server.process.poll() is None:
            missing = ledger.missing() if self.has_ledger(server) else ["the queue"]
            if missing and not fault:
                self.ledger = False  # the case deletes what is there
            elif missing:
                tally.defects.append("acknowledged, and not there: " + ", ".join(missing))
        return tally

    def has_ledger(self, server):
        return LEDGER in names(call(server, "Broker.ListQueue")["queues"])

    def run(self, end):
        """Until it is done, or the steady clock says `end`: why the case cannot be tried, or None."""
        failure = self.count()
        if failure or not self.case.most:
            return failure
        faults = list(self.faults(self.case.most))
        while faults and time.monotonic() < end:
            try:
                self.one_life(faults, end)
            except (OSError, http.client.HTTPException, Failure) as error:
                return "around the case: %s: %s" % (type(error).__name__, error)
        return None

    def one_life(self, faults, end):
        """Of a server that is shared; of those of one try otherwise."""
        shimmed = Shimmed(self.library, faults[0], self.starts, self.held)
        blocks, fault = [], faults[0]
        with shimmed:
            server = Server() if self.case.shared else None
            fresh = True
            while faults and time.monotonic() < end:
                fault = faults[0]
                tally = self.once(shimmed, server, fault)
                if not fresh and tally.failed == 0 and not tally.defects:
                    break  # what earlier tries left ends the case early: once more, all new
                faults.pop(0)
                self.note(tally, fault)
                fresh = False
                if not server or tally.defects or not self.settle(shimmed, server, fault):
                    break
            shimmed.tally = tally = Tally()
            for each in shimmed.servers:
                each.close()
            self.note_end(tally, fault)

    def settle(self, shimmed, server, fault):
        """Looks after a server between two tries; False where it cannot be used again."""
        try:
            is_well(server)
            reset(server)
            return True
        except (OSError, Failure, KeyError, ValueError) as failure:
            shimmed.tally = tally = Tally()
            shimmed.defect(server, "it is not well: %s: %s" % (type(failure).__name__, failure))
            self.tries -= 1
            self.note(tally, fault)
            return False

    def note_end(self, tally, fault):
        self.tries -= 1
        self.note(tally, fault)
        most = max(self.case.blocks or 0, BLOCKS_MOST)
        if tally.blocks and max(tally.blocks) > most:
            self.defects.append("%s, up to allocation %s: %d blocks are held at the end, usually %d" % (
                self.case.name, words_of(fault), max(tally.blocks), most))
