"""Texts that are kept packed come back as they were, whichever is asked for, and what they are looked for by."""

from __future__ import annotations

import random
import sys

from mailtrace.pages import Page


def texts(count: int) -> list[str]:
    chance = random.Random(1)
    odd = ["", "\n", "café", "\udce4\udcff broken bytes", "x" * 5000]
    return [f"to=<u{chance.random()}@a.example>, status=sent" if n % 50 else chance.choice(odd) for n in range(count)]


def filled(mark: str = "") -> tuple[Page, list[str]]:
    """A full page and what was put on it."""
    page = Page()
    put: list[str] = []
    for text in texts(1000):
        if page.full:
            break
        assert page.add(mark + text, 2**62 - len(put), len(put) / 3, hash(text), -len(put), range(len(put) % 4)) == len(
            put
        )
        put.append(mark + text)
        assert page.text(len(put) // 2) == put[len(put) // 2] if len(put) > 1 else page.text(0) == put[0]
    assert page.full
    return page, put


def test_texts_come_back_from_a_page_open_or_full() -> None:
    page, put = filled()
    assert [page.text(at) for at in range(len(put))] == put


def test_each_text_has_what_is_asked_of_it() -> None:
    page, put = filled()
    assert list(page.seqs) == [2**62 - n for n in range(len(put))]
    assert list(page.lasts) == [n / 3 for n in range(len(put))]
    assert list(page.message_ids) == [hash(text) for text in put]
    assert list(page.clients) == [-n for n in range(len(put))]
    assert [list(page.recipients(at)) for at in range(len(put))] == [list(range(n % 4)) for n in range(len(put))]


def test_pages_that_are_read_by_turns_stay_apart() -> None:
    pages = [filled(f"{number} ") for number in range(100)]
    order = [(page, at, text) for page, put in pages for at, text in enumerate(put)]
    random.Random(2).shuffle(order)
    assert all(page.text(at) == text for page, at, text in order[:2000])


def test_a_full_page_takes_a_fraction_of_the_room() -> None:
    page, put = filled()
    assert len(page._packed) < sum(map(sys.getsizeof, put)) / 2
