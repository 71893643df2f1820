# SPDX-License-Identifier: MIT
"""What the options of queues and messages do: every door, both storages."""
from broker_doors import RpcBroker, fresh
from cases_broker import drain, payloads, queue_of, run_cases, take
from cases_broker_leases import FOREVER, elsewhere, has_consumers
from harness import Server, check, same, settles, unhurried, wait_until


def a_delayed_message_comes_later(door, others, storage):
    for other in others:
        def publishes(delay):
            queue = queue_of(door, storage)
            other.publish("default", queue, b"late", delay=delay)
            other.publish("default", queue, b"now")
            first = door.receive(queue, 2)  # before the other is due, which stands in front of it

            def come():
                messages = first + take(door, queue, 1, FOREVER)
                same(payloads(messages), [b"now", b"late"], "published by " + other.name)
                same([message.attempt for message in messages], [1, 1], "attempts")
                for message in messages:
                    same(door.ack(queue, message.receipt), None, "ack")
            return come

        unhurried(publishes, 400 if Server.engine else 80)


def a_higher_priority_is_handed_out_first(door, others, storage):
    queue = queue_of(door, storage)
    for i, priority in enumerate((0, 9, 5, None, 9, 1)):
        door.publish("default", queue, b"%d" % i, **({} if priority is None else
                                                     {"priority": priority}))
    same(drain(others[0], queue), [b"1", b"4", b"2", b"5", b"0", b"3"], "order")
    same(door.publish("default", queue, b"x", priority=10)[1], "SYNTAX", "10")
    same(door.publish("default", queue, b"x", priority=-1)[1], "SYNTAX", "-1")


def what_was_delivered_too_often_is_a_dead_letter(door, others, storage):
    for end in ("lease", "nack"):
        dead = queue_of(door, storage, "dead")
        queue = queue_of(door, storage, lease=60 if end == "lease" else 60000, max_deliver=2,
                         dead_letter=dead)
        published, _ = door.publish("default", queue, b"poison", headers={"a": [1, "b"]})
        for attempt in (1, 2):
            message = take(door, queue, wait=FOREVER)[0]
            same(message.attempt, attempt, "attempt")
            if end == "nack":
                same(door.nack(queue, message.receipt), None, "nack")
        for other in others:
            message = take(other, dead, wait=FOREVER)[0]
            same((message.payload, message.key), (b"poison", queue), "by " + other.name)
            if message.more:
                same([message.more[name] for name in ("id", "reason", "from")],
                     [published["id"], "max-deliver", queue], "by " + other.name)
                same(message.more["headers"]["attempt"], 2, "attempt there")
                same(message.more["headers"]["a"], [1, "b"], "headers are kept")
            same(other.nack(dead, message.receipt), None, "nack")
        got = door.get_queue(queue)[0]
        same((got["ready"], got["leased"]), (0, 0), "nothing is left")
        settles(lambda: door.get_queue(queue)[0]["dead_lettered"], 1, "dead letters")
        settles(lambda: door.get_queue(dead)[0]["published"], 1, "published there")


def what_expires_is_a_dead_letter(door, others, storage):
    dead = queue_of(door, storage, "dead")
    queue = queue_of(door, storage, dead_letter=dead)
    short = queue_of(door, storage, ttl=60, dead_letter=dead)
    for name, options in ((queue, {"ttl": 50}), (short, {}), (queue, {"ttl": 60, "delay": 600000})):
        door.publish("default", name, b"old", **options)
        message = take(door, dead, wait=FOREVER)[0]
        same((message.payload, message.attempt, message.key), (b"old", 1, name), str(options))
        if message.more:
            same((message.more["reason"], message.more["from"]), ("expired", name), "why")
        same(door.ack(dead, message.receipt), None, "ack")
        got = door.get_queue(name)[0]
        same((got["ready"], got["delayed"]), (0, 0), "gone there")
    door.publish("default", short, b"young", ttl=600000)
    same(payloads(take(door, short)), [b"young"], "a message's ttl comes before the queue's")


def what_expires_without_a_dead_letter_queue_is_gone(door, others, storage):
    for options in ({}, {"dead_letter": fresh("nosuch")}):
        queue = queue_of(door, storage, **options)
        door.publish("default", queue, b"old", ttl=40)
        wait_until(lambda: door.get_queue(queue)[0]["expired"] == 1, "it expires")
        for other in others:
            same(other.receive(queue), [], other.name)
        got = door.get_queue(queue)[0]
        same((got["ready"], got["dead_lettered"]), (0, 0), "counters")


