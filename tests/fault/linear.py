#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether what clients saw of single keys can be explained by one order of their operations, each
at some moment between its call and its answer (Wing and Gong's search with Lowe's memory).

An operation whose outcome is not known may have happened at any time after its call, or never.
Keys are looked at one by one: a history of many is linearizable where each key's is.

    linear.py --self-test    shows that right histories pass and planted faults are found
"""
import collections
import itertools
import math
import random
import sys

NEVER = math.inf
UNKNOWN = "unknown"  # the outcome of an operation that was not answered
NO_NUMBER = "no number"
STATES_MAX = 3000000


class Op:
    """kind and arguments:
         read                outcome: the value, or None where the key is absent
         write value         outcome: True
         delete              outcome: whether it was there; None where that is not told
         cas old, new        outcome: whether the value was old (None: absent) and is new now
         incr by             outcome: the number afterwards, or NO_NUMBER where there is a text
    """
    __slots__ = ("key", "kind", "arguments", "call", "answer", "outcome", "client")

    def __init__(self, key, kind, arguments, call, answer, outcome, client=None):
        self.key, self.kind, self.arguments = key, kind, arguments
        self.call, self.answer, self.outcome, self.client = call, answer, outcome, client
        if outcome is UNKNOWN:
            self.answer = NEVER

    def __repr__(self):
        return "%s %s%r = %r [%.6f, %.6f] of %s" % (
            self.key, self.kind, tuple(self.arguments), self.outcome, self.call, self.answer,
            self.client)

    def step(self, state):
        """(whether it may happen in this state with this outcome, the state behind it)"""
        outcome = self.outcome
        if self.kind == "read":
            return outcome is UNKNOWN or outcome == state, state
        if self.kind == "write":
            return True, self.arguments[0]
        if self.kind == "delete":
            return outcome is UNKNOWN or outcome is None or outcome == (state is not None), None
        if self.kind == "cas":
            old, new = self.arguments
            done = state == old
            return outcome is UNKNOWN or outcome == done, new if done else state
        if self.kind == "incr":
            if not is_number(state):
                return outcome in (UNKNOWN, NO_NUMBER), state
            number = int(state or 0) + self.arguments[0]
            return outcome is UNKNOWN or outcome == number, str(number)
        raise ValueError(self.kind)


def is_number(state):
    return state is None or state.lstrip("-").isdigit()


class Undecided(Exception):
    """The history is too large to be searched."""


def explain_key(ops, initial=None):
    """None where one key's operations are linearizable, else a text that says where it breaks."""
    ops = sorted((op for op in ops if not (op.kind == "read" and op.outcome is UNKNOWN)),
                 key=lambda op: op.call)
    required = sum(1 << i for i, op in enumerate(ops) if op.outcome is not UNKNOWN)
    seen = set()
    stack = [(0, initial)]
    best, best_state = 0, initial
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return None
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > STATES_MAX:
            raise Undecided("%d operations on %r" % (len(ops), ops[0].key))
        if (done & required).bit_count() > (best & required).bit_count():
            best, best_state = done, state
        nexts = []
        for i in candidates(ops, done):
            may, after = ops[i].step(state)
            # An operation of unknown outcome that changes nothing may as well not have happened.
            if may and not (after == state and ops[i].outcome is UNKNOWN):
                nexts.append((done | 1 << i, after))
        stack.extend(reversed(nexts))
    left = [op for i, op in enumerate(ops) if not best >> i & 1 and op.outcome is not UNKNOWN]
    return "no order explains it: after %d of %d operations the value is %r, and none fits of: %s" % (
        (best & required).bit_count(), required.bit_count(), best_state,
        "; ".join(map(repr, left[:4])))


def candidates(ops, done):
    """Those that may be next: called before every other that is left was answered."""
    first = done ^ (done + 1)  # the lowest that is not done, and what is below it
    at = first.bit_length() - 1
    found, earliest = [], NEVER
    for i in range(at, len(ops)):
        if ops[i].call > earliest:
            break
        if not done >> i & 1:
            found.append(i)
            earliest = min(earliest, ops[i].answer)
    return found


