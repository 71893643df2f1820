# SPDX-License-Identifier: MIT
"""The line protocol, byte for byte."""
import json

from harness import check, same

# (what is sent, what comes back); an answer that ends in `…` is compared up to it
TABLE = [
    ("PING", "+PONG"),
    ("ping", "+PONG"),
    ("PING\r", "+PONG"),
    ("SET memory 0 a hello world", "+OK"),
    ("GET memory a", "hello world"),
    ("get memory a\r", "hello world"),
    ("SET memory 0 s  two  spaces ", "+OK"),
    ("GET memory s", " two  spaces "),
    ("HAS memory a", "+OK"),
    ("HAS memory none", "+ERR KEY_NOT_EXIST …"),
    ("GET memory none", "+ERR KEY_NOT_EXIST …"),
    ("GET disk a", "+ERR STORAGE_TYPE_INVALID …"),
    ("DELETE memory a", "+OK"),
    ("DELETE memory a", "+OK"),
    ("INCR memory n", "1"),
    ("INCR memory n 41", "42"),
    ("INCR memory n -50", "-8"),
    ("INCR memory n x", "+ERR NOT_A_NUMBER …"),
    ("INCR memory s", "+ERR NOT_A_NUMBER …"),
    ("TTL memory n", "0"),
    ("TTL memory none", "+ERR KEY_NOT_EXIST …"),
    ("TOUCH memory 0 n", "+OK"),
    ("TOUCH memory 0 none", "+ERR KEY_NOT_EXIST …"),
    ("SET memory -1 a b", "+ERR SYNTAX …"),
    ("SET memory x a b", "+ERR SYNTAX …"),
    ("SET memory 0", "+ERR SYNTAX …"),
    ("SET", "+ERR SYNTAX …"),
    ("NOSUCH", "+ERR UNKNOWN_COMMAND …"),
    ("PUT memory a 1", "+ERR UNKNOWN_COMMAND …"),
    ("COUNT", "+ERR SYNTAX …"),
    ("KEYS memory n", '{"keys":["n"]}'),
    ("KEYS memory zz", '{"keys":[]}'),
    ("USE other", "+OK"),
    ("GET memory n", "+ERR KEY_NOT_EXIST …"),
    ("USE 00000000-0000-0000-0000-00000000000a/x", "+OK"),
    ("SET memory 0 n 1", "+OK"),
    ("USE default", "+OK"),
    ("GET memory n", "-8"),
    ("SET hdd 0 d durable", "+OK"),
    ("GET hdd d", "durable"),
    ("FLUSHALL hdd", "+OK"),
    ("COUNT hdd", "0"),
]


def the_table(server):
    line = server.line()
    for sent, wanted in TABLE:
        got = line.ask(sent)
        if wanted.endswith("…"):
            check(got.startswith(wanted[:-1]), "%s: got %r, wanted %r" % (sent, got, wanted))
        else:
            same(got, wanted, sent)
    line.close()


def requests_may_be_pipelined_and_answers_keep_their_order(server):
    line = server.line()
    count = 3000
    words = b""
    for i in range(count):
        storage = "hdd" if i % 3 == 0 else "memory"
        words += b"SET %s 0 p%d v%d\nGET %s p%d\n" % (storage.encode(), i % 50, i,
                                                   storage.encode(), i % 50)
    import threading
    sender = threading.Thread(target=line.send, args=(words,))
    sender.start()
    for i in range(count):
        same(line.read_line(), b"+OK\n", "SET %d" % i)
        same(line.read_line(), b"v%d\n" % i, "GET %d" % i)
    sender.join()
    line.close()


def a_value_with_a_newline_is_not_framable(server):
    line = server.line()
    line.send(b"SETB memory 0 nl 5\na\nb\nc\n")
    same(line.read_line(), b"+OK\n")
    check(line.ask("GET memory nl").startswith("+ERR NOT_FRAMABLE "), "GET")
    line.send(b"GETB memory nl\n")
    same(line.read(9), b"$5\na\nb\nc\n"[:9], "GETB")
    line.close()


