"""`mailtrace test`: jobs played over recorded lines, and the report held against the parts that a test wants of it.

Of a mapping only the keys that the test has are compared. A list must have just the items wanted, in order; written as
`{includes: […], count: N}` it must have these among others, or so many. `{contains: TEXT}` stands for any text that
has it. Exports are not run.
"""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mailtrace.load import lintable, load_test, to_yaml
from mailtrace.load.jobtest import ENDINGS
from mailtrace.problem import Problem
from mailtrace.run import gather

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailtrace.load.jobtest import JobTest


class Result(NamedTuple):
    """How one test came out: `difference` is "" where all is as wanted, `problems` say why it could not be run."""

    path: Path
    difference: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> tuple[int, str]:
        """Exit code and what to say: passed, not as wanted, or wrong."""
        if self.problems:
            return 2, "\n".join([f"wrong {self.path}", *map(str, self.problems)])
        return (1, f"FAIL  {self.path}\n{self.difference}") if self.difference else (0, f"ok    {self.path}")


def find_tests(paths: Iterable[str]) -> list[Path]:
    """The tests that paths name: files as they are, of folders all NAME.test.yaml below them."""
    found: list[Path] = []
    for path in paths:
        files = lintable(path)
        found += files if files == [Path(path)] else [file for file in files if file.name.endswith(ENDINGS)]
    return found


def run_tests(paths: Iterable[Path]) -> Iterator[Result]:
    """Run tests, one after the other."""
    for path in paths:
        test, problems = load_test(path)
        yield Result(path, problems=tuple(problems)) if test is None else Result(path, difference(test))


def difference(test: JobTest) -> str:
    """Play the job of a test; "" where the report is as wanted, else a diff of the parts it wants."""
    report = gather(test.job)
    wanted: dict[str, Any] = {"exit_code": test.exit_code, "report": test.report}
    seen = {"exit_code": report.exit_code, "report": report.to_dict()}
    shown = seen_as(wanted, seen)
    if shown == wanted:
        return ""
    lines = unified_diff(_lines(wanted), _lines(shown), "wanted", "seen", lineterm="", n=4)
    missing = [f"{item.host}: {item.problem}" for item in report.coverage if item.problem]
    return "\n".join([*lines, *missing])


def _lines(document: dict[str, Any]) -> list[str]:
    return to_yaml(document).splitlines()


class _Nothing:
    """What is seen of a key that is not there."""


NOTHING = _Nothing()


def seen_as(wanted: Any, seen: Any) -> Any:
    """What was seen, in the form of what is wanted: the same as wanted exactly where all is as it should be."""
    if isinstance(seen, list) and isinstance(wanted, dict) and wanted:
        return _some(wanted, seen)
    if isinstance(seen, str) and isinstance(wanted, dict) and set(wanted) == {"contains"}:
        return wanted if str(wanted["contains"]) in seen else seen
    if isinstance(seen, dict) and isinstance(wanted, dict):
        own = {key: seen_as(value, seen.get(key, NOTHING)) for key, value in wanted.items()}
        return {key: value for key, value in own.items() if value is not NOTHING}
    if isinstance(seen, list) and isinstance(wanted, list):
        return _all(wanted, seen)
    return seen


def _all(wanted: list[Any], seen: list[Any]) -> list[Any]:
    """A list of which every item is wanted; what is too much is shown in the form of the last one wanted."""
    forms = [*wanted, *(wanted[-1:] or [NOTHING]) * len(seen)]
    return [seen_as(form, item) for form, item in zip(forms, seen, strict=False)]


def _some(wanted: dict[str, Any], seen: list[Any]) -> dict[str, Any]:
    """A list of which some items are wanted, or their number. An item that is not there is shown as the likest one."""
    out: dict[str, Any] = {}
    for key, value in wanted.items():
        if key == "count":
            out[key] = len(seen)
        elif key == "includes":
            out[key] = _among(value if isinstance(value, list) else [value], seen)
    return out


def _among(wanted: list[Any], seen: list[Any]) -> list[Any]:
    left = list(seen)
    found: dict[int, Any] = {}
    for number, item in enumerate(wanted):
        hit = next((other for other in left if seen_as(item, other) == item), NOTHING)
        if hit is not NOTHING:
            left.remove(hit)
            found[number] = item
    for number, item in enumerate(wanted):
        if number not in found and left:
            likest = max(left, key=lambda other: _likeness(item, seen_as(item, other)))
            left.remove(likest)
            found[number] = seen_as(item, likest)
    return [found[number] for number in sorted(found)]


def _likeness(wanted: Any, shown: Any) -> int:
    """How many values are the same."""
    if isinstance(wanted, dict) and isinstance(shown, dict):
        return sum(_likeness(value, shown.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(shown, list):
        return sum(_likeness(one, other) for one, other in zip(wanted, shown, strict=False))
    return int(wanted == shown)
