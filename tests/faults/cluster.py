"""The production cluster under rollouts: three servers with the shipped configuration, and what may happen to them."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from fraisier.nats import NatsClient
from tests.support.cluster import NODES, Cluster

ROLE = "orchestrator"
"""Whose credentials the worker has."""


class Three:
    """Three servers.

    Args:
        folder: for their data, logs and credentials; made here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.cluster = Cluster.make(folder)

    async def install(self) -> None:
        """Start them and make the streams."""
        await asyncio.to_thread(self.cluster.start)
        await asyncio.to_thread(self.cluster.install)

    def env(self) -> dict[str, str]:
        """What connects a worker to them, and to nobody by a password."""
        pages = (f"http://127.0.0.1:{node.ports['monitor']}" for node in self.cluster.nodes.values())
        return {
            **self.cluster.environment(ROLE),
            "NATS_USERNAME": "",
            "NATS_PASSWORD": "",
            "NATS_MONITORING_URLS": ",".join(pages),
        }

    def admin(self) -> NatsClient:
        """A client that may do everything."""
        return self.cluster.client("admin")

    @property
    def seed(self) -> str:
        """What proves that the worker is who it is."""
        return (self.cluster.identity(ROLE) / "seed.nk").read_text().strip()

    def kill(self, names: Iterable[str] = NODES) -> None:
        """End some, or all, as a crash would."""
        for name in names:
            self.cluster.nodes[name].kill()

    def start_unready(self, names: Iterable[str]) -> None:
        """Start some, whom the others may not let in."""
        for name in names:
            self.cluster.nodes[name].start(self.cluster.routes)

    async def revive(self) -> None:
        """Start those that are dead, and wait until all have caught up."""
        await asyncio.to_thread(self.cluster.start)
