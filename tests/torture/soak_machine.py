# SPDX-License-Identifier: MIT
"""What the machine had for the long soak, second by second: what others took of it (processes, or
guests of the same host), how long a piece of work took that is always the same, and for how long at
most a core or the disk did not answer at all. A guest that gets less of a core than before, or none
for a while, is not told so by its host: work takes longer there, and somebody who sleeps wakes late.

Seconds are told apart, for the hundredth part of a minute's answers that are the slowest all come in one
or two of its seconds."""
import multiprocessing
import os
import statistics
import tempfile
import threading
import time

OTHERS, STOLEN, PIECE, ASLEEP, DISK, SERVER = FIELDS = range(6)  # of a second's record
PIECES_S = 0.1      # between two of them
LOOKS_S = 0.02      # between two at a core, or at the disk
MOST_OTHERS = 0.05  # of the machine in a second; ticks make it 0.04 on one that nobody else uses
SLOWER = 1.3        # than in the first minute; the pace is held to what the machine can do
STALL_S = 0.02      # of a core or the disk: an answer that had to wait for it is no quick one


def watch_core(core, longest):
    """Wakes on it, often; who slept has the next turn."""
    os.sched_setaffinity(0, {core})
    while True:
        start = time.monotonic()
        time.sleep(LOOKS_S)
        longest[ASLEEP] = max(longest[ASLEEP], time.monotonic() - start - LOOKS_S)


def watch_disk(room, longest):
    """Writes the same block over and over; its file system has nothing to note for it."""
    with tempfile.TemporaryFile(dir=room, buffering=0) as file:
        file.write(bytes(4096))
        os.fsync(file.fileno())
        while True:
            start = time.monotonic()
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fdatasync(file.fileno())
            longest[DISK] = max(longest[DISK], time.monotonic() - start)
            time.sleep(LOOKS_S)


def watch(room, longest):
    for core in os.sched_getaffinity(0):
        threading.Thread(target=watch_core, args=(core, longest), daemon=True).start()
    watch_disk(room, longest)


def cpu_used(pid):
    """Seconds, or none where it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
            words = stat.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def cpu_of_all():
    """CPU seconds that the machine spent, but on what gives way to others (nice); and those of them
    in which it was not there, for its host did something else."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(word) for word in stat.readline().split()[1:]]
    tick = os.sysconf("SC_CLK_TCK")
    return (fields[0] + fields[2] + sum(fields[5:8])) / tick, fields[7] / tick


def piece_of_work():
    """CPU seconds that it takes, which tell how fast the machine is; about a fifth of one thousandth."""
    start = time.thread_time()
    number = 0
    for i in range(4000):
        number += i * i & 7
    return time.thread_time() - start


class Machine:
    def __init__(self, pids, room):
        self.pids = pids    # a function: the server, the clients
        self.seconds = {}   # since begin(): a record of each
        self.longest = multiprocessing.Array("d", len(FIELDS), lock=False)
        self.watcher = multiprocessing.get_context("fork").Process(
            target=watch, args=(room, self.longest), daemon=True)
        self.watcher.start()
        self.begin()

    def begin(self):
        self.start = time.monotonic()
        self.pieces, self.second, self.next_piece = [], 0, 0.0
        self.before = self.now()

    def used(self):
        """CPU seconds by the server, and by all that belong to this."""
        server, *clients = map(cpu_used, [*self.pids(), self.watcher.pid])
        return server, server + sum(clients) + sum(os.times()[:4])

    def now(self):
        spent, stolen = cpu_of_all()
        server, ours = self.used()
        return time.monotonic(), spent - ours, stolen, server

    def look(self):
        """To be called often."""
        since = time.monotonic() - self.start
        if since >= self.next_piece:
            self.pieces.append(piece_of_work())
            self.next_piece = since + PIECES_S
        if int(since) > self.second:
            then, now = self.before, self.now()
            time_s, others, stolen, mine = (b - a for a, b in zip(then, now))
            cores = time_s * os.cpu_count()
            record = (max(0.0, others / cores), stolen / cores, statistics.mean(self.pieces),
                      self.longest[ASLEEP], self.longest[DISK], max(0.0, mine / cores))
            self.longest[ASLEEP] = self.longest[DISK] = 0.0
            for second in range(self.second, int(since)):
                self.seconds[second] = record
            self.before, self.pieces, self.second = now, [], int(since)

    def close(self):
        self.watcher.kill()
        self.watcher.join()


def was_quiet(records, seconds):
    """Nobody else had much of it in most of them."""
    return statistics.median(records[s][OTHERS] if s in records else 1.0
                             for s in seconds) <= MOST_OTHERS / 2


def calm(records, like):
    """Seconds in which it was as in the median of `like`, and in the second before as well, for what
    piled up then is worked off."""
    piece = statistics.median(records[s][PIECE] for s in like)
    good = {second for second, record in records.items()
            if record[OTHERS] <= MOST_OTHERS and record[PIECE] <= SLOWER * piece
            and max(record[ASLEEP], record[DISK]) <= STALL_S}
    return {second for second in good if second == 0 or second - 1 in good}
