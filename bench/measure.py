# SPDX-License-Identifier: MIT
"""What every part of the benchmarks needs: pinned processes, a hati to measure, medians, notes."""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "build")
settings = types.SimpleNamespace(rounds=3, seconds=4, sustained=30, broker_seconds=2,
                                 standing=1000000, engine_keys=[10000, 100000, 1000000])
results = []
started = []


def pinned(core, *command, **options):
    process = subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], **options)
    started.append(process)
    return process


def load(*command):
    done = subprocess.run(["taskset", "-c", "1", *map(str, command)], capture_output=True, check=True)
    return done.stdout.decode()


def stop(process, how=signal.SIGTERM):
    process.send_signal(how)
    process.wait()
    started.remove(process)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit("nothing serves port %d" % port)


class Hati:
    def __init__(self, *flags, env=None, data=None):
        self.dir = data or tempfile.mkdtemp(prefix="hati-bench-", dir=os.environ.get("BENCH_DIR"))
        self.tcp, self.http = free_port(), free_port()
        self.process = pinned(0, os.path.join(BUILD, "hati"), "start", "--data-dir",
                              os.path.join(self.dir, "data"), "--tcp-port", self.tcp, "--rpc-port",
                              self.http, "--cpu-num", 1, "--log-level", "warn", *flags,
                              stdout=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        wait_for(self.tcp)
        wait_for(self.http)

    def close(self, keep=False, how=signal.SIGTERM):
        stop(self.process, how)
        if not keep:
            shutil.rmtree(self.dir)

    def lines(self, mode, kind, depth, keys, seconds=None):
        out = load(os.path.join(BUILD, "bench_line_load"), "--port", self.tcp, "--mode", mode,
                   "--type", kind, "--depth", depth, "--keys", keys, "--seconds",
                   seconds or settings.seconds)
        seen = json.loads(out)
        if seen["errors"]:
            raise SystemExit("errors in %s" % out)
        return seen["per_second"]

    def resident_kib(self):
        with open("/proc/%d/statm" % self.process.pid) as statm:
            return int(statm.read().split()[1]) * 4


def middle(*measures):
    """Each measure in turn, settings.rounds times; the median of each."""
    seen = [[] for _ in measures]
    for _ in range(settings.rounds):
        for i, measure in enumerate(measures):
            seen[i].append(measure())
    return [statistics.median(one) for one in seen]


def note(what, figure, beside=None, against=None, target=None, unit="/s", passed=None):
    """Prints a figure, and keeps it; passed (a boolean) says whether it is what was wanted."""
    ratio = figure / beside if beside else None
    line = "%-56s %12s%s" % (what, "{:,.0f}".format(figure) if figure >= 100 else "%.3g" % figure,
                             unit)
    if beside:
        line += "   %s %s   ratio %.2f" % (against, "{:,.0f}".format(beside), ratio)
    if target:
        line += "   wanted " + target
    if passed is not None:
        line += "   " + ("pass" if passed else "MISS")
    print(line, flush=True)
    results.append({"what": what, "figure": figure, "unit": unit, "against": against,
                    "beside": beside, "ratio": ratio, "wanted": target,
                    "passed": passed})