def a_frame_may_end_as_lines_may(server):
    line = server.line()
    line.send(b"SETB memory 0 crlf 5\r\nhello\r\nGETB memory crlf\r\n")
    same(line.read_line(), b"+OK\n")
    same(line.read(9), b"$5\nhello\n")
    line.send(b"SETB memory 0 crlf %d\r\n" % (3 << 20) + b"x" * (3 << 20) + b"\r\nPING\r\n")
    check(line.read_line().startswith(b"+ERR VALUE_TOO_LARGE "), "a frame over the limit")
    same(line.read_line(), b"+PONG\n", "what follows")
    line.close()


def a_line_over_the_limit_is_dropped_and_the_connection_lives(server):
    line = server.line()
    line.send(b"SET memory 0 long " + b"x" * (4 << 20) + b"\nPING\n")
    check(line.read_line().startswith(b"+ERR LINE_TOO_LONG "), "the long line")
    same(line.read_line(), b"+PONG\n", "what follows")
    line.close()


def json_lines_are_answered_on_lines(server):
    line = server.line()
    same(json.loads(line.ask('{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}')),
         {"jsonrpc": "2.0", "id": 1, "result": "pong"})
    line.send('{"jsonrpc":"2.0","method":"Server.Ping"}\nPING\n')
    same(line.read_line(), b"+PONG\n", "nothing for a notification")
    same(json.loads(line.ask('{"method":"Storage.Set","params":[{"type":"memory","key":"go",'
                             '"value":"1"}],"id":0}')), {"id": 0, "result": True, "error": None})
    check(json.loads(line.ask("{broken"))["error"]["code"] == -32700, "a broken line")
    same(line.ask("PING"), "+PONG")
    line.close()


def help_lists_every_command_and_quit_closes(server):
    line = server.line()
    line.send("HELP\n")
    words = set()
    while True:
        got = line.read_line().decode().strip()
        if got == "+OK":
            break
        words.add(got.split(" ")[0])
    for word in ("SET", "GET", "HAS", "DELETE", "COUNT", "FLUSHALL", "SETB", "GETB", "TTL", "TOUCH",
                 "INCR", "KEYS", "USE", "AUTH", "PING", "HELP", "QUIT", "STATS"):
        check(word in words, "HELP does not list " + word)
    same(line.ask("QUIT"), "+OK", "QUIT")
    same(line.read_line(), b"", "closed")
    line.close()


def stats_are_one_line_of_json(server):
    line = server.line()
    stats = json.loads(line.ask("STATS"))
    for member in ("version", "uptime", "storage", "connections", "requests"):
        check(member in stats, "STATS has no " + member)
    same(sorted(stats["storage"]), ["hdd", "memory"])
    line.close()


def a_page_goes_on_from_its_cursor(server):
    line = server.line()
    line.ask("USE paging")
    for i in range(25):
        line.ask("SET hdd 0 k%02d 1" % i)
    found, cursor = [], ""
    while True:
        page = json.loads(line.ask("KEYS hdd * 10 " + cursor if cursor else "KEYS hdd * 10"))
        found += page["keys"]
        if "cursor" not in page:
            break
        cursor = page["cursor"]
    same(found, ["k%02d" % i for i in range(25)])
    line.close()


def somebody_who_speaks_http_is_hung_up_on(server):
    line = server.line()
    line.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nFLUSHALL memory\r\n")
    rest = line.file.read()
    check(b"+OK" not in rest, "a browser's POST was run as commands: %r" % rest)
    line.close()


CASES = [the_table, requests_may_be_pipelined_and_answers_keep_their_order,
         a_value_with_a_newline_is_not_framable, a_frame_may_end_as_lines_may,
         a_line_over_the_limit_is_dropped_and_the_connection_lives,
         json_lines_are_answered_on_lines, help_lists_every_command_and_quit_closes,
         stats_are_one_line_of_json, a_page_goes_on_from_its_cursor,
         somebody_who_speaks_http_is_hung_up_on]


def run(runner, server):
    for case in CASES:
        runner.case(case.__name__, lambda c=case: c(server))
