"""The report as data: what stands where, and that its schema says so."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from kit import T0, any_report, delivery, hop, link, mail, report, row

from mailtrace.model import ClockNote, Coverage, Expectation, LogEntry, Note, Warning_, Zone
from mailtrace.report import Report, rfc3339

SCHEMAS = Path(__file__).parent.parent / "schemas"


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def full() -> Report:
    """A report with something in every field."""
    to = delivery(
        "anna@alpha.example",
        relay="filter1.example[10.0.0.3]:25",
        original_recipient="staff@alpha.example",
        reply="250 2.0.0 Ok: queued as DBBB72FCB74",
        reply_id="DBBB72FCB74",
        dsn="2.0.0",
        delay=0.25,
        delays=(0.01, 0.0, 0.2, 0.04),
        tls="TLSv1.3",
        raw_time="Nov 23 01:04:22",
        at=0.25,
    )
    line = "Nov 23 01:04:22 mx2 postfix/qmgr[1]: 4jXnlV6MTQzRbF8: removed"
    entry = LogEntry("mx2", T0, Zone.UTC, 1, "mx2", "postfix", "qmgr", 1, "4jXnlV6MTQzRbF8", Note("x", ""), line)
    mx = hop(
        "mx2",
        "4jXnlV6MTQzRbF8",
        to,
        client="app[192.0.2.9]:4711",
        helo="app",
        user="agnes",
        tls="TLSv1.2",
        entries=[entry],
    )
    filter1 = hop("filter1", "DBBB72FCB74", delivery("anna@alpha.example", relay="local", at=0.5), at=0.3)
    return report(
        mail(
            [mx, filter1],
            [row("anna@alpha.example", "delivered", mx, filter1, seconds=0.1 + 0.2, reason="delivered to maildir")],
            [link(mx, filter1, "relayed", "likely", "message-id: both have m1@example.org")],
            subject="Quarterly figures",
        ),
        start=T0 - 3600,
        end=T0 + 3600,
        coverage=[
            Coverage("mx2", "files", ("/var/log/mail.log",), T0, T0 + 5.5, 1000, 7, 1),
            Coverage("mx3", "opensearch", ("mail-*",), problem="no such index", missing=True),
        ],
        clocks=[
            ClockNote("mx2", 3600.0, "queue-id", 95.2000001, "queue-id"),
            ClockNote("filter1", None, "", 0, "stamps"),
        ],
        warnings=[Warning_("max-hops", "stopped after 30 hops", "mx2"), Warning_("x", "y")],
        expectations=[
            Expectation("delivered: all", held=False, detail="1 of 2 bounced"),
            Expectation("within: 60s", held=True),
        ],
        partial=True,
    )


def nothing_known() -> Report:
    """A report with everything unknown that may be."""
    bare = hop("mx1", "8DCB211F769", delivery("", "deferred"))
    return report(mail([bare], [row("x", "unknown", bare)], message_id="", sender=None, size=None))


@pytest.mark.parametrize("made", [full(), nothing_known(), report()], ids=["full", "bare", "empty"])
@pytest.mark.parametrize("entries", [False, True])
def test_a_report_validates_against_its_schema(made: Report, entries: bool) -> None:
    Draft202012Validator(schema("report")).validate(made.to_dict(entries=entries))


@pytest.mark.parametrize("made", [full(), nothing_known(), report()], ids=["full", "bare", "empty"])
@pytest.mark.parametrize("entries", [False, True])
def test_the_text_says_what_the_dict_says(made: Report, entries: bool) -> None:
    text = made.to_json(entries=entries)
    assert json.loads(text) == made.to_dict(entries=entries)
    assert list(json.loads(text)) == list(made.to_dict())
    assert text.endswith("}\n")


@given(any_report())
def test_any_report_validates_and_its_text_says_the_same(made: Report) -> None:
    Draft202012Validator(schema("report")).validate(made.to_dict())
    assert json.loads(made.to_json()) == made.to_dict()
    made.to_json().encode("utf-8")


def test_the_form_is_the_documented_one() -> None:
    out = full().to_dict()
    mail_ = out["mails"][0]
    assert list(mail_) == ["id", "message_id", "sender", "size", "subject", "hops", "links", "recipients"]
    assert mail_["hops"][0] == {
        "id": "mx2:postfix:4jXnlV6MTQzRbF8",
        "host": "mx2",
        "instance": "postfix",
        "queue_id": "4jXnlV6MTQzRbF8",
        "mta": "postfix",
        "first": "2026-11-23T01:04:22Z",
        "last": "2026-11-23T01:04:22.25Z",
        "client": {"name": "app", "ip": "192.0.2.9", "port": 4711},
        "helo": "app",
        "sasl_user": "agnes",
        "tls": "TLSv1.2",
        "deliveries": [
            {
                "recipient": "anna@alpha.example",
                "original_recipient": "staff@alpha.example",
                "status": "sent",
                "relay": {"host": "filter1.example", "ip": "10.0.0.3", "port": 25},
                "tls": "TLSv1.3",
                "dsn": "2.0.0",
                "reply": "250 2.0.0 Ok: queued as DBBB72FCB74",
                "reply_id": "DBBB72FCB74",
                "delay": 0.25,
                "delays": {"before_qmgr": 0.01, "in_qmgr": 0.0, "conn_setup": 0.2, "transmission": 0.04},
                "time": "2026-11-23T01:04:22.25Z",
                "raw_time": "Nov 23 01:04:22",
            }
        ],
    }
    assert mail_["links"] == [
        {
            "from": "mx2:postfix:4jXnlV6MTQzRbF8",
            "to": "filter1:postfix:DBBB72FCB74",
            "kind": "relayed",
            "certainty": "likely",
            "evidence": [{"kind": "message-id", "text": "both have m1@example.org"}],
        }
    ]
    assert mail_["recipients"] == [
        {
            "recipient": "anna@alpha.example",
            "original_recipient": "anna@alpha.example",
            "outcome": "delivered",
            "path": [{"host": "mx2", "queue_id": "4jXnlV6MTQzRbF8"}, {"host": "filter1", "queue_id": "DBBB72FCB74"}],
            "seconds": 0.3,
            "reason": "delivered to maildir",
            "attempts": 1,
            "certainty": "proven",
        }
    ]
    assert out["window"] == {"start": "2026-11-23T00:04:22Z", "end": "2026-11-23T02:04:22Z"}


def test_raw_lines_are_there_only_when_asked_for() -> None:
    made = full()
    assert "entries" not in made.to_dict()["mails"][0]["hops"][0]
    assert made.to_dict(entries=True)["mails"][0]["hops"][0]["entries"][0].endswith("removed")


def test_the_null_sender_is_not_an_unknown_sender() -> None:
    assert report(mail([], [], sender="")).to_dict()["mails"][0]["sender"] == ""
    assert report(mail([], [], sender=None)).to_dict()["mails"][0]["sender"] is None


def test_a_local_submission_s_uid_is_no_login() -> None:
    assert (
        report(mail([hop("mx", "1", user="0", local=True)], [])).to_dict()["mails"][0]["hops"][0]["sasl_user"] is None
    )


@pytest.mark.parametrize(
    "time, text",
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1795395862.949, "2026-11-23T01:04:22.949Z"),
        (1795395862.9494801, "2026-11-23T01:04:22.94948Z"),
        (1795395862.9999999, "2026-11-23T01:04:23Z"),
        (-0.5, "1969-12-31T23:59:59.5Z"),
        (-62135596800.0, "0001-01-01T00:00:00Z"),
        (None, None),
        (1e18, None),
        (math.nan, None),
        (math.inf, None),
    ],
)
def test_times_are_rfc_3339_in_utc_with_the_digits_they_need(time: float | None, text: str | None) -> None:
    assert rfc3339(time) == text


def test_durations_are_rounded_and_never_negative() -> None:
    made = report(mail([], [row("a", "delivered", seconds=-0.1)])).to_dict()
    assert made["mails"][0]["recipients"][0]["seconds"] == 0


def test_hostile_text_stays_text_in_json() -> None:
    nasty = 'a"\\\n\x1b[2J\x9b2J\x7f\u202eevil\u2028\udcff</script>é'
    made = report(mail([], [row(nasty, "rejected", reason=nasty)], subject=nasty, sender=nasty))
    text = made.to_json()
    text.encode("utf-8")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)
    assert "é" in text
    assert json.loads(text)["mails"][0]["subject"] == nasty


def test_the_same_report_gives_the_same_bytes() -> None:
    assert full().to_json() == full().to_json()


def every_object(node: object, path: str = "$") -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(node, dict):
        if "properties" in node and "title" in node:
            found.append((path, node))
        for key, value in node.items():
            found += every_object(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            found += every_object(value, f"{path}[{i}]")
    return found


@pytest.mark.parametrize("name", ["report", "event"])
def test_the_schema_is_closed_and_explains_every_field(name: str) -> None:
    loaded = schema(name)
    Draft202012Validator.check_schema(loaded)
    for path, node in every_object(loaded):
        assert node["additionalProperties"] is False, path
        assert node["description"], path
        for key, written in node["properties"].items():
            field = loaded["$defs"][written["$ref"].rsplit("/", 1)[1]] if "$ref" in written else written
            assert field.get("title"), f"{path}.{key}"
            assert field.get("description"), f"{path}.{key}"
            if field.get("type") != "object" and "const" not in field:
                assert field.get("examples"), f"{path}.{key}"
                for example in field["examples"]:
                    Draft202012Validator({**field, "$defs": loaded.get("$defs", {})}).validate(example)
