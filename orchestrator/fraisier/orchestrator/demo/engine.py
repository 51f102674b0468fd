"""The demo's Docker region, where an engine answers: a container around the NATS server that is here anyway."""

import asyncio
import io
import logging
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import APIError, DockerException

from fraisier.orchestrator.demo.release import SERVICE
from fraisier.providers.docker.claims import NOTHING

logger = logging.getLogger(__name__)

IMAGE = "fraisier-demo"
MONITOR_PORT = 8222
LABEL = f"dev.fraisier.service={SERVICE}"
ANSWER_S = 3
ELF = b"\x7fELF"


class DockerSite:
    """An engine that the demo deploys to.

    Args:
        client: connected.
        program: a static NATS server; its name for itself is the release's version.
    """

    def __init__(self, client: docker.DockerClient, program: Path) -> None:
        self._client = client
        self._program = program
        # The provider's own marker image goes too, unless it was there before us.
        self._images = [] if client.images.list(NOTHING) else [f"{NOTHING}:1"]

    async def image(self, version: str) -> str:
        """Make the image of a release on the engine and return its reference."""
        reference = f"{IMAGE}:{version}"
        await asyncio.to_thread(self._import, version)
        self._images.append(reference)
        return reference

    async def versions(self) -> list[str]:
        """What runs here, asked of the containers themselves."""
        containers = await asyncio.to_thread(self._client.containers.list, filters={"label": LABEL})
        ports = [one.ports[f"{MONITOR_PORT}/tcp"][0]["HostPort"] for one in containers]
        return [await _server_name(port) for port in ports] or ["nothing"]

    def region(self) -> dict[str, Any]:
        """The region as a manifest has it."""
        return {
            "provider": "docker",
            "targets": [{"name": "engine", "ports": [str(MONITOR_PORT)], "stop_timeout": "2s"}],
            "health": {
                "http": f"http://127.0.0.1:{MONITOR_PORT}/healthz",
                "interval": "200ms",
                "healthy_after": 2,
                "progress_deadline": "10s",
            },
        }

    def clean(self) -> None:
        """Remove the demo's containers and images."""
        for container in self._client.containers.list(all=True, filters={"label": LABEL}):
            container.remove(force=True, v=True)
        for image in self._images:
            try:
                self._client.images.remove(image)
            except APIError as error:  # not there, or somebody else's by now
                logger.debug("%s stays: %s", image, error)
        self._client.close()

    def _import(self, version: str) -> None:
        config = f'server_name: "{version}"\nhttp: "0.0.0.0:{MONITOR_PORT}"\n'.encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(self._program, arcname="nats-server")
            entry = tarfile.TarInfo("nats.conf")
            entry.size = len(config)
            archive.addfile(entry, io.BytesIO(config))
        change = 'ENTRYPOINT ["/nats-server", "--config", "/nats.conf"]'
        self._client.api.import_image_from_data(packed.getvalue(), repository=IMAGE, tag=version, changes=[change])


@asynccontextmanager
async def docker_site(program: Path) -> AsyncIterator[tuple[DockerSite | None, str]]:
    """The engine as a site, or None; and in one line for people, which of both and why."""
    client, why = await asyncio.to_thread(_usable, program)
    if client is None:
        yield None, f"no Docker region: {why}; all regions are SSH hosts"
        return
    site = await asyncio.to_thread(DockerSite, client, program)
    try:
        yield site, f"Docker {why} answers: eu-west-1 is a Docker region"
    finally:
        await asyncio.to_thread(site.clean)


def _usable(program: Path) -> tuple[docker.DockerClient | None, str]:
    with program.open("rb") as file:
        if not sys.platform.startswith("linux") or file.read(4) != ELF:
            return None, "the image is made of this machine's NATS server, which is not a Linux program"
    try:
        client = docker.from_env(timeout=ANSWER_S)
        version = str(client.version()["Version"])
        if client.containers.list(all=True, filters={"label": LABEL}):
            client.close()
            ours = f"docker rm -f $(docker ps -aq --filter label={LABEL})"
            return None, f"the engine has containers of a service {SERVICE}; if no other demo runs, remove them: {ours}"
    except (DockerException, OSError):
        return None, "no engine answers"
    return docker.from_env(), version


async def _server_name(port: str) -> str:
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            return str((await client.get(f"http://127.0.0.1:{port}/varz")).json()["server_name"])
    except (httpx.HTTPError, ValueError, KeyError):
        return "nothing"
