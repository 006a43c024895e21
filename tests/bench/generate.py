"""Realistic mail logs of any length, for measuring: mails that really flow from host to host.

The mixture follows what is known of real logs (median line 124 bytes, mean 150; five to eight lines a message; a third
of the lines never belong to a message). The same arguments give the same bytes.
"""

# ruff: noqa: E501 - a log's line is as long as it is
from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
LINES_PER_SECOND = 12.0  # a million lines a day
HEX = "0123456789ABCDEF"
BASE52 = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DOMAINS = ("example.com", "example.org", "mail.example.net", "lists.example.edu", "shop.example")


@dataclass(frozen=True)
class Sample:
    """A mail of the generated log: what to ask for, and what the answer is."""

    message_id: str
    recipient: str
    time: float
    queue_ids: tuple[str, ...]  # one per host, in travel order


Line = tuple[float, int, int, str]  # time, order among equals, host, text


def digits(number: int, alphabet: str, width: int) -> str:
    """`number` in the alphabet's base, padded on the left."""
    text = ""
    for _ in range(width):
        number, digit = divmod(number, len(alphabet))
        text = alphabet[digit] + text
    return text


def iso(moment: float) -> str:
    """RSYSLOG_FileFormat: microseconds and the zone."""
    whole = int(moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((moment - whole) * 1e6):06d}+00:00"


def bsd(moment: float) -> str:
    """RSYSLOG_TraditionalFileFormat: neither year nor zone (the host runs on UTC)."""
    return time.strftime("%b %e %H:%M:%S", time.gmtime(moment))


