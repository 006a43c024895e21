"""Events as data, and the steps that send them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import truth
from jsonschema import Draft202012Validator

from mailtrace import notify
from mailtrace.run import run_job
from mailtrace.secret import Redactor, Secret

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "event.schema.json").read_text())


def test_an_event_has_the_name_and_time_of_the_schema() -> None:
    event = notify.StepFinished("export dot", 0.5, time=1.5)
    assert event.to_dict() == {
        "event": "step_finished", "time": "1970-01-01T00:00:01.5Z", "step": "export dot", "seconds": 0.5, "ok": True
    }  # fmt: skip


def test_what_does_not_apply_is_left_out_and_what_is_unknown_is_null() -> None:
    assert "host" not in notify.Warning("a", "b").to_dict()
    assert notify.Warning("a", "b", "mx1").to_dict()["host"] == "mx1"
    assert notify.MailFound("m", None, "", 2).to_dict()["sender"] == ""
    assert notify.MailFound("m", None, None, 2).to_dict()["sender"] is None


def test_a_step_tells_of_its_begin_and_of_its_end_however_it_ends() -> None:
    heard: list[notify.Event] = []
    with pytest.raises(ValueError, match="why"), notify.step(heard.append, "walk"):
        raise ValueError("why")
    began, ended = heard
    assert isinstance(began, notify.StepStarted)
    assert isinstance(ended, notify.StepFinished)
    assert (ended.step, ended.ok, ended.detail) == ("walk", False, "why")
    assert ended.seconds >= 0


def test_every_event_of_a_run_is_as_the_schema_says_and_tells_which_wave_asked_which_hosts() -> None:
    stream = io.StringIO()
    find = {"message_id": "472079681.3616de.JavaMail.app@app-1c", "start_host": "filter1"}
    job = {
        "version": 1,
        "kind": "trace",
        "config": truth.fleet("fleet"),
        "find": find,
        "expect": [{"delivered": "all"}],
    }
    report = run_job(job, listener=notify.recorder(stream, str))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    for event in events:
        Draft202012Validator(SCHEMA).validate(event)
    asked = [event for event in events if event["event"] == "asked"]
    assert [event["wave"] for event in asked] == list(range(1, len(asked) + 1))
    assert asked[0]["hosts"] == ["filter1"]
    assert {step.host for mail in report.mails for row in mail.recipients for step in row.path} <= {
        host for event in asked for host, lines in event["lines"].items() if lines
    }
    assert events[-1]["event"] == "report_done"


def test_no_secret_and_no_control_character_is_recorded() -> None:
    stream = io.StringIO()
    secret = 'pass"word\\1'
    hear = notify.recorder(stream, Redactor([Secret(secret)]).redact)
    hear(notify.Asked("ssh", 1, 1, (), {f"{secret}\x1b[31m": 1}, 0.1))
    hear(notify.Warning("a", f"is {secret} it?", "mx1"))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "pass" not in text
    assert "is **** it?" in text


def test_a_wave_is_told_in_a_line() -> None:
    said = notify.Asked("ssh", 2, 3, ("core", "sp1"), {"core": 30, "sp1": 0}, 0.251).said
    assert said == "wave 2, ssh: 30 lines of core, sp1 in 0.25 s (core 30)"
    many = {f"mx{n:02}": 1 for n in range(12)}
    assert "all hosts in" in notify.Asked("ssh", 1, 1, (), many, 1).said
    assert notify.Asked("ssh", 1, 1, (), many, 1).said.endswith("mx07 1 and 4 more)")
