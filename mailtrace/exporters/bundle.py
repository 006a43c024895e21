"""The `bundle` export: a case as one zip, to be traced by somebody else (`mailtrace trace --bundle case.zip`).

It holds the raw lines that the run fetched (`logs/`), the question (`job.yaml`), the fleet (`config.yaml`), the report
of the same question over just these lines (`report.json`), the versions of what made it, a README.txt that says what is
replaced and what that cannot promise, and SHA256SUMS. With `redact` every name of a person, a machine or a network is
replaced by a pseudonym, the same one everywhere (`mailtrace.redaction`); queue IDs, times and sizes stay.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from textwrap import wrap
from typing import Any, ClassVar

from mailtrace.errors import ExportError, MailtraceError
from mailtrace.model import LogEntry, Stamp, Zone
from mailtrace.redaction import KEPT, Pseudonyms
from mailtrace.report import Case, Report
from mailtrace.versions import told

SHARED = "logs/of-hosts-that-nobody-configured.log"
"""The lines of hosts that only the lines name."""

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@dataclass(frozen=True, slots=True)
class Bundle:
    """The case as a zip; with `redact`, under pseudonyms."""

    redact: bool = True

    binary: ClassVar[bool] = True

    def export(self, report: Report, stream: Any) -> None:
        """Write the zip to a binary stream. Raises `ExportError` where the case cannot be run again."""
        if report.case is None:
            raise ExportError("bundle: there is no case to keep; a report alone does not hold the log lines")
        names = _names(report.case) if self.redact else _AsItIs(())
        files = _files(report.case, names, [hop.queue_id for mail in report.mails for hop in mail.hops if hop.queue_id])
        again, told_again = _replayed(report.case, files)
        same = shape(again) == shape(report)
        if not same:
            logging.getLogger("mailtrace").warning("the bundle traces otherwise than its logs did: see its README.txt")
        files["report.json"] = told_again
        files["versions.txt"] = "".join(f"{line}\n" for line in told(_version()))
        files["README.txt"] = _readme(report.case, redacted=self.redact, same=same)
        files["SHA256SUMS"] = "".join(f"{sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items())
        _zip(files, stream)


def _version() -> str:
    from mailtrace import __version__

    return __version__


def shape(report: Report) -> list[Any]:
    """What a trace found, without names: per mail its queue IDs, its links, and what became of each recipient."""
    return sorted(
        (
            sorted(hop.queue_id for hop in mail.hops),
            sorted((link.kind.value, link.certainty.value) for link in mail.links),
            sorted(
                (row.outcome, row.attempts, row.certainty.value, [step.queue_id for step in row.path])
                for row in mail.recipients
            ),
        )
        for mail in report.mails
    )


# ----------------------------------------------------------------------------------------------- files


class _AsItIs(Pseudonyms):
    """Replaces nothing."""

    def line(self, raw: str, host: str = "") -> str:
        return raw

    def text(self, text: str) -> str:
        return text

    name = identifier = message_id = user = words = text


def _names(case: Case) -> Pseudonyms:
    """The pseudonyms of a case, all of its names learnt."""
    config, hosts = case.config, dict(case.config.get("hosts", {}))
    texts = [*(entry.raw for entry in case.lines), *_strings(config), *_strings(case.find), *hosts, *case.logs]
    ids = {entry.queue_id for entry in case.lines if entry.queue_id}
    clusters = config.get("clusters", {})
    known = [*hosts, *case.logs, *clusters, *_strings(clusters), *_strings(hosts), *(e.host for e in case.lines)]
    names = Pseudonyms(texts, ids, [*known, str(config.get("domain", ""))])
    for entry in case.lines:
        names.learn(entry.raw, entry.logged_host)
    return names


def _strings(value: Any) -> Iterator[str]:
    """Every text in a document, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _files(case: Case, shown: Pseudonyms, ids: list[str]) -> dict[str, str]:
    """Job, config and logs by their names in the zip; `ids` are those of all that was found."""
    logs: dict[str, list[str]] = {}
    of: dict[str, str] = {}
    for host in dict.fromkeys([*case.logs, *(entry.host for entry in case.lines)]):
        of[host] = f"logs/{_file(shown.name(host))}.log" if host in case.logs else SHARED
    lines = {host: [(e.raw, shown.line(e.raw, e.logged_host)) for e in own] for host, own in _by_host(case.lines)}
    for host, own in sorted(lines.items()):
        first, last = _ends(case, host, shown.name(host))
        logs.setdefault(of[host], []).extend([*first, *(line for _, line in own), *last])
    for host in case.logs:
        logs.setdefault(of[host], [line for end in _ends(case, host, shown.name(host)) for line in end])
    if not case.logs:
        logs.setdefault(SHARED, [])
    find = _find(case, shown, [pair for own in lines.values() for pair in own], list(dict.fromkeys(ids)))
    job = {"version": 1, "kind": "trace", "name": "A case", "config": "config.yaml", "find": find, "walk": case.walk}
    files = {"job.yaml": case.write(job), "config.yaml": case.write(_config(case, shown, of))}
    return {**files, **{name: "".join(f"{line}\n" for line in own) for name, own in logs.items()}}


