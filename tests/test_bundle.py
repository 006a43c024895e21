"""Opening a case bundle from anybody: it traces what its sender saw, or is refused with the reason."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from mailtrace import bundle
from mailtrace.bundle import open_bundle
from mailtrace.errors import RequestError

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "mailtrace"
FLEET = ROOT / "jobs" / "demo" / "config.yaml"
JOB = "version: 1\nfind: {keywords: [a]}\n"
CONFIG = "method: files\nfiles_config: {hosts: {mx1: {log_files: [logs/mx1.log]}}}\n"
GOOD = {"job.yaml": JOB, "config.yaml": CONFIG, "logs/mx1.log": "x\n"}


def packed(path: Path, files: dict[str, str], *, sums: str | None = None) -> str:
    """A bundle of these files, with right checksums unless others are given."""
    text = "".join(f"{sha256(content.encode()).hexdigest()}  {name}\n" for name, content in files.items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("SHA256SUMS", text if sums is None else sums)
    return str(path)


def refused(path: str, folder: Path) -> str:
    inside = folder / "inside"
    inside.mkdir()
    with pytest.raises(RequestError) as error:
        open_bundle(path, inside)
    return str(error.value)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *arguments], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def test_what_one_writes_another_traces(tmp_path: Path) -> None:
    asked = ("-c", str(FLEET), "--queue-id", "4jXnlV6MTQzRbF8")
    done = run("trace", *asked, "-o", "case.zip", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = run("trace", "--bundle", "case.zip", "--utc", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    for queue_id in ("4jXnlV6MTQzRbF8", "DBC7C2FCB75", "E85EA2FCB77", "1xVITm-00000t-36"):
        assert queue_id in told.stdout
    assert "550 5.1.1" in " ".join(told.stdout.split())
    assert "lab" not in told.stdout
    own = run("trace", *asked, "--utc", cwd=tmp_path)
    marks = [[line.count(mark) for mark in "✓✗…"] for line in own.stdout.splitlines() if "──" in line]
    assert marks == [[line.count(mark) for mark in "✓✗…"] for line in told.stdout.splitlines() if "──" in line]


def test_a_bundle_is_drawn_and_asked_otherwise_like_any_job(tmp_path: Path) -> None:
    run("trace", "-c", str(FLEET), "--queue-id", "4jXnlV6MTQzRbF8", "-o", "case.zip", cwd=tmp_path)
    assert run("graph", "--bundle", "case.zip", cwd=tmp_path).stdout.startswith("digraph")
    none = run("trace", "--bundle", "case.zip", "--queue-id", "4czzCb17p8z1VsJ0", cwd=tmp_path)
    assert none.returncode == 1
    both = run("trace", "--bundle", "case.zip", "-c", "x.yaml", cwd=tmp_path)
    assert both.returncode == 2
    assert "--bundle and --config-path both say what is traced" in both.stderr


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    run("trace", "-c", str(FLEET), "--queue-id", "4jXnlV6MTQzRbF8", "-o", "case.zip", cwd=tmp_path)
    assert run("trace", "--bundle", "case.zip", cwd=tmp_path).returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_plain_bundle_is_opened(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    job = open_bundle(packed(tmp_path / "a.zip", GOOD), tmp_path / "inside")
    assert job == tmp_path / "inside" / "job.yaml"


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "logs/../../evil", "logs/.hidden", "logs/a/b.log", "job.yaml/x", "evil.py"],
)
def test_a_file_that_is_none_of_a_bundle_is_refused(name: str, tmp_path: Path) -> None:
    said = refused(packed(tmp_path / "a.zip", {**GOOD, name: "x"}), tmp_path)
    assert "is no file of a case bundle" in said
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"job.yaml": ""}, "job.yaml: the file is empty"),
        ({"job.yaml": "find: ["}, "job.yaml: YAML"),
        ({"job.yaml": "- 1\n"}, "job.yaml: this is no case bundle"),
        ({"job.yaml": JOB + "export: [{json: {to: /tmp/x}}]\n"}, 'job.yaml: a case bundle has no "export"'),
        ({"job.yaml": JOB + "extends: /etc/passwd\n"}, 'job.yaml: a case bundle has no "extends"'),
        ({"job.yaml": JOB + "source: [{files: {log_files: [/etc/passwd]}}]\n"}, 'a case bundle has no "source"'),
        ({"job.yaml": "find: {keys_from: /etc/passwd}\n"}, 'a case bundle has no "keys_from"'),
        ({"job.yaml": "find: [a]\n"}, "job.yaml: this is no case bundle"),
        ({"config.yaml": "method: ssh\n"}, "the logs of a case bundle are files"),
        ({"config.yaml": CONFIG + "ssh_config: {username: x}\n"}, 'a case bundle has no "ssh_config"'),
        ({"config.yaml": CONFIG.replace("logs/mx1.log", "/etc/passwd")}, '"/etc/passwd" is no log of the bundle'),
        ({"config.yaml": CONFIG.replace("logs/mx1.log", "logs/../../x")}, "is no log of the bundle"),
        ({"config.yaml": CONFIG.replace("logs/mx1.log", "'${env:HOME}/x'")}, "is no log of the bundle"),
        ({"config.yaml": CONFIG.replace("[logs/mx1.log]", "/etc/passwd")}, "is no log of the bundle"),
        ({"config.yaml": "method: files\nfiles_config: {host_config: {log_files: '*'}}\n"}, "is no log of the bundle"),
        ({"config.yaml": "method: files\nfiles_config: {hosts: [a]}\n"}, "config.yaml: this is no case bundle"),
    ],
)
def test_a_job_or_config_that_says_more_is_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    assert message in refused(packed(tmp_path / "a.zip", {**GOOD, **change}), tmp_path)


def test_a_variable_in_a_bundle_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2hunter2")
    job = "version: 1\nfind: {keywords: ['${env:SECRET}']}\n"
    done = run("trace", "--bundle", packed(tmp_path / "a.zip", {**GOOD, "job.yaml": job}), cwd=tmp_path)
    assert done.returncode in (1, 3)
    assert "hunter2" not in done.stdout + done.stderr


def test_a_bundle_that_was_changed_is_refused(tmp_path: Path) -> None:
    assert "was changed, or is damaged" in refused(packed(tmp_path / "a.zip", GOOD, sums=""), tmp_path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    said = refused(packed(tmp_path / "a.zip", {"job.yaml": JOB}), tmp_path)
    assert "config.yaml is missing: this is no case bundle" in said


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_zip_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert str(path) in refused(str(path), tmp_path)


def test_a_cut_zip_is_refused(tmp_path: Path) -> None:
    path = Path(packed(tmp_path / "a.zip", {**GOOD, "logs/mx1.log": "x" * 100_000}))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be opened" in refused(str(path), tmp_path)


def test_a_zip_bomb_is_stopped_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SMALL", 1 << 20)
    path = packed(tmp_path / "a.zip", {**GOOD, "logs/mx1.log": "0" * (8 << 20)})
    assert "too much for a case bundle" in refused(path, tmp_path)
    assert sum(file.stat().st_size for file in (tmp_path / "inside").rglob("*") if file.is_file()) <= 2 << 20


def test_a_zip_that_lies_about_its_size_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1 << 20)
    path = packed(tmp_path / "a.zip", {**GOOD, "logs/mx1.log": "0123456789abcdef" * (1 << 17)})
    assert "too much for a case bundle" in refused(path, tmp_path)


def test_too_many_files_and_one_name_twice_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(packed(tmp_path / "a.zip", GOOD))
    twice = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("logs/mx1.log", "y")
    path.write_bytes(twice.getvalue())
    assert "is there twice" in refused(str(path), tmp_path)
    (tmp_path / "b").mkdir()
    monkeypatch.setattr(bundle, "MOST_FILES", 3)
    assert "files; a case bundle has 3 at most" in refused(packed(tmp_path / "b.zip", GOOD), tmp_path / "b")


def test_a_case_without_a_line_is_a_bundle_too(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text("Nov 23 01:04:22 mx2 postfix/smtpd[107]: connect from x[192.0.2.1]\n")
    done = run("trace", "--log", "mail.log", "-k", "nobody", "-o", "case.zip", cwd=tmp_path)
    assert done.returncode == 1
    again = run("trace", "--bundle", "case.zip", cwd=tmp_path)
    assert "No mail found." in again.stdout
