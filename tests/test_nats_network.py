"""A network that goes silent: packets of the server's port are dropped, both ways, without a word."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fraisier.nats import Event, NatsEventBus, new_event
from tests.support.nats import NatsServer

LONGER_THAN_THE_KERNEL_WAITS_S = 8.0
SOON_S = 10.0


@contextmanager
def silence(port: int) -> Iterator[None]:
    """Nothing from or to the port arrives for as long as the block lasts."""
    if os.geteuid() != 0:
        pytest.skip("only root may drop packets on this platform")
    rules = [("INPUT", "-p", "tcp", way, str(port), "-j", "DROP") for way in ("--dport", "--sport")]
    for rule in rules:
        subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        for rule in rules:
            subprocess.run(["iptables", "-w", "-D", *rule], check=True)


def event(number: int) -> Event:
    """Large, so that more is on its way than the kernel takes at once."""
    data = {"output": "x" * 200_000}
    return new_event(
        "health.check_passed", deployment_id="r1", region="eu", target=f"host-{number}", step="1", data=data
    )


async def test_a_silent_network_costs_no_event_and_leaves_no_ghost(nats_server: NatsServer, bus: NatsEventBus) -> None:
    first = [(await bus.publish_event(event(number))).sequence for number in range(20)]
    with silence(nats_server.port):
        given_up = asyncio.create_task(bus.publish_event(event(100)))
        waiting = [asyncio.create_task(bus.publish_event(event(number))) for number in range(20, 40)]
        await asyncio.sleep(LONGER_THAN_THE_KERNEL_WAITS_S)
        assert not bus.client.is_connected
        assert not any(task.done() for task in waiting)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
    healed = time.monotonic()
    later = [stored.sequence for stored in await asyncio.wait_for(asyncio.gather(*waiting), 30)]
    assert time.monotonic() - healed < SOON_S
    found = [one async for one in bus.read("health")]
    assert [one.sequence for one in found] == sorted(first + later)
    assert {one.target for one in found if isinstance(one, Event)} == {f"host-{number}" for number in range(40)}
