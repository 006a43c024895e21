"""What the words of `ssh -v` mean, as far as no server of the tests can be made to have it say them."""

from __future__ import annotations

import pytest

from mailtrace.config import SshConfig
from mailtrace.sources.ssh_options import Way
from mailtrace.sources.ssh_refusal import cut_off, explained

MX = Way("mx1", "192.0.2.1", 2222, "reader")


@pytest.mark.parametrize(
    "said",
    [
        "Connection timed out during banner exchange\nConnection to 192.0.2.1 port 2222 timed out\n",
        "Connection to 192.0.2.1 port 2222 timed out\n",  # while the keys were agreed on
        "Timeout, server 192.0.2.1 not responding.\n",
    ],
)
def test_whatever_took_too_long_names_the_time_that_can_be_longer(said: str) -> None:
    text = str(explained(f"debug1: Connecting\n{said}", MX, SshConfig(timeout=7)))
    assert text == "timed out: no answer to SSH within 7 s; ssh_config.timeout can be longer"


def test_the_reason_of_a_jump_host_is_that_of_the_connection_it_was_asked_for() -> None:
    """Several are refused through one master, which numbers its channels anew."""
    jump = "".join(
        f"channel 2: open failed: connect failed: {reason}\n"
        f"debug1: channel 2: free: direct-tcpip: listening port 0 for 192.0.2.{host} port 2222, connect from …\n"
        for host, reason in (("11", "No route to host"), ("1", "Connection refused"), ("12", "Connection timed out"))
    )
    said = "Stdio forwarding request failed: Session open refused by peer\nkex_exchange_identification: closed\n"
    told = cut_off(said, MX, jump, lost=False)
    assert told == "does not connect to 192.0.2.1:2222: connect failed: Connection refused"
    assert cut_off(said, MX, "", lost=False) == "does not connect to 192.0.2.1:2222"
    assert "was lost" in cut_off("kex_exchange_identification: closed", MX, "", lost=True)
    assert cut_off("kex_exchange_identification: closed", MX, "", lost=False) == ""
