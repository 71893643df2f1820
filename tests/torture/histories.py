# SPDX-License-Identifier: MIT
"""What many clients saw of few keys at once, through all doors, with kills between: explained by
one order of their operations for each key, or not."""
import os
import random
import time

import linear
import queue_history
from connections import DOORS, Crowd
from harness import Failure, Server, check, wait_until
from key_history import Keys, race, stampede, turnstile
from queue_clients import MOST, QUEUES, Clients, Using
from queue_history import UNKNOWN, Broken, History, Use
from shim import Control

EPOCH_S = 0.25  # for so long a key is in use
EACH = 6        # connections of each door
FLAGS = ("--hdd-shards", "2", "--write-buffer", "1m", "--read-cache", "64k")


def work(crowd, keys, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for member in crowd.idle():
            crowd.begin(member, keys.make())
        crowd.turn()
        keys.learn()


def restart(crowd, keys, server):
    """In the midst of everything."""
    server.kill()
    crowd.after_kill()
    server.process.stdout.close()
    server.log.close()
    server.start()
    keys.life += 1
    keys.known = {place: old for place, old in keys.known.items() if place[0] == "hdd"}
    crowd.open()


def of_keys(runner, seconds, races, stampedes):
    linear.self_test(runner.say, 10)
    server = Server(*FLAGS, keep=runner.room())
    pick = random.Random(runner.seed)
    try:
        crowd, keys, kills = Crowd(server, DOORS * EACH), Keys(runner.seed), 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            work(crowd, keys, EPOCH_S)
            if pick.random() < 0.2:
                restart(crowd, keys, server)
                kills += 1
                work(crowd, keys, EPOCH_S)
            crowd.finish()
            keys.judge()
        for number in range(races):
            race(crowd, pick, number)
        raced = races + sum(stampede(crowd, pick, number, 60) for number in range(stampedes))
        entered = sum(turnstile(crowd, pick, number, 60) for number in range(stampedes))
        crowd.close()
        runner.say("%d operations on %d keys linearizable, %d kills between; %d races of %d, one winner"
                   " each; %d times one alone behind a condition; answers: %s" % (
                       keys.ops, keys.judged, kills, raced, len(crowd.members), entered,
                       ", ".join("%s %d" % pair for pair in sorted(crowd.done.items()))))
        check(server.stop() == 0, "the end of a server")
    finally:
        if server.process.poll() is None:
            server.kill()
        server.close()


class QueueRun:
    def __init__(self, runner):
        self.pick = random.Random(runner.seed)
        room = runner.room()
        self.control = Control(runner.library, os.path.join(room, "data"))
        self.server = Server(*FLAGS, keep=room, env=self.control.env())
        self.kills = self.jumps = 0

    def begin(self):
        self.clients = Clients(self.pick.random(), self.control)
        self.clients.define(self.server)
        self.crowd = Crowd(self.server, DOORS * EACH)

    def work(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for member in self.crowd.idle():
                self.crowd.begin(member, self.clients.make())
            self.crowd.turn()

    def kill(self):
        self.server.kill()
        self.clients.after_kill(self.crowd.after_kill())
        self.server.process.stdout.close()
        self.server.log.close()
        self.server.start()
        self.crowd.open()
        self.kills += 1

    def left(self):
        """How much is in queues that hold anything."""
        told = {queue: self.server.rpc("Broker.GetQueue", {"name": queue})["result"]
                for queue in QUEUES}
        return {queue: [one[state] for state in ("ready", "leased", "delayed")]
                for queue, one in told.items() if one["ready"] + one["leased"] + one["delayed"]}

    def drain(self):
        for _ in range(8):
            self.clients.leases_end()
            wait_until(lambda: not any(leased for _, leased, _ in self.left().values()),
                       "leases to end")
            came = True
            while came:
                receives = [self.clients.receive(queue, 100, 0) for queue in QUEUES]
                self.crowd.volley(receives)
                came = [one for receive in receives for one in receive.event.got]
                for at in range(0, len(came), len(self.crowd.members)):
                    self.crowd.volley([Using(self.clients, Use("ack", one))
                                       for one in came[at:at + len(self.crowd.members)]])
            if not self.left():
                return
        check(False, "the queues are not drained: ready, leased, delayed: %s" % self.left())

    def judge(self):
        clients = self.clients
        came = {one.payload for receive in clients.receives for one in receive.got}
        for use, publish in clients.both:
            if use.outcome is UNKNOWN and publish.payload in came:
                use.outcome = publish.outcome = True  # both or none
        try:
            History(clients.publishes, clients.receives, MOST, clients.wiped).judge()
        except Broken as broken:
            raise Failure(str(broken)) from broken

    def epoch(self, kills):
        self.begin()
        for _ in range(self.pick.randrange(2, 5)):
            self.work(0.25)
            self.clients.leases_end()
            self.jumps += 1
            if kills and self.pick.random() < 0.3:
                self.work(0.1)
                self.kill()
        self.crowd.finish()
        self.drain()
        self.crowd.close()
        self.judge()
        return self.clients

    def close(self):
        if self.server.process.poll() is None:
            self.server.kill()
        self.control.close()
        self.server.close()


def of_queues(runner, seconds):
    queue_history.self_test(runner.say)
    run, sums = QueueRun(runner), [0, 0, 0]
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end or not run.kills:
            clients = run.epoch(True)
            sums[0] += len(clients.publishes)
            sums[1] += sum(len(receive.got) for receive in clients.receives)
            sums[2] += sum(len(one.uses) for receive in clients.receives for one in receive.got)
        runner.say("%d messages, %d deliveries, %d uses of receipts as promised; %d kills, %d times an"
                   " hour later" % (*sums, run.kills, run.jumps))
        check(run.server.stop() == 0, "the end of a server")
    finally:
        run.close()
