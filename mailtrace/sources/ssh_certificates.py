"""Host certificates (OpenSSH's PROTOCOL.certkeys): whether an authority of known_hosts vouches for a server.

Whether the server has the certificate's private key is the library's business, as with any host key.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

SUFFIX = "-cert-v01@openssh.com"
_HOST = 2
_KEY_STRINGS = {"ssh-ed25519": 1, "ssh-rsa": 2}  # what a public key is made of; an ECDSA key: curve and point
_WEAK = ("ssh-rsa", "ssh-dss")  # signatures with SHA-1


class Certificate(NamedTuple):
    """What a certificate says."""

    use: int
    names: tuple[str, ...]
    after: int  # UTC seconds
    before: int
    critical: bytes
    authority: bytes  # the public key that signed it
    signed: bytes  # what was signed
    signature: bytes


def read(blob: bytes) -> Certificate:
    """A certificate. Raises `ValueError` for what is none."""
    fields = _Fields(blob)
    kind = fields.text()
    if not kind.endswith(SUFFIX):
        msg = f"{kind} is no certificate"
        raise ValueError(msg)
    fields.string()  # the nonce
    for _ in range(_KEY_STRINGS.get(kind.removesuffix(SUFFIX), 2)):
        fields.string()
    fields.number(">Q")  # the serial
    use = fields.number(">I")
    fields.string()  # the key's ID
    names, principals = [], _Fields(fields.string())
    while principals.left:
        names.append(principals.text())
    after, before = fields.number(">Q"), fields.number(">Q")
    critical = fields.string()
    fields.string()  # extensions
    fields.string()  # reserved
    authority = fields.string()
    signed = blob[: fields.at]
    signature = fields.string()
    if fields.left:
        msg = "something stands behind the certificate"
        raise ValueError(msg)
    return Certificate(use, tuple(names), after, before, critical, authority, signed, signature)


def doubt(blob: bytes, authorities: Iterable[bytes], name: str, now: float) -> str:
    """Why a certificate does not show that a server has a name; "" where it does."""
    try:
        made = read(blob)
    except (ValueError, struct.error, UnicodeDecodeError):
        return "its certificate cannot be read"
    if made.authority not in set(authorities):
        return "its certificate is signed by another authority"
    if made.use != _HOST:
        return "its certificate is a user's"
    if made.critical:
        return "its certificate has conditions that are not understood"
    if not any(_stands_for(each, name) for each in made.names):
        return f"its certificate is for {', '.join(made.names) or 'no name'}"
    if not made.after <= now < made.before:
        return "its certificate is not valid now"
    return "" if _verified(made) else "the signature of its certificate is wrong"


def _verified(made: Certificate) -> bool:
    """Whether the authority did sign it."""
    import paramiko

    try:
        kind = _Fields(made.authority).text()
        signature = _Fields(made.signature)
        if signature.text() in _WEAK:
            return False
        # The library is lenient about lengths; nothing here shall be.
        numbers = _Fields(signature.string())
        for _ in range(2 if kind.startswith("ecdsa-") else 0):
            numbers.string()
        if signature.left or (kind.startswith("ecdsa-") and numbers.left):
            return False
        key = paramiko.PKey.from_type_string(kind, made.authority)
        return bool(key.verify_ssh_sig(made.signed, paramiko.Message(made.signature)))
    except Exception:  # noqa: BLE001 - whatever is wrong with it: it is not verified
        return False


def _stands_for(pattern: str, name: str) -> bool:
    """Only `*` and `?` are wildcards."""
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern.casefold())
    return re.fullmatch(expression, name.casefold()) is not None


class _Fields:
    """The fields of an SSH message, one after the other. Raises `ValueError` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def _take(self, size: int) -> bytes:
        if size > self.left:
            msg = "cut short"
            raise ValueError(msg)
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def string(self) -> bytes:
        return self._take(self.number(">I"))

    def text(self) -> str:
        return self.string().decode("utf-8")
