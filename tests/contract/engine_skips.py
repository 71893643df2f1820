# SPDX-License-Identifier: MIT
"""Cases that say nothing about a node on an engine, or about several, each with why."""

REASONS = {
    "two_processes_do_not_share_a_directory": "nothing is kept in the data directory",
    "entries_on_disk_survive_and_memory_does_not": "memory is a table of the database and outlives "
                                                   "the node; tests/pg kills and restarts",
    "the_memory_limit_is_an_error_or_evicts": "memory is the database's",
    "an_interval_of_durability_serves_and_keeps": "durability is the database's",
    "another_number_of_shards_is_rebuilt_at_start": "there are no shards of LMDB",
}

COUNTED = "each node writes down what it counted by and by"
SEVERAL = {
    "what_reaches_nobody_is_counted": COUNTED,
    "the_counters_of_a_queue": COUNTED,
    "a_lease_that_ends_brings_the_message_again_in_its_old_place": COUNTED,
    "what_was_delivered_too_often_is_a_dead_letter": COUNTED,
    "many_are_published_at_once": COUNTED,
    "messages_are_pushed_as_they_come": COUNTED,
    "all_ops_are_carried_out_in_order": COUNTED,
    "nothing_is_done_where_one_fails": COUNTED,
    "those_who_wait_are_served_in_their_order": "those who wait on one node have an order, those "
                                                "on several have none",
}


def reason(name, nodes):
    """Why a case of that name (with its door behind `:` or `,`) is left out where so many nodes
    take turns, or None."""
    part = name.split(":")[0].split(",")[0]
    return REASONS.get(part) or (SEVERAL.get(part) if nodes > 1 else None)
