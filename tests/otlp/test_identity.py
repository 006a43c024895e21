"""IDs: the same in every run and every version."""

from __future__ import annotations

import subprocess
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from mailtrace.otlp import identity

TRACE = "42852c26deb45a4d88ada951902a975a"


def test_ids_are_the_same_in_every_version() -> None:
    trace = identity.trace_id("abc@example.com")
    assert trace.hex() == TRACE
    assert identity.nameless_trace_id("mx1", "4F1A2", "Nov 23 01:04:12").hex() == "5525cf4d19dd771832d36f1c30072b9c"
    assert (
        identity.refused_trace_id("mx1:postfix:NOQUEUE:7@1.0:bob@example.com").hex()
        == "e68885b706a1ffc9f64f905de3f2642b"
    )
    assert identity.hop_id(trace, "mx1", "4F1A2").hex() == "0470def9b3f9c993"
    assert identity.hop_id(trace, "mx1", "4F1A2", "Nov 23 01:04:12").hex() == "a3c7d0f2c775b81a"
    assert identity.handoff_id(trace, "9A8B7").hex() == "704fb8bb8447d401"
    assert identity.attempt_id(trace, "mx1", "4F1A2", ["b@x", "a@x"], "Nov 23 01:04:13").hex() == "436651c610a736f9"
    parts = identity.parts_of(trace, bytes(7) + b"\1")
    assert (len(parts), parts[identity.WAIT].hex(), parts[identity.EXPIRY].hex()) == (
        48,
        "d344d4c8e161d60b",
        "680c2f717b36c833",
    )
    assert identity.part_id(trace, "held\0Nov 23 01:04:13", bytes(7) + b"\1").hex() == "045706f3411dc717"


def test_the_shell_tells_a_trace_as_the_manual_says() -> None:
    told = subprocess.run(["b2sum", "-l", "128"], input=b"abc@example.com", capture_output=True, check=True).stdout
    assert told.split()[0].decode() == identity.trace_id("abc@example.com").hex() == TRACE


def test_brackets_and_blanks_around_a_message_id_are_none_of_it() -> None:
    assert {identity.trace_id(text).hex() for text in ("<abc@example.com>", " <abc@\texample.com> ")} == {TRACE}


def test_the_case_of_a_message_id_counts() -> None:
    assert identity.trace_id("ABC@example.com").hex() != TRACE


def test_recipients_are_a_set() -> None:
    one, other = (identity.attempt_id(b"t", "mx1", "4F", to, "now") for to in (["a@x", "b@x"], ["b@x", "a@x"]))
    assert one == other


def test_the_lines_of_a_second_tell_the_same_second() -> None:
    stamps = ["2026-11-23T01:04:12.123456+01:00", "2026-11-23T01:04:12.9+01:00", "2026-11-23T01:04:12+01:00"]
    assert {identity.second(stamp) for stamp in stamps} == {"2026-11-23T01:04:12"}
    assert identity.second("Nov 23 01:04:12") == "Nov 23 01:04:12"
    assert identity.second("1795395852") == "1795395852"


def test_an_id_of_zeros_only_is_made_another() -> None:
    class Zeros:
        def __init__(self, _data: bytes, digest_size: int) -> None:
            self.size = digest_size

        def digest(self) -> bytes:
            return bytes(self.size)

    with patch.object(identity, "blake2b", Zeros):
        assert identity.trace_id("a@b") == bytes(15) + b"\1"
        assert identity.hop_id(b"t", "mx1", "4F") == bytes(7) + b"\1"


@given(st.text(), st.text(), st.text())
def test_any_text_has_an_id(message_id: str, host: str, queue_id: str) -> None:
    trace = identity.trace_id(message_id)
    assert (len(trace), len(identity.hop_id(trace, host, queue_id))) == (16, 8)
