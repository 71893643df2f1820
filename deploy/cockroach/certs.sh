#!/bin/bash
# SPDX-License-Identifier: MIT
# Certificates, once. The authority's key is in a volume that no other container has.
set -euo pipefail
cert=(/cockroach/cockroach cert)
key=--ca-key=/authority/ca.key

[ -s /certs/ca.crt ] || "${cert[@]}" create-ca --certs-dir=/certs "$key"
[ -s /certs/node.crt ] ||
    "${cert[@]}" create-node roach1 roach2 roach3 localhost 127.0.0.1 --certs-dir=/certs "$key"
[ -s /certs/client.root.crt ] || "${cert[@]}" create-client root --certs-dir=/certs "$key"
if [ ! -s /client-certs/client.hati.key ]; then
    cp /certs/ca.crt /client-certs/ca.crt
    "${cert[@]}" create-client hati --certs-dir=/client-certs "$key"
    # libpq takes a key that nobody but its user may read
    chown 6767:6767 /client-certs/client.hati.key
fi
