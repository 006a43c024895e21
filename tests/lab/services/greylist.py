"""A Postfix policy server that defers the first attempts of mail from or to an address with `grey` in it.

python greylist.py PORT SECONDS; see Postfix's SMTPD_POLICY_README.
"""

from __future__ import annotations

import asyncio
import sys
import time


class Greylist:
    """Remembers when each pair of sender and recipient was first seen."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.first: dict[tuple[str, str], float] = {}

    def action(self, request: dict[str, str]) -> str:
        pair = request.get("sender", ""), request.get("recipient", "")
        if not any("grey" in one for one in pair):
            return "DUNNO"
        now = time.monotonic()
        if now - self.first.setdefault(pair, now) >= self.seconds:
            return "DUNNO"
        return "DEFER_IF_PERMIT 4.2.0 Greylisted, see http://postgrey.schweikert.ch/help/far.example.html"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request: dict[str, str] = {}
        while line := (await reader.readline()).decode("utf-8", "replace"):
            name, equals, value = line.rstrip("\n").partition("=")
            if equals:
                request[name] = value
                continue
            writer.write(f"action={self.action(request)}\n\n".encode())
            await writer.drain()
            request = {}
        writer.close()


async def serve(port: int, greylist: Greylist) -> None:
    server = await asyncio.start_server(greylist.serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Greylist(float(sys.argv[2]))))
