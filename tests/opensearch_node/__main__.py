"""`python -m opensearch_node`: an OpenSearch node with the demo's logs in it, to try mailtrace on, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from opensearch_node import node as nodes
from opensearch_node import shapes

ROOT = Path(__file__).parents[2]
INDEX = "mailtrace-logs-demo"
CONFIG = ROOT / "out" / "opensearch.yaml"
TEMPLATE: shapes.Document = {
    "@timestamp": {"type": "date_nanos"},
    "message": {"type": "match_only_text"},
    "host": {"properties": {"name": {"type": "keyword"}}},
    "log": {"properties": {"syslog": {"properties": {"appname": {"type": "keyword"}, "procid": {"type": "keyword"}}}}},
}
"""What config.yaml.sample recommends."""
HELLO = """
OpenSearch {version} at http://127.0.0.1:{port} has {count:,} lines of {hosts} hosts in the index {index}.
Ask it what the demo asks of files (in another terminal, from {root}):

  mailtrace play jobs/demo.yaml --set config=../{config} --utc
  mailtrace trace -c {config} --recipient greta@gamma.lab.test --utc
  mailtrace trace -c {config} --check

Ctrl-C ends it and removes what it holds.
"""


def demo() -> Iterator[shapes.Line]:
    """The lines of the demo's logs; all of its hosts run on UTC."""
    for path in sorted((ROOT / "jobs/demo").glob("*.log")):
        exims = path.stem == "exim1"  # written by Exim itself, not through syslog
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if (framed := shapes.framed_of(text, exims=exims)) is not None:
                yield shapes.Line(path.stem, shapes.utc(framed, {}, 2026), *framed[4:], text)


def config(port: int) -> dict[str, object]:
    """The demo's fleet, its logs in the index."""
    fleet: dict[str, object] = yaml.safe_load((ROOT / "jobs/demo/config.yaml").read_text())
    hosts = fleet.pop("files_config")["hosts"]  # type: ignore[index]
    fleet["method"] = "opensearch"
    fleet["opensearch_config"] = {"host": "127.0.0.1", "port": port, "index": "mailtrace-logs-*", "preset": "ecs"}
    fleet["clusters"] = {**fleet["clusters"], "all": list(hosts)}  # type: ignore[dict-item]
    return fleet


def main() -> None:
    """Fetch, start, fill, wait."""
    parser = argparse.ArgumentParser(prog="invoke opensearch", description=__doc__)
    parser.add_argument("--version", choices=[each.name for each in nodes.VERSIONS], default=nodes.NEW.name)
    version = next(each for each in nodes.VERSIONS if each.name == parser.parse_args().version)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not version.fetched():
        print(f"Fetching OpenSearch {version.name} …", flush=True)
        nodes.fetch()
    with tempfile.TemporaryDirectory(prefix="mailtrace-opensearch-") as home, suppress(KeyboardInterrupt):
        node = nodes.Node(version, Path(home), "http.port=9200-9299").start()
        try:
            client = node.client()
            make, _ = shapes.SHAPES["ecs"]
            every = list(demo())
            shapes.put(client, INDEX, (make(line) for line in every), TEMPLATE)
            client.close()
            CONFIG.parent.mkdir(exist_ok=True)
            CONFIG.write_text(yaml.safe_dump(config(node.port), sort_keys=False))
            told = {"port": node.port, "count": len(every), "hosts": len({line.host for line in every}), "index": INDEX}
            told |= {"version": version.name, "config": CONFIG.relative_to(ROOT), "root": ROOT}
            print(HELLO.format(**told), flush=True)
            signal.pause()
        finally:
            node.stop()


if __name__ == "__main__":
    main()