def _by_host(lines: Iterable[LogEntry]) -> Iterable[tuple[str, list[LogEntry]]]:
    found: dict[str, list[LogEntry]] = {}
    for entry in lines:
        found.setdefault(entry.host, []).append(entry)
    return found.items()


def _file(name: str) -> str:
    """A host's name as that of a file."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "host"


def _config(case: Case, shown: Pseudonyms, of: Mapping[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {"method": "files"}
    if case.config.get("domain"):
        out["domain"] = shown.name(case.config["domain"])
    if case.config.get("clusters"):
        out["clusters"] = {
            shown.name(n): [shown.name(host) for host in own] for n, own in case.config["clusters"].items()
        }
    if case.config.get("hosts"):
        out["hosts"] = {shown.name(host): _facts(facts, shown) for host, facts in case.config["hosts"].items()}
    hosts = {shown.name(host): {"log_files": [of[host]], **said} for host, said in case.logs.items()}
    shared = [SHARED] if SHARED in of.values() or not hosts else []
    out["files_config"] = {"host_config": {"log_files": shared}, "hosts": hosts}
    return out


def _facts(facts: Mapping[str, Any], shown: Pseudonyms) -> dict[str, Any]:
    return {
        key: [shown.name(each) for each in value] if isinstance(value, list) else value for key, value in facts.items()
    }


def _find(case: Case, shown: Pseudonyms, lines: list[tuple[str, str]], ids: list[str]) -> dict[str, Any]:
    """The question under pseudonyms."""
    out: dict[str, Any] = {}
    for key, value in case.find.items():
        if key in ("since", "until", "queue_id"):
            out[key] = value
        elif key == "start_host":
            out[key] = [shown.name(host) for host in value]
        elif key == "message_id":
            out[key] = shown.message_id(value)
        elif key == "subject":
            out[key] = shown.words(value)
        elif key not in _LITERALS:
            out[key] = value if value == "<>" else shown.user(value)
    return out | _literals(case, shown, lines, ids)


_LITERALS = ("keywords", "any_of")


def _literals(case: Case, shown: Pseudonyms, lines: list[tuple[str, str]], ids: list[str]) -> dict[str, list[str]]:
    """The texts that are asked for, under pseudonyms.

    Part of a name has none: then the queue IDs of what was found are asked for instead.
    """
    asked = {key: case.find[key] for key in _LITERALS if key in case.find}
    pseudonyms = {word: _keyword(word, shown, lines) for words in asked.values() for word in words}
    if None in pseudonyms.values():
        folded = [word.casefold() for word in pseudonyms]
        hits = {entry.queue_id for entry in case.lines if any(word in entry.raw.casefold() for word in folded)}
        return {"any_of": [found for found in ids if found in hits] or [shown.identifier(word) for word in pseudonyms]}
    return {key: [pseudonyms[word] or word for word in words] for key, words in asked.items()}


def _keyword(word: str, shown: Pseudonyms, lines: list[tuple[str, str]]) -> str | None:
    """A literal for which the same lines answer under pseudonyms as the word did before; None where there is none."""
    wanted = word.casefold()
    hits = [(raw, line) for raw, line in lines if wanted in raw.casefold()]
    for candidate in (word, shown.text(word), shown.identifier(word), shown.message_id(word), shown.words(word)):
        folded = candidate.casefold()
        if [pair for pair in lines if folded in pair[1].casefold()] == hits:
            return candidate
    return None


def _ends(case: Case, host: str, name: str) -> tuple[list[str], list[str]]:
    """Lines that say from when to when the log of a host was looked at; no program of mail wrote them."""
    span = case.spans.get(host)
    if span is None:
        return [], []
    said = "the log was looked at"
    return [f"{_stamp(span[0])} {name} mailtrace: {said} from here"], [
        f"{_stamp(span[1])} {name} mailtrace: {said} until here"
    ]


def _stamp(stamp: Stamp) -> str:
    """A stamp as a log would have it: with its zone, without one, or without zone and year."""
    at = time.gmtime(stamp.time)
    if stamp.zone is Zone.YEARLESS:
        return f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    clock = f"{at.tm_year:04}-{at.tm_mon:02}-{at.tm_mday:02}T{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{clock}+00:00" if stamp.zone is Zone.UTC else clock


def _replayed(case: Case, files: Mapping[str, str]) -> tuple[Report, str]:
    """The report of the same question over the lines of the bundle, and its JSON, in which their folder has no name."""
    with tempfile.TemporaryDirectory(prefix="mailtrace-") as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            report = case.replay(str(Path(folder, "job.yaml")))
        except MailtraceError as error:
            raise ExportError(f"bundle: the case cannot be run again: {error}") from None
        return report, report.to_json().replace(f"{folder}/", "")


def _zip(files: Mapping[str, str], stream: Any) -> None:
    """A zip that is the same for the same files."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            out.writestr(info, text.encode("utf-8", "surrogateescape"))


