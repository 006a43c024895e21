"""`extends:` what a child takes from its parent, and what is wrong with a parent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailtrace.errors import RequestError
from mailtrace.load import lint, load_job, read_document, recipes, schema
from mailtrace.load.parents import PATHS

FLEET = "config: {method: files, files_config: {hosts: {mx1: {log_files: [mx1.log]}}}}\n"


def write(folder: Path, **files: str) -> None:
    """Files by their name, `_` for `/`, without `.yaml`."""
    for name, text in files.items():
        path = folder / f"{name.replace('_', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def said(path: Path) -> list[str]:
    """The problems of a job, each without its excerpt."""
    return [problem.text for problem in lint([path])]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_mappings_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    write(
        tmp_path,
        parent=FLEET + "vars: {a: x, b: y}\nwalk: {max_hops: 3, max_age: 1d}\nexport: [{json: {}}, {dot: {}}]\n",
        child="extends: parent.yaml\nvars: {b: z}\nwalk: {max_hops: 5}\n"
        "export: [{timeline: {}}]\nfind: {keywords: ['${a}${b}']}\n",
    )
    job = load_job("child.yaml")
    assert job.find.keywords == ("xz",)
    assert (job.walk.max_hops, job.walk.max_age) == (5, 86400)
    assert [export.name for export in job.export] == ["timeline"]


def test_a_grandparent_counts_and_the_nearest_leads(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=f"{FLEET}name: a\nwalk: {{max_hops: 1, max_age: 1d}}\n",
        b="extends: a.yaml\nname: b\nwalk: {max_hops: 2}\n",
        c="extends: b.yaml\n",
    )
    job = load_job("c.yaml")
    assert (job.name, job.walk.max_hops, job.walk.max_age) == ("b", 2, 86400)


def test_null_unsets_what_the_parent_has(tmp_path: Path) -> None:
    write(tmp_path, parent=f"{FLEET}expect: [{{delivered: all}}]\n", child="extends: parent.yaml\nexpect: null\n")
    assert load_job("child.yaml").expect == ()


def test_paths_of_the_parent_are_relative_to_the_parent(tmp_path: Path) -> None:
    write(tmp_path, far_fleet="method: files\nfiles_config: {hosts: {mx1: {log_files: [mx1.log]}}}\n")
    write(tmp_path, far_parent="config: fleet.yaml\nsource: [{files: {log_files: [own.log, journal, '-']}}]\n")
    write(tmp_path, near_child="extends: ../far/parent.yaml\n")
    job = load_job("near/child.yaml")
    assert job.config.path == Path("far/fleet.yaml")
    (source,) = job.source
    assert source.logs[0].log_files == (str(tmp_path / "far" / "own.log"), "journal", "-")  # type: ignore[union-attr]


def test_a_recipe_is_extended_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, child=f"extends: '@why-did-it-bounce'\n{FLEET}vars: {{recipient: anna@example.com}}\n")
    assert load_job("child.yaml").find.recipient == "anna@example.com"


def test_a_recipe_is_played_by_its_name_from_python_too() -> None:
    job = load_job("@who-got-it", config={"method": "files", "files_config": {"hosts": {"a": {"log_files": ["a"]}}}})
    assert job.name == "Who got it?"
    with pytest.raises(RequestError, match=r'there is no recipe "who-go-it"; did you mean "who-got-it"\?'):
        load_job("@who-go-it")


def test_the_parent_may_be_named_by_a_variable(tmp_path: Path) -> None:
    write(tmp_path, parent=FLEET + "name: parent\n", child="vars: {which: parent}\nextends: ${which}.yaml\n")
    assert load_job("child.yaml").name == "parent"


def test_a_job_from_python_may_extend_a_file(tmp_path: Path) -> None:
    write(tmp_path, parent=FLEET + "walk: {max_hops: 7}\n")
    assert load_job({"extends": "parent.yaml"}).walk.max_hops == 7


def test_a_problem_of_the_parent_names_its_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, far_parent="version: 1\nwalk: {max_hop: 3}\n")
    write(tmp_path, child=f"extends: far/parent.yaml\n{FLEET}fnd: {{}}\n")
    assert said(Path("child.yaml")) == [
        'child.yaml:3:1: "fnd" is not a key here; did you mean "find"?',
        'far/parent.yaml:2:8: "max_hop" is not a key of "walk"; did you mean "max_hops"?',
    ]


def test_a_secret_in_the_parent_is_a_problem_of_the_parent(tmp_path: Path) -> None:
    write(tmp_path, parent="config: {ssh_config: {password: hunter22}}\n", child="extends: parent.yaml\n")
    problems = said(Path("child.yaml"))
    assert any(problem.startswith("parent.yaml:1:") and "a secret does not belong" in problem for problem in problems)
    assert "hunter22" not in " ".join(problems)


@pytest.mark.parametrize(
    "extends, message",
    [
        ("nope.yaml", 'the parent "nope.yaml": cannot be read: no such file or directory; the path is relative'),
        ("/nope.yaml", 'the parent "/nope.yaml": cannot be read: no such file or directory'),
        (".", 'the parent ".": cannot be read: is a directory'),
        ("'@who-got'", 'there is no recipe "who-got"; did you mean "who-got-it"?'),
        ("'@../demo'", 'there is no recipe "../demo"'),
        ("[a.yaml]", '"extends" is the path of one job'),
        ("{}", '"extends" is the path of one job'),
        ("${x}", "there is no variable x"),
        ("empty.yaml", 'the parent "empty.yaml": the file is empty'),
        ("list.yaml", 'the parent "list.yaml" is no mapping of keys to values'),
        ("child.yaml", "the job extends itself: child.yaml → child.yaml"),
        ("back.yaml", "the job extends itself: child.yaml → back.yaml → child.yaml"),
    ],
)
def test_a_wrong_parent_is_told_at_its_line(tmp_path: Path, extends: str, message: str) -> None:
    write(tmp_path, empty="", list="[1]\n", back="extends: child.yaml\n")
    write(tmp_path, child=f"version: 1\nextends: {extends}\n{FLEET}")
    (problem,) = said(Path("child.yaml"))
    file = "back.yaml:1:10: " if extends == "back.yaml" else "child.yaml:2:10: "
    assert problem.startswith(file + message)


def test_a_parent_that_is_no_yaml_is_told_with_its_own_line(tmp_path: Path) -> None:
    write(tmp_path, parent="find: {keywords: [a\n", child=f"extends: parent.yaml\n{FLEET}")
    assert any(problem.startswith("parent.yaml:") and "YAML" in problem for problem in said(Path("child.yaml")))


def test_too_many_generations_end(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path, **{f"j{number}": f"extends: j{number + 1}.yaml\n"})
    assert any("more than 20 jobs extend one another" in problem for problem in said(Path("j0.yaml")))


def test_an_endless_parent_is_cut(tmp_path: Path) -> None:
    write(tmp_path, child=f"extends: /dev/zero\n{FLEET}")
    assert any("too large" in problem for problem in said(Path("child.yaml")))


def test_a_merged_job_can_be_read_as_one_document(tmp_path: Path) -> None:
    write(
        tmp_path,
        far_parent="config: fleet.yaml\nwalk: {max_hops: 3}\n",
        child="extends: far/parent.yaml\nkind: graph\n",
    )
    assert read_document("child.yaml").plain() == {
        "kind": "graph",
        "config": str(tmp_path / "far" / "fleet.yaml"),
        "walk": {"max_hops": 3},
    }


def test_every_recipe_can_be_extended() -> None:
    assert "demo" in recipes()
    for name in recipes():
        assert read_document_of(name).get("version") is not None


def read_document_of(name: str) -> Any:
    path = Path(f"{name}-child.yaml")
    path.write_text(f"extends: '@{name}'\n")
    return read_document(path)


def test_the_paths_that_follow_their_file_are_keys_of_the_schemas() -> None:
    from mailtrace.keys import keys

    known = {key.path for key in keys("job")} | {f"config.{key.path}" for key in keys("config")}
    wanted = {".".join(place).replace("source.*", "source").replace("*", "NAME") for place in PATHS}
    assert wanted - known == set()
    assert "extends" in schema("job")["properties"]
