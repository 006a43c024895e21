"""Values that must not be shown, and how to keep them out of any text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "****"
SHORTEST = 4
"""Shorter values are not searched for: hiding every `a` of a log would hide the log and give the secret away."""


class Secret:
    """A password. Shown as `****` by `str`, `repr` and every format; `reveal()` gives it to what logs in with it.

    False when empty. No `str`, so that joining or concatenating one by accident fails instead of leaking.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        """Hide a value; "" is unset."""
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._value)

    def __str__(self) -> str:
        """`****`, or nothing when unset."""
        return HIDDEN if self._value else ""

    def __repr__(self) -> str:
        """As `str`, quoted."""
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        """As `str`, whatever the format says."""
        return str(self)

    def __eq__(self, other: object) -> bool:
        """Equal to a secret of the same value, never to a text."""
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        """As its value."""
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        """Refuse to be pickled: a copy on disk would be shown."""
        msg = "a Secret cannot be pickled"
        raise TypeError(msg)


class Redactor:
    """Takes known secrets out of any text, by value: `Redactor(config.secrets).redact(text)`."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        """Know these secrets; empty and very short ones are not looked for (see `SHORTEST`)."""
        values = {secret.reveal() for secret in secrets}
        # A multi-line key is also hidden line by line: logs and YAML break it.
        values |= {line.strip() for value in values for line in value.splitlines()}
        self._values = sorted((v for v in values if len(v) >= SHORTEST), key=len, reverse=True)

    def redact(self, text: str) -> str:
        """The text with every known secret in it replaced by `****`."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return text
