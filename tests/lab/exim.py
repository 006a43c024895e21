"""Exim's configuration of the lab's two Exim hosts."""

from __future__ import annotations

from .fleet import ALIASES, INSIDE, MAILBOXES

_COMMON = """\
primary_hostname = {fqdn}
qualify_domain = arctic.example
hostlist fleet = 127.0.0.1 : 10.99.0.0/27 : 10.99.0.205
domainlist own = {own}
domainlist inside = {inside}
acl_smtp_rcpt = rcpt
tls_advertise_hosts =
dsn_advertise_hosts = *
keep_environment =
ignore_bounce_errors_after = 2d
timeout_frozen_after = 7d
bounce_return_body = true
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
rfc1413_query_timeout = 0s
host_lookup = *
log_selector = {selector}
{log}

begin acl
rcpt:
  accept hosts = +fleet
         domains = ! +own
  require domains = +own
          message = relay not permitted
  require verify = recipient
  accept

begin routers
{routers}

begin transports
remote:
  driver = smtp
mailbox:
  driver = appendfile
  directory = /var/mailboxes/arctic.example/$local_part_data
  maildir_format
  create_directory
  envelope_to_add
  return_path_add
  delivery_date_add
  user = mailbox
  group = mailbox
  mode = 0600

begin retry
* * F,1h,4s
"""

_WALRUS = """\
aliases:
  driver = redirect
  domains = +own
  allow_fail
  data = ${lookup{$local_part}lsearch{/etc/exim4/aliases}}
mailboxes:
  driver = accept
  domains = +own
  local_parts = lsearch;/etc/exim4/mailboxes
  local_part_suffix = +*
  local_part_suffix_optional
  transport = mailbox
  cannot_route_message = Unknown user
onward:
  driver = manualroute
  domains = ! +own
  route_list = * narwhal.arctic.example byname
  transport = remote
"""

_NARWHAL = """\
home:
  driver = manualroute
  domains = arctic.example
  route_list = * walrus.arctic.example byname
  transport = remote
hub:
  driver = manualroute
  domains = +inside
  route_list = * inbound.quay.example byname
  transport = remote
world:
  driver = dnslookup
  transport = remote
"""


def walrus() -> dict[str, str]:
    """The host with arctic's mailboxes, which writes a mainlog."""
    aliases = {one.partition("@")[0]: to for one, to in ALIASES.items() if one.endswith("@arctic.example")}
    return {
        "/etc/exim4/exim4.conf": _COMMON.format(
            fqdn="walrus.arctic.example",
            own="arctic.example",
            inside=" : ".join(INSIDE),
            routers=_WALRUS,
            log="log_file_path = /var/log/exim4/%slog",
            selector="-queue_run",
        ),
        "/etc/exim4/mailboxes": "".join(f"{user}: {user}\n" for user in MAILBOXES["arctic.example"]),
        "/etc/exim4/aliases": "".join(f"{one}: {', '.join(to)}\n" for one, to in aliases.items()),
    }


def narwhal() -> dict[str, str]:
    """The host that programs send by, which logs through syslog."""
    log, selector = "log_file_path = syslog\nsyslog_timestamp = false", "-queue_run +all_parents +deliver_time"
    return {
        "/etc/exim4/exim4.conf": _COMMON.format(
            fqdn="narwhal.arctic.example",
            own="",
            inside=" : ".join(INSIDE),
            routers=_NARWHAL,
            log=log,
            selector=selector,
        )
    }
