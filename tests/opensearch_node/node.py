"""A real OpenSearch node for tests and trials, on the loopback address only.

Its jars come from Maven once, into `lib/` beside this file (52 MB, 9 seconds; git ignores it); a later start needs no
network. `python tests/opensearch_node/node.py` fetches them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIB = Path(os.environ.get("OPENSEARCH_LIB", HERE / "lib"))
VERSION = "2.19.4"
FETCH = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={LIB}"]
JAVA = os.environ.get("OPENSEARCH_JAVA", "java")
START = ["-Xms512m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{LIB}/*{os.pathsep}{HERE}"]
# A JDK compiles the launcher on the way; a runtime without a compiler needs it compiled beside it.
LAUNCHER = ["OsNode"] if (HERE / "OsNode.class").exists() else [str(HERE / "OsNode.java")]


def fetched() -> bool:
    """Whether the jars are there."""
    return any(LIB.glob("opensearch-[0-9]*.jar"))


class Node:
    """One node; its data stay in `home`, so that it can be stopped and started again."""

    def __init__(self, home: Path, *settings: str) -> None:
        """`settings` are the node's (`name=value`)."""
        self.home = home
        self.settings = settings
        self.port = 0
        home.mkdir(parents=True, exist_ok=True)

    def start(self) -> Node:
        """Start it and wait until it answers."""
        with (self.home / "node.log").open("a") as log:
            self.process = subprocess.Popen(
                [JAVA, *START, *LAUNCHER, str(self.home), *self.settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("READY "):
                self.port = int(line.rpartition(":")[2])
                self._wait()
                return self
        code = self.process.wait()
        tail = (self.home / "node.log").read_text()[-2000:]
        raise RuntimeError(f"the node ended with {code}: {tail}")

    def stop(self) -> None:
        """Stop it: the launcher ends with its input."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def client(self) -> Any:
        """A client that may do everything."""
        from opensearchpy import OpenSearch

        return OpenSearch([{"host": "127.0.0.1", "port": self.port}], timeout=60)

    def _wait(self) -> None:
        client = self.client()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(Exception):
                client.cluster.health(params={"wait_for_status": "yellow"})
                break
            time.sleep(0.1)
        client.close()


if __name__ == "__main__":
    sys.exit(0 if fetched() else subprocess.run(FETCH, cwd=HERE, check=False).returncode)
