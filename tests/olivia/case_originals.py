# SPDX-License-Identifier: MIT
"""hati and a node of the original: as its peer, and as its server."""
from harness import check, same, wait_until
from node import Node
from olivia_filter import Filter
from original import Caller, Original
from process import free_port


def readable(keys):
    """The keys, and another where the original could not write a filter of them that is read."""
    keys, number = dict(keys), 0
    while not Filter.of(keys).is_readable():
        number += 1
        keys[b"padding%d" % number] = b""
    return keys


def a_key_that_only_the_original_has_is_found(runner):
    original = Original(readable({b"theirs": b"1", b"other": b"2"}))
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    same(node.peer(original.address)["kind"], "olivia")
    same(node.get("theirs"), "1")
    same(node.ask("h:GET other,none,theirs"), "h:GOT other:2,theirs:1")
    same(len(original.gets(b"theirs")), 2, "its GETs")
    same(node.stats()["hits"], 3)
    same(node.get("theirs"), "1", "it is asked each time: nothing is kept")
    same(len(original.gets(b"theirs")), 3, "its GETs")
    node.is_well()
    original.close()
    node.close()


def it_is_not_asked_when_its_filter_says_no(runner):
    original = Original(readable({b"theirs": b"1"}))
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    before = node.stats()
    wanted = Filter.of(original.keys)
    nobody = [b"nobody%d" % i for i in range(500)]
    nobody = [key.decode() for key in nobody if not wanted.has(key)]
    for key in nobody:
        same(node.get(key), None)
    same(node.ask("GET " + ",".join(nobody)), ":GOT ")
    same(original.gets(), [], "its GETs")
    after = node.stats()
    same(after["asked"], before["asked"], "asked")
    same(after["misses"] - before["misses"], 2 * len(nobody), "misses")
    same(after["saved"] - before["saved"], 2 * len(nobody), "saved")
    same(node.ask("SET mine:1"), ":SAT mine:1")
    same(node.get("mine"), "1", "what is here")
    same(original.gets(), [], "its GETs")
    original.close()
    node.close()


def a_filter_that_says_maybe_in_vain(runner):
    original = Original(readable({b"theirs": b"1", b"going": b"2"}))
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    text = original.filter_text()
    original.filter_text = lambda: text
    del original.keys[b"going"]
    same(node.get("going"), None)
    same(len(original.gets(b"going")), 1, "it was asked")
    same(node.stats()["false_positives"], 1)
    same(node.get("theirs"), "1")
    original.close()
    node.close()


def its_filter_is_asked_for_again(runner):
    original = Original(readable({b"theirs": b"1"}))
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    same(node.get("later"), None)
    original.keys = readable({b"theirs": b"1", b"later": b"3"})
    node.finds("later", "3")
    original.keys = {}
    wait_until(lambda: not any(node.get(key) for key in ("later", "theirs")), "keys that are gone")
    heard = original.gets()
    wait_until(lambda: node.get("later") is None and len(original.gets()) == len(heard) or
               heard.extend(original.gets()[len(heard):]), "it is asked for what it has not")
    original.close()
    node.close()


def it_hangs_up_and_comes_back(runner):
    original = Original(readable({b"theirs": b"1"}), port=free_port())
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    original.hang_up()
    node.finds("theirs", "1")
    port = original.port
    original.close()
    wait_until(lambda: node.peer(original.address)["state"] != "alive", "it is taken for alive")
    same(node.get("theirs"), None, "without it")
    node.is_well()
    again = Original(readable({b"theirs": b"2"}), port=port)
    node.finds("theirs", "2")
    again.close()
    node.close()


def what_hati_says_to_the_original(runner):
    """Nothing that its parser does not know, once it showed that it is one."""
    original = Original(readable({b"a": b"1"}))
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    same(node.get("a"), "1")
    pings = lambda: sum(b"PING 1" in line for line in list(original.heard))
    seen = pings()
    wait_until(lambda: pings() >= seen + 3, "no heartbeats")
    lines = [line.decode() for line in original.heard]
    for line in lines:
        check(line.endswith("\n") and " " in line, repr(line))
        words = line.strip().partition(":")[2] if ":" in line.split(" ")[0] else line.strip()
        check(words in ("REQUEST CONNECT", "REQUEST BLOOMFILTER", "PING 1", "GET a") or
              words.startswith("REQUEST HATI"), repr(line))
    check(sum("REQUEST HATI" in line for line in lines) <= 1, "it is asked once what it is: %r" %
          lines[:5])
    check(any("REQUEST CONNECT" in line for line in lines), "no REQUEST CONNECT")
    original.close()
    node.close()


