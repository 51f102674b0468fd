"""A Compose project of its own on the machine's Docker engine, that can be asked for the truth by the docker CLI."""

import io
import json
import secrets
import tarfile
from pathlib import Path
from typing import Any

import httpx

from fraisier.nats import NatsEventBus
from fraisier.providers.compose import ComposeProvider
from fraisier.providers.models import Release
from tests.providers.docker_bench import build_image
from tests.support.docker_engine import Engine
from tests.support.releases import digest_of

WEB = {"image": "{image}", "init": True, "stop_grace_period": "1s"}


def pack(path: Path, files: dict[str, str]) -> Path:
    """Write an artifact; the same files give the same bytes."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content.encode()), 0o644
            archive.addfile(entry, io.BytesIO(content.encode()))
    return path


class ComposeBench:
    """See `fraisier.providers.testing.Bench`."""

    url = "http://127.0.0.1:8080/health"
    silent_url = "http://127.0.0.1:8999/health"

    def __init__(self, engine: Engine, folder: Path, **options: Any) -> None:
        self.engine = engine
        self.folder = folder
        self.service = f"test-{secrets.token_hex(4)}"
        self.options = options
        self.made: dict[str, Release] = {}

    def provider(self, event_bus: NatsEventBus | None = None, **changed: Any) -> ComposeProvider:
        config = {"engine": self.engine.url, "settle": "300ms", "stop_timeout": "1s", **self.options, **changed}
        return ComposeProvider(config=config, event_bus=event_bus, region="test")

    def release(self, version: str, *, healthy: bool = True, **services: dict[str, Any]) -> Release:
        """The release of a web service, and of more services where they are given."""
        name = f"{version}-{healthy}-{json.dumps(services, sort_keys=True)}"
        if name not in self.made:
            image = build_image(self.engine, version, healthy=healthy)
            compose = {"services": {"web": {**WEB, "image": image}, **services}}
            self.made[name] = self.packed(version, {"compose.yaml": json.dumps(compose)})
        return self.made[name]

    def packed(self, version: str, files: dict[str, str]) -> Release:
        """The release of any files."""
        artifact = pack(self.folder / f"{version}-{secrets.token_hex(3)}.tar.gz", files)
        return Release(service=self.service, version=version, digest=digest_of(artifact), artifact=artifact)

    def ours(self, *filters: str) -> list[str]:
        """The IDs of what Fraisier keeps on the engine for the service."""
        asked = [part for one in (f"label=dev.fraisier.service={self.service}", *filters) for part in ("--filter", one)]
        return self.engine.run("ps", "--all", "--quiet", "--no-trunc", *asked).split()

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        """All that the engine says of the project's containers."""
        label = f"label=com.docker.compose.project={self.service}"
        asked = [part for one in (label, *filters) for part in ("--filter", one)]
        ids = self.engine.run("ps", "--all", "--quiet", "--no-trunc", *asked).split()
        found: list[dict[str, Any]] = json.loads(self.engine.run("inspect", *ids)) if ids else []
        return sorted(found, key=lambda one: one["Name"])

    def of(self, service: str) -> dict[str, Any]:
        """The one container of a service."""
        (found,) = self.containers(f"label=com.docker.compose.service={service}")
        return found

    async def serving(self) -> str:
        running = self.containers("status=running", "label=com.docker.compose.service=web")
        assert len(running) <= 1, [one["Name"] for one in running]
        if not running:
            return ""
        (network,) = running[0]["NetworkSettings"]["Networks"].values()
        async with httpx.AsyncClient(trust_env=False, transport=httpx.AsyncHTTPTransport(retries=5)) as client:
            return (await client.get(f"http://{network['IPAddress']}:8080/health")).text

    async def instance(self) -> str:
        return " ".join(one["Id"] + one["State"]["StartedAt"] for one in self.containers("status=running"))

    def clean(self) -> None:
        """Remove all of it."""
        self._remove("rm --force --volumes", [*self.ours(), *(one["Id"] for one in self.containers())])
        for kind in ("volume", "network"):
            labels = (f"com.docker.compose.project={self.service}", f"dev.fraisier.service={self.service}")
            found = [self.engine.run(kind, "ls", "--quiet", "--filter", f"label={label}").split() for label in labels]
            self._remove(f"{kind} rm", [one for part in found for one in part])

    def _remove(self, command: str, ids: list[str]) -> None:
        if ids:
            self.engine.run(*command.split(), *ids)
