# SPDX-License-Identifier: MIT
"""What the long soak has to have held, judged by what was measured in it, and what the judge makes of
hours that were made up: a judge that finds nothing is shown to be none in each run."""
import collections
import os
import statistics
import time

import soak_clients as clients
import soak_machine as machine
from harness import Failure, check, same

MORE_WORK = 1.5             # of the server for an answer, than in the first minute
LEAST_PACE = 0.5            # of the first minute's: a pace that is held by sinking further is none
TIMES = 2.0                 # of the first calm minute's p99
LEAST_P99_S = 0.010         # under that it is the machine's scheduler that is measured
CALM = 0.5                  # of a minute's seconds, and of the minutes, or nothing is told by them
LEFT_OUT = 0.01             # to a minute's answers; on a machine of its own there is none
WARM = 0.5                  # of a life: caches and arenas fill, by steps that get rarer
MEMORY_GROWTH = 4 << 20     # in a life after that, by a line through the samples: 28,000 entries and
                            # 2,000 connections make no more once all were there
MEMORY_SHARE = 0.08         # or that share of what it had: what comes and goes makes holes in the
                            # heap, for a while; 3 bytes a request lost are more than that in 24 min
SHORT_SHARE = 0.40          # of a life shorter than SHORT_S, which gets no further than that
SHORT_S = 600
FD_GROWTH = 40              # connections that change are away for half a second: 60 +- 15 of them


def quantile(counts, share):
    """Of times that were counted, in seconds."""
    left = share * sum(counts.values())
    for time_is in sorted(counts):
        left -= counts[time_is]
        if left < 0:
            break
    return time_is / clients.TIMES_A_SECOND


class Life:
    """Of one server, and what it used meanwhile."""

    def __init__(self, pid):
        self.pid, self.begin = pid, time.monotonic()
        self.samples = []   # seconds, bytes of memory, descriptors but for the clients' connections

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


