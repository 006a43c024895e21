"""What became of every recipient of every mail, as the messages themselves tell it.

Delivered: the `Received:` headers of the copy. Bounced, expired: the same headers, as the bounce message returns them.
Rejected, discarded: the replies that the sending program got. Deferred, held: what is still in a queue.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cells import Cells
from .ends import Copy, Hop, Message, content, copies, hops, parse, waiting
from .fleet import BCC, finals
from .traffic import LAB_ID, Mail, Session

Row = dict[str, Any]
_QUEUED = re.compile(r"queued as (\w+)|id=(\S+)")
_ANY_LAB_ID = re.compile(rf"^\s*{LAB_ID}: (\S+)", re.MULTILINE)
POSTING = "X-Lab-Posting"
DELETED = "hold_delete"  # the scenario whose held mail an administrator deletes
REDIRECTED_TO = "u40@reef.example"


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail with what its sender was told: per recipient and as a whole."""

    mail: Mail
    entry: str
    at: float
    accepted: tuple[str, ...]
    queue_ids: tuple[str, ...]
    refused: tuple[tuple[str, str, str], ...]  # recipient, reply, stage


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient of a delivery status notification."""

    recipient: str
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A delivery status notification: of whom, and on which message."""

    reporting: str
    failures: tuple[Failure, ...]
    about: Message


def sent(sessions: Sequence[Session], replies: Sequence[Mapping[str, Any]]) -> dict[str, Sent]:
    """Each mail and its replies, by its lab ID."""
    of: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for reply in replies:
        of[reply["lab_id"]].append(reply)
    return {mail.lab_id: _sent(mail, session, of[mail.lab_id]) for session in sessions for mail in session.mails}


def _sent(mail: Mail, session: Session, transactions: Sequence[Mapping[str, Any]]) -> Sent:
    if session.local:
        return Sent(mail, session.entry, 0, mail.recipients, (), ())
    accepted: list[str] = []
    refused: list[tuple[str, str, str]] = []
    queue_ids: list[str] = []
    for one in transactions:
        whole = one["data"]
        for address, code, text in one["recipients"]:
            if code >= 500:
                refused.append((address, f"{code} {text}", "RCPT"))
            elif code == 250 and whole and whole[0] == 250:
                accepted.append(address)
            elif code == 250 and whole and whole[0] >= 500:
                refused.append((address, f"{whole[0]} {whole[1]}", "DATA"))
        if whole and whole[0] == 250 and (match := _QUEUED.search(whole[1])):
            queue_ids.append(match[1] or match[2])
    at = transactions[0]["at"] if transactions else 0
    return Sent(mail, session.entry, at, tuple(accepted), tuple(queue_ids), tuple(refused))


