# SPDX-License-Identifier: MIT
"""The Bloom filter of Olivia nodes, written from its description: hashes, text form, both ways."""
import base64
import re

BITS = 9585
WORDS = 150
PIECE = re.compile(rb"([^0-9])([0-9]*)")
MASK = 0xFFFFFFFF


def fnv1(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value * 0x01000193 & MASK) ^ byte
    return value


def murmur3(data):
    value, whole = 0, len(data) & ~3
    for at in range(0, whole, 4):
        mixed = int.from_bytes(data[at:at + 4], "little") * 0xCC9E2D51 & MASK
        mixed = ((mixed << 15 | mixed >> 17) & MASK) * 0x1B873593 & MASK
        value ^= mixed
        value = ((value << 13 | value >> 19) & MASK) * 5 + 0xE6546B64 & MASK
    if whole < len(data):
        mixed = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & MASK
        value ^= ((mixed << 15 | mixed >> 17) & MASK) * 0x1B873593 & MASK
    value ^= len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & MASK
    value = (value ^ value >> 13) * 0xC2B2AE35 & MASK
    return value ^ value >> 16


def jenkins(data):
    value = 0
    for byte in data:
        value = value + byte & MASK
        value = value + (value << 10) & MASK
        value ^= value >> 6
    value = value + (value << 3) & MASK
    value ^= value >> 11
    return value + (value << 15) & MASK


def places(key):
    one = fnv1(key)
    return [one % BITS, murmur3(key) % BITS, jenkins(key) % BITS, one % BITS, one % BITS,
            one % BITS]


def unroll(text):
    """Every digit is part of a count, as the original reads it; a count of 0 or 1 is one."""
    out, at = [], 0
    for match in PIECE.finditer(text):
        if match.start() != at:
            raise ValueError("a count that counts nothing, at %d" % at)
        out.append(match[1] * max(int(match[2] or 1), 1))
        at = match.end()
    if at != len(text):
        raise ValueError("a count that counts nothing, at %d" % at)
    return b"".join(out)


def roll(text):
    return re.sub(rb"(.)\1+", lambda run: b"%s%d" % (run[1], len(run[0])), text)


class Filter:
    """bits: a number whose bit i is the filter's bit i."""

    def __init__(self, bits=0):
        self.bits = bits

    @classmethod
    def of(cls, keys):
        bits = 0
        for key in keys:
            for place in places(key):
                bits |= 1 << place
        return cls(bits)

    @classmethod
    def parse(cls, text):
        """As the original does: counts are unrolled, one `=` is appended, and what base64 gives is
        a length and words."""
        data = base64.b64decode(unroll(text) + b"=", altchars=b"-_", validate=True)
        if len(data) != 8 + 8 * WORDS or int.from_bytes(data[:8], "big") != BITS:
            raise ValueError("%d bytes, %d bits" % (len(data), int.from_bytes(data[:8], "big")))
        words = [data[at:at + 8][::-1] for at in range(8, len(data), 8)]
        return cls(int.from_bytes(b"".join(words), "little") & (1 << BITS) - 1)

    def text(self):
        """As the original writes it: it does not look whether its base64 has digits."""
        return roll(self.base64())

    def base64(self):
        little = self.bits.to_bytes(8 * WORDS, "little")
        words = [little[at:at + 8][::-1] for at in range(0, len(little), 8)]
        return base64.urlsafe_b64encode(BITS.to_bytes(8, "big") + b"".join(words)).rstrip(b"=")

    def is_readable(self):
        """False where the original's own decoder would not read what it writes."""
        return re.search(rb"[0-9]", self.base64()) is None

    def has(self, key):
        return all(self.bits >> place & 1 for place in places(key))

    def count(self):
        return bin(self.bits).count("1")


def check_vectors():
    """Published ones: FNV's own page, MurmurHash3's verification, Jenkins' article."""
    for function, data, wanted in (
            (fnv1, b"", 0x811C9DC5), (fnv1, b"a", 0x050C5D7E), (fnv1, b"foobar", 0x31F0B262),
            (murmur3, b"", 0), (murmur3, b"hello", 0x248BFA47),
            (murmur3, b"The quick brown fox jumps over the lazy dog", 0x2E4FF723),
            (jenkins, b"a", 0xCA2E9442),
            (jenkins, b"The quick brown fox jumps over the lazy dog", 0x519E91F5)):
        if function(data) != wanted:
            raise ValueError("%s of %r is %08x" % (function.__name__, data, function(data)))
