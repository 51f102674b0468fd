"""Rollouts back to back with faults by chance, and how large everything is all the while: a table, and plots of it."""

import asyncio
import contextlib
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import nats.errors
from nats.js.errors import Error as JetStreamError

from tests.faults.ground import ROOT, Ground
from tests.faults.rounds import Report, Rounds
from tests.faults.rows import Row
from tests.faults.vitals import vitals_of

EVERY_S = 5.0
ASK_S = 3.0
MEBIBYTE = 1 << 20

ROWS = (
    "none", "temporal-kill", "temporal-stop", "nats-kill", "nats-stop", "hosts-cut", "hosts-gone", "hosts-kill",
    "host-impostor", "key-revoked", "disk-full", "disk-read-only", "stream-full", "events-forged",
    "asked-twice", "cancelled", "taken-back", "nats-silent", "nats-one-way", "temporal-silent", "hosts-silent",
    "hosts-reset", "lossy", "nats-disk-full", "nats-power", "worker-blocked",
)  # fmt: skip
"""Rows that leave the worker alive, so that it can be seen whether it grows."""

PROCESSES = ("worker", "nats", "temporal")
MEASURES = ("memory_mb", "files", "connections", "threads")
STREAMS = ("DEPLOYMENT_EVENTS", "HEALTH_EVENTS", "KV_fraisier-generations", "OBJ_fraisier-artifacts")
COLUMNS = (
    "seconds", "row",
    *(f"{process} {measure}" for process in PROCESSES for measure in MEASURES),
    "worker tasks", *(f"{stream} kb" for stream in STREAMS),
)  # fmt: skip

Sample = dict[str, float | str]


class Watch:
    """Looks at the worker, the servers and the streams every few seconds.

    Args:
        ground: that runs.

    Attributes:
        row: what is played now.
        samples: what was seen; what was dead just then is not in them.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.row = ""
        self.samples: list[Sample] = []
        self._began = time.monotonic()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.samples.append(await self._look())
            await asyncio.sleep(EVERY_S)

    async def _look(self) -> Sample:
        found: Sample = {"seconds": round(time.monotonic() - self._began), "row": self.row}
        worker = self._ground.worker.process
        pids = {one.name: one.pid for one in await self._ground.stack.status()}
        if worker is not None:
            pids["worker"] = worker.pid
        for name in PROCESSES:
            with contextlib.suppress(OSError, KeyError):
                now = vitals_of(name, pids[name])
                found |= {f"{name} memory_mb": round(now.memory_kb / 1024, 1), f"{name} files": now.files}
                found |= {f"{name} connections": now.connections, f"{name} threads": now.threads}
        with contextlib.suppress(OSError, ValueError):
            found["worker tasks"] = int((self._ground.folder / "tasks").read_text())
        return found | await self._streams()

    async def _streams(self) -> Sample:
        found: Sample = {}
        with contextlib.suppress(nats.errors.Error, JetStreamError, asyncio.TimeoutError):
            for one in await asyncio.wait_for(self._ground.nats.jetstream.streams_info(), ASK_S):
                if one.config.name in STREAMS:
                    found[f"{one.config.name} kb"] = round(one.state.bytes / 1024)
        return found


async def soak(
    ground: Ground, rounds: Rounds, rows: list[Row], *, seed: int, minutes: float, told: Callable[[Report], None],
    into: Path,
) -> list[Report]:  # fmt: skip
    """Play rows by chance for so long, and write down how large everything was.

    Args:
        ground: that runs.
        rounds: on that ground, installed.
        rows: what is chosen from.
        seed: of the choice, and of the first round.
        minutes: how long; the last round is played to its end.
        told: is told of every round.
        into: the folder for ``soak.csv`` and the plots.
    """
    chance, reports = Random(seed), []
    watch = Watch(ground)
    watching = asyncio.create_task(watch.run())
    end = time.monotonic() + minutes * 60
    try:
        while time.monotonic() < end:
            row = chance.choice(rows)
            watch.row = row.name
            reports.append(await rounds.play(row, seed + len(reports)))
            told(reports[-1])
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await asyncio.to_thread(write, watch.samples, into)
        _print_growth(watch.samples, into)
    return reports


def write(samples: list[Sample], into: Path) -> None:
    """Write the table and its plots."""
    into.mkdir(parents=True, exist_ok=True)
    with (into / "soak.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(samples)
    # In a process of its own: what draws changes how everything is imported.
    subprocess.run(
        [sys.executable, "-m", "tests.faults.plots", str(into / "soak.csv"), str(into)], check=True, cwd=ROOT
    )


def _print_growth(samples: list[Sample], into: Path) -> None:
    print(f"\n{'what':<32}{'warm':>10}{'in the end':>12}   ({into})")
    for column in COLUMNS[2:]:
        if any(column in one for one in samples):
            warm, last = growth(samples, column)
            print(f"{column:<32}{warm:>10g}{last:>12g}")
    print("warm: what is usual in the second quarter of the time; in the end: in the last quarter")


def growth(samples: list[Sample], column: str) -> tuple[float, float]:
    """What is usual in the second quarter, when all is warm, and in the last one."""
    seen = [float(one[column]) for one in samples if column in one]
    quarter = max(len(seen) // 4, 1)
    return statistics.median(seen[quarter : 2 * quarter] or seen), statistics.median(seen[-quarter:])
