# SPDX-License-Identifier: MIT
"""A wire to the database that breaks where it hurts: behind what was sent, before the answer."""
import random
import socket
import threading


CHUNK = 65536


class Wire:
    """lose_requests, lose_answers: how probable it is for each piece that it vanishes, and the
    connection with it. frozen: pieces wait until thaw(). change(piece of an answer) gives what is
    carried in its place; (bytes, True) where the connection is to end behind it."""

    def __init__(self, address, port, seed):
        self.target = (address, port)
        self.random = random.Random(seed)
        self.lose_requests = self.lose_answers = 0.0
        self.losses = 0
        self.change = None
        self.open = threading.Event()
        self.open.set()
        self.pairs, self.lock = set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.ended = False
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, database, options=""):
        return database.url(options).replace(":%d/" % database.port, ":%d/" % self.port)

    def freeze(self):
        self.open.clear()

    def thaw(self):
        self.open.set()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (near, far)
            with self.lock:
                self.pairs.add(pair)
            for source, sink, is_answer in ((near, far, False), (far, near, True)):
                threading.Thread(target=self.carry, args=(pair, source, sink, is_answer),
                                 daemon=True).start()

    def carry(self, pair, source, sink, is_answer):
        try:
            while data := source.recv(CHUNK):
                self.open.wait()
                if self.random.random() < (self.lose_answers if is_answer else self.lose_requests):
                    self.losses += 1
                    return
                data, ends = self.change(data) if self.change and is_answer else (data, False)
                sink.sendall(data)
                if ends:
                    return
        except OSError:
            pass
        finally:
            self.cut(pair)

    def cut(self, pair):
        with self.lock:
            if pair not in self.pairs:
                return
            self.pairs.discard(pair)
        for sock in pair:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def cut_all(self):
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.cut(pair)

    def close(self):
        if not self.ended:
            self.ended = True
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.thaw()
            self.cut_all()
