"""The words of mailtrace as data: queries, log entries, hops, deliveries, links, mails.

No I/O and no decisions: parsers make entries, `assemble` makes mails, `run` makes the report of them.

Times are seconds since the epoch as floats. In a `LogEntry` a time is what the line's stamp says (see `Zone`);
in hops, deliveries and the report it is UTC, corrected by `clocks`.
Addresses are stored without angle brackets, as the log spells them; `""` is the null sender.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload

from mailtrace.pages import Page

# ---------------------------------------------------------------------------------------------- asking


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The one question to every source: lines of these hosts, in this window, with these literals.

    A line answers when it contains *all* of `all_of` and *any* of `any_of`, literally and without regard to
    case (ASCII letters). Empty `hosts` means every host of the source, empty literals every line.
    `start` and `end` are UTC seconds, None is unbounded; the window is inclusive.
    A source may return lines a little outside the window where a log's zone is not known; never lines without
    the literals.
    `whole` is a hint for sources that search by words: the literals are whole identifiers (queue IDs, Message-IDs,
    addresses) as logs write them, no parts of them that a person typed. `lives` allows a source to hand over all that a
    log has of a plain message as one `Life`.
    """

    hosts: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    whole: bool = False
    lives: bool = False


@dataclass(frozen=True, slots=True)
class HostLogs:
    """Where one inventory host's logs are and how its lines are read (`host_config` and `hosts` of the config).

    Empty strings mean "not configured". `log_files` are paths, globs, `-` (standard input) or `journal`.
    """

    host: str
    log_files: tuple[str, ...]
    log_parser: str = ""
    time_format: str = ""
    time_zone: str = ""


class Zone(str, Enum):
    """How much of a point in time a stamp tells."""

    UTC = "utc"  # the stamp carried its offset: the time is UTC
    LOCAL = "local"  # a year but no offset: the time reads the clock's face as if it were UTC
    YEARLESS = "yearless"  # neither: as LOCAL, in the year 2000


class Stamp(NamedTuple):
    """A time as a line writes it: seconds (see `Zone`) and the zone's kind."""

    time: float
    zone: Zone


# --------------------------------------------------------------------------------------------- entries


class Peer(NamedTuple):
    """The other end of a connection; empty where the line does not tell."""

    name: str = ""
    ip: str = ""
    port: int | None = None


NOBODY = Peer()


class Accepted(NamedTuple):
    """A message enters a queue: Postfix `client=` and `uid=`, Exim `<=`.

    `parent` is an ID on the same host or on `origin` that this message continues, and `parent_kind` says how:
    `xforward` (orig_queue_id), `requeued` (orig_id), `bounced` (Exim R= on `<= <>`).
    `recipients` only where the line lists them (Exim `for …`). None: the line does not tell.
    """

    client: Peer = NOBODY
    helo: str = ""
    user: str = ""  # authenticated (sasl_username, A=) or local (uid=, U=) user
    method: str = ""  # sasl_method, or Exim's authenticator
    local: bool = False  # submitted on the host itself (pickup, P=local)
    protocol: str = ""  # Exim P=
    sender: str | None = None
    size: int | None = None
    message_id: str | None = None  # as logged, without <>
    recipients: tuple[str, ...] = ()
    parent: str = ""
    parent_kind: str = ""
    origin: Peer = NOBODY  # orig_client
    subject: str | None = None
    tls: str = ""


class MessageId(NamedTuple):
    """Postfix cleanup `message-id=`; without <>, "" when the message has none."""

    message_id: str
    resent: bool = False


class Queued(NamedTuple):
    """Postfix qmgr `from=, size=, nrcpt= (queue active)`; seen again at each retry."""

    sender: str
    size: int
    nrcpt: int


class Attempt(NamedTuple):
    """One attempt to pass the message on for one recipient.

    `status`: sent, deferred, bounced, expired, rejected, discarded, held, undeliverable (address probes:
    deliverable/undeliverable).
    `transport` is the Postfix daemon or service (smtp, lmtp, local, virtual, pipe, relay/smtp …) or Exim's T=.
    `relay` is empty for `relay=none`; `relay.name` is the bare transport for local deliveries (local, dovecot).
    `reply` is the text in parentheses, or of C="…", or the error text. `delays` are Postfix' four, in seconds.
    `flag` is Exim's (`=>`, `->`, `>>`, `*>`, `**`, `==`), "" for Postfix.
    """

    recipient: str
    original: str  # orig_to, or Exim's last <…>; "" when the line has none
    status: str
    relay: Peer = NOBODY
    transport: str = ""
    reply: str = ""
    dsn: str = ""
    delay: float | None = None
    delays: tuple[float, float, float, float] | None = None
    tls: str = ""
    local: bool = False  # ends on this host: stored, or handed to a program
    flag: str = ""
    router: str = ""  # Exim R=
    parents: tuple[str, ...] = ()  # Exim's further <…> between recipient and original


