# SPDX-License-Identifier: MIT
"""A process full of clients of the long soak. Each client has a connection that it changes now and
then, entries that nobody else writes, and knows what each answer has to be. Work comes at a pace
that does not wait for answers."""
import asyncio
import collections
import gc
import random
import time
import traceback

from harness import PATIENCE, Failure
from soak_doors import DOORS
from soak_model import Entry, Number, Queue, now_ms

# What the processes and who drives them share: numbers in an array.
INCARNATION, IS_UP, TCP, HTTP, PHASE, RATE, START, MINUTE, READY_AT, PER_PROCESS = range(10)
DONE, OPEN, SLOTS = range(3)  # of each process, behind those
DOWN, UP, GOING = range(3)    # of IS_UP; GOING: told to end, or about to be killed
WAIT, PEAK, TRIAL, LOAD, END = range(5)

IN_FLIGHT = 48      # of a process while the peak is looked for
CHANGES = 0.03      # of the connections end in a second
LATEST_S = 1.0      # what could not be begun by then is left out, and counted
TIMES_A_SECOND = 10000  # answers are counted by their time in such parts of it
SETTLE = 12         # of a minute, after a start: two thousand connections come at once; printed apart
DURABLE = (True, True, True, False, False)  # the queues of a process


def queue_name(process, i):
    return "soak-%d-%d" % (process, i)


