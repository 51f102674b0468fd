"""``python -m tests.faults [ROW...] [--seed N] [--rounds N]``: break what can break while real rollouts run.

Each round's choices follow from its row and its seed: the command that plays it again is printed with what it found.
"""

import argparse
import asyncio
import logging
import math
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

INTERRUPTED = 130
APART = "FAULTS_APART"
LOOP = Path("/dev/loop-control")
"""Where there is none, no file can be mounted as a disk."""
APART_BY = ("unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def main() -> int:
    """Play, print a table, and return 1 if anything did not hold, or 130 if it was interrupted."""
    parser, asked = arguments()
    if APART not in os.environ:
        _get_ready()
    rows = [ROWS[name] for name in asked.rows or (SOAKED if asked.soak is not None else ROWS)]
    for row in list(rows):
        missing = _missing(row, apart=APART in os.environ)
        if missing and asked.rows:
            parser.error(f"{row.name} cannot be played: it needs {missing}")
        if missing:
            _say(f"{row.name} is left out: it needs {missing}")
            rows.remove(row)
    logging.disable(logging.WARNING)
    return _run(asked, rows)


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """What was asked for, and whom to tell what is wrong with it."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"by default all: {', '.join(ROWS)}")
    parser.add_argument("--seed", type=int, default=1, help="of each row's first round; the next ones follow")
    parser.add_argument("--rounds", type=count, default=1, help="of each row, each with the next seed")
    parser.add_argument("--at-once", type=count, default=13, help="how many rollouts a round has")
    parser.add_argument(
        "--soak", type=minutes, metavar="MINUTES", help="play rows by chance for so long, and plot sizes"
    )
    parser.add_argument("--into", type=Path, default=Path("dist/soak"), help="the folder for what --soak plots")
    parser.add_argument("--keep", action="store_true", help="the records of every round, not only of the failed ones")
    asked = parser.parse_args()
    unknown = [name for name in asked.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; known: {', '.join(sorted(ROWS))}")
    return parser, asked


def count(text: str) -> int:
    """How many; at least one."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def minutes(text: str) -> float:
    """A time to play for."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no time to play for")
    return float(text)


def _say(text: str) -> None:
    print(text, flush=True)


def _get_ready() -> None:
    """Have the servers here, and go apart where we may."""
    try:
        asyncio.run(_servers_found())
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    if _may_go_apart():
        _go_apart()


def _may_go_apart() -> bool:
    try:
        return subprocess.run([*APART_BY, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _go_apart() -> None:
    """Go on in a network and with mounts of our own: what is dropped or filled there is nobody else's."""
    again = [sys.executable, "-m", "tests.faults", *sys.argv[1:]]
    os.environ[APART] = "1"
    os.execvp(APART_BY[0], [*APART_BY, *again])  # noqa: S606


async def _servers_found() -> None:
    for name in ("nats-server", "nats", "temporal"):
        await find_server(name, _say)


def _missing(row: Row, *, apart: bool) -> str:
    """What a row needs and is not here; empty when it can be played."""
    if row.isolated and not apart:
        return "root, for a network and mounts of its own"
    if row.nats_disk and not LOOP.exists():
        return str(LOOP)
    if row.on == "sshd" and find_sshd() is None:
        return "sshd"
    return "" if not row.needs or any(Path("/usr/lib").glob(row.needs)) else row.needs


def _run(asked: argparse.Namespace, rows: list[Row]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="fraisier-faults-"))
    _say(f"all logs and records, kept if something goes wrong: {folder}")
    reports: list[Report] = []
    try:
        asyncio.run(_play(asked, rows, folder, reports))
        interrupted = False
    except asyncio.CancelledError:
        interrupted = True
    wrong = any(one.violations for one in reports)
    kept = asked.keep or wrong
    if not kept:
        shutil.rmtree(folder)
    if interrupted:
        _say(f"interrupted; records are in {folder}" if kept else "interrupted; nothing was found until then")
        return INTERRUPTED
    _print_table(reports)
    return 1 if wrong else 0


async def _play(asked: argparse.Namespace, rows: list[Row], folder: Path, reports: list[Report]) -> None:
    _end_when_told()
    for name in GROUNDS:
        some = [row for row in rows if row.on == name]
        if some:
            disk = any(row.nats_disk for row in some)
            async with Ground(folder / name, kind=name, mounts=APART in os.environ, nats_disk=disk) as ground:
                await _on(ground, some, asked, reports)


def _end_when_told() -> None:
    """Be cancelled by the first signal, and by no second one: nothing that we started may outlive us."""
    loop, playing = asyncio.get_running_loop(), asyncio.current_task()
    assert playing is not None
    told = []

    def end() -> None:
        if not told:
            told.append(playing.cancel())

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


async def _on(ground: Ground, rows: list[Row], asked: argparse.Namespace, reports: list[Report]) -> None:
    """Play rows on one ground, whose servers and services live from round to round."""

    def told(report: Report) -> None:
        reports.append(report)
        _print(report, asked.at_once)

    rounds = Rounds(ground, asked.at_once, keep=asked.keep)
    await rounds.install()
    if asked.soak is not None:
        await soak(ground, rounds, rows, seed=asked.seed, minutes=asked.soak, told=told, into=ROOT / asked.into)
        return
    for number in range(asked.rounds):
        for row in rows:
            told(await rounds.play(row, asked.seed + number))


def _print(report: Report, at_once: int) -> None:
    _say(f"{report.row} {report.seed}: {report.injected} hit, {report.seconds:.0f} s")
    for violation in report.violations:
        _say(f"  VIOLATION {violation}"[:2000])
    if report.violations:
        _say(f"  again: make faults ROW={report.row} SEED={report.seed} AT_ONCE={at_once}")


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
