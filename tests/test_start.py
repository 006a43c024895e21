"""The first moments of the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = [
    str(Path(sys.executable).parent / "mailtrace"), "trace", "-c", str(ROOT / "jobs/demo/config.yaml"), "-k", "wolf"
]  # fmt: skip


def test_ctrl_c_ends_the_program_without_a_traceback_however_early_it_comes() -> None:
    for milliseconds in range(30, 230, 8):
        with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(milliseconds / 1000)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=20)[1]
        # Before `start` listens, the interpreter ends by the signal itself; or it says that it could not begin, or
        # that something of its own has swallowed the signal.
        before = "KeyboardInterrupt" in said
        assert process.returncode in (130, -signal.SIGINT) or (process.returncode in (0, 1) and before), said
        assert "mailtrace/cli" not in said


def test_ctrl_c_that_the_shell_switched_off_stays_so() -> None:
    def deaf() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    command = [*COMMAND, "-o", "/dev/null", "--format", "json"]
    with subprocess.Popen(command, preexec_fn=deaf) as process:  # noqa: PLW1509 - no thread is running
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
