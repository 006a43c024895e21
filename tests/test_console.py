"""What a run says on stderr: messages in the log, one line on a terminal that the next one replaces."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator

import pytest

from mailtrace import notify
from mailtrace.console import Console, StatusLine
from mailtrace.job import Job
from mailtrace.load import load_job


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(name="job")
def _job() -> Job:
    config = {"method": "files", "files_config": {"hosts": {"mx1": {"log_files": ["/nowhere"]}}}}
    return load_job({"version": 1, "kind": "trace", "config": config, "find": {}, "export": [{"csv": {}}]})


class Heard(logging.Handler):
    """What a log was told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture(name="heard")
def _heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    log, heard = logging.getLogger("mailtrace"), Heard()
    monkeypatch.setattr(log, "handlers", [heard])
    monkeypatch.setattr(log, "propagate", False)
    before = log.level
    log.setLevel(logging.INFO)
    yield heard
    log.setLevel(before)


def test_what_happens_is_told_in_the_log(job: Job, heard: Heard) -> None:
    with Console(job) as console:
        console(notify.StepStarted("walk"))
        console(notify.Warning("unreachable", "no route", host="mx1"))
        console(notify.Expectation("delivered: all", held=False, detail="1 of 2", place="job.yaml:7"))
        console(notify.Expectation("bounced: none", held=True))
        console(notify.Waiting(1, 2, pause=1.0, left=60.0))
        console(notify.Waiting(1, 2, pause=1.0, left=60.0))
    said = heard.said
    assert said[:2] == ["mx1: no route", "job.yaml:7: expected delivered: all; seen: 1 of 2"]
    assert len(said) == 3, "what is waited for is said once"
    assert said[2].endswith("at most: 1 mail, 2 recipients not final yet")


def test_how_far_a_long_step_is_stands_on_a_terminal_alone(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        with Console(job) as console:
            console(notify.Progress("walk", 1_000_000, 5_000_000))
            assert console.bar is None, "not in its first second"
            console.began = time.monotonic() - 2
            console(notify.Progress("walk", 2_000_000, 5_000_000))
            assert (console.bar is not None) == shown
        assert console.bar is None


def test_the_status_line_gives_way_to_messages_and_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, said = Terminal(), []
    monkeypatch.setattr(sys, "stderr", terminal)
    with StatusLine(logging.getLogger("mailtrace")) as line:
        line.show("10 lines \x1b[2J read")
        line.above(lambda _form, text: said.append(text))("the index is gone")
        assert line.shown == "10 lines \\x1b[2J read"
    assert said == ["the index is gone"]
    assert terminal.getvalue().count("10 lines \\x1b[2J read") == 2
    assert terminal.getvalue().endswith("\r\x1b[K")
