"""A disk that is really full: a small tmpfs under a real server."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fraisier.nats import Event, NatsEventBus, StoredEvent, StreamDrift, new_event
from fraisier.nats.config import StreamConfig
from tests.support.nats import NatsServer

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs on this platform")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
async def server_on_it(small_disk: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(small_disk)
    server.start()
    yield server
    server.kill()


def big(number: int) -> Event:
    return new_event(
        "health.check_passed",
        deployment_id="r1",
        region="eu",
        target=f"host-{number}",
        step="1",
        data={"x": "x" * 8000},
    )


async def fill(bus: NatsEventBus) -> tuple[int, "asyncio.Task[StoredEvent]"]:
    """Publish until one is not acknowledged: how many were, and the one that waits."""
    acknowledged = 0
    while True:
        publish = asyncio.create_task(bus.publish_event(big(acknowledged)))
        done, _ = await asyncio.wait({publish}, timeout=3)
        if not done:
            return acknowledged, publish
        publish.result()
        acknowledged += 1


async def test_a_full_disk_is_told_of_and_costs_no_event(
    small_disk: Path, server_on_it: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on_it.client(timeout=1) as client:
        bus = NatsEventBus(client, StreamConfig(max_size=4 * MEBIBYTE))
        await bus.ensure_streams()
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (21 * MEBIBYTE))
        acknowledged, waiting = await fill(bus)
        assert acknowledged > 10
        assert "no space left on device" in (small_disk / "nats.log").read_text()
        assert "is its disk full (df -h)? Make room and restart it" in caplog.text
        ballast.unlink()
        server_on_it.kill()
        server_on_it.start()
        await asyncio.wait_for(waiting, 30)
        events = [event async for event in bus.read("health")]
    targets = [event.target for event in events if isinstance(event, Event)]
    assert targets == [f"host-{number}" for number in range(acknowledged + 1)]


async def test_a_disk_too_small_for_the_streams_is_named_with_the_way_out(server_on_it: NatsServer) -> None:
    async with server_on_it.client() as client:
        with pytest.raises(StreamDrift, match=r"no room for stream DEPLOYMENT_EVENTS.*NATS_STREAM_MAX_SIZE"):
            await NatsEventBus(client).ensure_streams()
