"""Mails on disk: as many as a window has, in memory only those that are looked at.

The file has no name, so that nobody else reads it and nothing is left of it, however the program ends. It lies where
temporary files do (`TMPDIR`).
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterator, Sequence

from mailtrace.errors import DataError
from mailtrace.model import Mail, Remade


class Shelf(Remade[int]):
    """Mails as they were put there, or in order of first sight; each is read anew whenever it is looked at."""

    def __init__(self) -> None:
        """An empty one."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the shelf
        self._ends = array("q", [0])
        self._firsts = array("d")
        self._roots: array[int] = array("q")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def put(self, mail: Mail) -> None:
        """Add a mail. Raises `DataError` where there is no room."""
        whole = Mail(
            mail.id, mail.message_id, mail.sender, mail.size, mail.subject, mail.hops, mail.links, mail.recipients,
            mail.first, mail.last,
        )  # fmt: skip
        data = pickle.dumps(whole, pickle.HIGHEST_PROTOCOL)
        try:
            self._file.seek(self._ends[-1])
            self._file.write(data)
        except OSError as error:
            message = (
                f"the mails of so long a window are kept in {tempfile.gettempdir()}, which can't be written: "
                f"{error.strerror}; ask for less, or set TMPDIR to where there is room"
            )
            raise DataError(message) from None
        self._ends.append(self._ends[-1] + len(data))
        self._firsts.append(mail.first)
        self._roots.append(len(self._roots))

    def sort(self) -> None:
        """Put the mails in order of first sight."""
        self._roots = array("q", sorted(self._roots, key=self._firsts.__getitem__))

    def _made(self, roots: Sequence[int]) -> Iterator[Mail]:
        return map(self._read, roots)

    def _read(self, number: int) -> Mail:
        begin, end = self._ends[number], self._ends[number + 1]
        self._file.seek(begin)
        mail: Mail = pickle.loads(self._file.read(end - begin))  # noqa: S301 - nobody else can write there
        return mail
