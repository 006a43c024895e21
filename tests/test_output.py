"""Where an answer goes: files that are replaced whole, devices, streams, readers that have gone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit import demo

from mailtrace import run_job
from mailtrace.errors import ExportError
from mailtrace.output import writing


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    target, link = tmp_path / "x.json", tmp_path / "link.json"
    target.write_text("before")
    target.chmod(0o600)
    link.symlink_to(target)
    run_job(demo(export=[{"json": {"to": str(link)}}]))
    assert link.is_symlink()
    assert json.loads(target.read_text())
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "x.json"]


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailtrace.exporters.json import Json

    def half(_self: object, _report: object, stream: io.TextIOBase) -> None:
        stream.write("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Json, "export", half)
    (tmp_path / "x.json").write_text("before")
    report = run_job(demo(export=[{"json": {"to": str(tmp_path / "x.json")}}]))
    assert report.exit_code == 4
    assert "No space left" in report.warnings[-1].message
    assert (tmp_path / "x.json").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_device_is_written_as_it_is() -> None:
    assert run_job(demo(export=[{"json": {"to": "/dev/null"}}])).exit_code == 0
    assert run_job(demo(export=[{"json": {"to": "/dev/full"}}])).exit_code == 4
    assert not Path("/dev/null").is_file()


@pytest.mark.needs("dot")
def test_a_picture_goes_to_the_bytes_of_a_stream() -> None:
    raw = io.BytesIO()
    run_job(demo(kind="graph", export=[{"png": {}}]), stdout=io.TextIOWrapper(raw))
    assert raw.getvalue().startswith(b"\x89PNG")
    report = run_job(demo(kind="graph", export=[{"png": {}}]), stdout=io.StringIO())
    assert report.exit_code == ExportError.exit_code


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    code = (
        "import sys; from mailtrace import run_job; import json\n"
        "report = run_job(json.loads(sys.argv[1]))\n"
        "print(report.exit_code, file=sys.stderr)"
    )
    job = json.dumps(demo(export=[{"json": {}}]))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, job], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "0\n")


def test_a_text_that_cannot_be_written_is_an_export_that_failed(tmp_path: Path) -> None:
    with writing(str(tmp_path / "new" / "x.txt")) as stream:
        stream.write("text")
    assert (tmp_path / "new" / "x.txt").read_text() == "text"
    with pytest.raises(ExportError, match="it is a directory"), writing(str(tmp_path)):
        pass
