"""IDs by shape and the clocks in them; the examples are real, their moments independently known."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace import ids


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize("queue_id", ["670FCA58C8", "153053D", "4104E3D", "ED06590130AA1C9D6D862", "000001"])
def test_short_postfix_ids_are_six_to_twenty_one_hex_digits(queue_id: str) -> None:
    assert ids.is_short(queue_id)
    assert ids.is_postfix(queue_id)
    assert not ids.LONG_LIVED(queue_id)


@pytest.mark.parametrize("queue_id", ["3Pt2mN2VXxznjll", "4PbC4z6W5Qz3tG3", "4czzCj6Jvdz1VsJN", "48rT2v1hQrz1J0N"])
def test_long_postfix_ids_are_known_and_unique(queue_id: str) -> None:
    assert ids.is_long(queue_id)
    assert ids.LONG_LIVED(queue_id)


@pytest.mark.parametrize(
    "word",
    ["connect", "statistics", "warning", "NOQUEUE", "670fca58c8", "12345", "A" * 22, "fatal", "", "6A3F73FC075X"],
)
def test_other_words_are_no_postfix_ids(word: str) -> None:
    assert not ids.is_postfix(word)


def test_exim_ids_come_in_two_lengths() -> None:
    assert ids.is_exim("1j5IF1-0006A7-Ub")
    assert ids.is_exim("10HmaX-000000005vi-0000")
    assert not ids.is_exim("0MRjB3-1UwmQ60mJF-00SzIS")
    assert not ids.is_exim("1j5IF1-0006A7-U")


@pytest.mark.parametrize(
    "queue_id, moment",
    [
        ("4PbC4z6W5Qz3tG3", utc("2023-03-13T23:08:35.916938")),
        ("1j5IF1-0006A7-Ub", utc("2020-02-22T00:01:55")),
        ("1j5IF1-000000005vi-0000", utc("2020-02-22T00:01:55")),
    ],
)
def test_long_and_exim_ids_tell_when_they_were_given(queue_id: str, moment: float) -> None:
    assert ids.id_time(queue_id) == pytest.approx(moment, abs=1e-6)


@pytest.mark.parametrize(
    "queue_id", ["670FCA58C8", "zzzzzz-zzzzzz-zz", "000000-000000-00", "", "zzzzzzzzzzzz", "u31FFPtp032300"]
)
def test_ids_without_a_clock_or_with_an_impossible_one_tell_nothing(queue_id: str) -> None:
    assert ids.id_time(queue_id) is None


def test_a_short_id_tells_its_microseconds() -> None:
    assert ids.short_micros("F27E789349") == 993255
    assert ids.short_micros("FFFFF89349") is None
    assert ids.short_micros("4PbC4z6W5Qz3tG3") is None


def test_a_message_id_that_postfix_made_tells_time_queue_id_and_host() -> None:
    made = ids.generated("20200603104059.A48191855DA0@mail.sender.com")
    assert made == (utc("2020-06-03T10:40:59"), "A48191855DA0", "mail.sender.com")
    long = ids.generated("<4PbC4z6W5Qz3tG3@helga.example>")
    assert long is not None
    assert long[1:] == ("4PbC4z6W5Qz3tG3", "helga.example")


def test_a_message_id_that_exim_made_tells_time_queue_id_and_host() -> None:
    assert ids.generated("E1j5IF1-0006A7-Ub@edward.rosnix.net") == (
        utc("2020-02-22T00:01:55"),
        "1j5IF1-0006A7-Ub",
        "edward.rosnix.net",
    )


def test_a_message_id_of_another_queue_id_is_no_clock_of_this_host() -> None:
    message_id = "20200603104059.A48191855DA0@mail.sender.com"
    assert ids.message_id_time(message_id, "A48191855DA0") == utc("2020-06-03T10:40:59")
    assert ids.message_id_time(message_id, "B48191855DA0") is None
    assert ids.message_id_time("20201303104059.A48191855DA0@mail.sender.com", "A48191855DA0") is None


def test_a_dovecot_session_tells_time_pid_and_host() -> None:
    session = ids.dovecot("IkiQKTt+117kJgAAWP5Hkg")
    assert session is not None
    assert session.time == pytest.approx(utc("2020-06-03T10:40:59.697341"), abs=1e-3)
    assert session.pid == 9956
    assert session.host_hash == "58fe4792" == ids.dovecot_host("mail.lightmeter.io")
    assert ids.dovecot("wArTL0TxF2AccAAAYr7Zvw:R2") == ids.dovecot("wArTL0TxF2AccAAAYr7Zvw")
    assert ids.dovecot("not a session") is None


@pytest.mark.parametrize(
    "reply, moment",
    [
        ("250 2.0.0 Ok: queued as 4PbC4z6W5Qz3tG3", utc("2023-03-13T23:08:35.916938")),
        ("250 2.0.0 Ok: queued as F27E789349", None),
        ("250 OK id=1j5IF1-0006A7-Ub", utc("2020-02-22T00:01:55")),
        ("250 2.0.0 OK  1370843019 l7si764411eey.60 - gsmtp", 1370843019.0),
        ("250 ok 1370843978 qp 20079", 1370843978.0),
        ("250 2.0.0 <u@d> IkiQKTt+117kJgAAWP5Hkg Saved", utc("2020-06-03T10:40:59.697341")),
        ("250 2.1.5 Ok SESSIONID=<cyrus-12823-1488397532-1> [x!user.user.INBOX () 2294]", 1488397532.0),
        ("250 Ok 010001806b0f0f99-41060108-df04-45ed-8b3c-e2f5d9275ec9-000000", 1651063590.809),
        ("250 2.5.0 OK (381C4E5DFA31DF9E90F)", utc("2019-12-18T14:04:15.649487")),
        ("250 2.0.0 Message queued with id 45969f8cd4be043", None),
        ("250 OK", None),
        ("", None),
    ],
)
def test_replies_tell_the_other_side_s_clock(reply: str, moment: float | None) -> None:
    if moment is None and "queued with" not in reply:
        assert ids.reply_time(reply) is None
    elif moment is not None:
        assert ids.reply_time(reply) == pytest.approx(moment, abs=1e-3)


def test_stalwart_s_id_is_a_clock_in_decimal() -> None:
    assert ids.stalwart_time(313394020497752067) == pytest.approx(utc("2026-06-17T17:38:34.132"), abs=1e-3)


@given(st.text())
def test_no_text_makes_an_id_raise(text: str) -> None:
    ids.id_time(text)
    ids.short_micros(text)
    ids.generated(text)
    ids.dovecot(text)
    ids.reply_time(text)


@given(st.from_regex(rf"{ids.LONG}|{ids.EXIM}|{ids.SHORT}|{ids.DOVECOT}", fullmatch=True))
def test_nothing_of_the_right_shape_raises(text: str) -> None:
    ids.id_time(text)
    ids.short_micros(text)
    ids.dovecot(text)
    ids.generated(f"20200101000000.{text}@h")
    ids.reply_time(f"250 Ok: queued as {text}")