class Customer:
    """One client, its model, and what it does next."""

    def __init__(self, half, number):
        self.half, self.name = half, "c%d" % number
        self.random = random.Random(number * 7919 + half.seed)
        self.door = None
        self.serial = 0
        self.due = None
        self.outbox = []  # [(queue, serial)] whose transaction had no answer
        self.entries = {(storage, "%s.%s%d" % (self.name, kind, i)): Entry()
                        for storage, kind, count in (("hdd", "h", 4), ("hdd", "t", 2),
                                                     ("memory", "m", 2), ("memory", "t", 2))
                        for i in range(count)}
        self.number, self.pair = Number(), Number()
        self.last = Entry()  # what its outbox's key says
        self.weighted = [(self.put, 20), (self.get, 32), (self.delete, 5), (self.count, 7),
                         (self.transfer, 6), (self.look_at_pair, 4), (self.publish, 10),
                         (self.publish_with_key, 4), (self.consume, 12)]

    def forget_memory(self):
        for storage, key in self.entries:
            if storage == "memory":
                self.entries[storage, key] = Entry()

    async def connect(self):
        self.door = self.random.choice(DOORS)()
        await self.door.connect(self.half.ports())

    async def timed(self, answer):
        start = self.due or time.monotonic()
        self.due = None
        got = await answer
        self.half.took(start)
        return got

    async def operate(self, due):
        self.due = due
        if self.outbox:
            await self.look_at_outbox()
        dice = self.random.random() * 100
        for operation, weight in self.weighted:
            dice -= weight
            if dice < 0:
                break
        await operation()

    def pick(self):
        (storage, key), entry = self.random.choice(list(self.entries.items()))
        ttl = self.random.choice((50, 400, 3000, 20000)) if ".t" in key else 0
        return storage, key, entry, ttl

    def make_value(self):
        self.serial += 1
        dice = self.random.random()
        size = self.random.randrange(300 if dice < 0.98 else 5000 if dice < 0.999 else 200000)
        return b"%s=%d." % (self.name.encode(), self.serial) + b"v" * size

    async def put(self):
        storage, key, entry, ttl = self.pick()
        value, sent = self.make_value(), now_ms()
        try:
            await self.timed(self.door.set(storage, key, value, ttl))
        except ConnectionError:
            entry.may_have_written(value, ttl, sent)
            raise
        entry.wrote(value, ttl, sent)

    async def get(self):
        storage, key, entry, _ = self.pick()
        await self.read(storage, key, entry)

    async def read(self, storage, key, entry):
        sent = now_ms()
        got = await self.timed(self.door.get(storage, key))
        before = entry.may
        if not entry.read(got, sent):
            raise Failure("%s %s by %s: read %.60r at %.0f, may be %.300r" % (
                storage, key, type(self.door).__name__, got, sent, before))

    async def delete(self):
        storage, key, entry, _ = self.pick()
        try:
            await self.timed(self.door.delete(storage, key))
        except ConnectionError:
            entry.may_have_written(None)
            raise
        entry.wrote(None)

    async def count(self):
        by = self.random.randrange(-99, 100)
        try:
            got = await self.timed(self.door.increment(self.name + ".n", by))
        except ConnectionError:
            self.number.may_have_added(by)
            raise
        before = self.number.may
        if not self.number.added(by, got):
            raise Failure("%s.n: %d after %d to %s" % (self.name, got, by, before))

    async def transfer(self):
        """From one number to another, in one transaction."""
        by = self.random.randrange(1, 100)
        ops = [{"op": "incr", "key": self.name + ".x", "by": by},
               {"op": "incr", "key": self.name + ".y", "by": -by}]
        try:
            got = await self.timed(self.door.batch(ops))
        except ConnectionError:
            self.pair.may_have_added(by)
            raise
        before = self.pair.may
        if got[0] != -got[1] or not self.pair.added(by, got[0]):
            raise Failure("%s: %s after %d between pairs %s" % (self.name, got, by, before))

    async def look_at_pair(self):
        x = int(await self.timed(self.door.get("hdd", self.name + ".x")) or 0)
        y = int(await self.timed(self.door.get("hdd", self.name + ".y")) or 0)
        before = self.pair.may
        if x != -y or not self.pair.read(x):
            raise Failure("%s: %d and %d, may be %s" % (self.name, x, y, before))

    async def publish(self):
        queue = self.random.choice(self.half.queues)
        serial = queue.next_serial()
        await self.timed(self.door.publish(queue.name, self.make_payload(serial)))
        queue.published(serial)

    def make_payload(self, serial):
        return b"%d/" % serial + b"p" * self.random.randrange(200)

    async def publish_with_key(self):
        """A message and the key that says so, both or neither."""
        queue = self.random.choice([queue for queue in self.half.queues if queue.is_durable])
        serial = queue.next_serial()
        value = "%s %d" % (queue.name, serial)
        ops = [{"op": "set", "key": self.name + ".o", "value": value},
               {"op": "publish", "router": "default", "routing-key": queue.name,
                "payload": self.make_payload(serial).decode()}]
        try:
            got = await self.timed(self.door.batch(ops))
        except ConnectionError:
            self.last.may_have_written(value.encode())
            self.outbox = [(queue, serial)]
            raise
        if got[1]["queues"] != 1:
            raise Failure("%s: a publish in a transaction reached %s queues" % (self.name, got[1]))
        self.last.wrote(value.encode())
        queue.published(serial)

    async def look_at_outbox(self):
        await self.read("hdd", self.name + ".o", self.last)
        queue, serial = self.outbox[0]
        written = self.last.may[0][0] == ("%s %d" % (queue.name, serial)).encode()
        queue.published(serial, written)
        self.outbox = []

    async def consume(self):
        await self.receive(self.random.choice(self.half.queues), 4, 0.05)

    async def receive(self, queue, most, left):
        """How many came; of those some are left to come again once their lease ends."""
        sent, incarnation = time.monotonic() * 1000, self.half.incarnation
        messages = await self.timed(self.door.receive(queue.name, most))
        for receipt, attempt, payload in messages:
            queue.delivered(int(payload.split(b"/")[0]), attempt, sent)
        for receipt, attempt, payload in messages:
            if self.random.random() >= left and incarnation == self.half.incarnation:
                await self.acknowledge(queue, receipt, attempt, int(payload.split(b"/")[0]))
        return len(messages)

    async def acknowledge(self, queue, receipt, attempt, serial):
        queue.acking(serial)
        good = await self.timed(self.door.ack(queue.name, receipt))
        queue.acked(serial, attempt, good)

    async def look_at_all(self):
        for (storage, key), entry in self.entries.items():
            await self.read(storage, key, entry)
        await self.look_at_pair()
        if self.outbox:
            await self.look_at_outbox()


