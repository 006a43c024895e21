"""What a service manager hears."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mailtrace.tracing import systemd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    path = tmp_path / "notify"
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(str(path))
    line.settimeout(2)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    return line


def test_a_service_manager_is_told(manager: socket.socket) -> None:
    systemd.notify(READY="1", STATUS="reading")
    assert manager.recv(1000) == b"READY=1\nSTATUS=reading"
    manager.close()


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    systemd.notify(READY="1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify(READY="1")


def test_the_watchdog_barks_no_more_often_than_it_must(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    watchdog = systemd.Watchdog()
    assert watchdog.seconds == 10.0
    watchdog()
    watchdog()
    assert manager.recv(1000) == b"WATCHDOG=1"
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)
    manager.close()
