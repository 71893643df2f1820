#!/bin/sh
# SPDX-License-Identifier: MIT
# Starts the standby; the first time it copies the primary. The command that it becomes: arguments.
set -eu
secrets=${SECRETS_DIR:-/run/secrets}
export PGDATA="${PGDATA:-/var/lib/postgresql/data}"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # a copy that was broken off is begun anew
    find "$PGDATA" -mindepth 1 -delete
    PGPASSWORD=$(cat "$secrets/replication-password")
    export PGPASSWORD
    pg_basebackup --pgdata "$PGDATA" --wal-method stream --slot standby --write-recovery-conf \
        --checkpoint fast --dbname "host=$PRIMARY_HOST port=${PRIMARY_PORT:-5432} user=replication application_name=standby"
    unset PGPASSWORD
    # Promoted, it has no standby to wait for, until the operator names one.
    echo "synchronous_standby_names = ''" >>"$PGDATA/postgresql.auto.conf"
    chmod 700 "$PGDATA"
fi
exec "$@"
