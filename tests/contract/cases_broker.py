# SPDX-License-Identifier: MIT
"""Routers, queues and bindings, and what a message is on its way: every door, both storages."""
from broker_doors import DOORS, fresh
from harness import Server, check, same, settles

LONG = "n" * 255


def queue_of(door, storage, word="q", **options):
    """A new queue's name."""
    name = fresh(word)
    same(door.create_queue(name, type=storage, **options)[1], None, "create a queue")
    return name


def take(door, queue, count=1, wait=10000, **options):
    """So many messages, which must come."""
    messages = []
    while len(messages) < count:
        more = door.receive(queue, min(1000, count - len(messages)), wait, **options)
        check(more, "%s: %d of %d messages came" % (queue, len(messages), count))
        messages += more
    return messages


def payloads(messages):
    return [message.payload for message in messages]


def drain(door, queue):
    """What is ready, in order, acked."""
    got = []
    while True:
        messages = door.receive(queue, 100, 0)
        if not messages:
            return got
        for message in messages:
            got.append(message.payload)
            same(door.ack(queue, message.receipt), None, "ack")


def a_queue_is_made_once(door, others, storage):
    name = fresh("made")
    options = {"type": storage, "lease": 1000, "max_deliver": 3, "dead_letter": "elsewhere"}
    for other in others:
        same(other.get_queue(name)[1], "QUEUE_NOT_EXIST", "before: " + other.name)
    same(door.create_queue(name, **options)[1], None, "create")
    for other in others:
        same(other.create_queue(name, **options)[1], None, "the same again: " + other.name)
        same(other.create_queue(name, **dict(options, lease=2000))[1], "CONFLICT", other.name)
        wrong = "memory" if storage == "hdd" else "hdd"
        same(other.create_queue(name, **dict(options, type=wrong))[1], "CONFLICT", other.name)
        got, _ = other.get_queue(name)
        for member, value in (("name", name), ("type", storage), ("lease", 1000),
                              ("max-deliver", 3), ("dead-letter", "elsewhere"), ("ready", 0)):
            same(got[member], value, "%s by %s" % (member, other.name))
        check(name in other.list_queues(), "listed by " + other.name)
    same(door.delete_queue(name)[1], None, "delete")
    for other in others:
        same(other.get_queue(name)[1], "QUEUE_NOT_EXIST", "after: " + other.name)
        same(other.delete_queue(name)[1], "QUEUE_NOT_EXIST", "delete again: " + other.name)
        check(name not in other.list_queues(), "no longer listed by " + other.name)


def a_router_is_made_once(door, others, storage):
    for type in ("direct", "fanout", "topic", None):
        name = fresh("router")
        same(door.create_router(name, type)[1], None, "create")
        for other in others:
            same(other.create_router(name, type)[1], None, "the same again: " + other.name)
            wrong = "topic" if type == "fanout" else "fanout"
            same(other.create_router(name, wrong)[1], "CONFLICT", "another type: " + other.name)
            got, _ = other.get_router(name)
            same((got["name"], got["type"]), (name, type or "direct"), other.name)
            same(got["bindings"], [], "bindings")
            check({name, "default"} <= set(other.list_routers()), "listed by " + other.name)
        same(door.delete_router(name)[1], None, "delete")
        for other in others:
            same(other.get_router(name)[1], "ROUTER_NOT_EXIST", "after: " + other.name)
            same(other.delete_router(name)[1], "ROUTER_NOT_EXIST", "again: " + other.name)
            same(other.publish(name, "k", b"")[1], "ROUTER_NOT_EXIST", "publish: " + other.name)
            same(other.bind(name, "q")[1], "ROUTER_NOT_EXIST", "bind: " + other.name)
    same(door.delete_router("default")[1], "CONFLICT", "the built-in router stays")


def lists_are_in_byte_order(door, others, storage):
    names = [fresh("order-" + word) for word in ("b", "a", "\u00e4", "a.b", "B")]
    for name in names:
        same(door.create_queue(name, type=storage)[1], None, "create")
        same(door.create_router(name)[1], None, "create")
    wanted = sorted(names, key=lambda name: name.encode())
    for other in others:
        same([n for n in other.list_queues() if n in names], wanted, other.name)
        same([n for n in other.list_routers() if n in names], wanted, other.name)
    for name in names:
        door.delete_queue(name)
        door.delete_router(name)