def exim_time(moment: float) -> str:
    """Exim's own log: a year, no zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))


class Fleet:
    """Mails that pass over all `hosts` in order; the last one delivers locally."""

    def __init__(self, hosts: tuple[str, ...], *, long_ids: bool, seed: int) -> None:
        self.hosts = hosts
        self.long_ids = long_ids
        self.random = random.Random(seed)
        self.order = 0
        self.samples: list[Sample] = []

    def queue_id(self, moment: float) -> str:
        micro = int(moment % 1 * 1e6)
        if self.long_ids:
            inode = digits(self.random.randrange(52**4), BASE52[:51], 4)
            return digits(int(moment), BASE52, 6) + digits(micro, BASE52, 4) + "z" + inode
        return digits(micro, HEX, 5) + digits(self.random.randrange(16**6), HEX, 6)

    def line(self, moment: float, host: int, text: str) -> Line:
        self.order += 1
        return moment, self.order, host, text

    def address(self) -> str:
        return f"user{self.random.randrange(50_000)}@{self.random.choice(DOMAINS)}"

    def client(self) -> str:
        ip = ".".join(str(self.random.randrange(1, 255)) for _ in range(4))
        return f"host-{ip.replace('.', '-')}.isp.example[{ip}]" if self.random.random() < 0.7 else f"unknown[{ip}]"

    def mail(self, moment: float, number: int) -> list[Line]:
        """All lines of one mail on all hosts."""
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(moment))
        message_id = f"{stamp}.{number:08X}.{self.random.randrange(16**8):08x}@{self.random.choice(DOMAINS)}"
        sender, recipients = self.address(), [self.address() for _ in range(1 + (self.random.random() < 0.15))]
        size, client, lines, ids, now = self.random.randrange(900, 90_000), self.client(), [], [], moment
        entry = moment
        for host, name in enumerate(self.hosts):
            queue_id = self.queue_id(now)
            ids.append(queue_id)
            pid, pid2 = self.random.randrange(1000, 32000), self.random.randrange(1000, 32000)
            lines.append(self.line(now - 0.02, host, f"postfix/smtpd[{pid}]: connect from {client}"))
            lines.append(self.line(now, host, f"postfix/smtpd[{pid}]: {queue_id}: client={client}"))
            now += self.random.uniform(0.005, 0.05)
            lines.append(self.line(now, host, f"postfix/cleanup[{pid2}]: {queue_id}: message-id=<{message_id}>"))
            now += self.random.uniform(0.005, 0.2)
            text = f"{queue_id}: from=<{sender}>, size={size}, nrcpt={len(recipients)} (queue active)"
            lines.append(self.line(now, host, f"postfix/qmgr[812]: {text}"))
            counters = "ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
            lines.append(self.line(now + 0.01, host, f"postfix/smtpd[{pid}]: disconnect from {client} {counters}"))
            now = self.deliveries(lines, host, queue_id, recipients, now, entry)
            client = f"{name}.example.com[10.0.0.{host + 1}]"
        self.samples.append(Sample(message_id, recipients[0], moment, tuple(ids)))
        return lines

    def deliveries(
        self, lines: list[Line], host: int, queue_id: str, recipients: list[str], now: float, entry: float
    ) -> float:
        """The delivery attempts of one hop; returns the moment at which the next host has the mail."""
        last = host == len(self.hosts) - 1
        handed = now + self.random.uniform(0.01, 0.3)
        sent = handed + self.random.uniform(0.05, 0.4)
        for recipient in recipients:
            if self.random.random() < 0.03:
                text = f"{queue_id}: to=<{recipient}>, relay=none, delay=30, delays=0.1/0.02/30/0, dsn=4.4.1, status=deferred (connect to mx.example[192.0.2.7]:25: Connection timed out)"
                lines.append(self.line(sent, host, f"postfix/smtp[{self.random.randrange(1000, 32000)}]: {text}"))
                sent += 300
                handed += 300
            delay = f"delay={sent - entry:.2g}, delays=0.1/0.01/0.04/{sent - handed:.2g}, dsn=2.0.0, status=sent"
            if last:
                text = f"{queue_id}: to=<{recipient}>, relay=local, {delay} (delivered to maildir)"
                lines.append(self.line(sent, host, f"postfix/local[{self.random.randrange(1000, 32000)}]: {text}"))
            else:
                relay = f"{self.hosts[host + 1]}.example.com[10.0.0.{host + 2}]:25"
                text = f"{queue_id}: to=<{recipient}>, relay={relay}, {delay} (250 2.0.0 Ok: queued as @{host + 1})"
                lines.append(self.line(sent, host, f"postfix/smtp[{self.random.randrange(1000, 32000)}]: {text}"))
        lines.append(self.line(sent + 0.01, host, f"postfix/qmgr[812]: {queue_id}: removed"))
        return handed

    def noise(self, moment: float, host: int) -> Line:
        """A line that belongs to no message."""
        client, pid, draw = self.client(), self.random.randrange(1000, 32000), self.random.random()
        ip = client[client.index("[") :]
        if draw < 0.3:
            text = f"postfix/smtpd[{pid}]: lost connection after AUTH from {client}"
        elif draw < 0.5:
            text = (
                f"postfix/postscreen[{pid}]: CONNECT from {ip}:{self.random.randrange(1024, 65000)} to [192.0.2.1]:25"
            )
        elif draw < 0.65:
            text = f"postfix/smtpd[{pid}]: Anonymous TLS connection established from {client}: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256"
        elif draw < 0.8:
            text = (
                f"postfix/anvil[{pid}]: statistics: max connection rate 1/60s for (smtp:{ip[1:-1]}) at Jan  1 00:00:00"
            )
        elif draw < 0.9:
            to, sender = self.address(), self.address()
            text = f"postfix/smtpd[{pid}]: NOQUEUE: reject: RCPT from {client}: 554 5.7.1 <{to}>: Relay access denied; from=<{sender}> to=<{to}> proto=ESMTP helo=<spam.example>"
        else:
            text = f"dovecot: imap-login: Login: user=<{self.address()}>, method=PLAIN, rip={ip[1:-1]}, lip=192.0.2.1, mpid={pid}, TLS, session=<{pid:x}AbCdEfGh>"
        return self.line(moment, host, text)

    def lines(self, count: int) -> Iterator[Line]:
        """`count` lines in order of time."""
        waiting: list[Line] = []
        produced, number, moment = 0, 0, START
        while True:
            batch = self.mail(moment, number)
            own = tuple(self.samples[-1].queue_ids)
            for at, order, host, text in batch:
                heapq.heappush(waiting, (at, order, host, expand(text, own)))
            number += 1
            for _ in range(self.random.randrange(len(batch) // 2 + 2)):
                heapq.heappush(
                    waiting, self.noise(moment + self.random.random(), self.random.randrange(len(self.hosts)))
                )
            moment += len(batch) * 1.25 / LINES_PER_SECOND
            while waiting and waiting[0][0] < moment - 1:
                yield heapq.heappop(waiting)
                produced += 1
                if produced == count:
                    return


def expand(text: str, queue_ids: tuple[str, ...]) -> str:
    """The reply names the ID of the next host, which is known only when the whole mail is made."""
    head, mark, tail = text.rpartition("queued as @")
    return f"{head}queued as {queue_ids[int(tail[:-1])]})" if mark else text


def postfix(
    folder: Path,
    lines: int,
    *,
    hosts: tuple[str, ...] = ("mx1",),
    stamp: Callable[[float], str] = iso,
    long_ids: bool = True,
    shared: bool = False,
    seed: int = 1,
) -> list[Sample]:
    """Write `HOST/mail.log` under `folder` (or one `mail.log` where `shared`); returns the mails."""
    fleet = Fleet(hosts, long_ids=long_ids, seed=seed)
    with ExitStack() as stack:
        files: list[IO[str]] = []
        for host in hosts:
            path = folder / "mail.log" if shared else folder / host / "mail.log"
            if shared and files:
                files.append(files[0])
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            files.append(stack.enter_context(path.open("w", encoding="ascii")))
        for at, _, number, text in fleet.lines(lines):
            files[number].write(f"{stamp(at)} {hosts[number]} {text}\n")
    return fleet.samples


def exim(path: Path, lines: int, *, seed: int = 1) -> list[Sample]:
    """Write an Exim main log: three lines a message, and what else such a log holds."""
    fleet = Fleet(("exim1",), long_ids=True, seed=seed)
    draw, samples, moment, produced = fleet.random, [], START, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii") as file:
        while produced < lines:
            now = exim_time(moment)
            identifier = f"{digits(int(moment), BASE62, 6)}-{digits(draw.randrange(62**6), BASE62, 6)}-{digits(draw.randrange(62**2), BASE62, 2)}"
            message_id = f"{draw.randrange(16**12):012x}@{draw.choice(DOMAINS)}"
            recipient, client = fleet.address(), fleet.client()
            name, ip = client.rstrip("]").split("[")
            block = [
                f"{now} {identifier} <= {fleet.address()} H={name} [{ip}] P=esmtps X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no S={draw.randrange(900, 90000)} id={message_id}",
                f'{now} {identifier} => {recipient} R=dnslookup T=remote_smtp H=mx.example [192.0.2.7] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes C="250 2.0.0 Ok: queued as {fleet.queue_id(moment)}"',
                f"{now} {identifier} Completed",
            ]
            if draw.random() < 0.5:
                block.append(
                    f"{now} H={name} [{ip}] F=<{fleet.address()}> rejected RCPT <{recipient}>: relay not permitted"
                )
            file.write("\n".join(block) + "\n")
            samples.append(Sample(message_id, recipient, moment, (identifier,)))
            produced += len(block)
            moment += len(block) / LINES_PER_SECOND
    return samples
