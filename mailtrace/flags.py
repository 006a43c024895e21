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


class Described(NamedTuple):
    """One command as help, `explain` and the manual tell of it: `usage` is what stands behind its name."""

    name: str
    summary: str
    usage: str
    groups: tuple[Group, ...]
    examples: tuple[str, ...]


ASK = Group(
    "Which mails",
    (
        Flag(
            "key", "text in the mail's log lines, any case; repeated: all of them", "TEXT", "k", True, find="keywords"
        ),
        Flag("any-of", "as -k, but one of several is enough", "TEXT", many=True, find="any_of"),
        Flag(
            "keys-from",
            "a file (or -) of addresses, Message-IDs, queue IDs: one a line, or CSV",
            "FILE",
            find="keys_from",
        ),
        Flag("keys-column", "its column, where it is CSV", "NAME", find="keys_column"),
        Flag("eml", "a message, its headers or a bounce in a file; - is standard input", "FILE", find="eml"),
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
BUNDLE = Flag("bundle", "trace what a case bundle holds (-o case.zip writes one)", "ZIP")
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
EVENTS = Flag("events", "write what happens as lines of JSON: waves, hosts, lines, seconds", "FILE")
TO = (
    Flag("output", "write a file: .dot .svg .png .json .txt; - is standard output", "FILE", "o"),
    Flag("format", "timeline, json, dot …, where the file's ending does not say", "NAME"),
)
OTEL = Flag(
    "otel-endpoint", "send each mail there as an OpenTelemetry trace (tracing: default http://localhost:4317)", "URL"
)
JUNIT = Flag("junit", "write what was expected and what came as JUnit test results", "FILE")
WAIT = Flag("wait", "ask again until every recipient's fate is final, so long at most, as in 10m", "DURATION")
CI = Group("After a test mail, in CI", (WAIT, JUNIT))
ALL = Flag("all", "tell the whole story of every mail, however many")

TRACE = (
    ASK,
    WHERE,
    Group("What comes out", (*TO, ALL, OTEL, *TIMES, *TELL, EVENTS)),
    CI,
    Group("Jobs", (JOB, BUNDLE, *SET, PRINT_JOB, *LOOK)),
    PASSWORDS,
)
RUN = (
    ASK,
    WHERE,
    Group("What comes out", (*TIMES, *TELL, EVENTS)),
    Group("Jobs", (JOB, BUNDLE, *SET, PRINT_JOB, *LOOK)),
    PASSWORDS,
)
GRAPH = (
    ASK,
    WHERE,
    Group("What comes out", (*TO, *TIMES, *TELL, EVENTS)),
    Group("Jobs", (JOB, BUNDLE, *SET, PRINT_JOB, *LOOK)),
    PASSWORDS,
)
TRACING = (
    Group(
        "What goes where",
        (CONFIG, OTEL, *TELL),
    ),
    Group(
        "How long",
        (
            Flag("once", "one round and no more, for cron: send what is final, keep the rest for the next run"),
            Flag(
                "since", 'where a first run begins: a time, "2h ago", "now"; by default with all that is there', "TIME"
            ),
            Flag("until", 'end by itself: a time, "now"; what is under way then is sent as it is', "TIME"),
            Flag("status", "tell what the state knows of a run, also of one that is running, and end"),
        ),
    ),
    Group("Jobs", (JOB, *SET, PRINT_JOB, *LOOK)),
    Group("Passwords", OPENSEARCH_PASSWORD),
)
PLAY = (
    Group("Jobs", (JOBS, *SET, PRINT_JOB, *LOOK)),
    WHERE,
    CI,
    Group("What comes out", (ALL, *TIMES, *TELL, EVENTS)),
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

DOCTOR = (WHERE, Group("Jobs", (JOB, *SET)), Group("What comes out", TELL), PASSWORDS)
TEST = (
    Group(
        "What to run",
        (
            Flag("path", "a NAME.test.yaml, or a folder of them", "PATH", many=True),
            Flag("plan", "show which files that are; open none"),
            *TELL,
        ),
    ),
)
NEW = (
    Group(
        "What to write",
        (
            Flag("recipe", "begin with a copy of this recipe; mailtrace --jobs lists them", "RECIPE"),
            Flag("output", "where to; - is standard output (default job.yaml, or the recipe's name)", "FILE", "o"),
        ),
    ),
)
EXPLAIN = (
    Group("What to explain", (Flag("word", "a key, module, flag, outcome, or a code as in 5.1.1", "WORD", many=True),)),
)

Given = dict[str, Any]
"""What was typed: the flags' keys with their values; a flag that was not given is None, an empty list, False or 0."""
