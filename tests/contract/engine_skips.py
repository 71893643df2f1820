# SPDX-License-Identifier: MIT
"""Cases that say nothing about a node on an engine, each with why."""

REASONS = {
    "two_processes_do_not_share_a_directory": "nothing is kept in the data directory",
    "entries_on_disk_survive_and_memory_does_not": "memory is a table of the database and outlives "
                                                   "the node; tests/pg kills and restarts",
    "the_memory_limit_is_an_error_or_evicts": "memory is the database's",
    "an_interval_of_durability_serves_and_keeps": "durability is the database's",
    "another_number_of_shards_is_rebuilt_at_start": "there are no shards of LMDB",
}


def reason(name):
    """Why a case of that name (with its door behind `:` or `,`) is left out, or None."""
    return REASONS.get(name) or REASONS.get(name.split(":")[0].split(",")[0])
