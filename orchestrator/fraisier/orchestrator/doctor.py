"""What `fraisier doctor` looks at."""

import asyncio
import platform
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fraisier.nats import NatsEventBus, NotDurable, StreamDrift, check_durability, get_nats_config
from fraisier.orchestrator.connections import connect_nats, connect_temporal
from fraisier.orchestrator.errors import Unreachable
from fraisier.orchestrator.launcher import fraisier_home
from fraisier.orchestrator.pollers import count_workers
from fraisier.orchestrator.settings import TASK_QUEUE


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: the thing.
        found: what was found.
        good: whether it is as it should be.
        way_out: what to do when it is not.
        needed: whether Fraisier cannot do without.
    """

    what: str
    found: str
    good: bool = True
    way_out: str = ""
    needed: bool = True


async def examine() -> AsyncIterator[Finding]:
    """Look at everything, one thing after the other. Changes nothing but missing streams."""
    yield Finding("Python", f"{platform.python_version()} at {sys.executable}")
    yield _home()
    yield await _nats()
    yield await _durability()
    async for finding in _temporal():
        yield finding
    yield await _docker()


def _home() -> Finding:
    home = fraisier_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return Finding("home folder", str(home))
    except OSError as error:
        why = f"{home} cannot be used: {error.strerror}"
        return Finding("home folder", why, good=False, way_out="set FRAISIER_HOME to a folder that you may write to")


async def _nats() -> Finding:
    try:
        client, config = await connect_nats()
    except Unreachable as error:
        return Finding("NATS", str(error), good=False, way_out="fraisier up, or set NATS_SERVERS")
    try:
        await asyncio.wait_for(
            NatsEventBus(client, config.streams).ensure_streams_exist(), config.connection.timeout * 4
        )
    except (StreamDrift, asyncio.TimeoutError) as error:
        why = str(error) or "JetStream does not answer"
        return Finding("NATS", why, good=False, way_out="enable JetStream (nats-server -js), or mend the stream")
    finally:
        await client.disconnect()
    return Finding("NATS", f"JetStream and the four streams at {', '.join(config.connection.servers)}")


async def _durability() -> Finding:
    try:
        return Finding("events", await check_durability(get_nats_config().connection))
    except NotDurable as error:
        return Finding("events", str(error), good=False, way_out="a worker does not start like this")


async def _temporal() -> AsyncIterator[Finding]:
    try:
        client = await connect_temporal()
    except Unreachable as error:
        yield Finding("Temporal", str(error), good=False, way_out="fraisier up, or set TEMPORAL_ADDRESS")
        return
    yield Finding("Temporal", f"namespace {client.namespace} at {client.service_client.config.target_host}")
    workers = await count_workers(client)
    yield Finding(
        "worker", f"{workers} polled {TASK_QUEUE} within the last minute", good=workers > 0, way_out="fraisier worker"
    )


async def _docker() -> Finding:
    import docker  # noqa: PLC0415 (slow to import, and only asked here)

    def ask() -> str:
        """The engine's version; blocking."""
        client = docker.from_env(timeout=5)
        try:
            return str(client.version()["Version"])
        finally:
            client.close()

    try:
        version = await asyncio.to_thread(ask)
    except Exception as error:  # noqa: BLE001 (whatever it is, there is no engine)
        return Finding("Docker engine", str(error)[:120], good=False, way_out="only for Docker regions", needed=False)
    return Finding("Docker engine", version, needed=False)
