# SPDX-License-Identifier: MIT
"""Cases that say nothing about a node on an engine, or about several, each with why."""

REASONS = {
    "changes_are_told_as_they_come": "an engine tells a flush key by key",
    "a_batch_is_told_once_it_stands": "of several changes of a key an engine tells the last",
    "what_expires_is_told": "likewise: what lives so shortly may never be seen",
    "a_slow_watcher_holds_up_nobody": "likewise: the log is not filled",
    "from_a_listing_on_nothing_is_missing": "a listing of an engine tells no revision",
    "what_was_killed_goes_on_or_says_so": "a node that starts says resync to all; tests/pg kills",
    "two_processes_do_not_share_a_directory": "nothing is kept in the data directory",
    "entries_on_disk_survive_and_memory_does_not": "memory is a table of the database and outlives "
                                                   "the node; tests/pg kills and restarts",
    "the_memory_limit_is_an_error_or_evicts": "memory is the database's",
    "an_interval_of_durability_serves_and_keeps": "durability is the database's",
    "another_number_of_shards_is_rebuilt_at_start": "there are no shards of LMDB",
    "the_filter_has_the_keys_of_this_node": "its keys are the database's: it says maybe to all",
    "keys_that_go_leave_the_filter": "its keys are the database's: it says maybe to all",
    "a_queue_has_series_with_its_name_escaped": "queues are the database's, and so are their "
                                                "figures",
    "too_many_queues_have_no_series": "likewise",
    "what_rests_is_in_lmdb_soon": "there is no LMDB",
    "one_is_made_and_kept": "nothing is kept in the data directory",
    "the_memory_limit_is_told": "memory is the database's",
}

SEVERAL = {
    "a_stream_goes_on_where_it_was": "places are those of one node: another says resync",
    "many_writers_are_told_whole": "likewise",
    "requests_are_counted_by_door_operation_and_code": "each node counts its own",
    "those_who_wait_are_served_in_their_order": "those who wait on one node have an order, those "
                                                "on several have none",
}


def reason(name, nodes):
    """Why a case of that name (with its door behind `:` or `,`) is left out where so many nodes
    take turns, or None."""
    part = name.split(":")[0].split(",")[0]
    return REASONS.get(part) or (SEVERAL.get(part) if nodes > 1 else None)
