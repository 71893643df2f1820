# SPDX-License-Identifier: MIT
"""--peer-reads: a GET that misses asks peers, on every door."""
import json
import os
import shutil
import tempfile

from cases_auth import SECRET, token
from doors import WORKSPACE
from harness import check, same, wait_until
from node import Node


def pair(*flags):
    """A node with keys, and one that has it for a peer."""
    holder = Node()
    asker = Node(*flags, peers=[holder.address])
    asker.wait_for(holder.address)
    return holder, asker


def put(holder, key, value, headers=None):
    same(holder.request("PUT", "/api/default/%s?type=memory" % key, value, headers).status, 204)


def is_there(asker, key):
    """The holder's filter has come as far as the key."""
    wait_until(lambda: asker.get(key) is not None, "%s is not found" % key)


def a_key_that_only_a_peer_has_is_found_on_every_door(runner):
    holder, asker = pair("--peer-reads")
    put(holder, "theirs", b"1", {"Content-Type": "text/plain"})
    is_there(asker, "theirs")
    line = asker.line()
    same(line.ask("GET memory theirs"), "1", "lines")
    line.send("GETB memory theirs\n")
    same(line.read(5), b"$1\n1\n", "lines, framed")
    for path in ("/api/default/theirs", "/api2/%s/default/theirs" % WORKSPACE):
        answer = asker.request("GET", path + "?type=memory")
        same((answer.status, answer.body, answer.headers["Content-Type"], answer.headers["ETag"]),
             (200, b"1", "text/plain", '"c4ca4238a0b923820dcc509a6f75849b"'), path)
    same(asker.rpc("Storage.Get", ["memory", "theirs"])["result"], "1", "JSON-RPC")
    same(asker.rpc("Storage.GetEntry", ["memory", "theirs"])["result"]["value"], "1", "GetEntry")
    same(json.loads(line.ask('{"jsonrpc":"2.0","id":1,"method":"Storage.Get","params":'
                             '["memory","theirs"]}'))["result"], "1", "JSON lines")
    batch = [{"jsonrpc": "2.0", "id": i, "method": "Storage.Get",
              "params": ["memory", "theirs" if i % 2 else "none"]} for i in range(6)]
    got = asker.rpc_raw(json.dumps(batch)).json()
    same([(one["id"], one.get("result")) for one in sorted(got, key=lambda one: one["id"])],
         [(i, "1" if i % 2 else None) for i in range(6)], "a batch")
    same(asker.get("theirs"), "1", "Olivia")
    same(line.ask("COUNT memory"), "0", "nothing is kept here")
    line.close()
    holder.close()
    asker.close()


def other_places_are_not_asked_for(runner):
    holder, asker = pair("--peer-reads")
    line = holder.line()
    same(line.ask("SET hdd 0 disk 1"), "+OK")
    same(line.ask("USE elsewhere"), "+OK")
    same(line.ask("SET memory 0 far 1"), "+OK")
    same(line.ask("USE default"), "+OK")
    same(line.ask("SET memory 0 near 1"), "+OK")
    line.close()
    is_there(asker, "near")
    before = asker.stats()
    same(asker.request("GET", "/api/default/disk").status, 404)
    same(asker.request("GET", "/api/default/near").status, 404, "near, on disk")
    same(asker.request("GET", "/api/elsewhere/far?type=memory").status, 404)
    same(asker.request("GET", "/api/elsewhere/near?type=memory").status, 404)
    same(asker.request("GET", "/api2/00000000-0000-0000-0000-00000000000b/default/near?type=memory"
                       ).status, 404)
    same(asker.stats()["asked"], before["asked"], "asked")
    same(asker.request("GET", "/api/default/near?type=memory").body, b"1")
    holder.close()
    asker.close()


def without_the_option_only_olivia_asks(runner):
    holder, asker = pair()
    put(holder, "theirs", b"1")
    is_there(asker, "theirs")
    before = asker.stats()
    line = asker.line()
    check(line.ask("GET memory theirs").startswith("+ERR KEY_NOT_EXIST "), "lines")
    same(asker.request("GET", "/api/default/theirs?type=memory").status, 404)
    check("error" in asker.rpc("Storage.Get", ["memory", "theirs"]), "JSON-RPC")
    same(asker.stats()["asked"], before["asked"], "asked")
    line.close()
    holder.close()
    asker.close()


