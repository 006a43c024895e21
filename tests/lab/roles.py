"""What each host is: its files, and the servers that run on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import exim, postfix
from .fleet import (
    ALIASES,
    BCC,
    BCC_OF,
    BY_NAME,
    DEAD_ADDRESS,
    GHOSTS,
    INSIDE,
    LIST_MANAGER,
    LIST_MEMBERS,
    LOST,
    MAILBOXES,
    NOTICES,
    SCRIBE_ADDRESS,
    STUCK,
    VIRTUAL,
    Host,
    Stamps,
)

_SERVICES = Path(__file__).parent / "services"
_IN, _OUT = "[inbound.quay.example]", "[gull.quay.example]"
_POSTFIX = (("postfix", "start"),)
_EXIM = (("exim4", "-bd", "-q4s"),)
PASSWORD = "correct horse"  # of every account at dock


@dataclass(frozen=True, slots=True)
class Role:
    """`files` by path; `before` and `start` run in the cell, `services` with the machine's own files."""

    files: Mapping[str, str]
    start: tuple[tuple[str, ...], ...] = _POSTFIX
    before: tuple[tuple[str, ...], ...] = ()
    services: tuple[tuple[str, ...], ...] = ()
    users: tuple[str, ...] = field(default=())  # people who have an account on the host


def _scrubber(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(_SERVICES / "scrubber.py"), *arguments)


def _greylist(seconds: int) -> tuple[str, ...]:
    return (sys.executable, str(_SERVICES / "greylist.py"), "10031", str(seconds))


def _recipients() -> str:
    """Whom the edges accept."""
    known = [f"{local}@{domain}" for domain, locals_ in MAILBOXES.items() if domain in INSIDE for local in locals_]
    known += [one for one in ALIASES if one.partition("@")[2] in INSIDE]
    known += [f"{ghost}@{domain}" for domain in INSIDE for ghost in GHOSTS]
    known += [LOST, LIST_MANAGER, *VIRTUAL, "desk@quay.example", "talk-bounces@lists.quay.example"]
    return postfix.table(dict.fromkeys(known, "OK") | {f"@{STUCK}": "OK"})


def _edge(host: Host, next_host: str) -> dict[str, str]:
    return {
        "myhostname": host.fqdn,
        "mynetworks": "127.0.0.0/8",
        "relay_domains": " ".join((*INSIDE, STUCK)),
        "relay_recipient_maps": "texthash:/etc/postfix/recipients",
        "relayhost": next_host,
        "relay_transport": "relay:" + next_host,
        "notify_classes": "2bounce",
        "2bounce_notice_recipient": NOTICES,
    }


def _sp1() -> Role:
    host = BY_NAME["sp1"]
    settings = {
        **_edge(host, "[washer.quay.example]"),
        "header_checks": "regexp:/etc/postfix/header_checks",
        "smtpd_helo_required": "yes",
    }
    listeners = [
        postfix.listener("smtp", smtpd_proxy_filter="127.0.0.1:10025"),
        postfix.reinjection("127.0.0.1:10026", sender_restrictions="check_sender_access,regexp:/etc/postfix/senders"),
    ]
    return Role(
        postfix.files(settings, listeners)
        | {
            "/etc/postfix/recipients": _recipients(),
            "/etc/postfix/header_checks": "/^X-Lab-Action: discard/ DISCARD unwanted\n",
            "/etc/postfix/senders": "/^hold/ HOLD to be looked at\n",
        },
        services=(_scrubber("10025", "10026", "plain"),),
    )


