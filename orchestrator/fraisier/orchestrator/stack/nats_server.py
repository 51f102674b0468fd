"""The stack's NATS server: JetStream that syncs before it acks, on the loopback, with a password."""

import json
import os
from pathlib import Path

from fraisier.orchestrator.stack import web
from fraisier.orchestrator.stack.ports import LOOPBACK
from fraisier.orchestrator.stack.state import Addresses


def write_config(folder: Path, addresses: Addresses) -> Path:
    """Write the server's configuration, readable by its owner only: it holds the password."""
    file = folder / "nats.conf"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(_config(folder / "jetstream", addresses))
    return file


def _config(store: Path, addresses: Addresses) -> str:
    user, password = json.dumps(addresses.user), json.dumps(addresses.password.get_secret_value())
    return f"""\
server_name: {json.dumps(server_name(addresses))}
listen: "{LOOPBACK}:{addresses.nats_port}"
http: "{LOOPBACK}:{addresses.monitor_port}"
jetstream {{
  store_dir: {json.dumps(str(store))}
  sync_interval: always
}}
authorization {{ user: {user}, password: {password} }}
"""


def server_name(addresses: Addresses) -> str:
    """A name that tells this server from another one that may have taken its port."""
    return f"fraisier-local-{addresses.nats_port}-{addresses.monitor_port}"


async def ready(addresses: Addresses) -> bool:
    """Whether our server answers, and its JetStream with it."""
    health = await web.get(addresses.monitor_port, "/healthz", {"js-enabled-only": "true"})
    server = await web.get(addresses.monitor_port, "/varz")
    if health is None or server is None:
        return False
    return health.is_success and server.json()["server_name"] == server_name(addresses)
