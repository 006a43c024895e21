"""Texts of many messages, packed together: a day's log that stays in memory takes a fifth of its room."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import lru_cache

_TEXTS = 64
"""Texts of a page: few enough to be unpacked for one of them, and numbers that Python keeps anyway."""
_OPEN = 32
"""Pages of which the texts are at hand."""


class Page:
    """Texts in the order in which they came; packed when there are `_TEXTS` of them. No text may contain NUL.

    Beside them stand what is asked of most without their text: position, last stamp, and hashes of what they may be
    looked for by, Message-ID, client and recipients.
    """

    __slots__ = ("_ends", "_packed", "_recipients", "_texts", "clients", "lasts", "message_ids", "seqs")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._packed = b""
        self.seqs = array("q")
        self.lasts = array("d")
        self.message_ids = array("q")
        self.clients = array("q")
        self._recipients = array("q")
        self._ends = array("L", (0,))

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return bool(self._packed)

    def add(self, text: str, seq: int, last: float, message_id: int, client: int, recipients: Iterable[int]) -> int:
        """Keep a text and what is asked of it; where it stands."""
        self.seqs.append(seq)
        self.lasts.append(last)
        self.message_ids.append(message_id)
        self.clients.append(client)
        self._recipients.extend(recipients)
        self._ends.append(len(self._recipients))
        self._texts.append(text)
        at = len(self._texts)
        if at == _TEXTS:
            self._packed = _pack(self._texts)
            self._texts = []
        return at - 1

    def recipients(self, at: int) -> array[int]:
        """Hashes of the recipients of the text that stands there."""
        return self._recipients[self._ends[at] : self._ends[at + 1]]

    def text(self, at: int) -> str:
        """The text that stands there."""
        return (_unpacked(self._packed) if self._packed else self._texts)[at]


def _pack(texts: list[str]) -> bytes:
    import zstandard

    packed = zstandard.ZstdCompressor(level=1).compress("\0".join(texts).encode("utf-8", "surrogateescape"))
    return bytes(memoryview(packed))  # it keeps the room that it might have needed


@lru_cache(_OPEN)
def _unpacked(packed: bytes) -> list[str]:
    import zstandard

    return zstandard.ZstdDecompressor().decompress(packed).decode("utf-8", "surrogateescape").split("\0")
