"""Postfix's files for one instance, from the settings that are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Settings = Mapping[str, str]

_MAIN = {
    "compatibility_level": "3.6",
    "inet_protocols": "ipv4",
    "inet_interfaces": "all",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8 10.99.0.0/27",  # the fleet's own; partners are above .200
    "alias_maps": "",
    "alias_database": "",
    "biff": "no",
    "append_dot_mydomain": "no",
    "recipient_delimiter": "+",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_discard_ehlo_keywords": "chunking, silent-discard",  # the filters don't speak it
    "queue_run_delay": "4s",
    "minimal_backoff_time": "4s",
    "maximal_backoff_time": "9s",
    "smtp_connect_timeout": "5s",
    "message_size_limit": "10000000",
    "mailbox_size_limit": "0",
    "virtual_mailbox_limit": "0",
}
_DAEMONS = """\
pickup unix n - n 5 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 4 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def files(settings: Settings, services: Sequence[str], folder: str = "/etc/postfix") -> dict[str, str]:
    """main.cf and master.cf by path; `services` are lines of master.cf before the usual daemons."""
    main = {**_MAIN, **settings}
    return {
        f"{folder}/main.cf": "".join(f"{name} = {value}\n" for name, value in main.items()),
        f"{folder}/master.cf": "".join(f"{line}\n" for line in services) + _DAEMONS,
        f"{folder}/dynamicmaps.cf": "",
    }


def listener(where: str, **options: str) -> str:
    """A line of master.cf: smtpd at `where`, with options of its own."""
    return f"{where} inet n - n - - smtpd" + "".join(
        f"\n  -o {name}={value.replace(' ', '')}" for name, value in options.items()
    )


def reinjection(where: str, **options: str) -> str:
    """A listener for what a filter on the same host gives back."""
    return listener(
        where,
        content_filter="",
        mynetworks="127.0.0.0/8",
        smtpd_authorized_xforward_hosts="127.0.0.0/8",
        smtpd_relay_restrictions="permit_mynetworks,reject",
        smtpd_client_restrictions="",
        smtpd_helo_restrictions="",
        smtpd_sender_restrictions=options.pop("sender_restrictions", ""),
        smtpd_recipient_restrictions="permit_mynetworks,reject",
        local_header_rewrite_clients="",
        **options,
    )


def table(rows: Mapping[str, str]) -> str:
    """A texthash: map."""
    return "".join(f"{key}\t{value}\n" for key, value in rows.items())