def _osl1() -> Role:
    host = BY_NAME["osl1"]
    settings = {
        **_edge(host, _IN),
        "enable_long_queue_ids": "yes",
        "smtpd_recipient_restrictions": "reject_unauth_destination, reject_unlisted_recipient, "
        "check_policy_service inet:127.0.0.1:10031",
        "recipient_bcc_maps": "texthash:/etc/postfix/bcc",
        "header_checks": "regexp:/etc/postfix/header_checks",
    }
    return Role(
        postfix.files(settings, [postfix.listener("smtp")])
        | {
            "/etc/postfix/recipients": _recipients(),
            "/etc/postfix/bcc": postfix.table({BCC_OF: BCC}),
            "/etc/postfix/header_checks": "/^X-Lab-Action: redirect/ REDIRECT u40@reef.example\n"
            "/^X-Lab-Action: refuse/ REJECT 5.7.1 We do not want this\n"
            "/^Subject:/ INFO\n",
        },
        services=(_greylist(5),),
    )


def _inner(host: Host) -> dict[str, str]:
    return {
        "myhostname": host.fqdn,
        "notify_classes": "2bounce",
        "2bounce_notice_recipient": NOTICES,
        "enable_long_queue_ids": "yes" if host.long_ids else "no",
    }


def _washer() -> Role:
    settings = {**_inner(BY_NAME["washer"]), "content_filter": "scan:[127.0.0.1]:10024", "relayhost": _IN}
    services = [
        postfix.listener("smtp"),
        postfix.reinjection("127.0.0.1:10025"),
        "scan unix - - n - 4 smtp\n  -o smtp_send_xforward_command=yes\n  -o disable_dns_lookups=yes",
    ]
    return Role(postfix.files(settings, services), services=(_scrubber("10024", "10025", "amavis", "9"),))


def _core() -> Role:
    common = {"notify_classes": "2bounce", "2bounce_notice_recipient": NOTICES}
    inward = {
        **common,
        "myhostname": "core-in.quay.example",
        "syslog_name": "core-in",
        "inet_interfaces": "10.99.0.14",
        "content_filter": "scan:[127.0.0.1]:10024",
        "virtual_alias_domains": "",
        "virtual_alias_maps": "texthash:/etc/postfix/virtual",
        "alternate_config_directories": "/etc/postfix-out",
    }
    outward = {
        **common,
        "myhostname": "core-out.quay.example",
        "syslog_name": "core-out",
        "inet_interfaces": "10.99.0.15",
        "queue_directory": "/var/spool/postfix-out",
        "data_directory": "/var/lib/postfix-out",
        "transport_maps": "texthash:/etc/postfix-out/transport",
        "relayhost": _OUT,
        "header_checks": "regexp:/etc/postfix-out/header_checks",
    }
    transport = {
        "quay.example": "smtp:[agora.quay.example]",
        "lists.quay.example": "smtp:[agora.quay.example]",
        "reef.example": "smtp:[coral.quay.example]",
        "arctic.example": "smtp:[walrus.arctic.example]",
        "dune.example": "smtp:[tern.dune.example]",
        STUCK: f"smtp:[{DEAD_ADDRESS}]",
    }
    scan = "scan unix - - n - 4 smtp\n  -o smtp_send_xforward_command=yes"
    return Role(
        postfix.files(inward, [postfix.listener("10.99.0.14:smtp"), scan])
        | postfix.files(
            outward, [postfix.listener("10.99.0.15:smtp"), postfix.reinjection("127.0.0.1:10025")], "/etc/postfix-out"
        )
        | {
            "/etc/postfix/virtual": postfix.table({one: ", ".join(to) for one, to in VIRTUAL.items()}),
            "/etc/postfix-out/transport": postfix.table(transport),
            "/etc/postfix-out/header_checks": "/^X-Lab-Action: warn/ WARN seen before\n",
        },
        start=(("postfix", "start"), ("postfix", "-c", "/etc/postfix-out", "start")),
        before=(
            ("install", "-d", "/var/spool/postfix-out"),
            ("install", "-d", "-o", "postfix", "/var/lib/postfix-out"),
        ),
        services=(_scrubber("10024", "10025", "plain", "7"),),
    )


