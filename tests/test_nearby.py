"""Nothing found: what is said of it, over the demo's fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailtrace import run_job
from mailtrace.job import Find
from mailtrace.model import LogEntry, LogQuery
from mailtrace.nearby import Look, hints
from mailtrace.report import Report
from mailtrace.walk import Walked

CONFIG = str(Path(__file__).parents[1] / "jobs" / "demo" / "config.yaml")
EVENING = {"since": "2026-11-23T01:04Z", "until": "2026-11-23T01:06Z", "time_zone": "UTC"}


def ask(find: dict[str, Any], **sections: Any) -> Report:
    return run_job({"version": 1, "kind": "trace", "config": CONFIG, "find": find, **sections})


def told(find: dict[str, Any], **sections: Any) -> dict[str, str]:
    """Code → message of each hint."""
    report = ask(find, **sections)
    assert report.mails == []
    return {hint.code: hint.message for hint in report.hints}


def test_an_address_that_is_misspelt_is_told_from_its_like() -> None:
    for wrong in ("ana@alpha.lab.test", "anna@alfa.lab.test"):
        said = told({"recipient": wrong, **EVENING})
        assert list(said) == ["like-address"]
        assert f"{wrong} is in no line; there is anna@alpha.lab.test (" in said["like-address"]


def test_where_no_log_could_be_read_nobody_knows_what_is_near() -> None:
    config = {"method": "files", "files_config": {"hosts": {"mx1": {"log_files": ["/no/such/mail.log"]}}}}
    report = run_job({"version": 1, "kind": "trace", "config": config, "find": {"keywords": ["anna"]}})
    assert (report.hints, report.exit_code) == ([], 3)


def test_a_message_id_that_is_misspelt_is_too() -> None:
    said = told({"message_id": "cd89d0641fb9239974cb@mail.example.org", **EVENING})
    assert "cd89d0641fb9239974cb@mail.example.net" in said["like-address"]


def test_a_text_in_another_role_is_told_with_the_flag_that_asks_for_it() -> None:
    said = told({"sender": "anna@alpha.lab.test", **EVENING})
    assert said == {"other-role": '"anna@alpha.lab.test" is a recipient of 9 mails: try --recipient'}
    said = told({"queue_id": "4JXNLV6MTQZRBF8", **EVENING})
    assert "4jXnlV6MTQzRbF8 (case counts)" in said["other-role"]


def test_things_that_no_mail_has_together_are_counted_one_by_one() -> None:
    said = told({"sender": "anna@alpha.lab.test", "recipient": "wolf@world.lab.test", **EVENING})
    assert '"wolf@world.lab.test" in 59 lines' in said["never-together"]
    said = told({"keywords": ["anna@alpha.lab.test", "bogus"], **EVENING})
    assert said["never-together"] == 'no line has "bogus"; there is "anna@alpha.lab.test" in 28 lines'


@pytest.mark.parametrize("day", ["2026-11-22", "2026-09-01", "2026-11-24"])
def test_the_same_outside_the_window_is_told_with_the_window_that_has_it(day: str) -> None:
    window = {"since": f"{day}T02:00Z", "until": f"{day}T03:00Z", "time_zone": "UTC"}
    said = told({"recipient": "anna@alpha.lab.test", **window})
    assert list(said) == ["not-covered", "outside-window"]
    assert "they go from 2026-11-23 01:04:12 to 2026-11-23 01:05:28 UTC" in said["not-covered"]
    assert 'try --since "2026-11-23 01:0' in said["outside-window"]
    since = said["outside-window"].split('"')[1]
    found = ask({"recipient": "anna@alpha.lab.test", "since": since, "time_zone": "UTC"})
    assert found.mails


def test_a_window_that_no_log_covers_is_told_also_where_everything_was_asked_for() -> None:
    said = told({"since": "2026-09-01T02:00Z", "until": "2026-09-01T03:00Z"})
    assert list(said) == ["not-covered"]


def test_another_host_than_the_start_is_told() -> None:
    said = told({"keywords": ["4jXnlV6MTQzRbF8"], "start_host": "exim2", **EVENING})
    assert said == {"other-host": "mx2 has 7 lines of it; the search began at exim2 only: leave out the start host"}


def test_where_nothing_could_be_read_nothing_is_said_of_what_is_near(tmp_path: Path) -> None:
    fleet = {"method": "files", "files_config": {"hosts": {"mx1": {"log_files": [str(tmp_path / "mail.log")]}}}}
    report = run_job({"version": 1, "kind": "trace", "config": fleet, "find": {"recipient": "a@b.example"}})
    assert (report.exit_code, report.hints) == (3, [])


def test_hosts_that_the_job_leaves_out_are_told() -> None:
    said = told({"keywords": ["4jXnlV6MTQzRbF8"], **EVENING}, source=[{"files": {"hosts": ["exim2"]}}])
    assert set(said) == {"nothing-near", "not-in-scope"}
    assert "exim1, filter1, mailbox1 and 6 others" in said["not-in-scope"]


def test_what_is_found_or_expected_to_be_nothing_is_not_looked_at_twice() -> None:
    assert ask({"recipient": "anna@alpha.lab.test", **EVENING}).hints == []
    assert ask({"recipient": "ana@alpha.lab.test", **EVENING}, expect=[{"not_found": True}]).hints == []
    assert "hints" not in ask({"recipient": "anna@alpha.lab.test", **EVENING}).to_dict()


def test_hints_are_in_the_report_as_data() -> None:
    data = ask({"recipient": "ana@alpha.lab.test", **EVENING}).to_dict()
    assert [hint["code"] for hint in data["hints"]] == ["like-address"]


class Asked:
    """A look that remembers what was read, and finds nothing."""

    def __init__(self) -> None:
        self.queries: list[tuple[LogQuery, int]] = []

    def read(self, query: LogQuery, most: int) -> list[LogEntry]:
        self.queries.append((query, most))
        return []

    def look(self, *, everywhere: bool) -> Look:
        return Look(self.read, lambda _entries: [], dict, frozenset({"a"}), frozenset({"a"}), everywhere)


def test_a_second_look_is_bounded_in_lines_and_on_servers_in_time() -> None:
    find = Find(recipient="bob@example.com", start=1e9, end=1e9 + 60)
    asked = Asked()
    hints(find, Walked(), asked.look(everywhere=False))
    assert all(query.start is not None and query.start >= 1e9 - 86400 for query, _ in asked.queries)
    assert all(most <= 20_000 for _, most in asked.queries)
    local = Asked()
    hints(find, Walked(), local.look(everywhere=True))
    assert [query.start for query, _ in local.queries if query.start is None] == [None]


def test_many_keys_are_not_looked_for_one_by_one() -> None:
    asked = Asked()
    hints(Find(keys=tuple(f"u{number}@example.com" for number in range(1000))), Walked(), asked.look(everywhere=True))
    assert len(asked.queries) <= 6


def test_a_second_look_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtrace.run.SECOND_LOOK", -1e9)
    report = ask({"recipient": "ana@alpha.lab.test", **EVENING})
    assert [hint.code for hint in report.hints] == ["nothing-near"]
