#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes what the compose files take as secrets, in deploy/secrets (or the directory named); what is
# there stays as it is. The directory is its owner's alone; its files are readable, for the users of the
# containers, who have other numbers, are given each file and not the directory.
set -eu
dir=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$dir"
chmod 700 "$dir"

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
put() {
    [ -s "$dir/$1" ] || cat >"$dir/$1"
    chmod 444 "$dir/$1"
}

random | put jwt-secret
random | put postgres-password
random | put hati-password
random | put replication-password
password=$(cat "$dir/hati-password")
put hati-postgres.conf <<END
# What hati reads by --config: a connection string with a password is not for the command line.
engine = postgresql://hati:$password@primary:5432,standby:5432/hati
engine-read = postgresql://hati:$password@standby:5432,primary:5432/hati?target_session_attrs=prefer-standby
END
