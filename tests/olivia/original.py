# SPDX-License-Identifier: MIT
"""A node of the original Olivia as far as others see it: its bytes, its quirks, its mistakes.

Replies list keys in no order (they come out of a map), the answer to CONNECT has no hash and that
to DISCONNECT neither hash nor newline, an unknown REQUEST is answered without the brackets that
other unknown commands get, and a filter is written without a look at whether it can be read."""
import random
import socket
import threading

from olivia_filter import Filter

INVALID = b"[]Invalid command sent in.\n"


class Original:
    """Listens on a port of its own. keys may be changed while it runs."""

    def __init__(self, keys=None, seed=1, host="127.0.0.1", port=0):
        self.keys = dict(keys or {})
        self.random = random.Random(seed)
        self.heard = []        # every line, as it came
        self.expiring = set()  # keys of SETEX: its filter does not tell of them
        self.connections = []
        self.deaf = False      # takes lines and answers none
        self.listener = socket.create_server((host, port))
        self.port = self.listener.getsockname()[1]
        self.address = "%s:%d" % (host, self.port)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go does
            self.connections.append(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            with sock, sock.makefile("rb") as file:
                for line in file:
                    self.heard.append(line)
                    answer = self.answer(line.replace(b"\n", b""), sock)
                    if not self.deaf:
                        sock.sendall(answer)
        except OSError:
            pass

    def answer(self, line, sock):
        head, space, rest = line.partition(b" ")
        parts = head.split(b":")
        hash_text, command = parts[:2] if len(parts) > 1 else (b"", parts[0])
        if not space:
            return INVALID
        args, seconds = self.pairs(rest)
        run = getattr(self, "do_" + command.decode("ascii", "replace").lower(), None)
        return run(hash_text, args, seconds, sock) if run else INVALID

    @staticmethod
    def pairs(text):
        args, seconds = {}, {}
        for part in text.split(b","):
            words = part.split(b":")
            args[words[0]] = words[1] if len(words) > 1 else b""
            if len(words) > 2:
                seconds[words[0]] = words[2]
        return args, seconds

    def reply(self, hash_text, word, values):
        """As out of a map, but for what was left empty: that stands at the end."""
        values = sorted(values)
        self.random.shuffle(values)
        return b"%s:%s %s\n" % (hash_text, word, b",".join(values))

    def do_get(self, hash_text, args, _seconds, _sock):
        found = [b"%s:%s" % (key, self.keys[key]) for key in args if key in self.keys]
        return self.reply(hash_text, b"GOT", found)

    def do_set(self, hash_text, args, _seconds, _sock):
        self.keys.update(args)
        return self.reply(hash_text, b"SAT", [b"%s:%s" % pair for pair in args.items()])

    def do_setex(self, hash_text, args, seconds, _sock):
        if len(args) != len(seconds):
            return b"Invalid command sent in. Unbalanced keys:expirations.\n"
        self.keys.update(args)
        self.expiring.update(args)
        return self.reply(hash_text, b"SATEX", [b"%s:%s:%d" % (key, value, int(seconds[key]))
                                                for key, value in args.items()])

    def do_ping(self, *_):
        return b"0:PONG 1\n"

    def do_request(self, hash_text, args, _seconds, _sock):
        item = next(iter(args)).upper()
        if item == b"BLOOMFILTER":
            return self.reply(hash_text, b"FULFILLED", [self.filter_text()])
        if item == b"CONNECT":
            return self.reply(b"", b"FULFILLED", [self.filter_text()])
        if item == b"PEERS":
            return b"%s:FULFILLED \n" % hash_text
        if item == b"DISCONNECT":
            return b"Peer not found in peer list."
        return b"Invalid command sent in.\n"

    def filter_text(self):
        return Filter.of(set(self.keys) - self.expiring).text()

    def gets(self, key=None):
        """The GETs it heard (of that key alone)."""
        lines = [line for line in list(self.heard) if b"GET " in line]
        return [line for line in lines if key is None or line.strip().endswith(b" " + key)]

    def hang_up(self):
        """On everybody; it goes on listening."""
        for sock in self.connections:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections = []

    def close(self):
        # shutdown wakes the thread in accept; close alone does not
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.hang_up()


class Caller:
    """The original as it calls others: a hash before each request, a reply found by its hash."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, 30)
        self.file = self.sock.makefile("rb")
        self.number = 0

    def request(self, text):
        self.number += 1
        hash_text = b"%032x" % (self.number * 0x9E3779B97F4A7C15)
        self.sock.sendall(b"%s:%s\n" % (hash_text, text))
        line = self.file.readline()
        if line.startswith(hash_text + b":"):
            return line[len(hash_text) + 1:].rstrip(b"\n")
        raise ValueError("no answer to %r: %r" % (text, line))

    def filter(self, item=b"BLOOMFILTER"):
        """It takes the reply apart as it does a request, and the filter is the first key."""
        head, _, rest = self.request(b"REQUEST " + item).partition(b" ")
        args, _ = Original.pairs(rest)
        if head != b"FULFILLED":
            raise ValueError("no filter: %r" % head)
        return Filter.parse(next(iter(args)).strip())

    def get(self, key):
        """What it makes of a peer's answer: the second of what stands between colons."""
        parts = self.request(b"GET " + key).split(b" ")[1].split(b":")
        return parts[1] if len(parts) > 1 else None

    def close(self):
        self.file.close()
        self.sock.close()
