"""The fixtures of real servers."""

from .sshd import client, folder, place, reader, server, started, transport

__all__ = ["client", "folder", "place", "reader", "server", "started", "transport"]
