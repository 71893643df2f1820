# SPDX-License-Identifier: MIT
"""A terminal with a client in it: tmux, with a server and a folder of its own."""
import itertools
import os
import shlex
import subprocess
import time

from harness import Failure, check

PATIENCE = 20
_sockets = itertools.count()


class Screen:
    def __init__(self, folder, command, env, columns=120, rows=30):
        self.base = ["tmux", "-S", os.path.join(folder, "tmux%d" % next(_sockets)), "-f", "/dev/null"]
        self.env = dict(env, TERM="xterm-256color", LC_ALL="C.UTF-8")
        self.env.pop("TMUX", None)
        self.env["ASAN_OPTIONS"] = "detect_leaks=0"  # libedit never frees names of functions
        script = " ".join(shlex.quote(word) for word in command) + '; echo "status $?"; cat'
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), script)

    def tmux(self, *words):
        done = subprocess.run(self.base + list(words), env=self.env, capture_output=True,
                              timeout=PATIENCE)
        return done.stdout.decode("utf-8", "replace")

    def keys(self, *keys):
        """Keys by tmux's names, texts as they are."""
        self.tmux("send-keys", *keys)

    def text(self, *flags):
        return self.tmux("capture-pane", "-p", "-J", *flags)

    def lines(self):
        return [line.rstrip() for line in self.text().splitlines() if line.strip()]

    def wait(self, condition, what):
        """Until the screen's text is so; the text."""
        end = time.monotonic() + PATIENCE
        while not condition(text := self.text()):
            if time.monotonic() > end:
                raise Failure("%s; the screen is:\n%s" % (what, text))
            time.sleep(0.01)
        return text

    def see(self, text, count=1):
        return self.wait(lambda screen: screen.count(text) >= count, "%r is not seen" % text)

    def clear(self):
        self.keys("C-l")
        self.wait(lambda screen: len([one for one in screen.splitlines() if one.strip()]) <= 1,
                  "the screen is not cleared")

    def ends(self, status):
        self.see("status %d" % status)

    def close(self):
        self.tmux("kill-server")


def check_absent(text, what):
    check(what not in text, "%r is seen:\n%s" % (what, text))
