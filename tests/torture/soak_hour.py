# SPDX-License-Identifier: MIT
"""An hour of all sorts of work at 70 % of what server and clients together can do on this machine:
2,000 connections that come and go, through REST, JSON-RPC and lines; entries that expire, messages,
transactions; backups, ends and kills of the server between. Every answer is compared with a model.

Who waits for answers before asking again lets them pile up, and a pile is worked off with less time
for each than requests that come one by one, as those of the hour do: 70 % of that peak can be nine
tenths of the machine. So the pace is that which takes 70 % of the machine, if that is less.

What has to hold: no wrong answer; memory and descriptors stay flat while a server lives; 99 % of
the answers of each minute come within twice the time of the first minute's, and those of the last third
of the minutes (their median) within twice that of the first third. What is printed and not judged are
minutes in which others (processes, or guests of the same host) had more than a little of the machine, the
first ones as well, and those in which a piece of work that is always the same took longer than in the
first one that counts, as when a guest is given the other half of a core; half of the minutes have to count.

HATI_SOAK_S shortens it: minutes become tenths of it then, and lives too short to tell small leaks."""
import array
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import threading
import time

import soak_clients as clients
from harness import PATIENCE, Failure, Server, check, same, wait_until
from soak_model import LEASE_MS

CUSTOMERS = 2000
PROCESSES = 2
PEAK_S = 20
TRIAL_S = 10               # at a pace, to see how busy the machine is
TRIALS = 2
SHARE = 0.7
SAMPLE_S = 2
SLOT_S = 180                # or a tenth of the time; at the end of each a restart, but in the
LONG_LIFE = (0.41, 0.79)    # part of the time that one server has, for leaks that take their time
VERIFY_EVERY = 5            # minutes: a backup is imported elsewhere and looked at
FIXED_KEYS = 200
TIMES = 2.0                 # of the first calm minute's p99
LEAST_P99_S = 0.010         # under that it is the machine's scheduler that is measured
OTHERS = 0.025              # of the machine; each hundredth that a host took made it 5 ms longer
SLOWER = 1.1                # a piece of work than in the first minute: 70 % of a machine become 77
PIECE_S = 0.5               # between two looks at that
CALM = 0.5                  # of the minutes, or nothing is told by them
LEFT_OUT = 0.01             # of a minute's work; on a machine of its own there is none
WARM = 0.5                  # of a life: caches and arenas fill, by steps that get rarer
MEMORY_GROWTH = 4 << 20     # in a life after that, by a line through the samples: 28,000 entries and
                            # 2,000 connections make no more once all were there
MEMORY_SHARE = 0.08         # or that share of what it had: what comes and goes makes holes in the
                            # heap, for a while; 3 bytes a request lost are more than that in 24 min
SHORT_SHARE = 0.40          # of a life shorter than SHORT_S, which gets no further than that
SHORT_S = 600
FD_GROWTH = 40              # connections that change are away for half a second: 60 +- 15 of them