def keys_its_parser_would_cut_are_not_asked_of_it(runner):
    """`a,b` in a GET would be two keys there."""
    original = Original(readable({b"a": b"1", b"b": b"2", b"a,b": b"3"}))
    node = Node("--peer-reads", peers=[original.address])
    node.wait_for(original.address)
    for key in ("a%2Cb", "a%3Ab", "a%0Ab"):
        same(node.request("GET", "/api/default/%s?type=memory" % key).status, 404, key)
    same(node.request("GET", "/api/default/a?type=memory").body, b"1")
    same(original.gets(), original.gets(b"a"), "its GETs")
    original.close()
    node.close()


def two_originals_and_the_nearest_that_has_it(runner):
    first = Original(readable({b"one": b"1"}))
    second = Original(readable({b"two": b"2"}))
    node = Node(peers=[first.address, second.address])
    node.wait_for(first.address, second.address)
    same(node.ask("GET two,one"), ":GOT two:2,one:1")
    same((first.gets(b"two"), second.gets(b"one")), ([], []), "asked in vain")
    first.close()
    wait_until(lambda: node.peer(first.address)["state"] != "alive", "it is taken for alive")
    same(node.ask("GET two,one"), ":GOT two:2", "the other goes on")
    second.close()
    node.close()


def a_filter_with_digits_does_no_harm(runner):
    """The original writes filters that nobody can read; it is asked again until one can be."""
    number, keys = 0, {}
    while Filter.of(keys).is_readable():
        number += 1
        keys[b"k%d" % number] = b"v"
    original = Original(keys)
    node = Node(peers=[original.address])
    wait_until(lambda: len([l for l in list(original.heard) if b"BLOOMFILTER" in l]) >= 3,
               "its filter is not asked for")
    node.is_well()
    same(node.get("nobody"), None)
    original.keys = readable({b"theirs": b"1"})
    node.finds("theirs", "1")
    original.close()
    node.close()


def the_original_reads_hati(runner):
    """It connects, takes the filter, asks for what the filter may hold, and finds it."""
    node = Node()
    caller = Caller(("127.0.0.1", node.olivia))
    same(caller.filter(b"CONNECT").count(), 0)
    keys = [b"k%d" % i for i in range(300)]
    same(node.ask("SET " + ",".join("%s:v%d" % (key.decode(), i) for i, key in enumerate(keys)))[:5],
         ":SAT ")
    seen = caller.filter()
    for i, key in enumerate(keys):
        check(seen.has(key), "the filter says no to %r" % key)
        same(caller.get(key), b"v%d" % i)
    same(caller.get(b"none"), None)
    same(caller.request(b"REQUEST PEERS").startswith(b"FULFILLED 127.0.0.1:"), True)
    same(caller.request(b"REQUEST DISCONNECT"), b"FULFILLED Peer has been disconnected.")
    caller.close()
    node.close()


def a_peers_question_is_not_passed_on(runner):
    original = Original(readable({b"theirs": b"1"}))
    node = Node(peers=[original.address])
    node.wait_for(original.address)
    caller = Caller(("127.0.0.1", node.olivia))
    same(caller.get(b"theirs"), b"1", "of one who is no peer yet")
    caller.filter(b"CONNECT")
    asked = len(original.gets())
    same(caller.get(b"theirs"), None, "of a peer")
    same(len(original.gets()), asked, "the original was asked")
    caller.close()
    original.close()
    node.close()


CASES = [a_key_that_only_the_original_has_is_found, it_is_not_asked_when_its_filter_says_no,
         a_filter_that_says_maybe_in_vain, its_filter_is_asked_for_again, it_hangs_up_and_comes_back,
         what_hati_says_to_the_original, keys_its_parser_would_cut_are_not_asked_of_it,
         two_originals_and_the_nearest_that_has_it, a_filter_with_digits_does_no_harm,
         the_original_reads_hati, a_peers_question_is_not_passed_on]
