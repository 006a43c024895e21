"""Every recipe in jobs/: without problems, and right about the demo's fleet, for which it is played."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "jobs"
PROGRAM = Path(sys.executable).parent / "mailtrace"
EVENING = {"since": "2026-11-23T01:04:00Z", "until": "2026-11-23T01:06:00Z"}

LIST_MEMBERS = (
    "agnes@alpha.lab.test",
    "april@alpha.lab.test",
    "axel@alpha.lab.test",
    "ben@beta.lab.test",
    "bianca@beta.lab.test",
)


class Played(NamedTuple):
    """A recipe's variables for the demo's fleet, and what it must then answer."""

    variables: dict[str, str]
    exit_code: int
    outcomes: dict[str, str]  # final recipient → outcome; more may be found
    mails: int | None = None


RECIPES = {
    "where-is-this-mail": Played(
        {"who": "4jXnlV6MTQzRbF8"},
        0,
        {
            "anna@alpha.lab.test": "delivered",
            "greta@gamma.lab.test": "delivered",
            "ghost1@alpha.lab.test": "bounced",
        },
    ),
    "why-did-it-bounce": Played({"recipient": "nobodyc09@world.lab.test"}, 0, {"nobodyc09@world.lab.test": "bounced"}),
    "who-got-it": Played(
        {"message_id": "<268289832.b10542.JavaMail.app@app-2c>"}, 0, dict.fromkeys(LIST_MEMBERS, "delivered"), mails=1
    ),
    "what-did-this-user-send": Played(
        {"sender": "david@delta.lab.test"},
        0,
        {
            "grey+glxe5087@world.lab.test": "delivered",
            "wendy@world.lab.test": "delivered",
            "wilma@world.lab.test": "delivered",
            "x70a@dead.lab.test": "expired",
        },
    ),
    "is-anything-stuck": Played({}, 0, {"x7a9@stuck.lab.test": "deferred", "x525@stuck.lab.test": "deferred"}),
    "is-mail-flowing": Played(
        {"recipient": "arno@alpha.lab.test"},
        0,
        {"arno@alpha.lab.test": "delivered"},
        mails=2,
    ),
    "day-graph": Played({}, 0, {"adam@alpha.lab.test": "delivered"}),
}
"""Every recipe but the demo."""


def program(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`mailtrace …`, without a terminal."""
    return subprocess.run(
        [PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def settings(variables: dict[str, str]) -> list[str]:
    """Variables as flags."""
    return [flag for name, value in variables.items() for flag in ("-e", f"{name}={value}")]


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """Final recipient → outcome, over all mails."""
    return {row["recipient"]: row["outcome"] for mail in report["mails"] for row in mail["recipients"]}


def test_every_recipe_is_played_here() -> None:
    assert {path.stem for path in JOBS.glob("*.y*ml")} == set(RECIPES) | {"demo"}


def test_every_recipe_is_without_problems(tmp_path: Path) -> None:
    done = program("lint", JOBS, ROOT / "config.yaml.sample", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_editor_knows_a_recipe_by_its_first_line(path: Path) -> None:
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text(encoding="utf-8"))
    assert found
    assert (path.parent / found.group(1)).resolve() == ROOT / "schemas" / "job.schema.json"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_says_in_words_what_it_answers_and_how_to_play_it(name: str) -> None:
    text = (JOBS / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"mailtrace play jobs/{name}.yaml" in text


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_answers_right(name: str, tmp_path: Path) -> None:
    played = RECIPES[name]
    done = program(
        "play",
        JOBS / f"{name}.yaml",
        "-c",
        JOBS / "demo" / "config.yaml",
        *settings(EVENING | played.variables),
        "--set",
        "export=[{json: {to: report.json}}]",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (played.exit_code, ""), done.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    found = outcomes(report)
    assert {name: found.get(name) for name in played.outcomes} == played.outcomes
    assert played.mails in {None, len(report["mails"])}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_shows_its_answer_on_stdout(name: str, tmp_path: Path) -> None:
    played = RECIPES[name]
    done = program(
        "play",
        JOBS / f"{name}.yaml",
        "-c",
        JOBS / "demo" / "config.yaml",
        *settings(EVENING | played.variables),
        cwd=tmp_path,
    )
    assert done.returncode == played.exit_code, done.stderr
    assert "\x1b" not in done.stdout
    if name == "day-graph":
        assert done.stdout.startswith("digraph")
    else:
        assert [recipient for recipient in played.outcomes if recipient not in done.stdout] == []


def test_mail_that_does_not_flow_fails_its_recipe(tmp_path: Path) -> None:
    variables = EVENING | {"recipient": "ghost1@alpha.lab.test"}
    config = JOBS / "demo" / "config.yaml"
    done = program("play", JOBS / "is-mail-flowing.yaml", "-c", config, *settings(variables), cwd=tmp_path)
    assert done.returncode == 1
    assert "delivered: all" in done.stdout + done.stderr


def demo(folder: Path) -> dict[str, Any]:
    """The demo's report, played in a folder."""
    done = program("play", JOBS / "demo.yaml", "--set", "export=[{json: {to: demo.json}}]", cwd=folder)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    return report


def test_the_demo_tells_all_it_promises_from_any_folder(tmp_path: Path) -> None:
    report = demo(tmp_path)
    rows = {row["recipient"]: row for mail in report["mails"] for row in mail["recipients"]}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "anna@alpha.lab.test": "delivered",
        "greta@gamma.lab.test": "delivered",
        "ghost1@alpha.lab.test": "bounced",
        "wolf@world.lab.test": "delivered",
        "albert@alpha.lab.test": "delivered",
        "bianca+glm65713@beta.lab.test": "delivered",
    }
    hosts = {name: [step["host"] for step in row["path"]] for name, row in rows.items()}
    assert hosts["greta@gamma.lab.test"] == ["mx2", "filter1", "filter1", "relay1", "exim1"]
    assert hosts["bianca+glm65713@beta.lab.test"] == ["mx1", "filter1", "filter1", "relay1", "mailbox2"]
    assert rows["bianca+glm65713@beta.lab.test"]["attempts"] == 2
    assert {link["kind"] for mail in report["mails"] for link in mail["links"]} >= {"relayed", "reinjected", "bounced"}


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns"])
def test_the_demo_tells_the_same_in_any_zone(zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    here = demo(tmp_path)
    monkeypatch.setenv("TZ", zone)
    assert demo(tmp_path)["mails"] == here["mails"]


def test_the_demo_fits_a_terminal_of_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = program("play", JOBS / "demo.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