def dead_letters_go_back_to_where_they_came_from(door, others, storage):
    dead = queue_of(door, storage, "dead")
    homes = [queue_of(door, storage, max_deliver=1, dead_letter=dead) for _ in range(2)]
    for i in range(6):
        door.publish("default", homes[i % 2], b"%d" % i)
        same(door.nack(homes[i % 2], take(door, homes[i % 2])[0].receipt), None, "nack")
    door.publish("default", dead, b"its own")
    same(len(door.peek(dead)[0]["messages"]), 7, "dead letters")
    same(door.redrive(dead), 6, "moved")
    same(drain(door, dead), [b"its own"], "what came from nowhere stays")
    for i, home in enumerate(homes):
        messages = take(door, home, 3)
        same(payloads(messages), [b"%d" % n for n in range(i, 6, 2)], "in order")
        same([message.attempt for message in messages], [1, 1, 1], "attempts begin anew")
        if messages[0].more:
            check("reason" not in messages[0].more, "it is no dead letter any more")
    same(door.redrive(dead), 0, "nothing left")


def a_full_queue_refuses(door, others, storage):
    queue = queue_of(door, storage, max_length=3)
    for i in range(2):
        same(door.publish("default", queue, b"%d" % i)[1], None, "publish")
    same(door.publish("default", queue, b"2", delay=600000)[1], None, "delayed ones count")
    for other in others:
        same(other.publish("default", queue, b"x")[1], "QUEUE_FULL", other.name)
    message = take(door, queue)[0]
    same(door.publish("default", queue, b"3")[1], None, "leased ones do not")
    same(door.nack(queue, message.receipt), None, "a message that comes back has its place")
    same(door.publish("default", queue, b"x")[1], "QUEUE_FULL", "four are too many")
    router, open_queue = fresh("fanout"), queue_of(door, storage)
    door.create_router(router, "fanout")
    for name in (queue, open_queue):
        door.bind(router, name)
    same(door.publish(router, "k", b"x")[1], "QUEUE_FULL", "a fan-out")
    same(door.receive(open_queue), [], "is all or none")
    same(door.publish(router, "k", b"x", id="again")[1], "QUEUE_FULL", "a fan-out")
    same(drain(door, queue), [b"0", b"1", b"3"], "what is there")
    same(door.publish(router, "k", b"y", id="again")[0]["queues"], 2, "a refused id is not seen")
    same(drain(door, open_queue), [b"y"], "room again")


def a_full_queue_may_drop_its_oldest(door, others, storage):
    queue = queue_of(door, storage, max_length=3, overflow="drop-head")
    for i in range(5):
        same(door.publish("default", queue, b"%d" % i)[1], None, "publish")
    same(door.get_queue(queue)[0]["ready"], 3, "ready")
    same(drain(others[0], queue), [b"2", b"3", b"4"], "the newest")
    many = [{"key": queue, "payload": str(i), "priority": int(i == 5)} for i in range(10)]
    results, code = RpcBroker(door.server).call("Broker.PublishMany", router="default",
                                                messages=many)
    same((code, {one["queues"] for one in results["results"]}), (None, {1}), "many at once")
    same(drain(door, queue), [b"5", b"8", b"9"], "the newest, of the lowest priority first")
    for _ in range(3):
        same(door.publish("default", queue, b"later", delay=600000)[1], None, "delayed")
    same(door.publish("default", queue, b"x")[1], "QUEUE_FULL", "there is none to drop")


def an_id_is_taken_once_within_the_window(door, others, storage):
    queue = queue_of(door, storage, dedup_window=600000)
    ids = [fresh("id"), "\u00e4 b".replace(" ", "_"), "i" * 255]
    for id in ids:
        for other in others:
            published, code = other.publish("default", queue, b"1", id=id)
            same((code, published), (None, {"id": id, "queues": 1}), "by " + other.name)
    messages = door.receive(queue, 100)
    same(len(messages), len(ids), "one each")
    for message in messages:
        same(door.ack(queue, message.receipt), None, "ack")
    same(door.publish("default", queue, b"2", id=ids[0])[0]["queues"], 1, "acked ones too")
    same(door.receive(queue), [], "not queued again")
    for other in others:
        other.publish("default", queue, b"3")
    same(len(drain(door, queue)), len(others), "messages without an id")
    short = queue_of(door, storage, dedup_window=50)
    door.publish("default", short, b"1", id="x")
    same(payloads(take(door, short)), [b"1"], "the first")

    def comes_again():
        same(door.publish("default", short, b"2", id="x")[1], None, "publish")
        return door.get_queue(short)[0]["ready"] == 1

    wait_until(comes_again, "the window ends")
    plain = queue_of(door, storage)
    for _ in range(2):
        door.publish("default", plain, b"1", id="same")
    same(drain(door, plain), [b"1", b"1"], "without a window ids may come twice")


