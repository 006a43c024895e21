"""One instance for each state: a lock that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailtrace.errors import DataError, RequestError
from mailtrace.problem import Problem


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the lock of a state. Raises `RequestError` while another process holds it, `DataError` where none can be."""
    try:
        state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(f"{state}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "name a file that may be written: --set tracing.state=FILE"
        raise DataError(f"state {state}: {error.strerror}; {hint}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "another process"
            what = f"state {state} is in use by process {other}"
            hint = "one mailtrace for each state: stop it, or name another file with --set tracing.state=FILE"
            raise RequestError([Problem(what, hint=hint)]) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
