"""The words by which a job and a config name parsers."""

from __future__ import annotations

import pytest

from mailtrace.parsers import FORMATS, make_parser

ISO = b"2026-11-23T01:04:15.563623+00:00 ext1 postfix/smtpd[108]: 899322FCB3C: client=client.lab.test[10.77.0.250]\n"
BSD = b"Nov 23 01:04:15 mx2 postfix/qmgr[106]: 4jXnlN6NDWzRbDW: removed\n"


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_word_makes_a_parser(name: str) -> None:
    assert list(make_parser([name]).parse(b"", 0, "mx")) == []


def test_the_first_mailtrace_s_words_mean_their_formats() -> None:
    assert len(list(make_parser(["SyslogParser"]).parse(ISO + BSD, 0, "mx"))) == 2
    assert len(list(make_parser(["Rfc3164Parser"]).parse(BSD, 0, "mx"))) == 1


def test_an_unknown_word_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean rfc5424"):
        make_parser(["rfc5425"])
