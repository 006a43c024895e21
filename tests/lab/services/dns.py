"""The lab's DNS: answers A, MX and PTR from a table, NXDOMAIN for what is not in it.

python dns.py ADDRESS TABLE.json with {"a": {name: [ip]}, "mx": {domain: [[preference, name]]}, "ptr": {ip: name}}
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from pathlib import Path

A, PTR, MX = 1, 12, 15
NXDOMAIN = 3


def labels(name: str) -> bytes:
    """A name as RFC 1035, 3.1 writes it."""
    parts = [part.encode() for part in name.rstrip(".").split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def question(packet: bytes) -> tuple[str, int, int]:
    """Name, type and where the question ends."""
    at, parts = 12, []
    while packet[at]:
        parts.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace"))
        at += packet[at] + 1
    return ".".join(parts).lower(), struct.unpack_from("!H", packet, at + 1)[0], at + 5


class Table:
    """The records; `a`, `mx` and `ptr` as in the module's docstring."""

    def __init__(self, path: Path) -> None:
        records = json.loads(path.read_text())
        self.a: dict[str, list[str]] = records["a"]
        self.mx: dict[str, list[tuple[int, str]]] = records["mx"]
        reverse = {".".join(reversed(ip.split("."))): name for ip, name in records["ptr"].items()}
        self.ptr = {f"{name}.in-addr.arpa": target for name, target in reverse.items()}

    def answers(self, name: str, kind: int) -> list[bytes]:
        if kind == A:
            return [socket.inet_aton(ip) for ip in self.a.get(name, ())]
        if kind == MX:
            return [struct.pack("!H", preference) + labels(host) for preference, host in self.mx.get(name, ())]
        return [labels(self.ptr[name])] if kind == PTR and name in self.ptr else []

    def knows(self, name: str) -> bool:
        return name in self.a or name in self.mx or name in self.ptr

    def reply(self, packet: bytes) -> bytes:
        name, kind, end = question(packet)
        answers = self.answers(name, kind)
        flags = 0x8580 | (0 if self.knows(name) else NXDOMAIN)
        header = packet[:2] + struct.pack("!HHHHH", flags, 1, len(answers), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for data in answers]
        return header + packet[12:end] + b"".join(records)


def main() -> None:
    address, table = sys.argv[1], Table(Path(sys.argv[2]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        while True:
            packet, client = server.recvfrom(4096)
            try:
                server.sendto(table.reply(packet), client)
            except (IndexError, struct.error) as error:
                print(f"broken query from {client[0]}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