class Truth:
    """Collects the rows of one corpus."""

    def __init__(self, mails: Mapping[str, Sent]) -> None:
        self.mails = mails
        self.rows: list[Row] = []
        self.unread: list[str] = []  # messages that no row could be made of
        self._failed: set[tuple[tuple[Hop, ...], str]] = set()

    def read(self, cells: Cells) -> None:
        """All rows, from the running hosts."""
        for copy in copies(cells):
            self._arrived(copy)
        for one in waiting(cells):
            message = content(cells, one)
            for recipient in one.recipients:
                outcome = "held" if one.queue == "hold" else "deferred"
                self._add(message, recipient, outcome, hops(message), final_host=None)
        for mail in self.mails.values():
            self._told(mail)

    def missing(self) -> list[str]:
        """Accepted recipients without a row: a fault of the lab."""
        known = {(row["lab_id"], (row["original_recipient"] or "").lower()) for row in self.rows}
        return [
            f"{lab_id} {one.mail.scenario} {address}"
            for lab_id, one in self.mails.items()
            for address in one.accepted
            if (lab_id, address.lower()) not in known
        ]

    def write(self, path: Path) -> None:
        rows = sorted(self.rows, key=lambda row: (row["lab_id"], row["kind"] != "mail", json.dumps(row["path"])))
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def _arrived(self, copy: Copy) -> None:
        message = copy.message
        final = _final(copy)
        self._add(
            message,
            final,
            "delivered",
            hops(message),
            final_host=copy.host,
            mailbox=copy.mailbox,
            delivered_to=[_bare(one) for one in message.get_all("Delivered-To") or []],
            return_path=_bare(message.get("Return-path") or ""),
        )
        notice = notice_in(message)
        while notice is not None:  # one that could not be delivered is in the postmaster's, with what it was about
            for failure in notice.failures:
                if failure.action == "failed":
                    self._bounced(notice, failure)
            notice = notice_in(notice.about)

    def _bounced(self, notice: Notice, failure: Failure) -> None:
        path = hops(notice.about)
        if (tuple(path), failure.recipient) in self._failed:
            return
        self._failed.add((tuple(path), failure.recipient))
        outcome = "expired" if failure.status.startswith("4") else "bounced"
        self._add(
            notice.about,
            failure.recipient,
            outcome,
            path,
            final_host=None,
            dsn={"reporting_mta": notice.reporting, "status": failure.status, "diagnostic": failure.diagnostic},
        )

    def _add(self, message: Message, final: str, outcome: str, path: list[Hop], **more: Any) -> None:
        lab_id = message.get(LAB_ID) or _lab_id_inside(message)
        if lab_id is None or lab_id not in self.mails:
            self.unread.append(f"{outcome} {final}: {message.get('Subject')}")
            return
        one = self.mails[lab_id]
        notice = notice_in(message)
        row: Row = {
            "kind": "mail",
            "lab_id": lab_id,
            "scenario": one.mail.scenario,
            "message_id": one.mail.message_id,
            "envelope_from": one.mail.sender,
            "original_recipient": None,
            "final_recipient": final,
            "outcome": outcome,
            "path": [{"host": host, "queue_id": queue_id} for host, queue_id in path],
            "entry": one.entry,
            "sent_at": one.at,
            "final_message_id": _one_line(message.get("Message-ID")),
        }
        if notice is not None:
            about = hops(notice.about)
            row |= {
                "kind": "dsn",
                "message_id": row["final_message_id"],
                "envelope_from": "",
                "original_recipient": final,
                "actions": sorted({failure.action for failure in notice.failures}),
                "reports_on": [failure.recipient for failure in notice.failures],
                "parent": {"host": about[-1][0], "queue_id": about[-1][1]} if about else None,
            }
            if "Postmaster Copy" in str(message.get("Subject")):
                row["double_bounce_notice"] = True
        elif (posting := message.get(POSTING)) is not None:
            row |= {
                "kind": "list",
                "message_id": row["final_message_id"],
                "original_recipient": final,
                "envelope_from": "talk-bounces@lists.quay.example",
                "parent": {"host": "agora", "queue_id": posting},
            }
        else:
            row |= _origin(one, final, more.get("delivered_to", ()))
        self.rows.append(row | {name: value for name, value in more.items() if value is not None})

    def _told(self, one: Sent) -> None:
        """What the replies alone tell."""
        common = {
            "kind": "mail",
            "lab_id": one.mail.lab_id,
            "scenario": one.mail.scenario,
            "message_id": one.mail.message_id,
            "envelope_from": one.mail.sender,
            "entry": one.entry,
            "sent_at": one.at,
            "final_message_id": None,
        }
        whole = 0
        for address, reply, stage in one.refused:
            row: Row = {
                **common,
                "original_recipient": address,
                "final_recipient": address,
                "outcome": "rejected",
                "path": [],
                "reject": {"host": one.entry, "reply": reply, "stage": stage},
            }
            whole += stage == "DATA"
            if whole > 1:  # Postfix names one recipient in the line of a refused message
                row |= {"provable": False, "unprovable_why": "no line tells the rejection of this recipient"}
            self.rows.append(row)
        if one.mail.scenario not in ("discard", DELETED):
            return
        path = [{"host": one.entry, "queue_id": one.queue_ids[0]}]
        for address in one.accepted:
            self.rows.append(
                {
                    **common,
                    "original_recipient": address,
                    "final_recipient": address,
                    "outcome": "discarded",
                    "path": path,
                }
            )


