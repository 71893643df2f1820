# SPDX-License-Identifier: MIT
"""The engine answers as a plain model does; its clock and the node's are moved together."""
import os
import shutil

import process
import same_answers
import same_queues
from harness import Server
from postgres import Postgres
from shim import Control


class Moved:
    """A database whose clock is moved by a page that is shared with it."""

    def __init__(self, runner):
        self.dir = process.directory("hati-pg-clock-")
        library = os.path.join(self.dir, "shim.so")
        shutil.copy(os.path.join(runner.build, "libhati_shim.so"), library)
        self.control = Control(library, os.path.join(self.dir, "none"))
        os.chmod(self.control.path, 0o666)
        self.database = Postgres(fsync="off")
        self.database.prefix = ("env", *("%s=%s" % pair for pair in self.control.env().items()))

    def __enter__(self):
        self.database.start()
        return self

    def __exit__(self, *_):
        self.database.close()
        process.remove(self.dir)

    def node(self, *flags, schema=None):
        on_engine = type("OnEngine", (Server,), {"engine": self.database.url()})
        return on_engine(*flags, env=self.control.env(), schema=schema)


def the_engine_answers_as_a_plain_model_does(runner):
    with Moved(runner) as moved:
        same_answers.play(runner, same_answers.Play(
            moved.node("--payload-limit", "64k"), moved.control, runner.seed,
            int(os.environ.get("HATI_PG_OPERATIONS") or 3000), ("memory", "hdd")))


def queues_of_the_engine_do_as_a_plain_model_does(runner):
    with Moved(runner) as moved:
        same_queues.play(runner, moved.node(), moved.control,
                         int(os.environ.get("HATI_PG_OPERATIONS") or 1000),
                         [("memory", True), ("hdd", True)])


CASES = [the_engine_answers_as_a_plain_model_does, queues_of_the_engine_do_as_a_plain_model_does]
