"""What a reader should know beside the mails: what was asked and looked at, how clocks were read, warnings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from mailtrace.model import ClockNote, Coverage, Headers
from mailtrace.report import Report, visible
from mailtrace.times import LOCAL
from mailtrace.wording import BAD, GOOD, OPEN, Clock, count, duration, peer, some, utc_offset

SKEW = 1.0
"""Seconds that a clock is off before its raw stamps are shown."""
KEYS = 20
"""So many keys that were not found are named."""
_DOUBTED = ("config", "machine", "assumed")
"""What a zone may rest on that the logs do not prove."""

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)


class Remark(NamedTuple):
    """One thing to know: under which name it stands, the words, their tone ("" plain, `dim`, or of an outcome).

    `mark` is a sign before the words that has the tone too.
    """

    name: str
    text: str
    tone: str = ""
    mark: str = ""


def remarks(report: Report, clock: Clock) -> Iterator[Remark]:
    """Everything around the mails, in the order of its weight."""
    for item in report.expectations:
        where = f" ({visible(item.place)})" if item.place else ""
        seen = "" if item.held else f"; seen: {visible(item.detail)}{where}"
        yield Remark("Expected", visible(item.text) + seen, GOOD if item.held else BAD, "✓" if item.held else "✗")
    if report.keys:
        yield from _keys(report.keys)
    for hint in report.hints:
        yield Remark("Perhaps", visible(hint.message), OPEN)
    for sheet in report.headers:
        yield from _told(sheet, clock)
    yield from _window(report, clock)
    yield from _coverage(report.coverage, clock)
    yield from _clocks(report.clocks)
    for (_, message), same in grouped(report.warnings, lambda item: (item.code, item.message)).items():
        hosts = [item.host for item in same if item.host]
        where = f"{some(hosts)}: " if hosts else ""
        yield Remark("Warning", where + visible(message), OPEN)


def _keys(keys: Mapping[str, Sequence[str]]) -> Iterator[Remark]:
    """How many keys of a list were found, and which were not."""
    missed = [key for key, mails in keys.items() if not mails]
    said = f"{len(keys) - len(missed):,} of {len(keys):,} found"
    yield Remark("Keys", f"{said}; not found: {some(missed, KEYS)}" if missed else said, OPEN if missed else "")


_SHEETS = {"message": "the message in hand", "bounce": "the bounce in hand", "returned": "the message it is about"}


def _told(sheet: Headers, clock: Clock) -> Iterator[Remark]:
    """What headers tell; each hop that the logs do not have is marked as told by them alone."""
    known = sum(bool(hop.hop) for hop in sheet.hops)
    named = f" <{visible(sheet.message_id)}>" if sheet.message_id else ""
    of = f"{known} of {count(len(sheet.hops), 'hop')} found in the logs" if sheet.hops else "no hop is told"
    yield Remark("Headers", f"{_SHEETS.get(sheet.kind, sheet.kind)}{named}: {of}")
    if known == len(sheet.hops):
        return
    for hop in sheet.hops:
        when = clock.minute(hop.time) if hop.time is not None else "?"
        what = " ".join(visible(part) for part in (hop.host or "an unnamed host", hop.queue_id) if part)
        origin = peer(hop.client.name, hop.client.ip)
        said = f"{when}  {what}" + (f", from {origin}" if origin else "")
        if hop.hop:
            yield Remark("Headers", f"{said}: as the logs have it", "dim")
        else:
            yield Remark("Headers", f"{said}: only the header says so", OPEN, "?")


def grouped(items: Iterable[_T], key: Callable[[_T], _K]) -> dict[_K, list[_T]]:
    """What has the same key together, in order of first sight."""
    out: dict[_K, list[_T]] = {}
    for item in items:
        out.setdefault(key(item), []).append(item)
    return out


def _window(report: Report, clock: Clock) -> Iterator[Remark]:
    start, end = report.start, report.end
    if start is None and end is None:
        return
    since = f"from {clock.minute(start)} " if start is not None else ""
    until = f"until {clock.minute(end)} " if end is not None else ""
    known = start if start is not None else end
    read = {"": "", LOCAL: "; times read in this machine's zone"}.get(report.zone, f"; times read in {report.zone}")
    yield Remark("Asked for", f"mail {since}{until}{clock.zone(known or 0.0)}{visible(read)}")


def _coverage(items: Sequence[Coverage], clock: Clock) -> Iterator[Remark]:
    if not items:
        yield Remark("Looked at", "no log at all", OPEN)
        return
    good = [item for item in items if not item.problem]
    hosts = len({item.host for item in good})
    text = f"{count(len(good), 'log')} of {count(hosts, 'host')}" if good else "nothing"
    lines = [item.lines for item in good if item.lines is not None]
    if lines:
        text += f", {count(sum(lines), 'line')}"
    yield Remark("Looked at", text + _extent(good, clock))
    unparsed = sum(item.unparsed for item in items)
    if unparsed:
        yield Remark("Looked at", f"{count(unparsed, 'line')} of a mail program in a form not known here", "dim")
    for problem, same in grouped(items, lambda item: item.problem).items():
        if problem:
            lacks = any(item.missing for item in same)
            known = [item.host for item in same if item.host]
            named = f"{some(known)}: " if known else ""  # a log that nobody is named for
            yield Remark("Looked at", f"{'✗' if lacks else '!'} {named}{visible(problem)}", BAD if lacks else OPEN)


def _extent(items: Sequence[Coverage], clock: Clock) -> str:
    """From when to when there are logs: of all of them, since what one host lacks is a gap."""
    firsts = [item.first for item in items if item.first is not None]
    lasts = [item.last for item in items if item.last is not None]
    if not firsts or not lasts:
        return ""
    first, last = min(firsts), max(lasts)
    since, until = clock.minute(first), clock.minute(last)
    if clock.day(first) == clock.day(last):
        return f", {since} to {until[11:]}"
    return f", {since} to {until}"


def _clocks(notes: Sequence[ClockNote]) -> Iterator[Remark]:
    for note in notes:
        if abs(note.skew_seconds) >= SKEW:
            fast = "fast" if note.skew_seconds > 0 else "slow"
            off = duration(abs(note.skew_seconds))
            yield Remark("Clocks", f"{visible(note.host)} is {off} {fast}; times here are corrected", OPEN)
    stamped = [note for note in notes if note.offset is not None]
    zones = grouped(stamped, lambda note: (utc_offset(note.offset), note.proved_by))
    for (offset, proof), same in zones.items():
        text = f"{some(note.host for note in same)}: stamps in {offset}, {proof_of(proof)}"
        yield Remark("Clocks", text, OPEN if proof in _DOUBTED and proof != "config" else "dim")


def proof_of(proof: str) -> str:
    """What the reading of a host's stamps rests on, in words."""
    words = {
        "config": "as configured",
        "machine": "this machine's zone, for want of proof",
        "assumed": "assumed",
    }
    return words.get(proof, f"proved by {visible(proof)}")
