"""The case bundle: over two whole fleets nothing of the original is left in it, and it traces the same."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from kit import report as any_report
from truth import fleet, hosts, logs, truth

from mailtrace import run_job
from mailtrace.errors import ExportError
from mailtrace.exporters.bundle import Bundle, shape
from mailtrace.redaction import KEPT
from mailtrace.report import Report

FLEETS = ("fleet", pytest.param("rough", marks=pytest.mark.slow))


def bundled(folder: Path, name: str, find: dict[str, Any], **options: Any) -> tuple[Report, dict[str, str]]:
    """The report of a fleet, and the files of its bundle."""
    to = folder / "case.zip"
    report = run_job({"config": fleet(name), "find": find, "export": [{"bundle": {"to": str(to), **options}}]})
    assert [warning for warning in report.warnings if warning.code == "export-failed"] == []
    with zipfile.ZipFile(to) as archive:
        return report, {item: archive.read(item).decode("utf-8", "replace") for item in archive.namelist()}


def read(path: str) -> str:
    data = Path(path).read_bytes()
    return (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8", "replace")


@pytest.mark.parametrize("name", FLEETS)
def test_over_a_whole_fleet_nothing_of_the_original_is_left_and_it_traces_the_same(name: str, tmp_path: Path) -> None:
    report, files = bundled(tmp_path, name, {})
    assert "It traces the same.\n" in files["README.txt"]
    original = "\n".join(read(file) for paths in logs(name).values() for file in paths)
    text = "\n".join([*files, *(content for item, content in files.items() if item != "README.txt")])
    words = set(re.findall(r"\w+(?:[.+=-]+\w+)*", text)) | set(re.findall(r"\w+", text))
    ids = {entry.queue_id for entry in report.case.lines} if report.case else set()

    rows = truth(name)
    told = ("final_recipient", "original_recipient", "envelope_from")
    addresses = {row[key] for row in rows for key in told if row[key] and "@" in row[key]}
    addresses |= set(re.findall(r"[\w.+=-]+@[\w.-]+\w", original))
    assert len(addresses) > 200
    assert [address for address in addresses if address in text] == []

    # Queue IDs are kept, also in the Message-IDs that mail servers make of them.
    parts = {address.rpartition("@")[0] for address in addresses}
    local = {part for part in parts if not any({piece, piece[1:]} & ids for piece in re.split(r"[.=]", part))}
    assert len(local) > 150
    assert {part for part in local if part in words} <= KEPT

    numbers = set(re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", original)) - {"127.0.0.1"}
    assert len(numbers) > 10
    assert [ip for ip in numbers if ip in text and re.search(rf"(?<![\d.]){re.escape(ip)}(?!\d)", text)] == []

    named = {spelling for host, facts in hosts(name).items() for spelling in (host, facts["fqdn"], *facts["aliases"])}
    named |= set(re.findall(r"\b(?:[\w-]+\.)+test\b", original))
    assert len(named) > 20
    there = [name for name in named if name in text]  # quicker than the expression, which then needs to look at few
    assert [name for name in there if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text)] == []


@pytest.mark.parametrize("name", FLEETS)
@pytest.mark.parametrize("redact", [True, False])
def test_a_case_of_some_mails_traces_the_same(name: str, redact: bool, tmp_path: Path) -> None:
    some: dict[str, list[dict[str, Any]]] = {
        "fleet": [
            {"sender": "wolf@world.lab.test", "since": "2026-11-23T01:04:22Z", "until": "2026-11-23T01:04:26Z"},
            {"recipient": "nobodyc09@world.lab.test"},
            {"keywords": ["4jXnlV6MTQzRbF8"]},
            {"message_id": "268289832.b10542.JavaMail.app@app-2c"},
            {"keywords": ["nobodyc", "world"], "any_of": ["exim2", "alic"]},
            {"subject": "bddcac"},
            {"client": "10.77.0.250", "since": "2026-11-23T01:04:30Z", "until": "2026-11-23T01:04:31Z"},
            {"keywords": ["there is no such mail"]},
        ],
        "rough": [{"keywords": ["wolf"], "since": "2025-11-02T15:29:10Z", "until": "2025-11-02T15:29:12Z"}],
    }
    for find in some[name]:
        report, files = bundled(tmp_path, name, find, redact=redact)
        assert "It traces the same.\n" in files["README.txt"], find
        assert len(json.loads(files["report.json"])["mails"]) == len(report.mails), find
        assert "/tmp" not in files["report.json"] + files["job.yaml"] + files["config.yaml"]


def test_without_redaction_the_lines_are_the_logs_own(tmp_path: Path) -> None:
    report, files = bundled(tmp_path, "fleet", {"recipient": "nobodyc09@world.lab.test"}, redact=False)
    assert report.case
    kept = [line for item, text in files.items() if item.startswith("logs/") for line in text.splitlines()]
    own = {line for paths in logs("fleet").values() for file in paths for line in read(file).splitlines()}
    assert len([line for line in kept if line in own]) == len(report.case.lines)
    assert all(line in own or "mailtrace: the log was looked at" in line for line in kept)
    assert "Nothing was replaced" in files["README.txt"]


def test_only_the_lines_that_the_question_needed_are_kept(tmp_path: Path) -> None:
    _, files = bundled(tmp_path, "fleet", {"keywords": ["4jXnlV6MTQzRbF8"]})
    lines = sum(text.count("\n") for item, text in files.items() if item.startswith("logs/"))
    assert 10 < lines < 400


def test_the_readme_says_what_redaction_cannot_promise(tmp_path: Path) -> None:
    _, files = bundled(tmp_path, "fleet", {"keywords": ["4jXnlV6MTQzRbF8"]})
    assert "What this cannot promise" in files["README.txt"]
    assert [word for word in KEPT if word not in files["README.txt"]] == []
    assert [line for line in files["README.txt"].splitlines() if len(line) > 82] == []


def test_the_same_case_is_the_same_bundle(tmp_path: Path) -> None:
    find = {"keywords": ["4jXnlV6MTQzRbF8"]}
    bundled(tmp_path, "fleet", find)
    first = (tmp_path / "case.zip").read_bytes()
    bundled(tmp_path, "fleet", find)
    assert (tmp_path / "case.zip").read_bytes() == first


def test_a_password_of_the_config_is_not_in_it(tmp_path: Path) -> None:
    config = {**fleet("fleet"), "ssh_config": {"username": "carla", "password": "hunter2hunter2"}}
    to = tmp_path / "case.zip"
    run_job({"config": config, "find": {"keywords": ["4jXnlV6MTQzRbF8"]}, "export": [{"bundle": {"to": str(to)}}]})
    with zipfile.ZipFile(to) as archive:
        everything = b"".join(archive.read(item) for item in archive.namelist())
    assert b"hunter2" not in everything
    assert b"carla" not in everything


def test_a_report_alone_is_no_case() -> None:
    with pytest.raises(ExportError, match="there is no case to keep"):
        Bundle().export(any_report(), io.BytesIO())


def test_reports_of_other_mails_have_another_shape() -> None:
    one = run_job({"config": fleet("fleet"), "find": {"keywords": ["4jXnlV6MTQzRbF8"]}})
    other = run_job({"config": fleet("fleet"), "find": {"recipient": "nobodyc09@world.lab.test"}})
    assert shape(one) == shape(one) != shape(other)
