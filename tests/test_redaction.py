"""Pseudonyms: the same one everywhere, for everything that names somebody, and for nothing else."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.redaction import KEPT, Pseudonyms

LINES = """\
postfix/smtpd[107]: 4jXnlV6MTQzRbF8: client=mail.acme-corp.de[203.0.113.9], sasl_username=anna
postfix/cleanup[8]: 4jXnlV6MTQzRbF8: message-id=<20261123010422.4jXnlV6MTQzRbF8@mx2.acme-corp.de>
postfix/qmgr[9]: 4jXnlV6MTQzRbF8: from=<anna.berg@acme-corp.de>, size=700, nrcpt=1 (queue active)
postfix/smtp[10]: 4jXnlV6MTQzRbF8: to=<wolf@world.example.net>, relay=mail[2001:db8:9::7]:25, delays=1/0/0/0, \
dsn=5.1.1, status=bounced (host mail[2001:db8:9::7] said: 550 5.1.1 <wolf@world.example.net>: \
mail for wolf is refused, ask anna (in reply to RCPT TO command))
""".splitlines()
LINES = [f"Nov 23 01:04:22 mx2 {line}" for line in LINES]


def names(*lines: str, ids: tuple[str, ...] = ("4jXnlV6MTQzRbF8",), known: tuple[str, ...] = ()) -> Pseudonyms:
    made = Pseudonyms([*lines, *known], ids, known)
    for line in lines:
        made.learn(line, "mx2")
    return made


def redacted(*lines: str, known: tuple[str, ...] = ()) -> list[str]:
    made = names(*lines, known=known)
    return [made.line(line, "mx2") for line in lines]


def test_nothing_of_a_person_a_machine_or_a_network_is_left() -> None:
    text = "\n".join(redacted(*LINES))
    for word in ("anna", "berg", "wolf", "world", "acme", "corp", "mx2", "203.0.113.9", "2001:db8:9::7"):
        assert not re.search(rf"(?<![\w.:]){re.escape(word)}(?![\w:])", text), word


def test_what_a_trace_is_made_of_stays() -> None:
    text = "\n".join(redacted(*LINES))
    assert text.count("4jXnlV6MTQzRbF8") == 5
    for part in (
        "Nov 23 01:04:22 ",
        "message-id=<20261123010422.4jXnlV6MTQzRbF8@",
        "size=700, nrcpt=1 (queue active)",
        "delays=1/0/0/0, dsn=5.1.1, status=bounced (host ",
        "said: 550 5.1.1 <",
        " is refused, ask ",
        "(in reply to RCPT TO command))",
    ):
        assert part in text, part


def test_a_word_has_one_pseudonym_wherever_it_stands() -> None:
    anna, berg, acme = (names(*LINES).identifier(word) for word in ("anna", "berg", "acme"))
    made = names(*LINES)
    for text in (
        "<anna@acme.example>",
        "<SRS0=x=y=acme.example=anna@fwd.example>",
        "<bounces-anna=acme.example@lists.example>",
        "sasl_username=anna",
        "delivered to /home/anna/Maildir",
        "=> anna <anna@acme.example> R=localuser",
        "lmtp(anna)",
        "ask anna",
    ):
        assert anna in made.line(text), text
        assert "anna" not in made.line(text), text
    assert made.identifier("anna.berg@acme.example") == f"{anna}.{berg}@{acme}.example"
    assert made.identifier("ANNA@Acme.example") == f"{anna}@{acme}.example"


def test_a_name_without_its_domain_is_the_beginning_of_the_one_with_it() -> None:
    made = names(*LINES, known=("mx2",))
    assert made.name("mx2.acme-corp.de").startswith(f"{made.name('mx2')}.")


def test_no_pseudonym_is_a_part_of_another_or_was_in_the_logs() -> None:
    lines = [f"from=<user{number}@host{number}.example>, to u{number}x" for number in range(120)]
    made = names(*lines)
    found = [made.identifier(f"user{number}") for number in range(120)]
    assert len(set(found)) == 120
    assert not [one for one in found for other in found if one != other and one in other]
    assert not {f"u{number}x" for number in range(120)} & set(found)


@pytest.mark.parametrize(
    "text",
    [
        "relay=local, delay=1",
        "relay=none",
        "client=unknown[127.0.0.1]",
        "from localhost[127.0.0.1]:10025",
        "[::1]:25",
        "2026-11-23T01:04:22.123456+00:00 postfix/smtpd[107]: connect from unknown[127.0.0.1]",
        "from=<>",
        "lmtp(123): Connect from local",
        "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)",
        "warning: mail forwarding loop",
        "delays=0.01/0/0.2/0.05, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 8DCB211F769)",
        "1xVITm-00000t-36 Completed",
        "<22>1 - -",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    assert names(text).line(text) == text


def test_addresses_stay_private_public_or_of_version_6() -> None:
    made = names("[10.0.0.1] [192.0.2.1] [203.0.113.9] [2a00:1450::1] [IPv6:2a00:1450::1]")
    assert made.address("10.0.0.1").startswith("10.199.")
    assert made.address("8.8.8.8").startswith("198.18.")
    assert made.address("2a00:1450::1").startswith("2001:db8::")
    assert made.line("[IPv6:2a00:1450::1]") == f"[IPv6:{made.address('2a00:1450::1')}]"
    assert made.address("10.0.0.1") == made.address("10.0.0.1") != made.address("10.0.0.2")
    assert made.address("1.2.3.400") == "1.2.3.400"


def test_a_subject_is_replaced_word_by_word_and_so_is_an_encoded_one() -> None:
    line = (
        "postfix/cleanup[8]: A1: info: header Subject: Offer for =?utf-8?q?J=C3=BCrgen_Klein?= "
        "and =?UTF-8?B?QW5uYQ==?= from mx[10.0.0.1]; from=<anna@a.example> to=<b@b.example> proto=ESMTP helo=<mx>"
    )
    made = names(line)
    shown = made.line(line)
    assert "Offer" not in shown
    assert "Klein" not in shown
    assert "QW5uYQ" not in shown
    assert shown.count("=?utf-8?q?") == 2
    assert f"=?utf-8?q?{made.identifier('anna')}?= from " in shown
    assert "; from=<" in shown


def test_a_journal_entry_stays_json_without_what_names_the_machine() -> None:
    record = {
        "_HOSTNAME": "mx2",
        "_MACHINE_ID": "6d1f",
        "_CMDLINE": "smtpd -n acme",
        "__CURSOR": "s=0f3c",
        "__REALTIME_TIMESTAMP": "1762097348531459",
        "SYSLOG_IDENTIFIER": "postfix/smtpd",
        "_PID": "107",
        "MESSAGE": "connect from mail.acme.de[203.0.113.9]",
    }
    line = json.dumps(record)
    made = names(line)
    shown = json.loads(made.line(line))
    assert set(shown) == {"_HOSTNAME", "__REALTIME_TIMESTAMP", "SYSLOG_IDENTIFIER", "_PID", "MESSAGE"}
    assert shown["_HOSTNAME"] == made.name("mx2") != "mx2"
    assert shown["MESSAGE"].startswith("connect from ")
    assert "acme" not in shown["MESSAGE"]
    assert shown["__REALTIME_TIMESTAMP"] == record["__REALTIME_TIMESTAMP"]


def test_a_host_called_like_a_word_of_the_programs_is_replaced_where_it_is_a_host() -> None:
    line = "Nov 23 01:04:22 mail postfix/smtp[1]: A1: to=<x@y.example>, relay=mail[10.0.0.1]:25 (mail forwarding loop)"
    made = Pseudonyms([line], [], ["mail"])
    made.learn(line, "mail")
    shown = made.line(line, "mail")
    assert shown.startswith(f"Nov 23 01:04:22 {made.name('mail')} postfix")
    assert f"relay={made.name('mail')}[" in shown
    assert "(mail forwarding loop)" in shown


@given(st.lists(st.text(max_size=60), max_size=5))
def test_no_text_makes_it_raise(lines: list[str]) -> None:
    made = Pseudonyms(lines)
    for line in lines:
        made.learn(line)
        assert isinstance(made.line(line), str)
        assert isinstance(made.identifier(line), str)


@given(st.from_regex(r"[a-z]{3,9}(\.[a-z]{3,9})?@[a-z]{3,9}\.(com|de)", fullmatch=True))
def test_no_address_is_left_of_any(address: str) -> None:
    line = f"to=<{address}>, orig_to={address} (host said: 550 <{address}>... {address} unknown)"
    words = set(re.findall(r"[a-z]+", address)) - KEPT
    shown = names(line).line(line)
    assert address not in shown
    assert not any(f"<{word}@" in shown or f"@{word}." in shown for word in words)
