"""Opening a case bundle (`mailtrace trace --bundle case.zip`), which may come from anybody.

Nothing of it is believed: only the files that a bundle has are taken, by name and within bounds; checksums must be
right; the job may ask and walk, and nothing else; the config may name hosts and the logs of the bundle, and nothing
else. No variable in them is put in, and nothing is written outside of a folder of our own.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

from mailtrace.case import escaped
from mailtrace.errors import RequestError
from mailtrace.load import to_yaml
from mailtrace.load.tree import from_yaml
from mailtrace.problem import Problem

MOST_FILES = 10_000
MOST_BYTES = 2 * 1024**3
"""Of all files together, unpacked; the logs of a case are far smaller."""
MOST_TIMES = 200
"""So many times its packed size may a bundle be; logs under pseudonyms shrink to a tenth."""
SMALL = 64 * 1024**2
"""Up to here nobody asks how many times."""

_KNOWN = re.compile(r"README\.txt|SHA256SUMS|versions\.txt|report\.json|job\.yaml|config\.yaml|logs/[\w-][\w.-]{0,250}")
_CHUNK = 1 << 20
_JOB = frozenset({"version", "kind", "name", "config", "find", "walk"})
_FIND = frozenset(
    "start_host keywords any_of message_id sender recipient queue_id subject client sasl_user since until".split()
)
_CONFIG = frozenset({"method", "domain", "clusters", "hosts", "files_config"})
_HOST = frozenset({"log_files", "log_parser", "time_format", "time_zone"})


def open_bundle(path: str, folder: Path) -> Path:
    """Unpack a bundle into an empty folder and return its job file.

    Raises `RequestError` with what is wrong with it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = _unpack(archive, path, folder)
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _wrong(path, f"cannot be opened: {why.lower()}") from None
    for name in ("job.yaml", "config.yaml"):
        if name not in names:
            raise _wrong(path, f"{name} is missing: this is no case bundle")
    _check_sums(path, folder, names)
    logs = {name for name in names if name.startswith("logs/")}
    config = _read(path, folder, "config.yaml", _CONFIG)
    _check_config(path, config, logs)
    job = _read(path, folder, "job.yaml", _JOB)
    _only(path, "job.yaml", job.get("find") or {}, _FIND)
    job["config"] = "config.yaml"
    (folder / "config.yaml").write_text(to_yaml(escaped(config)), encoding="utf-8")
    (folder / "job.yaml").write_text(to_yaml(escaped(job)), encoding="utf-8")
    return folder / "job.yaml"


def _wrong(path: str, text: str, hint: str = "") -> RequestError:
    return RequestError([Problem(text, path, hint=hint)])


def _unpack(archive: zipfile.ZipFile, path: str, folder: Path) -> set[str]:
    """Write the files that a bundle has; a name that it does not have is no part of it. What it holds is counted."""
    members = archive.infolist()
    if len(members) > MOST_FILES:
        raise _wrong(path, f"it holds {len(members)} files; a case bundle has {MOST_FILES} at most")
    packed = max(1, Path(path).stat().st_size)
    names: set[str] = set()
    left = MOST_BYTES
    for member in members:
        name = member.filename
        if not _KNOWN.fullmatch(name) or name in names:
            what = "is there twice" if name in names else "is no file of a case bundle"
            raise _wrong(path, f'"{name[:100]}" {what}')
        names.add(name)
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        with archive.open(member) as source, target.open("xb") as out:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                unpacked = MOST_BYTES - left
                if left < 0 or (unpacked > SMALL and unpacked > packed * MOST_TIMES):
                    raise _wrong(path, f"it unpacks to more than {unpacked / 1e6:.0f} MB: too much for a case bundle")
                out.write(chunk)
    return names


def _check_sums(path: str, folder: Path, names: set[str]) -> None:
    """Every file is the one that was packed: a bundle that was cut or changed answers for other logs."""
    sums = folder / "SHA256SUMS"
    text = sums.read_text(encoding="utf-8", errors="replace") if "SHA256SUMS" in names else ""
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    for name in sorted(names - {"SHA256SUMS"}):
        with (folder / name).open("rb") as file:
            digest = sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if wanted.get(name) != digest.hexdigest():
            raise _wrong(path, f"{name} is not as SHA256SUMS has it: the bundle was changed, or is damaged")


def _read(path: str, folder: Path, name: str, known: frozenset[str]) -> dict[str, Any]:
    tree, problems, _ = from_yaml((folder / name).read_bytes(), name)
    if problems or tree is None:
        raise _wrong(path, f"{name}: {problems[0].message if problems else 'empty'}")
    _only(path, name, tree.plain(), known)
    document: dict[str, Any] = _meant(tree.plain())
    return document


def _only(path: str, name: str, value: Any, known: frozenset[str]) -> None:
    """Refuse a document that says more than that of a bundle."""
    if not isinstance(value, dict):
        raise _wrong(path, f"{name}: this is no case bundle")
    for key in value:
        if key not in known:
            raise _wrong(path, f'{name}: a case bundle has no "{key[:60]}"')


def _check_config(path: str, config: dict[str, Any], logs: set[str]) -> None:
    """The logs that a bundle names are its own."""
    if config.get("method") != "files":
        raise _wrong(path, "config.yaml: the logs of a case bundle are files")
    files = config.get("files_config")
    _only(path, "config.yaml", files, frozenset({"host_config", "hosts"}))
    hosts = (files or {}).get("hosts") or {}
    if not isinstance(hosts, dict):
        raise _wrong(path, "config.yaml: this is no case bundle")
    for said in [(files or {}).get("host_config") or {}, *hosts.values()]:
        _only(path, "config.yaml", said, _HOST)
        named = said.get("log_files") or []
        for log in [named] if isinstance(named, str) else named:
            if log not in logs:
                raise _wrong(path, f'config.yaml: "{str(log)[:100]}" is no log of the bundle')


def _meant(value: Any) -> Any:
    """A document as it is meant: `$${` stands for `${`."""
    if isinstance(value, dict):
        return {key: _meant(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_meant(item) for item in value]
    return value.replace("$${", "${") if isinstance(value, str) else value
