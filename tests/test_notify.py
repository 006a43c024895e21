"""Events as data, and the steps that send them."""

from __future__ import annotations

import pytest

from mailtrace import notify


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