def _origin(one: Sent, final: str, passed: Sequence[str]) -> Row:
    """Which accepted recipient a copy is for; `passed`: the addresses it was delivered to on its way."""
    origins = [address for address in one.accepted if final.lower() in finals(address)]
    exact = [address for address in origins if address.lower() == final.lower()]
    through = [address for address in origins if address.lower() in {name.lower() for name in passed}]
    through = [address for address in through if address not in exact]
    chosen = through or exact or origins
    if chosen:
        row: Row = {"original_recipient": chosen[0]}
    elif final == BCC:
        row = {"original_recipient": BCC, "added_by": "a blind copy"}
    elif final == REDIRECTED_TO:
        row = {"original_recipient": one.accepted[0], "added_by": "header_checks REDIRECT of osl1"}
    else:
        row = {"original_recipient": None}
    if row["original_recipient"] and row["original_recipient"].lower() != final.lower():
        row["forwarded_from"] = row["original_recipient"]
    return row


def notice_in(message: Message) -> Notice | None:
    """A message read as a delivery status notification (RFC 3464, RFC 6533), if it is one."""
    if message.get_content_type() != "multipart/report" or not message.is_multipart():
        return None
    parts = [part for part in message.get_payload() if isinstance(part, Message)]
    status = next((part for part in parts if part.get_content_type().endswith("delivery-status")), None)
    about = _returned(parts[-1])
    if status is None or about is None:
        return None
    whole, *blocks = _blocks(status)
    failures = [
        Failure(
            _typed(block.get("Final-Recipient")),
            (block.get("Action") or "").split()[0].lower(),
            (block.get("Status") or "").split()[0],
            _one_line(block.get("Diagnostic-Code")) or "",
        )
        for block in blocks
        if block.get("Final-Recipient")
    ]
    return Notice(_typed(whole.get("Reporting-MTA")), tuple(failures), about)


def _blocks(status: Message) -> list[Message]:
    """The groups of fields: one for the message, one for each recipient."""
    payload = status.get_payload()
    nested = [block for block in payload if isinstance(block, Message)] if isinstance(payload, list) else []
    if status.get_content_type() == "message/delivery-status":
        return nested
    rest = str(nested[0].get_payload()) if nested else ""  # the parser knows only RFC 3464's type
    return [*nested, *(parse(block.encode()) for block in rest.split("\n\n") if block.strip())]


def _returned(part: Message) -> Message | None:
    if part.get_content_type() == "text/rfc822-headers":
        return parse(str(part.get_payload()).encode())
    inner = part.get_payload()
    return inner[0] if isinstance(inner, list) and isinstance(inner[0], Message) else None


def _typed(value: Any) -> str:
    """`rfc822; a@b` without its type."""
    return _bare(str(value or "").rpartition(";")[2])


def _bare(value: Any) -> str:
    return str(value).strip().strip("<>")


def _one_line(value: Any) -> str | None:
    return None if value is None else " ".join(str(value).split())


def _final(copy: Copy) -> str:
    """The mailbox's address, with the extension that the mail was for."""
    local, _, domain = copy.mailbox.partition("@")
    for value in copy.message.get_all("Delivered-To") or []:
        address = _bare(value)
        if address.lower().partition("+")[0] == local and address.lower().endswith("@" + domain):
            return address
        break
    return copy.mailbox


def _lab_id_inside(message: Message) -> str | None:
    match = _ANY_LAB_ID.search(message.as_bytes().decode("utf-8", "replace"))
    return match[1] if match else None