def a_flush_drops_what_nobody_holds(door, others, storage):
    queue = queue_of(door, storage)
    for other in others:
        for i in range(5):
            door.publish("default", queue, b"%d" % i)
        door.publish("default", queue, b"later", delay=600000)
        held = take(door, queue)[0]
        same(other.flush(queue), 5, "FLUSH by " + other.name)
        same(other.flush(queue), 0, "again")
        same(door.receive(queue, 10), [], "nothing is ready")
        same(door.ack(queue, held.receipt), None, "a leased message stays")
        door.publish("default", queue, b"after")
        same(drain(door, queue), [b"after"], "the queue goes on")


def a_peek_takes_nothing(door, others, storage):
    queue = queue_of(door, storage)
    for i in range(23):
        door.publish("default", queue, b"\xff%d" % i if i % 2 else b"%d" % i,
                     **({"priority": 3} if i >= 20 else {}))
    door.publish("default", queue, b"later", delay=600000)
    taken = take(door, queue)[0]  # 20, the first of priority 3
    wanted = [21, 22] + list(range(20))
    for other in others:
        for limit in (1, 5, 22, 100, None):
            got, cursor = [], None
            while True:
                page, code = other.peek(queue, limit, cursor)
                same(code, None, "peek by " + other.name)
                check(len(page["messages"]) <= (limit or 100), "a page too long")
                got += page["messages"]
                cursor = page.get("cursor")
                if not cursor:
                    break
                check(page["messages"], "an empty page with a cursor")
            same(len(got), 22, "limit %r by %s" % (limit, other.name))
            for n, message in zip(wanted, got):
                check(message["payload"] == str(n) or "encoding" in message, "order: %r" % message)
                check("receipt" not in message, "a receipt in a peek")
        same(other.peek(queue, 0)[1], "SYNTAX", "limit 0")
        same(other.peek(queue, 5, "nonsense!")[1], "SYNTAX", "a cursor that is none")
    same(door.ack(queue, taken.receipt), None, "ack")
    messages = door.receive(queue, 100)
    same(len(messages), 22, "all are still there")
    same({message.attempt for message in messages}, {1}, "and were never handed out")


def a_paused_queue_hands_out_nothing(door, others, storage):
    queue = queue_of(door, storage)
    for other in others:
        same(other.pause(queue), None, "PAUSE by " + other.name)
        same(other.pause(queue), None, "twice")
        door.publish("default", queue, b"1")
        same(door.get_queue(queue)[0]["paused"], True, "paused")
        same(door.receive(queue, 1, 50), [], "paused")
        mine = type(door)(door.server)
        waiting = elsewhere(lambda: mine.receive(queue, 1, FOREVER))
        has_consumers(door, queue, 1)
        same(other.pause(queue, False), None, "RESUME by " + other.name)
        message = waiting.join()[0]
        same(door.ack(queue, message.receipt), None, "ack")
        mine.close()


def the_age_of_the_oldest_is_told(door, others, storage):
    queue = queue_of(door, storage)
    same(door.get_queue(queue)[0]["oldest_ms"], 0, "none is ready")
    door.publish("default", queue, b"1")
    wait_until(lambda: door.get_queue(queue)[0]["oldest_ms"] > 20, "it grows older")
    take(door, queue)
    same(door.get_queue(queue)[0]["oldest_ms"], 0, "none is ready")


CASES = [a_delayed_message_comes_later, a_higher_priority_is_handed_out_first,
         what_was_delivered_too_often_is_a_dead_letter, what_expires_is_a_dead_letter,
         what_expires_without_a_dead_letter_queue_is_gone,
         dead_letters_go_back_to_where_they_came_from, a_full_queue_refuses,
         a_full_queue_may_drop_its_oldest, an_id_is_taken_once_within_the_window,
         a_flush_drops_what_nobody_holds, a_peek_takes_nothing, a_paused_queue_hands_out_nothing,
         the_age_of_the_oldest_is_told]


def run(runner, server):
    run_cases(CASES, runner, server)
