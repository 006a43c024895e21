"""A valid job tree and its `Config` → `Job`, with every value and name that means nothing as a problem."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mailtrace import times
from mailtrace.config import Config, Tracing
from mailtrace.expect import FREE, OUTCOMES, Expect, Value, compare
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.job import (
    Bounds,
    Export,
    FilesSource,
    Find,
    Job,
    OpenSearchSource,
    Option,
    OtherSource,
    Parse,
    Source,
    SshSource,
    Walk,
)
from mailtrace.load.check import resolve, rules_of
from mailtrace.load.fleet import (
    METHODS,
    SECTIONS,
    Values,
    at_home,
    local_path,
    origins,
    read_tracing,
    text,
    texts,
    unread,
)
from mailtrace.load.tree import Node
from mailtrace.model import HostLogs, Warning_
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.problem import Problem, did_you_mean
from mailtrace.secret import Secret

HOUR = 3600.0
MOST_HINTS = 30
"""Unknown hosts for which a near match is looked for."""
_SHARES = ("all", "any", "none")
_NUMBERS = frozenset({"count", "recipients", "hops", "attempts"})
_BREAK = re.compile(r"[\r\n\0]")

_BOUNDS = frozenset({"once", "since", "until"})
"""Keys of a job's tracing that no config has."""


class Around(NamedTuple):
    """What a job is read with, besides its own tree. `config` is None where there is none or it is broken."""

    config: Config | None
    config_tree: Node
    base: Path
    path: Path | None
    now: float
    limit: Sequence[str]
    job_schema_exports: frozenset[str]  # the exporters of the schema; others are someone else's
    lint: bool = False
    played: float | None = None  # `now`, where it is not the real one


def read_job(tree: Node, values: Values, around: Around) -> Job:
    """What a tree that satisfies the schema means. Problems are kept in `values`."""
    return _Reader(tree, values, around).job()


