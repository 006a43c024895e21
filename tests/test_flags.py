"""Each flag is written down once and means one thing."""

from __future__ import annotations

from collections import defaultdict

from mailtrace import flags
from mailtrace.load import schema


def every_flag() -> list[flags.Flag]:
    """All flags of the module, each as often as it is written."""
    found: list[flags.Flag] = []
    for value in vars(flags).values():
        parts = value if isinstance(value, tuple) and not isinstance(value, flags.Flag) else (value,)
        for part in parts:
            if isinstance(part, flags.Flag):
                found.append(part)
            elif isinstance(part, flags.Group):
                found.extend(part.flags)
    return found


def test_a_spelling_belongs_to_one_meaning() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for flag in every_flag():
        for spelling in flag.spellings:
            meanings[spelling].add(flag.name)
    assert {spelling: names for spelling, names in meanings.items() if len(names) > 1} == {}


def test_a_flag_of_find_sets_a_key_that_a_job_has() -> None:
    keys = set(schema("job")["properties"]["find"]["properties"])
    told = {flag.find for flag in every_flag() if flag.find}
    assert told <= keys
    assert keys - told <= {"time_zone"}  # which has a flag of its own, --tz


def test_a_flag_says_what_it_does() -> None:
    assert [flag.name for flag in every_flag() if len(flag.help) < 10] == []


def test_the_flags_of_the_first_mailtrace_keep_their_names() -> None:
    spellings = {spelling for flag in every_flag() for spelling in flag.spellings}
    first = "-c --config-path -h --start-host -k --key --time --time-range -o --output --login-pass --sudo-pass"
    more = "--opensearch-pass --ask-login-pass --ask-sudo-pass --ask-opensearch-pass --otel-endpoint"
    assert {*first.split(), *more.split()} <= spellings
