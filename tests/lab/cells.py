"""Network, mount, PID and UTS namespaces: one cell for each host, on a bridge that leads nowhere else.

A cell's /usr and /etc are overlays: what the host writes, over the packages' layers, over the machine's own (which
must be merged-usr, as Debian is); of the machine's /var, /home and /opt it sees nothing. Its first process only reaps:
when it is killed, the kernel ends everything else in the cell and takes its mounts away.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_INIT = """\
set -eu
state=$1 layers=$2 name=$3 spool=$4
root=$state/root
mount -t tmpfs -o mode=755 tmpfs "$root"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
mkdir "$root/proc" "$root/dev" "$root/run" "$root/tmp" "$root/root"
for part in usr etc var home opt; do
    mkdir -p "$root/$part" "$state/upper/$part" "$state/scratch/$part"
    below=
    for layer in $layers "$state/empty"; do [ -d "$layer/$part" ] && below=$below:$layer/$part; done
    case $part in usr | etc) below=$below:/$part ;; esac
    mount -t overlay overlay -o "lowerdir=${below#:},upperdir=$state/upper/$part,workdir=$state/scratch/$part" \\
        "$root/$part"
done
mount -t proc proc "$root/proc"
for place in dev run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$place"; done
chmod 755 "$root/dev" "$root/run"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r file major minor <<END
$device
END
    mknod -m 666 "$root/dev/$file" c "$major" "$minor"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/lock"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