class _Reader:
    """Reads one job."""

    def __init__(self, tree: Node, values: Values, around: Around) -> None:
        self.tree = tree
        self.values = values
        self.around = around
        self.config = around.config or Config()
        self.named = around.config is not None  # whether names can be checked
        self.kind = text(tree.at("kind")) or "trace"
        self.warnings: list[Warning_] = []
        self.unknown = 0
        steps = [name for name, _ in self.steps("source") if name in METHODS]
        self.methods = tuple(dict.fromkeys(steps)) or (self._default_method(),)
        self.inventory = self._inventory()

    def steps(self, section: str) -> list[tuple[str, Node]]:
        """Name and options of each step of a section."""
        nodes = self.tree.at(section).value or []
        return [(name, options) for node in nodes for name, options in node.value.items()]

    def job(self) -> Job:
        """All of it."""
        self._kind_fits()
        limit = self._expand([Node(name, path="--limit") for name in self.around.limit])
        start = self._start(limit)
        find = self._find(start)
        sources = self._joined(self._sources(limit), start)
        name = text(self.tree.at("name")) or (self.around.path.stem if self.around.path else "")
        unreachable = self.tree.at("on_unreachable")
        return Job(
            kind=self.kind,
            name=name,
            config=self.config,
            inventory=self.inventory,
            find=find,
            source=sources,
            parse=tuple(
                Parse(name, self.values.time_format(options.at("time_format"))) for name, options in self.steps("parse")
            )
            or (Parse("auto"),),
            walk=Walk(
                self.tree.at("walk", "max_hops").plain(Walk().max_hops),
                self.values.tried(self.tree.at("walk", "max_age"), times.duration, Walk().max_age),
            ),
            export=self._exports(),
            expect=tuple(each for name, node in self.steps("expect") for each in self._expects(name, node)),
            wait=self._wait(sources, find),
            tracing=self._tracing(),
            bounds=self._bounds(),
            on_unreachable=self.config.on_unreachable if unreachable.origin == "default" else text(unreachable),
            path=self.around.path,
            now=self.around.played,
            warnings=tuple(self.warnings),
            origins={**{f"config.{k}": v for k, v in self.config.origins.items()}, **origins(self.tree)},
        )

    # ---------------------------------------------------------------------------------------- question

    def _kind_fits(self) -> None:
        """Sections that the kind of job does not have."""
        find, tracing = self.tree.at("find"), self.tree.at("tracing")
        if self.kind == "tracing" and any(child.origin != "default" for child in find.children()):
            self.values.problems.append(
                find.problem("a tracing job has no find", "it sends every mail; leave the section out", at_key=True)
            )
        if self.kind != "tracing" and any(child.origin != "default" for child in tracing.children()):
            self.values.problems.append(
                tracing.problem(f"a {self.kind} job has no tracing", "write kind: tracing", at_key=True)
            )

    def _find(self, start_host: tuple[str, ...]) -> Find:
        node = self.tree.at("find")
        for name in ("keywords", "any_of"):
            each = node.at(name)
            for child in each.children() or [each]:
                self._one_line(child)
        for name in ("message_id", "sender", "recipient", "queue_id", "subject", "client", "sasl_user"):
            self._one_line(node.at(name))
        if text(node.at("keys_from")) == text(node.at("eml")) == "-":
            self.values.wrong(node.at("eml"), "standard input cannot be both keys_from and eml", "name a file for one")
        zone = self._zone(node.at("time_zone"))
        start, end = self._window(node, zone)
        given = node.at("sender")
        sender = given.value if given.origin != "default" else None  # "" is a question too: bounces
        return Find(
            start_host=start_host,
            keywords=texts(node.at("keywords")),
            any_of=texts(node.at("any_of")),
            keys_from=local_path(text(node.at("keys_from")), self.around.base),
            keys_column=text(node.at("keys_column")),
            eml=local_path(text(node.at("eml")), self.around.base),
            message_id=_bare(text(node.at("message_id"))),
            sender=None if sender is None else _bare(sender),
            recipient=_bare(text(node.at("recipient"))),
            queue_id=text(node.at("queue_id")).strip(),
            subject=text(node.at("subject")),
            client=text(node.at("client")).strip().removeprefix("[").removesuffix("]"),
            sasl_user=text(node.at("sasl_user")),
            start=start,
            end=end,
            zone=zone,
        )

    def _one_line(self, node: Node) -> None:
        if _BREAK.search(text(node)):
            self.values.wrong(node, "this has a line break or a NUL, which no log line has")

    def _zone(self, node: Node) -> str:
        """The zone that times without one are in."""
        search = self.config.opensearch_config
        fallback = search.time_zone if "opensearch" in self.methods and search.own_zone else times.LOCAL
        return self.values.zone(node) or fallback

    def _window(self, find: Node, zone: str) -> tuple[float | None, float | None]:
        """Start and end of the window in UTC seconds; None for an open end."""
        where = times.zone(zone)
        nodes = {name: find.at(name) for name in ("time", "time_range", "since", "until")}
        given = {name for name, node in nodes.items() if text(node)}
        problems = len(self.values.problems)

        def moment(name: str) -> float | None:
            def read(said: str) -> float:
                return times.moment(said, self.around.now, where)

            return self.values.tried(nodes[name], read, None)

        reach = self.values.tried(nodes["time_range"], times.duration, HOUR)
        time, since, until = moment("time"), moment("since"), moment("until")
        if "time" in given and given & {"since", "until"}:
            hint = "use time and time_range, or since and until"
            self.values.wrong(nodes["time"], "time together with since or until", hint)
        elif "time_range" in given and "time" not in given:
            self.values.wrong(nodes["time_range"], "time_range without time", "give the time it is around")
        elif "time_range" in given and reach <= 0:
            self.values.wrong(nodes["time_range"], "time_range must be longer than nothing")
        if len(self.values.problems) > problems:
            return None, None
        if time is not None:
            return time - reach, time + reach
        end = self.around.now if until is None and since is not None else until
        if end == self.around.now and text(self.tree.at("wait")):
            end += self.values.tried(self.tree.at("wait"), times.duration, 0.0)  # what comes meanwhile is meant too
        if since is not None and end is not None and end < since:
            at = nodes["until" if "until" in given else "since"]
            hint = "" if "until" in given else "since is in the future"
            self.values.wrong(at, "the window ends before it starts", hint)
        return since, end

    # ------------------------------------------------------------------------------------------ source

    def _default_method(self) -> str:
        """The config's method; continuous tracing prefers the index, as long as there is one."""
        other = self.config.method != "opensearch" and "opensearch_config" in self.config.configured
        if self.kind == "tracing" and other:
            what = f"method is {self.config.method}; continuous tracing reads opensearch_config"
            self.warnings.append(Warning_("tracing-reads-opensearch", what))
            return "opensearch"
        return self.config.method

    def _inventory(self) -> Inventory:
        """The config's hosts, and those that the job's own logs are of."""
        inventory = self.config.inventory_of(*self.methods)
        hosts = dict(inventory.hosts)
        is_open = inventory.open
        for name, options in self.steps("source"):
            if name == "files" and texts(options.at("log_files")):
                named = Values().hosts(options.at("hosts"))
                is_open = is_open or len(named) != 1
                for host in named:
                    if not inventory.find(host) and host.casefold() not in map(str.casefold, inventory.clusters):
                        hosts.setdefault(host, HostFacts())
        return Inventory(hosts, inventory.clusters, inventory.domain, is_open)

    def _expand(self, nodes: Sequence[Node]) -> tuple[str, ...]:
        """Hosts that these nodes name; an unknown name is a problem, unless the logs may hold it."""
        found: dict[str, None] = {}
        for node in nodes:
            try:
                hosts, unknown = self.inventory.expand([node.value])
            except ValueError as error:
                message, _, hint = str(error).partition("; ")
                self.values.wrong(node, message, hint)
                continue
            found.update(dict.fromkeys(hosts))
            if self.inventory.open:
                found.update(dict.fromkeys(unknown))
            elif self.named:
                self.values.problems += [self._unknown(node, name) for name in unknown[:3]]
                if len(unknown) > 3:
                    self.values.wrong(
                        node, f'and {len(unknown) - 3} more hosts of "{node.value}" are not in the config'
                    )
        return tuple(found)

    def _unknown(self, node: Node, name: str) -> Problem:
        self.unknown += 1
        # Looking for near matches takes a while in a large fleet; nobody reads the hundredth.
        hint = self.inventory.near(name) if self.unknown <= MOST_HINTS else ""
        known = (*self.inventory.clusters, *self.inventory.names)
        if not hint and 0 < len(known) <= 12:
            hint = f"there are: {', '.join(known)}"
        return node.problem(f'there is no host or cluster "{name[:60]}" in the config', hint)

    def _sources(self, limit: tuple[str, ...]) -> tuple[Source, ...]:
        steps = self.steps("source")
        for method in self.methods:
            needed = not steps or any(name == method and not texts(o.at("log_files")) for name, o in steps)
            if self.named and needed:
                self.values.problems += unread(self.config, self.around.config_tree, method)
        found = [self._source(name, options) for name, options in steps] or [
            self._source(self.methods[0], Node({}, path="source"))
        ]
        return self._limited(found, limit) if limit else tuple(found)

    def _source(self, name: str, options: Node) -> Source:
        nodes = _each(options.at("hosts"))
        hosts = self._expand(nodes)
        if name == "opensearch":
            index = text(options.at("index"))
            access = self.config.opensearch_config
            known = tuple(host for host in self.inventory.names if self._asked(host, name))
            return OpenSearchSource(hosts if nodes else known, replace(access, index=index) if index else access)
        if name not in METHODS:
            own = {key: _option(child) for key, child in options.value.items() if key != "hosts"}
            return OtherSource(name, hosts, own)
        logs = self._logs(name, options, hosts, every=not nodes)
        return FilesSource(logs) if name == "files" else SshSource(logs, self.config.ssh_config)

    def _asked(self, host: str, method: str) -> bool:
        """Whether a host is asked when the job names none: one that is only known as outside is not."""
        return self.inventory.own(host) or host in self.config.section(method)

    def _logs(self, method: str, options: Node, hosts: tuple[str, ...], *, every: bool) -> tuple[HostLogs, ...]:
        """The logs of these hosts, or of every host, with what the job itself says of them."""
        own = texts(options.at("log_files"))
        if method == "files":
            own = tuple(local_path(each, self.around.base) for each in own)
        said = HostLogs(
            "",
            own,
            self.values.parser(options.at("log_parser")),
            self.values.time_format(options.at("time_format")),
            self.values.zone(options.at("time_zone")),
        )
        if own and every:
            if method == "files":
                return (said,)
            self.values.wrong(options.at("log_files"), "log_files without hosts", "name the hosts they are on")
        found: list[HostLogs] = []
        for host in hosts if not every else [h for h in self.inventory.names if self._asked(h, method)]:
            logs = self._parsed(host, self.config.logs_of(host, method), method)
            logs = HostLogs(
                host,
                said.log_files or logs.log_files,
                said.log_parser or logs.log_parser,
                said.time_format or logs.time_format,
                said.time_zone or logs.time_zone,
            )
            if logs.log_files:
                found.append(logs)
            elif not every and self.named and self.inventory.find(host) and host not in self.config.section(method):
                self.values.wrong(options.at("hosts"), f"no log_files for {host}", f"set them in {SECTIONS[method]}")
        if every and method == "files" and self.config.loose_logs:
            loose = self._parsed("", self.config.logs_of("", "files"), method)
            found.append(replace(loose, log_files=self.config.loose_logs))
        return tuple(found)

    def _parsed(self, host: str, logs: HostLogs, method: str) -> HostLogs:
        """A host's own parser leads over the job's `parse`, and that over `host_config`'s."""
        own = self.config.section(method).get(host)
        if self.tree.at("parse").value and not (own and own.own_parser):
            return replace(logs, log_parser="")
        return logs

    def _limited(self, sources: Iterable[Source], limit: tuple[str, ...]) -> tuple[Source, ...]:
        """The sources with these hosts only; logs of nobody in particular stay, their lines are looked at by name."""
        kept: list[Source] = []
        for source in sources:
            if isinstance(source, (FilesSource, SshSource)):
                logs = tuple(log for log in source.logs if log.host in limit or not log.host)
                if logs:
                    kept.append(replace(source, logs=logs))
            else:
                hosts = tuple(host for host in source.hosts if host in limit) if source.hosts else limit
                if hosts:
                    kept.append(replace(source, hosts=hosts))
        if not kept:
            self.values.problems.append(Problem(f"no host is left: {', '.join(limit)} is in no source", path="--limit"))
        return tuple(kept)

    def _start(self, limit: tuple[str, ...]) -> tuple[str, ...]:
        """Where the search starts; () for everywhere."""
        node = self.tree.at("find", "start_host")
        start = self._expand(_each(node))
        kept = tuple(host for host in start if host in limit) if limit else start
        if start and not kept:
            self.values.wrong(node, f"no start host is left by --limit {','.join(self.around.limit)}")
        return kept

    def _joined(self, sources: tuple[Source, ...], start: tuple[str, ...]) -> tuple[Source, ...]:
        """The sources with the start hosts in them; one that the job did not name joins the first that can read it."""
        read = {host for source in sources for host in source.hosts}
        everyone = any(isinstance(s, FilesSource) and any(not log.host for log in s.logs) for s in sources)
        if everyone or any(isinstance(source, OpenSearchSource) and not source.hosts for source in sources):
            return sources
        out = list(sources)
        for host in start:
            for number, source in enumerate(out):
                wider = None if host in read else self._with(source, host)
                if wider is not None:
                    what = f"{host} is in no source of the job; it is read too, since the search starts there"
                    self.warnings.append(Warning_("start-host-joins", what, host))
                    out[number] = wider
                    break
        return tuple(out)

    def _with(self, source: Source, host: str) -> Source | None:
        """A source that reads one more host; None where it cannot."""
        if isinstance(source, (FilesSource, SshSource)):
            logs = self._parsed(host, self.config.logs_of(host, source.name), source.name)
            return replace(source, logs=(*source.logs, logs)) if logs.log_files else None
        return replace(source, hosts=(*source.hosts, host)) if isinstance(source, OpenSearchSource) else None

    # ------------------------------------------------------------------------------------------ answer

    def _exports(self) -> tuple[Export, ...]:
        steps = self.steps("export")
        if self.kind == "tracing" and not any(name == "otlp" for name, _ in steps):
            self.values.wrong(self.tree.at("export"), "a tracing job needs an otlp export", 'add "- otlp: {}"')
        return tuple(self._export(name, options) for name, options in steps)

    def _export(self, name: str, options: Node) -> Export:
        given = options.at("to")
        own = {key: _option(child) for key, child in options.value.items() if key != "to"}
        if name in self.around.job_schema_exports and "time_zone" in own:
            own["time_zone"] = self.values.zone(options.at("time_zone")) or times.LOCAL
        if name == "otlp":
            own |= self._back_end(options)
        to = text(given) or "-"
        return Export(name, to if to == "-" else self._output(given, to), own)

    def _back_end(self, options: Node) -> dict[str, Option]:
        """Where traces go and how: what the export does not set is the config's; its files are the job's."""
        out: dict[str, Option] = {}
        for key in options.value:
            node = options.at(key)
            if node.origin == "default" and (configured := getattr(self.config.tracing, key)):
                out[key] = configured
            elif key.endswith("_file"):
                out[key] = local_path(text(node), self.around.base)
        try:
            Endpoint.of({**{key: _option(options.at(key)) for key in options.value}, **out})
        except ValueError as error:
            self.values.wrong(options.at("endpoint"), str(error))
        return out

    def _output(self, node: Node, to: str) -> str:
        """An absolute path; what a variable put in stays inside the folder written before it."""
        if "\0" in to:
            self.values.wrong(node, "a path cannot hold a NUL")
            return to
        target = os.path.normpath(Path.cwd() / at_home(to))
        if node.template is not None and "${" in node.template.replace("$${", ""):
            prefix = re.split(r"(?<!\$)\$\{", node.template, maxsplit=1)[0].replace("$${", "${")
            folder = prefix[: prefix.rfind("/") + 1] or "."
            inside = os.path.normpath(Path.cwd() / at_home(folder))
            if target == inside or not target.startswith(inside.rstrip("/") + "/"):
                shown = "the working directory" if folder == "." else folder
                hint = "a variable cannot lead out of the folder before it"
                self.values.wrong(node, f'"{to[:80]}" leaves {shown}', hint)
        if to.endswith("/"):
            self.values.wrong(node, f'"{to[:80]}" is a folder', "add the file's name")
        return target

    def _wait(self, sources: Iterable[Source], find: Find) -> float:
        node = self.tree.at("wait")
        logs = [log for source in sources if isinstance(source, FilesSource) for log in source.logs]
        reads_stdin = any("-" in log.log_files for log in logs)
        for key in ("keys_from", "eml"):
            if reads_stdin and getattr(find, key) == "-":
                self.values.wrong(self.tree.at("find", key), "standard input is a log already", "name a file")
        if not text(node):
            return 0.0
        if reads_stdin:
            self.values.wrong(node, "standard input cannot be read again", "name a log file, or leave wait out")
        if self.kind == "tracing":
            self.values.wrong(node, "a tracing job has no wait", "it goes on for ever by itself")
        return self.values.tried(node, times.duration, 0.0)

    def _tracing(self) -> Tracing:
        """The job's own tracing keys over the config's."""
        own = read_tracing(self.tree.at("tracing"), self.around.base)
        node = self.tree.at("tracing")
        said = {
            child: getattr(own, child)
            for child in (node.value or {})
            if child not in _BOUNDS and node.at(child).origin != "default"
        }
        return replace(self.config.tracing, **said)

    def _expects(self, name: str, node: Node) -> list[Expect]:
        if name not in FREE:
            return [self._expect(name, node)]
        found = []
        for path, child in (node.value or {}).items():
            if problem := _no_such_path(path):
                self.values.problems.append(child.problem(*problem, at_key=True))
            value = tuple(each.value for each in child.value) if isinstance(child.value, list) else child.value
            found.append(Expect(name, value, f"{name} {path}: {_shown(child)}", path, _where(child)))
        return found

    def _bounds(self) -> Bounds:
        """What continuous tracing is limited to."""
        node = self.tree.at("tracing")

        def moment(name: str) -> float | None:
            def read(said: str) -> float:
                return times.moment(said, self.around.now)

            return self.values.tried(node.at(name), read, None)

        since, until = moment("since"), moment("until")
        if since is not None and until is not None and until < since:
            self.values.wrong(node.at("until"), "tracing would end before it begins", "until lies before since")
        return Bounds(bool(node.at("once").plain(False)), since, until)

    def _expect(self, name: str, node: Node) -> Expect:
        value: Value = node.plain("")
        shown = _shown(node)
        if name == "within":
            value = self.values.tried(node, times.duration, 0.0)
        elif name in _NUMBERS or (name in OUTCOMES and not _is_share(value)):
            self._number(node, shares=name in OUTCOMES)
        elif name in {"via", "not_via"}:
            value = tuple(self._expand([each]) for each in _each(node))
        elif name == "outcome":
            value = texts(node)
            for each in _each(node):
                if each.value not in OUTCOMES:
                    near = did_you_mean(each.value, OUTCOMES) or f"there are: {', '.join(OUTCOMES)}"
                    self.values.wrong(each, f'there is no outcome "{each.value[:60]}"', near)
        return Expect(name, value, f"{name}: {shown}", place=_where(node))

    def _number(self, node: Node, *, shares: bool) -> None:
        try:
            compare(node.value, 0)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            if shares:
                message = f'"{str(node.value)[:40]}" is not {", ".join(_SHARES)}, a number, a comparison or an address'
                hint = did_you_mean(str(node.value), _SHARES) or hint
            self.values.wrong(node, message, hint)


