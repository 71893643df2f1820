#!/bin/bash
# SPDX-License-Identifier: MIT
# One cluster of the nodes that were started, and hati's database and user in it.
set -euo pipefail
at=(--certs-dir=/certs --host=roach1)

for _ in {1..60}; do
    said=$(/cockroach/cockroach init "${at[@]}" 2>&1) && break
    [[ $said == *"already been initialized"* ]] && break
    sleep 1
done
for _ in {1..60}; do
    /cockroach/cockroach sql "${at[@]}" --execute="SELECT 1" >/dev/null 2>&1 && break
    sleep 1
done
# Without a password: hati shows a certificate.
/cockroach/cockroach sql "${at[@]}" \
    --execute="CREATE DATABASE IF NOT EXISTS hati" \
    --execute="CREATE USER IF NOT EXISTS hati" \
    --execute="GRANT ALL ON DATABASE hati TO hati"
