# SPDX-License-Identifier: MIT
"""A control group with less memory than comes in: errors where hati's own limits are below it, and
nothing lost that was acknowledged on hdd where they are above it, and the kernel ends it."""
import os
import signal
import threading
import time

from harness import PATIENCE, Failure, Server, check, wait_until

LIMIT = 96 << 20
VALUE = 100000
BODIES = 12  # clients that bring 2 MB at a time
ROOT = "/sys/fs/cgroup"
TOLD = (507, 503, 413)
# An answer of which nothing is left to wonder about.
REFUSED = ("+ERR OUT_OF_MEMORY", "+ERR UNAVAILABLE", "+ERR STORAGE_FULL", "+ERR QUEUE_FULL")


class Group:
    """A control group of version 1 or 2; why_not says where there can be none."""

    def __init__(self):
        self.path = self.why_not = None
        version_2 = os.path.exists(os.path.join(ROOT, "cgroup.controllers"))
        base = ROOT if version_2 else os.path.join(ROOT, "memory")
        path = os.path.join(base, "hati-torture-%d" % os.getpid())
        try:
            os.mkdir(path)
        except OSError as error:
            self.why_not = "no control group: %s" % error
            return
        self.path = path
        try:
            self.write("memory.max" if version_2 else "memory.limit_in_bytes", LIMIT)
            for name in ("memory.swap.max",) if version_2 else ("memory.swappiness",):
                self.write(name, 0)
        except OSError as error:
            self.why_not = "no memory limit: %s" % error
            self.close()

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w") as file:
            file.write(str(value))

    def prefix(self):
        """What puts a command into it."""
        return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', self.path)

    def killed(self):
        """How often the kernel ended somebody in it."""
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(os.path.join(self.path, name)) as file:
                    return int(dict(line.split() for line in file).get("oom_kill", 0))
            except FileNotFoundError:
                continue
        return 0

    def close(self):
        for _ in range(100):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.05)  # the kernel lets go of its last process


