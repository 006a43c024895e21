"""What an index calls the things mailtrace reads, and as what they are indexed.

Shippers name the same field differently, and one pattern may cover indices of several makes. So each role is a list of
candidates, and the index says which of them it has and of which types (`_field_caps`); nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "ecs": {
        "timestamp": ("@timestamp",),
        "hostname": ("host.name", "host.hostname", "log.syslog.hostname"),
        "service": ("log.syslog.appname", "process.name"),
        "pid": ("log.syslog.procid", "process.pid"),
        "message": ("message", "event.original"),
    },
    "logstash": {
        "timestamp": ("@timestamp",),
        "hostname": ("logsource", "host"),
        "service": ("program",),
        "pid": ("pid",),
        "message": ("message",),
    },
    "vector": {
        "timestamp": ("timestamp", "@timestamp"),
        "hostname": ("hostname", "host"),
        "service": ("appname", "SYSLOG_IDENTIFIER"),
        "pid": ("procid", "_PID"),
        "message": ("message",),
    },
    "fluent-bit": {
        "timestamp": ("@timestamp",),
        "hostname": ("host",),
        "service": ("ident",),
        "pid": ("pid",),
        "message": ("message", "log"),
    },
    "rsyslog": {
        "timestamp": ("@timestamp", "timereported"),
        "hostname": ("host", "fromhost"),
        "service": ("syslogtag", "programname"),
        "pid": ("procid",),
        "message": ("message",),
    },
    "graylog": {
        "timestamp": ("timestamp",),
        "hostname": ("source",),
        "service": ("application_name",),
        "pid": ("process_id",),
        "message": ("message", "full_message"),
    },
    "syslog-ng": {
        "timestamp": ("@timestamp", "ISODATE"),
        "hostname": ("HOST",),
        "service": ("PROGRAM",),
        "pid": ("PID",),
        "message": ("MESSAGE",),
    },
    "data-prepper": {
        "timestamp": ("time", "observedTime"),
        "hostname": ("resource.attributes.host@name", "resource.attributes.host.name"),
        "service": ("attributes.appname",),
        "pid": ("attributes.procid",),
        "message": ("body",),
    },
    "wazuh": {
        "timestamp": ("@timestamp", "timestamp"),
        "hostname": ("predecoder.hostname", "agent.name"),
        "service": ("predecoder.program_name",),
        "pid": (),
        "message": ("full_log",),
    },
}
"""What well-known shippers call the fields, the best first.

Sources: Elastic's ECS and Beats field lists, Logstash's syslog input and templates, Vector's and Fluent Bit's syslog
sources, rsyslog's StdJSONFmt, Graylog's index mapping, syslog-ng's macros, the ss4o schema, Wazuh's archives.
"""

INGESTED = ("event.ingested", "gl2_receive_timestamp", "timegenerated", "@ingested", "received_at")
"""When a line came into the index: ECS, Graylog, rsyslog, and what ingest pipelines often call it."""
AUTO = "auto"
NUMBERED = ("timestamp", "hostname", "service", "pid", "message")
_NO_VALUE = frozenset({"object", "nested", "unmapped", "alias"})
_TEXT = frozenset({"text", "match_only_text", "annotated_text", "search_as_you_type"})
_KEYWORD = frozenset({"keyword", "wildcard", "constant_keyword"})
_DATE = frozenset({"date", "date_nanos"})
_NUMBER = frozenset({"long", "unsigned_long", "double", "integer"})


class Names(Protocol):
    """The config's `mapping`: one field name for each role."""

    @property
    def hostname(self) -> str:
        """The host."""

    @property
    def message(self) -> str:
        """The text."""

    @property
    def timestamp(self) -> str:
        """The time."""

    @property
    def service(self) -> str:
        """The program."""


class Field(NamedTuple):
    """One field that the index has.

    `exact` is the name under which its whole values can be counted, "" if none; `in_words` tells whether its text is
    indexed as words, each in lower case (the standard analyzer), which an identifier can be looked up by.
    `per_second` is the unit of a time: what dates are asked for and sorted by is milliseconds, numbers are as they are.
    """

    name: str
    types: frozenset[str]
    exact: str = ""
    in_words: bool = True
    per_second: int = 1000

    @property
    def is_number(self) -> bool:
        """Whether every index has it as a number."""
        return self.types <= _NUMBER

    @property
    def is_text(self) -> bool:
        """Whether some index has it as words."""
        return bool(self.types & _TEXT)

    @property
    def is_keyword(self) -> bool:
        """Whether some index has it as whole values."""
        return bool(self.types & _KEYWORD)

    @property
    def is_time(self) -> bool:
        """Whether it can be asked for a window."""
        return bool(self.types) and self.types <= _DATE | _NUMBER

    @property
    def is_date(self) -> bool:
        """Whether every index has it as a date."""
        return bool(self.types) and self.types <= _DATE

    @property
    def in_nanos(self) -> bool:
        """Whether some index keeps nanoseconds; then all are sorted as such, or they would be sorted wrongly."""
        return "date_nanos" in self.types and self.is_date


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an index by role, each the best first."""

    timestamp: tuple[Field, ...] = ()
    hostname: tuple[Field, ...] = ()
    service: tuple[Field, ...] = ()
    pid: tuple[Field, ...] = ()
    message: tuple[Field, ...] = ()
    ingested: tuple[Field, ...] = ()  # when the index got a line
    problems: tuple[str, ...] = ()
    misfits: Mapping[str, str] = field(default_factory=dict)  # index → why its lines can't be read with the others

    @property
    def names(self) -> list[str]:
        """Every field that is read of a hit."""
        every = (*self.timestamp, *self.hostname, *self.service, *self.pid, *self.message)
        return list(dict.fromkeys(each.name for each in every))


def candidates(preset: str, mapping: Names) -> dict[str, tuple[str, ...]]:
    """Role → names to try, the best first. A name of the config's own, which the preset does not know, stands alone."""
    if preset == AUTO:
        known = {role: tuple(name for each in ROLES.values() for name in each[role]) for role in NUMBERED}
    else:
        known = dict(ROLES.get(preset, ROLES["ecs"]))
    pids = tuple(name for each in (ROLES.get(preset), *ROLES.values()) if each for name in each["pid"])
    out = {"pid": tuple(dict.fromkeys((*known["pid"], *pids))), "ingested": INGESTED}
    for role in ("timestamp", "hostname", "service", "message"):
        said = getattr(mapping, role)
        out[role] = tuple(dict.fromkeys(known[role])) if said in known[role] else (said,)
    return out