class Notified(NamedTuple):
    """A notification was made: `child` is the queue ID of the message that carries it ("" if not told).

    `kind`: `non-delivery`, `delay`, `success` (delivery status), and `to` `sender` or `postmaster`.
    """

    child: str
    kind: str
    to: str = "sender"


class Removed(NamedTuple):
    """The message left the queue: Postfix `removed`, Exim `Completed`; `how` is "" or the rest of the line
    (`canceled`, `deleted` by postsuper, `cancelled by …`).
    """

    how: str = ""


class Action(NamedTuple):
    """What an administrator or the queue manager did to a message in the queue.

    `what`: expired, force-expired, held, released, requeued, frozen, unfrozen, skipped.
    """

    what: str
    text: str = ""
    sender: str = ""


class Check(NamedTuple):
    """A decision of an access or content check (smtpd, cleanup, postscreen, Exim's ACLs).

    `action`: reject, defer (a temporary reject: 4xx), hold, discard, redirect, filter, bcc, info, warn, prepend …
    (milter- and header- prefixes taken off). `stage`: CONNECT, EHLO, MAIL, RCPT, DATA, END-OF-MESSAGE, header, body.
    `text` is the reply or the header, `argument` what stands behind it (redirect's address, prepend's header).
    """

    action: str
    stage: str
    client: Peer = NOBODY
    sender: str | None = None
    recipient: str | None = None
    helo: str = ""
    code: str = ""  # 450
    dsn: str = ""  # 4.2.0
    text: str = ""
    argument: str = ""
    subject: str | None = None  # `info: header Subject: …`
    repeats: int = 1  # `message repeated N times`: so often, besides the first


class Proxied(NamedTuple):
    """Postfix before-queue filter: `proxy-accept` / `proxy-reject`; joined to its session by pid."""

    accepted: bool
    reply: str
    sender: str = ""
    recipient: str = ""
    helo: str = ""


class Filtered(NamedTuple):
    """A content filter's own line: which message came, which went (amavis `Queue-ID`, `queued_as`)."""

    program: str
    verdict: str  # Passed CLEAN, Blocked SPAM …
    queue_id: str = ""
    queued_as: tuple[str, ...] = ()
    message_id: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    size: int | None = None


class Stored(NamedTuple):
    """A mailbox server's own line: Dovecot `saved mail to`, sieve `stored mail into` / `forwarded to` / `rejected`."""

    program: str
    session: str
    user: str
    message_id: str
    what: str  # stored, forwarded, rejected, discarded, failed
    where: str = ""  # mailbox or address


class Note(NamedTuple):
    """A line about a queued message, or about the log itself, that changes no state: an SMTP conversation's
    error (`host … said`), Exim's retry notes, `Suppressed N messages` (kind `lost`, `number`).
    """

    kind: str
    text: str
    peer: Peer = NOBODY
    number: int = 0


class Session(NamedTuple):
    """Connection bookkeeping without a queue ID: connect, disconnect, lost, timeout, tls.

    `direction` is `in` (smtpd) or `out` (smtp); `text` the TLS summary or the counters of `disconnect`.
    """

    what: str
    direction: str
    peer: Peer
    text: str = ""


Event = (
    Accepted
    | MessageId
    | Queued
    | Attempt
    | Notified
    | Removed
    | Action
    | Check
    | Proxied
    | Filtered
    | Stored
    | Note
    | Session
)


class LogEntry(NamedTuple):
    """What a parser made of one line."""

    host: str  # the inventory's name, or the one in the line where nobody configured it
    time: float  # as the stamp says, see `zone`
    zone: Zone
    seq: int  # position in its log: order among equal stamps
    logged_host: str  # the name in the line, "" if it has none
    instance: str  # first part of the tag: postfix, postfix-out, exim
    service: str  # rest of the tag: smtpd, submission/smtpd, qmgr …; "" for Exim
    pid: int
    queue_id: str  # "" for NOQUEUE and lines without one
    event: Event
    raw: str = ""  # the line, only where the parser was asked to keep it
    raw_time: str = ""  # the stamp as written