def _agora() -> Role:
    own = {one.partition("@")[0]: to for one, to in ALIASES.items() if one.endswith("@quay.example")}
    included = own.pop("list-news")
    aliases = [f"{one}: {', '.join(to)}" for one, to in own.items()]
    aliases += [
        "list-news: :include:/etc/postfix/list-news",
        "owner-list-news: hal",
        "postmaster: hal",
        'desk: "|cat >/var/lib/desk/$$"',
        "mailer-daemon: postmaster",
    ]
    settings = {
        **_inner(BY_NAME["agora"]),
        "mydestination": "quay.example",
        "mydomain": "quay.example",
        "myorigin": "quay.example",
        "alias_maps": "hash:/etc/aliases",
        "alias_database": "hash:/etc/aliases",
        "home_mailbox": "Maildir/",
        "relayhost": _IN,
        "relay_domains": "lists.quay.example",
        "transport_maps": "texthash:/etc/postfix/transport",
        "virtual_alias_maps": "texthash:/etc/postfix/virtual",
        "manager_destination_recipient_limit": "1",
        "expand_owner_alias": "no",
    }
    members = " ".join(LIST_MEMBERS)
    manager = f"manager unix - n n - 2 pipe flags=R user=lists argv=/opt/lab/list-manager.sh ${{queue_id}} {members}"
    return Role(
        postfix.files(settings, [postfix.listener("smtp"), manager])
        | {
            "/etc/aliases": "".join(f"{line}\n" for line in aliases),
            "/etc/postfix/list-news": "".join(f"{one}\n" for one in included),
            "/etc/postfix/transport": postfix.table({LIST_MANAGER: "manager:"}),
            "/etc/postfix/virtual": postfix.table({"talk-bounces@lists.quay.example": "hal@quay.example"}),
            "/opt/lab/list-manager.sh": (_SERVICES / "list-manager.sh").read_text(),
        },
        before=(
            ("install", "-d", "-m", "1777", "/var/lib/desk"),
            ("install", "-d", "-o", "lists", "/var/lib/lists/postings"),
            ("chmod", "755", "/opt/lab/list-manager.sh"),
            ("newaliases",),
        ),
        users=MAILBOXES["quay.example"],
    )


_DOVECOT = """\
log_path = syslog
syslog_facility = mail
ssl = no
mail_location = maildir:/var/mailboxes/%d/%n
mail_uid = mailbox
mail_gid = mailbox
first_valid_uid = 100
recipient_delimiter = +
auth_mechanisms = plain login
passdb {
  driver = passwd-file
  args = username_format=%u /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = username_format=%u /etc/dovecot/users
}
"""


def _accounts(domains: tuple[str, ...]) -> str:
    return "".join(
        f"{local}@{domain}:{{PLAIN}}{PASSWORD}:2010:2010::/var/mailboxes/{domain}/{local}::\n"
        for domain in domains
        for local in MAILBOXES[domain]
    )


def _coral() -> Role:
    users = [f"{local}@reef.example" for local in MAILBOXES["reef.example"]]
    settings = {
        **_inner(BY_NAME["coral"]),
        "virtual_mailbox_domains": "reef.example",
        "relayhost": _IN,
        "virtual_mailbox_maps": "texthash:/etc/postfix/mailboxes",
        "virtual_transport": "lmtp:unix:private/dovecot",
    }
    dovecot = (
        _DOVECOT
        + """\
protocols = lmtp
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot {
    mode = 0666
  }
}
protocol lmtp {
  mail_plugins = sieve
  postmaster_address = postmaster@reef.example
  hostname = coral.quay.example
}
plugin {
  sieve = /var/mailboxes/%d/%n/.dovecot.sieve
}
"""
    )
    sieve = {
        one: f'require "copy";\nredirect "{to[0]}";\n' for one, to in ALIASES.items() if one.endswith("@reef.example")
    }
    return Role(
        postfix.files(settings, [postfix.listener("smtp")])
        | {
            "/etc/postfix/mailboxes": postfix.table(dict.fromkeys([*users, LOST], "OK")),
            "/etc/dovecot/dovecot.conf": dovecot,
            "/etc/dovecot/users": _accounts(("reef.example",)),
            **{
                f"/var/mailboxes/reef.example/{one.partition('@')[0]}/.dovecot.sieve": text
                for one, text in sieve.items()
            },
        },
        before=(("chown", "-R", "mailbox:mailbox", "/var/mailboxes"),),
        start=(("postfix", "start"), ("dovecot",)),
    )