class Record:
    """What was measured, second by second since the load began."""

    def __init__(self, seconds, minute_s):
        self.seconds, self.minute_s = seconds, minute_s     # of the machine: soak_machine's records
        self.times = collections.defaultdict(collections.Counter)  # of a second's answers, counted
        self.left_out, self.lags = collections.Counter(), collections.Counter()
        self.work = []                                      # of the server for an answer, by minute

    def add(self, times, left_out, lags):
        """What one process of clients knows."""
        for second, counts in times.items():
            self.times[second].update(counts)
        self.left_out.update(left_out)
        for second, lag in lags.items():
            self.lags[second] = max(self.lags[second], lag)

    def mean(self, which, of):
        """Of the machine, in some seconds."""
        return statistics.mean([self.seconds[s][which] for s in of if s in self.seconds] or [0.0])

    def counts_of(self, seconds):
        return sum((self.times[s] for s in seconds if s in self.times), collections.Counter())

    def add_work(self, of):
        """A minute is over: the server's CPU for an answer, in pieces of work."""
        spent = self.mean(machine.SERVER, of) * os.cpu_count() * len(of)
        self.work.append(spent / sum(self.counts_of(of).values()) / self.mean(machine.PIECE, of))

    def write(self, path):
        """What is known of each second, to be looked at."""
        with open(path, "w", encoding="ascii") as file:
            file.write("second others host piece asleep disk server lag left_out answers p99 slow\n")
            for second, record in sorted(self.seconds.items()):
                counts = self.times.get(second) or collections.Counter([0])
                slow = sum(n for t, n in counts.items() if t > 200)
                file.write("%d %s %.4f %d %d %.4f %d\n" % (
                    second, " ".join("%.5f" % value for value in record), self.lags[second],
                    self.left_out[second], sum(counts.values()), quantile(counts, 0.99), slow))

    def judge(self, all_s, say):
        """Fails where it got slower, by the seconds that count, of a load of all_s seconds."""
        minutes = [(minute + 1, range(minute * self.minute_s, (minute + 1) * self.minute_s))
                   for minute in range(int(all_s / self.minute_s))]
        first = next((of for _, of in minutes if machine.was_quiet(self.seconds, of)), None)
        check(first, "the machine was too busy to tell")
        calm = machine.calm(self.seconds, first)
        judged = [(minute, calm.intersection(of)) for minute, of in minutes
                  if len(calm.intersection(of)) >= CALM * self.minute_s]
        known = "%d of %d seconds and %d of %d minutes count" % (
            len(calm), len(self.seconds), len(judged), len(minutes))
        check(len(judged) >= CALM * len(minutes), "the machine was too busy to tell: " + known)
        slowest = [(minute, quantile(self.counts_of(of), 0.99)) for minute, of in judged]
        bound = TIMES * max(slowest[0][1], LEAST_P99_S)
        say("%s, from minute %d on: 99 %% within %.1f ms in that one, %.1f ms in the worst; in all "
            "seconds of each minute %.1f ms in the worst" % (
                known, slowest[0][0], slowest[0][1] * 1e3, max(p for _, p in slowest) * 1e3,
                max(quantile(self.counts_of(of), 0.99) for _, of in minutes) * 1e3))
        slow = ["minute %d: %.1f ms" % (minute, p99 * 1e3) for minute, p99 in slowest if p99 > bound]
        check(not slow, "99 %% of answers took longer than %.1f ms: %s" % (bound * 1e3, slow))
        self.judge_work(say)
        self.judge_thirds([p99 for _, p99 in slowest], say)
        self.judge_pace(judged, say)

    def judge_work(self, say):
        """The server's CPU for an answer, by the piece of work: a machine that gets slower is none,
        and the pace, which is held by what is used, must not hide a server that uses more."""
        text = "an answer took the server %.2f pieces of work in the first minute, %.2f to %.2f later" % (
            self.work[0], min(self.work[1:]), max(self.work[1:]))
        say(text)
        check(max(self.work) <= MORE_WORK * self.work[0], text)

    def judge_thirds(self, times, say):
        third = max(1, len(times) // 3)
        begin, end = statistics.median(times[:third]), statistics.median(times[-third:])
        text = "99 %% in the first third of them %.1f ms, in the last one %.1f ms" % (
            begin * 1e3, end * 1e3)
        say(text)
        check(end <= TIMES * max(begin, LEAST_P99_S), "it gets slower: " + text)

    def judge_pace(self, judged, say):
        """That it was not held by asking for less and less."""
        paces = [(minute, sum(self.counts_of(of).values()) / len(of)) for minute, of in judged]
        text = "%.0f answers a second in the first of them, %.0f in the least" % (
            paces[0][1], min(pace for _, pace in paces))
        say(text)
        check(min(pace for _, pace in paces) >= LEAST_PACE * paces[0][1], "the pace sinks: " + text)
        late = ["minute %d: %d" % (minute, sum(self.left_out[s] for s in of)) for minute, of in judged
                if sum(self.left_out[s] for s in of) > LEFT_OUT * sum(self.counts_of(of).values())]
        check(not late, "nobody could begin so many requests in time: %s" % late)


QUIET = (0.01, 0.0, 0.0002, 0.002, 0.003, 0.3)  # of the machine: a second that counts
QUICK = collections.Counter({20: 9900, 50: 100})
SLOW = collections.Counter({20: 6000, 500: 4000})
MADE_UP_S, MADE_UP_MINUTE_S = 600, 60


def answers(record, seconds, counts):
    record.times.update((second, counts) for second in seconds)


def disk_stalls(record, seconds):
    answers(record, seconds, SLOW)
    record.seconds.update((second, QUIET[:4] + (0.1, 0.3)) for second in seconds)


def others_work(record, seconds):
    record.seconds.update((second, (0.3, *QUIET[1:])) for second in seconds)


def it_creeps(record):
    """Never twice the first minute's, but twice that of those behind it."""
    for begin, end, slow in ((0, 60, 150), (60, 420, 100), (420, 600, 250)):
        answers(record, range(begin, end), collections.Counter({20: 9000, slow: 1000}))


def it_uses_more(record):
    record.work[7] *= 1.6


MADE_UP = (  # what happened, and what the judge has to say of it ("" where it has to pass)
    ("nothing", lambda record: None, ""),
    ("two slow seconds", lambda record: answers(record, range(300, 302), SLOW), "took longer than"),
    ("the same at the end", lambda record: answers(record, range(598, 600), SLOW), "took longer than"),
    ("the same while the disk stalls", lambda record: disk_stalls(record, range(300, 302)), ""),
    ("a disk that stalls for most of it", lambda record: disk_stalls(record, range(60, 500)),
     "too busy to tell"),
    ("others work for most of it", lambda record: others_work(record, range(60, 500)),
     "too busy to tell"),
    ("others work from the first minute on", lambda record: others_work(record, range(600)),
     "too busy to tell"),
    ("slower in each third", it_creeps, "it gets slower"),
    ("more of the processor for an answer", it_uses_more, "pieces of work"),
    ("requests that wait to begin", lambda record: record.left_out.update({400: 6200}),
     "nobody could begin"),
    ("a pace that sinks", lambda record: answers(
        record, range(420, 480), collections.Counter({20: 4850, 50: 50})), "the pace sinks"),
)


def made_up(change):
    """What the judge says of ten minutes of which one thing is changed, "" where they pass."""
    record = Record({second: QUIET for second in range(MADE_UP_S)}, MADE_UP_MINUTE_S)
    answers(record, range(MADE_UP_S), QUICK)
    record.work = [0.26] * (MADE_UP_S // MADE_UP_MINUTE_S)
    change(record)
    try:
        record.judge(MADE_UP_S, lambda text: None)
    except Failure as failure:
        return str(failure)
    return ""


def made_up_life(bytes_a_second, descriptors_a_second):
    """The same of a life of 24 minutes with 90 MB, sampled every two seconds."""
    life = Life(os.getpid())
    life.samples = [(s, 90e6 + s * bytes_a_second, 26 + s * descriptors_a_second)
                    for s in range(0, 1440, 2)]
    try:
        life.judge()
    except Failure as failure:
        return str(failure).split(":")[0]
    return ""


def run(runner):
    for name, change, wanted in MADE_UP:
        said = made_up(change)
        check(wanted in said if wanted else not said, "%s: the judge says %r" % (name, said))
    same(made_up_life(0, 0), "", "a life that is flat")
    same(made_up_life(3000, 0), "", "a life of 2 MB more")
    same(made_up_life(3 * 13000, 0), "memory grows", "a life that loses 3 bytes a request")
    same(made_up_life(0, 0.1), "descriptors grow", "a life that loses a descriptor each 10 s")
    runner.say("%d hours and 4 lives that were made up" % len(MADE_UP))
