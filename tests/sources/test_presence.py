"""When each host of a loghost's file is first and last met in it."""

from __future__ import annotations

from pathlib import Path

from mailtrace.hosts import Inventory
from mailtrace.model import Stamp, Zone
from mailtrace.parsers import make_parser
from mailtrace.sources.division import Division
from mailtrace.sources.logfile import open_log
from mailtrace.sources.presence import spans


def test_each_host_has_its_first_and_last_line(tmp_path: Path) -> None:
    def line(second: int, host: str) -> str:
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        text = f"{second:010X}: from=<rare@rare>, size=1, nrcpt=1 (queue active)"
        return f"2026-01-01T{clock}Z {host} postfix/qmgr[1]: {text}\n"

    hosts = {9: "rare.lab.test", 20_000: "once"}
    text = "".join(line(n, hosts.get(n, "mx1" if 100 <= n < 29_000 else "mx2")) for n in range(30_000))
    (tmp_path / "mail.log").write_text(text)
    log = open_log(tmp_path / "mail.log", lambda _text, _missing: None)
    division = Division(("mx1", "mx2"), Inventory(), "mx1")
    parser = make_parser()
    found = spans(log, parser, division, ["mx1", "mx2", "rare.lab.test", "once", "none"])
    log.close()
    base = 1767225600
    seconds = {host: (first.time - base, last.time - base) for host, (first, last) in found.items()}
    assert seconds == {"mx1": (100, 28_999), "mx2": (0, 29_999), "rare.lab.test": (9, 9), "once": (20_000, 20_000)}
    assert found["once"][0] == Stamp(base + 20_000, Zone.UTC)
    assert parser.unparsed == 0
