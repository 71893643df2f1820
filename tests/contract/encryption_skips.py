# SPDX-License-Identifier: MIT
"""Cases that are left out where every server seals what it keeps, each with why."""

REASONS = {
    "one_is_made_and_kept": "it starts a server of its own on a directory that is encrypted",
    "a_plain_directory_is_sealed_later_and_nothing_plain_is_left": "it begins in plain",
}


def reason(name):
    return next((REASONS[part] for part in name.split(": ") if part in REASONS), None)
