"""A node behind TLS and passwords: the real security plugin where it can be had, else nginx before the node.

Users: `admin` may do everything; `reader` reads the indices `logs-*`, `blind` the same without the right to ask for
version, statistics, mappings or settings. Each password is the name with `-pw` behind it; a client certificate of the
authority does instead. nginx knows no roles: it refuses the paths that the plugin refuses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection, socket
from textwrap import dedent
from typing import Any

import bcrypt
import trustme
from cryptography.hazmat.primitives import serialization

from opensearch_node.node import SECURITY_PLUGIN, Node

USERS = ("admin", "reader", "blind")
CONFIG = {
    "config": """
        config: {dynamic: {authc: {
          basic: {http_enabled: true, order: 1, http_authenticator: {type: basic, challenge: true},
                  authentication_backend: {type: intern}},
          certificate: {http_enabled: true, order: 0, http_authenticator: {type: clientcert, challenge: false,
                        config: {username_attribute: cn}}, authentication_backend: {type: noop}}}}}
        """,
    "internal_users": """
        admin: {hash: "%(admin)s", backend_roles: [admin]}
        reader: {hash: "%(reader)s"}
        blind: {hash: "%(blind)s"}
        """,
    "roles": """
        log_reader:
          cluster_permissions: [cluster_composite_ops_ro, "cluster:monitor/main", "indices:data/read/scroll/clear"]
          index_permissions:
          - index_patterns: ["logs-*"]
            allowed_actions: [read, "indices:monitor/stats", "indices:admin/mappings/get",
                              "indices:monitor/settings/get"]
        blind_reader:
          cluster_permissions: [cluster_composite_ops_ro]
          index_permissions:
          - index_patterns: ["logs-*"]
            allowed_actions: [read]
        """,
    "roles_mapping": """
        all_access: {backend_roles: [admin]}
        log_reader: {users: [reader]}
        blind_reader: {users: [blind]}
        """,
    "action_groups": "",
    "tenants": "",
    "nodes_dn": "",
}
KINDS = {name: name.replace("_", "") for name in CONFIG}


@dataclass(frozen=True)
class Secured:
    """How it is reached."""

    node: Node
    port: int
    ca: Path
    authority: trustme.CA

    def access(self, user: str = "reader", **more: Any) -> dict[str, Any]:
        """A user's `opensearch_config`."""
        told = {"host": "localhost", "port": self.port, "use_ssl": True, "verify_certs": True, "ca_certs": str(self.ca)}
        return {**told, "username": user, "password": f"{user}-pw", **more}

    def client(self) -> Any:
        """A client that may do everything."""
        from opensearchpy import OpenSearch

        known: dict[str, Any] = {"use_ssl": True, "ca_certs": str(self.ca), "http_auth": ("admin", "admin-pw")}
        return OpenSearch([{"host": "localhost", "port": self.port}], timeout=60, **known)


@contextmanager
def secured(plain: Node, home: Path) -> Iterator[Secured]:
    """A node of the same version as `plain` behind TLS and passwords; `plain` itself behind nginx."""
    authority = trustme.CA()
    home.mkdir(parents=True, exist_ok=True)
    ca = home / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    if plain.version.security:
        known = {"use_ssl": True, "ca_certs": str(ca), "http_auth": ("admin", "admin-pw")}
        node = Node(plain.version, home / "node", *_settings(home / "node", authority), **known).start()
        try:
            yield Secured(node, node.port, ca, authority)
        finally:
            node.stop()
    else:
        with _nginx(home, plain.port, authority) as port:
            yield Secured(plain, port, ca, authority)


# --------------------------------------------------------------------------------------------- the plugin


def _settings(home: Path, authority: trustme.CA) -> list[str]:
    """Write certificates and users; return the node's settings."""
    config = home / "config"
    (config / "opensearch-security").mkdir(parents=True, exist_ok=True)
    hashes = {user: bcrypt.hashpw(f"{user}-pw".encode(), bcrypt.gensalt(4, b"2a")).decode() for user in USERS}
    for name, text in CONFIG.items():
        content = dedent(text) % hashes if name == "internal_users" else dedent(text)
        head = f"_meta: {{type: {KINDS[name]}, config_version: 2}}"
        (config / "opensearch-security" / f"{name}.yml").write_text(f"{head}\n{content}\n")
    certificate = authority.issue_cert("localhost", common_name="node1")
    authority.cert_pem.write_to_path(str(config / "ca.pem"))
    (config / "node.pem").write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    (config / "node.key").write_bytes(  # Java wants PKCS #8
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    told = {
        "allow_default_init_securityindex": "true",
        "authcz.admin_dn": "CN=nobody",
        "nodes_dn": "CN=node1*",
        "ssl.http.enabled": "true",
        "ssl.http.clientauth_mode": "OPTIONAL",
        "ssl.transport.enforce_hostname_verification": "false",
        "audit.type": "noop",
    }
    for layer in ("http", "transport"):
        told |= {
            f"ssl.{layer}.pemcert_filepath": "node.pem",
            f"ssl.{layer}.pemkey_filepath": "node.key",
            f"ssl.{layer}.pemtrustedcas_filepath": "ca.pem",
        }
    return [*(f"plugins.security.{key}={value}" for key, value in told.items()), SECURITY_PLUGIN]


# -------------------------------------------------------------------------------------------------- nginx


NGINX_PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or "nginx"
NGINX = r"""
{user}daemon off; worker_processes 1; pid {home}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  map $ssl_client_verify $realm {{ SUCCESS off; default opensearch; }}
  map "$remote_user $uri" $refused {{
    default 0;
    "~^admin " 0;
    "~^\S* /[^/]*,-secret-mail(?:[,/]|$)" 0;
    "~^\S* /(?:_resolve/index/)?(?:[^/]*,)?(?:secret-|\*)" 1;
    "~^blind /(?:$|(?:.*/)?_(?:stats|mapping|settings)(?:/|$))" 1;
  }}
  access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {home}/server.pem; ssl_certificate_key {home}/server.pem;
    ssl_client_certificate {home}/ca.pem; ssl_verify_client optional;
    auth_basic $realm; auth_basic_user_file {home}/users;
    client_max_body_size 100m;
    if ($refused) {{ return 403; }}
    location / {{ proxy_pass http://127.0.0.1:{node}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@contextmanager
def _nginx(home: Path, node: int, authority: trustme.CA) -> Iterator[int]:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(home / "server.pem"))
    (home / "users").write_text("".join(f"{user}:{{PLAIN}}{user}-pw\n" for user in USERS))
    user = "user root; " if os.geteuid() == 0 else ""  # else root's nginx reads the files as nobody, who may not
    (home / "nginx.conf").write_text(NGINX.format(user=user, home=home, port=port, node=node))
    process = subprocess.Popen([NGINX_PROGRAM, "-p", home, "-c", home / "nginx.conf", "-e", "stderr"])
    try:
        until = time.monotonic() + 60
        while True:
            with suppress(OSError), create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("nginx does not start")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)