def a_binding_comes_and_goes(door, others, storage):
    queue, router = queue_of(door, storage), fresh("router")
    door.create_router(router)
    for other in others:
        same(other.bind(router, fresh("nosuch"), "k")[1], "QUEUE_NOT_EXIST", other.name)
        same(other.unbind(router, queue, "k")[0 if other.name in ("JSON-RPC", "JSON lines") else 1],
             {"REST": "QUEUE_NOT_EXIST", "lines": None}.get(other.name, False), "none there")
    for _ in range(2):
        same(door.bind(router, queue, "k")[1], None, "bind")
    for other in others:
        same(other.get_router(router)[0]["bindings"], [{"queue": queue, "pattern": "k"}],
             other.name)
        same(other.publish(router, "k", b"1")[0]["queues"], 1, other.name)
    same(door.unbind(router, queue, "k")[1], None, "unbind")
    same(door.publish(router, "k", b"1")[0]["queues"], 0, "unbound")
    same(door.bind(router, queue)[1], None, "a direct binding without a pattern")
    same(door.publish(router, queue, b"1")[0]["queues"], 1, "is the queue's name")
    same(len(drain(door, queue)), len(others) + 1, "messages")
    same(door.delete_queue(queue)[1], None, "delete")
    same(door.get_router(router)[0]["bindings"], [], "bindings go with their queue")
    same(door.publish(router, queue, b"1")[0]["queues"], 0, "nobody is there")


def names_are_checked(door, others, storage):
    bad = ["", LONG + "n", "a b", "a\tb", "a\nb", "a\x01b", "a\x7fb", "a\0b"]
    if door.name == "lines":
        bad = [LONG + "n", "a\x01b", "a\tb", "a\x7fb"]
    for name in bad:
        if door.name == "REST" and not name:
            continue  # that is another path
        same(door.create_queue(name, type=storage)[1], "SYNTAX", "queue %r" % name)
        same(door.create_router(name)[1], "SYNTAX", "router %r" % name)
    for name in (LONG, "\u00fc\u4e2d\U0001f600", "a/b", "a%2Fb", "q?x=1&y#z", "..", "'\"\\"):
        same(door.create_queue(name, type=storage)[1], None, "queue %r" % name)
        for other in others:
            same(other.publish("default", name, b"1")[0]["queues"], 1, "%r: %s" % (name, other.name))
            message = take(other, name)[0]
            same(other.ack(name, message.receipt), None, "ack")
            same(message.key, name, "the routing key")
        same(door.delete_queue(name)[1], None, "delete")


def options_are_checked(door, others, storage):
    for options in ({"lease": 0}, {"lease": -1}, {"lease": "x"}, {"max_deliver": -1},
                    {"max_deliver": 1 << 32}, {"overflow": "spill"}, {"ttl": -5},
                    {"dedup_window": 1 << 62}, {"max_length": "many"}, {"dead_letter": "a\x01"}):
        same(door.create_queue(fresh("bad"), type=storage, **options)[1], "SYNTAX", str(options))
    same(door.create_queue(fresh("bad"), type="disk")[1], "STORAGE_TYPE_INVALID", "type")
    same(door.create_router(fresh("bad"), "mesh")[1], "SYNTAX", "type of a router")


def a_payload_comes_as_it_was(door, others, storage):
    queue = queue_of(door, storage)
    for payload in (b"1", b"", b"hello world", b"\x00\xff\n\r binary", "gr\u00fc\u00df".encode(),
                    b"\n", b"+OK 1\nMSG a 1 k 1\n", b"x" * 70000):
        for other in others:
            published, code = door.publish("default", queue, payload)
            same((code, published["queues"]), (None, 1), "publish")
            check(published["id"], "an id")
            message = take(other, queue)[0]
            same(message.payload, payload, "received by " + other.name)
            same((message.attempt, message.key), (1, queue), other.name)
            if message.more:
                same(message.more["id"], published["id"], "id by " + other.name)
            same(door.ack(queue, message.receipt), None, "ack")
    same(door.receive(queue), [], "all acked")


