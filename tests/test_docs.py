"""The manual: complete, and true to the program it describes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mailtrace import cli, errors
from mailtrace.manual import _anchor, guide

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "mailtrace"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = (ROOT / "MANUAL.md").read_text(encoding="utf-8")
GUIDE = guide()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = sorted(cli.namespace.tasks)


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def printed(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What the program says."""
    return subprocess.run(
        [PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def flags_in(text: str) -> set[str]:
    """The long flags that a text speaks of."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+\b", text))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"| `mailtrace {name}" in README


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 150
    assert README.count("![") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_explains_every_flag(name: str) -> None:
    done = printed(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for argument in cli.namespace.tasks[name].get_arguments():
        assert argument.help, argument.name
        for spelled in argument.names:
            assert ("--" if len(spelled) > 1 else "-") + spelled in done.stdout


def test_the_manual_speaks_of_no_flag_that_is_not_there() -> None:
    known = {f"--{name}" for task in cli.namespace.tasks.values() for arg in task.get_arguments() for name in arg.names}
    assert flags_in(README + GUIDE) - known == {"--list", "--help", "--jobs"}


def test_every_exit_code_is_in_the_manual() -> None:
    table = MANUAL[MANUAL.index("| exit code |") :].partition("\n\n")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    raised = {
        value.exit_code for value in vars(errors).values() if isinstance(value, type) and hasattr(value, "exit_code")
    }
    assert told == {0, 1, 2, 3, 4, 70, 130, 143}
    assert raised <= told


def test_every_recipe_is_in_the_manual() -> None:
    assert [path.name for path in (ROOT / "jobs").glob("*.yaml") if f"](jobs/{path.name})" not in README] == []


def test_every_outcome_and_certainty_is_explained() -> None:
    from mailtrace.model import Certainty

    words = ["delivered", "relayed", "deferred", "bounced", "expired", "rejected", "discarded", "held"]
    words += ["quarantined", "in_transit", "unknown", *(certainty.value for certainty in Certainty)]
    rows = " ".join(re.findall(r"^\| ([a-z_, ]+) \|", MANUAL, flags=re.MULTILINE))
    assert [word for word in words if word not in re.split(r"[ ,]+", rows)] == []


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README + GUIDE + CONTRIBUTING + CHANGELOG))
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_a_link_into_the_manual_leads_to_a_heading() -> None:
    heads = {_anchor(head) for head in re.findall(r"^#+ (.*)$", MANUAL, re.MULTILINE)}
    links = set(re.findall(r"\]\(MANUAL.md#([^)]*)\)", README))
    assert links
    assert links - heads == set()


def test_the_picture_of_the_demo_is_what_the_demo_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"<!-- demo -->\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert found
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    done = printed("play", "jobs/demo.yaml", "--utc")
    assert (done.returncode, done.stderr) == (0, "")
    assert found.group(1) == done.stdout.partition("\n── Mail 2 of ")[0], "invoke picture writes it anew"
    assert "── Mail 2 of 3" in done.stdout


@pytest.mark.needs("dot")
def test_the_drawing_of_the_demo_shows_what_the_demo_draws(tmp_path: Path) -> None:
    done = printed("play", str(ROOT / "jobs" / "demo.yaml"), "--set", "export=[{svg: {to: demo.svg}}]", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")

    def words(path: Path) -> list[str]:
        # Where Graphviz puts them is its version's business.
        return sorted(re.findall(r"<text [^>]*>([^<]*)</text>", path.read_text(encoding="utf-8")))

    assert words(ROOT / "jobs" / "demo" / "demo.svg") == words(tmp_path / "demo.svg"), "invoke picture draws it anew"


def test_the_job_at_the_top_is_the_demo() -> None:
    first = blocks("yaml")[0].splitlines()
    demo = [line.partition(" #")[0].rstrip() for line in (ROOT / "jobs" / "demo.yaml").read_text().splitlines()]
    assert [line for line in first if line] == [
        line for line in demo[: demo.index("export:")] if line and not line.startswith("#")
    ]


@pytest.mark.parametrize("text", blocks("yaml", README + GUIDE))
def test_jobs_and_configs_of_the_manual_are_right(text: str, tmp_path: Path) -> None:
    (tmp_path / "demo").symlink_to(ROOT / "jobs" / "demo")
    (tmp_path / "config.yaml").write_text((ROOT / "jobs" / "demo" / "config.yaml").read_text())
    path = tmp_path / ("job.yaml" if text.startswith(("version", "# yaml")) else "fleet.yaml")
    path.write_text(text)
    done = printed("lint", str(path), cwd=tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("text", blocks("python", GUIDE))
def test_scripts_of_the_manual_use_what_is_there(text: str) -> None:
    import mailtrace

    names = [
        alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert names
    assert [name for name in names if name not in mailtrace.__all__] == []


def test_ci_runs_the_command_of_the_manual() -> None:
    (command,) = (text.strip() for text in blocks("sh") if "invoke test" in text)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"\n{command} </dev/null\n" in ci
    assert "MAILTRACE_REQUIRE=all" in ci
    assert "invoke check" in ci


def test_nothing_is_installed_from_a_registry_under_our_name() -> None:
    assert not re.search(r"install (-\S+ )*mailtrace\b", README + GUIDE + CONTRIBUTING)


def test_the_first_command_installs_the_checkout_and_plays_the_demo() -> None:
    first = blocks("sh")[0]
    assert first.count("\n") == 1
    assert "pip install -q -e ." in first
    assert "mailtrace play jobs/demo.yaml" in first


def test_contributing_has_five_commands_that_exist() -> None:
    (text,) = blocks("sh", CONTRIBUTING)
    lines = text.splitlines()
    assert len(lines) == 5
    listed = subprocess.run(
        [sys.executable, "-m", "invoke", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    tasks = {line.split()[0] for line in listed.splitlines() if line.startswith("  ")}
    assert set(re.findall(r"invoke (\w+) ", text)) <= tasks
    assert set(COMMANDS) <= tasks


@pytest.mark.needs("dot")
def test_every_ending_of_the_manual_can_be_written(tmp_path: Path) -> None:
    (line,) = (line for text in blocks("sh", GUIDE) for line in text.splitlines() if "by ending" in line)
    endings = re.findall(r"\.([a-z]{3,4})\b", line.partition("-o way")[2])
    assert len(endings) > 3
    config = str(ROOT / "jobs" / "demo" / "config.yaml")
    for ending in endings:
        done = printed("trace", "-c", config, "--queue-id", "4jXnlV6MTQzRbF8", "-o", f"way.{ending}", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (tmp_path / f"way.{ending}").stat().st_size > 100


@pytest.mark.parametrize("name", ["bench", "check", "fmt", "lab", "manual", "picture", "test"])
def test_a_task_that_is_asked_for_help_does_nothing_else(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "--dry", name, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


def test_the_changelog_keeps_its_form() -> None:
    assert CHANGELOG.startswith("# Changelog\n")
    heads = re.findall(r"^## (.*)$", CHANGELOG, flags=re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    assert [head for head in heads[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head)] == []
    dates = [head[-10:] for head in heads[1:]]
    assert dates == sorted(dates, reverse=True)
    kinds = set(re.findall(r"^### (.*)$", CHANGELOG, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    entries = re.findall(r"^- (.*)$", CHANGELOG, flags=re.MULTILINE)
    assert entries
    assert [entry for entry in entries if not entry.endswith(".")] == []
