"""The library of the first mailtrace, function by function, over the same core as `run_job`.

An aggregator reads the logs of one host or cluster. `select_aggregator` gives the class for a config: `SSHHost`,
`OpenSearch` or `LocalFiles`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mailtrace.assemble import assemble
from mailtrace.assemble.names import loopback
from mailtrace.graph import MailGraph
from mailtrace.load import load_job
from mailtrace.model import LogEntry, LogQuery
from mailtrace.run import gather, sources

if TYPE_CHECKING:
    import os

    from mailtrace.config import Config
    from mailtrace.hosts import Inventory
    from mailtrace.job import Job
    from mailtrace.model import Hop, Peer
    from mailtrace.report import Report


class Aggregator:
    """Reads the logs of one host, or of all hosts of a cluster. Not used itself: see `select_aggregator`."""

    method: ClassVar[str]
    """The source's word in a job."""

    def __init__(self, host: str, config: Config) -> None:
        """`host` is a host or a cluster of the config. Raises `RequestError` for one it does not know."""
        self.host = host
        self.config = config
        self.job = _job(config, type(self), host, {})

    def query_by(self, query: LogQuery) -> list[LogEntry]:
        """The entries of this host's lines that answer; the hosts of the query are not looked at.

        Raises `DataError` when the logs cannot be read.
        """
        out: list[LogEntry] = []
        for source in sources(self.job, keep_raw=True):
            try:
                hosts = query.hosts or tuple(self.job.find.start_host)
                out += source.query(LogQuery(hosts, query.all_of, query.any_of, query.start, query.end))
            finally:
                source.close()
        return out


class LocalFiles(Aggregator):
    """Logs in files of this machine (`method: files`)."""

    method = "files"


class SSHHost(Aggregator):
    """Logs on the servers, read over SSH (`method: ssh`)."""

    method = "ssh"


class OpenSearch(Aggregator):
    """Logs in an OpenSearch index (`method: opensearch`)."""

    method = "opensearch"


AGGREGATORS: dict[str, type[Aggregator]] = {each.method: each for each in (LocalFiles, SSHHost, OpenSearch)}
LogsById = dict[str, tuple[str, list[LogEntry]]]
"""Queue ID → (host, its log entries in order of time)."""


def select_aggregator(config: Config) -> type[Aggregator]:
    """The class that reads logs as the config's `method` says: `SSHHost`, `OpenSearch` or `LocalFiles`."""
    return AGGREGATORS[config.method]


def query_logs_by_keywords(
    config: Config,
    aggregator_class: type[Aggregator],
    start_host: str,
    keywords: Sequence[str],
    time: str = "",
    time_range: str = "",
) -> LogsById:
    """The mails whose lines on `start_host` (a host or a cluster) contain all keywords, in any case.

    Searches from `time_range` before to `time_range` after `time` (both as in a job; "" is no bound). The second mail
    under the same queue ID is called `ID#2`.

    Raises `RequestError` for an unknown host or a time that can't be read.
    """
    find = {"keywords": list(keywords), "time": time, "time_range": time_range}
    job = _job(config, aggregator_class, start_host, find)
    out: LogsById = {}
    for hop in _hops(gather(job, keep_entries=True)):
        if not job.find.start_host or hop.host in job.find.start_host:
            out[_free(hop.queue_id, out)] = (hop.host, hop.entries)
    return out


def trace_mail_flow(
    trace_id: str, aggregator_class: type[Aggregator], config: Config, host: str, graph: MailGraph
) -> None:
    """Follow the mail with this queue ID on this host over all hosts, and add its hops to the graph."""
    _draw(gather(_job(config, aggregator_class, host, {"queue_id": trace_id})), graph)


def trace_mail_flow_to_file(
    config: Config,
    aggregator_class: type[Aggregator],
    start_host: str,
    keywords: Sequence[str],
    time: str = "",
    time_range: str = "",
    output_file: str | os.PathLike[str] | None = None,
) -> None:
    """Follow all mails that `query_logs_by_keywords` finds, and write their flow as Graphviz DOT.

    `output_file` None or "-" is standard output. Raises `RequestError` for a wrong request and `OSError` where the file
    can't be written.
    """
    find = {"keywords": list(keywords), "time": time, "time_range": time_range}
    MailGraph.of(gather(_job(config, aggregator_class, start_host, find))).to_dot(output_file)


NextHop = tuple[str, str] | tuple[None, None]


def do_trace(mail_id: str, aggregator: Aggregator) -> NextHop:
    """The next hop of a mail, as its lines on this aggregator's host tell: `(queue ID, host)` there, or Nones.

    The host is the config's name for the relay where it knows one, else the relay's own.
    """
    entries = aggregator.query_by(LogQuery(any_of=(mail_id,)))
    for mail in assemble(entries, aggregator.job.inventory, near=_now()).mails:
        for hop in mail.hops:
            for delivery in hop.deliveries:
                if hop.queue_id == mail_id and delivery.reply_id:
                    relay = delivery.relay
                    return delivery.reply_id, hop.host if loopback(relay) else _host(relay, aggregator.job.inventory)
    return None, None


def _host(relay: Peer, inventory: Inventory) -> str:
    """The config's host for a relay: by name or address, or the only one with its first label."""
    if known := inventory.find(relay.name) or inventory.find(relay.ip):
        return known
    label = relay.name.partition(".")[0].lower()
    alike = [host for host in inventory.names if host.partition(".")[0].lower() == label]
    return alike[0] if len(alike) == 1 else relay.name or relay.ip


def _now() -> float:
    from time import time

    return time()


def _job(config: Config, aggregator_class: type[Aggregator], host: str, find: dict[str, Any]) -> Job:
    """The question as a job; empty values are left out."""
    asked = {key: value for key, value in {**find, "start_host": host}.items() if value}
    return load_job(
        {"version": 1, "kind": "trace", "find": asked, "source": [{aggregator_class.method: {}}]}, config=config
    )


def _hops(report: Report) -> Iterable[Hop]:
    return (hop for mail in report.mails for hop in mail.hops)


def _free(name: str, taken: LogsById) -> str:
    number, out = 1, name
    while out in taken:
        number += 1
        out = f"{name}#{number}"
    return out


def _draw(report: Report, graph: MailGraph) -> None:
    drawn = MailGraph.of(report)
    for host, style in drawn.hosts.items():
        graph.hosts.setdefault(host, style)
    for edge in drawn.edges:
        for queue_id in edge.queue_ids:
            graph.add_hop(edge.from_host, edge.to_host, queue_id)
