"""A service of its own on the machine's Docker engine, that can be asked for the truth by the docker CLI."""

import json
import secrets
import tempfile
from pathlib import Path
from typing import Any

import httpx

from fraisier.nats import NatsEventBus
from fraisier.providers.docker import DockerProvider
from fraisier.providers.models import Release
from tests.support.docker_engine import Engine
from tests.support.releases import API
from tests.support.stand_ins import PACKAGES
from tests.support.testbed import debian_image

TAG = f"fraisier-test-api-{secrets.token_hex(4)}"


def build_image(engine: Engine, version: str, *, healthy: bool = True, dies: bool = False) -> str:
    """Build the release's image, once a session, and return its name."""
    name = f"{TAG}:{version}-{'dies' if dies else 'good' if healthy else 'bad'}"
    if not engine.run("images", "--quiet", name).strip():
        program = "print('cannot find its config', flush=True)\nraise SystemExit(7)\n" if dies else API
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "api").write_text(program.format(version=version, healthy=healthy))
            (Path(folder) / "Dockerfile").write_text(
                f'FROM {debian_image(engine, PACKAGES)}\nCOPY api /api\nENV HOST=0.0.0.0\nCMD ["python3", "/api"]\n'
            )
            engine.run("build", "--quiet", "--tag", name, folder)
    return name


class DockerBench:
    """See `fraisier.providers.testing.Bench`."""

    url = "http://127.0.0.1:8080/health"
    silent_url = "http://127.0.0.1:8999/health"

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.engine = engine
        self.service = f"test-{secrets.token_hex(4)}"
        self.options = options

    def provider(self, event_bus: NatsEventBus | None = None, **changed: Any) -> DockerProvider:
        config = {"engine": self.engine.url, "stop_timeout": "1s", "settle": "300ms", **self.options, **changed}
        return DockerProvider(config=config, event_bus=event_bus, region="test")

    def release(self, version: str, *, healthy: bool = True, dies: bool = False) -> Release:
        image = build_image(self.engine, version, healthy=healthy, dies=dies)
        return Release(service=self.service, version=version, digest=image, image=image)

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        """All that the engine says of the service's containers."""
        asked = [part for one in (f"label=dev.fraisier.service={self.service}", *filters) for part in ("--filter", one)]
        ids = self.engine.run("ps", "--all", "--quiet", "--no-trunc", *asked).split()
        found: list[dict[str, Any]] = json.loads(self.engine.run("inspect", *ids)) if ids else []
        return found

    def running(self) -> list[dict[str, Any]]:
        """Those that run."""
        return self.containers("status=running")

    async def serving(self) -> str:
        running = self.running()
        assert len(running) <= 1, [one["Name"] for one in running]
        if not running:
            return ""
        address = running[0]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://{address}:8080/health")).text

    async def instance(self) -> str:
        return " ".join(one["Id"] + one["State"]["StartedAt"] for one in self.running())

    def clean(self) -> None:
        """Remove all of it."""
        for one in self.containers():
            self.engine.run("rm", "--force", "--volumes", one["Id"])
