"""``python -m tests.faults [ROW...] [--seed N] [--rounds N]``: break what can break while real rollouts run.

Each round's choices follow from its row and its seed: the command that plays it again is printed with what it found.
"""

import argparse
import asyncio
import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from fraisier.orchestrator.launcher import find_server
from tests.faults.ground import GROUNDS, ROOT, Ground
from tests.faults.matrix import ROWS
from tests.faults.rounds import Report, Rounds
from tests.faults.rows import Row
from tests.faults.soak import ROWS as SOAKED
from tests.faults.soak import soak
from tests.faults.sshds import find_sshd

APART = "FAULTS_APART"
LOOP = Path("/dev/loop-control")
"""Where there is none, no file can be mounted as a disk."""
APART_BY = ("unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def main() -> int:
    """Play, print a table, and return 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"by default all: {', '.join(ROWS)}")
    parser.add_argument("--seed", type=int, default=1, help="of each row's first round; the next ones follow")
    parser.add_argument("--rounds", type=int, default=1, help="of each row, each with the next seed")
    parser.add_argument("--at-once", type=int, default=6, help="how many rollouts a round has")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="play rows by chance for so long, and plot sizes")
    parser.add_argument("--into", type=Path, default=Path("dist/soak"), help="the folder for what --soak plots")
    parser.add_argument("--keep", action="store_true", help="the records of every round, not only of the failed ones")
    asked = parser.parse_args()
    unknown = [name for name in asked.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if APART not in os.environ and _may_go_apart():
        _go_apart()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing that we started may outlive us
    reports = asyncio.run(_play(asked))
    _print_table(reports)
    return 1 if any(one.violations for one in reports) else 0


def _may_go_apart() -> bool:
    try:
        return subprocess.run([*APART_BY, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _go_apart() -> None:
    """Go on in a network and with mounts of our own: what is dropped or filled there is nobody else's."""
    asyncio.run(_servers_found())
    again = [sys.executable, "-m", "tests.faults", *sys.argv[1:]]
    os.environ[APART] = "1"
    os.execvp(APART_BY[0], [*APART_BY, *again])  # noqa: S606


async def _servers_found() -> None:
    for name in ("nats-server", "nats", "temporal"):
        await find_server(name)


def _missing(row: Row, *, apart: bool) -> str:
    """What a row needs and is not here; empty when it can be played."""
    if row.isolated and not apart:
        return "root, for a network and mounts of its own"
    if row.nats_disk and not LOOP.exists():
        return str(LOOP)
    if row.on == "sshd" and find_sshd() is None:
        return "sshd"
    return "" if not row.needs or any(Path("/usr/lib").glob(row.needs)) else row.needs


async def _play(asked: argparse.Namespace) -> list[Report]:
    rows = [ROWS[name] for name in asked.rows or (SOAKED if asked.soak else ROWS)]
    apart = APART in os.environ
    for row in [row for row in rows if _missing(row, apart=apart)]:
        print(f"{row.name} is left out: it needs {_missing(row, apart=apart)}")
        rows.remove(row)
    folder = Path(tempfile.mkdtemp(prefix="fraisier-faults-"))
    print(f"records of what goes wrong, and all logs: {folder}", flush=True)
    reports = []
    for name in GROUNDS:
        some = [row for row in rows if row.on == name]
        if some:
            disk = any(row.nats_disk for row in some)
            async with Ground(folder / name, kind=name, mounts=apart, nats_disk=disk) as ground:
                reports += await _on(ground, some, asked)
    if not asked.keep and not any(one.violations for one in reports):
        shutil.rmtree(folder)
    return reports


async def _on(ground: Ground, rows: list[Row], asked: argparse.Namespace) -> list[Report]:
    """Play rows on one ground, whose servers and services live from round to round."""
    rounds = Rounds(ground, asked.at_once, keep=asked.keep)
    await rounds.install()
    if asked.soak:
        told = functools.partial(_print, at_once=asked.at_once)
        return await soak(ground, rounds, rows, seed=asked.seed, minutes=asked.soak, told=told, into=ROOT / asked.into)
    reports = []
    for number in range(asked.rounds):
        for row in rows:
            reports.append(await rounds.play(row, asked.seed + number))
            _print(reports[-1], asked.at_once)
    return reports


def _print(report: Report, at_once: int) -> None:
    print(f"{report.row} {report.seed}: {report.injected} hit, {report.seconds:.0f} s", flush=True)
    for violation in report.violations:
        print(f"  VIOLATION {violation}"[:2000], flush=True)
    if report.violations:
        print(f"  again: make faults ROW={report.row} SEED={report.seed} AT_ONCE={at_once}", flush=True)


def _print_table(reports: list[Report]) -> None:
    rows = defaultdict(list)
    for report in reports:
        rows[report.row].append(report)
    print(f"\n{'row':<20}{'runs':>6}{'injected':>10}{'violations':>12}{'seconds':>9}")
    for name, played in [*rows.items(), ("all", reports)]:
        wrong = sum(len(one.violations) for one in played)
        hit = sum(one.injected for one in played)
        print(f"{name:<20}{len(played):>6}{hit:>10}{wrong:>12}{sum(one.seconds for one in played):>9.0f}")


if __name__ == "__main__":
    sys.exit(main())
