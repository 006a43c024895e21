"""Globs and rotated siblings."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailtrace.sources.rotation import expand, siblings


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(paths: list[Path], folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def test_a_plain_path_is_itself_whether_it_is_there_or_not(tmp_path: Path) -> None:
    assert expand("mail.log", tmp_path) == [tmp_path / "mail.log"]
    assert expand(str(tmp_path / "x"), Path("/nowhere")) == [tmp_path / "x"]


def test_the_home_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand("~/mail.log", Path("/x")) == [tmp_path / "mail.log"]


def test_a_glob_is_the_files_it_matches_and_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "mail.log", "mail.log.1", "mail.d/x", ".mail.log.swp", "other")
    assert names(expand("*mail*", tmp_path), tmp_path) == ["mail.log", "mail.log.1"]


def test_two_stars_are_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "mail.log", "a/mail.log", "a/b/mail.log", "a/b/other")
    assert names(expand("**/mail.log", tmp_path), tmp_path) == ["a/b/mail.log", "a/mail.log", "mail.log"]
    assert len(expand("**", tmp_path)) == 4


def test_two_stars_end_in_a_loop_of_links(tmp_path: Path) -> None:
    touch(tmp_path, "a/mail.log")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert names(expand("**/mail.log", tmp_path), tmp_path) == ["a/mail.log"]


def test_a_name_with_brackets_that_exists_is_no_glob(tmp_path: Path) -> None:
    touch(tmp_path, "mail[1].log", "mail1.log")
    assert names(expand("mail[1].log", tmp_path), tmp_path) == ["mail[1].log"]


def test_a_glob_over_an_unreadable_folder_is_nothing(tmp_path: Path) -> None:
    assert expand("none/*/x*", tmp_path) == []


@pytest.mark.parametrize(
    "base,rotated",
    [
        (
            "mail.log",
            [
                "mail.log.1",
                "mail.log.0.bz2",
                "mail.log.2.gz",
                "mail.log.3.xz",
                "mail.log.4.zst",
                "mail.log-20260101",
                "mail.log-20260101.gz",
                "mail.log-2026-01-01.gz",
                "mail.log-20260101-120000.gz",
                "mail.log-20260101-1767225600",
                "mail.log.2026-01-01",
                "mail.log.old",
                "mail-20260101.log",
                "mail.1.log.gz",
            ],
        ),
        ("mainlog", ["mainlog.1.gz", "mainlog.01", "mainlog-20260101", "mainlog-20260101.gz"]),
        ("maillog", ["maillog-20260101", "maillog.20260101-120000.gz"]),
    ],
)
def test_rotated_siblings_are_found_by_name(tmp_path: Path, base: str, rotated: list[str]) -> None:
    strangers = ["mail.log.bak", "mail.log.1.tmp", "xmail.log.1", "mail.logx.1", "mainlogs", "mail.err", "rejectlog.1"]
    touch(tmp_path, base, *rotated, *strangers)
    assert set(names(siblings(tmp_path / base), tmp_path)) == set(rotated)