def _virtual(*domains: str) -> dict[str, str]:
    return {f"{local}@{domain}": f"{domain}/{local}/" for domain in domains for local in MAILBOXES[domain]}


def _virtual_settings(*domains: str) -> dict[str, str]:
    return {
        "virtual_mailbox_domains": " ".join(domains),
        "virtual_mailbox_base": "/var/mailboxes",
        "virtual_mailbox_maps": "texthash:/etc/postfix/mailboxes",
        "virtual_uid_maps": "static:2010",
        "virtual_gid_maps": "static:2010",
    }


_OWN_MAILBOXES = (("install", "-d", "-o", "mailbox", "-g", "mailbox", "/var/mailboxes"),)


def _tern() -> Role:
    settings = {**_inner(BY_NAME["tern"]), **_virtual_settings("dune.example"), "relayhost": _IN}
    return Role(
        postfix.files(settings, [postfix.listener("smtp")])
        | {"/etc/postfix/mailboxes": postfix.table(_virtual("dune.example"))},
        before=_OWN_MAILBOXES,
    )


_TLS = {
    "smtpd_tls_security_level": "may",
    "smtpd_tls_cert_file": "/etc/postfix/tls.pem",
    "smtpd_tls_key_file": "/etc/postfix/tls.pem",
    "smtpd_tls_loglevel": "1",
    "smtpd_tls_received_header": "yes",
}


def certificate(host: Host) -> tuple[str, ...]:
    """The command that makes a host's certificate."""
    return (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        f"/CN={host.fqdn}",
        "-keyout",
        "/etc/postfix/tls.pem",
        "-out",
        "/etc/postfix/cert.pem",
    )


def _dock() -> Role:
    settings = {
        **_inner(BY_NAME["dock"]),
        **_TLS,
        "relayhost": _OUT,
        "always_bcc": BCC,
        "transport_maps": "texthash:/etc/postfix/transport",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": "private/auth",
        "smtpd_sasl_authenticated_header": "no",
        "smtp_tls_security_level": "may",
        "smtp_tls_loglevel": "1",
        "mynetworks": "127.0.0.0/8",
    }
    login = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_client_restrictions": "permit_sasl_authenticated,reject",
        "smtpd_relay_restrictions": "permit_sasl_authenticated,reject",
        "smtpd_delay_reject": "yes",
    }
    listeners = [
        postfix.listener("smtp"),
        postfix.listener("submission", syslog_name="postfix/submission", smtpd_tls_security_level="encrypt", **login),
        postfix.listener("465", syslog_name="postfix/smtps", smtpd_tls_wrappermode="yes", **login),
    ]
    dovecot = (
        _DOVECOT
        + """\
protocols =
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0666
  }
}
"""
    )
    return Role(
        postfix.files(settings, listeners)
        | {
            "/etc/postfix/transport": postfix.table(dict.fromkeys(INSIDE, f"smtp:{_IN}")),
            "/etc/dovecot/dovecot.conf": dovecot,
            "/etc/dovecot/users": _accounts(("quay.example", "reef.example", "dune.example")),
        },
        before=(certificate(BY_NAME["dock"]), ("sh", "-c", "cat /etc/postfix/cert.pem >>/etc/postfix/tls.pem")),
        start=(("postfix", "start"), ("dovecot",)),
    )


def _gull() -> Role:
    settings = {
        **_inner(BY_NAME["gull"]),
        "transport_maps": "texthash:/etc/postfix/transport",
        "delay_warning_time": "12s",
        "maximal_queue_lifetime": "20s",
        "bounce_queue_lifetime": "20s",
        "smtp_tls_security_level": "may",
        "smtp_tls_loglevel": "1",
    }
    return Role(
        postfix.files(settings, [postfix.listener("smtp")])
        | {"/etc/postfix/transport": postfix.table(dict.fromkeys(INSIDE, f"smtp:{_IN}"))}
    )


