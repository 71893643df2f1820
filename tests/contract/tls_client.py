# SPDX-License-Identifier: MIT
"""A TLS client whose bytes are in our hands: half-closes, both directions at once, damage."""
import select
import socket
import ssl

from harness import PATIENCE, Failure, check, trusting


class Client:
    def __init__(self, port, context=None):
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.come, self.go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or trusting()).wrap_bio(self.come, self.go)
        self.got, self.raw = bytearray(), b""
        self.ended = self.said_end = False

    def hello(self):
        """The first flight of a handshake."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.go.read()

    def shake(self):
        self.sock.sendall(self.hello())
        while True:
            try:
                self.tls.do_handshake()
                self.sock.sendall(self.go.read())
                return self
            except ssl.SSLWantReadError:
                self.sock.sendall(self.go.read())
                part = self.sock.recv(65536)
                check(part, "the server left the handshake")
                self.come.write(part)

    def seal(self, data):
        """Encrypted, not sent."""
        for at in range(0, len(data), 1 << 20):
            self.tls.write(data[at:at + (1 << 20)])
        return self.go.read()

    def send(self, data):
        self.sock.sendall(self.seal(data))

    def say_end(self):
        """close_notify; the socket stays open."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" not in str(error):
                raise
        self.sock.sendall(self.go.read())

    def decrypt(self, part):
        self.come.write(part)
        while True:
            try:
                more = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                self.said_end = True
                return
            if not more:
                self.said_end = True
                return
            self.got += more

    def read(self, enough, step=65536):
        """Until `enough(got)` or the end."""
        while not enough(self.got) and not self.ended:
            try:
                part = self.sock.recv(step)
            except ConnectionResetError:
                part = b""
            if part:
                self.decrypt(part)
            else:
                self.ended = True
        return self.got

    def read_end(self):
        return self.read(lambda got: False)

    def lines(self, count):
        got = self.read(lambda text: text.count(b"\n") >= count)
        check(got.count(b"\n") >= count, "ended after %r" % got[-200:])
        return got.split(b"\n")[:count]

    def exchange(self, data, enough):
        """Sends while it reads."""
        left = memoryview(self.seal(data))
        self.sock.setblocking(False)
        while left or not enough(self.got):
            can_read, can_write, _ = select.select([self.sock], [self.sock] if left else [], [],
                                                   PATIENCE)
            if not can_read and not can_write:
                raise Failure("silence; %d bytes are not sent, %d came" % (len(left),
                                                                            len(self.got)))
            if can_write:
                left = left[self.sock.send(left[:1 << 18]):]
            if can_read:
                part = self.sock.recv(1 << 18)
                check(part, "ended after %d bytes, %d left" % (len(self.got), len(left)))
                self.decrypt(part)
        self.sock.settimeout(PATIENCE)
        return self.got

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except ConnectionError:
            self.ended = True

    def read_raw_end(self, half=False):
        """What comes until the end, not decrypted; half: we say that we end before."""
        try:
            if half:
                self.sock.shutdown(socket.SHUT_WR)
            while part := self.sock.recv(65536):
                self.raw += part
        except OSError as error:
            if isinstance(error, socket.timeout):
                raise
        self.ended = True

    def close(self):
        self.sock.close()
