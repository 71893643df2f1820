# SPDX-License-Identifier: MIT
"""In each case of the contract some allocation fails, or some in a row, or each 16th: servers go on
and are well, requests are answered, what was acknowledged is there, and nothing is left behind."""
import multiprocessing
import multiprocessing.connection
import random
import time

import contract_faults
from harness import Failure

ROWS = (1, 1, 1, 2, 5, 100, 1000)  # allocations that fail one after another
EVERY = 16   # the n-th fails in one of so many tries, for every n
WORKERS = 5  # beside each other in the long run: cases wait more than they work


def some(rng, most, tries):
    """Each allocation in turn where that are few; else some of them."""
    numbers = range(1, most + 1)
    if tries < most:
        numbers = sorted(rng.sample(numbers, tries))
    return [(number, rng.choice(ROWS), 0) for number in numbers]


def every(rng, most, tries):
    """Each allocation once, and some rows."""
    return [(number, 1, EVERY) for number in range(1, min(most, EVERY) + 1)] + some(
        rng, most, tries)


def pick(runner, whole):
    """All cases, shuffled; or some of one group after another, because finding out which there are
    takes time. Those that share a server come first: a try of them is quick."""
    groups = contract_faults.groups()
    runner.random.shuffle(groups)
    groups.sort(key=lambda group: not group[1])
    for group, shared in groups:
        found = contract_faults.collect(runner.library, group, shared)
        runner.random.shuffle(found)
        yield from found if whole else found[:3]


class Attack:
    """What happens to a case: so many tries, until the steady clock says `end`."""

    def __init__(self, library, tries, whole, end):
        self.library, self.tries, self.end = library, tries, end
        self.choose = every if whole else some

    def __call__(self, case, seed):
        """(1 where it was counted, tries, failed, times refused), defects; None: there was no time."""
        if time.monotonic() > self.end:
            return None
        rng = random.Random(seed)
        sweep = contract_faults.Sweep(
            self.library, case, lambda most: self.choose(rng, most, self.tries),
            starts=rng.random() < 0.3)
        counted = sweep.run(self.end) is None
        return (counted, sweep.tries, sweep.failed, sweep.refused), sweep.defects


def beside_each_other(attack, cases, seeds):
    """By processes that have the cases from here, for they do not go through a pipe."""
    def work(pipe, first):
        for at in range(first, len(cases), WORKERS):
            pipe.send(attack(cases[at], seeds[at]))
        pipe.close()

    context = multiprocessing.get_context("fork")
    pipes = []
    for first in range(WORKERS):
        ours, theirs = context.Pipe(False)
        context.Process(target=work, args=(theirs, first), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    while pipes:
        for pipe in multiprocessing.connection.wait(pipes):
            try:
                yield pipe.recv()
            except EOFError:
                pipes.remove(pipe)


def run(runner, seconds, tries, whole):
    """So many tries of a case, of as many cases as there is time for."""
    attack = Attack(runner.library, tries, whole, time.monotonic() + seconds)
    cases = pick(runner, whole)
    if whole:
        cases = list(cases)
        runner.random.shuffle(cases)
        seeds = [runner.random.random() for _ in cases]
        results = beside_each_other(attack, cases, seeds)
    else:
        results = (attack(case, runner.random.random()) for case in cases)
    done, sums, defects = 0, (0, 0, 0, 0), []
    for result in results:
        if result:
            done += 1
            sums = tuple(map(sum, zip(sums, result[0])))
            defects += result[1]
        elif not whole:
            break
    counted, tried, failed, refused = sums
    runner.say("%d cases%s, %d tries, %d allocations failed, %d times a case was told so" % (
        done, " of %d" % len(cases) if whole else "", tried, failed, refused))
    if counted < done:
        runner.say("%d cases did not run as they do without the shim" % (done - counted))
    if defects:
        raise Failure("%d defects\n%s" % (len(defects), "\n".join(
            defects[:5] + [defect.partition("\n")[0] for defect in defects[5:]])))