if [ -n "$spool" ]; then mkdir -p "$root/var/spool/postfix"; mount -o loop "$spool" "$root/var/spool/postfix"; fi
hostname "$name"
ip link set lo up
mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
trap '' TERM HUP INT
touch /run/ready
while :; do sleep 3600 & wait; done
"""


class Cells:
    """The cells of one lab; `folder` keeps their state between two commands.

    The names of its network namespaces, the only thing outside that two labs could share, hold a digest of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix = f"mtlab-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]}-"
        self._bridge = f"{self._prefix}net"
        self._state = folder / "processes.json"
        self._lock = threading.Lock()  # hosts are started side by side

    def path(self, name: str) -> Path:
        """A host's folder: `upper` is what it wrote or was given, before and after it runs."""
        return self.folder / "hosts" / name

    def inside(self, name: str, path: str) -> Path:
        """A running host's file, seen from outside."""
        return Path(f"/proc/{self._pid(name)}/root") / path.lstrip("/")

    def make_network(self, address: str) -> None:
        """The bridge, in a namespace of its own; `address` with its prefix length."""
        _run("ip", "netns", "add", self._bridge)
        for command in (
            "link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0",
            f"addr add {address} dev br0",
            "link set br0 up",
            "link set lo up",
        ):
            _run("ip", "-n", self._bridge, *command.split())

    def make_namespace(self, name: str, addresses: Sequence[str], prefix: int) -> None:
        """A namespace on the bridge."""
        space, number = self._prefix + name, len(self._namespaces())
        _run("ip", "netns", "add", space)
        _run(
            "ip",
            "link",
            "add",
            f"p{number}",
            "netns",
            self._bridge,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            space,
        )
        _run("ip", "-n", self._bridge, "link", "set", f"p{number}", "master", "br0", "up")
        for address in addresses:
            _run("ip", "-n", space, "addr", "add", f"{address}/{prefix}", "dev", "eth0")
        _run("ip", "-n", space, "link", "set", "eth0", "up")
        _run("ip", "-n", space, "link", "set", "lo", "up")

    def start(self, name: str, layers: Sequence[Path], *, spool: Path | None = None) -> None:
        """Start a host's first process over `layers` (lowest first); its namespace is there already."""
        state = self.path(name)
        for part in ("upper", "scratch", "root", *(f"empty/{top}" for top in ("usr", "etc", "var", "home", "opt"))):
            (state / part).mkdir(parents=True, exist_ok=True)
        above = " ".join(str(layer) for layer in reversed(layers))
        command = [
            "ip",
            "netns",
            "exec",
            self._prefix + name,
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--uts",
            "--ipc",
            "--kill-child=KILL",
            "--propagation",
            "private",
            "sh",
            "-c",
            _INIT,
            "init",
            str(state),
            above,
            name,
            str(spool or ""),
        ]
        with (state / "init.log").open("w") as log:
            outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self._remember(name, outer.pid)
        inner = _first_child(outer)
        self._remember(f"{name}/init", inner)
        _until(self.inside(name, "/run/ready").exists, f"{name} did not start; see {state}/init.log")

    def run(self, name: str, *command: str, text: str | None = None, check: bool = True) -> str:
        """Run a command in a cell to its end; its standard output."""
        done = subprocess.run(
            [*self._enter(name), *command], input=text, check=False, text=True, capture_output=True, timeout=120
        )
        if check and done.returncode:
            raise RuntimeError(f"{name}: {shlex.join(command)}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def launch(self, name: str, *command: str) -> None:
        """Run a command that leaves a daemon behind, which may keep its output open."""
        log = self.path(name) / "launch.log"
        with log.open("a") as out:
            done = subprocess.run(
                [*self._enter(name), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
                timeout=60,
            )
        if done.returncode:
            raise RuntimeError(f"{name}: {shlex.join(command)}: exit {done.returncode}: {log.read_text()[-500:]}")

    def serve(self, name: str, *command: str) -> None:
        """Start one of the lab's own servers in a host's network and PID namespaces, with the machine's own files."""
        pid = str(self._pid(name))
        with (self.path(name) / "services.log").open("a") as log:
            subprocess.Popen(
                ["nsenter", "-t", pid, "-n", "-p", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def serve_network(self, *command: str) -> None:
        """Start a server on the bridge itself."""
        with (self.folder / "network.log").open("a") as log:
            server = subprocess.Popen(
                ["ip", "netns", "exec", self._bridge, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._remember("network", server.pid)

    def in_namespace(self, name: str) -> list[str]:
        """What to put before a command that is to run in a namespace without a cell."""
        return ["ip", "netns", "exec", self._prefix + name]

    @contextlib.contextmanager
    def visiting(self, name: str) -> Iterator[None]:
        """Be in a namespace: this thread, with the threads and programs that it starts meanwhile."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self._prefix + name).open() as space:
            _enter_network(space.fileno())
            try:
                yield
            finally:
                _enter_network(home.fileno())

    def running(self) -> bool:
        return self._state.exists()

    def stop(self) -> None:
        """End every process and namespace of this lab; hosts' folders stay."""
        for pid, started in self._processes().values():
            if _started(pid) == started:  # else the number is another process's by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for pid, started in self._processes().values():
            _until(functools.partial(_ended, pid, started), f"process {pid} does not end")
        for space in self._namespaces():
            _run("ip", "netns", "del", space)
        self._state.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete what the hosts left behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _namespaces(self) -> list[str]:
        out = subprocess.run(["ip", "netns", "list"], check=True, text=True, capture_output=True).stdout
        return [line.split()[0] for line in out.splitlines() if line.startswith(self._prefix)]

    def _enter(self, name: str) -> list[str]:
        return [
            "nsenter",
            "-t",
            str(self._pid(name)),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "env",
            "-i",
            "LC_ALL=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ]

    def _pid(self, name: str) -> int:
        return self._processes()[f"{name}/init"][0]

    def _processes(self) -> dict[str, tuple[int, str]]:
        if not self._state.exists():
            return {}
        return {name: (pid, started) for name, (pid, started) in json.loads(self._state.read_text()).items()}

    def _remember(self, name: str, pid: int) -> None:
        with self._lock:
            fresh = self._state.with_suffix(".new")
            fresh.write_text(json.dumps({**self._processes(), name: (pid, _started(pid))}))
            fresh.replace(self._state)


def _enter_network(number: int) -> None:
    """setns(2); Python has it since 3.12."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(number, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _ended(pid: int, started: str) -> bool:
    return _started(pid) != started


def _first_child(outer: subprocess.Popen[bytes]) -> int:
    _until(lambda: outer.poll() is not None or bool(_children(outer.pid)), "no first process")
    return _children(outer.pid)[0]


def _children(parent: int) -> list[int]:
    """By /proc/PID/stat: a kernel need not have /proc/PID/task/TID/children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(stat.parent.name))
    return found


def _until(true: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.02)
