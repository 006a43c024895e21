"""Where lines come from: the sources that a job names."""

from __future__ import annotations

from typing import Any

SOURCES: dict[str, tuple[str, str]] = {
    "files": ("mailtrace.sources.files", "FilesSource"),
    "opensearch": ("mailtrace.sources.opensearch", "OpenSearchSource"),
    "ssh": ("mailtrace.sources.ssh", "SshSource"),
}
"""The word in YAML → module and class; a module is imported when a job names it."""

GROUP = "mailtrace.sources"
"""The entry points by which other people's sources join."""


def source_class(word: str) -> Any:
    """The class of a source. Raises `KeyError` for a word that neither we nor an installed package knows."""
    from importlib import import_module
    from importlib.metadata import entry_points

    if word in SOURCES:
        module, name = SOURCES[word]
        return getattr(import_module(module), name)
    for point in entry_points(group=GROUP, name=word):
        return point.load()
    raise KeyError(word)