def usual_fields(names: Mapping[str, tuple[str, ...]]) -> Fields:
    """What an index most likely has, of some candidates: the first of each role, as a date and as text."""
    text = frozenset({"text"})
    return Fields(
        timestamp=(Field(names["timestamp"][0], frozenset({"date"})),),
        hostname=(Field(names["hostname"][0], text),),
        service=(Field(names["service"][0], text),),
        message=(Field(names["message"][0], text),),
    )


def asked_for(names: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Every field whose types the index is asked for."""
    return list(dict.fromkeys(each for many in names.values() for name in many for each in (name, f"{name}.keyword")))


def resolve(names: Mapping[str, tuple[str, ...]], caps: Mapping[str, Any]) -> Fields:
    """The candidates that the index has; `caps` is the `fields` of its `_field_caps` answer."""
    found = {role: tuple(each for name in many if (each := _field(name, caps))) for role, many in names.items()}
    misfits: dict[str, str] = {}
    times = tuple(_fitting(each, _DATE | _NUMBER, "no date", caps, misfits) for each in found["timestamp"])
    texts = tuple(_fitting(each, _TEXT | _KEYWORD, "no text", caps, misfits) for each in found["message"])
    problems = [
        f"no field {' or '.join(names[role][:4])} in the index: name its {role} field in opensearch_config.mapping, or "
        "the shipper in opensearch_config.preset"
        for role in ("message", "timestamp", "hostname")
        if not found[role]
    ]
    problems += [
        f"field {each.name} is {' and '.join(sorted(each.types))}, not a date: no window can be asked of it"
        for each in times
        if not each.is_time
    ]
    messages = tuple(each for each in texts if each.is_text or each.is_keyword)
    problems += [
        f"field {each.name} is {' and '.join(sorted(each.types))}: no text to be searched"
        for each in texts
        if each not in messages
    ]
    times = tuple(each for each in times if each.is_time)
    ingested = tuple(each for each in found["ingested"] if each.is_time)
    return Fields(
        times, found["hostname"], found["service"], found["pid"], messages, ingested, tuple(problems), misfits
    )


def in_other_words(fields: Fields, mappings: Mapping[str, Any]) -> Fields:
    """The fields, those of texts marked that an analyzer of someone's own takes apart.

    `mappings` is what `_mapping/field` answers. What words such an analyzer makes is not known, so that nothing can be
    looked up by its words.
    """
    odd = set()
    for index in mappings.values():
        for name, told in index.get("mappings", {}).items() if isinstance(index, Mapping) else ():
            for inner in told.get("mapping", {}).values():
                if inner.get("analyzer", "standard") not in {"standard", "default"}:
                    odd.add(name)
    messages = tuple(each._replace(in_words=each.name not in odd) for each in fields.message)
    return replace(fields, message=messages)


def per_second(value: float) -> int:
    """The unit of a time as an index keeps it, told by its size; milliseconds are a date's."""
    if abs(value) < 1e11:
        return 1
    if abs(value) < 1e14:
        return 1000
    return 1_000_000 if abs(value) < 1e17 else 1_000_000_000


def _fitting(
    each: Field, wanted: frozenset[str], lacks: str, caps: Mapping[str, Any], misfits: dict[str, str]
) -> Field:
    """The field with the types that fit its role; the indices that have it as something else become misfits."""
    odd = each.types - wanted
    if not odd or odd == each.types:
        return each
    for kind in sorted(odd):
        for index in caps[each.name][kind].get("indices") or ():
            misfits[str(index)] = f"field {each.name} is {kind} there, {lacks}"
    return each._replace(types=each.types & wanted)


def _field(name: str, caps: Mapping[str, Any]) -> Field | None:
    types = {kind: told for kind, told in caps.get(name, {}).items() if kind not in _NO_VALUE}
    if not any(told.get("searchable", True) or told.get("non_searchable_indices") for told in types.values()):
        return None
    exact = name if all(told.get("aggregatable") for told in types.values()) else ""
    inner = caps.get(f"{name}.keyword", {})
    if not exact and inner and all(told.get("aggregatable") for told in inner.values()):
        exact = f"{name}.keyword"
    return Field(name, frozenset(types), exact)
