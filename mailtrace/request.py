"""A command line as a job: what was typed, in the words of the job file."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mailtrace.errors import RequestError
from mailtrace.exporters import EXPORTERS
from mailtrace.flags import ASK
from mailtrace.job import Export
from mailtrace.load import data_folder, literal, no_recipe, read_document, recipe, to_yaml
from mailtrace.load.overrides import override, read_sets, read_variables
from mailtrace.load.tree import Node, from_python
from mailtrace.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailtrace.flags import Given
    from mailtrace.job import Job, Option
    from mailtrace.load import ConfigLike

DEFAULT_EXPORT = {"trace": "timeline", "graph": "dot"}
ENDINGS = {
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".png": "png",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".txt": "timeline",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".zip": "bundle",
}
OWN_LOGS = (
    "/var/log/mail.log",  # Debian, Ubuntu, macOS
    "/var/log/maillog",  # RHEL, Fedora, FreeBSD, OpenBSD
    "/var/log/mail",  # SUSE
    "/var/log/mail/mail.log",  # Slackware and others that give mail a folder
    "/var/log/postfix.log",  # Postfix' own `maillog_file`, as postlogd's manual has it
    "/var/log/exim4/mainlog",  # Exim: Debian
    "/var/log/exim/main.log",  # RHEL, Fedora
    "/var/log/exim/mainlog",  # FreeBSD, Alpine, SUSE
    "/var/log/exim_mainlog",  # cPanel
)
SYSTEM_LOGS = ("/var/log/messages", "/var/log/syslog")
"""Where mail is logged with everything else (Alpine): read only where a server has no log of OWN_LOGS, which on
Debian holds the same lines again."""

_NEVER_EMPTY = frozenset({"keys_from", "eml", "message_id", "queue_id", "recipient", "subject", "client", "sasl_user"})
_FILES = frozenset({"keys_from", "eml"})
_FIND = re.compile(r"(?:--set )?find\.(\w+)", re.ASCII)
_OWN_CONFIG = re.compile(rb"""^(?:\{.*|)["']?(?:config|source)["']?\s*:""", re.MULTILINE)
_EXTENDS = re.compile(rb"""^(?:\{.*|)["']?extends["']?\s*:""", re.MULTILINE)
_EXIM = re.compile(r"(?:mainlog|main\.log|exim_mainlog)(?:[-.].*)?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_PLAIN_FOLDERS = frozenset({"", "log", "logs", "exim", "exim4", "var", "tmp", "mail"})


def absolute(path: str) -> str:
    """A path that means the same from anywhere; links in it stay."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - pathlib keeps `..`, or follows links


def wrong(message: str, hint: str = "") -> RequestError:
    """A flag that is wrong."""
    return RequestError([Problem(message, hint=hint)])


def job_file(name: str) -> str:
    """The path of a job: `@NAME`, or a bare word that is no file here, is a recipe that comes with mailtrace."""
    if name.startswith("@"):
        found = recipe(name[1:])
        if found is None:
            raise wrong(*no_recipe(name[1:]))
        return str(found)
    if PurePath(name).name != name or PurePath(name).suffix or os.path.isfile(name):  # noqa: PTH113 - pathlib raises for a name that is too long
        return name
    return str(recipe(name) or name)


def settings(kind: str, given: Given, *, job: bool) -> dict[str, Any]:
    """What the flags say, as values of a job by their dotted names (`find.sender`).

    With a `job` only what was typed, without one all that makes a job of it.
    """
    out: dict[str, Any] = {}
    for flag in ASK.flags if kind != "tracing" else ():
        value = given.get(flag.key)
        if flag.find in _NEVER_EMPTY and value is not None and not value.strip("<> "):
            # Of `--queue-id "$id"` with an unset variable every mail there is would be a surprise.
            raise wrong(f"--{flag.name} is empty", "leave it out to ask for any")
        if flag.find in _FILES and value not in (None, "", "-"):
            value = absolute(value)
        if value is not None and value != []:
            out[f"find.{flag.find}"] = [literal(each) for each in value] if flag.many else literal(value)
    if given.get("wait") is not None:
        out["wait"] = literal(given["wait"])
    zone = _zone(given)
    if zone:
        out["find.time_zone"] = literal(zone)
    if kind == "tracing":
        out |= _bounds(given)
        if endpoint := given.get("otel_endpoint"):
            out["export[0].otlp.endpoint" if job else "export"] = literal(endpoint) if job else [_sent_to(endpoint)]
    elif given.get("output") is not None or given.get("format"):
        out["export"] = [_export(kind, given)]
    elif kind in DEFAULT_EXPORT and (given.get("otel_endpoint") or not job):
        out["export"] = [_module(DEFAULT_EXPORT[kind], given)]
    if kind == "trace" and given.get("otel_endpoint"):
        out["export"] = [*(step for step in out["export"] if "otlp" not in step), _sent_to(given["otel_endpoint"])]
    return out


def _sent_to(endpoint: str) -> dict[str, Any]:
    return {"otlp": {"endpoint": literal(endpoint)}}


def _bounds(given: Given) -> dict[str, Any]:
    """What the flags of continuous tracing say of its length."""
    out: dict[str, Any] = {f"tracing.{key}": literal(given[key]) for key in ("since", "until") if given.get(key)}
    return {**out, "tracing.once": True} if given.get("once") else out


def document(kind: str, values: dict[str, Any], config: str | dict[str, Any] | None) -> dict[str, Any]:
    """The job file that asks the same."""
    out: dict[str, Any] = {"version": 1, "kind": kind}
    if config is not None:
        out["config"] = config
    if kind != "tracing":
        out["find"] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        if key:
            out.setdefault(section, {})[key] = value
        else:
            out[section] = value
    return out


def as_sets(values: dict[str, Any]) -> list[str]:
    """The same as `--set` takes them."""
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def as_flags(problem: Problem, given: Given) -> Problem:
    """A problem with a value that a flag gave, by that flag."""
    if problem.path.endswith("time_zone") and (given.get("tz") or given.get("utc")) and not problem.line:
        return replace(problem, file="", path="--tz")
    if given.get("format") and re.match(r"(?:--set )?export", problem.file or problem.path):
        hint = f"there are: {', '.join(EXPORTERS)}" if problem.hint.startswith("there are") else problem.hint
        return replace(problem, file="", path="--format", hint=hint)
    if problem.message == "there is no config":
        return replace(problem, hint="name one with -c FILE, or logs with --log [HOST=]PATH")
    if problem.path == "wait" and given.get("wait") is not None:
        return replace(problem, file="", path="--wait")
    if problem.path == "config" and not problem.file and not given["log"]:
        return replace(problem, path="--config-path" if given.get("config_path") else "$MAILTRACE_CONFIG", hint="")
    typed = problem.file.startswith("--set ")
    found = _FIND.match(problem.file if typed else problem.path) if typed or not problem.file else None
    flag = next((flag for flag in ASK.flags if found and flag.find == found[1]), None)
    asked = flag is not None and given.get(flag.key)
    return replace(problem, file="", path=f"--{flag.name}") if flag and asked else problem


def shown(job: Job, given: Given) -> Job:
    """The job with the zone and the length that flags ask of its exports."""
    asked: dict[str, Option] = {"time_zone": _zone(given), "all": bool(given.get("all"))}

    def export(one: Export) -> Export:
        own = {key: value for key, value in asked.items() if value and key in one.options}
        return replace(one, options={**one.options, **own})

    junit = (Export("junit", absolute(given["junit"])),) if _junit(given) else ()
    return replace(job, export=(*(export(one) for one in job.export), *junit))


def _junit(given: Given) -> bool:
    if given.get("junit") == "":
        raise wrong("--junit needs a file name")
    return bool(given.get("junit"))


# ---------------------------------------------------------------------------------------- --print-job


def printed(asked: str | dict[str, Any], sets: list[str], config: ConfigLike, job: Job, given: Given) -> str:
    """The job file of a command line: what it asked (a job file or a document) with what was set over it.

    `config` is the one to write in, None to keep the file's own; `job` is what all of it was loaded as. Paths are
    absolute, so that it means the same from anywhere.
    """
    tree = _tree(asked)
    for each in read_sets(sets, []):
        override(tree, each, [])
    out: dict[str, Any] = {"version": 1, "kind": job.kind, **tree.plain()}
    folder = Path(absolute(asked)).parent if isinstance(asked, str) else Path.cwd()
    if config is not None:
        out["config"] = config
    elif isinstance(out.get("config"), str):
        out["config"] = _from(folder, out["config"])
    if given.get("var"):
        out["vars"] = {**out.get("vars", {}), **{k: literal(v) for k, v in read_variables(given["var"], []).items()}}
    _fix_sources(out, folder, job, limited=bool(given.get("limit")))
    out["export"] = out.get("export") or [{DEFAULT_EXPORT.get(job.kind, "otlp"): {}}]
    if _junit(given):
        out["export"] = [*out["export"], {"junit": {"to": literal(absolute(given["junit"]))}}]
    for step in out["export"]:
        for name, options in step.items():
            _fix_export(name, options, given)
    ordered = {key: out[key] for key in (*ORDER, *out) if key in out}
    return f"# yaml-language-server: $schema={data_folder() / 'schemas' / 'job.schema.json'}\n{to_yaml(ordered)}"


ORDER = ("version", "kind", "name", "description", "config", "vars", "find", "source", "parse", "walk")


def _tree(asked: str | dict[str, Any]) -> Node:
    if isinstance(asked, dict):
        return from_python(asked)[0]
    return read_document(asked)


def _from(folder: Path, path: str) -> str:
    """A path of a job file, seen from anywhere; what begins with a variable or with home already is."""
    if path.startswith(("~", "${")) or path in ("", "-", "journal"):
        return path
    return os.path.normpath(folder / path)


def _fix_sources(out: dict[str, Any], folder: Path, job: Job, *, limited: bool) -> None:
    """Absolute paths of the job's own logs; with --limit, the hosts that are left."""
    if limited:
        steps = {name: options for step in out.get("source", ()) for name, options in step.items()}
        out["source"] = [
            {source.name: {**steps.get(source.name, {}), "hosts": list(source.hosts)}} for source in job.source
        ]
    for step in out.get("source", ()):
        for name, options in step.items():
            if name == "files" and options.get("log_files"):
                logs = options["log_files"]
                options["log_files"] = [_from(folder, log) for log in ([logs] if isinstance(logs, str) else logs)]


def _fix_export(name: str, options: dict[str, Any], given: Given) -> None:
    if options.get("to", "-") != "-":
        options["to"] = _from(Path.cwd(), options["to"])
    if name in _ZONED and (zone := _zone(given)):
        options["time_zone"] = zone
    if name == "timeline" and given.get("all"):
        options["all"] = True


_ZONED = ("timeline", "summary", "html", "csv")


def names_logs(path: str) -> bool:
    """Whether a job file says itself where its logs are. True where it can't be read: that is `load_job`'s to tell.

    What comes through a pipe can be read only once, and not here.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - as above
        return True
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path as it was typed
            text = file.read(1 << 20)
        if _OWN_CONFIG.search(text):
            return True
        return bool(_EXTENDS.search(text)) and bool({"config", "source"} & set(read_document(path).value))
    except (OSError, ValueError, RequestError):
        return True


def _zone(given: Given) -> str:
    if given.get("utc") and given.get("tz"):
        raise wrong("--utc and --tz say two things", "give one of them")
    return "UTC" if given.get("utc") else given.get("tz") or ""


def _export(kind: str, given: Given) -> dict[str, Any]:
    to, name = given.get("output"), given.get("format") or ""
    if to == "":
        raise wrong("-o needs a file name", "-o - is standard output")
    if name == "otlp":
        if to is not None:
            raise wrong(f"-o {to}: traces are not written but sent", "name the back end with --otel-endpoint URL")
        return {name: {}}
    if to and to != "-":
        ending = PurePath(to).suffix.lower()
        name = name or ENDINGS.get(ending, "")
        if not name:
            what = f'the ending "{ending}"' if ending else "a name without an ending"
            known = " ".join(ending for ending, name in ENDINGS.items() if name in EXPORTERS)
            raise wrong(f"-o {to}: {what} does not say what to write", f"use {known}, or --format NAME")
        to = literal(absolute(to))
    return _module(name or DEFAULT_EXPORT.get(kind, "timeline"), given, to or "-")


def _module(name: str, given: Given, to: str = "-") -> dict[str, Any]:
    options: dict[str, Any] = {} if to == "-" and name == "timeline" else {"to": to}
    if name == "timeline" and given.get("all"):
        options["all"] = True
    if name in _ZONED and (zone := _zone(given)):
        options["time_zone"] = zone
    return {name: options}


# ------------------------------------------------------------------------------------------- whose logs


def split_hosts(limit: Iterable[str]) -> list[str]:
    """`--limit a,b --limit c` as names."""
    return [name for part in limit for name in re.split(r"[,\s]+", part) if name]


def files_config(logs: Iterable[str]) -> dict[str, Any]:
    """The fleet that `--log [HOST=]PATH …` names, as a config.

    A log without a host belongs to whom its lines name. The lines of an Exim main log name nobody: it is the log of
    the host that its folder is called after (`logs/mx1/mainlog`), or this machine's where the folder says nothing
    (`/var/log/exim4/mainlog`).
    """
    hosts: dict[str, dict[str, list[str]]] = {}
    shared: list[str] = []
    for log in logs:
        host, path = _whose(log)
        if not path:
            raise wrong(f"--log {log}: no path", "write --log PATH or --log HOST=PATH")
        path = path if path in ("-", "journal") else literal(absolute(path))
        (hosts.setdefault(host, {"log_files": []})["log_files"] if host else shared).append(path)
    section: dict[str, Any] = {}
    if shared:
        section["host_config"] = {"log_files": shared}
    if hosts:
        section["hosts"] = hosts
    return {"method": "files", "files_config": section}


def _whose(log: str) -> tuple[str, str]:
    host, equals, path = log.partition("=")
    # A file whose own name has a "=" in it is a file.
    if equals and _HOST.fullmatch(host) and not os.path.exists(log):  # noqa: PTH110 - as above
        return host, path
    if _EXIM.fullmatch(PurePath(log).name):
        folder = Path(absolute(log)).parent.name
        return (folder if folder not in _PLAIN_FOLDERS and _HOST.fullmatch(folder) else socket.gethostname()), log
    return "", log


def own_logs(root: str = "/") -> list[str]:
    """This machine's own mail logs, else its journal, else nothing."""

    def there(paths: Iterable[str]) -> list[str]:
        found = (Path(root, path.lstrip("/")) for path in paths)
        return [str(path) for path in found if path.is_file()]

    if logs := there(OWN_LOGS):
        return logs
    if Path(root, "run/systemd/journal").is_dir() and shutil.which("journalctl"):
        return ["journal"]
    return there(SYSTEM_LOGS)
