# SPDX-License-Identifier: MIT
"""Cases that are left out where every server speaks TLS, each with why."""

THREADS = ("a thread sends while another reads, which Python's TLS sockets do not bear; "
           "cases_tls does both in one")

REASONS = {
    "requests_may_be_pipelined_and_answers_keep_their_order": THREADS,
    "pipelined_requests_are_answered_in_order": THREADS,
    "the_dialogue_of_its_readme_through_nc": "nc speaks no TLS",
    "every_line_of_the_table_through_nc": "nc speaks no TLS",
    "typed_line_by_line_through_nc": "nc speaks no TLS",
    "callers_that_hang_up": "the client cannot read on behind its end; cases_tls has a client that "
                            "can",
}


def reason(name):
    return next((REASONS[part] for part in name.split(": ") if part in REASONS), None)
