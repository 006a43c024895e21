"""What is sent: several hundred mails of many kinds, different for every seed.

Nothing here knows what becomes of a mail; `truth` reads that where the mail ended.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .fleet import ALIASES, BCC_OF, BY_NAME, GHOSTS, LIST_MANAGER, LOST, MAILBOXES, STUCK
from .roles import PASSWORD

LAB_ID = "X-Lab-Id"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as it is handed to the first host; `message_id` None: it has none."""

    lab_id: str
    scenario: str
    sender: str
    recipients: tuple[str, ...]
    message_id: str | None
    content: str
    mail_options: str = ""
    rcpt_options: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One connection and its mails: when (seconds after the start), from where, to where, as whom.

    `entry` is the host's name; a session with `local` is the host's own sendmail.
    """

    at: float
    entry: str
    mails: tuple[Mail, ...]
    host: str = ""
    port: int = 25
    source: str = "10.99.0.201"
    helo: str = "mail.partner.example"
    tls: str = ""
    login: tuple[str, str] | None = None
    local: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `services/sender.py`."""
        return asdict(self)


@dataclass(slots=True)
class Draft:
    """A mail in the making."""

    sender: str
    to: Sequence[str]
    entry: str = "edge"
    subject: str = ""
    message_id: str | None = "auto"
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    helo: str = ""
    source: str = ""
    copies: int = 1  # the same content in so many transactions
    mail_options: str = ""
    rcpt_options: str = ""
    together: bool = False  # the copies share a connection
    at_once: bool = False  # the copies come at the same time
    same_id: bool = False  # the copies share a Message-ID
    early: bool = False  # takes long to end


