# SPDX-License-Identifier: MIT
"""What a disk may hold after the power went, by what was written down of what was done to it.

Safe is what was written to a file before a sync of it began that has ended, what went through a
descriptor that syncs, and names up to a sync of a directory. Of all else anything may be there: of
names a part from their beginning, of writes any, in any order, torn at sectors.
"""
import os

import shim

SECTOR = 512
SEGMENT = "journal/segment-"
CHUNK = 1 << 16


class File:
    def __init__(self):
        self.safe = bytearray()
        self.pending = []  # (number of the event, offset or None: a size, data)

    def put(self, content, offset, data):
        if offset is None:
            if data < len(content):
                del content[data:]
            else:
                content.extend(bytes(data - len(content)))
            return
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        content[offset:offset + len(data)] = data

    def settle(self, before):
        """Everything that was written before that event is safe."""
        left = []
        for number, offset, data in self.pending:
            if number < before:
                self.put(self.safe, offset, data)
            else:
                left.append((number, offset, data))
        self.pending = left

    def torn(self, random, flying=None):
        """What it may hold. flying: a write that was under way."""
        pending = self.pending + ([flying] if flying else [])
        if not pending:
            return self.safe
        content = bytearray(self.safe)
        style = random.random()
        order = list(pending)
        if style < 0.3:
            random.shuffle(order)
        for _, offset, data in order:
            dice = random.random()
            if offset is None or dice < 0.4:
                if dice < 0.4:
                    self.put(content, offset, data)
                continue
            if dice < 0.6:
                continue
            at = 0
            while at < len(data):
                end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
                if random.random() < 0.5:
                    self.put(content, offset + at, data[at:end])
                at = end
        return content


class Journal:
    """How far its segments are safe, as events go by."""

    def __init__(self):
        self.files = {}  # path: inode
        self.written = 0  # the last write
        self.synced = 0  # the begin of the last sync that has ended

    def follow(self, number, kind, inode, a, data):
        if kind == shim.OPEN:
            self.files[data[:-1].decode()] = inode
        elif kind == shim.RENAME:
            source, target = data[:-1].decode().split("\0")
            if source in self.files:
                self.files[target] = self.files.pop(source)
        elif kind == shim.UNLINK:
            self.files.pop(data[:-1].decode(), None)
        elif kind == shim.WRITE and self.has(inode):
            self.written = number
        elif kind == shim.SYNC_END and self.has(inode):
            self.synced = max(self.synced, a)

    def has(self, inode):
        return any(number == inode and path.startswith(SEGMENT)
                   for path, number in self.files.items())


def is_settled(log):
    """Nothing was written to the journal since it was synced the last time."""
    journal = Journal()
    for number, (kind, inode, a, _, data) in enumerate(shim.events(log)):
        journal.follow(number, kind, inode, a, data)
    return 0 < journal.written < journal.synced


class Disk:
    def __init__(self, log):
        self.source = shim.events(log)
        self.number = 0  # events taken so far
        self.files = {}  # by inode: the file that has it now
        self.names = {}  # path: file, or None: a directory
        self.pending = []  # changes of names that are not safe
        self.journal = Journal()
        self.ahead = next(self.source, None)

    def change(self, names, kind, data):
        """One change of names; of files that are not there it is none."""
        if kind == shim.RENAME:
            source, target = data
            moved = [path for path in names if path == source or path.startswith(source + "/")]
            if moved:
                for path in [path for path in names
                             if path == target or path.startswith(target + "/")]:
                    del names[path]
            for path in moved:
                names[target + path[len(source):]] = names.pop(path)
        elif kind in (shim.UNLINK, shim.RMDIR):
            names.pop(data, None)
        else:
            names[data[0]] = data[1]

    def advance(self, until):
        """Takes events up to that number; False behind the last."""
        while self.number < until:
            if self.ahead is None:
                return False
            self.take(*self.ahead)
            self.number += 1
            self.ahead = next(self.source, None)
        return True

    def take(self, kind, inode, a, safe, data):
        self.journal.follow(self.number, kind, inode, a, data)
        if kind == shim.OPEN:
            if a or inode not in self.files:
                self.files[inode] = File()
                self.pending.append((kind, (data[:-1].decode(), self.files[inode])))
        elif kind == shim.WRITE:
            file = self.files[inode]
            file.pending.append((self.number, a, data))
            if safe:
                file.put(file.safe, *file.pending.pop()[1:])
        elif kind == shim.SIZE:
            self.files[inode].pending.append((self.number, None, a))
        elif kind == shim.SYNC_END:
            self.files[inode].settle(a)
        elif kind == shim.RENAME:
            source, target = data[:-1].decode().split("\0")
            self.pending.append((kind, (source, target)))
        elif kind == shim.MKDIR:
            self.pending.append((kind, (data[:-1].decode(), None)))
        elif kind in (shim.UNLINK, shim.RMDIR):
            self.pending.append((kind, data[:-1].decode()))
        elif kind == shim.DIR_SYNC:
            for change in self.pending:
                self.change(self.names, *change)
            self.pending = []

    def image(self, random, place):
        """Makes the directory `place` as it may be now."""
        names = dict(self.names)
        for change in self.pending[:random.randrange(len(self.pending) + 1)]:
            self.change(names, *change)
        os.mkdir(place)
        flying = {}
        if self.ahead and self.ahead[0] == shim.WRITE:
            flying[id(self.files[self.ahead[1]])] = (self.number, self.ahead[2], self.ahead[4])
        for path in sorted(names):
            full, file = os.path.join(place, path), names[path]
            if not os.path.isdir(os.path.dirname(full)):
                continue
            if file is None:
                os.makedirs(full, exist_ok=True)
            else:
                write_sparse(full, file.torn(random, flying.get(id(file))))


def write_sparse(path, content):
    with open(path, "wb") as file:
        os.truncate(path, len(content))
        view = memoryview(content)
        empty = bytes(CHUNK)
        for at in range(0, len(content), CHUNK):
            part = view[at:at + CHUNK]
            if part != empty[:len(part)]:
                file.seek(at)
                file.write(part)
    os.chmod(path, 0o600)
