"""A content filter that speaks SMTP: hands everything to the server behind it, and answers for it.

python scrubber.py LISTEN_PORT NEXT_PORT STYLE [MUTE_EVERY]

STYLE is how the filter words the final reply: `plain` as the next server did, `amavis` in amavisd's form.
One in MUTE_EVERY replies doesn't name the next queue ID (0: all do).
A header `X-Lab-Filter: reject` refuses the message after its content, `tempfail` the first time that it comes.
"""

from __future__ import annotations

import asyncio
import re
import sys

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MARK = re.compile(rb"^X-Lab-Filter: (\w+)\r?$", re.MULTILINE)
LAB_ID = re.compile(rb"^X-Lab-Id: (\S+)\r?$", re.MULTILINE)


class Filter:
    """One filter: its style, and what it has seen."""

    def __init__(self, next_port: int, style: str, mute_every: int) -> None:
        self.next_port = next_port
        self.style = style
        self.mute_every = mute_every
        self.passed = 0
        self.seen: set[bytes] = set()

    def verdict(self, body: bytes) -> bytes | None:
        """The refusal, None to pass it on."""
        head = body.partition(b"\r\n\r\n")[0]
        mark = MARK.search(head)
        if mark is None:
            return None
        if mark[1] == b"reject":
            return b"550 5.7.1 Message content rejected, id=%05d-01 - SPAM\r\n" % self.passed
        lab_id = LAB_ID.search(head)
        if mark[1] == b"tempfail" and lab_id is not None and lab_id[1] not in self.seen:
            self.seen.add(lab_id[1])
            return b"451 4.7.1 Scanner busy, try again\r\n"
        return None

    def worded(self, reply: bytes) -> bytes:
        """The next server's final reply, as this filter says it."""
        if not reply.startswith(b"250"):
            return reply
        self.passed += 1
        if self.mute_every and self.passed % self.mute_every == 0:
            return b"250 2.0.0 Ok\r\n"
        if self.style == "amavis":
            inner = reply.strip()
            return b"250 2.0.0 from MTA(smtp:[127.0.0.1]:%d): %s\r\n" % (self.next_port, inner)
        return reply

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.next_port)
        except OSError:
            writer.write(b"421 4.3.2 next server down\r\n")
            writer.close()
            return
        try:
            await self.converse((reader, writer), upstream)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            upstream[1].close()
            writer.close()

    async def converse(self, client: Streams, upstream: Streams) -> None:
        client[1].write(await reply_of(upstream[0]))
        while line := await client[0].readline():
            upstream[1].write(line)
            reply = await reply_of(upstream[0])
            client[1].write(reply)
            if line.strip().upper() == b"DATA" and reply.startswith(b"354"):
                body = await client[0].readuntil(b"\r\n.\r\n")
                if (refusal := self.verdict(body)) is not None:
                    client[1].write(refusal)
                    await client[1].drain()
                    return  # the next server sees the connection drop before the end of the message
                upstream[1].write(body)
                client[1].write(self.worded(await reply_of(upstream[0])))
            await client[1].drain()
            if line.strip().upper() == b"QUIT":
                return


async def reply_of(reader: asyncio.StreamReader) -> bytes:
    """One reply, all its lines."""
    lines = []
    while line := await reader.readline():
        lines.append(line)
        if line[3:4] != b"-":
            return b"".join(lines)
    raise ConnectionResetError


async def serve(listen: int, content_filter: Filter) -> None:
    server = await asyncio.start_server(content_filter.serve, "127.0.0.1", listen, limit=1 << 26)
    await server.serve_forever()


def main() -> None:
    listen, next_port, style = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    mute_every = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    asyncio.run(serve(listen, Filter(next_port, style, mute_every)))


if __name__ == "__main__":
    main()