class Origin(NamedTuple):
    """Whose lines those of a `Life` are: shared by all that one log has of one host."""

    host: str
    logged_host: str
    instance: str
    zone: Zone
    read: Callable[[Sequence[Life]], list[LogEntry]]
    """Entries of the lines of such lives."""


class Life(NamedTuple):
    """All that a log has of a plain message: it came from a client, went to each recipient, and left the queue.

    A day has a million of them, and most concern no other: of each line stamp, process and what stands behind the queue
    ID are kept, on a page, and read when somebody wants to see the message. `first` is as the stamp says, `named` are
    the IDs that replies name; `stored` tells that each recipient's copy ended on this host.
    """

    origin: Origin
    queue_id: str
    first: float
    page: Page
    at: int
    named: tuple[str, ...]
    stored: bool

    @property
    def last(self) -> float:
        """The stamp of the last line."""
        return self.page.lasts[self.at]

    @property
    def seq(self) -> int:
        """The position of the first line."""
        return self.page.seqs[self.at]

    @property
    def text(self) -> str:
        """In lines: the stamps of the log's lines, then their processes, then what stands behind each queue ID."""
        return self.page.text(self.at)

    @property
    def host(self) -> str:
        """The inventory's name of the host."""
        return self.origin.host

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return (self.text.count("\n") + 1) // 3

    def entries(self) -> list[LogEntry]:
        """What a parser makes of the lines."""
        return self.origin.read([self])


def read_lives(lives: Iterable[Life]) -> Iterator[LogEntry]:
    """What parsers make of the lines of many, quicker than one by one."""
    by_origin: dict[int, list[Life]] = {}
    for life in lives:
        by_origin.setdefault(id(life.origin), []).append(life)
    for some in by_origin.values():
        some.sort(key=attrgetter("first"))  # stamps near each other are known from each other
        yield from some[0].origin.read(some)


def lines_of(entry: LogEntry | Life) -> int:
    """How many lines of a log an entry stands for."""
    return entry.lines if isinstance(entry, Life) else 1


class Parser(Protocol):
    """Envelope and grammar together: bytes of whole lines → entries."""

    unparsed: int
    """Lines of a known mail program that no grammar matched, since the parser was made."""

    def parse(self, block: bytes, seq: int, host: str | Callable[[str], str]) -> Iterable[LogEntry]:
        """Entries of a block of whole lines, the first of which stands at position `seq` of its log.

        `host` is the name to give every entry, or maps the name in the line to it (a loghost's file; "" for a
        line without a name). Never raises, whatever the bytes are.
        """

    def stamp(self, line: bytes) -> Stamp | None:
        """The time of one line, None if it has none; cheap, for finding a window by bisection."""


class Source(Protocol):
    """Where lines come from. Made by the registry from its options; asked once per wave."""

    hosts: tuple[str, ...]

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer; where the query allows it, a `Life` for those of a message.

        Raises `DataError` only when nothing at all can be read; what fails for one file or host is a problem in
        `coverage()`.
        """

    def coverage(self) -> list[Coverage]:
        """What was looked at since the source was made, one item per host and log."""

    def samples(self) -> Iterable[LogEntry]:
        """Entries that were read of each log only to learn what its stamps mean."""

    def plan(self, query: LogQuery) -> list[str]:
        """What `query` would do, a line each, without opening a log, file or network."""

    def check(self) -> list[Coverage]:
        """Verify access and read nothing else."""

    def close(self) -> None:
        """Let go of connections and files."""


class Tail(Protocol):
    """A log that is followed: what came since a place, once. A source's `follow` makes it anew for every round."""

    name: str
    """What its place is kept under: the same in every run."""
    problem: str
    """What keeps it from being read, "" where nothing does; known when it has been gone through."""
    lines: int
    """Lines or documents that were read so far."""

    @property
    def unproved(self) -> Collection[str]:
        """Hosts in it whose stamps carry no zone, and neither the config nor the log tells which it is."""

    def __iter__(self) -> Iterator[tuple[LogEntry, Any]]:
        """New entries, whose times are UTC, each with a mark: where reading goes on behind it."""

    def place(self, mark: Any = None) -> Any:
        """A mark, or the end of all that was read, as JSON that `follow` takes again."""


