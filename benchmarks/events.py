"""Publishing: the bus beside plain nats-py, on one server, in interleaved rounds. 1 KB payloads, file storage."""

import asyncio
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nats.js.api import StreamConfig as JsStreamConfig

from fraisier.nats import NatsClient, NatsEventBus, new_event

ROUNDS = 5
EVENTS = 400
WINDOW = 100
PAYLOAD = {"padding": "x" * 600, "version": "2.0.0"}

Publish = Callable[[int], Awaitable[object]]


async def one_after_the_other(publish: Publish) -> float:
    """Events a second."""
    began = time.perf_counter()
    for number in range(EVENTS):
        await publish(number)
    return EVENTS / (time.perf_counter() - began)


async def in_a_window(publish: Publish) -> float:
    """Events a second with so many under way."""
    room = asyncio.Semaphore(WINDOW)

    async def one(number: int) -> None:
        async with room:
            await publish(number)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(EVENTS)))
    return EVENTS / (time.perf_counter() - began)


async def measure(client: NatsClient) -> dict[str, dict[str, list[float]]]:
    """Events a second by way and side, a figure a round."""
    bus, js = NatsEventBus(client), client.jetstream
    await bus.ensure_streams()
    await js.add_stream(JsStreamConfig(name="PLAIN", subjects=["plain.>"]))
    size = len(new_event("health.check_passed", deployment_id="r", region="eu", data=PAYLOAD).to_json())

    async def ours(_: int) -> None:
        event = new_event("health.check_passed", deployment_id="r", region="eu", service="api", data=PAYLOAD)
        await bus.publish_event(event)

    async def plain(_: int) -> None:
        name = str(uuid.uuid4())
        await js.publish(f"plain.eu.api.r.{name}", b"x" * size, headers={"Nats-Msg-Id": name})

    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for way in (one_after_the_other, in_a_window):
            for side in (plain, ours):
                figures.setdefault(way.__name__, {}).setdefault(side.__name__, []).append(await way(side))
    return figures


@contextmanager
def running_server() -> Iterator[list[str]]:
    """A server with JetStream on a free port; gives its URLs."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if program is None:
        sys.exit("there is no nats-server: make setup installs one")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", folder, "--ports_file_dir", folder]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            ports = Path(folder) / f"nats-server_{server.pid}.ports"
            while not ports.exists() or not ports.read_text().strip():
                time.sleep(0.02)
            yield json.loads(ports.read_text())["nats"]
        finally:
            server.terminate()
            server.wait()


async def run(urls: list[str]) -> dict[str, dict[str, list[float]]]:
    """Measure over one connection."""
    async with NatsClient(urls) as client:
        return await measure(client)


def show(figures: dict[str, dict[str, list[float]]]) -> None:
    """Print the table."""
    print(f"{'way':<22}{'plain/s':>10}{'ours/s':>10}{'ours ÷ plain':>14}{'spread':>14}")
    for way, sides in figures.items():
        ratios = sorted(ours / plain for ours, plain in zip(sides["ours"], sides["plain"], strict=True))
        plain, ours = (statistics.median(sides[side]) for side in ("plain", "ours"))
        spread = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
        print(f"{way:<22}{plain:>10.0f}{ours:>10.0f}{statistics.median(ratios):>14.2f}{spread:>14}")


def main() -> None:
    """Measure, print the table, keep the figures."""
    with running_server() as urls:
        figures = asyncio.run(run(urls))
    show(figures)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    kept = {"machine": platform.platform(), "python": platform.python_version(), "figures": figures}
    (results / "events.json").write_text(json.dumps(kept, indent=2))


main()
