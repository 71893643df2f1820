# SPDX-License-Identifier: MIT
"""Three hati nodes, each the others' peer, in networks that break."""
import time

import netns
from harness import check, same, wait_until
from node import Node

NAMES = ["n0", "n1", "n2"]


class Three:
    """Nodes in namespaces of their own; whoever enters gets them when all know each other."""

    def __init__(self, runner, timeout="300ms"):
        reason = netns.why_not()
        if reason:
            raise runner.skip(reason)
        self.network = netns.Network(NAMES)
        addresses = ["%s:5454" % self.network.addresses[name] for name in NAMES]
        self.nodes = []
        try:
            for i, name in enumerate(NAMES):
                peers = [address for j, address in enumerate(addresses) if j != i]
                self.nodes.append(Node("--peer-reads", peers=peers, timeout=timeout,
                                       network=self.network, member=name))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        for node in self.nodes:
            node.wait_for(*[other.address for other in self.nodes if other is not node])
        return self.nodes

    def __exit__(self, *_):
        self.close()

    def close(self):
        for node in self.nodes:
            node.close()
        self.network.close()


def known(node, *keys):
    """Its peers' filters have come as far as these keys of theirs."""
    for key in keys:
        wait_until(lambda k=key: node.get(k) is not None, "%s is not found" % key)


