"""A real systemd host as a bench: its service is a unit, and its sshd is OpenSSH."""

from pathlib import Path
from typing import Any

from fraisier.nats import NatsEventBus
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.models import Release
from tests.support.releases import build_release, digest_of
from tests.support.systemd_hosts import SystemdHost


class SystemdBench:
    """See `fraisier.providers.testing.Bench`."""

    service = "api"
    url = "http://127.0.0.1:8080/health"
    silent_url = "http://127.0.0.1:8999/health"

    def __init__(self, host: SystemdHost, folder: Path) -> None:
        self.host = host
        self.folder = folder

    def config(self, **changed: Any) -> dict[str, Any]:
        """The options of the host's provider."""
        return {
            "host": self.host.host,
            "port": self.host.port,
            "username": self.host.username,
            "key_path": str(self.host.key_path),
            "known_hosts": str(self.host.known_hosts),
            "service_unit": "api.service",
            "sudo": True,
            **changed,
        }

    def provider(self, event_bus: NatsEventBus | None = None, **changed: Any) -> BareMetalProvider:
        return BareMetalProvider(config=self.config(**changed), event_bus=event_bus, region="test")

    def release(self, version: str, *, healthy: bool = True) -> Release:
        artifact = build_release(self.folder, version, healthy=healthy)
        return Release(service=self.service, version=version, digest=digest_of(artifact), artifact=artifact)

    async def serving(self) -> str:
        return self.host.run("curl", "--silent", "--max-time", "5", self.url, check=False)

    async def instance(self) -> str:
        return self.host.run("systemctl", "show", "--property=InvocationID", "api.service")

    def effects(self) -> list[tuple[str, str, str]]:
        """The host's own log: (token, what, release), in order."""
        log = self.host.run("cat", "/opt/api/.fraisier/effects")
        lines = [line.split() for line in log.splitlines() if line]
        return [(token, what, name) for _, token, _, what, name in lines]
