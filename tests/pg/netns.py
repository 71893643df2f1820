# SPDX-License-Identifier: MIT
"""A network of our own: namespaces joined by a bridge, whose members can be cut off and healed.

Nothing of it touches the machine's own network; without root, or where the kernel has no
namespaces, why_not() says so."""
import atexit
import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess

from harness import Failure

CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def command(*words):
    done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failure("%s: %s" % (" ".join(words), done.stderr.decode().strip()))


def why_not():
    """Why no network can be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for name in ("ip", "nft"):
        if not shutil.which(name):
            return "no %s here: install the packages of tests/pg/packages" % name
    try:
        with Network(["probe"]) as network:
            network.cut("probe")
            network.heal("probe")
    except Failure as failure:
        return str(failure)
    return None


class Network:
    """Members have the addresses 10.77.0.2, 10.77.0.3, ... in the order of their names."""

    def __init__(self, names):
        self.prefix = "hati%d-%d" % (os.getpid(), next(_numbers))
        self.hub = self.prefix + "-hub"
        self.names = list(names)
        self.addresses = {name: "10.77.0.%d" % (i + 2) for i, name in enumerate(self.names)}
        self.made = []
        atexit.register(self.close)
        try:
            self.make()
        except Failure:
            self.close()
            raise

    def make(self):
        self.add(self.hub)
        command("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
        command("ip", "-n", self.hub, "link", "set", "br0", "up")
        for i, name in enumerate(self.names):
            space, port = self.space(name), "v%d" % i
            self.add(space)
            command("ip", "-n", self.hub, "link", "add", port, "type", "veth", "peer", "name",
                    "eth0", "netns", space)
            command("ip", "-n", self.hub, "link", "set", port, "master", "br0", "up")
            command("ip", "-n", space, "addr", "add", self.addresses[name] + "/24", "dev", "eth0")
            command("ip", "-n", space, "link", "set", "eth0", "up")

    def add(self, space):
        command("ip", "netns", "add", space)
        self.made.append(space)
        command("ip", "-n", space, "link", "set", "lo", "up")

    def space(self, name):
        return "%s-%s" % (self.prefix, name)

    def cut(self, name, others=None):
        """Its packets, to and from `others` (all, where None), vanish: no reset, no error."""
        self.heal(name)
        which = "" if others is None else "ip %%s { %s } " % ", ".join(
            self.addresses[other] for other in others)
        rules = ["add table inet cut"]
        for hook, side, device in (("input", "saddr", "iifname"), ("output", "daddr", "oifname")):
            rules.append("add chain inet cut %s { type filter hook %s priority 0; }" % (hook, hook))
            rules.append("add rule inet cut %s %s eth0 %sdrop" % (
                hook, device, which % side if which else ""))
        self.nft(name, "\n".join(rules))

    def heal(self, name):
        self.nft(name, "add table inet cut\ndelete table inet cut")

    def nft(self, name, rules):
        done = subprocess.run(["ip", "netns", "exec", self.space(name), "nft", "-f", "-"],
                              input=rules.encode(), capture_output=True)
        if done.returncode:
            raise Failure("nft: " + done.stderr.decode().strip())

    def pull(self, name):
        """The cable out: its link goes down."""
        self.link(name, "down")

    def plug(self, name):
        self.link(name, "up")

    def link(self, name, state):
        command("ip", "-n", self.hub, "link", "set", "v%d" % self.names.index(name), state)

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets that this thread makes meanwhile are that member's, for as long as they live."""
        with open("/proc/thread-self/ns/net", "rb") as here, \
                open("/run/netns/" + self.space(name), "rb") as there:
            enter(there)
            try:
                yield
            finally:
                enter(here)

    def close(self):
        while self.made:
            subprocess.run(["ip", "netns", "del", self.made.pop()], capture_output=True)
        atexit.unregister(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def enter(file):
    if _libc.setns(file.fileno(), CLONE_NEWNET):
        raise Failure("setns: " + os.strerror(ctypes.get_errno()))
