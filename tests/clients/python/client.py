# SPDX-License-Identifier: MIT
"""jsonrpclib-pelix (python3-jsonrpclib-pelix) against /rpc."""
import os

import jsonrpclib
from jsonrpclib.jsonrpc import ProtocolError

URL = "http://127.0.0.1:%s/rpc" % os.environ["CLIENT_HTTP_PORT"]


def check(name, run):
    try:
        run()
        print("ok " + name, flush=True)
    except Exception as error:  # whatever the client raises is told to the runner
        print("FAIL %s: %r" % (name, error), flush=True)


def same(got, wanted):
    if got != wanted:
        raise AssertionError("got %r, wanted %r" % (got, wanted))


def missing(call, wanted):
    try:
        got = call()
    except ProtocolError as error:
        same(error.args[0], wanted)
        return
    raise AssertionError("no failure but %r" % (got,))


def no_such_key(call):
    try:
        got = call()
    except ProtocolError as error:
        same(error.args[0][0], -32001)
        same(error.args[0][1].split(":")[0].split(" ")[0], "KEY_NOT_EXIST")
        return
    raise AssertionError("no failure but %r" % (got,))


def values(server, kind):
    key = "pelix " + kind
    same(server.Storage.Set(kind, key, "dvě"), True)
    same(server.Storage.Get(kind, key), "dvě")
    same(server.Storage.Set(type=kind, key=key, value="tři", ttl=600000), True)
    same(server.Storage.Get(type=kind, key=key), "tři")
    same(server.Storage.Delete(kind, key), True)
    same(server.Storage.Delete(kind, key), False)


def notification(server):
    same(server._notify.Storage.Set("memory", "pelix noted", "noted"), None)
    same(server.Storage.Get("memory", "pelix noted"), "noted")


def batch(server):
    calls = jsonrpclib.MultiCall(server)
    calls.Storage.Set("memory", "pelix batch", "1")
    calls._notify.Storage.Set("memory", "pelix batch noted", "noted")
    calls.Storage.Increment("memory", "pelix batch")
    calls.Storage.Get("memory", "pelix batch noted")
    same(list(calls()), [True, 2, "noted"])


def batch_of_notifications(server):
    calls = jsonrpclib.MultiCall(server)
    calls._notify.Storage.Set("memory", "pelix silent", "heard")
    list(calls() or [])
    same(server.Storage.Get("memory", "pelix silent"), "heard")


def main():
    server = jsonrpclib.ServerProxy(URL)
    for kind in ("memory", "hdd"):
        check("Set, Get and Delete (%s)" % kind, lambda k=kind: values(server, k))
        check("a missing key is an error (%s)" % kind,
              lambda k=kind: no_such_key(lambda: server.Storage.Get(k, "pelix absent")))
    check("a notification is done", lambda: notification(server))
    check("a batch with a notification in it", lambda: batch(server))
    check("a batch of notifications", lambda: batch_of_notifications(server))
    old = jsonrpclib.ServerProxy(URL, version=1.0)
    for kind in ("memory", "hdd"):
        check("JSON-RPC 1.0: by position (%s)" % kind, lambda k=kind: values_one(old, k))
    check("JSON-RPC 1.0: a missing key is an error",
          lambda: missing(lambda: old.Storage.Get("memory", "pelix absent"), "KEY_NOT_EXIST"))


def values_one(server, kind):
    same(server.Storage.Set(kind, "pelix one", "jedna"), True)
    same(server.Storage.Get(kind, "pelix one"), "jedna")
    same(server.Storage.Delete(kind, "pelix one"), True)


main()
