"""A question in hand, a list of keys, a wait and a case bundle do over every source what they do over files.

`test_files` and its neighbours try the sources, the tests of each of these words what it does; this is where they meet.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import truth
from opensearch_node import node as nodes
from opensearch_node.__main__ import ROOT, TEMPLATE, demo
from opensearch_node.__main__ import config as demo_config
from opensearch_node.shapes import SHAPES, Line, framed_of, put, utc

from mailtrace import notify, run_job
from mailtrace.bundle import open_bundle
from mailtrace.model import Delivery, Hop
from mailtrace.report import Report

from .sshd import Server, User

pytestmark = pytest.mark.slow

LOG = """\
10.100000 mx1 postfix/smtpd[108]: connect from c[192.0.2.1]
10.200000 mx1 postfix/smtpd[108]: Anonymous TLS connection established from c[192.0.2.1]: TLSv1.3 with cipher X (256/256 bits)
10.500000 mx1 postfix/smtpd[108]: 8F0A22FCB3F: client=c[192.0.2.1]
10.510000 mx1 postfix/cleanup[112]: 8F0A22FCB3F: message-id=<probe-1@c.example>
10.520000 mx1 postfix/qmgr[107]: 8F0A22FCB3F: from=<a@c.example>, size=1847, nrcpt=1 (queue active)
10.600000 mx1 postfix/smtpd[108]: disconnect from c[192.0.2.1] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7
""".splitlines()  # noqa: E501 - log lines are as long as they are
LATER = """\
12.700000 mx1 postfix/smtp[113]: Untrusted TLS connection established to mx[198.51.100.7]:25: TLSv1.3 with cipher Y (256/256 bits)
13.010000 mx1 postfix/smtp[113]: 8F0A22FCB3F: to=<b@d.example>, relay=mx[198.51.100.7]:25, delay=2.6, delays=2/0/0.2/0.3, dsn=2.0.0, status=sent (250 ok)
13.020000 mx1 postfix/qmgr[107]: 8F0A22FCB3F: removed
""".splitlines()  # noqa: E501 - the same
OTHER = "11.000000 mx1 postfix/smtpd[108]: connect from d[192.0.2.2]"


def stamped(lines: list[str]) -> list[str]:
    """Lines of the last minute: what comes while a run waits is looked for among what is new."""
    minute = datetime.now(timezone.utc) - timedelta(minutes=1)
    return [f"{minute:%Y-%m-%dT%H:%M:}{line[:9]}+00:00{line[9:]}" for line in lines]


@dataclass
class World:
    """The demo's fleet behind a source, and a log of one more server that grows."""

    demo: dict[str, Any]
    growing: dict[str, Any]
    add: Callable[[list[str]], None]


class _Questions:
    """What holds for every source as it does for files."""

    def test_a_bounce_in_hand_leads_to_the_mail_it_is_about(self, world: World) -> None:
        report = ask(world.demo, {"eml": str(ROOT / "jobs" / "demo" / "bounce.eml")})
        assert rows(report) == rows(ask(DEMO, {"eml": str(ROOT / "jobs" / "demo" / "bounce.eml")}))
        assert any(row.outcome == "bounced" for mail in report.mails for row in mail.recipients)

    def test_a_list_of_keys_is_followed_in_one_walk(self, world: World, tmp_path: Path) -> None:
        listed = tmp_path / "keys.csv"
        listed.write_text("name,email\nGreta,greta@gamma.lab.test\nNobody,nobody@nowhere.example\n4jXnlY53s4zRZ8x,\n")
        find = {"keys_from": str(listed), "keys_column": "email"}
        report = ask(world.demo, find)
        assert rows(report) == rows(ask(DEMO, find))
        assert report.keys["nobody@nowhere.example"] == []
        assert report.keys["greta@gamma.lab.test"]

    def test_a_case_bundle_of_it_traces_the_same_anywhere(self, world: World, tmp_path: Path) -> None:
        find, to = {"queue_id": "4jXnlV6MTQzRbF8"}, tmp_path / "case.zip"
        sent = ask(world.demo, find, export=[{"bundle": {"to": str(to)}}])
        with zipfile.ZipFile(to) as archive:
            assert "It traces the same.\n" in archive.read("README.txt").decode()
            everything = "\n".join(archive.read(name).decode() for name in archive.namelist())
        for word in ("gamma", "127.0.0.1:", "mt-reader", "private_key", "opensearch_config"):
            assert word not in everything
        inside = tmp_path / "inside"
        inside.mkdir()
        traced = run_job(str(open_bundle(str(to), inside)))
        assert outcomes(traced) == outcomes(sent)

    def test_a_wait_ends_when_the_fate_is_there(self, world: World) -> None:
        told: list[notify.Event] = []

        def hear(event: notify.Event) -> None:
            if isinstance(event, notify.Waiting) and not any(isinstance(one, notify.Waiting) for one in told):
                world.add(stamped(LATER))
            told.append(event)

        world.add(stamped([*LOG, OTHER]))
        report = ask(
            world.growing,
            {"message_id": "probe-1@c.example"},
            wait="60s",
            expect=[{"relayed": "all"}, {"tls": True}],
            listener=hear,
        )
        assert any(isinstance(one, notify.Waiting) for one in told)
        assert [row.outcome for mail in report.mails for row in mail.recipients] == ["relayed"]
        assert [(one.text, one.held) for one in report.expectations if not one.held] == []
        ((hop,),) = (mail.hops for mail in report.mails)
        assert [told_of(hop), *map(told_of, hop.deliveries)] == ["X", "Y"]


