"""Why `ssh` did not log in, from what it says with `-v`, in the words that are said where paramiko logs in, too."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from mailtrace.sources.ssh_hostkeys import PORT
from mailtrace.sources.ssh_remote import DroppedError, SshError

if TYPE_CHECKING:
    from mailtrace.config import SshConfig
    from mailtrace.sources.ssh_options import Way

_SHOWN_KEY = re.compile(r"^debug1: Server host key: (\S+ \S+)", re.MULTILINE)
_TRIED = {
    re.compile(r"^debug1: Offering public key: (.+?) (?:RSA|ECDSA|ED25519|DSA)\S* SHA256", re.MULTILINE): "key {}",
    re.compile(r"^debug1: (?:Next authentication method: (?:password|keyboard-interactive))()$", re.MULTILINE): (
        "the password"
    ),
}
_KEY_NOTES = (
    (re.compile(r"^no such identity: (.+?): No such file", re.MULTILINE), "there is no key {}"),
    (
        re.compile(r'^Load key "(.+?)": incorrect passphrase', re.MULTILINE),
        "the passphrase of the key {} is wrong",
    ),
    (re.compile(r'^Load key "(.+?)": (?:error in libcrypto|invalid format)', re.MULTILINE), "{} is not a private key"),
    (re.compile(r"^Permissions \d+ for '(.+?)' are too open", re.MULTILINE), "the key {} may be read by others"),
    (re.compile(r'^Load key "(.+?)": Permission denied', re.MULTILINE), "the key {} may not be read by you"),
)
_ACCEPTED = re.compile(r"^debug1: Server accepts key: (.+?) (?:RSA|ECDSA|ED25519|DSA)\S* SHA256", re.MULTILINE)


def host_key_notes(said: str, host_keys: str) -> Iterator[str]:
    """What to tell of host keys that were taken without being known."""
    shown = _SHOWN_KEY.findall(said)
    print_ = shown[-1] if shown else "a key"
    for name in re.findall(r"^Warning: Permanently added '(.+?)' ", said, re.MULTILINE):
        if host_keys == "off":
            yield f"{name}: the host key {print_} is not checked (ssh_config.host_keys: off)"
        else:
            yield f"{name}: new host key {print_} accepted (ssh_config.host_keys: accept-new)"


def explained(said: str, way: Way, access: SshConfig) -> Exception:
    """The error that a failed login means."""
    return _host_key(said, way) or _network(said, way, access) or _login(said, way) or SshError(_last(said))


def cut_off(said: str, way: Way, jump_said: str, *, lost: bool) -> str:
    """What a jump host has to do with a failed login, "" if nothing; `jump_said` is what its own `ssh` says."""
    there = f"{way.address}:{way.port}"
    if "Stdio forwarding request failed" in said:
        to = f"direct-tcpip: listening port 0 for {way.address} port {way.port},"
        reasons: dict[str, str] = {}  # channel → why it was refused; its end tells whose it was
        why = ""
        for line in jump_said.splitlines():
            if found := re.match(r"channel (\d+): open failed: (.+)", line):
                reasons[found[1]] = found[2].strip()
            elif (found := re.match(r"debug1: channel (\d+): free: (.+)", line)) and found[1] in reasons:
                reason = reasons.pop(found[1])
                why = f": {reason}" if found[2].startswith(to) else why
        return f"does not connect to {there}{why}"
    return f"was lost before we were logged in to {there}" if lost else ""


def _host_key(said: str, way: Way) -> SshError | None:
    shown = _SHOWN_KEY.findall(said)
    print_ = shown[-1] if shown else "no key"
    if found := re.search(r"The (\S+) host key for (.+?) is marked as revoked", said):
        return SshError(f"host key refused: the key {print_} of {found[2]} is marked @revoked in known_hosts")
    if re.search(r"^(?!debug).*host key .*revoked by file", said, re.MULTILINE | re.IGNORECASE):
        return SshError(f"host key refused: the key {print_} of {way.address} is marked @revoked in known_hosts")
    if found := re.search(r"^Host key for (.+?) has changed and you have requested strict", said, re.MULTILINE):
        line = re.search(r"^Offending .*key in (.+):(\d+)\s*$", said, re.MULTILINE)
        place = f"{line[1]}:{line[2]}" if line else "known_hosts"
        file = shlex.quote(line[1]) if line else "known_hosts"
        return SshError(
            f"host key changed: {found[1]} shows {print_}, {place} knows another one. Someone may be listening in on "
            "you, or the host has a new key. If its administrator confirms that key, remove the old one with "
            f"`ssh-keygen -R {shlex.quote(found[1])} -f {file}` and add the new one"
        )
    if found := re.search(r"^No (\S+) host key is known for (.+?) and you have requested strict", said, re.MULTILINE):
        return SshError(unknown_key(found[2], print_, way))
    if "Host key verification failed" in said:
        return SshError(f"host key refused: {_last(said)}")
    return None


def unknown_key(name: str, print_: str, way: Way) -> str:
    """What an unknown key means, and the step that makes it known."""
    file = next((file for file in way.known_hosts if not file.startswith("/etc/")), "~/.ssh/known_hosts")
    port = "" if way.port == PORT else f" -p {way.port}"
    scan = f"`ssh-keyscan{port} {shlex.quote(way.address)} >> {shlex.quote(file)}`"
    step = f"compare the fingerprint, then run {scan}"
    if way.key_name:
        step = f"compare the fingerprint, then add its key under the HostKeyAlias {way.key_name} to {file}"
    elif way.jumps or way.command:
        step = f"compare the fingerprint, then run `ssh {shlex.quote(way.name)}` once, or {scan}"
    return f"host key unknown: {name} is not in known_hosts and shows {print_}; {step}"


def _network(said: str, way: Way, access: SshConfig) -> Exception | None:
    seconds = f"{access.timeout:g} s; ssh_config.timeout can be longer"
    if found := re.search(r"^ssh: Could not resolve hostname (.+?): (.+)", said, re.MULTILINE):
        return SshError(f"the name {found[1]} does not resolve ({found[2].strip()}); set HostName in the ssh_config")
    if found := re.search(r"^ssh: connect to host (\S+) port (\d+): (.+)", said, re.MULTILINE):
        reason = found[3].strip()
        if "timed out" in reason:
            return SshError(f"timed out: no connection within {seconds}")
        hint = "; is sshd running there, and on that port?" if "refused" in reason else ""
        return SshError(f"no connection to port {found[2]}: {reason}{hint}")
    # What `ssh` says depends on which of its steps took too long.
    slow = r"timed out during banner exchange|^Connection to .* timed out|^Timeout, server \S+ not responding"
    if re.search(slow, said, re.MULTILINE):
        return SshError(f"timed out: no answer to SSH within {seconds}")
    if found := re.search(r"^Unable to negotiate with .*?: (.+)", said, re.MULTILINE):
        return SshError(f"no common SSH algorithms: {found[1].strip()}; update its sshd")
    if re.search(r"^(kex_exchange_identification|ssh_exchange_identification|banner exchange): ", said, re.MULTILINE):
        if way.command:
            return SshError("ProxyCommand brought no SSH server's answer; try it in a shell")
        return DroppedError(_last(said))
    return None


def _login(said: str, way: Way) -> SshError | None:
    found = re.search(r"^(\S+): Permission denied \((.*?)\)", said, re.MULTILINE)
    many = re.search(r"Too many authentication failures", said)
    if not found and not many:
        return None
    tried = [text.format(name) for pattern, text in _TRIED.items() for name in pattern.findall(said)]
    notes = [text.format(name) for pattern, text in _KEY_NOTES for name in pattern.findall(said)]
    accepted = list(dict.fromkeys(_ACCEPTED.findall(said)))
    kinds = found[2].split(",") if found else []
    if "with partial success" in said:
        return SshError(login_refused(way.user, tried, notes, wants=kinds or [""]))
    if accepted and not notes:  # and yet it did not log in: it could not sign
        notes = [f"the key {accepted[-1]} has a passphrase: add it to the agent, or set MAILTRACE_SSH_PASSPHRASE"]
    hint = f"the server accepts {', '.join(kinds)}" if found else "too many keys were offered"
    return SshError(login_refused(way.user, tried, notes, kinds=hint))


def login_refused(
    user: str, tried: Iterable[str], notes: Iterable[str], *, wants: Collection[str] = (), kinds: str = ""
) -> str:
    """What is said of a login that failed, whichever program tried it.

    `tried` is what was offered, `notes` what is known of keys, `wants` what the server asks for after the key, `kinds`
    what it takes at all.
    """
    offered = ", ".join(dict.fromkeys(tried))
    known = "".join(f"; {note}" for note in notes)
    if wants:
        return f"login as {user} refused: after the key the server wants {' or '.join(wants)} (tried {offered}){known}"
    if not offered:
        why = known.removeprefix("; ") or "there is no key and no password"
        return (
            f"login as {user} is not possible: {why}; set ssh_config.private_key, start an ssh-agent, or use "
            "--ask-login-pass"
        )
    told = f"; {kinds}" if kinds else ""
    return f"login as {user} refused (tried {offered}){told}{known}; check username, keys and password of ssh_config"


def _last(said: str) -> str:
    """The last thing that `ssh` says itself."""
    own = [line.strip() for line in said.splitlines() if line.strip() and not re.match(r"debug\d:|OpenSSH_", line)]
    return (own[-1] if own else "ssh ended and did not say why")[:300]
