"""Queues are read from `Received:` headers as each MTA writes them."""

from __future__ import annotations

from .ends import hops, parse


def received(*values: str) -> list[tuple[str, str]]:
    return hops(parse("".join(f"Received: {value}\n" for value in values).encode() + b"\n"))


def test_the_lowest_header_is_the_first_hop() -> None:
    assert received(
        "from a (b [10.99.0.13])\n\tby core-in.quay.example (Postfix) with ESMTP id 45D209867A1\n\tfor <x@y>; date",
        "from c (unknown [10.99.0.203])\n\tby washer.quay.example (Postfix) with SMTP id 0C191986014; date",
    ) == [("washer", "0C191986014"), ("core", "45D209867A1")]


def test_both_instances_of_a_host_are_that_host() -> None:
    assert received(
        "from localhost (localhost [127.0.0.1]) by core-out.quay.example (Postfix) with ESMTP id AB12; d"
    ) == [("core", "AB12")]


def test_a_submission_over_tls_is_a_hop() -> None:
    assert received(
        "from [10.99.0.206] (laptop [10.99.0.206])\n\t(using TLSv1.3 with cipher X (256/256 bits))\n\t"
        "by dock.quay.example (Postfix) with ESMTPSA id 4jXwxL0M5Xz1SMXs; date"
    ) == [("dock", "4jXwxL0M5Xz1SMXs")]


def test_a_local_or_requeued_message_is_a_hop() -> None:
    assert received("by agora.quay.example (Postfix, from userid 0)\n\tid 3F21F988272; date") == [
        ("agora", "3F21F988272")
    ]


def test_exim_names_its_id_after_the_sender() -> None:
    assert received(
        "from core-out.quay.example ([10.99.0.15])\n\tby walrus.arctic.example with esmtp (Exim 4.96)\n\t"
        "(envelope-from <sid@far.example>)\n\tid 1xVNTs-00001d-2s\n\tfor nan@arctic.example;\n\tdate"
    ) == [("walrus", "1xVNTs-00001d-2s")]


def test_a_dovecot_session_is_no_queue() -> None:
    assert (
        received("from coral.quay.example\n\tby coral.quay.example with LMTP\n\tid 9MotBgbdA2vJAAAADcNtUg\n\t(x)") == []
    )
