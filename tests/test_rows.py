"""Rows for other programs."""

from __future__ import annotations

import jsonschema
from hypothesis import given, settings
from kit import T0, any_report, delivery, hop, mail, report, row

from mailtrace.load import schema
from mailtrace.report import json_text
from mailtrace.rows import COLUMNS, rows, way


def test_the_columns_are_the_schema_s_and_the_docstring_s() -> None:
    import mailtrace.rows

    assert tuple(schema("row")["properties"]) == COLUMNS
    assert [name for name in COLUMNS if f"`{name}`" not in str(mailtrace.rows.__doc__)] == []


def test_a_row_has_the_last_word_of_its_own_recipient() -> None:
    here = hop(
        "mx1",
        "A",
        delivery("a@x", "deferred", "mx[192.0.2.1]:25", at=1, dsn="4.2.0"),
        delivery("a@x", "bounced", "mx[192.0.2.1]:25", at=9, dsn="5.1.1"),
        delivery("b@x", "sent", "mx[192.0.2.2]:25", at=20, dsn="2.0.0"),
        client="c[192.0.2.7]",
        user="alice",
    )
    found = list(rows(report(mail([here], [row("A@x", "bounced", here, seconds=9.0), row("b@x", "relayed", here)]))))
    assert [(each["recipient"], each["dsn"], each["last"], each["relay"]) for each in found] == [
        ("A@x", "5.1.1", T0 + 9, "mx"),
        ("b@x", "2.0.0", T0 + 20, "mx"),
    ]
    assert (found[0]["client"], found[0]["client_ip"], found[0]["sasl_user"]) == ("c", "192.0.2.7", "alice")
    assert (found[0]["seconds"], found[0]["hops"], way(found[0]["path"])) == (9.0, 1, "mx1:A")


def test_a_row_names_the_keys_by_which_its_mail_was_found() -> None:
    one, other = mail([hop("mx1", "A")], [row("a@x", "held")]), mail([hop("mx1", "B")], [row("b@x", "held")])
    found = rows(report(one, other, keys={"k1": [one.id], "k2": [one.id], "k3": []}))
    assert [each["key"] for each in found] == ["k1 k2", None]


def test_a_refusal_has_a_row_too() -> None:
    (found,) = rows(report(mail([], [row("a@x", "rejected", reason="554 no")])))
    assert (found["hops"], found["last"], found["reason"], found["client"]) == (0, None, "554 no", None)


@settings(max_examples=30, deadline=None)
@given(any_report())
def test_whatever_a_log_holds_has_every_column(found: object) -> None:
    for each in rows(found):  # type: ignore[arg-type]
        assert tuple(each) == COLUMNS
        json_text({**each, "path": []})


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("row"))