def _is_share(value: Value) -> bool:
    """Whether an outcome is expected of all, any, none or one recipient, rather than of a number of them."""
    return isinstance(value, bool) or value in _SHARES or "@" in str(value)


def _where(node: Node) -> str:
    """Where a value stands, as its reader finds it."""
    return node.problem("").place


def _no_such_path(path: str) -> tuple[str, str] | None:
    """What is wrong with a path of the report, and what was perhaps meant; None for one that there is."""
    root = rules_of("report")
    rules, walked = root, ""
    for key in path.split("."):
        while "items" in (rules := resolve(rules, root)):
            rules = rules["items"]
        known = rules.get("properties", {})
        if key not in known:
            where = f"{walked or 'the report'} has"
            hint = did_you_mean(key, known) or (f"there are: {', '.join(known)}" if known else "")
            return f'{where} no "{key[:60]}"', hint
        rules, walked = known[key], f"{walked}.{key}".lstrip(".")
    while "items" in (rules := resolve(rules, root)):
        rules = rules["items"]
    if rules.get("properties"):
        return f'"{path}" is not a value but holds several', f"there are: {', '.join(rules['properties'])}"
    return None


def _each(node: Node) -> list[Node]:
    """The texts of a list, or the one text, as nodes."""
    if isinstance(node.value, list):
        return list(node.value)
    return [node] if text(node) else []


def _bare(address: str) -> str:
    """An address or ID without blanks and <>."""
    bare = address.strip()
    return bare[1:-1] if bare.startswith("<") and bare.endswith(">") else bare


def _option(node: Node) -> Option:
    """One option of a module as written. What stands in a mapping is its secrets: an exporter's headers."""
    if isinstance(node.value, dict):
        return {key: Secret(str(child.plain(""))) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return tuple(str(child.plain("")) for child in node.value)
    value: Option = node.value
    return value


def _shown(node: Node) -> str:
    """What an expectation is held to, as its reader wrote it."""
    if isinstance(node.value, list):
        return ", ".join(_shown(each) for each in node.value)
    if node.value is None:
        return "null"
    return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