def told_of(side: Hop | Delivery) -> str:
    return side.tls.removeprefix("TLSv1.3 with cipher ").partition(" ")[0]


def ask(
    config: dict[str, Any], find: dict[str, Any], *, listener: notify.Listener = notify.nobody, **job: Any
) -> Report:
    report = run_job({"version": 1, "kind": "trace", "config": config, "find": find, **job}, listener=listener)
    assert [item.problem for item in report.coverage if item.problem] == []
    return report


def rows(report: Report) -> list[tuple[object, ...]]:
    every = (row for mail in report.mails for row in mail.recipients)
    return sorted((row.recipient, row.outcome, truth.path_of(row)) for row in every)


def outcomes(report: Report) -> list[tuple[str, list[str]]]:
    every = (row for mail in report.mails for row in mail.recipients)
    return sorted((row.outcome, [step.queue_id for step in row.path]) for row in every)


DEMO = truth.fleet("fleet")


# One way to each source is enough: what all ways have in common is tried by the sources' own tests.
@pytest.mark.parametrize("transport", ["paramiko"], indirect=True, scope="session")
class TestSsh(_Questions):
    """Logs on servers, over real sshds."""

    @pytest.fixture
    def world(self, server: Server, reader: User, folder: Path) -> World:
        access = server.access(reader)
        options = {
            "username": access.username,
            "private_key": access.private_key,
            "known_hosts": list(access.known_hosts),
            "ssh_config_file": access.ssh_config_file,
            "sudo": False,
            "transport": access.transport,
        }
        paths = {}
        for host, (path,) in truth.logs("fleet").items():
            paths[host] = str(folder / f"{host}.log")
            Path(paths[host]).write_bytes(Path(path).read_bytes())
        log = folder / "grows.log"
        log.touch()
        add = lambda lines: _append(log, lines)  # noqa: E731 - as for files
        return World(_logs("ssh", paths, options), _logs("ssh", {"mx1": str(log)}, options), add)


@pytest.mark.parametrize("search_node", [nodes.NEW], indirect=True, scope="session", ids=[nodes.NEW.name])
class TestOpenSearch(_Questions):
    """Logs in an index."""

    @pytest.fixture
    def world(self, search_node: nodes.Node, search_client: Any, request: pytest.FixtureRequest) -> Iterator[World]:
        make, _ = SHAPES["ecs"]
        name = f"questions-{abs(hash(request.node.nodeid))}"
        put(search_client, f"{name}-demo", (make(line) for line in demo()), TEMPLATE)
        put(search_client, f"{name}-grows", (), TEMPLATE)

        def add(lines: list[str]) -> None:
            for text in lines:
                framed = framed_of(text, exims=False)
                assert framed is not None
                document = make(Line("mx1", utc(framed, {}, datetime.now(timezone.utc).year), *framed[4:], text))
                search_client.index(index=f"{name}-grows", body=document)
            search_client.indices.refresh(index=f"{name}-grows")

        fleet = demo_config(search_node.port)
        index: dict[str, Any] = fleet["opensearch_config"]  # type: ignore[assignment]
        fleet["opensearch_config"] = {**index, "index": f"{name}-demo"}
        growing = {"method": "opensearch", "opensearch_config": {**index, "index": f"{name}-grows"}}
        yield World(fleet, growing, add)
        search_client.indices.delete(index=f"{name}-*")


def _append(log: Path, lines: list[str]) -> None:
    with log.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def _logs(method: str, paths: dict[str, str], options: dict[str, Any] | None = None) -> dict[str, Any]:
    hosts = {host: {"log_files": [path]} for host, path in paths.items()}
    return {"method": method, f"{method}_config": {**(options or {}), "hosts": hosts}}
