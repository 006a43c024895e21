"""The json export."""

from __future__ import annotations

import io
import json

from kit import delivery, hop, mail, report, row

from mailtrace.exporters import make


def test_it_is_the_report_as_data() -> None:
    here = hop("mx", "AAA", delivery("a@b"))
    made = report(mail([here], [row("a@b", "delivered", here)]))
    stream = io.StringIO()
    make("json").export(made, stream)
    assert stream.getvalue() == made.to_json()
    assert json.loads(stream.getvalue()) == made.to_dict()


def test_raw_lines_come_only_when_asked_for() -> None:
    stream = io.StringIO()
    make("json", entries=True).export(report(mail([hop("mx", "AAA")], [])), stream)
    assert json.loads(stream.getvalue())["mails"][0]["hops"][0]["entries"] == []
