"""Debian's mail servers, unpacked into folders and never installed.

Postfix and Exim can't be installed together, and an installed server would be started and configured by its package.
So the packages, with what they depend on and this machine lacks, are downloaded by apt and unpacked into *layers*:
folders that a host's root file system puts over the machine's own.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# Lower layers first: an Exim host has no Postfix, so that `sendmail` is its own.
LAYERS: dict[str, tuple[str, ...]] = {
    "base": ("rsyslog", "openssh-server", "openssh-client", "sudo"),
    "postfix": ("postfix", "dovecot-core", "dovecot-lmtpd", "dovecot-sieve"),
    "exim": ("exim4-daemon-light", "exim4-base"),
}
_MERGED = ("bin", "sbin", "lib", "lib64")  # on a merged-usr system these are links that a folder would hide


def unpack(folder: Path) -> dict[str, Path]:
    """Make every layer below `folder` that isn't there yet; the path of each.

    Needs root, apt and a mirror. Raises CalledProcessError where apt fails.
    """
    if not all((folder / name).with_suffix(".complete").exists() for name in LAYERS):
        subprocess.run(["apt-get", "update", "--quiet=2"], check=True)
    return {name: _layer(folder / name, packages) for name, packages in LAYERS.items()}


def _layer(folder: Path, packages: tuple[str, ...]) -> Path:
    done = folder.with_suffix(".complete")
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    archives = folder.with_suffix(".debs")
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "install", "--download-only", "--reinstall", "--yes", "--quiet=2", "--no-install-recommends"]
    subprocess.run([*command, "-o", f"Dir::Cache::archives={archives}", *packages], check=True)
    folder.mkdir(parents=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    _merge_usr(folder)
    done.touch()
    return folder


def _merge_usr(folder: Path) -> None:
    for name in _MERGED:
        top = folder / name
        if top.is_dir() and not top.is_symlink() and Path("/", name).is_symlink():
            shutil.copytree(top, folder / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(top)