def a_payload_may_fill_the_limit(door, others, storage):
    queue = queue_of(door, storage)
    limit = 2 * 1024 * 1024
    check(door.publish("default", queue, b"x" * (limit + 1))[1] in
          ("VALUE_TOO_LARGE", "TOO_LARGE"), "too much")
    same(door.publish("default", queue, b"x" * limit)[1], None, "at the limit")
    for other in others:
        message = take(other, queue)[0]
        check(message.payload == b"x" * limit, "it came whole by " + other.name)
        same(other.nack(queue, message.receipt), None, "nack")
    door.delete_queue(queue)


def many_large_ones_come_in_parts(door, others, storage):
    queue = queue_of(door, storage)
    large = b"\x01" * (2 * 1024 * 1024)
    for i in range(8):
        same(others[0].publish("default", queue, b"%d" % i + large[1:])[1], None, "publish")
    got, cursor = [], None
    while not got or cursor:
        page, code = door.peek(queue, 1000, cursor)
        same(code, None, "peek")
        got += [message["payload"][0] for message in page["messages"]]
        cursor = page.get("cursor")
    same(got, [str(i) for i in range(8)], "peeked at")
    got = []
    while len(got) < 8:
        messages = door.receive(queue, 1000)
        check(messages, "nothing came behind %d" % len(got))
        for message in messages:
            check(message.payload[1:] == large[1:], "a payload")
            got.append(message.payload[:1])
            same(message.attempt, 1, "attempt")
            same(door.ack(queue, message.receipt), None, "ack")
    same(got, [b"%d" % i for i in range(8)], "in order")
    door.delete_queue(queue)


def first_in_first_out(door, others, storage):
    queue = queue_of(door, storage)
    for i in range(25):
        door.publish("default", queue, b"%d" % i)
    same(payloads(take(door, queue, 10)), [b"%d" % i for i in range(10)], "the first ten")
    for i, other in enumerate(others):
        same(payloads(other.receive(queue)), [b"%d" % (10 + i)], "max is 1: " + other.name)
    rest = door.receive(queue, 1000, 0)
    same(payloads(rest), [b"%d" % i for i in range(10 + len(others), 25)], "no more than there is")


def a_direct_router_takes_the_key_as_it_is(door, others, storage):
    router, queues = fresh("direct"), [queue_of(door, storage) for _ in range(3)]
    door.create_router(router, "direct")
    for queue, pattern in zip(queues, ("a", "a", "b")):
        same(door.bind(router, queue, pattern)[1], None, "bind")
    for key, reached in (("a", 2), ("b", 1), ("A", 0), ("#", 0), ("*", 0), ("", 0), ("a.b", 0)):
        same(door.publish(router, key, key.encode())[0]["queues"], reached, "key %r" % key)
    same([drain(door, queue) for queue in queues], [[b"a"], [b"a"], [b"b"]], "who got what")


def a_fanout_router_reaches_all(door, others, storage):
    router, queues = fresh("fanout"), [queue_of(door, storage) for _ in range(3)]
    door.create_router(router, "fanout")
    for queue in queues:
        same(door.bind(router, queue)[1], None, "bind")
    for other in others:
        for key in ("", "any", "a.b"):
            same(other.publish(router, key, key.encode())[0]["queues"], 3, other.name)
    for queue in queues:
        same(drain(door, queue), [b"", b"any", b"a.b"] * len(others), "in order")


TOPICS = [("a.b", ["a.b"]), ("a.*", ["a.b", "a.c"]), ("*.b", ["a.b"]), ("#", None),
          ("a.#", ["a", "a.b", "a.c", "a.b.c", "a.x.y.c"]), ("#.c", ["a.c", "a.b.c", "a.x.y.c", "c"]),
          ("a.#.c", ["a.c", "a.b.c", "a.x.y.c"]), ("*", ["a", "c", "zz"]), ("*.*.*", ["a.b.c"]),
          ("#.x.#", ["a.x.y.c"])]


def a_topic_router_matches_words(door, others, storage):
    router = fresh("topic")
    door.create_router(router, "topic")
    queues = [queue_of(door, storage) for _ in TOPICS]
    for queue, (pattern, _) in zip(queues, TOPICS):
        same(door.bind(router, queue, pattern)[1], None, "bind")
    keys = ["a", "a.b", "a.c", "a.b.c", "a.x.y.c", "c", "zz"]
    for key in keys:
        wanted = sum(matched is None or key in matched for _, matched in TOPICS)
        same(door.publish(router, key, key.encode())[0]["queues"], wanted, "key " + key)
    for queue, (pattern, matched) in zip(queues, TOPICS):
        wanted = keys if matched is None else [key for key in keys if key in matched]
        same(drain(door, queue), [key.encode() for key in wanted], "pattern " + pattern)


