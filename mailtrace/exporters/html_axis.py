"""The time axis of one mail: hours of waiting beside milliseconds of work, and both can be read.

An axis is linear. Where a few waits are so long that all the rest would shrink to nothing, these are cut out: a
*break* has a width of its own, which grows with the logarithm of what it leaves out, and everything between breaks
keeps one common scale. No wait under a second is cut, and none that is not `MUCH` times what remains.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import floor, log10
from typing import NamedTuple

from mailtrace.wording import duration

MUCH = 4.0
"""A wait is cut out where it is so many times as long as all shorter ones together."""
BREAKS = 6
"""More breaks than this would leave no axis."""
FULL = 97.0
"""Percent of the width that the axis takes; behind it there is room for the last mark."""
PAD = 1.2
"""Percent beside a break, so that what ends there does not touch it."""
MOST = 50.0
"""Percent of the width that all breaks together may take."""
LINES = 8
"""About so many lines divide an axis."""


class Piece(NamedTuple):
    """A part of the axis: from when to when, from where to where in percent; `cut` for a break."""

    start: float
    end: float
    left: float
    right: float
    cut: bool


class Axis:
    """Times → percent of the width, for everything that happens at `times`."""

    def __init__(self, times: Iterable[float]) -> None:
        """An axis on which all of these have their place."""
        known = sorted(set(times)) or [0.0]
        self.start, self.end = known[0], known[-1]
        self.point = self.end - self.start < 0.001
        """Whether there is nothing to tell apart."""
        if self.point:
            self.end = self.start + 1.0
            known = [self.start, self.end]
        self.pieces = _pieces(known)
        linear = [piece for piece in self.pieces if not piece.cut]
        self.step = _step(sum(piece.end - piece.start for piece in linear))
        """Seconds between two lines."""

    def at(self, time: float) -> float:
        """Percent from the left."""
        for piece in self.pieces:
            if time <= piece.end:
                break
        share = (time - piece.start) / (piece.end - piece.start) if piece.end > piece.start else 0.5
        return piece.left + min(1.0, max(0.0, share)) * (piece.right - piece.left)

    @property
    def breaks(self) -> list[Piece]:
        """The waits that are cut out."""
        return [piece for piece in self.pieces if piece.cut]

    def lines(self) -> list[float]:
        """Where the lines stand: every `step` seconds from the start of each linear piece."""
        out: list[float] = []
        for piece in self.pieces:
            if not piece.cut:
                number = floor((piece.end - piece.start) / self.step + 1e-6)
                out += [self.at(piece.start + i * self.step) for i in range(number + 1)]
        return out

    def labels(self) -> list[tuple[float, str]]:
        """Where the axis is lettered, and how: seconds after its start. Few enough not to run into each other."""
        if not self.breaks:
            number = floor((self.end - self.start) / self.step + 1e-6)
            every = 1 if number <= LINES // 2 else 2
            return [(self.at(self.start + i * self.step), after(i * self.step)) for i in range(0, number + 1, every)]
        out: list[tuple[float, str]] = []
        for piece in self.pieces:
            left = piece.left
            if not piece.cut and (not out or left - out[-1][0] >= 14):
                out.append((left, after(piece.start - self.start)))
        return out


def after(seconds: float) -> str:
    """`+0.25 s`, `+2 h 10 min`; with milliseconds and less where it needs them."""
    if 0 < seconds < 0.1:
        return f"+{seconds * 1000:.3g} ms"
    return f"+{duration(seconds)}"


def _pieces(times: list[float]) -> list[Piece]:
    gaps = [later - earlier for earlier, later in pairwise(times)]
    limit = _limit(gaps)
    cut = [gap for gap in gaps if gap >= limit]
    widths = [14.0 + 4.0 * log10(gap / min(cut)) for gap in cut]
    widths = [width * min(1.0, MOST / sum(widths)) for width in widths]
    linear = sum(gap for gap in gaps if gap < limit)
    scale = (FULL - sum(widths) - 2 * PAD * len(cut)) / linear if linear else 0.0
    out: list[Piece] = []
    left, start = 0.0, times[0]
    for i, gap in enumerate(gaps):
        if gap >= limit:
            right = left + (times[i] - start) * scale
            out.append(Piece(start, times[i], left, right, cut=False))
            left = right + 2 * PAD + widths.pop(0)
            out.append(Piece(times[i], times[i + 1], right, left, cut=True))
            start = times[i + 1]
    out.append(Piece(start, times[-1], left, left + (times[-1] - start) * scale, cut=False))
    return out


def _limit(gaps: list[float]) -> float:
    """The shortest gap that is cut; infinite where none is."""
    rising = sorted(gaps)
    below = 0.0
    for i, gap in enumerate(rising):
        if gap >= 1 and below > 0 and gap > MUCH * below and len(rising) - i <= BREAKS:
            return gap
        below += gap
    return float("inf")


def _step(span: float) -> float:
    """A round number of seconds (1, 2 or 5 of a power of ten, or of minutes, hours, days) for about `LINES` lines."""
    wanted = span / LINES
    for unit, most in ((1.0, 30), (60.0, 30), (3600.0, 12), (86400.0, 1e9)):
        if wanted <= unit * most:
            break
    power = 10.0 ** floor(log10(max(wanted / unit, 1e-6)))
    if unit > 1:
        power = max(1.0, power)
    return unit * power * next((nice for nice in (1, 2, 5) if wanted <= unit * power * nice), 10)
