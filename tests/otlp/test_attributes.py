"""What spans say, and how much of an address they show."""

from __future__ import annotations

from typing import Any

import pytest
from kit import delivery, hop

from mailtrace.otlp import attributes
from mailtrace.otlp.attributes import ADDRESSES, Teller, status_code, tls

REPLY = "host mx2.example.net[192.0.2.2] said: 550 5.1.1 <Bob@Example.com>: unknown (in reply to RCPT TO command)"


def attempt(addresses: str = "full", **more: Any) -> dict[str, Any]:
    tried = delivery("Bob@Example.com", more.pop("status", "sent"), "mx2.example.net[192.0.2.2]:25", **more)
    own, common, error = Teller(addresses).attempt(hop("mx1", "4F1"), [tried], 1, "")
    return {**dict(own), **dict(common), "error": error}


def test_every_attribute_stands_in_the_table() -> None:
    told = set()
    received = hop(
        "mx1",
        "4F1",
        client="c[192.0.2.1]",
        helo="c",
        user="bob@example.com",
        tls="TLSv1.3 with cipher TLS_AES_256_GCM_SHA384",
        size=1,
        sender="a@b",
        subject="Hi",
    )
    received.client = received.client._replace(port=25)
    for addresses in ADDRESSES:
        teller = Teller(addresses)
        own, common = teller.reception(received, "m@x", "raw", "likely")
        told |= {key for key, _ in own + common}
        told |= {key for key, _ in teller.refusal("a@b", ["c@d"], "550 5.7.1 no")[0]}
        told |= {key for key, _ in teller.expiry(received, [delivery("a@b", "deferred")])}
        full = delivery(
            "a@b",
            "bounced",
            "r[192.0.2.9]:25",
            reply=REPLY,
            dsn="5.1.1",
            reply_id="X",
            delay=1.0,
            original_recipient="o@b",
            tls=received.tls,
        )
        own, common, _ = teller.attempt(received, [full], 2, "raw")
        told |= {key for key, _ in own + common}
    table = attributes.__doc__ or ""
    assert [key for key in sorted(told) if f"`{key}`" not in table] == []


@pytest.mark.parametrize(
    "addresses, shown, text",
    [
        ("full", ("Bob@Example.com",), REPLY),
        ("domain", ("Example.com",), REPLY.replace("Bob@Example.com", "Example.com")),
        ("none", None, REPLY.replace("Bob@Example.com", "…")),
    ],
)
def test_addresses_are_shown_as_far_as_is_wanted(addresses: str, shown: tuple[str] | None, text: str) -> None:
    told = attempt(addresses, status="bounced", reply=REPLY, dsn="5.1.1")
    assert told.get("email.to.address") == shown
    assert told["smtp.response.text"] == told["error"] == text


def test_a_hash_is_the_same_in_any_case_and_in_replies() -> None:
    one, other = Teller("hash").show("Bob@Example.com"), Teller("hash").show("bob@example.com")
    assert one == other
    assert f"<{one}>" in attempt("hash", status="bounced", reply=REPLY)["smtp.response.text"]


@pytest.mark.parametrize("addresses", ["domain", "hash", "none"])
def test_no_part_of_an_address_is_told_that_is_to_be_hidden(addresses: str) -> None:
    teller = Teller(addresses)
    received = hop("mx1", "4F1", sender="walter@world.example", user="walter", subject="to walter")
    own, common = teller.reception(received, "m@x", "", "")
    tried = delivery(
        "walter@world.example", "bounced", reply="550 <walter@world.example> no", original_recipient="walter@w"
    )
    more, others, error = teller.attempt(received, [tried], 1, "")
    refused, why = teller.refusal("walter@world.example", ["walter@w.example"], "550 walter@w.example no")
    assert "walter" not in repr((own, common, more, others, error, refused, why))


@pytest.mark.parametrize("addresses", ["domain", "hash", "none"])
def test_a_reply_that_names_a_mailbox_alone_does_not_tell_it(addresses: str) -> None:
    tried = delivery("walter@world.example", "bounced", reply='unknown user: "Walter"; walterson is fine')
    own, _, error = Teller(addresses).attempt(hop("mx1", "4F1"), [tried], 1, "")
    assert error == dict(own)["smtp.response.text"] == 'unknown user: "…"; walterson is fine'


def test_the_null_sender_is_no_address() -> None:
    own, _ = Teller().reception(hop("mx1", "4F1", sender=""), "", "", "")
    assert "email.from.address" not in dict(own)


@pytest.mark.parametrize("status, error", [("sent", ""), ("discarded", ""), ("held", ""), ("deferred", "4.4.1 busy")])
def test_only_what_failed_is_an_error(status: str, error: str) -> None:
    told = attempt(status=status, reply="busy", dsn="4.4.1")
    assert told["error"] == error
    assert told.get("error.type") == ("4.4.1" if error else None)


@pytest.mark.parametrize(
    "dsn, reply, kind",
    [("5.1.1", "550 no", "5.1.1"), ("", "550 no", "550"), ("", "no", "bounced"), ("", "", "bounced")],
)
def test_the_type_of_an_error_is_the_most_exact_code(dsn: str, reply: str, kind: str) -> None:
    told = attempt(status="bounced", dsn=dsn, reply=reply)
    assert told["error.type"] == kind
    assert told["error"]


def test_what_exim_gives_up_is_expired_and_not_bounced() -> None:
    told = attempt(status="bounced", reply="retry timeout exceeded")
    assert (told["email.delivery.status"], told["error.type"]) == ("expired", "expired")


@pytest.mark.parametrize(
    "reply, code",
    [
        ("250 2.0.0 Ok: queued as 4F1", "250"),
        (REPLY, "550"),
        ("delivered to mailbox", ""),
        ("SMTP error from remote mail server: 451-4.7.1 try later", "451"),
        ("٣٤٥ no", ""),
        ("", ""),
    ],
)
def test_the_code_of_a_reply_is_found(reply: str, code: str) -> None:
    assert status_code(reply) == code


@pytest.mark.parametrize(
    "text, told",
    [
        ("TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)", ("1.3", "TLS_AES_256_GCM_SHA384")),
        ("TLS1.2:ECDHE_RSA__AES_256_GCM_SHA384:256", ("1.2", "ECDHE_RSA__AES_256_GCM_SHA384")),
    ],
)
def test_tls_is_told_by_version_and_cipher(text: str, told: tuple[str, str]) -> None:
    assert tuple(value for _, value in tls(text)) == told


def test_a_long_reply_is_cut() -> None:
    assert len(attempt(reply="x" * 10_000)["smtp.response.text"]) == 1024


def test_the_same_peer_s_attributes_are_one_object() -> None:
    teller = Teller()
    one, other = (teller.reception(hop("mx1", f"4F{n}", client="c[192.0.2.1]"), "m", "", "")[1] for n in (1, 2))
    assert one is other
