"""What the codes in SMTP replies mean: basic reply codes (550) and enhanced status codes (5.1.1).

Sources: RFC 5321 sections 4.2.1 to 4.2.3 for the three digits, with the RFCs that added to them; RFC 3463 for class,
subject and detail, and IANA's registry "SMTP Enhanced Status Codes" (RFC 5248), as of December 2024, for the rest.
Titles are the registry's, meanings are in our words.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Code(NamedTuple):
    """One code: its title in the registry, what it means to an administrator, and where it is defined."""

    code: str
    title: str
    meaning: str
    source: str


CLASSES = {
    "2": ("Success", "The other side took what it was given."),
    "4": ("Persistent transient failure", "Not now: the sender keeps the mail and tries again later."),
    "5": ("Permanent failure", "Trying the same again will not help: the sender gives up and bounces the mail."),
}
"""First digit of an enhanced status code (RFC 3463 section 2)."""

BASIC_CLASSES = {
    "2": ("Positive completion", "Done."),
    "3": ("Positive intermediate", "Go on: the command needs more, such as the message itself."),
    "4": ("Transient negative completion", "Not now: the sender keeps the mail and tries again later."),
    "5": ("Permanent negative completion", "Refused: the sender gives up and bounces the mail."),
}
"""First digit of a basic reply code (RFC 5321 section 4.2.1)."""

SUBJECTS = {
    "0": ("Other or undefined", "nothing more precise is said"),
    "1": ("Addressing", "the sender's or the recipient's address"),
    "2": ("Mailbox", "the recipient's mailbox"),
    "3": ("Mail system", "the server that holds the mailbox"),
    "4": ("Network and routing", "the way to the server"),
    "5": ("Mail delivery protocol", "the SMTP conversation itself"),
    "6": ("Message content or media", "what is in the message"),
    "7": ("Security or policy", "a rule, a reputation or an authentication"),
}
"""Second number of an enhanced status code (RFC 3463 section 3)."""

DETAILS = {
    "0.0": ("Other undefined status", "Nothing more is known; the words behind the code are all there is.", 3463),
    "1.0": ("Other address status", "Something about the address; the words behind it say what.", 3463),
    "1.1": ("Bad destination mailbox address", "There is no such mailbox: what stands before the @ is unknown.", 3463),
    "1.2": ("Bad destination system address", "The domain does not exist or takes no mail.", 3463),
    "1.3": ("Bad destination mailbox address syntax", "The recipient's address is not written as one.", 3463),
    "1.4": ("Destination mailbox address ambiguous", "The address fits several recipients there.", 3463),
    "1.5": ("Destination address valid", "The recipient's address is good.", 3463),
    "1.6": ("Destination mailbox has moved, no forwarding address", "The mailbox was there once.", 3463),
    "1.7": ("Bad sender's mailbox address syntax", "The sender's address is not written as one.", 3463),
    "1.8": ("Bad sender's system address", "The sender's domain does not exist, or could not be answered.", 3463),
    "1.9": ("Message relayed to non-compliant mailer", "Passed on to a system that reports no delivery.", 3886),
    "1.10": ("Recipient address has null MX", 'The domain says by "MX ." that it takes no mail.', 7505),
    "2.0": ("Other or undefined mailbox status", "Something about the mailbox; the words say what.", 3463),
    "2.1": ("Mailbox disabled, not accepting messages", "The mailbox exists, and is switched off.", 3463),
    "2.2": ("Mailbox full", "The mailbox is over its quota: its owner has to make room.", 3463),
    "2.3": ("Message length exceeds administrative limit", "Larger than this mailbox may receive.", 3463),
    "2.4": ("Mailing list expansion problem", "The list's members could not be found out.", 3463),
    "3.0": ("Other or undefined mail system status", "Trouble inside the server; its own log says more.", 3463),
    "3.1": ("Mail system full", "The server's disk or queue is full.", 3463),
    "3.2": ("System not accepting network messages", "The server is shutting down, overloaded or closed.", 3463),
    "3.3": ("System not capable of selected features", "The server lacks what the message needs.", 3463),
    "3.4": ("Message too big for system", "Larger than the server takes at all (SIZE).", 3463),
    "3.5": ("System incorrectly configured", "The server is set up wrongly, as when it sends to itself.", 3463),
    "3.6": ("Requested priority was changed", "Taken, at another priority than was asked for.", 6710),
    "4.0": ("Other or undefined network or routing status", "The way there is troubled; the words say how.", 3463),
    "4.1": ("No answer from host", "Nobody answers at that address: down, or behind a firewall.", 3463),
    "4.2": ("Bad connection", "The connection was made and then lost.", 3463),
    "4.3": ("Directory server failure", "A lookup the delivery needs (DNS, LDAP) failed.", 3463),
    "4.4": ("Unable to route", "No way to the next server is known: look at its MX and A records.", 3463),
    "4.5": ("Mail system congestion", "The server has too much to do.", 3463),
    "4.6": ("Routing loop detected", "The mail came round too often: two servers hand it to each other.", 3463),
    "4.7": ("Delivery time expired", "Tried for too long (days), and given up.", 3463),
    "5.0": ("Other or undefined protocol status", "The SMTP conversation went wrong; the words say how.", 3463),
    "5.1": ("Invalid command", "A command out of order, or one the server does not have.", 3463),
    "5.2": ("Syntax error", "A command that the server could not read.", 3463),
    "5.3": ("Too many recipients", "More recipients at once than the server takes; the rest is tried again.", 3463),
    "5.4": ("Invalid command arguments", "A command with a parameter that is wrong or unknown.", 3463),
    "5.5": ("Wrong protocol version", "The two sides speak different versions.", 3463),
    "5.6": ("Authentication exchange line is too long", "A line of the login was too long.", 4954),
    "6.0": ("Other or undefined media error", "Something in the message; the words say what.", 3463),
    "6.1": ("Media not supported", "The server or a gateway cannot carry what is in the message.", 3463),
    "6.2": ("Conversion required and prohibited", "It would have to be converted, and must not be.", 3463),
    "6.3": ("Conversion required but not supported", "It would have to be converted, as 8-bit to 7-bit.", 3463),
    "6.4": ("Conversion with loss performed", "Taken, and something was lost by converting it.", 3463),
    "6.5": ("Conversion failed", "It should have been converted, and could not be.", 3463),
    "6.6": ("Message content not available", "A part that was only referred to could not be fetched.", 4468),
    "6.7": ("Non-ASCII addresses not permitted for that sender/recipient", "No SMTPUTF8 on this way.", 6531),
    "6.8": ("UTF-8 string reply is required, but not permitted by the client", "A reply could not be told.", 6531),
    "6.9": ("UTF-8 header message cannot be transferred", "A recipient's server lacks SMTPUTF8.", 6531),
    "6.10": ("UTF-8 string reply is required (duplicate of X.6.8)", "Do not use: X.6.8 is meant.", 6531),
    "7.0": ("Other or undefined security status", "A rule or a login; the words say which.", 3463),
    "7.1": ("Delivery not authorized, message refused", "A policy refuses: relaying, a blocklist, a filter.", 3463),
    "7.2": ("Mailing list expansion prohibited", "The sender may not write to this list.", 3463),
    "7.3": ("Security conversion required but not possible", "Cannot be re-encrypted for the next side.", 3463),
    "7.4": ("Security features not supported", "The server lacks a security feature that was asked for.", 3463),
    "7.5": ("Cryptographic failure", "Encryption or a certificate failed, as TLS that could not begin.", 3463),
    "7.6": ("Cryptographic algorithm not supported", "No cipher that both sides know.", 3463),
    "7.7": ("Message integrity failure", "The message was changed on its way.", 3463),
    "7.8": ("Authentication credentials invalid", "Wrong user or password.", 4954),
    "7.9": ("Authentication mechanism is too weak", "Log in by a stronger mechanism.", 4954),
    "7.10": ("Encryption needed", "The server wants TLS first.", 5248),
    "7.11": ("Encryption required for requested authentication mechanism", "This login needs TLS first.", 4954),
    "7.12": ("A password transition is needed", "Log in once by another mechanism to renew the password.", 4954),
    "7.13": ("User account disabled", "The account is locked.", 5248),
    "7.14": ("Trust relationship required", "The server takes mail only from servers it has agreed with.", 5248),
    "7.15": ("Priority level is too low", "Only mail of a higher priority is taken now.", 6710),
    "7.16": ("Message is too big for the specified priority", "Smaller, or at another priority.", 6710),
    "7.17": ("Mailbox owner has changed", "The mailbox belongs to somebody else by now.", 7293),
    "7.18": ("Domain owner has changed", "The domain belongs to somebody else by now.", 7293),
    "7.19": ("RRVS test cannot be completed", "Whether the owner has changed could not be found out.", 7293),
    "7.20": ("No passing DKIM signature found", "DKIM failed: mended or re-written on its way, or not signed.", 7372),
    "7.21": ("No acceptable DKIM signature found", "Signed, but not in a way this server takes.", 7372),
    "7.22": ("No valid author-matched DKIM signature found", "Signed by another domain than From names.", 7372),
    "7.23": ("SPF validation failed", "The sender's domain does not allow this server: a forward, or a forgery.", 7372),
    "7.24": ("SPF validation error", "The sender's SPF record could not be read or has a fault.", 7372),
    "7.25": ("Reverse DNS validation failed", "The client's address has no name, or one that leads elsewhere.", 7372),
    "7.26": ("Multiple authentication checks failed", "Several of SPF, DKIM and DMARC failed.", 7372),
    "7.27": ("Sender address has null MX", 'The sender\'s domain says by "MX ." that nobody can answer it.', 7505),
    "7.28": ("Mail flood detected", "Too much mail at once from this sender or client.", 5248),
    "7.29": ("ARC validation failure", "The chain of ARC seals is broken.", 8617),
    "7.30": (
        "REQUIRETLS support required",
        "It must not go on without TLS, which the next side lacks.",
        8689,
    ),
}
"""Subject and detail of an enhanced status code: title, meaning, and the number of the RFC that registered it."""

BASIC = {
    "211": ("System status", "An answer to HELP or STAT.", 5321),
    "214": ("Help message", "An answer to HELP.", 5321),
    "220": ("Service ready", "The greeting; also: TLS may begin.", 5321),
    "221": ("Service closing transmission channel", "Good-bye.", 5321),
    "235": ("Authentication succeeded", "The login is good.", 4954),
    "250": ("Requested mail action okay, completed", "Taken. The words behind it often name the next queue ID.", 5321),
    "251": ("User not local; will forward", "Taken, and sent on elsewhere.", 5321),
    "252": ("Cannot VRFY user, but will accept message and attempt delivery", "Not said whether it exists.", 5321),
    "334": ("Server challenge", "The login goes on.", 4954),
    "354": ("Start mail input", "Send the message now.", 5321),
    "421": ("Service not available, closing transmission channel", "Too busy, or shutting down.", 5321),
    "422": ("Password transition needed", "As X.7.12; older servers mean a mailbox over its quota.", 4954),
    "432": ("A password transition is needed", "Log in once by another mechanism.", 4954),
    "450": ("Requested mail action not taken: mailbox unavailable", "Busy, greylisted or held by a policy.", 5321),
    "451": ("Requested action aborted: local error in processing", "The server's own trouble, as a lookup.", 5321),
    "452": ("Requested action not taken: insufficient system storage", "Disk full, or too many recipients.", 5321),
    "454": ("Temporary authentication failure", "The login or TLS does not work just now.", 4954),
    "455": ("Server unable to accommodate parameters", "A parameter of MAIL or RCPT cannot be met now.", 5321),
    "500": ("Syntax error, command unrecognized", "The server does not know the command.", 5321),
    "501": ("Syntax error in parameters or arguments", "An address or parameter is written wrongly.", 5321),
    "502": ("Command not implemented", "The server does not do that.", 5321),
    "503": ("Bad sequence of commands", "Out of order, as RCPT before MAIL.", 5321),
    "504": ("Command parameter not implemented", "The server does not do that with this parameter.", 5321),
    "521": ("Host does not accept mail", "This server takes no mail at all.", 7504),
    "523": ("Encryption needed", "As X.7.10.", 5248),
    "524": ("Encryption required for requested authentication mechanism", "As X.7.11.", 5248),
    "525": ("User account disabled", "As X.7.13.", 5248),
    "530": ("Authentication required", "Log in first; some servers mean: begin TLS first.", 4954),
    "534": ("Authentication mechanism is too weak", "Log in by a stronger mechanism.", 4954),
    "535": ("Authentication credentials invalid", "Wrong user or password.", 4954),
    "538": ("Encryption required for requested authentication mechanism", "As X.7.11.", 4954),
    "550": ("Requested action not taken: mailbox unavailable", "No such mailbox, or a policy refuses.", 5321),
    "551": ("User not local; please try another path", "The server does not take mail for this address.", 5321),
    "552": ("Requested mail action aborted: exceeded storage allocation", "Over the quota, or too big.", 5321),
    "553": ("Requested action not taken: mailbox name not allowed", "The address is not allowed here.", 5321),
    "554": ("Transaction failed", "Refused as a whole: often a blocklist or a content filter.", 5321),
    "555": ("MAIL FROM/RCPT TO parameters not recognized", "A parameter of MAIL or RCPT is unknown.", 5321),
    "556": ("Domain does not accept mail", "The recipient's domain takes no mail (null MX).", 7504),
}
"""Basic reply codes: title, meaning, and the number of the RFC that has it."""

SHAPE = re.compile(r"(?<![\d.])(?:([245X])\.(\d{1,3})(?:\.(\d{1,3}))?|([2-5]\d\d))(?![\d.]\d|\d)", re.IGNORECASE)
"""A code where it stands in a text: `5.1.1`, `5.1`, `X.7.1` or `550`."""


def codes(text: str) -> list[Code]:
    """What the codes in a text mean, in their order, each once: of a bare code as of a whole reply.

    An enhanced code that nobody has registered is explained by its class and subject.
    """
    found = (_basic(hit[4]) if hit[4] else _enhanced(hit[1].upper(), hit[2], hit[3]) for hit in SHAPE.finditer(text))
    return list(dict.fromkeys(code for code in found if code))


def _basic(digits: str) -> Code | None:
    title, rest = BASIC_CLASSES[digits[0]]
    if digits in BASIC:
        name, meaning, rfc = BASIC[digits]
        return Code(digits, name, f"{meaning} {title}: {_lower(rest)}", f"RFC {rfc}")
    if digits[1] not in "01235":
        return None  # a number, and no reply code: RFC 5321 has no such second digit
    return Code(digits, title, f"Registered by nobody; by its first digit: {_lower(rest)}", "RFC 5321")


def _enhanced(kind: str, subject: str, detail: str | None) -> Code | None:
    if subject not in SUBJECTS:
        return None
    name, about = SUBJECTS[subject]
    title, rest = CLASSES.get(kind, ("", ""))
    by_class = f" {title}: {_lower(rest)}" if title else ""
    if detail is None:
        return Code(f"{kind}.{subject}", name, f"It is about {about}.{by_class}", "RFC 3463")
    code = f"{kind}.{subject}.{detail}"
    known = DETAILS.get(f"{subject}.{detail}")
    if known is None:
        return Code(code, name, f"Registered by nobody; by its numbers it is about {about}.{by_class}", "RFC 3463")
    named, meaning, rfc = known
    return Code(code, named, meaning + by_class, f"RFC {rfc}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