def explain(history, initial=None):
    """None where it is linearizable, else where it is not. initial: {key: value}, absent else."""
    keys = collections.defaultdict(list)
    for op in history:
        keys[op.key].append(op)
    for key, ops in keys.items():
        why = explain_key(ops, (initial or {}).get(key))
        if why:
            return "%s: %s" % (key, why)
    return None


# --- the checker checked ---

class Simulation:
    """Clients of one register in made-up time; faults on demand."""

    def __init__(self, seed, fault=None, clients=5, count=120, unknown=0.05):
        self.random = random.Random(seed)
        self.fault = fault
        self.past = [None]
        self.state = None
        self.planted = 0
        self.history = []
        self.serial = 0
        pending = [(self.random.random(), client) for client in range(clients)]
        for _ in range(count):
            pending.sort()
            now, client = pending.pop(0)
            pending.append((self.act(now, client, unknown), client))
        self.settle()

    def settle(self):
        """Every moment of effect in its order, outcomes with it."""
        for _, op in sorted(self.moments(), key=lambda pair: pair[0]):
            if op.outcome is UNKNOWN and self.random.random() < 0.5:
                continue
            self.apply(op)

    def moments(self):
        for op in self.history:
            end = op.call + 3 if op.answer == NEVER else op.answer
            yield self.random.uniform(op.call, end), op

    def act(self, now, client, unknown):
        answer = now + self.random.uniform(0.1, 1)
        self.serial += 1
        dice = self.random.random()
        if dice < 0.5:
            kind, arguments = "read", ()
        elif dice < 0.75:
            kind, arguments = "write", ("v%d" % self.serial,)
        elif dice < 0.9:
            old = self.random.choice(("v%d" % self.random.randrange(1, self.serial + 1), None))
            kind, arguments = "cas", [old, "c%d" % self.serial]
        else:
            kind, arguments = "delete", ()
        op = Op("k", kind, arguments, now, answer, None, client)
        if self.random.random() < unknown:
            op.outcome, op.answer = UNKNOWN, NEVER
        self.history.append(op)
        return answer + self.random.uniform(0.01, 0.3)

    def apply(self, op):
        if op.kind == "cas" and self.random.random() < 0.5:
            op.arguments[0] = self.state  # as clients do that have just read it
        is_known = op.outcome is not UNKNOWN
        if op.kind == "read":
            outcome = self.state
            if is_known and self.fault == "stale read" and self.random.random() < 0.1:
                outcome = self.random.choice(self.past[:-1] or self.past)
                self.planted += 1
        elif op.kind == "cas":
            outcome = self.state == op.arguments[0]
        elif op.kind == "delete":
            outcome = self.state is not None
        else:
            outcome = True
        lost = is_known and self.fault == "lost write" and op.kind == "write" and \
            self.random.random() < 0.2
        if not lost:
            self.state = op.step(self.state)[1]
            self.past.append(self.state)
        else:
            self.planted += 1
        if is_known:
            op.outcome = outcome


def brute(ops, initial=None):
    """The same question answered by trying all orders."""
    known = [op for op in ops if op.outcome is not UNKNOWN]
    maybe = [op for op in ops if op.outcome is UNKNOWN]
    for count in range(len(maybe) + 1):
        for some in itertools.combinations(maybe, count):
            for order in itertools.permutations(known + list(some)):
                if any(later.answer < op.call for i, op in enumerate(order)
                       for later in order[i + 1:]):
                    continue
                state = initial
                for op in order:
                    may, state = op.step(state)
                    if not may:
                        break
                else:
                    return True
    return False


def random_small(pick):
    """A few operations with outcomes out of the blue."""
    ops = []
    for i in range(pick.randrange(1, 6)):
        kind = pick.choice(("read", "write", "delete", "cas"))
        value = pick.choice((None, "a", "b"))
        arguments = {"write": (value or "a",), "cas": (value, pick.choice("ab"))}.get(kind, ())
        call = pick.uniform(0, 3)
        outcome = {"read": value, "write": True}.get(kind, pick.random() < 0.5)
        if pick.random() < 0.2:
            outcome = UNKNOWN
        ops.append(Op("k", kind, arguments, call, call + pick.uniform(0.1, 2), outcome, i))
    return ops


def make(*rows):
    return [Op("k", kind, arguments, call, answer, outcome)
            for kind, arguments, call, answer, outcome in rows]