class Flood:
    """Writers on every way in, until enough was refused or `bytes_most` went in."""

    def __init__(self, server, bytes_most):
        self.server, self.most = server, bytes_most
        self.lock = threading.Lock()
        self.kept = {"memory": [], "hdd": []}
        self.messages = 0
        self.refused, self.strange = {}, []

    def note(self, what, answer):
        with self.lock:
            if answer.startswith(REFUSED) or answer in ["HTTP %d" % status for status in TOLD]:
                self.refused[what] = self.refused.get(what, 0) + 1
            else:
                self.strange.append("%s: %.200s" % (what, answer))

    def lines(self, storage, number):
        value = "v" * (VALUE - 20)
        line = self.server.line()
        for i in range(self.most // VALUE):
            name = "%s-%d-%d" % (storage, number, i)
            answer = line.ask("SET %s 0 %s %s%s" % (storage, name, name, value))
            if answer == "+OK":
                self.kept[storage].append(name)
            else:
                self.note("SET " + storage, answer)
                if self.refused.get("SET " + storage, 0) > 50:
                    break
        line.close()

    def publish(self, queue):
        line = self.server.line()
        for i in range(self.most // VALUE):
            answer = line.ask("PUBLISH default %s %s" % (queue, "p" * VALUE))
            if answer.startswith("+OK"):
                self.messages += queue == "grouped-hdd"
            else:
                self.note("PUBLISH " + queue, answer)
                if self.refused.get("PUBLISH " + queue, 0) > 50:
                    break
        line.close()

    def bodies(self, number):
        for i in range(self.most >> 23):
            name = "body-%d-%d" % (number, i)
            answer = self.server.request("PUT", "/api/default/" + name, b"b" * (2 << 20))
            if answer.status not in (200, 201, 204):
                self.note("PUT", "HTTP %d" % answer.status)

    def run(self):
        jobs = [(self.lines, storage, number) for storage in ("memory", "hdd") for number in (1, 2)]
        jobs += [(self.publish, queue) for queue in ("grouped-memory", "grouped-hdd")]
        jobs += [(self.bodies, number) for number in range(BODIES)]
        threads = [threading.Thread(target=self.guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def guarded(self, job, *words):
        try:
            job(*words)
        except (OSError, Failure) as error:
            with self.lock:
                self.strange.append("%s%r: %s" % (job.__name__, words, error))


def queues(server):
    for storage in ("memory", "hdd"):
        answer = server.rpc("Broker.CreateQueue", {"queue": "grouped-" + storage, "type": storage})
        check("error" not in answer, "a queue: %s" % answer)


def everything_is_there(server, flood):
    line = server.line()
    for name in flood.kept["hdd"]:
        answer = line.ask("GET hdd " + name)
        check(answer.startswith(name + "v"), "%s was acknowledged: %.60s" % (name, answer))
    line.close()
    stats = server.rpc("Broker.GetQueue", {"queue": "grouped-hdd"})["result"]
    check(stats["ready"] >= flood.messages, "%d of %d messages" % (stats["ready"], flood.messages))


def goes_on(server):
    """After what took the memory is gone."""
    line = server.line()
    server.rpc("Storage.FlushAll", {"type": "memory"})
    server.rpc("Broker.Flush", {"queue": "grouped-memory"})
    for storage in ("memory", "hdd"):
        wait_until(lambda s=storage: line.ask("SET %s 0 after %s" % (s, "v" * VALUE)) == "+OK",
                   "a SET to %s afterwards" % storage)
    wait_until(lambda: line.ask("PUBLISH default grouped-memory " + "p" * VALUE).startswith("+OK"),
               "a message afterwards")
    line.close()


def run_within(runner, group, flags, bytes_most, name):
    """hati's own limits are below the group's: it is not ended."""
    Server.prefix = group.prefix()
    server = Server(*flags, keep=runner.room())
    try:
        killed = group.killed()
        queues(server)
        flood = Flood(server, bytes_most).run()
        check(server.process.poll() is None and group.killed() == killed,
              "%s: it was ended, %s" % (name, server.process.poll()))
        check(not flood.strange, "%s: %s" % (name, flood.strange[:3]))
        check(flood.refused.get("SET memory"), "%s: no SET was refused" % name)
        everything_is_there(server, flood)
        goes_on(server)
        check(server.stop() == 0, "the end")
        runner.say("%s: %d MB on hdd, refused %s" % (name, len(flood.kept["hdd"]) * VALUE / 1e6, ", ".join(
            "%s %d" % pair for pair in sorted(flood.refused.items()))))
    finally:
        server.close()


def run_beyond(runner, group, bytes_most):
    """The limits are above the group's: the kernel ends it, and hdd is as it was acknowledged."""
    Server.prefix = group.prefix()
    server = Server("--memory-total", "0", keep=runner.room())
    try:
        killed = group.killed()
        queues(server)
        flood = Flood(server, bytes_most).run()
        wait_until(lambda: server.process.poll() is not None or group.killed() == killed,
                   "it was ended", PATIENCE)
        if server.process.poll() is None:
            runner.say("the kernel found room for all")
            return
        check(server.process.poll() == -signal.SIGKILL, "it ended with %d" % server.process.poll())
        server.process.stdout.close()
        server.log.close()
        Server.prefix = ()
        server.start()
        everything_is_there(server, flood)
        check(server.stop() == 0, "the end")
        runner.say("ended by the kernel: %d keys and %d messages of hdd are there" % (
            len(flood.kept["hdd"]), flood.messages))
    finally:
        server.close()


def run(runner, megabytes, every):
    group = Group()
    if group.why_not:
        runner.say("skipped: " + group.why_not)
        return
    prefix = Server.prefix
    try:
        run_within(runner, group, (), megabytes << 20, "nothing said")
        if every:
            run_within(runner, group, ("--memory-limit", "20m", "--write-buffer", "6m", "--read-cache",
                                       "4m", "--inflight-limit", "12m", "--watch-log", "4m"),
                       megabytes << 20, "limits said")
            run_beyond(runner, group, megabytes << 20)
    finally:
        Server.prefix = prefix
        group.close()