class Writer:
    """Draws what is left to chance, from one seed."""

    def __init__(self, seed: int, span: float) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.span = span
        self.count = 0

    def sessions(self, scale: float) -> Iterator[Session]:
        """All traffic; `scale` multiplies how often each scenario happens."""
        for scenario, (times, draft) in SCENARIOS.items():
            for _ in range(max(1, round(times * scale))):
                yield from self.of(scenario, draft(self))

    def of(self, scenario: str, draft: Draft) -> Iterator[Session]:
        """The sessions of one draft."""
        shared = self.new_message_id(draft.sender)
        mails = [self.mail(scenario, draft, shared) for _ in range(draft.copies)]
        at = self.chance.uniform(0, self.span * (0.2 if draft.early else 1))
        for group in [mails] if draft.together else [[mail] for mail in mails]:
            yield self.session(draft, tuple(group), at)
            if not draft.at_once:
                at = self.chance.uniform(0, self.span)

    def mail(self, scenario: str, draft: Draft, shared: str) -> Mail:
        self.count += 1
        lab_id = f"lab-{self.seed}-{self.count:05}"
        fresh = shared if draft.same_id else self.new_message_id(draft.sender)
        message_id = fresh if draft.message_id == "auto" else draft.message_id
        headers = {
            LAB_ID: lab_id,
            "From": f"<{draft.sender or 'daemon@partner.example'}>",
            "To": "undisclosed:;",
            "Subject": draft.subject or self.words(3),
            **draft.headers,
        }
        if message_id is not None:
            headers["Message-ID"] = message_id
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = "".join(f"{self.words(9)}\r\n" for _ in range(draft.size or self.chance.randrange(1, 40)))
        return Mail(
            lab_id,
            scenario,
            draft.sender,
            tuple(draft.to),
            message_id,
            f"{head}\r\n{body}",
            draft.mail_options,
            draft.rcpt_options,
        )

    def session(self, draft: Draft, mails: tuple[Mail, ...], at: float) -> Session:
        entry = self.chance.choice(("sp1", "osl1")) if draft.entry == "edge" else draft.entry
        name, _, way = entry.partition("/")
        plain = Session(at, name, mails, BY_NAME[name].addresses[0], local=way == "local")
        if name == "dock":
            port, tls = self.chance.choice(((587, "starttls"), (465, "wrapped")))
            return replace(
                plain,
                port=port,
                tls=tls,
                source="10.99.0.206",
                helo="[10.99.0.206]",
                login=(draft.sender.lower(), PASSWORD),
            )
        if name == "narwhal":
            return replace(plain, source="10.99.0.205", helo="app1")
        if name == "far":
            return replace(
                plain, source="10.99.0.202", helo="smtp-out.far.example", tls=self.chance.choice(("", "starttls"))
            )
        source = draft.source or self.chance.choice(("10.99.0.201", "10.99.0.203", "10.99.0.204"))
        helo = (
            draft.helo
            or {
                "10.99.0.201": "mail.partner.example",
                "10.99.0.203": "WIN-7F3K2",
                "10.99.0.204": "bulk7.sender.example",
            }[source]
        )
        return replace(plain, source=source, helo=helo)

    def one_of(self, domain: str) -> str:
        """Somebody of a domain, whom nothing special happens to."""
        plain = [
            one
            for one in MAILBOXES[domain]
            if f"{one}@{domain}" not in (*ALIASES, BCC_OF)
            and not one.startswith(("grey", "list-", "archive", "second"))
            and one not in ("u40", "søren")
        ]
        return f"{self.chance.choice(plain)}@{domain}"

    def inside(self, count: int = 1) -> list[str]:
        """Different people inside."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[
                self.one_of(self.chance.choice(("quay.example", "reef.example", "arctic.example", "dune.example")))
            ] = None
        return list(found)

    def outside(self) -> str:
        return self.one_of(self.chance.choice(("far.example", "isle.example")))

    def submitter(self) -> str:
        """Somebody with an account at dock."""
        return self.one_of(self.chance.choice(("quay.example", "reef.example", "dune.example")))

    def unique(self, word: str) -> str:
        return f"{word}{self.chance.randrange(16**5):05x}"

    def words(self, count: int) -> str:
        return " ".join(self.chance.choice(_WORDS) for _ in range(count))

    def new_message_id(self, sender: str) -> str:
        token = f"{self.chance.getrandbits(64):016x}"
        domain = sender.partition("@")[2] or "partner.example"
        return self.chance.choice(
            (
                f"<{token}@{domain}>",
                f"<CAF{token}=x+{token[:4]}@mail.gmail.example>",
                f"<{token[:8]}.{token[8:]}.JavaMail.root@app-{token[:2]}>",
                f"<AM0PR0{token.upper()}@AM0PR01MB1234.eurprd01.prod.outlook.example>",
            )
        )


_WORDS = (
    "anchor",
    "beacon",
    "cargo",
    "drift",
    "ebb",
    "fathom",
    "gale",
    "hull",
    "invoice",
    "jetty",
    "keel",
    "log",
    "mast",
    "night",
    "offer",
    "pier",
    "quote",
    "reef",
    "sail",
    "tide",
    "urgent",
    "wave",
    "status=sent",
    "yacht",
)


def _into(writer: Writer, *to: str, **more: Any) -> Draft:
    return Draft(writer.outside(), to, **more)


def _submitted(writer: Writer, *to: str, **more: Any) -> Draft:
    return Draft(writer.submitter(), to, entry="dock", **more)


def _loop(writer: Writer) -> Draft:
    return _into(writer, "ping@quay.example")


def _odd_sender(writer: Writer) -> Draft:
    local = writer.chance.choice(("o'hara", "a=b", "very.common"))
    return Draft(f"{local}@isle.example", writer.inside(2))


def _odd_subject(writer: Writer) -> Draft:
    subject = writer.chance.choice(
        (
            "x from unknown[1.2.3.4]; from=<a@b.example> to=<c@d.example> proto=ESMTP helo=<x>",
            "status=sent (250 2.0.0 Ok: queued as 4ABCDEF0123)",
            "=?utf-8?q?caf=C3=A9?= \x1b[31mred",
            "a\tb\\n%n%s",
            "'; --",
        )
    )
    return _into(writer, *writer.inside(), entry="osl1", subject=subject)


def _odd_message_id(writer: Writer) -> Draft:
    token = writer.unique("m")
    made = writer.chance.choice(
        (
            f"<{token}>",
            f"{token}@no.brackets.example",
            f"<{token}, to=<x@y.example>, z@w>",
            f"<{token}@sp ace.example>",
            f"<{token}.{'q' * 180}@long.example>",
        )
    )
    return _into(writer, *writer.inside(), message_id=made)


def _odd_helo(writer: Writer) -> Draft:
    helo = writer.chance.choice(
        ("[10.99.0.203]", "localhost", "a>b, relay=x[1.2.3.4]:25", "queued as 1234567", "mx-sp.quay.example")
    )
    return _into(writer, *writer.inside(), helo=helo, source="10.99.0.203")


def _utf8(writer: Writer) -> Draft:
    return Draft("søren@isle.example", writer.inside(), mail_options=" SMTPUTF8", subject="grüße")


def _big(writer: Writer) -> Draft:
    people = [f"u{n:02}@reef.example" for n in range(1, 40)]
    writer.chance.shuffle(people)
    return _into(writer, *people[: writer.chance.randrange(25, 39)])


def _reject_part(writer: Writer) -> Draft:
    return _into(writer, *writer.inside(2), f"{writer.unique('nosuch')}@reef.example")


def _tagged(writer: Writer) -> Draft:
    local, _, domain = writer.one_of(writer.chance.choice(("quay.example", "reef.example"))).partition("@")
    return _into(writer, f"{local}+{writer.unique('tag')}@{domain}")


def _case(writer: Writer) -> Draft:
    local, _, domain = writer.one_of(writer.chance.choice(("reef.example", "dune.example"))).partition("@")
    return _into(writer, f"{local.title()}@{domain.title()}")


SCENARIOS: dict[str, tuple[int, Callable[[Writer], Draft]]] = {  # how often at scale 1, and what
    "in_one": (45, lambda w: _into(w, *w.inside())),
    "in_some": (25, lambda w: _into(w, *w.inside(w.chance.randrange(2, 6)))),
    "in_by_world": (15, lambda w: _into(w, *w.inside(2), entry="far")),
    "in_size": (3, lambda w: _into(w, *w.inside(), size=9000)),
    "big_list": (2, _big),
    "session": (6, lambda w: _into(w, *w.inside(), copies=4, together=True, at_once=True)),
    "burst": (2, lambda w: _into(w, *w.inside(), copies=25, at_once=True)),
    "burst_out": (2, lambda w: Draft(w.one_of("arctic.example"), (w.outside(),), "narwhal", copies=15, at_once=True)),
    "same_id": (4, lambda w: _into(w, *w.inside(), copies=4, same_id=True)),
    "same_id_out": (8, lambda w: _submitted(w, w.outside(), copies=4, same_id=True)),
    "same_id_at_once": (4, lambda w: _submitted(w, w.outside(), copies=5, same_id=True, at_once=True)),
    "no_id": (10, lambda w: _into(w, *w.inside(), message_id=None)),
    "out": (25, lambda w: _submitted(w, w.outside())),
    "out_some": (10, lambda w: _submitted(w, w.outside(), w.outside(), *w.inside(2))),
    "out_program": (10, lambda w: Draft(w.one_of("arctic.example"), (w.outside(), *w.inside()), "narwhal")),
    "inside": (12, lambda w: _submitted(w, *w.inside(2))),
    "local_submission": (6, lambda w: Draft(w.one_of("quay.example"), (w.outside(), *w.inside()), "agora/local")),
    "local_dsn": (2, lambda w: Draft(w.one_of("dune.example"), (f"{w.unique('x')}@far.example",), "tern/local")),
    "alias": (6, lambda w: _into(w, "team@quay.example")),
    "alias_edge": (4, lambda w: _into(w, "info@reef.example")),
    "alias_chain": (4, lambda w: _into(w, "chain1@quay.example")),
    "alias_abroad": (5, lambda w: _into(w, w.chance.choice(("abroad@quay.example", "gone@arctic.example")))),
    "alias_exim": (4, lambda w: _into(w, "crew@arctic.example")),
    "alias_broken": (3, lambda w: _into(w, "broken@quay.example")),
    "to_program": (3, lambda w: _into(w, "desk@quay.example")),
    "sieve": (5, lambda w: _into(w, w.chance.choice(("hop@reef.example", "away@reef.example")), *w.inside())),
    "list_owner": (4, lambda w: _into(w, "list-news@quay.example")),
    "list_manager": (4, lambda w: _into(w, LIST_MANAGER)),
    "loop": (2, _loop),
    "ghost": (8, lambda w: _into(w, f"{w.chance.choice(GHOSTS)}@{w.inside()[0].partition('@')[2]}")),
    "ghost_part": (6, lambda w: _into(w, *w.inside(2), f"{w.chance.choice(GHOSTS)}@reef.example")),
    "ghost_lmtp": (3, lambda w: _into(w, LOST, *w.inside())),
    "ghost_out": (6, lambda w: _submitted(w, f"{w.unique('none')}@far.example")),
    "ghost_program": (3, lambda w: Draft(w.one_of("arctic.example"), (f"{w.unique('none')}@isle.example",), "narwhal")),
    "full_out": (3, lambda w: _submitted(w, f"{w.unique('full')}@far.example", w.outside())),
    "banned_out": (3, lambda w: _submitted(w, f"{w.unique('banned')}@isle.example")),
    "double_bounce": (4, lambda w: Draft(f"{w.unique('nobody')}@far.example", ("ghost1@reef.example",))),
    "null_sender": (4, lambda w: Draft("", w.inside())),
    "null_ghost": (2, lambda _: Draft("", ("ghost2@reef.example",))),
    "reject": (8, lambda w: _into(w, f"{w.unique('nosuch')}@reef.example")),
    "reject_relay": (4, lambda w: _into(w, f"{w.unique('any')}@elsewhere.example")),
    "reject_part": (6, _reject_part),
    "reject_before_queue": (4, lambda w: _into(w, *w.inside(2), entry="sp1", headers={"X-Lab-Filter": "reject"})),
    "reject_header": (3, lambda w: _into(w, *w.inside(), entry="osl1", headers={"X-Lab-Action": "refuse"})),
    "reject_by_filter": (3, lambda w: _submitted(w, *w.inside(), headers={"X-Lab-Filter": "reject"})),
    "busy_filter": (3, lambda w: _submitted(w, *w.inside(), headers={"X-Lab-Filter": "tempfail"})),
    "grey_in": (6, lambda w: Draft(f"grey{w.chance.randrange(1, 4)}@far.example", w.inside(2), "osl1")),
    "grey_in_world": (3, lambda w: Draft(f"grey{w.chance.randrange(1, 4)}@far.example", w.inside(), "far")),
    "grey_out": (5, lambda w: _submitted(w, f"grey{w.chance.randrange(1, 4)}@far.example", w.outside())),
    "grey_program": (3, lambda w: Draft(w.one_of("arctic.example"), ("grey1@far.example",), "narwhal")),
    "discard": (3, lambda w: _into(w, *w.inside(), entry="sp1", headers={"X-Lab-Action": "discard"})),
    "redirect": (3, lambda w: _into(w, *w.inside(), entry="osl1", headers={"X-Lab-Action": "redirect"})),
    "blind_copy": (5, lambda w: _into(w, BCC_OF, entry="osl1")),
    "hold_release": (3, lambda w: Draft("hold1@far.example", w.inside(2), "sp1")),
    "hold_requeue": (3, lambda w: Draft("hold2@far.example", w.inside(2), "sp1")),
    "hold_keep": (2, lambda w: Draft("hold3@far.example", w.inside(), "sp1")),
    "hold_delete": (2, lambda w: Draft("hold4@far.example", w.inside(), "sp1")),
    "expired": (4, lambda w: _submitted(w, f"{w.unique('x')}@dead.example", early=True)),
    "expired_part": (2, lambda w: _submitted(w, f"{w.unique('x')}@dead.example", w.outside(), early=True)),
    "busy_out": (3, lambda w: _submitted(w, f"{w.unique('slow')}@far.example", early=True)),
    "stuck": (3, lambda w: _into(w, f"{w.unique('x')}@{STUCK}", *w.inside())),
    "stuck_program": (2, lambda w: Draft(w.one_of("arctic.example"), (f"{w.unique('x')}@dead.example",), "narwhal")),
    "success_notice": (4, lambda w: _into(w, *w.inside(), rcpt_options=" NOTIFY=SUCCESS,FAILURE")),
    "never_notice": (3, lambda w: _into(w, *w.inside(2), rcpt_options=" NOTIFY=NEVER")),
    "odd_sender": (5, _odd_sender),
    "odd_subject": (5, _odd_subject),
    "odd_message_id": (5, _odd_message_id),
    "odd_helo": (5, _odd_helo),
    "utf8": (3, _utf8),
    "tagged": (4, _tagged),
    "case": (4, _case),
}