class Half:
    """What one process does."""

    def __init__(self, shared, pipe, process, count, seed):
        self.shared, self.pipe, self.process, self.seed = shared, pipe, process, seed
        self.random = random.Random(seed + process)
        self.queues = [Queue(queue_name(process, i), is_durable)
                       for i, is_durable in enumerate(DURABLE)]
        self.customers = [Customer(self, process * count + i) for i in range(count)]
        self.idle = collections.deque()
        self.under_way = {}
        self.incarnation = 0
        self.begin_minute(0)

    def begin_minute(self, minute):
        self.minute, self.times, self.lags = minute, {}, {}
        self.left_out, self.connects = {}, 0
        self.slowest_after_start = 0.0

    def slot(self, which):
        return PER_PROCESS + self.process * SLOTS + which

    def ports(self):
        return {"tcp": int(self.shared[TCP]), "http": int(self.shared[HTTP])}

    def settled_at(self):
        return self.shared[READY_AT] + self.shared[MINUTE] / SETTLE

    def took(self, start):
        now = time.monotonic()
        if start < self.settled_at():
            self.slowest_after_start = max(self.slowest_after_start, now - start)
        else:
            second = int(now - self.shared[START])
            times = self.times.setdefault(second, {})
            time_is = int((now - start) * TIMES_A_SECOND)
            times[time_is] = times.get(time_is, 0) + 1

    def wrong(self, text):
        self.pipe.send(("wrong", text))

    async def guard(self, customer, what, *arguments):
        """Whether it went well. Where the server that it is connected to was ended, an error is no
        fault."""
        incarnation = self.incarnation
        self.under_way[customer] = time.monotonic()
        try:
            await what(*arguments)
            return True
        except OSError as error:
            if self.shared[IS_UP] == UP and self.shared[INCARNATION] == incarnation:
                self.wrong("%s by %s: %r" % (customer.name, type(customer.door).__name__, error))
        except Failure as failure:
            self.wrong("%s by %s: %s" % (customer.name, type(customer.door).__name__, failure))
        except Exception:
            self.wrong(traceback.format_exc())
        finally:
            del self.under_way[customer]
        return False

    async def one(self, customer, due):
        if await self.guard(customer, customer.operate, due):
            self.shared[self.slot(DONE)] += 1
            self.idle.append(customer)

    async def change(self, customer):
        """Its connection ends, some by a reset; another comes a little later."""
        customer.door.close(self.random.random() < 0.3)
        self.shared[self.slot(OPEN)] -= 1
        self.under_way[customer] = time.monotonic()
        await asyncio.sleep(self.random.random())
        if self.shared[IS_UP] == UP and self.incarnation == self.shared[INCARNATION] and \
                await self.guard(customer, customer.connect):
            self.shared[self.slot(OPEN)] += 1
            self.connects += 1
            self.idle.append(customer)
        self.under_way.pop(customer, None)

    async def quiet(self):
        while self.under_way:
            await asyncio.sleep(0.005)

    async def settle(self):
        """With a server that just started: everybody comes back. Garbage is collected here and
        nowhere else, for a collection holds every client of the process up by 100 ms."""
        await self.quiet()
        gc.collect()
        self.incarnation = self.shared[INCARNATION]
        self.shared[self.slot(OPEN)] = 0
        self.idle.clear()
        for queue in self.queues:
            queue.forget()
        for first in range(0, len(self.customers), 50):
            some = self.customers[first:first + 50]
            for customer in some:
                if customer.door:
                    customer.door.close()
                    customer.forget_memory()
            good = await asyncio.gather(*[self.guard(c, c.connect) for c in some])
            self.shared[self.slot(OPEN)] += sum(good)
            self.idle.extend(c for c, is_good in zip(some, good) if is_good)

    def is_new(self):
        return self.shared[IS_UP] == UP and self.incarnation != self.shared[INCARNATION]

    async def work_at_peak(self):
        while self.shared[PHASE] == PEAK:
            await self.one(self.idle.popleft(), time.monotonic())

    async def change_some(self, phase):
        loop, owed = asyncio.get_running_loop(), 0.0
        while self.shared[PHASE] == phase:
            await asyncio.sleep(0.1)
            owed += 0.1 * CHANGES * len(self.customers)
            while owed >= 1:
                owed -= 1
                if self.idle and self.shared[IS_UP] == UP and not self.is_new():
                    loop.create_task(self.change(self.idle.popleft()))

    async def watch(self):
        """Nothing may go without an answer."""
        while self.shared[PHASE] < END:
            await asyncio.sleep(1)
            late = [c.name for c, since in self.under_way.items()
                    if time.monotonic() > since + PATIENCE]
            if late:
                self.wrong("no answer within %d s: %s" % (PATIENCE, late[:5]))

    async def work_at_pace(self, phase):
        loop = asyncio.get_running_loop()
        due = max(time.monotonic(), self.shared[START])
        while self.shared[PHASE] == phase:
            asleep = time.monotonic()
            await asyncio.sleep(0.002)
            now = time.monotonic()
            second = int(now - self.shared[START])
            if phase == LOAD:
                self.lags[second] = max(self.lags.get(second, 0), now - asleep)
            if self.is_new():
                await self.settle()
                due = time.monotonic()
            now = time.monotonic()
            if phase == LOAD:
                self.report(now)
            if self.shared[IS_UP] == DOWN:
                due = now
                continue
            pause = 1 / self.shared[RATE]
            while due <= now:
                if now - due > LATEST_S or not self.idle:
                    if now > self.settled_at():
                        self.left_out[second] = self.left_out.get(second, 0) + 1
                else:
                    loop.create_task(self.one(self.idle.popleft(), due))
                due += pause * self.random.uniform(0, 2)

    def report(self, now):
        minute = int((now - self.shared[START]) / self.shared[MINUTE])
        if minute > self.minute:
            self.pipe.send(("minute", self.minute, self.times, self.left_out,
                            self.connects, self.slowest_after_start, self.lags))
            self.begin_minute(minute)

    async def drain(self, customer):
        """Whatever is in the queues; what was left under a lease comes when that ends."""
        for queue in self.queues:
            end = time.monotonic() + 2 * PATIENCE
            while queue.missing() and time.monotonic() < end:
                if await customer.receive(queue, 100, 0) == 0:
                    await asyncio.sleep(0.2)
            lost = queue.missing()
            if lost:
                raise Failure("%s: %d messages were confirmed and never came: %s" % (
                    queue.name, len(lost), lost[:5]))

    async def look_at_everything(self):
        await self.quiet()
        if self.is_new():
            await self.settle()
        for first in range(0, len(self.customers), 40):
            await asyncio.gather(*[self.guard(c, c.look_at_all)
                                   for c in self.customers[first:first + 40]])
        await self.guard(self.customers[0], self.drain, self.customers[0])
        for customer in self.customers:
            customer.door.close()
        await asyncio.sleep(0.5)

    async def reach(self, phase):
        while self.shared[PHASE] < phase:
            await asyncio.sleep(0.01)

    async def run(self):
        gc.disable()
        await self.settle()
        self.pipe.send(("ready",))
        await self.reach(PEAK)
        watcher = asyncio.get_running_loop().create_task(self.watch())
        await asyncio.gather(*[self.work_at_peak() for _ in range(IN_FLIGHT)])
        for phase in (TRIAL, LOAD):
            await self.reach(phase)
            self.begin_minute(0)
            await asyncio.gather(self.work_at_pace(phase), self.change_some(phase))
        await self.look_at_everything()
        watcher.cancel()
        self.pipe.send(("end", sum(len(q.states) for q in self.queues),
                        sum(q.deliveries for q in self.queues),
                        sum(q.came_again for q in self.queues)))


def run_half(shared, pipe, process, count, seed):
    half = Half(shared, pipe, process, count, seed)
    try:
        asyncio.run(half.run())
    except Exception:
        half.wrong(traceback.format_exc())
    pipe.close()
