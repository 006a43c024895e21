"""Answers to what `ssh` asks: passwords through its SSH_ASKPASS, on no command line, in no environment and in no file.

`ssh` runs a small program with its question. That program hands the question to a socket in a folder that only we may
enter, and prints what comes back.
"""

from __future__ import annotations

import re
import shlex
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from mailtrace.sources.ssh_remote import SshError

if TYPE_CHECKING:
    from pathlib import Path

    from mailtrace.secret import Secret

_PROGRAM = """\
#!/bin/sh
# A key that wants to be touched is told of, and nothing is asked.
if [ "$SSH_ASKPASS_PROMPT" = none ]; then exec sleep 3600; fi
exec {python} -I -S -c '
import socket, sys
asking = socket.socket(socket.AF_UNIX)
asking.connect(sys.argv[1])
asking.sendall(sys.argv[2].encode("utf-8", "surrogateescape"))
asking.shutdown(socket.SHUT_WR)
answer = b"".join(iter(lambda: asking.recv(4096), b""))
sys.stdout.buffer.write(answer[1:] + b"\\n" if answer else b"")
sys.exit(not answer)
' {socket} "$1"
"""
_LONGEST = 4096
_PASSPHRASE = re.compile(r"passphrase for key '?(?P<key>.*?)'?: ", re.IGNORECASE)
_NOT_OURS = re.compile(r"\b(pin|otp|token|code|yes/no)\b", re.IGNORECASE)


class AskPass:
    """Listens for questions of one login. Each question is answered once: asked again, the answer was wrong."""

    def __init__(self, folder: Path, password: Secret, passphrase: Secret) -> None:
        """`folder` is one that only we may enter."""
        self._password, self._passphrase = password, passphrase
        self._asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / "ask"))
        self._socket.listen()
        if not sys.executable:
            msg = "passwords cannot be handed to ssh: it is not known where Python is; use a key or an agent"
            raise SshError(msg)
        self._program = folder / "askpass"
        program = _PROGRAM.format(python=shlex.quote(sys.executable), socket=shlex.quote(str(folder / "ask")))
        self._program.write_text(program, encoding="utf-8")
        self._program.chmod(0o700)
        threading.Thread(target=self._listen, name="mailtrace-ssh-askpass", daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What tells `ssh` to ask here."""
        # Before OpenSSH 8.4 a display is what makes it ask a program.
        return {"SSH_ASKPASS": str(self._program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":none"}

    def close(self) -> None:
        """Hear no more questions."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def answer(self, question: str) -> Secret | None:
        """What to say to a question; None where there is nothing to say."""
        found = _PASSPHRASE.search(question)
        if not found and _NOT_OURS.search(question):
            return None
        secret = self._passphrase if found else self._password
        self._asked[question] += 1
        return secret if secret and self._asked[question] == 1 else None

    def _listen(self) -> None:
        while True:
            try:
                asking, _ = self._socket.accept()
            except OSError:
                return
            with asking, suppress(OSError):
                asking.settimeout(5)
                question = b""
                while block := asking.recv(_LONGEST):
                    question = (question + block)[:_LONGEST]
                secret = self.answer(question.decode("utf-8", "replace"))
                if secret is not None:
                    asking.sendall(b"+" + secret.reveal().encode())
