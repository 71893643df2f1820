# SPDX-License-Identifier: MIT
"""Encryption at rest: what a data directory shows, its keys, and their rotation."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from broker_doors import RpcBroker
from cases_broker import take
from cases_start import refused
from harness import Server, check, same, wait_until

SECRET = "nobody-may-read-this"
LONG = 4500  # messages: more of a queue than memory holds


def make_key():
    return os.urandom(32).hex()


class Case:
    """A directory with a file of keys, and a server on it."""

    def __init__(self, *keys):
        self.dir = tempfile.mkdtemp(prefix="hati-encryption-")
        self.path = os.path.join(self.dir, "keys")
        self.data = os.path.join(self.dir, "data")
        self.server = None
        if keys:
            self.keys(*keys)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.server:
            self.server.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def keys(self, *keys, mode=0o600):
        fresh = self.path + ".fresh"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write("# of a case\n" + "".join(key + "\n" for key in keys))
        os.chmod(fresh, mode)
        os.rename(fresh, self.path)

    def start(self, sealed=True):
        flags = ["--encryption-key-file", self.path] if sealed else []
        if self.server:
            self.server.process.stdout.close()
            self.server.log.close()
            self.server.flags = flags
            self.server.start()
        else:
            self.server = Server(*flags, keep=self.dir)
        return self.server

    def finds(self, text):
        """Files of the data directory that hold the text."""
        found = []
        for base, _, names in os.walk(self.data):
            for name in names:
                with open(os.path.join(base, name), "rb") as file:
                    if text.encode() in file.read():
                        found.append(name)
        return found

    def reencrypt(self, *flags):
        return subprocess.Popen(
            [Server.binary, "reencrypt", "--data-dir", self.data, "--encryption-key-file",
             self.path, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def reencrypted(self):
        process = self.reencrypt()
        out, err = process.communicate(timeout=60)
        same(process.returncode, 0, err)
        return out.decode()

    def refused_reencrypt(self, word):
        process = self.reencrypt()
        out, err = process.communicate(timeout=60)
        check(process.returncode != 0 and out == b"", "it ran")
        check(word in err.decode(), "%r does not say %r" % (err, word))


def url(key):
    return "/api/default/%s?type=hdd" % key


def put(server, key, value, **headers):
    answer = server.request("PUT", url(key), value,
                            {name.replace("_", "-"): text for name, text in headers.items()})
    same(answer.status, 204, key)
    return answer.headers["ETag"]


def get(server, key, **headers):
    return server.request("GET", url(key),
                          headers={name.replace("_", "-"): text for name, text in headers.items()})


def value_of(server, key):
    answer = get(server, key)
    same(answer.status, 200, key)
    return answer.body


def fill_keys(server):
    put(server, "text", SECRET, Content_Type="text/plain")
    etag = put(server, "changed", SECRET + "-before")
    same(server.request("PUT", url("changed"), "x", {"If-Match": '"%032d"' % 0}).status, 412)
    put(server, "changed", SECRET + "-after", If_Match=etag)
    put(server, "large", SECRET * 50000)
    put(server, "empty", "")
    put(server, "lasting", SECRET)
    line = server.line()
    same(line.ask("TOUCH hdd 600000 lasting"), "+OK", "TOUCH")
    same(line.ask("INCR hdd count 41"), "41", "INCR")
    same(line.ask("INCR hdd count"), "42", "INCR")
    line.close()


def check_keys(server):
    same(value_of(server, "text"), SECRET.encode())
    same(get(server, "text").headers["Content-Type"], "text/plain")
    same(value_of(server, "changed"), (SECRET + "-after").encode())
    same(value_of(server, "large"), SECRET.encode() * 50000)
    same(value_of(server, "empty"), b"")
    same(value_of(server, "count"), b"42")
    part = get(server, "large", Range="bytes=999980-999999")
    same((part.status, part.body), (206, SECRET.encode()), "a part")
    same(get(server, "text", If_None_Match=get(server, "text").headers["ETag"]).status, 304)
    line = server.line()
    check(500000 < int(line.ask("TTL hdd lasting")) <= 600000, "TTL")
    line.close()
    same(value_of(server, "lasting"), SECRET.encode())
    listed = server.request("GET", "/api/default?type=hdd").json()
    same(listed["keys"], ["changed", "count", "empty", "large", "lasting", "text"], "keys")


def fill_queues(server, count):
    rpc = RpcBroker(server)
    rpc.create_queue("dead", type="hdd")
    rpc.create_queue("work", type="hdd", max_deliver=1, dead_letter="dead")
    rpc.create_queue("long", type="hdd")
    rpc.publish("default", "work", SECRET.encode(), headers={"note": SECRET + "-header"})
    message = take(rpc, "work")[0]
    same(message.payload, SECRET.encode())
    same(rpc.nack("work", message.receipt), None, "nack")
    wait_until(lambda: rpc.get_queue("dead")[0]["ready"] == 1, "no dead letter")
    for first in range(0, count, 900):
        calls = [{"jsonrpc": "2.0", "id": i, "method": "Broker.Publish",
                  "params": {"router": "default", "key": "long", "payload": "%s-%d" % (SECRET, i)}}
                 for i in range(first, first + 900)]
        answers = json.loads(server.rpc_raw(json.dumps(calls)).body)
        check(all("result" in answer for answer in answers), repr(answers[:1]))


def check_queues(server, count):
    rpc = RpcBroker(server)
    got = rpc.get_queue("long")[0]
    same((got["ready"], rpc.get_queue("dead")[0]["ready"]), (count, 1), "messages")
    dead = rpc.peek("dead")[0]["messages"][0]
    same((dead["payload"], dead["headers"]["note"]), (SECRET, SECRET + "-header"), "a dead letter")
    for at in range(0, count, 900):
        messages = take(rpc, "long", 900)
        same([m.payload for m in messages],
             [b"%s-%d" % (SECRET.encode(), i) for i in range(at, at + 900)], "the long queue")
        if at == 0:
            for message in messages[:3]:
                same(rpc.ack("long", message.receipt), None, "ack")


def an_encrypted_server_does_all_that_another_does_and_shows_nothing():
    with Case(make_key()) as case:
        server = case.start()
        fill_keys(server)
        fill_queues(server, LONG)
        check_keys(server)
        same(case.finds(SECRET), [], "in plain")
        server.kill()
        server = case.start()
        check_keys(server)
        check_queues(server, LONG)
        server.stop()
        same(case.finds(SECRET), [], "in plain")
        check(case.finds("lasting"), "keys' names are to be found")
        server = case.start()
        check_keys(server)
        check("encrypted" in server.greeting, "it does not say so")
        same(server.stop(), 0)


def a_wrong_or_missing_key_is_said_before_a_port_opens():
    with Case() as case:
        case.keys(make_key(), mode=0o644)
        server = case.start()
        check("others may read or change it too (mode 644)" in server.log_text(), "no word of it")
        put(server, "k", SECRET)
        same(server.stop(), 0)
        flags = ["--data-dir", case.data, "--tcp-port", "0", "--rpc-port", "0"]
        refused(*flags, word="is encrypted: --encryption-key-file with the key")
        flags += ["--encryption-key-file", case.path]
        case.keys(make_key())
        refused(*flags, word="is not in the file")
        case.keys("xyz")
        refused(*flags, word="keys line 2: a key of 32 bytes is expected")
        case.keys()
        refused(*flags, word="there is no key in it")
        os.unlink(case.path)
        refused(*flags, word="No such file")
        case.keys(make_key())
        refused(*flags, "--engine", "postgresql://localhost/none", word="only hdd in data-dir")
        refused(*flags[:-2], "--encryption-key-file", word="needs a value")


def hang_up(server, word):
    seen = server.log_text().count(word)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.log_text().count(word) > seen, "the log does not say: " + word)


class Load:
    """Writes and reads all the time, and notes what was answered."""

    def __init__(self, server):
        self.server, self.over, self.written = server, False, 0
        self.failure = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            line = self.server.line()
            while not self.over:
                value = "%s-%d" % (SECRET, self.written)
                same(line.ask("SET hdd 0 load-%d %s" % (self.written, value)), "+OK", "SET")
                self.written += 1
            line.close()
        except Exception as failure:  # noqa: BLE001: told by whoever ends it
            self.failure = failure

    def end(self):
        self.over = True
        self.thread.join()
        if self.failure:
            raise self.failure
        return self.written


def keys_are_rotated_under_load():
    old, new = make_key(), make_key()
    with Case(old) as case:
        server = case.start()
        load = Load(server)
        wait_until(lambda: load.written > 100 or load.failure, "no load")
        case.keys(new)
        hang_up(server, "keys of encryption stay as they were")
        case.keys("broken", old)
        hang_up(server, "keys of encryption stay as they were")
        case.keys(new, old)
        hang_up(server, "keys of encryption read anew")
        seen = load.written
        wait_until(lambda: load.written > seen + 100 or load.failure, "no load")
        written = load.end()
        server.kill()
        same(case.finds(SECRET), [], "in plain")
        case.keys(new)
        refused("--data-dir", case.data, "--encryption-key-file", case.path,
                word="is not in the file")
        case.keys(old)  # it has seen the new one
        refused("--data-dir", case.data, "--encryption-key-file", case.path,
                word="is not in the file")
        case.keys(new, old)
        text = case.reencrypted()
        check(re.search(r"^%d entries and messages are sealed" % written, text), text)
        same(text.count("is no longer needed here"), 1, text)
        case.keys(new)
        server = case.start()
        for i in range(written):
            same(value_of(server, "load-%d" % i), b"%s-%d" % (SECRET.encode(), i))
        same(server.stop(), 0)


def a_plain_directory_is_sealed_later_and_nothing_plain_is_left():
    with Case(make_key()) as case:
        server = case.start(sealed=False)
        fill_keys(server)
        fill_queues(server, 900)
        same(server.stop(), 0)
        check(case.finds(SECRET), "it is not plain")
        server = case.start()
        check_keys(server)
        same(server.log_text().count("may be in plain"), 1, "warnings")
        put(server, "text", SECRET, Content_Type="text/plain")
        case.refused_reencrypt("another process serves")
        server.kill()
        check(case.finds(SECRET), "it is not plain")
        case.reencrypted()
        same(case.finds(SECRET), [], "in plain")
        server = case.start()
        same(server.log_text().count("may be in plain"), 1, "warnings")
        check_keys(server)
        check_queues(server, 900)
        same(server.stop(), 0)


def a_rewrite_that_is_killed_harms_nothing_and_goes_on():
    old, new = make_key(), make_key()
    with Case(old) as case:
        server = case.start()
        line = server.line()
        count = 2000
        for i in range(count):
            line.send("SET hdd 0 key-%d %s-%d-%s\r\n" % (i, SECRET, i, "x" * 4000))
        for i in range(count):
            same(line.read_line().strip(), b"+OK")
        line.close()
        same(server.stop(), 0)
        case.keys(new, old)
        killed = 0
        for patience in (0.01, 0.03, 0.05, 0.08):
            process = case.reencrypt()
            try:
                process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                killed += 1
                process.kill()
                process.communicate()
            if killed == 2:  # a server in between takes nothing amiss
                server = case.start()
                same(value_of(server, "key-7")[:22], b"%s-7" % SECRET.encode())
                same(server.stop(), 0)
        check(killed > 0, "none was killed")
        check(re.search(r"^%d entries" % count, case.reencrypted()), "another count")
        same(case.finds(SECRET), [], "in plain")
        case.keys(new)
        server = case.start()
        for i in range(0, count, 37):
            same(value_of(server, "key-%d" % i), b"%s-%d-%s" % (SECRET.encode(), i, b"x" * 4000))
        listed = server.request("GET", "/api/default?type=hdd&limit=5000").json()
        same(len(listed["keys"]), count, "keys")
        same(server.stop(), 0)


def a_rewrite_of_what_cannot_be_rewritten_is_refused():
    with Case(make_key()) as case:
        case.refused_reencrypt("is no data directory of hati")
        os.mkdir(case.data)
        case.refused_reencrypt("is no data directory of hati")
        done = subprocess.run([Server.binary, "reencrypt", "--data-dir", case.data],
                              capture_output=True, timeout=30)
        check(done.returncode != 0 and b"by which key?" in done.stderr, repr(done.stderr))


def fresh_keys_are_printed():
    texts = {subprocess.run([Server.binary, "encryption-key"], capture_output=True,
                            timeout=30).stdout for _ in range(3)}
    same(len(texts), 3, "keys")
    for text in texts:
        check(re.fullmatch(rb"[0-9a-f]{64}\n", text), repr(text))
    done = subprocess.run([Server.binary, "encryption-key", "more"], capture_output=True,
                          timeout=30)
    same((done.returncode, done.stdout), (2, b""))


CASES = [an_encrypted_server_does_all_that_another_does_and_shows_nothing,
         a_wrong_or_missing_key_is_said_before_a_port_opens,
         keys_are_rotated_under_load,
         a_plain_directory_is_sealed_later_and_nothing_plain_is_left,
         a_rewrite_that_is_killed_harms_nothing_and_goes_on,
         a_rewrite_of_what_cannot_be_rewritten_is_refused, fresh_keys_are_printed]


def run(runner):
    if Server.engine:  # which keeps nothing here
        return
    for case in CASES:
        runner.case("encryption: " + case.__name__, case)