def _readme(case: Case, *, redacted: bool, same: bool) -> str:
    lines = f"{len(case.lines)} log lines of {len({entry.host for entry in case.lines})} hosts"
    traces = "the same" if same else "NOT the same: what a trace of the whole logs found differs from report.json"
    parts = [_ABOUT.format(lines=lines, traces=traces)]
    parts.append(_REDACTED.format(kept="\n".join(wrap(", ".join(sorted(KEPT)), 80))) if redacted else _PLAIN)
    return "\n".join(parts)


_ABOUT = """\
This is a case: {lines}, the question that was asked
of them (job.yaml), the fleet (config.yaml), and the answer (report.json). Trace
it again with

    mailtrace trace --bundle FILE.zip

It traces {traces}.
Only the lines that the question needed are here, and the zone of each log as it
was found out. Lines of "mailtrace:" say from when to when a log was looked at.
"""
_PLAIN = """\
Nothing was replaced: addresses, host names and IP addresses are as the logs
have them. Do not post this in public; `redact: true` makes a bundle for that.
"""
_REDACTED = """\
Addresses, host names, users, IP addresses, Message-IDs, subjects and paths were
replaced by pseudonyms, the same one everywhere; queue IDs, process IDs, times,
sizes and status codes were not. Fields of the journal that a trace does not need
were left out. These words were kept wherever they stand:
{kept}.

What this cannot promise:
- A name in free text that stands in no address, name or path of these lines is
  not known as one: "User Anna Smith is on holiday" in somebody's reply stays.
- A word that the mail programs themselves use (mail, user, relay …) is replaced
  in addresses and names, and not in free text.
- What is encoded other than by RFC 2047 (base64, hashes, percent signs) is not
  taken apart.
- Times, sizes and queue IDs stay. Who has other logs of the same mail can find it
  in them, and queue IDs of some servers hold a clock and an inode.
- Who knows the fleet may know it again by its shape: the programs, their
  versions and settings, the number of hosts, the words of their replies.
Look through logs/ before you post it.
"""