def a_key_set_on_one_is_found_on_all(runner):
    with Three(runner) as nodes:
        took = []
        for round_number in range(10):
            for i, node in enumerate(nodes):
                key = "r%d-%d" % (round_number, i)
                same(node.ask("SET %s:%s" % (key, key)), ":SAT %s:%s" % (key, key))
                start = time.monotonic()
                for other in nodes:
                    other.finds(key, key)
                took.append(time.monotonic() - start)
        runner.say("found on all after %.0f ms in the middle, %.0f ms at most; a beat is 100 ms" % (
            sorted(took)[len(took) // 2] * 1000, max(took) * 1000))
        for node in nodes:
            peers = node.stats()["nodes"]
            same(sorted(peer["kind"] for peer in peers), ["hati", "hati"])
            wait_until(lambda n=node: all(peer["keys"] == 10 for peer in n.stats()["nodes"]),
                       "their counts of keys")
        got = nodes[0].ask("REQUEST PEERS")
        for other in nodes[1:]:
            check(other.address in got, got)


def misses_that_no_filter_matches_cost_no_network(runner):
    with Three(runner) as nodes:
        for i, node in enumerate(nodes):
            same(node.ask("SET here%d:1" % i), ":SAT here%d:1" % i)
        known(nodes[0], "here1", "here2")
        before = [node.stats() for node in nodes]
        door, count = nodes[0].door(), 20000
        door.send("".join("GET nobody%d\n" % i for i in range(count)))
        for _ in range(count):
            same(door.read_line(), b":GOT \n")
        door.close()
        after = [node.stats() for node in nodes]
        figures = {name: after[0][name] - before[0][name] for name in (
            "misses", "asked", "hits", "saved", "false_positives", "timeouts")}
        same((figures["misses"], figures["hits"], figures["timeouts"]), (count, 0, 0))
        same(figures["asked"], figures["false_positives"], "asked, and in vain")
        same(figures["saved"], 2 * count - figures["asked"], "saved")
        check(figures["asked"] <= count // 100, "%d of %d misses were asked" % (figures["asked"],
                                                                                count))
        for i in (1, 2):
            same(after[i]["misses"], before[i]["misses"], "misses on another node")


def nothing_goes_around(runner):
    """All three are each other's peers: a question goes to a peer, and not on from there."""
    with Three(runner) as nodes:
        same(nodes[0].ask("SET only0:1,gone:2"), ":SAT only0:1,gone:2")
        known(nodes[1], "only0")
        known(nodes[2], "only0")
        before = [node.stats() for node in nodes]
        for _ in range(50):
            same(nodes[1].get("only0"), "1")
        after = [node.stats() for node in nodes]
        same(after[1]["hits"] - before[1]["hits"], 50)
        check(50 <= after[1]["asked"] - before[1]["asked"] <= 51, "asked")
        for i in (0, 2):
            same((after[i]["asked"], after[i]["misses"]), (before[i]["asked"], before[i]["misses"]),
                 "node %d passed a question on, or took it for a miss of its own" % i)
        nodes[0].network.cut("n0")
        try:
            same(nodes[1].get("only0"), None, "who has it is cut off")
            same(nodes[2].stats()["asked"], before[2]["asked"], "asked by another")
        finally:
            nodes[0].network.heal("n0")


def a_node_dies_and_comes_back(runner):
    with Three(runner) as nodes:
        first, second, third = nodes
        same(third.ask("SET old:1,lost:2"), ":SAT old:1,lost:2")
        same(second.ask("SET stays:3"), ":SAT stays:3")
        known(first, "old", "lost", "stays")
        third.kill()
        start = time.monotonic()
        for key, wanted in (("old", None), ("lost", None), ("stays", "3"), ("nobody", None)):
            same(first.get(key), wanted, key)
        took = time.monotonic() - start
        check(took < 10, "misses stall for %.1f s" % took)
        first.wait_for(third.address, state="dead")
        second.wait_for(third.address, state="dead")
        before = first.stats()
        same(first.get("old"), None)
        same(first.stats()["asked"], before["asked"], "a dead peer is asked")
        same(first.get("stays"), "3")
        first.is_well()
        third.release()
        third.start()
        same(third.ask("SET new:4"), ":SAT new:4")
        first.finds("new", "4")
        second.finds("new", "4")
        same((first.get("old"), first.get("lost")), (None, None), "its memory is gone")
        wait_until(lambda: third.peer(first.address)["state"] == "alive", "it does not know us")
        third.finds("stays", "3")


def a_silent_node_does_not_stall_misses(runner):
    """Its packets vanish: no reset tells that it is gone."""
    with Three(runner) as nodes:
        first, second, third = nodes
        same(third.ask("SET theirs:1"), ":SAT theirs:1")
        same(second.ask("SET stays:2"), ":SAT stays:2")
        known(first, "theirs", "stays")
        before = first.stats()
        first.network.cut("n2")
        try:
            start = time.monotonic()
            same(first.get("theirs"), None, "who has it is silent")
            same(first.get("stays"), "2")
            took = time.monotonic() - start
            check(took < 10, "a miss stalls for %.1f s" % took)
            first.wait_for(third.address, state="dead")
            asked = first.stats()["asked"]
            same(first.get("theirs"), None)
            same(first.stats()["asked"], asked, "a dead peer is asked")
            check(first.stats()["timeouts"] > before["timeouts"], "timeouts are not counted")
            first.is_well()
        finally:
            first.network.heal("n2")
        first.finds("theirs", "1")
        same(third.ask("SET more:3"), ":SAT more:3")
        first.finds("more", "3")


def a_link_is_pulled_and_plugged_in_again(runner):
    with Three(runner) as nodes:
        first, second, third = nodes
        same(second.ask("SET theirs:1"), ":SAT theirs:1")
        known(first, "theirs")
        known(third, "theirs")
        first.network.pull("n0")
        try:
            first.wait_for(second.address, third.address, state="dead")
            same(first.get("theirs"), None, "it is alone")
            first.is_well()
            same(third.get("theirs"), "1", "the others go on")
            same(second.ask("SET meanwhile:2"), ":SAT meanwhile:2")
            same(first.ask("SET alone:3"), ":SAT alone:3")
        finally:
            first.network.plug("n0")
        first.finds("meanwhile", "2")
        second.finds("alone", "3")
        third.finds("alone", "3")


def many_keys_come_and_go(runner):
    """The filter grows with them, and shrinks: keys that went are asked for no more."""
    with Three(runner) as nodes:
        first, second, _ = nodes
        count = 200000
        door = second.door()
        for verb, word, ends in (("SET", b":SAT", ""), ("SETEX", b":SATEX", ":0")):
            for at in range(0, count, 10000):
                door.send("%s %s\n" % (verb, ",".join(
                    "k%d:v%d%s" % (i, i, ends) for i in range(at, at + 10000) if i or not ends)))
            for _ in range(0, count, 10000):
                check(door.read_line().startswith(word), verb)
            if not ends:
                wait_until(lambda: first.peer(second.address)["keys"] == count, "its keys")
                for i in (0, 1, 77777, count - 1):
                    first.finds("k%d" % i, "v%d" % i)
        wait_until(lambda: first.peer(second.address)["keys"] == 1, "they are gone")
        first.finds("k0", "v0")
        other = first.door()

        def in_vain():
            before = first.stats()["asked"]
            same(other.ask("GET " + ",".join("k%d" % i for i in range(1, 1001))), ":GOT ")
            return first.stats()["asked"] - before

        wait_until(lambda: in_vain() < 50, "keys that went are asked for")
        other.close()
        door.close()


CASES = [a_key_set_on_one_is_found_on_all, misses_that_no_filter_matches_cost_no_network,
         nothing_goes_around, a_node_dies_and_comes_back, a_silent_node_does_not_stall_misses,
         a_link_is_pulled_and_plugged_in_again, many_keys_come_and_go]
