"""Faults of the network: packets dropped one way, both ways or by chance, connections reset; in a network apart."""

import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from tests.faults.disk import run
from tests.faults.ground import NAMES, Ground
from tests.faults.rows import HEARTBEAT_TIMEOUT_S, Scene, row

DROP = ("-j", "DROP")
RESET = ("-j", "REJECT", "--reject-with", "tcp-reset")


@row("nats-silent", isolated=True)
async def nats_silent(scene: Scene) -> None:
    """Nothing comes from NATS and nothing reaches it."""
    await _cut(scene, "nats", *_both(scene.ground.port("nats")), seconds=(3, 12))


@row("nats-one-way", isolated=True)
async def nats_one_way(scene: Scene) -> None:
    """What is published arrives, and no acknowledgement comes back."""
    await _cut(scene, "answers of nats", ("--sport", str(scene.ground.port("nats")), *DROP), seconds=(3, 12))


@row("temporal-silent", isolated=True)
async def temporal_silent(scene: Scene) -> None:
    """Nothing comes from Temporal and nothing reaches it."""
    await _cut(scene, "temporal", *_both(scene.ground.port("temporal")), seconds=(3, 15))


@row("hosts-silent", isolated=True)
async def hosts_silent(scene: Scene) -> None:
    """Nothing comes from the hosts and nothing reaches them, for less than they are waited for."""
    await _cut(scene, "hosts", *(rule for port in _ports(scene.ground) for rule in _both(port)), seconds=(3, 12))


@row("hosts-reset", isolated=True)
async def hosts_reset(scene: Scene) -> None:
    """Every packet to the hosts is answered by a reset."""
    rules = [("--dport", str(port), *RESET) for port in _ports(scene.ground)]
    await _cut(scene, "hosts reset", *rules, seconds=(1, 6))


@row("worker-unheard", isolated=True)
async def worker_unheard(scene: Scene) -> None:
    """Of two workers one is not heard by Temporal, which gives its steps to the other; it goes on with what it has."""
    ground = scene.ground
    other = ground.another_worker()
    await other.start()
    mine = ("-m", "owner", "--gid-owner", str(ground.worker.group))
    async with _rules([("--dport", str(ground.port("temporal")), *mine, *DROP)], "OUTPUT"):
        scene.say(f"{ground.worker.name} is not heard by temporal")
        if scene.chance.random() < 0.3:
            ground.release()
        await scene.down(HEARTBEAT_TIMEOUT_S + 3)
        ground.release()
        await scene.down(1, 4)
    scene.say("heard again")
    await scene.down(1, 4)
    await other.kill(signal.SIGTERM)


@row("lossy", isolated=True)
async def lossy(scene: Scene) -> None:
    """One packet in ten is lost, between all."""
    ports = (*_ports(scene.ground), scene.ground.port("nats"), scene.ground.port("temporal"))
    loss = ("-m", "statistic", "--mode", "random", "--probability", "0.1", *DROP)
    await _cut(scene, "one packet in ten lost", *(("--dport", str(port), *loss) for port in ports), seconds=(10,))


async def _cut(scene: Scene, what: str, *rules: tuple[str, ...], seconds: tuple[float, ...]) -> None:
    async with _rules(rules):
        scene.say(f"{what}: cut")
        if scene.chance.random() < 0.7:
            scene.ground.release()
        await scene.down(*seconds)


@asynccontextmanager
async def _rules(rules: Sequence[tuple[str, ...]], chain: str = "INPUT") -> AsyncIterator[None]:
    for rule in rules:
        await run("iptables", "-w", "-I", chain, "-p", "tcp", *rule)
    try:
        yield
    finally:
        for rule in rules:
            await run("iptables", "-w", "-D", chain, "-p", "tcp", *rule)


def _both(port: int) -> Iterator[tuple[str, ...]]:
    yield ("--dport", str(port), *DROP)
    yield ("--sport", str(port), *DROP)


def _ports(ground: Ground) -> list[int]:
    return [ground.address(name)[1] for name in NAMES]
