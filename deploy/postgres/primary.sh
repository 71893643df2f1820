#!/bin/sh
# SPDX-License-Identifier: MIT
# Run once by the image of PostgreSQL, when the primary's data directory is new: hati's role and
# database, the standby's role and slot, and that a commit waits for the standby from the next start on.
set -eu
secrets=${SECRETS_DIR:-/run/secrets}
hati=$(cat "$secrets/hati-password")
replication=$(cat "$secrets/replication-password")

psql -v ON_ERROR_STOP=1 -X -q --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    -v hati="$hati" -v replication="$replication" <<'END'
CREATE ROLE hati LOGIN PASSWORD :'hati';
CREATE DATABASE hati OWNER hati ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE hati FROM PUBLIC;
CREATE ROLE replication LOGIN REPLICATION PASSWORD :'replication';
SELECT pg_create_physical_replication_slot('standby');
-- remote_write would do for a crash of the server, on is for power cuts of both
ALTER SYSTEM SET synchronous_commit = 'on';
ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby)';
-- what hati polls for leaves many dead rows in a few tables
ALTER SYSTEM SET autovacuum_naptime = '10s';
END

echo 'host replication replication all scram-sha-256' >>"$PGDATA/pg_hba.conf"
