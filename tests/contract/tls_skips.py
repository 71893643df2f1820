# SPDX-License-Identifier: MIT
"""Cases that are left out where every server speaks TLS, each with why."""

REASONS = {
    "the_dialogue_of_its_readme_through_nc": "nc speaks no TLS",
    "every_line_of_the_table_through_nc": "nc speaks no TLS",
    "typed_line_by_line_through_nc": "nc speaks no TLS",
    "callers_that_hang_up": "the client cannot read on behind its end; cases_tls has a client that "
                            "can",
}


def reason(name):
    return REASONS.get(name.split(":")[0])
