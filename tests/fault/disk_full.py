# SPDX-License-Identifier: MIT
"""A disk that fills up: a small tmpfs in a mount namespace of our own."""
import json
import os
import subprocess
import sys
import tempfile
import time

from harness import Failure, Server, check, same, wait_until

INSIDE = "--on-small-disk"
SIZE = "160m"
VALUE = b"v" * 60000
KEYS_MAX = 20000
PATIENCE = 30


def mount_and(command):
    return ["unshare", "-m", "sh", "-c",
            'mount -t tmpfs -o size=%s tmpfs "$0" && exec "$@"' % SIZE] + command


def why_not():
    """Why no small disk can be had; None where one can."""
    if os.geteuid() != 0:
        return "not root, so no small disk can be mounted"
    place = tempfile.mkdtemp(prefix="hati-full-")
    try:
        done = subprocess.run(mount_and([place, "true"]), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        return "there is no unshare here"
    finally:
        os.rmdir(place)
    return None if done.returncode == 0 else "no small disk can be mounted: " + \
        done.stdout.decode().strip()


def run(runner):
    """Starts ourselves again on a small disk."""
    place = tempfile.mkdtemp(prefix="hati-full-")
    command = [place, sys.executable, sys.argv[0], os.path.dirname(Server.binary), INSIDE, place]
    try:
        done = subprocess.run(mount_and(command), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    finally:
        os.rmdir(place)
    text = done.stdout.decode().strip()
    if done.returncode != 0:
        raise Failure(text)
    for line in text.splitlines():
        runner.say(line)


def inside(place):
    for tell, flags in ((story, ()), (story, ("--write-buffer", "4m", "--hdd-shards", "2")),
                        (story_of_queues, ("--write-buffer", "4m"))):
        room = os.path.join(place, "server")
        os.mkdir(room)
        server = Server(*flags, keep=room)
        try:
            tell(server)
        except Failure as failure:
            print("with %s: %s" % (flags, failure))
            print("log: " + server.log_text()[-1500:])
            return 1
        finally:
            server.close()
    return 0


def numbered(i):
    return b"%d." % i + VALUE


def set_one(line, i):
    return line.ask(b"SET hdd 0 k%d %s" % (i, numbered(i)))


def fill(line, kept, start):
    """Writes until nothing more goes in for a while; how many more are there now."""
    refused = 0
    for i in range(start, start + KEYS_MAX):
        reply = set_one(line, i)
        if reply == "+OK":
            kept.add(i)
            refused = 0
            continue
        check(reply.startswith("+ERR STORAGE_FULL"), "a full disk was answered %r" % reply)
        refused += 1
        if refused == 20:
            return i + 1
        time.sleep(0.05)
    raise Failure("the disk did not become full")


def check_all(line, kept, gone):
    for i in sorted(kept):
        got = line.ask(b"GET hdd k%d" % i)
        check(got.encode() == numbered(i), "k%d is gone or wrong: %r" % (i, got[:60]))
    for i in sorted(gone):
        got = line.ask(b"GET hdd k%d" % i)
        check(got.startswith("+ERR KEY_NOT_EXIST"), "k%d was deleted, but: %r" % (i, got[:60]))


def delete_some(line, kept, gone, share):
    for i in sorted(kept)[::share]:
        same(line.ask("DELETE hdd k%d" % i), "+OK", "DELETE on a full disk")
        kept.remove(i)
        gone.add(i)


def write_again(line, kept, i, after):
    def written():
        if set_one(line, i) != "+OK":
            return False
        kept.add(i)
        return True
    start = time.monotonic()
    wait_until(written, "writes do not go on after " + after, PATIENCE)
    return time.monotonic() - start


def fill_with_ballast(server):
    """Somebody else takes all the room there is."""
    path = os.path.join(server.dir, "ballast")
    with open(path, "wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                pass
    return path


def beside_ballast(server, kept, gone, at):
    """Not a byte is left, by somebody else's doing; what is taken nevertheless is kept."""
    line = server.line()
    for i in range(at, at + 50):
        if set_one(line, i) == "+OK":
            kept.add(i)
    path = fill_with_ballast(server)
    for i in range(at + 50, at + 400):
        reply = set_one(line, i)
        check(reply == "+OK" or reply.startswith("+ERR STORAGE_FULL"), "SET: %r" % reply)
        if reply == "+OK":
            kept.add(i)
    check_all(line, kept, gone)
    delete_some(line, kept, gone, 3)
    check_all(line, kept, gone)
    os.unlink(path)
    took = write_again(line, kept, at + 400, "the disk had room again")
    check_all(line, kept, gone)
    line = again(server)
    check_all(line, kept, gone)
    return took


def again(server):
    server.kill()
    server.process.stdout.close()
    server.log.close()
    server.start()
    return server.line()


def story(server):
    kept, gone = set(), set()
    line = server.line()
    at = fill(line, kept, 0)
    first = len(kept)
    check(first > 100, "full after %d entries" % first)
    check_all(line, kept, gone)
    delete_some(line, kept, gone, 2)
    check_all(line, kept, gone)
    took_deletes = write_again(line, kept, at, "deletes")
    line = again(server)
    check_all(line, kept, gone)
    at = fill(line, kept, at + 1)
    line = again(server)  # killed while full
    check_all(line, kept, gone)
    second = len(kept)
    same(line.ask("FLUSHALL hdd"), "+OK", "FLUSHALL on a full disk")
    kept, gone = set(), gone | kept
    check_all(line, kept, gone)
    took_flush = write_again(line, kept, at, "FLUSHALL")
    line = again(server)
    check_all(line, kept, gone)
    took_ballast = beside_ballast(server, kept, gone, at + 1)
    check(server.stop() == 0, "the server did not end well")
    print("full after %d entries of 60 kB, then after %d; writes went on %.2f s after deletes, "
          "%.2f s after FLUSHALL, %.2f s after somebody else made room" % (
              first, second, took_deletes, took_flush, took_ballast))


class Queue:
    """Messages of 60 kB: those whose publish was answered, less those whose ACK was."""

    def __init__(self, server):
        self.server, self.kept, self.count = server, set(), 0
        self.line = server.line()
        same(self.line.ask("CREATEQUEUE jobs hdd lease=600000"), "+OK", "CREATEQUEUE")

    def publish(self):
        self.count += 1
        reply = self.line.ask(b"PUBLISH default jobs " + numbered(self.count))
        if reply.startswith("+OK "):
            self.kept.add(self.count)
            return True
        check(reply.startswith("+ERR STORAGE_FULL"), "a full disk was answered %r" % reply)
        return False

    def fill(self):
        refused = 0
        while refused < 20:
            check(self.count < KEYS_MAX, "the disk did not become full")
            refused = 0 if self.publish() else refused + 1
            if refused:
                time.sleep(0.05)

    def take(self, count):
        """Receives and acknowledges so many, if there are."""
        while count > 0 and (got := self.take_some(count)):
            count -= got
        return count

    def take_some(self, count):
        self.line.send("RECEIVE jobs %d\n" % min(count, 20))
        taken = []
        while (head := self.line.read_line()).startswith(b"MSG "):
            receipt, length = head.split()[1].decode(), int(head.split()[-1])
            body = self.line.read(length + 1)[:-1]
            number = int(body.split(b".", 1)[0])
            check(number in self.kept and body == numbered(number), "a message is %.60r" % body)
            taken.append((number, receipt))
        same(head, b"+OK %d\n" % len(taken), "RECEIVE on a full disk")
        for number, receipt in taken:
            same(self.line.ask("ACK jobs " + receipt), "+OK", "ACK on a full disk")
            self.kept.remove(number)
        return len(taken)

    def goes_on(self, after):
        start = time.monotonic()
        wait_until(self.publish, "publishes do not go on after " + after, PATIENCE)
        return time.monotonic() - start

    def again(self):
        """Killed; what is there is what has to be."""
        self.line = again(self.server)
        told = json.loads(self.line.ask("GETQUEUE jobs"))
        same(told["ready"], len(self.kept), "messages after a kill")


def story_of_queues(server):
    queue = Queue(server)
    queue.fill()
    first = len(queue.kept)
    check(first > 100, "full after %d messages" % first)
    same(queue.take(50), 0, "messages missed on a full disk")
    queue.again()  # killed while full
    same(queue.take(first // 2), 0, "messages missed on a disk that was full")
    took_acks = queue.goes_on("ACKs")
    path = fill_with_ballast(server) # not a byte is left
    for _ in range(50):
        queue.publish()
    same(queue.take(first // 8), 0, "messages missed without a byte of room")
    os.unlink(path)
    queue.again()
    queue.fill()
    queue.take(KEYS_MAX)
    same(queue.kept, set(), "messages that are missing")
    took_all = queue.goes_on("the last ACK")
    queue.fill()
    second = len(queue.kept)
    check(second > first // 4, "full after %d messages, then after %d" % (first, second))
    check(server.stop() == 0, "the server did not end well")
    print("a queue was full after %d messages of 60 kB, then after %d; publishes went on %.2f s "
          "after some ACKs, %.2f s after the last" % (first, second, took_acks, took_all))
