"""Where a newline was lost, a line ends before the next one's stamp."""

from __future__ import annotations

import pytest

from mailtrace.parsers.grammar import unglued


@pytest.mark.parametrize(
    "stamp",
    ["Mar  9 04:27:04 h postfix/smtp[1]: ", "2023-03-14T00:08:35.917122+01:00 helga postfix/10025/smtpd[302614]: "],
)
def test_a_text_ends_where_another_line_begins(stamp: str) -> None:
    assert unglued(f"670FCA58C8: remo{stamp}670FCA58C9: removed") == "670FCA58C8: remo"


@pytest.mark.parametrize(
    "text", ["", "250 from MTA(smtp:[127.0.0.1]: x", "at Mar  9 04:27:03", "host x[1.2.3.4]: 550 Mar  9 04:27:04 sorry"]
)
def test_a_text_without_another_line_stays_whole(text: str) -> None:
    assert unglued(text) == text