def fixed_cases():
    """(name, history, whether it is linearizable)"""
    write = ("write", ("a",), 0, 1, True)
    yield "nothing", [], True
    yield "a read of what was written", make(write, ("read", (), 2, 3, "a")), True
    yield "a stale read", make(write, ("write", ("b",), 2, 3, True), ("read", (), 4, 5, "a")), False
    yield "a lost write", make(write, ("read", (), 2, 3, None)), False
    yield "a read while it is written", make(("write", ("a",), 0, 4, True), ("read", (), 1, 2, None),
                                             ("read", (), 2.5, 3, "a")), True
    yield "two reads that go back", make(("write", ("a",), 0, 6, True), ("read", (), 1, 2, "a"),
                                         ("read", (), 3, 4, None)), False
    unknown = ("write", ("a",), 0, 1, UNKNOWN)
    yield "an unknown write seen late", make(unknown, ("read", (), 2, 3, None),
                                             ("read", (), 4, 5, "a")), True
    yield "an unknown write seen and gone", make(unknown, ("read", (), 2, 3, "a"),
                                                 ("read", (), 4, 5, None)), False
    yield "an unknown write never seen", make(unknown, ("read", (), 2, 3, None)), True
    yield "a value that nobody wrote", make(("read", (), 2, 3, "x")), False
    yield "two winners of one compare-and-set", make(
        write, ("cas", ("a", "b"), 2, 5, True), ("cas", ("a", "c"), 2, 5, True)), False
    yield "one winner", make(
        write, ("cas", ("a", "b"), 2, 5, True), ("cas", ("a", "c"), 2, 5, False)), True
    yield "a refusal without a reason", make(write, ("cas", ("a", "b"), 2, 3, False)), False
    yield "a delete that found nothing", make(write, ("delete", (), 2, 3, False)), False
    yield "a deleted value come back", make(write, ("delete", (), 2, 3, True),
                                            ("read", (), 4, 5, "a")), False
    yield "increments", make(("incr", (2,), 0, 5, 2), ("incr", (3,), 0, 5, 5)), True
    yield "an increment applied twice", make(("incr", (1,), 0, 1, 1), ("incr", (1,), 2, 3, 3)), False
    yield "an increment of a text", make(write, ("incr", (1,), 2, 3, NO_NUMBER)), True
    yield "a text that counts", make(write, ("incr", (1,), 2, 3, 1)), False
    yield "a number that does not count", make(("incr", (1,), 0, 1, 1),
                                               ("incr", (1,), 2, 3, NO_NUMBER)), False
    yield "an unknown increment applied once", make(
        ("incr", (1,), 0, 1, UNKNOWN), ("incr", (1,), 2, 3, 2)), True
    yield "an unknown increment applied twice", make(
        ("incr", (1,), 0, 1, UNKNOWN), ("incr", (1,), 2, 3, 3)), False


def self_test(say=print, rounds=40):
    """Raises AssertionError where the checker is wrong."""
    for name, history, wanted in fixed_cases():
        assert (explain(history) is None) == wanted, "%s: %s" % (name, explain(history))
    pick, agreed = random.Random(7), collections.Counter()
    for _ in range(4000):
        ops = random_small(pick)
        wanted = brute(ops)
        agreed[wanted] += 1
        assert (explain_key(ops) is None) == wanted, "brute force says %s: %r" % (wanted, ops)
    assert min(agreed.values()) > 400, agreed
    for seed in range(rounds):
        why = explain(Simulation(seed).history)
        assert why is None, "a right history (seed %d) was refused: %s" % (seed, why)
    found = {}
    for fault, least in (("stale read", 0.8), ("lost write", 0.5)):
        runs = [Simulation(seed, fault) for seed in range(rounds)]
        runs = [run for run in runs if run.planted]
        found[fault] = sum(explain(run.history) is not None for run in runs), len(runs)
        assert found[fault][0] >= least * found[fault][1], found
    say("%d right histories accepted; found %s; agrees with brute force on %d small ones" % (
        rounds, ", ".join("%d of %d with a %s" % (n, of, fault) for fault, (n, of) in found.items()),
        sum(agreed.values())))


if __name__ == "__main__":
    if sys.argv[1:] != ["--self-test"]:
        sys.exit(__doc__)
    self_test()
