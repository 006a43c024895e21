"""The public face: what `import mailtrace` offers, and that it is listed, importable and documented."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
import typing

import pytest

import mailtrace

SEED = {
    "MailGraph",
    "load_config",
    "query_logs_by_keywords",
    "select_aggregator",
    "trace_mail_flow",
    "trace_mail_flow_to_file",
}
"""What scripts written for the first mailtrace import; they must go on working."""

OURS = {"Report", "lint", "load_job", "run_job"}


def test_the_list_of_names_is_sorted_and_has_no_name_twice() -> None:
    assert list(mailtrace.__all__) == sorted(set(mailtrace.__all__))


def test_the_names_of_the_manual_are_there() -> None:
    assert set(mailtrace.__all__) >= SEED | OURS


def test_nothing_is_public_that_is_not_listed() -> None:
    public = {
        name
        for name, value in vars(mailtrace).items()
        if not (name.startswith("_") or isinstance(value, types.ModuleType) or hasattr(typing, name))
    }
    assert public - {"annotations"} <= set(mailtrace.__all__)


def test_every_name_can_be_imported_in_a_fresh_interpreter() -> None:
    names = ", ".join(mailtrace.__all__)
    code = f"from mailtrace import {names}\nfrom mailtrace import *\nprint(sorted([{names}], key=id) and 'all there')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all there\n", "")


def test_help_and_completion_show_every_name() -> None:
    assert set(dir(mailtrace)) >= set(mailtrace.__all__)


@pytest.mark.parametrize("name", [name for name in mailtrace.__all__ if not name.startswith("__")])
def test_every_public_name_is_documented_and_typed(name: str) -> None:
    thing = getattr(mailtrace, name)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return
    undocumented = [name] if not inspect.getdoc(thing) else []
    functions = {name: thing}
    if inspect.isclass(thing):
        functions = {
            f"{name}.{attribute}": value
            for attribute, value in vars(thing).items()
            if not attribute.startswith("_") and inspect.isfunction(value)
        }
    undocumented += [each for each, function in functions.items() if not inspect.getdoc(function)]
    untyped = [
        each
        for each, function in functions.items()
        if inspect.isfunction(function) and "return" not in inspect.get_annotations(function)
    ]
    assert (undocumented, untyped) == ([], [])
