# SPDX-License-Identifier: MIT
"""A hati with an Olivia door and peers."""
import json
import socket

from harness import PATIENCE, Line, Server, check, wait_until
from process import free_port, in_namespace

BEAT = 0.1


class Node(Server):
    """On ports that it keeps; in a namespace where it is a member of a network."""

    engine = None

    def __init__(self, *flags, peers=(), beat="100ms", timeout="2s", network=None, member=None,
                 port=None, env=None):
        self.network, self.member = network, member
        self.host = network.addresses[member] if network else "127.0.0.1"
        self.olivia = port or (5454 if network else free_port())
        self.address = "%s:%d" % (self.host, self.olivia)
        self.prefix = tuple(in_namespace([], network.space(member) if network else None))
        more = ["--peers", ",".join(peers)] if peers else []
        super().__init__("--olivia", "--olivia-port", str(self.olivia), "--olivia-advertise",
                         self.address, "--peer-beat", beat, "--peer-refresh", "200ms",
                         "--peer-timeout", timeout, "--no-auth", *more, *flags, env=env)

    def dial(self, port, patience=PATIENCE):
        if not self.network:
            return Line(socket.create_connection(("127.0.0.1", port), patience))
        with self.network.inside(self.member):
            return Line(socket.create_connection(("127.0.0.1", port), patience))

    def door(self, patience=PATIENCE):
        return self.dial(self.olivia, patience)

    def line(self, token=None):
        return self.dial(self.tcp)

    def request(self, *words, **more):
        if not self.network:
            return super().request(*words, **more)
        with self.network.inside(self.member):
            return super().request(*words, **more)

    def ask(self, text):
        """One line on a connection of its own."""
        door = self.door()
        try:
            return door.ask(text)
        finally:
            door.close()

    def get(self, key):
        """Its value by the Olivia door, or None."""
        got = self.ask("GET " + key)
        check(got.startswith(":GOT "), "GET %s: %r" % (key, got))
        return got[5:].partition(":")[2] if got != ":GOT " else None

    def stats(self):
        return json.loads(self.request("GET", "/stats").body)["peers"]

    def peer(self, address):
        return next(one for one in self.stats()["nodes"] if one["address"] == address)

    def wait_for(self, *addresses, state="alive"):
        """Until it has their filters (where they are to be alive)."""
        def there(address):
            one = self.peer(address)
            return one["state"] == state and (one["filter"] or state != "alive")
        wait_until(lambda: all(there(address) for address in addresses),
                   "not %s: %s" % (state, ", ".join(addresses)))

    def finds(self, key, value, patience=PATIENCE):
        wait_until(lambda: self.get(key) == value, "%s is not found" % key, patience)

    def release(self):
        self.process.stdout.close()
        self.log.close()

    def close(self):
        """What a sanitizer found is in the log, and fails the case."""
        text = self.log_text()
        super().close()
        check("Sanitizer" not in text, text[text.find("Sanitizer") - 100:][:2000])

    def is_well(self):
        check(self.process.poll() is None, "it ended with %r: %s" % (self.process.returncode,
                                                                     self.log_text()[-1500:]))
        check(self.ask("SET well:1") == ":SAT well:1", "SET")
        check(self.get("well") == "1", "GET")
        check(self.request("GET", "/healthz").status == 200, "healthz")
