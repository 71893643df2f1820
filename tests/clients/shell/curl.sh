#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# curl: REST with its conditions, and /rpc.
set -u
. "$(dirname "$0")/checks.sh"

call() { curl -sS -m 20 "$@"; }
status() { call -o /dev/null -w '%{http_code}' "$@"; }
# header NAME ARGUMENTS…: the value of one header of the answer
header() {
    local name=$1
    shift
    call -o /dev/null -D - "$@" | tr -d '\r' | sed -n "s/^$name: //Ip"
}
rpc() { call -H 'Content-Type: application/json' --data-binary "$1" "$http/rpc" | members; }

for type in memory hdd; do
    at="$http/api/clients/curl?type=$type"
    etag="\"$(printf one | md5sum | cut -d' ' -f1)\""
    same "PUT ($type)" "$(status -X PUT --data-binary one "$at")" 204
    same "GET gives the value back ($type)" "$(call "$at")" one
    same "the ETag is the MD5 of the value ($type)" "$(header etag "$at")" "$etag"
    same "HEAD tells the length ($type)" "$(header content-length -I "$at")" 3
    same "HEAD tells the ETag ($type)" "$(header etag -I "$at")" "$etag"
    same "If-None-Match gives 304 ($type)" "$(status -H "If-None-Match: $etag" "$at")" 304
    same "If-Match of another value gives 412 ($type)" \
        "$(status -X PUT -H 'If-Match: "00000000000000000000000000000000"' -d two "$at")" 412
    same "nothing was written ($type)" "$(call "$at")" one
    same "If-Match of this value writes ($type)" \
        "$(status -X PUT -H "If-Match: $etag" -d two "$at")" 204
    same "it was written ($type)" "$(call "$at")" two
    same "the old ETag gives 200 ($type)" "$(status -H "If-None-Match: $etag" "$at")" 200
    same "If-None-Match: * of what exists gives 412 ($type)" \
        "$(status -X PUT -H 'If-None-Match: *' -d three "$at")" 412
    same "DELETE ($type)" "$(status -X DELETE "$at")" 204
    same "GET of a missing key ($type)" "$(status "$at")" 404
    same "the refusal says why ($type)" \
        "$(call "$at" | grep -o '"code": *"[A-Z_]*"' | tr -d ' ')" '"code":"KEY_NOT_EXIST"'
    same "If-None-Match: * of what is absent gives 201 ($type)" \
        "$(status -X PUT -H 'If-None-Match: *' -d three "$at")" 201
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -c 1500000 /dev/urandom >"$work/big"
same "a large file goes up" "$(status -T "$work/big" "$http/api/clients/big")" 204
same "and comes down unchanged" "$(call "$http/api/clients/big" | md5sum)" "$(md5sum <"$work/big")"
printf 'a\0b\nc' >"$work/bytes"
same "any bytes go up" "$(status -X PUT --data-binary "@$work/bytes" "$http/api/clients/bytes")" 204
same "and come down" "$(call "$http/api/clients/bytes" | od -c)" "$(od -c <"$work/bytes")"
same "a body in chunks goes up" \
    "$(printf chunked | status -T - -H 'Transfer-Encoding: chunked' "$http/api/clients/chunked")" 204
same "and comes down whole" "$(call "$http/api/clients/chunked")" chunked

same "JSON-RPC Set" \
    "$(rpc '{"jsonrpc":"2.0","id":1,"method":"Storage.Set","params":["hdd","curl","x"]}')" \
    '{"id":1,"jsonrpc":"2.0","result":true}'
same "JSON-RPC Get" \
    "$(rpc '{"jsonrpc":"2.0","id":"g","method":"Storage.Get","params":{"type":"hdd","key":"curl"}}')" \
    '{"id":"g","jsonrpc":"2.0","result":"x"}'
same "a key set by JSON-RPC is there for REST" "$(call "$http/api/default/curl")" x
same "JSON-RPC Delete" \
    "$(rpc '{"jsonrpc":"2.0","id":2,"method":"Storage.Delete","params":["hdd","curl"]}')" \
    '{"id":2,"jsonrpc":"2.0","result":true}'
same "JSON-RPC Get of a missing key" \
    "$(rpc '{"jsonrpc":"2.0","id":3,"method":"Storage.Get","params":["hdd","curl"]}' |
        grep -o '"code": *-[0-9]*' | tr -d ' ')" '"code":-32001'
same "a notification has an empty answer" \
    "$(call -w '%{http_code} %{size_download}' -H 'Content-Type: application/json' \
        -d '{"jsonrpc":"2.0","method":"Storage.Set","params":["memory","curl","noted"]}' "$http/rpc")" \
    '200 0'
same "and was done" "$(call "$http/api/default/curl?type=memory")" noted
same "a batch" \
    "$(rpc '[{"jsonrpc":"2.0","id":1,"method":"Storage.Get","params":["memory","curl"]},
             {"jsonrpc":"2.0","id":2,"method":"Server.Ping"}]')" \
    '[{"id":1,"jsonrpc":"2.0","result":"noted"},{"id":2,"jsonrpc":"2.0","result":"pong"}]'
same "curl's own form type is refused by /rpc" "$(status -d '{}' "$http/rpc")" 415
