"""One protocol for all proxies, and the way to the one that a manifest names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from fraisier.providers.models import Step, StepResult
from fraisier.providers.traffic.models import Traffic


class TrafficDriver(Protocol):
    """All the proxies in front of a region. Each call can be made again."""

    async def drain(self, server: str, seconds: float) -> StepResult:
        """Send a server no new requests, and wait at most so long until those that it has have ended.

        Raises:
            ConnectFailed: a proxy cannot be reached.
            TrafficRefused: a proxy does not do it.
        """
        ...

    async def undrain(self, server: str, seconds: float) -> StepResult:
        """Send a server requests again, and wait until the proxy sees it healthy; raises as `drain`.

        A server that is not seen healthy in so many seconds is a `TrafficRefused`.
        """
        ...


@asynccontextmanager
async def open_driver(traffic: Traffic, step: Step) -> AsyncIterator[TrafficDriver]:
    """The driver of a manifest's proxies, for one step."""
    # A proxy may be reached by the SSH connection of the bare-metal provider, which needs this module itself.
    from fraisier.providers.traffic.caddy import Caddy  # noqa: PLC0415
    from fraisier.providers.traffic.command import Commands  # noqa: PLC0415
    from fraisier.providers.traffic.haproxy import Haproxy  # noqa: PLC0415
    from fraisier.providers.traffic.lights import Lights  # noqa: PLC0415
    from fraisier.providers.traffic.way import Way  # noqa: PLC0415

    way = Way(traffic.ssh, step)
    try:
        if traffic.haproxy is not None:
            yield Haproxy(traffic.haproxy, way)
        elif traffic.caddy is not None:
            yield Caddy(traffic.caddy, way)
        elif traffic.caddy_files is not None:
            yield Lights(traffic.caddy_files.folder, way)
        elif traffic.command is not None:
            yield Commands(traffic.command, way)
    finally:
        await way.close()
