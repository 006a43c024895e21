"""Host certificates as ssh-keygen makes them, whole and damaged."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import pytest

from mailtrace.sources.ssh_certificates import doubt, read

from .sshd import make_key

pytestmark = [pytest.mark.needs("ssh-keygen")]


def blob(path: Path) -> bytes:
    return base64.b64decode(path.read_text().split()[1])


@pytest.fixture(params=["ed25519", "rsa", "ecdsa"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[bytes, bytes]:
    """A certificate for `mx1.example.com` and `*.example.org`, and the key of its authority."""
    authority, host = make_key(tmp_path / "authority", request.param), make_key(tmp_path / "host")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "x", "-h", "-n", "mx1.example.com,*.example.org"]
    subprocess.run([*sign, "-V", "-1h:+1h", str(host.with_suffix(".pub"))], check=True)
    return blob(tmp_path / "host-cert.pub"), blob(authority.with_suffix(".pub"))


def test_it_stands_for_the_names_in_it(made: tuple[bytes, bytes]) -> None:
    certificate, authority = made
    assert read(certificate).names == ("mx1.example.com", "*.example.org")
    for name in ("mx1.example.com", "MX1.example.com", "a.example.org"):
        assert doubt(certificate, [authority], name, time.time()) == ""
    for name in ("mx2.example.com", "mx1.example.com.evil", "example.org"):
        assert "certificate is for" in doubt(certificate, [authority], name, time.time())


def test_it_is_good_for_its_time_and_of_its_authority_only(made: tuple[bytes, bytes]) -> None:
    certificate, authority = made
    now = time.time()
    assert "not valid now" in doubt(certificate, [authority], "mx1.example.com", now - 7200)
    assert "not valid now" in doubt(certificate, [authority], "mx1.example.com", now + 7200)
    assert "another authority" in doubt(certificate, [], "mx1.example.com", now)
    assert "another authority" in doubt(certificate, [authority[:-1]], "mx1.example.com", now)


def test_no_damaged_certificate_is_believed(made: tuple[bytes, bytes]) -> None:
    certificate, authority = made
    now = time.time()
    for at in range(0, len(certificate), 3):
        damaged = certificate[:at] + bytes([certificate[at] ^ 1]) + certificate[at + 1 :]
        assert doubt(damaged, [authority], "mx1.example.com", now), at
        assert doubt(certificate[:at], [authority], "mx1.example.com", now), at
    assert doubt(certificate + b"x", [authority], "mx1.example.com", now)
    assert doubt(authority, [authority], "mx1.example.com", now)