def pipelined_misses_keep_their_order(runner):
    holder, asker = pair("--peer-reads")
    keys = ["k%d" % i for i in range(500)]
    same(holder.ask("SET " + ",".join("%s:v%s" % (key, key) for key in keys))[:5], ":SAT ")
    is_there(asker, keys[-1])
    line = asker.line()
    same(line.ask("SET memory 0 here 1"), "+OK")
    line.send("".join("GET memory %s\nGET memory here\nGET memory none\n" % key for key in keys))
    for key in keys:
        same(line.read_line().decode(), "v%s\n" % key)
        same(line.read_line(), b"1\n")
        check(line.read_line().startswith(b"+ERR KEY_NOT_EXIST "), "none")
    line.close()
    door = asker.door()
    door.send("".join("%s:GET %s,here,none\n" % (key, key) for key in keys))
    for key in keys:
        same(door.read_line().decode(), "%s:GOT %s:v%s,here:1\n" % (key, key, key))
    same(door.ask("GET " + ",".join(keys)), ":GOT " + ",".join("%s:v%s" % (k, k) for k in keys))
    door.close()
    holder.close()
    asker.close()


def an_end_comes_along(runner):
    holder, asker = pair("--peer-reads")
    same(holder.ask("SETEX ends:1:300,soon:2:1"), ":SATEX ends:1:300,soon:2:1")
    is_there(asker, "ends")
    answer = asker.request("GET", "/api/default/ends?type=memory")
    check(200000 < int(answer.headers["Hati-Ttl"]) <= 300000, "Hati-Ttl")
    wait_until(lambda: asker.get("soon") is None, "it does not end")
    holder.close()
    asker.close()


def any_bytes_come_along(runner):
    """Between hati nodes: what no Olivia line could hold."""
    holder, asker = pair("--peer-reads")
    value = bytes(range(256)) * 4096
    put(holder, "big%2Cand%3Aodd", value)
    put(holder, "last", b"")
    is_there(asker, "last")
    answer = asker.request("GET", "/api/default/big%2Cand%3Aodd?type=memory")
    same((answer.status, answer.body == value), (200, True), "a megabyte of any bytes")
    same(asker.request("GET", "/api/default/last?type=memory").body, b"", "an empty value")
    holder.close()
    asker.close()


def conditions_and_writes_look_here_alone(runner):
    holder, asker = pair("--peer-reads")
    put(holder, "theirs", b"1")
    is_there(asker, "theirs")
    path = "/api/default/theirs?type=memory"
    same(asker.request("PUT", path, b"2", {"If-None-Match": "*"}).status, 201, "it is not here")
    same(asker.request("GET", path).body, b"2", "what is here comes first")
    same(asker.request("DELETE", path).status, 204)
    same(asker.request("DELETE", path).status, 404)
    same(asker.request("GET", path).body, b"1", "theirs again")
    holder.close()
    asker.close()


def peers_with_credentials_want_a_token(runner):
    """kv:read is enough; without one, or with a bad one, a node asks nothing and is well."""
    holder = Node(env={"HATI_JWT_SECRET": SECRET})
    directory = tempfile.mkdtemp(prefix="hati-olivia-")
    askers = []
    try:
        door = holder.door()
        same(door.ask("AUTH " + token()), "+OK")
        same(door.ask("SET theirs:1"), ":SAT theirs:1")
        for name, text in (("good", token(scope="kv:read:default")), ("bad", "nonsense"),
                           ("expired", token(exp=1)), ("other", token(scope="kv:write"))):
            path = os.path.join(directory, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(text + "\n")
            askers.append(Node("--peer-token-file", path, peers=[holder.address]))
        askers.append(Node(peers=[holder.address]))
        askers[0].wait_for(holder.address)
        askers[0].finds("theirs", "1")
        check(askers[0].ask("REQUEST PEERS").endswith(holder.address), "REQUEST PEERS")
        for asker in askers[1:]:
            same(asker.get("theirs"), None)
            check(asker.peer(holder.address)["state"] != "alive", "it is alive without a token")
            asker.is_well()
        same(door.ask("GET theirs"), ":GOT theirs:1")
        for one in askers + [holder]:
            check("eyJ" not in one.log_text(), "a token is in the log")
        door.close()
    finally:
        for one in askers + [holder]:
            one.close()
        shutil.rmtree(directory)


CASES = [a_key_that_only_a_peer_has_is_found_on_every_door, other_places_are_not_asked_for,
         without_the_option_only_olivia_asks, pipelined_misses_keep_their_order,
         an_end_comes_along, any_bytes_come_along, conditions_and_writes_look_here_alone,
         peers_with_credentials_want_a_token]