def many_bindings_of_a_queue_reach_it_once(door, others, storage):
    queue = queue_of(door, storage)
    for type, patterns in (("topic", ("a.*", "a.#", "#", "*.b", "a.b")), ("direct", ("a.b", "c")),
                           ("fanout", (None,))):
        router = fresh(type)
        door.create_router(router, type)
        for pattern in patterns:
            same(door.bind(router, queue, pattern)[1], None, "bind")
        for other in others:
            same(other.publish(router, "a.b", b"1")[0]["queues"], 1, type + " by " + other.name)
    same(drain(door, queue), [b"1"] * 3 * len(others), "one each")


def stats_of(door):
    return door.server.request("GET", "/stats").json()["broker"]


def what_reaches_nobody_is_counted(door, others, storage):
    router = fresh("lonely")
    door.create_router(router)
    before = stats_of(door)["unroutable"]
    for i, other in enumerate(others):
        published, code = other.publish(router, "nobody", b"1")
        same((code, published["queues"]), (None, 0), other.name)
        check(published["id"], "an id")
        settles(lambda: other.get_router(router)[0]["unroutable"], i + 1,
                "of the router, by " + other.name)
    same(door.publish("default", fresh("nosuch"), b"1")[0]["queues"], 0, "default")
    count = len(others) + 1  # of several nodes, those of earlier cases may come late
    settles(lambda: min(stats_of(door)["unroutable"] - before, count if Server.nodes > 1 else 99),
            count, "in /stats")


def an_absent_queue_is_said(door, others, storage):
    name = fresh("nosuch")
    receipt = "0" * 32
    for got in (door.ack(name, receipt), door.nack(name, receipt), door.extend(name, receipt, 5),
                door.flush(name), door.redrive(name), door.pause(name), door.peek(name)[1]):
        same(got, "QUEUE_NOT_EXIST", door.name)


def the_counters_of_a_queue(door, others, storage):
    queue = queue_of(door, storage)
    for _ in range(6):
        door.publish("default", queue, b"1")
    door.publish("default", queue, b"1", delay=600000)
    first, second, third = take(door, queue, 3)
    same(door.ack(queue, first.receipt), None, "ack")
    same(door.nack(queue, second.receipt), None, "nack")
    again = take(door, queue)[0]
    same(again.attempt, 2, "attempt")
    for other in others:
        got, _ = other.get_queue(queue)
        same((got["ready"], got["leased"], got["delayed"]), (3, 2, 1), "by " + other.name)
        for member, value in (("published", 7), ("delivered", 4), ("acked", 1), ("redelivered", 1),
                              ("dead_lettered", 0), ("consumers", 0)):
            settles(lambda: other.get_queue(queue)[0][member], value,
                    "%s by %s" % (member, other.name))
    stats = stats_of(door)
    check(stats["queues"] >= 1 and stats["routers"] >= 1 and stats["messages"] >= 6, str(stats))
    door.delete_queue(queue)


CASES = [a_queue_is_made_once, a_router_is_made_once, lists_are_in_byte_order,
         a_binding_comes_and_goes, names_are_checked, options_are_checked,
         a_payload_comes_as_it_was, a_payload_may_fill_the_limit, many_large_ones_come_in_parts, first_in_first_out,
         a_direct_router_takes_the_key_as_it_is, a_fanout_router_reaches_all,
         a_topic_router_matches_words, many_bindings_of_a_queue_reach_it_once,
         what_reaches_nobody_is_counted, an_absent_queue_is_said, the_counters_of_a_queue]


def run_cases(cases, runner, server, storages=("memory", "hdd")):
    for storage in storages:
        doors = [make(server) for make in DOORS]
        for case in cases:
            for door in doors:
                runner.case("%s: %s, %s" % (case.__name__, door.name, storage),
                            lambda c=case, d=door: c(d, doors, storage))
        for door in doors:
            door.close()


def run(runner, server):
    run_cases(CASES, runner, server)
