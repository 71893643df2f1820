# SPDX-License-Identifier: MIT
"""One case, every door, both storages; what one door wrote every other reads."""
from doors import DOORS
from harness import check, same


def a_value_comes_back_as_it_was(door, others):
    for value in (b"1", b"", b"hello world", b"\x00\xff\n\r binary", "gr\u00fc\u00df".encode(), b"a\0b",
                  b"x" * 70000):
        same(door.set("a", value), None, "set")
        for other in others:
            same(other.get("a"), value, "read by " + other.name)


def an_absent_key_is_absent(door, others):
    for other in others:
        same(other.get("none"), None, "get")
        same(other.has("none"), False, "has")
        same(other.ttl("none"), "KEY_NOT_EXIST", "ttl")
    door.delete("none")


def a_deleted_key_is_gone_everywhere(door, others):
    same(door.set("gone", b"1"), None, "set")
    for other in others:
        same(other.has("gone"), True, "has")
    door.delete("gone")
    for other in others:
        same(other.has("gone"), False, "has by " + other.name)


def a_key_may_hold_slashes_and_letters_of_every_kind(door, others):
    for key in ("a/b/c", "sp%20ce", "\u00e4\u00f6", "q?x=1&y#z", "k" * 4096, "'\"\\", "a+b"):
        same(door.set(key, key.encode()), None, "set of " + key[:20])
        for other in others:
            same(other.get(key), key.encode(), "%s by %s" % (key[:20], other.name))


def a_ttl_ends_a_life(door, others):
    same(door.set("t", b"1", 100000), None, "set")
    for other in others:
        left = other.ttl("t")
        check(90000 < left <= 100000, "remaining by %s: %r" % (other.name, left))
    same(door.set("t", b"2"), None, "set without ttl")
    for other in others:
        same(other.ttl("t"), 0, "a write without ttl clears it: " + other.name)
    same(door.set("t", b"3", 1), None, "set")
    while door.has("t"):
        pass
    for other in others:
        same(other.get("t"), None, "expired by " + other.name)
        same(other.keys("t"), [], "listed by " + other.name)


def numbers_grow(door, others):
    if not door.increments:
        return
    door.delete("n")
    same(door.incr("n", 5), 5, "incr of an absent key")
    same(door.incr("n", -7), -2, "incr")
    for other in others:
        same(other.get("n"), b"-2", "read by " + other.name)
    door.set("n", b"9223372036854775807")
    same(door.incr("n", 1), "NOT_A_NUMBER", "overflow")
    door.set("n", b"word")
    same(door.incr("n", 1), "NOT_A_NUMBER", "a word")
    same(door.get("n"), b"word", "unchanged")


def keys_are_listed_in_byte_order(door, others):
    for key in ("l/2", "l/10", "l/1", "l", "l/\u00e4", "l/%", "l/_"):
        same(door.set(key, b"1"), None, "set")
    for other in others:
        same(other.keys("l/"), ["l/%", "l/1", "l/10", "l/2", "l/_", "l/\u00e4"],
             "listed by " + other.name)
        same(other.keys("l/%"), ["l/%"], "a prefix is literal: " + other.name)


def a_touch_sets_another_life(door, others):
    if not door.touches:
        return
    same(door.touch("none", 5), "KEY_NOT_EXIST", "touch of an absent key")
    door.set("life", b"1")
    same(door.touch("life", 50000), None, "touch")
    for other in others:
        check(40000 < other.ttl("life") <= 50000, "ttl by " + other.name)
    same(door.touch("life", 0), None, "touch")
    same(door.ttl("life"), 0, "for ever")


def a_flush_leaves_nothing(door, others):
    if not door.counts:
        return
    door.flush()
    for i in range(5):
        door.set("f%d" % i, b"1")
    for other in others:
        if other.counts:
            same(other.count(), 5, "count by " + other.name)
    door.flush()
    for other in others:
        same(other.get("f1"), None, "flushed by " + other.name)
        if other.counts:
            same(other.count(), 0, "count by " + other.name)


def keys_and_bounds_are_checked(door, others):
    same(door.set("k" * 4097, b"1"), "KEY_INVALID", "a key of 4097 bytes")
    check(door.set("big", b"v" * (2 * 1024 * 1024 + 1)) in
          ("VALUE_TOO_LARGE", "TOO_LARGE"), "a value over the limit")
    same(door.set("big", b"v" * (2 * 1024 * 1024)), None, "a value at the limit")
    same(len(others[0].get("big")), 2 * 1024 * 1024, "its size")
    door.delete("big")


CASES = [a_value_comes_back_as_it_was, an_absent_key_is_absent, a_deleted_key_is_gone_everywhere,
         a_key_may_hold_slashes_and_letters_of_every_kind, a_ttl_ends_a_life, numbers_grow,
         keys_are_listed_in_byte_order, a_touch_sets_another_life, a_flush_leaves_nothing,
         keys_and_bounds_are_checked]




def run(runner, server):
    for storage in ("memory", "hdd"):
        doors = [make(server, storage) for make in DOORS]
        for case in CASES:
            for door in doors:
                runner.case("%s: %s, %s" % (case.__name__, door.name, storage),
                            lambda c=case, d=door: c(d, doors))
        for door in doors:
            door.close()
