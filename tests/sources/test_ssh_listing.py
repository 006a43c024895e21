"""What a listing means."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mailtrace.sources.ssh_listing import listed

NOW = datetime(2026, 1, 10, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    "line, name, size",
    [
        (b"8262 -rw-r----- 1 0 4 123456 Jan  9 07:01 mail.log", "mail.log", 123456),
        (b"  8262 -rw-r-----+   1 0        4            123456 Jan  9  2025 mail.log.1", "mail.log.1", 123456),
        (b"7 -rw-r--r--. 1 0 0 0 Jan  9 07:01 a b  c.log", "a b  c.log", 0),
        (b"7 -rw-r--r-- 1 0 0 5 Jan  9 07:01 \xff.log", "\udcff.log", 5),
    ],
)
def test_lines_of_ls_are_read(line: bytes, name: str, size: int) -> None:
    found = listed(line, "/var/log", NOW)
    assert found is not None
    assert (found.path, found.size) == (f"/var/log/{name}", size)


@pytest.mark.parametrize("line", [b"total 12", b"", b"7 crw-rw-rw- 1 0 0 1, 3 Jan  9 07:01 null", b"rest of a name"])
def test_what_is_no_file_is_left_out(line: bytes) -> None:
    assert listed(line, "/var/log", NOW) is None


def test_a_date_without_a_year_is_the_last_one() -> None:
    found = listed(b"7 -rw-r--r-- 1 0 0 5 Dec 31 07:01 a", "/", NOW)
    assert found is not None
    assert datetime.fromtimestamp(found.modified, timezone.utc).year in (2025, 2026)
    assert found.modified < NOW