# ---------------------------------------------------------------------------------------------- mails


class Delivery(NamedTuple):
    """One attempt of a hop, as the report tells it."""

    recipient: str
    original_recipient: str
    status: str  # sent, deferred, bounced, expired, rejected, discarded, held
    relay: Peer
    reply: str
    reply_id: str  # the ID the other side gave the message, "" if its reply names none
    dsn: str
    delay: float | None
    delays: tuple[float, float, float, float] | None
    tls: str
    time: float
    raw_time: str
    transport: str
    local: bool
    plain: bool = False  # the log tells that it went without TLS; else "" in `tls` is what is not known


class QueueAction(NamedTuple):
    """What was done to a message in its queue: `what` is an `Action`'s, or how it was removed (`Removed.how`)."""

    what: str
    time: float
    raw_time: str


@dataclass(slots=True, eq=False)
class Hop:
    """One stay of a message in one queue."""

    id: str  # host:instance:queue_id, `#2` behind it for the second lifecycle of a reused ID
    host: str
    instance: str
    queue_id: str
    mta: str  # postfix or exim
    first: float
    last: float
    client: Peer = NOBODY
    helo: str = ""
    user: str = ""
    local: bool = False
    tls: str = ""
    message_id: str = ""
    sender: str | None = None
    size: int | None = None
    subject: str | None = None
    removed: bool = False
    held: bool = False  # put on hold as it came
    taken: float | None = None  # when all of it had come, None where no line tells
    expired: float | None = None  # when the queue gave up on what was still deferred
    raw_first: str = ""  # the stamp of its first line, as written
    deliveries: list[Delivery] = field(default_factory=list)
    entries: list[LogEntry] = field(default_factory=list)  # only where the job wants them
    plain: bool = False  # as a delivery's
    actions: Sequence[QueueAction] = ()


class LinkKind(str, Enum):
    """Why one hop follows another."""

    RELAYED = "relayed"
    REINJECTED = "reinjected"
    FORWARDED = "forwarded"
    BOUNCED = "bounced"
    REQUEUED = "requeued"


class Certainty(str, Enum):
    """How sure a link is."""

    PROVEN = "proven"
    LIKELY = "likely"
    AMBIGUOUS = "ambiguous"


class Evidence(NamedTuple):
    """One fact that speaks for a link: `kind` (reply-id, message-id, …) and the fact in words."""

    kind: str
    text: str


class Link(NamedTuple):
    """Hop `to` follows hop `from_` (their ids); `recipients` are those that went this way."""

    from_: str
    to: str
    kind: LinkKind
    certainty: Certainty
    evidence: tuple[Evidence, ...]
    recipients: tuple[str, ...] = ()


class Step(NamedTuple):
    """One hop of a path."""

    host: str
    queue_id: str
    hop: str = ""  # the hop's id


class Recipient(NamedTuple):
    """What became of one final copy.

    `outcome`: delivered, relayed, deferred, bounced, expired, rejected, discarded, held, quarantined, in_transit,
    unknown. `seconds`: from the first own acceptance to the final event, None where unknown.
    """

    recipient: str
    original_recipient: str
    outcome: str
    path: tuple[Step, ...]
    seconds: float | None
    reason: str
    attempts: int
    certainty: Certainty = Certainty.PROVEN  # of the weakest link on the path


@dataclass(slots=True, eq=False)
class Mail:
    """Hops and links that belong together, with one row per final copy."""

    id: str
    message_id: str
    sender: str | None
    size: int | None
    subject: str | None
    hops: list[Hop]
    links: list[Link]
    recipients: list[Recipient]
    first: float = 0.0
    last: float = 0.0

    @property
    def refused(self) -> list[Recipient]:
        """The rows of recipients that the first own host refused."""
        return [row for row in self.recipients if not row.path and row.outcome == "rejected"]


_SOME = 256
_Root = TypeVar("_Root")


