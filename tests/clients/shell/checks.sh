# SPDX-License-Identifier: MIT
# What the clients in the shell share.
http=http://127.0.0.1:$CLIENT_HTTP_PORT

# same NAME GOT WANTED
same() {
    if [ "$2" = "$3" ]; then
        printf 'ok %s\n' "$1"
    else
        printf 'FAIL %s: got %q, wanted %q\n' "$1" "$2" "$3"
    fi
}

# The JSON given, its members by name: their order is nobody's promise.
members() { python3 -c 'import json, sys
for line in sys.stdin:
    print(json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")))'; }
