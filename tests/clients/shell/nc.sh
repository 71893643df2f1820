#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# nc (netcat-openbsd): lines, one at a time and pipelined.
set -u
. "$(dirname "$0")/checks.sh"

lines() { timeout 20 nc -N 127.0.0.1 "$CLIENT_LINE_PORT"; }

for type in memory hdd; do
    same "SET and GET ($type)" "$(printf 'SET %s 0 nc hello  wide world\nGET %s nc\n' $type $type | lines)" \
        $'+OK\nhello  wide world'
    same "lines ended by CR LF ($type)" "$(printf 'GET %s nc\r\nHAS %s nc\r\n' $type $type | lines)" \
        $'hello  wide world\n+OK'
    same "DELETE ($type)" "$(printf 'DELETE %s nc\n' $type | lines)" '+OK'
    same "GET of a missing key ($type)" \
        "$(printf 'GET %s nc\n' $type | lines | cut -d' ' -f1,2)" '+ERR KEY_NOT_EXIST'
    same "bytes by length ($type)" \
        "$(printf 'SETB %s 0 nc 5\na\nb\nc\nGETB %s nc\n' $type $type | lines)" $'+OK\n$5\na\nb\nc'
done

count=5000
same "ten thousand pipelined lines are answered in order" \
    "$(for ((i = 0; i < count; i++)); do printf 'SET memory 0 nc%d v%d\nGET memory nc%d\n' $i $i $i; done |
        lines | md5sum)" \
    "$(for ((i = 0; i < count; i++)); do printf '+OK\nv%d\n' $i; done | md5sum)"
same "QUIT is answered and closes" "$(printf 'PING\nQUIT\nPING\n' | lines)" $'+PONG\n+OK'
increment='"method":"Storage.Increment","params":["memory","nc"]'
same "JSON on a line of its own" \
    "$(printf '%s\n' '{"jsonrpc":"2.0","id":0,"method":"Storage.Set","params":["memory","nc","1"]}' \
        "{\"jsonrpc\":\"2.0\",\"id\":1,$increment}" "{\"jsonrpc\":\"2.0\",$increment}" | lines | members)" \
    $'{"id":0,"jsonrpc":"2.0","result":true}\n{"id":1,"jsonrpc":"2.0","result":2}'
same "a notification on a line was done, and not answered" "$(printf 'GET memory nc\n' | lines)" 3
same "a line that is none, and the connection lives on" \
    "$(printf 'NOTHING at all\nPING\n' | lines | cut -d' ' -f1,2)" $'+ERR UNKNOWN_COMMAND\n+PONG'
if [ -n "${CLIENT_LINE_SOCKET:-}" ]; then
    same "lines over the UNIX socket" "$(printf 'PING\n' | timeout 20 nc -N -U "$CLIENT_LINE_SOCKET")" '+PONG'
fi
