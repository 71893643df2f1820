# SPDX-License-Identifier: MIT
"""The page shared with shim.c, and what it wrote down."""
import mmap
import os
import struct

FIELDS = ("events", "sync_fails_after", "write_fails_after", "alloc_fails_after", "fails_count",
          "fault_errno", "failed", "clock_ms", "owner", "blocks", "bytes", "allocations",
          "steady_ms", "fails_every")
HEAD = struct.Struct("<IIQII")
(OPEN, WRITE, SIZE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, RMDIR, DIR_SYNC) = range(1, 11)


class Control:
    """Faults to come in a program that was started with `env`."""

    def __init__(self, library, directory, log=None):
        self.library, self.directory, self.log = library, directory, log
        self.path = directory.rstrip("/") + ".control"
        with open(self.path, "wb") as file:
            file.write(bytes(4096))
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 4096)
        self.words = memoryview(self.page).cast("q")  # struct would write zeros first

    def env(self):
        made = {"LD_PRELOAD": self.library, "HATI_SHIM_CONTROL": self.path,
                "HATI_SHIM_DIR": self.directory}
        if self.log:
            made["HATI_SHIM_LOG"] = self.log
        return made

    def get(self, field):
        return self.words[FIELDS.index(field)]

    def set(self, field, value):
        self.words[FIELDS.index(field)] = value

    def fail(self, what, after=1, errno=5, count=1, every=0):
        """What of kind `what` comes `after`-th fails, `count` times in a row, and then each that
        comes `every` later, if that is not 0."""
        self.set("failed", 0)
        self.set("fault_errno", errno)
        self.set("fails_count", count)
        self.set("fails_every", every)
        self.set(what + "_fails_after", after)

    def unsynced(self):
        """Path of the file whose sync failed."""
        at = len(FIELDS) * 8
        return self.page[at:at + 256].partition(b"\0")[0].decode()

    def heal(self):
        for what in ("sync", "write", "alloc"):
            self.set(what + "_fails_after", 0)

    def close(self):
        self.words.release()
        self.page.close()
        os.unlink(self.path)


def events(path):
    """(event, file, a, safe, data) in the order they were written down."""
    with open(path, "rb") as file:
        while True:
            head = file.read(HEAD.size)
            if len(head) < HEAD.size:
                return
            event, number, a, safe, length = HEAD.unpack(head)
            data = file.read(length)
            if len(data) < length:
                return
            yield event, number, a, bool(safe), data