def others_and_ours(pids):
    """CPU seconds that the machine spent, but on what gives way to others (nice), and those of
    `pids` and of what ended under this process."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(word) for word in stat.readline().split()[1:]]
    tick = os.sysconf("SC_CLK_TCK")
    ours = sum(os.times()[:4])
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
                words = stat.read().rsplit(")", 1)[1].split()
            ours += (int(words[11]) + int(words[12])) / tick
        except OSError:
            pass
    return (fields[0] + fields[2] + sum(fields[5:8])) / tick, ours


def work_piece():
    """CPU seconds that it takes, which tell how fast the machine is; about one thousandth."""
    start = time.thread_time()
    number = 0
    for i in range(20000):
        number += i * i & 7
    return time.thread_time() - start


class Life:
    """Of one server, and what it used meanwhile."""

    def __init__(self, pid):
        self.pid, self.begin = pid, time.monotonic()
        self.samples = []

    def sample(self, connections):
        with open("/proc/%d/status" % self.pid, encoding="ascii") as status:
            anonymous = next(int(line.split()[1]) << 10 for line in status
                             if line.startswith("RssAnon"))
        descriptors = len(os.listdir("/proc/%d/fd" % self.pid))
        self.samples.append((time.monotonic() - self.begin, anonymous, descriptors - connections))

    def growth(self, which):
        """By the line of least squares, from when it was warm to its end."""
        age = self.samples[-1][0]
        warm = [(s[0], s[which]) for s in self.samples if s[0] >= age * WARM]
        mean = [sum(column) / len(warm) for column in zip(*warm)]
        spread = sum((x - mean[0]) ** 2 for x, _ in warm)
        slope = sum((x - mean[0]) * (y - mean[1]) for x, y in warm) / spread if spread else 0
        return slope * (warm[-1][0] - warm[0][0]), warm[0][1]

    def judge(self):
        """A line about it, which fails where it grew."""
        if len(self.samples) < 10:
            return "a life of %.0f s" % (time.monotonic() - self.begin)
        memory, had = self.growth(1)
        descriptors, _ = self.growth(2)
        text = "a life of %.0f s: memory %+.1f MB on %.1f MB, descriptors %+.0f" % (
            self.samples[-1][0], memory / 1e6, had / 1e6, descriptors)
        share = MEMORY_SHARE if self.samples[-1][0] >= SHORT_S else SHORT_SHARE
        check(memory <= max(MEMORY_GROWTH, had * share), "memory grows: " + text)
        check(descriptors <= FD_GROWTH, "descriptors grow: " + text)
        return text


class Backups:
    """Exports while it works, and now and then a look at what is in one."""

    def __init__(self, server, room, say):
        self.server, self.room, self.say = server, room, say
        self.count = self.verified = 0
        self.slowest = 0.0
        self.error = self.thread = None

    def hati(self, *words):
        done = subprocess.run([Server.binary, *words], env=self.server.env, check=False,
                              capture_output=True, timeout=10 * PATIENCE)
        check(done.returncode == 0, "hati %s: %d %s" % (words[0], done.returncode, done.stderr[-500:]))

    def begin(self, with_look):
        check(not self.thread or not self.thread.is_alive(), "a backup takes longer than a minute")
        self.thread = threading.Thread(target=self.run, args=(with_look,))
        self.thread.start()

    def run(self, with_look):
        path = os.path.join(self.room, "backup")
        try:
            line = self.server.line()
            mark = line.ask("INCR hdd soak.mark")
            start = time.monotonic()
            self.hati("export", "--rpc-port", str(self.server.http), path)
            self.slowest = max(self.slowest, time.monotonic() - start)
            line.ask("INCR hdd soak.mark")
            line.close()
            self.count += 1
            if with_look:
                self.look(path, mark)
                self.verified += 1
        except Exception as error:
            self.error = error

    def look(self, path, mark):
        """Imports it elsewhere, and reads there what has to be in it."""
        place, text = os.path.join(self.room, "elsewhere"), os.path.join(self.room, "text")
        self.hati("import", "--data-dir", place, path)
        self.hati("export", "--data-dir", place, "--format", "ndjson", text)
        entries, messages = {}, set()
        with open(text, encoding="utf-8") as lines:
            for item in map(json.loads, lines):
                if item.get("kind") == "entry":
                    entries[item["key"]] = item["value"]
                elif item.get("kind") == "message":
                    name = (item["queue"], item["payload"].split("/")[0])
                    check(name not in messages, "a message is twice in a backup: %s" % (name,))
                    messages.add(name)
        shutil.rmtree(place)
        os.remove(text)
        os.remove(path)
        same(entries.get("soak.mark"), mark, "what was written right before the backup")
        for i in range(FIXED_KEYS):
            same(entries.get("soak.fixed.%d" % i), fixed_value(i), "a key that nobody touches")
        for number in range(CUSTOMERS):
            x, y = (int(entries.get("c%d.%s" % (number, name), 0)) for name in "xy")
            check(x == -y, "half a transaction in a backup: c%d %d %d" % (number, x, y))

    def finish(self):
        if self.thread:
            self.thread.join()
        if self.error:
            raise Failure("a backup: %r" % self.error) from self.error


def fixed_value(i):
    return "%d." % i + "f" * (i * 7)


class Soak:
    def __init__(self, runner, seconds):
        self.runner, self.say, self.seconds = runner, runner.say, seconds
        self.minute_s = min(60.0, seconds / 10)
        self.server = Server("--write-buffer", "8m", "--read-cache", "8m")
        self.shared = multiprocessing.Array("d", clients.PER_PROCESS + PROCESSES * clients.SLOTS,
                                            lock=False)
        self.processes, self.pipes = [], []
        self.backups = Backups(self.server, runner.room(), self.say)
        self.idle_descriptors = len(os.listdir("/proc/%d/fd" % self.server.process.pid))
        self.life = Life(self.server.process.pid)
        self.parts, self.minutes, self.wrong, self.ends = {}, [], [], []
        self.starts, self.slowest_start, self.lives = 0, 0.0, 0
        self.notes, self.pieces = [], []

    def prepare(self):
        line = self.server.line()
        for process in range(PROCESSES):
            for i, is_durable in enumerate(clients.DURABLE):
                same(self.make_queue(line, process, i, is_durable), "+OK", "CREATEQUEUE")
        for i in range(FIXED_KEYS):
            same(line.ask("SET hdd 0 soak.fixed.%d %s" % (i, fixed_value(i))), "+OK", "SET")
        line.close()

    def make_queue(self, line, process, i, is_durable):
        return line.ask("CREATEQUEUE %s %s lease=%d" % (
            clients.queue_name(process, i), "hdd" if is_durable else "memory",
            LEASE_MS))

    def tell(self, is_up):
        self.shared[clients.TCP], self.shared[clients.HTTP] = self.server.tcp, self.server.http
        self.shared[clients.INCARNATION] += 1
        self.shared[clients.IS_UP] = is_up

    def begin_clients(self):
        context = multiprocessing.get_context("fork")
        self.tell(clients.UP)
        for i in range(PROCESSES):
            ours, theirs = context.Pipe(False)
            process = context.Process(target=clients.run_half, daemon=True, args=(
                self.shared, theirs, i, CUSTOMERS // PROCESSES, self.runner.seed))
            process.start()
            theirs.close()
            self.processes.append(process)
            self.pipes.append(ours)
        for pipe in self.pipes:
            check(pipe.poll(2 * PATIENCE), "the clients do not get ready")
            same(pipe.recv()[0], "ready", "a client process")

    def of_processes(self, which):
        return sum(self.shared[clients.PER_PROCESS + i * clients.SLOTS + which]
                   for i in range(PROCESSES))

    def cpu(self):
        return others_and_ours([self.server.process.pid] + [p.pid for p in self.processes])

    def find_peak(self):
        self.shared[clients.PHASE] = clients.PEAK
        time.sleep(PEAK_S / 4)
        done, start = self.of_processes(clients.DONE), time.monotonic()
        time.sleep(PEAK_S * 3 / 4)
        peak = (self.of_processes(clients.DONE) - done) / (time.monotonic() - start)
        self.set_rate(SHARE * SHARE * peak)
        self.shared[clients.PHASE] = clients.TRIAL
        for _ in range(TRIALS):
            time.sleep(TRIAL_S / 5)
            used, start = self.cpu()[1], time.monotonic()
            time.sleep(TRIAL_S * 4 / 5)
            busy = (self.cpu()[1] - used) / (time.monotonic() - start) / os.cpu_count()
            self.say("%.0f operations a second take %.0f %% of the machine" % (self.rate, busy * 100))
            self.set_rate(min(SHARE * peak, self.rate * SHARE / busy))
        self.say("peak of clients and server together: %.0f operations a second; %.0f from now on" % (
            peak, self.rate))

    def set_rate(self, rate):
        self.rate = rate
        self.shared[clients.RATE] = rate / PROCESSES

    def sample(self):
        self.life.sample(self.of_processes(clients.OPEN))

    def restart(self, by_kill):
        """An end in the middle of it all; the clients go on sending until nobody answers."""
        self.backups.finish()
        self.say(self.life.judge())
        self.lives += 1
        self.shared[clients.IS_UP] = clients.GOING
        if by_kill:
            self.server.kill()
        else:
            same(self.server.stop(), 0, "the end of a server that was asked to")
        self.shared[clients.IS_UP] = clients.DOWN
        self.server.process.stdout.close()
        self.server.log.close()
        start = time.monotonic()
        self.server.start()
        took = time.monotonic() - start
        line = self.server.line()
        for process in range(PROCESSES):
            for i, is_durable in enumerate(clients.DURABLE):
                self.make_queue(line, process, i, is_durable)
        line.close()
        self.slowest_start = max(self.slowest_start, took)
        self.starts += 1
        self.shared[clients.READY_AT] = time.monotonic()
        self.tell(clients.UP)
        self.life = Life(self.server.process.pid)
        self.notes.append("%s, %.2f s to start" % ("killed" if by_kill else "ended", took))

    def listen(self):
        for pipe in self.pipes:
            while pipe.poll():
                try:
                    self.hear(pipe.recv())
                except EOFError:
                    break

    def hear(self, message):
        if message[0] == "wrong":
            self.wrong.append(message[1])
        elif message[0] == "end":
            self.ends.append(message[1:])
        else:
            self.parts.setdefault(message[1], []).append(message[2:])

    def finish_minute(self, minute):
        parts = self.parts.pop(minute)
        times = array.array("f")
        for part in parts:
            times.frombytes(part[0])
        times = sorted(times)
        left_out, changes = sum(p[1] for p in parts), sum(p[2] for p in parts)
        spent, ours = self.cpu()
        others = max(0.0, spent - self.spent - (ours - self.ours)) / (
            time.monotonic() - self.since) / os.cpu_count()
        self.spent, self.ours, self.since = spent, ours, time.monotonic()
        check(times, "minute %d: nothing was answered" % (minute + 1))
        p99 = times[len(times) * 99 // 100]
        self.minutes.append((p99, others, left_out, statistics.mean(self.pieces or [work_piece()])))
        self.pieces = []
        self.sample()
        _, memory, descriptors = self.life.samples[-1]
        self.say("minute %d: %d answers, median %.1f ms, 99 %% %.1f ms (%.1f times the first), "
                 "slowest %.0f ms; %d left out; others %.1f %% of the machine, a piece of work %.2f ms; %.1f MB, "
                 "%d + %d descriptors; %d connections changed%s" % (
                     minute + 1, len(times), times[len(times) // 2] * 1e3, p99 * 1e3,
                     p99 / self.minutes[0][0], times[-1] * 1e3, left_out, others * 100,
                     self.minutes[-1][3] * 1e3, memory / 1e6, self.of_processes(clients.OPEN),
                     descriptors, changes,
                     "".join("; " + note for note in self.notes) +
                     ("; after the start %.1f s at most" % max(p[3] for p in parts)
                      if any(p[3] for p in parts) else "")))
        self.notes = []

    def begin_load(self):
        self.spent, self.ours = self.cpu()
        self.since = time.monotonic()
        self.shared[clients.READY_AT] = -self.minute_s
        self.shared[clients.START] = self.start = time.monotonic()
        self.shared[clients.MINUTE] = self.minute_s
        self.shared[clients.PHASE] = clients.LOAD
        self.life = Life(self.server.process.pid)

    def load(self):
        """Backups in the middle of minutes, ends at the ends of slots."""
        self.begin_load()
        slot_s = min(SLOT_S, self.seconds / 10)
        next_backup, next_sample, next_piece, slot, minute = 0.5 * self.minute_s, 0.0, 0.0, 1, 0
        while (now := time.monotonic() - self.start) < self.seconds + 0.5:
            time.sleep(0.05)
            self.listen()
            self.judge_answers()
            if now >= next_piece:
                self.pieces.append(work_piece())
                next_piece = now + PIECE_S
            if now >= next_sample:
                self.sample()
                next_sample = now + SAMPLE_S
            if now >= next_backup:
                self.backups.finish()
                self.backups.begin(minute % VERIFY_EVERY == 0)
                next_backup += self.minute_s
            if now >= slot * slot_s and now < self.seconds - slot_s / 2:
                if not LONG_LIFE[0] < now / self.seconds < LONG_LIFE[1]:
                    self.restart(slot % 2 == 0)
                slot += 1
            if len(self.parts.get(minute, ())) == PROCESSES:
                self.finish_minute(minute)
                minute += 1

    def judge_answers(self):
        check(self.server.process.poll() is None, "the server ended with %s: %s" % (
            self.server.process.poll(), self.server.log_text()[-3000:]))
        check(not self.wrong, "%d wrong answers: %s" % (len(self.wrong), self.wrong[:3]))
        for process in self.processes:
            check(process.is_alive() or len(self.ends) == PROCESSES, "a client process ended")

    def end(self):
        """Everything is read once more, every message taken out, and every connection closed."""
        self.backups.finish()
        self.shared[clients.PHASE] = clients.END
        wait_until(lambda: (self.listen(), len(self.ends) == PROCESSES or self.wrong)[1],
                   "the clients do not end", 10 * PATIENCE)
        self.judge_answers()
        self.say(self.life.judge())
        pid = self.server.process.pid
        wait_until(lambda: len(os.listdir("/proc/%d/fd" % pid)) <= self.idle_descriptors + 8,
                   "descriptors stay open: %d, %d at first" % (
                       len(os.listdir("/proc/%d/fd" % pid)), self.idle_descriptors))
        same(self.server.stop(), 0, "the end")

    def judge_minutes(self):
        alone = [(number, minute) for number, minute in enumerate(self.minutes, 1)
                 if minute[1] <= OTHERS]
        check(alone, "the machine was too busy to tell")
        first, slower = alone[0][1][0], SLOWER * alone[0][1][3]
        calm = [(number, minute) for number, minute in alone if minute[3] <= slower]
        check(len(calm) >= CALM * len(self.minutes), "the machine was too busy to tell: %d of %d "
              "minutes were calm" % (len(calm), len(self.minutes)))
        bound = TIMES * max(first, LEAST_P99_S)
        worst = max(minute[0] for _, minute in calm)
        self.say("%d of %d minutes were calm, from minute %d on: worst 99 %% %.1f ms, %.1f times that "
                 "one's" % (len(calm), len(self.minutes), calm[0][0], worst * 1e3, worst / first))
        slow = ["minute %d: %.1f ms" % (number, minute[0] * 1e3) for number, minute in calm
                if minute[0] > bound]
        check(not slow, "99 %% of answers took longer than %.1f ms: %s" % (bound * 1e3, slow))
        self.judge_thirds([minute[0] for _, minute in calm])
        late = ["minute %d: %d" % (number, minute[2]) for number, minute in calm
                if minute[2] > self.rate * self.minute_s * LEFT_OUT]
        check(not late, "nobody could begin so many requests in time: %s" % late)

    def judge_thirds(self, times):
        third = max(1, len(times) // 3)
        begin, end = statistics.median(times[:third]), statistics.median(times[-third:])
        text = "99 %% in the first third of them %.1f ms, in the last one %.1f ms" % (
            begin * 1e3, end * 1e3)
        self.say(text)
        check(end <= TIMES * max(begin, LEAST_P99_S), "it gets slower: " + text)

    def close(self):
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()
        self.server.close()


def run(runner, default_seconds):
    seconds = float(os.environ.get("HATI_SOAK_S") or default_seconds)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    soak = Soak(runner, seconds)
    try:
        soak.prepare()
        soak.begin_clients()
        soak.find_peak()
        soak.load()
        soak.end()
        soak.judge_minutes()
        runner.say("%d answers compared; %d restarts, half of them kills, the slowest start %.2f s; "
                   "%d backups, the slowest %.1f s, %d looked into; %d messages, %d deliveries, %d "
                   "of them again" % (
                       soak.of_processes(clients.DONE), soak.starts, soak.slowest_start,
                       soak.backups.count, soak.backups.slowest, soak.backups.verified,
                       *(sum(column) for column in zip(*soak.ends))))
    except Failure:
        runner.keep(soak.server.dir)
        raise
    finally:
        soak.close()