def _far() -> Role:
    settings = {
        **_inner(BY_NAME["far"]),
        **_TLS,
        **_virtual_settings("far.example", "isle.example"),
        "notify_classes": "",
        "mynetworks": "127.0.0.0/8 10.99.0.202/32",
        "smtpd_recipient_restrictions": "permit_mynetworks, check_recipient_access regexp:/etc/postfix/refused, "
        "check_policy_service inet:127.0.0.1:10031",
    }
    return Role(
        postfix.files(settings, [postfix.listener("smtp")])
        | {
            "/etc/postfix/mailboxes": postfix.table(_virtual("far.example", "isle.example")),
            "/etc/postfix/refused": "/^slow/ 450 4.2.2 Mailbox busy\n/^full/ 552 5.2.2 Over quota\n"
            "/^banned/ 554 5.7.1 Go away; to=<evil@example.com> status=sent\n",
        },
        before=(
            *_OWN_MAILBOXES,
            certificate(BY_NAME["far"]),
            ("sh", "-c", "cat /etc/postfix/cert.pem >>/etc/postfix/tls.pem"),
        ),
        services=(_greylist(7),),
    )


def _walrus() -> Role:
    return Role(
        exim.walrus(),
        start=_EXIM,
        before=(
            *_OWN_MAILBOXES,
            ("install", "-d", "-o", "Debian-exim", "-g", "adm", "-m", "2750", "/var/log/exim4", "/var/spool/exim4"),
        ),
    )


def _narwhal() -> Role:
    return Role(
        exim.narwhal(),
        start=_EXIM,
        before=(("install", "-d", "-o", "Debian-exim", "-g", "adm", "/var/log/exim4", "/var/spool/exim4"),),
    )


def _scribe() -> Role:
    return Role({}, start=())


_ROLES: dict[str, Callable[[], Role]] = {
    "sp1": _sp1,
    "osl1": _osl1,
    "washer": _washer,
    "core": _core,
    "agora": _agora,
    "coral": _coral,
    "walrus": _walrus,
    "narwhal": _narwhal,
    "dock": _dock,
    "gull": _gull,
    "tern": _tern,
    "far": _far,
    "scribe": _scribe,
}


def role(host: Host) -> Role:
    """The role of a host of the fleet."""
    return _ROLES[host.name]()


_TEMPLATES = {
    Stamps.BSD: "RSYSLOG_TraditionalFileFormat",
    Stamps.ISO: "RSYSLOG_FileFormat",
    Stamps.RFC5424: "RSYSLOG_SyslogProtocol23Format",
    Stamps.EXIM: "RSYSLOG_TraditionalFileFormat",
}


def syslog_conf(host: Host, *, whole_tags: bool) -> str:
    """rsyslog's file; without `whole_tags` the log host cuts tags, as rsyslog does by default."""
    lines = ['module(load="imuxsock")', f'global(workDirectory="/var/spool/rsyslog" localHostname="{host.name}")']
    if host.name == "scribe":
        lines += ['module(load="imtcp")', 'input(type="imtcp" port="514")']
        # By default APP-NAME ends at the first slash: `core-in` for `core-in/smtpd`.
        lines.append(f'global(parser.permitSlashInProgramName="{"on" if whole_tags else "off"}")')
    if host.loghost:
        lines.append(
            f'mail.* action(type="omfwd" target="{SCRIBE_ADDRESS}" port="514" protocol="tcp" '
            'template="RSYSLOG_ForwardFormat")'
        )
    else:
        lines.append(
            f'mail.* action(type="omfile" file="/var/log/mail.log" template="{_TEMPLATES[host.stamps]}" '
            'asyncWriting="off" fileCreateMode="0640" fileGroup="adm")'
        )
    return "\n".join(lines) + "\n"
