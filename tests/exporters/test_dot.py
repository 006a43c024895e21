"""The exports of the graph: DOT, SVG, PNG."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from kit import delivery, hop, mail, report, row

from mailtrace.errors import ExportError
from mailtrace.exporters import make
from mailtrace.graph import MailGraph
from mailtrace.report import Report

NASTY = 'mx1"><script>alert(1)</script>\x1b[2J'


def flow(name: str = "mx1.example.com") -> Report:
    mx, box = hop(name, "8DCB211F769"), hop("box", "9EF8A12BC3D", delivery("a@b", relay="local"))
    return report(mail([mx, box], [row("a@b", "delivered", mx, box)]))


def drawn(form: str, made: Report) -> bytes:
    stream = io.BytesIO()
    make(form).export(made, stream)
    return stream.getvalue()


def test_dot_is_the_graph_as_text() -> None:
    stream = io.StringIO()
    make("dot").export(flow(), stream)
    assert stream.getvalue() == str(MailGraph.of(flow()))
    assert '"mx1.example.com" -> "box" [key=0, label="8DCB211F769"];' in stream.getvalue()


@pytest.mark.needs("dot")
def test_svg_and_png_are_pictures() -> None:
    svg = drawn("svg", flow()).decode()
    assert "</svg>" in svg
    assert "8DCB211F769" in svg
    assert drawn("png", flow()).startswith(b"\x89PNG\r\n")


@pytest.mark.needs("dot")
def test_of_nothing_there_is_an_empty_picture() -> None:
    assert b"</svg>" in drawn("svg", report())


@pytest.mark.needs("dot")
def test_markup_in_a_name_is_text_in_the_picture() -> None:
    svg = drawn("svg", flow(NASTY))
    assert b"<script" not in svg
    assert b"\x1b" not in svg


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_without_graphviz_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"apt install graphviz.*write \.dot"):
        drawn("svg", flow())


def test_what_graphviz_complains_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "echo no such format >&2; exit 1")
    with pytest.raises(ExportError, match="no such format"):
        drawn("png", flow())


def test_graphviz_that_says_nothing_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(ExportError, match="failed"):
        drawn("png", flow())


def test_graphviz_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr("mailtrace.exporters.dot.TIMEOUT", 0.2)
    with pytest.raises(ExportError, match="narrow the search"):
        drawn("png", flow())


def test_a_dot_that_is_no_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dot").write_text("")
    (tmp_path / "dot").chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match="does not start"):
        drawn("svg", flow())
