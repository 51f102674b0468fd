"""An SSH host on loopback whose service is run by a pair of commands, and that can be asked for the truth."""

import socket
from pathlib import Path
from typing import Any

import httpx

from fraisier.nats import NatsEventBus
from fraisier.orchestrator.demo.ssh_host import SshHost, make_key
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.models import Release
from tests.support.releases import build_release, digest_of

START = "current/bin/api & echo $! >api.pid"
STOP = (
    'if [ -f api.pid ]; then kill -9 "$(cat api.pid)" 2>/dev/null || :; '
    "while ps -o stat= -p \"$(cat api.pid)\" | grep -q '^[^Z]'; do sleep 0.02; done; rm api.pid; fi"
)


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class SshBench:
    """See `fraisier.providers.testing.Bench`."""

    service = "api"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service_port = free_port()
        self.url = f"http://127.0.0.1:{self.service_port}/health"
        self.silent_url = f"http://127.0.0.1:{free_port()}/health"
        self.key = make_key(folder / "client_key")
        self.known_hosts = folder / "known_hosts"
        self.host = SshHost(folder / "host", client_key=self.key, environment={"PORT": str(self.service_port)})
        self.root = self.host.folder / "srv"

    def know(self) -> None:
        """Write down the host's key, as whoever set the host up would."""
        self.known_hosts.write_text(self.host.known_hosts_line)

    def config(self, **changed: Any) -> dict[str, Any]:
        """The options of the host's provider."""
        return {
            "host": self.host.host,
            "port": self.host.port,
            "username": self.host.username,
            "key_path": str(self.key),
            "known_hosts": str(self.known_hosts),
            "root": str(self.root),
            "start_command": ["sh", "-c", START],
            "stop_command": ["sh", "-c", STOP],
            **changed,
        }

    def provider(self, event_bus: NatsEventBus | None = None, **changed: Any) -> BareMetalProvider:
        return BareMetalProvider(config=self.config(**changed), event_bus=event_bus, region="test")

    def release(self, version: str, *, healthy: bool = True) -> Release:
        artifact = build_release(self.folder, version, healthy=healthy)
        return Release(service=self.service, version=version, digest=digest_of(artifact), artifact=artifact)

    async def serving(self) -> str:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(self.url)).text
        except httpx.TransportError:
            return ""

    async def instance(self) -> str:
        pid = self.root / "api.pid"
        return pid.read_text() if pid.exists() else ""

    def effects(self) -> list[tuple[str, str, str]]:
        """The host's own log: (token, what, release), in order."""
        log = self.root / ".fraisier" / "effects"
        lines = [line.split() for line in log.read_text().splitlines() if line] if log.exists() else []
        return [(token, what, name) for _, token, _, what, name in lines]
