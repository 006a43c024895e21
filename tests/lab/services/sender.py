"""Sends mail as told, and notes every reply: the traffic of the lab, run in the partners' network.

python sender.py SESSIONS.json REPLIES.json; `traffic.Session` says what the first holds. The second is a list of
transactions: {lab_id, at, recipients: [[address, code, text]], data: [code, text] or null}, retries included.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import smtplib
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

TRIES, PAUSE = 5, 4.0
TEMPORARY, PERMANENT = 400, 500


class Connection:
    """One SMTP connection for one session."""

    def __init__(self, session: dict[str, Any]) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        where = (session["host"], session["port"])
        source = (session["source"], 0)
        if session["tls"] == "wrapped":
            self.smtp: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=60, source_address=source, context=context)
        else:
            self.smtp = smtplib.SMTP(*where, timeout=60, source_address=source)
        self.smtp.command_encoding = "utf-8"
        self.hello(session["helo"])
        if session["tls"] == "starttls":
            self.smtp.starttls(context=context)
            self.hello(session["helo"])
        if session["login"]:
            self.smtp.login(*session["login"])

    def hello(self, name: str) -> None:
        if self.smtp.ehlo(name)[0] != 250:
            self.smtp.helo(name)

    def transaction(self, mail: dict[str, Any], recipients: list[str]) -> dict[str, Any]:
        """One message to some of its recipients."""
        done: dict[str, Any] = {"lab_id": mail["lab_id"], "at": time.time(), "recipients": [], "data": None}
        code, text = self.command(f"MAIL FROM:<{mail['sender']}>{mail['mail_options']}")
        if code != 250:
            done["recipients"] = [[one, code, text] for one in recipients]
            return done
        for one in recipients:
            code, text = self.command(f"RCPT TO:<{one}>{mail['rcpt_options']}")
            done["recipients"].append([one, code, text])
        if any(code == 250 for _, code, _ in done["recipients"]):
            code, reply = self.smtp.data(mail["content"].encode("utf-8", "surrogateescape"))
            done["data"] = [code, reply.decode("utf-8", "replace")]
        else:
            self.command("RSET")
        return done

    def command(self, line: str) -> tuple[int, str]:
        code, reply = self.smtp.docmd(line)
        return code, reply.decode("utf-8", "replace")


def again(done: dict[str, Any]) -> list[str]:
    """The recipients to try once more."""
    if done["data"] and TEMPORARY <= done["data"][0] < PERMANENT:
        return [one for one, code, _ in done["recipients"] if code < PERMANENT]
    return [one for one, code, _ in done["recipients"] if TEMPORARY <= code < PERMANENT]


def run(session: dict[str, Any], start: float) -> list[dict[str, Any]]:
    """One session, and what has to be repeated."""
    time.sleep(max(0.0, start + session["at"] - time.monotonic()))
    todo = [(mail, mail["recipients"]) for mail in session["mails"]]
    out: list[dict[str, Any]] = []
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        left = []
        connection = Connection(session)
        for mail, recipients in todo:
            try:
                done = connection.transaction(mail, recipients)
            except (smtplib.SMTPException, OSError) as error:
                print(f"{mail['lab_id']}: {error!r}", file=sys.stderr)
                connection = Connection(session)
                left.append((mail, recipients))
                continue
            out.append(done)
            if rest := again(done):
                left.append((mail, rest))
        with contextlib.suppress(smtplib.SMTPException, OSError):
            connection.smtp.quit()
        todo = left
        if not todo:
            break
    return out


def main() -> None:
    socket.setdefaulttimeout(60)
    sessions = json.loads(Path(sys.argv[1]).read_text())
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        transactions = [pool.submit(run, session, start) for session in sorted(sessions, key=lambda one: one["at"])]
        replies = [done for future in transactions for done in future.result()]
    Path(sys.argv[2]).write_text(json.dumps(replies))


if __name__ == "__main__":
    main()
