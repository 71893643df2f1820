# SPDX-License-Identifier: MIT
"""Several hati nodes on one database, behind HAProxy."""
import itertools
import os
import threading

import process
from clients import Http
from harness import Failure, Server, check
from haproxy import Haproxy

_schemas = itertools.count(1)


def fresh_schema():
    return "hati_pg_%d_%d" % (os.getpid(), next(_schemas))


class Node(Server):
    """On an address and ports that it keeps."""

    engine = None

    def __init__(self, url, schema, *flags, address="127.0.0.1", namespace=None, advertise=None):
        self.address = address
        self.tcp_port, self.http_port = process.free_port(), process.free_port()
        self.advertise = advertise or "%s:%d" % (address, self.http_port)
        self.prefix = tuple(process.in_namespace([], namespace))
        self.url_of_engine, self.schema_of_engine = url, schema
        self.stopped = False
        super().__init__("--tcp-host", address, "--rpc-host", address, "--tcp-port",
                         str(self.tcp_port), "--rpc-port", str(self.http_port), "--no-auth", *flags)

    def engine_flags(self):
        if self.url_of_engine is None:
            return []  # on LMDB: the clients themselves are tested so
        return ["--engine", self.url_of_engine, "--engine-schema", self.schema_of_engine,
                "--engine-connections", "6", "--engine-timeout", "3s", "--advertise",
                self.advertise]

    def release(self):
        self.process.stdout.close()
        self.log.close()

    def restart(self, how="kill"):
        """kill, or stop for a clean end."""
        if self.process.poll() is None:
            if how == "kill":
                self.kill()
            else:
                check(self.stop() == 0, "a node ended badly: " + self.log_text()[-500:])
        self.release()
        self.start()


class Cluster:
    """`network` has members n0, n1, ... for the nodes and lb for HAProxy, or is None."""

    def __init__(self, url, count=3, network=None, flags=()):
        self.url, self.schema, self.network = url, fresh_schema(), network
        self.nodes, self.proxy = [], None
        try:
            for i in range(count):
                where = {"address": network.addresses["n%d" % i],
                         "namespace": network.space("n%d" % i)} if network else {}
                self.nodes.append(Node(url, self.schema, *flags, **where))
            where = {"address": network.addresses["lb"], "namespace": network.space("lb")} \
                if network else {}
            self.proxy = Haproxy([(node.address, node.http_port, node.tcp_port)
                                  for node in self.nodes], **where).start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise

    def wait_ready(self, patience=30):
        self.proxy.wait_for(range(len(self.nodes)), patience)
        for node in self.nodes:
            if node.process.poll() is not None:
                raise Failure("a node ended with %d: %s" % (node.process.returncode,
                                                           node.log_text()[-800:]))

    def client(self, number=None, patience=15):
        """Of one node, or of the load balancer."""
        at = (self.nodes[number].address, self.nodes[number].http_port) if number is not None \
            else (self.proxy.address, self.proxy.http)
        return Http(*at, patience=patience, network=self.network,
                    member="client" if self.network else None)

    def logs(self):
        return "\n".join(node.log_text()[-600:] for node in self.nodes)

    def close(self):
        if self.proxy:
            self.proxy.close()
        for node in self.nodes:
            node.close()


def start_together(makers):
    """What the functions make, all at once; the first failure of theirs is raised."""
    made, failures = [None] * len(makers), []
    barrier = threading.Barrier(len(makers))

    def make(i):
        barrier.wait()
        try:
            made[i] = makers[i]()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(i,)) for i in range(len(makers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        for one in made:
            if one:
                one.close()
        raise failures[0]
    return made
