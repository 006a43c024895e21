"""Every recipe in jobs/: without problems, and right about the demo's fleet, for which it is played."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mailtrace.load.tree import from_yaml

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "jobs"
TESTS = ROOT / "tests" / "recipes"
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
    """A recipe's variables for the demo's fleet, and the recipients that it must then show."""

    variables: dict[str, str]
    recipients: tuple[str, ...]


RECIPES = {
    "where-is-this-mail": Played(
        {"who": "4jXnlV6MTQzRbF8"}, ("anna@alpha.lab.test", "greta@gamma.lab.test", "ghost1@alpha.lab.test")
    ),
    "why-did-it-bounce": Played({"recipient": "nobodyc09@world.lab.test"}, ("nobodyc09@world.lab.test",)),
    "who-got-it": Played({"message_id": "<268289832.b10542.JavaMail.app@app-2c>"}, LIST_MEMBERS),
    "what-did-this-user-send": Played(
        {"sender": "david@delta.lab.test"},
        ("wilma@world.lab.test", "x70a@dead.lab.test"),
    ),
    "is-anything-stuck": Played({}, ("x7a9@stuck.lab.test", "x525@stuck.lab.test")),
    "is-mail-flowing": Played({"recipient": "arno@alpha.lab.test"}, ("arno@alpha.lab.test",)),
    "bounce-in-hand": Played(
        {"eml": str(JOBS / "demo" / "bounce.eml")}, ("ghost1@alpha.lab.test", "wolf@world.lab.test", "1xVITl-000Zz1-0A")
    ),
    "did-the-probe-arrive": Played({"message_id": "472079681.3616de.JavaMail.app@app-1c"}, ("anna@alpha.lab.test",)),
    "what-became-of-these": Played({"keys": str(JOBS / "demo" / "keys.txt")}, ("not found: nobody@elsewhere.example",)),
    "day-graph": Played({}, ()),
}
"""Every recipe but the demo, and those that go on and on."""

FOLLOWING = {"every-mail-a-trace"}
"""Recipes of continuous tracing, which answer a back end: tests/tracing/test_service.py plays them."""


def program(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`mailtrace …`, without a terminal."""
    return subprocess.run(
        [PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def settings(variables: dict[str, str]) -> list[str]:
    """Variables as flags."""
    return [flag for name, value in variables.items() for flag in ("-e", f"{name}={value}")]


def yaml_of(path: Path) -> dict[str, Any]:
    """A YAML file as plain data."""
    tree, problems, _ = from_yaml(path.read_bytes(), str(path))
    assert tree is not None, problems
    data: dict[str, Any] = tree.plain()
    return data


def test_every_recipe_is_played_here() -> None:
    assert {path.stem for path in JOBS.glob("*.y*ml")} == set(RECIPES) | {"demo"} | FOLLOWING


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


def test_every_recipe_has_a_test_of_its_own() -> None:
    tested = [yaml_of(path)["job"] for path in TESTS.glob("*.test.yaml")]
    assert {Path(job).stem for job in tested} == {path.stem for path in JOBS.glob("*.yaml")} - FOLLOWING


def test_every_recipe_answers_right(tmp_path: Path) -> None:
    done = program("test", TESTS, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok    ") == len(list(TESTS.glob("*.test.yaml")))


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
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    if name == "day-graph":
        assert done.stdout.startswith("digraph")
    else:
        assert [recipient for recipient in played.recipients if recipient not in done.stdout] == []


def test_a_probe_that_bounced_fails_its_recipe_and_the_test_results_say_where(tmp_path: Path) -> None:
    config = JOBS / "demo" / "config.yaml"
    variables = EVENING | {"message_id": "cd89d0641fb9239974cb@mail.example.net"}
    recipe = JOBS / "did-the-probe-arrive.yaml"
    done = program("play", recipe, "-c", config, *settings(variables), "--junit", "j.xml", cwd=tmp_path)
    assert done.returncode == 1
    line = next(number for number, text in enumerate(recipe.read_text().splitlines(), 1) if "delivered: all" in text)
    assert f"did-the-probe-arrive.yaml:{line}:" in (tmp_path / "j.xml").read_text()
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()


def test_a_bounce_comes_through_a_pipe_too(tmp_path: Path) -> None:
    with (JOBS / "demo" / "bounce.eml").open("rb") as bounce:
        done = subprocess.run(
            [PROGRAM, "play", JOBS / "bounce-in-hand.yaml", "-c", JOBS / "demo" / "config.yaml", "--utc"],
            cwd=tmp_path,
            stdin=bounce,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "1xVITl-000Zz1-0A" in done.stdout


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


def test_the_recipes_are_listed_with_what_they_answer_and_their_variables(tmp_path: Path) -> None:
    done = program("--jobs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for path in JOBS.glob("*.yaml"):
        assert f"@{path.stem}: " in done.stdout
    for name, played in RECIPES.items():
        told = done.stdout.partition(f"@{name}: ")[2].partition("\n\n")[0]
        assert [variable for variable in played.variables if f"-e {variable}=" not in told] == []
    assert '@why-did-it-bounce: Why did it bounce?\n    "Mail to her comes back."' in done.stdout


def test_a_recipe_is_found_by_its_name_by_every_command(tmp_path: Path) -> None:
    variables = settings(EVENING | RECIPES["why-did-it-bounce"].variables)
    fleet = ("-c", JOBS / "demo" / "config.yaml")
    for command in (["play", "@why-did-it-bounce"], ["trace", "--job", "@why-did-it-bounce"]):
        done = program(*command, *fleet, *variables, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "550 5.1.1 <nobodyc09@world.lab.test>" in " ".join(done.stdout.split())
    done = program("play", "@why-did-it-bounc", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'mailtrace: there is no recipe "why-did-it-bounc"; did you mean "why-did-it-bounce"?\n'


@pytest.mark.parametrize("name", ["", *sorted(RECIPES), "demo"])
def test_a_new_job_is_without_problems_and_says_how_to_play_it(name: str, tmp_path: Path) -> None:
    done = program("new", *([name] if name else []), "-o", "mine.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "mailtrace play mine.yaml" in done.stderr
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert "mailtrace play mine.yaml" in text
    schema = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert schema
    assert Path(schema.group(1)).is_file()
    done = program("lint", "mine.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_new_demo_plays_from_where_it_stands(tmp_path: Path) -> None:
    assert program("new", "demo", cwd=tmp_path).returncode == 0
    assert program("play", "demo.yaml", cwd=tmp_path).returncode == 0


def test_every_key_that_a_new_job_offers_can_be_taken(tmp_path: Path) -> None:
    text = program("new", "-o", "-", cwd=tmp_path).stdout
    assert not [line for line in text.splitlines() if len(line) > 120]
    offers = [line for line in text.splitlines() if re.match(r"  # \w+: ", line)]
    assert len(offers) > 12
    for offer in offers:
        key = offer.split()[1].rstrip(":")
        taken = text.replace(offer, offer.replace("# ", "", 1))
        if key in {"time", "time_range"}:  # about when, instead of between two times
            taken = re.sub(r"^  (since|until): .*$", "", taken, flags=re.MULTILINE)
            taken = re.sub(r"^  # (time: )", r"  \1", taken, flags=re.MULTILINE)
        (tmp_path / "job.yaml").write_text(taken, encoding="utf-8")
        done = program("lint", "job.yaml", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, ""), offer


def test_a_new_job_is_never_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("mine")
    done = program("new", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == 'mailtrace: "job.yaml" is there already; name another file with -o FILE\n'
    assert (tmp_path / "job.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["who-go-it"], 2, 'there is no recipe "who-go-it"; did you mean "who-got-it"?'),
        (["who-got-it", "demo"], 2, "one job at a time"),
        (["-o", ""], 2, "-o needs a file name"),
        (["-o", "/dev/null/x.yaml"], 4, '"/dev/null/x.yaml" cannot be written: file exists'),
    ],
)
def test_what_cannot_be_begun_says_why(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = program("new", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_a_recipe_is_where_the_job_goes(tmp_path: Path) -> None:
    assert program("new", "below/mine.yaml", cwd=tmp_path).returncode == 0
    assert "name: mine\n" in (tmp_path / "below" / "mine.yaml").read_text(encoding="utf-8")
    assert program("new", "@who-got-it", cwd=tmp_path).returncode == 0
    assert (tmp_path / "who-got-it.yaml").is_file()
