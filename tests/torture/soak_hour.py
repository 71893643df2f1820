# SPDX-License-Identifier: MIT
"""An hour of all sorts of work at 70 % of what server and clients together can do on this machine:
2,000 connections that come and go, through REST, JSON-RPC and lines; entries that expire, messages,
transactions; backups, ends and kills of the server between. Every answer is compared with a model.

Who waits for answers before asking again lets them pile up, and a pile is worked off with less time
for each than requests that come one by one, as those of the hour do: 70 % of that peak can be nine
tenths of the machine. So the pace is that which takes 70 % of the machine, if that is less.

What has to hold: no wrong answer; memory and descriptors stay flat while a server lives; 99 % of
the answers of each minute come within twice the time of the first minute's, and those of the last third
of the minutes (their median) within twice that of the first third. Of each minute those seconds count in
which the machine was as in the first one (see soak_machine); half of them have to, and half of the
minutes. Neither the server's work for an answer may grow by half, nor the pace sink to half (see soak_judge).

HATI_SOAK_S shortens it: minutes become tenths of it then, and lives too short to tell small leaks.
HATI_SOAK_SECONDS names a file for what is known of each second."""
import multiprocessing
import os
import resource
import time

import soak_clients as clients
import soak_machine as machine
from harness import PATIENCE, Failure, Server, check, same, wait_until
from soak_backups import FIXED_KEYS, Backups, fixed_value
from soak_judge import Life, Record, quantile
from soak_model import LEASE_MS

CUSTOMERS = 2000
PROCESSES = 2
PEAK_S = 20
TRIAL_S = 10               # at a pace, to see how busy the machine is
TRIALS = 2
SHARE = 0.7
HOLD_S = 5                  # how often the pace is looked at
HOLD_STEP = 0.05            # of it, at most
SAMPLE_S = 2
SLOT_S = 180                # or a tenth of the time; at the end of each a restart, but in the
LONG_LIFE = (0.41, 0.79)    # part of the time that one server has, for leaks that take their time
VERIFY_EVERY = 5            # minutes: a backup is imported elsewhere and looked at


class Soak:
    def __init__(self, runner, seconds):
        self.runner, self.say, self.seconds = runner, runner.say, seconds
        self.minute_s = min(60, max(1, int(seconds / 10)))
        self.server = Server("--write-buffer", "8m", "--read-cache", "8m")
        self.shared = multiprocessing.Array("d", clients.PER_PROCESS + PROCESSES * clients.SLOTS,
                                            lock=False)
        self.processes, self.pipes = [], []
        self.backups = Backups(self.server, runner.room(), CUSTOMERS)
        self.idle_descriptors = len(os.listdir("/proc/%d/fd" % self.server.process.pid))
        self.life = Life(self.server.process.pid)
        self.parts, self.wrong, self.ends = {}, [], []
        self.starts, self.slowest_start, self.lives = 0, 0.0, 0
        self.notes, self.held = [], None
        self.machine = machine.Machine(self.pids, runner.room())
        self.record = Record(self.machine.seconds, self.minute_s)

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

    def pids(self):
        return [self.server.process.pid] + [p.pid for p in self.processes]

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
            used, start = self.machine.used()[1], time.monotonic()
            time.sleep(TRIAL_S * 4 / 5)
            busy = (self.machine.used()[1] - used) / (time.monotonic() - start) / os.cpu_count()
            self.say("%.0f operations a second take %.0f %% of the machine" % (self.rate, busy * 100))
            self.set_rate(min(SHARE * peak, self.rate * SHARE / busy))
        self.most = SHARE * peak
        self.say("peak of clients and server together: %.0f operations a second; %.0f from now on" % (
            peak, self.rate))

    def hold_pace(self):
        """At that share of the machine, also where its host leaves it less than before."""
        before, self.held = self.held, (time.monotonic(), self.machine.used()[1], self.starts)
        if before and before[2] == self.starts:
            busy = (self.held[1] - before[1]) / (self.held[0] - before[0]) / os.cpu_count()
            self.set_rate(min(self.most, self.rate * min(1 + HOLD_STEP,
                                                         max(1 - HOLD_STEP, SHARE / busy))))

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
        seconds = range(minute * self.minute_s, (minute + 1) * self.minute_s)
        for times, left_out, _, _, lags in parts:
            self.record.add(times, left_out, lags)
        counts = self.record.counts_of(seconds)
        check(counts, "minute %d: nothing was answered" % (minute + 1))
        self.sample()
        _, memory, descriptors = self.life.samples[-1]
        others, stolen, piece, asleep, disk, mine = (
            self.record.mean(which, seconds) for which in machine.FIELDS)
        self.say("minute %d: %d answers, median %.1f ms, 99 %% %.1f ms, slowest %.0f ms; %d left out; "
                 "others %.1f %% of the machine, its host %.1f, the server %.1f; a piece of work "
                 "%.3f ms, a core late by %.1f, the disk %.1f; %.1f MB, %d + %d descriptors; "
                 "%d connections changed%s" % (
                     minute + 1, sum(counts.values()), quantile(counts, 0.5) * 1e3,
                     quantile(counts, 0.99) * 1e3, max(counts) * 1e3 / clients.TIMES_A_SECOND,
                     sum(self.record.left_out[s] for s in seconds), others * 100,
                     stolen * 100, mine * 100, piece * 1e3, asleep * 1e3, disk * 1e3, memory / 1e6,
                     self.of_processes(clients.OPEN), descriptors, sum(p[2] for p in parts),
                     "".join("; " + note for note in self.notes) +
                     ("; after the start %.1f s at most" % max(p[3] for p in parts)
                      if any(p[3] for p in parts) else "")))
        self.notes = []
        self.record.add_work(seconds)

    def begin_load(self):
        self.shared[clients.READY_AT] = -self.minute_s
        self.shared[clients.START] = self.start = time.monotonic()
        self.shared[clients.MINUTE] = self.minute_s
        self.shared[clients.PHASE] = clients.LOAD
        self.life = Life(self.server.process.pid)
        self.machine.begin()

    def load(self):
        """Backups in the middle of minutes, ends at the ends of slots."""
        self.begin_load()
        slot_s = min(SLOT_S, self.seconds / 10)
        next_backup, next_sample, next_hold, slot, minute = 0.5 * self.minute_s, 0.0, 0.0, 1, 0
        while (now := time.monotonic() - self.start) < self.seconds + 0.5:
            time.sleep(0.05)
            self.listen()
            self.judge_answers()
            self.machine.look()
            if now >= next_sample:
                self.sample()
                next_sample = now + SAMPLE_S
            if now >= next_hold:
                self.hold_pace()
                next_hold = now + HOLD_S
            if now >= next_backup:
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
        self.backups.end()
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

    def close(self):
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()
        self.backups.close()
        self.machine.close()
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
        if os.environ.get("HATI_SOAK_SECONDS"):
            soak.record.write(os.environ["HATI_SOAK_SECONDS"])
        soak.record.judge(seconds, runner.say)
        runner.say("%d answers compared; %d restarts, half of them kills, the slowest start %.2f s; "
                   "%d backups, the slowest %.1f s, %d looked into; %d messages, %d deliveries, %d "
                   "of them again" % (
                       soak.of_processes(clients.DONE), soak.starts, soak.slowest_start,
                       soak.backups.count, soak.backups.slowest, soak.backups.looks,
                       *(sum(column) for column in zip(*soak.ends))))
    except Failure:
        runner.keep(soak.server.dir)
        raise
    finally:
        soak.close()
