"""The demo's regions: two hosts in each, SSH servers on loopback that run real processes; or a Docker engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fraisier.orchestrator.demo.engine import DockerSite
from fraisier.orchestrator.demo.release import SERVICE
from fraisier.orchestrator.demo.ssh_host import SshHost, make_key
from fraisier.orchestrator.stack.ports import free_ports

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
DOCKER_REGION = REGIONS[-1]
HOSTS = 2
ASK_S = 2.0


@dataclass(frozen=True)
class DemoHost:
    """A host and the port of its service."""

    region: str
    ssh: SshHost
    port: int

    async def version(self) -> str:
        """What the host's service answers: its version, ``500`` when it is ill, or ``nothing``."""
        try:
            async with httpx.AsyncClient(timeout=ASK_S) as client:
                answer = await client.get(f"http://127.0.0.1:{self.port}/health")
        except httpx.HTTPError:
            return "nothing"
        return answer.text if answer.is_success else str(answer.status_code)


@dataclass(frozen=True)
class Fleet:
    """All the hosts, the one key that opens them, and the engine that is a region where there is one."""

    hosts: tuple[DemoHost, ...]
    key: Path
    known_hosts: Path
    site: DockerSite | None

    async def versions(self) -> dict[str, list[str]]:
        """What runs where, asked of the services themselves, by region."""
        answers = await asyncio.gather(*(host.version() for host in self.hosts))
        found = {
            region: [answer for host, answer in zip(self.hosts, answers, strict=True) if host.region == region]
            for region in REGIONS
        }
        return found | ({DOCKER_REGION: await self.site.versions()} if self.site else {})

    def region(self, name: str) -> dict[str, Any]:
        """A region as a manifest has it."""
        if self.site is not None and name == DOCKER_REGION:
            return self.site.region()
        return {
            "provider": "bare_metal",
            "username": "deploy",
            "key_path": str(self.key),
            "known_hosts": str(self.known_hosts),
            "targets": [
                {"host": one.ssh.host, "port": one.ssh.port, "root": str(one.ssh.folder / SERVICE)}
                for one in self.hosts
                if one.region == name
            ],
            "batch": {"canary": 1},
            "start_command": ["sh", "current/bin/api", "start"],
            "stop_command": ["sh", "current/bin/api", "stop"],
            "health": {
                "command": ["sh", f"{SERVICE}/current/bin/api", "check"],
                "interval": "200ms",
                "healthy_after": 2,
                "progress_deadline": "8s",
            },
        }


@asynccontextmanager
async def demo_fleet(folder: Path, site: DockerSite | None) -> AsyncIterator[Fleet]:
    """Hosts for as long as the block runs; whatever they run ends with them."""
    regions = REGIONS if site is None else REGIONS[:-1]
    key = make_key(folder / "key")
    names = [f"{region}-{number}" for region in regions for number in range(1, HOSTS + 1)]
    ports = free_ports(dict.fromkeys(names, 0))
    async with AsyncExitStack() as stack:
        hosts = []
        for name in names:
            ssh = SshHost(folder / "hosts" / name, client_key=key, environment={"PORT": str(ports[name])})
            await stack.enter_async_context(ssh)
            hosts.append(DemoHost(name.rpartition("-")[0], ssh, ports[name]))
        known_hosts = folder / "known_hosts"
        known_hosts.write_text("".join(host.ssh.known_hosts_line for host in hosts))
        yield Fleet(tuple(hosts), key, known_hosts, site)
