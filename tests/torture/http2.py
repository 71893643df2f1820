# SPDX-License-Identifier: MIT
"""As much of HTTP/2 (RFC 9113) as it takes to send a request that no library would."""
import select
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, CONTINUATION = 0, 1, 4, 6, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
FRAME_MAX = 16384
STATUSES = {8: b"200", 9: b"204", 10: b"206", 11: b"304", 12: b"400", 13: b"404", 14: b"500"}


def frame(kind, flags, stream, data):
    return struct.pack(">I", len(data))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + data


def integer(value, bits):
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    out, value = bytes((most,)), value - most
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def literal(text):
    data = text.encode("latin-1")
    return integer(len(data), 7) + data


def block(headers):
    """Each a literal, without the table (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + literal(name) + literal(value) for name, value in headers)


class Connection:
    def __init__(self, port, patience):
        self.sock = socket.create_connection(("127.0.0.1", port), patience)
        self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        self.got = b""

    def ask(self, headers, body, wait_s):
        """Its status if it comes in time and is one of the usual, else None."""
        data = block(headers)
        sent = b""
        parts = [data[at:at + FRAME_MAX] for at in range(0, len(data), FRAME_MAX)]
        for number, part in enumerate(parts):
            flags = END_HEADERS if number == len(parts) - 1 else 0
            if number == 0 and not body:
                flags |= END_STREAM
            sent += frame(CONTINUATION if number else HEADERS, flags, 1, part)
        if body:
            sent += frame(DATA, END_STREAM, 1, body)
        try:
            self.sock.sendall(sent)
            return self.status(time.monotonic() + wait_s)
        except ConnectionError:
            return None

    def status(self, end):
        while select.select([self.sock], [], [], max(end - time.monotonic(), 0))[0]:
            part = self.sock.recv(65536)
            if not part:
                return None
            self.got += part
            while len(self.got) >= 9:
                length = int.from_bytes(self.got[:3], "big")
                if len(self.got) < 9 + length:
                    break
                kind, flags = self.got[3], self.got[4]
                data, self.got = self.got[9:9 + length], self.got[9 + length:]
                if kind == SETTINGS and not flags & ACK:
                    self.sock.sendall(frame(SETTINGS, ACK, 0, b""))
                if kind == HEADERS:
                    while data and data[0] & 0xE0 == 0x20: # a change of the table's size
                        data = data[1:]
                    return STATUSES.get(data[0] & 0x7F if data and data[0] & 0x80 else 0)
        return None

    def close(self):
        self.sock.close()
