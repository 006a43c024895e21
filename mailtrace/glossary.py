"""The words that mailtrace's answers are made of, each with its meaning: what `explain` and the manual print."""

from __future__ import annotations

OUTCOMES = {
    "delivered": "Stored in a mailbox, or handed to a local program.",
    "relayed": "Accepted by a host outside your fleet, whose log nobody here reads.",
    "deferred": "Still in a queue, waiting for another attempt.",
    "bounced": "Given up at once; the sender was told by a bounce message, which is followed too.",
    "expired": "Given up after too long a wait.",
    "rejected": "Refused at the door: the first own host did not take it.",
    "discarded": "Taken and thrown away by a filter or a rule, or deleted from the queue by an administrator.",
    "held": "On hold in a queue, until an administrator lets it go.",
    "quarantined": "Taken and put away by a filter.",
    "in_transit": "Handed to one of your hosts, whose log covers that time and does not have it.",
    "unknown": "The way leads to where no log was read: not lost, not looked.",
}
"""What became of one final copy of a mail: `outcome` of a report's recipients."""

CERTAINTIES = {
    "proven": "The logs of both sides agree on something that only this hand-off can be.",
    "likely": "It fits, and nothing else does.",
    "ambiguous": "It fits, and so does something else: all are shown.",
}
"""How sure a link between two hops is; a path is as sure as its weakest link."""

LINKS = {
    "relayed": "From one host's queue to the next.",
    "reinjected": "To a content filter, or back from it.",
    "forwarded": "By an alias, a list or a forward, also as a new message where that is proved.",
    "bounced": "From a mail to the bounce message that reports on it.",
    "requeued": "Put back into the queue by an administrator.",
}
"""Why one hop follows another."""

STATUSES = {
    "sent": "The other side took it.",
    "deferred": "The other side said not now, or did not answer.",
    "bounced": "The other side said no.",
    "expired": "It was the last attempt: the time was up.",
    "rejected": "It was refused before it came into the queue.",
    "discarded": "It was thrown away.",
    "held": "It was put on hold.",
}
"""How one delivery attempt ended: `status` of a hop's deliveries."""

WARNINGS = {
    "eml-cut": "The message in hand was longer than is read; what came after was not looked at.",
    "export-failed": "An export could not be written; the exit code is 4.",
    "max-hops": "A path is longer than `walk.max_hops` allows, and is cut there.",
    "no-window": "Nothing was found, and rotated logs were not read: they are where `--since` reaches them.",
    "start-host-joins": "The start host is in the config and not among the job's hosts: it was added.",
    "wait-over": "`--wait` ended before every recipient's fate was final.",
    "tracing-reads-opensearch": "Continuous tracing reads an index, and the config's method is another.",
}
"""What the report's warnings are called."""

HINTS = {
    "not-covered": "Logs of these hosts do not cover the time that was asked for.",
    "outside-window": "The same is in the logs, at another time than was asked for.",
    "other-host": "The same is on another host than those where the search began.",
    "not-in-scope": "Hosts of the fleet that the job or `--limit` leaves out were not looked at.",
    "other-role": "Mails have the text, as something else than was asked for: the sender, say, not the recipient.",
    "never-together": "Each thing that was asked for is there, or some are; no mail has them all.",
    "no-mail": "Lines have the text, but they belong to no mail.",
    "like-address": "The address or Message-ID is nowhere, but one that is much like it is.",
    "nothing-near": "Nothing like it was found in the time that a second look may take.",
}
"""What the report's hints are called: why nothing was found, or what is near."""

EXIT_CODES = {
    0: "Done: something was found, and every expectation held.",
    1: "Ran well, but nothing was found (unless `found: false` or `count: 0` expects just that), or an expectation "
    "failed.",
    2: "The request is wrong: a flag, the job, the config, an unknown host.",
    3: "Data is missing: a log that can't be read, a host that can't be reached; the answer tells what the rest shows "
    "(`on_unreachable: warn` makes it a warning).",
    4: "An export failed.",
    70: "A bug in mailtrace: please report it.",
    130: "Interrupted (Ctrl-C): what was found so far is shown, marked as partial.",
    143: "Terminated: what was found so far is shown, marked as partial.",
}
"""Where several apply, the first of 143, 130, 70, 2, 4, 3, 1, 0 is the exit code."""

GROUPS: dict[str, dict[str, str]] = {
    "outcome": OUTCOMES,
    "certainty": CERTAINTIES,
    "link": LINKS,
    "status": STATUSES,
    "warning": WARNINGS,
    "hint": HINTS,
    "exit code": {str(code): meaning for code, meaning in EXIT_CODES.items()},
}
"""All of them, by what they are words for."""
