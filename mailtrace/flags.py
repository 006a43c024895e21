"""The flags of the commands: each is written down once, with its help, and means one thing in every command."""

from __future__ import annotations

from typing import Any, NamedTuple


class Flag(NamedTuple):
    """One flag. `value` is how its value is called in help, "" for a switch; `many` flags may be repeated."""

    name: str
    help: str
    value: str = ""
    short: str = ""
    many: bool = False
    counted: bool = False
    find: str = ""  # the key of a job's `find` that it sets

    @property
    def key(self) -> str:
        """Its name as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def spellings(self) -> tuple[str, ...]:
        """As it is typed: `--key`, `-k`."""
        return (f"--{self.name}", f"-{self.short}") if self.short else (f"--{self.name}",)


class Group(NamedTuple):
    """Flags that belong together in help."""

    title: str
    flags: tuple[Flag, ...]


ASK = Group(
    "Which mails",
    (
        Flag(
            "key", "text in the mail's log lines, any case; repeated: all of them", "TEXT", "k", True, find="keywords"
        ),
        Flag("any-of", "as -k, but one of several is enough", "TEXT", many=True, find="any_of"),
        Flag("message-id", "the Message-ID, with or without <>", "ID", find="message_id"),
        Flag("queue-id", "a queue ID on any host", "ID", find="queue_id"),
        Flag("sender", "the envelope sender; '' for bounces", "ADDRESS", find="sender"),
        Flag("recipient", "an envelope recipient", "ADDRESS", find="recipient"),
        Flag("subject", "text of the subject, where it is logged", "TEXT", find="subject"),
        Flag("client", "who handed the mail in: a name or an IP", "CLIENT", find="client"),
        Flag("sasl-user", "the user who logged in to send it", "USER", find="sasl_user"),
        Flag("start-host", "host or cluster where the search begins", "HOST", "h", True, find="start_host"),
        Flag("time", 'about when, as in "2025-07-21 10:00:00"', "TIME", find="time"),
        Flag("time-range", "how long before and after --time (default 1h)", "DURATION", find="time_range"),
        Flag("since", 'not before: a time, "2h ago"', "TIME", find="since"),
        Flag("until", 'not after: a time, "now"', "TIME", find="until"),
    ),
)
CONFIG = Flag("config-path", "the fleet; else $MAILTRACE_CONFIG, ./config.yaml, ~/.config/mailtrace.yaml", "FILE", "c")
WHERE = Group(
    "Where the logs are",
    (
        CONFIG,
        Flag("log", "read this log file and no config; HOST= names whose it is", "[HOST=]PATH", many=True),
        Flag("limit", "only these hosts and clusters; commas or repeated", "HOSTS", many=True),
    ),
)
JOB = Flag("job", "a job file, or a recipe by name; the other flags lead over it", "FILE")
JOBS = Flag("job", "a job file, or a recipe that comes with mailtrace by name, as in demo", "FILE", many=True)
SET = (
    Flag("var", "set a variable of the job", "NAME=VALUE", "e", many=True),
    Flag("set", "set any value of the job, as in walk.max_hops=5", "KEY=VALUE", many=True),
)
LOOK = (
    Flag("plan", "show the steps, hosts and queries; open no log, file or network"),
    Flag("check", "verify access to the logs and read nothing else"),
)
PRINT_JOB = Flag("print-job", "print this command line as a job file")
OPENSEARCH_PASSWORD = (
    Flag("opensearch-pass", "OpenSearch password (others can see it in `ps`: better ask)", "PASSWORD"),
    Flag("ask-opensearch-pass", "ask for it"),
)
PASSWORDS = Group(
    "Passwords",
    (
        Flag("login-pass", "SSH password (others can see it in `ps`: better ask)", "PASSWORD"),
        Flag("ask-login-pass", "ask for it"),
        Flag("sudo-pass", "sudo password", "PASSWORD"),
        Flag("ask-sudo-pass", "ask for it"),
        *OPENSEARCH_PASSWORD,
    ),
)
TIMES = (
    Flag("utc", "times in UTC; those given without a zone too"),
    Flag("tz", "times in this zone, as in Europe/Rome or +02:00; those given without one too", "ZONE"),
)
TELL = (
    Flag("verbose", "say more; -vv everything", short="v", counted=True),
    Flag("log-level", "DEBUG, INFO, WARNING, ERROR or CRITICAL", "LEVEL"),
)
TO = (
    Flag("output", "write a file: .dot .svg .png .json .txt; - is standard output", "FILE", "o"),
    Flag("format", "timeline, json, dot …, where the file's ending does not say", "NAME"),
)
ALL = Flag("all", "tell the whole story of every mail, however many")

TRACE = (
    ASK,
    WHERE,
    Group("What comes out", (*TO, ALL, *TIMES, *TELL)),
    Group("Jobs", (JOB, *SET, PRINT_JOB, *LOOK)),
    PASSWORDS,
)
RUN = (
    ASK,
    WHERE,
    Group("What comes out", (*TIMES, *TELL)),
    Group("Jobs", (JOB, *SET, PRINT_JOB, *LOOK)),
    PASSWORDS,
)
GRAPH = (
    ASK,
    WHERE,
    Group("What comes out", (*TO, *TIMES, *TELL)),
    Group("Jobs", (JOB, *SET, PRINT_JOB, *LOOK)),
    PASSWORDS,
)
TRACING = (
    Group(
        "What goes where",
        (CONFIG, Flag("otel-endpoint", "where traces go (default http://localhost:4317)", "URL"), *TELL),
    ),
    Group("Jobs", (JOB, *SET, PRINT_JOB, *LOOK)),
    Group("Passwords", OPENSEARCH_PASSWORD),
)
PLAY = (
    Group("Jobs", (JOBS, *SET, PRINT_JOB, *LOOK)),
    WHERE,
    Group("What comes out", (ALL, *TIMES, *TELL)),
    PASSWORDS,
)
LINT = (
    Group(
        "What to look at",
        (
            Flag("path", "a job, a config or a folder of them", "PATH", many=True),
            Flag("plan", "show which files that are; open none"),
            Flag("check", "the same as without it: lint never reads a log"),
            *TELL,
        ),
    ),
)

Given = dict[str, Any]
"""What was typed: the flags' keys with their values; a flag that was not given is None, an empty list, False or 0."""