class Remade(Sequence[Mail], Generic[_Root]):
    """Mails that are made anew whenever they are looked at, each of what it begins with, `_SOME` at a time."""

    _roots: Sequence[_Root]

    @abstractmethod
    def _made(self, roots: Sequence[_Root]) -> Iterator[Mail]:
        """The mails that begin so, in their order."""

    def linked(self) -> Iterable[Mail]:
        """The mails that have links to other mails, and these; here all, since it is not known before they are made."""
        return self

    def __len__(self) -> int:
        return len(self._roots)

    def __iter__(self) -> Iterator[Mail]:
        for at in range(0, len(self._roots), _SOME):
            yield from self._made(self._roots[at : at + _SOME])

    @overload
    def __getitem__(self, at: int) -> Mail: ...
    @overload
    def __getitem__(self, at: slice) -> list[Mail]: ...
    def __getitem__(self, at: int | slice) -> Mail | list[Mail]:
        if isinstance(at, slice):
            return list(self._made(self._roots[at]))
        (mail,) = self._made([self._roots[at]])
        return mail


@dataclass(slots=True)
class Coverage:
    """What was read of one host's log. `first`/`last` are UTC; `problem` is "" where all went well.

    `missing` tells that data is missing (exit 3), as against a note. The stamps are what `first` and `last` were
    read from: who knows the host's clock better can read them anew.
    """

    host: str
    source: str
    names: tuple[str, ...] = ()  # files, or indices
    first: float | None = None
    last: float | None = None
    lines: int | None = None
    matched: int = 0
    unparsed: int = 0
    problem: str = ""
    missing: bool = False
    first_stamp: Stamp | None = None
    last_stamp: Stamp | None = None
    clock: str = ""  # what the machine's own clock says, where a check has asked it


class ClockNote(NamedTuple):
    """How the stamps of one host were understood.

    `offset` is seconds east of UTC, None for stamps that carry their own; `skew_seconds` how far the clock is
    ahead of the fleet's; `proved_by` says what proves it, or `config`, `machine`, `assumed`.
    """

    host: str
    offset: float | None
    year_from: str
    skew_seconds: float
    proved_by: str


class Warning_(NamedTuple):  # noqa: N801 - the plain word is Python's
    """Something the reader should know: a stable `code`, a message, the host it is about."""

    code: str
    message: str
    host: str = ""


class Hint(NamedTuple):
    """Where nothing was found: why that may be, or what is near. A stable `code`, a message, the host it is about."""

    code: str
    message: str
    host: str = ""


class Expectation(NamedTuple):
    """One expectation of the job and how it came out."""

    text: str
    held: bool
    detail: str = ""
    place: str = ""  # where the job has it: job.yaml:12:5


class Fleet(Protocol):
    """What the configuration tells about hosts; `hosts.Inventory` is one."""

    def own(self, host: str) -> bool:
        """Whether this inventory host belongs to the fleet (not `outside`)."""

    def find(self, name: str) -> str:
        """The inventory's host for a name or an address as logs spell it, "" if it knows none."""

    def zone(self, host: str) -> str:
        """The configured time zone of a host ("" if none)."""

    @property
    def names(self) -> Iterable[str]:
        """All inventory hosts."""

    @property
    def domain(self) -> str:
        """The configured domain, "" if none."""


Span = Mapping[str, tuple[float, float]]
"""Host → first and last moment its log covers."""


# ------------------------------------------------------------------------------------------ in hand


class ToldHop(NamedTuple):
    """A hop as a `Received:` header tells it; anyone can have written it. `time` is UTC, None where it tells none.

    `hop` is the id of the hop in the logs that it is, "" where the logs do not have it.
    """

    host: str  # who wrote the header: `by`
    queue_id: str
    client: Peer  # `from`
    protocol: str
    recipient: str
    tls: str
    time: float | None
    hop: str = ""


class Headers(NamedTuple):
    """What the headers of one message in hand tell. `kind`: message, bounce, or returned (what a bounce is about).

    `hops` are in travel order, oldest first. Addresses and IDs come without <>.
    """

    kind: str
    message_id: str
    sender: str | None
    recipients: tuple[str, ...]
    subject: str
    hops: tuple[ToldHop, ...]


class Letter(NamedTuple):
    """A message in hand (a mail, pasted headers, a bounce) as the start of a search.

    `queue_ids` are IDs and about when they were in use (None: no telling); `start` and `end` (UTC) when the mail can
    have been on its way. `recipients` are looked for only where there is neither ID.
    """

    sheets: tuple[Headers, ...]
    message_ids: tuple[str, ...] = ()
    queue_ids: tuple[tuple[str, float | None], ...] = ()
    recipients: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def literals(self) -> tuple[str, ...]:
        """What its lines in a log hold, any of it."""
        ids = (*self.message_ids, *(queue_id for queue_id, _ in self.queue_ids))
        return tuple(dict.fromkeys(ids or self.recipients))
