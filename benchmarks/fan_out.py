"""Fan-out: one job on many SSH hosts, Fraisier beside bare asyncssh and its peers, in interleaved rounds.

``fan_out.py [HOSTS ...] [--rounds N] [--peers fabric,pyinfra,parallel-ssh,ansible | none]``

A round is, for every number of hosts and every side in an order of its own: a cold deploy of a new release, then the
same once more, which changes nothing. Fraisier also ships one more release over kept connections and takes it back.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from measuring.command import command_line, interruptible
from measuring.figures import Figures
from measuring.fleet import MOST, Fleet, running_fleet, sshd_version
from measuring.job import Release, build_release, check_hosts, restarts, write_order
from measuring.ours import SIDE, Ours, running_ours
from measuring.peers import REQUIREMENTS, Peer, floor, install_peers
from measuring.running import Measured, environment, run, wait_until_quiet

FLOOR = "asyncssh"
SLOW, SLOW_UP_TO = "ansible", 10
"""Who takes minutes for more hosts than that, and has one round of them."""
ALSO_FLOOR_OF = {"deploy": ("deploy again",), "unchanged": ("rollback",)}
"""What only Fraisier does is compared with the floor's run that has as much to do at least."""


@dataclass
class Table:
    """What was measured, in three units."""

    seconds: Figures = field(default_factory=lambda: Figures("seconds"))
    cpu: Figures = field(default_factory=lambda: Figures("CPU seconds"))
    memory: Figures = field(default_factory=lambda: Figures("MB at peak"))

    def add(self, job: str, side: str, measured: Measured) -> None:
        """Keep one run."""
        print(
            f"{job:<24}{side:<14}{measured.seconds:7.2f} s {measured.cpu:6.2f} CPU s {measured.memory_mb:6.0f} MB",
            flush=True,
        )
        self.seconds.add(job, side, measured.seconds)
        self.cpu.add(job, side, measured.cpu)
        self.memory.add(job, side, measured.memory_mb)


class Round:
    """One round over all sides.

    Args:
        number: which one.
        folder: for releases and orders.
        fleet: the hosts.
        table: where figures go.
    """

    def __init__(self, number: int, folder: Path, fleet: Fleet, table: Table) -> None:
        self.number, self._folder, self._fleet, self._table = number, folder, fleet, table

    def of_peer(self, peer: Peer, count: int) -> None:
        """A peer's cold deploy and unchanged run."""
        release = self._release(count, 1)
        order = write_order(self._folder, self._fleet, count, peer.name, release)
        command, env = peer.command(order)
        for job in ("deploy", "unchanged"):
            before = restarts(self._fleet, count, peer.name) if job == "unchanged" else []
            wait_until_quiet()
            self._add(job, count, peer.name, run(command, {**environment(), **env}))
            check_hosts(self._fleet, count, peer.name, release)
            assert not before or before == restarts(self._fleet, count, peer.name), f"{peer.name} restarted"
        release.artifact.unlink()

    def of_ours(self, ours: Ours, count: int) -> None:
        """Fraisier's cold deploy and unchanged run; then one more release, and back."""
        first, second = self._release(count, 1), self._release(count, 2)
        ours.renew_worker()
        for job, release in (("deploy", first), ("unchanged", first), ("deploy again", second)):
            before = restarts(self._fleet, count, SIDE) if job == "unchanged" else []
            wait_until_quiet()
            self._table.add(f"{job}, {count} hosts", SIDE, ours.deploy(count, release))
            check_hosts(self._fleet, count, SIDE, release)
            assert not before or before == restarts(self._fleet, count, SIDE), "restarted"
        wait_until_quiet()
        self._table.add(f"rollback, {count} hosts", SIDE, ours.roll_back())
        check_hosts(self._fleet, count, SIDE, first)
        for release in (first, second):
            release.artifact.unlink()

    def _add(self, job: str, count: int, peer: str, measured: Measured) -> None:
        for name in (job, *ALSO_FLOOR_OF[job]) if peer == FLOOR else (job,):
            self._table.add(f"{name}, {count} hosts", peer, measured)

    def _release(self, count: int, which: int) -> Release:
        return build_release(self._folder, f"1.{self.number}.{count}-{which}")


def main() -> None:
    asked = _asked()
    table = Table()
    with tempfile.TemporaryDirectory(prefix="fraisier-bench-") as name, running_fleet(max(asked.hosts)) as fleet:
        folder = Path(name)
        peers = [floor(), *install_peers(folder, asked.peers)]
        with running_ours(folder, fleet) as ours:
            for number in range(1, asked.rounds + 1):
                for count in asked.hosts:
                    _round(Round(number, folder, fleet, table), ours, peers, count)
    for unit in (table.seconds, table.cpu, table.memory):
        unit.show(FLOOR)
    table.seconds.note(f"hosts: {sshd_version()}; peers: {', '.join(REQUIREMENTS[name] for name in asked.peers)}")
    table.seconds.keep("fan_out", cpu=table.cpu, memory=table.memory)


def _round(one: Round, ours: Ours, peers: list[Peer], count: int) -> None:
    asked = [peer for peer in peers if peer.name != SLOW or count <= SLOW_UP_TO or one.number == 1]
    sides = [lambda peer=peer: one.of_peer(peer, count) for peer in asked]
    sides.append(lambda: one.of_ours(ours, count))
    random.shuffle(sides)
    for side in sides:
        side()


def _asked() -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("hosts", nargs="*", type=_within(1, MOST), default=[1, 10, 50, 100])
    parser.add_argument("--rounds", type=_within(1), default=3)
    parser.add_argument("--peers", type=_peers, default=tuple(REQUIREMENTS))
    return parser.parse_args()


def _within(least: int, most: int | None = None) -> Callable[[str], int]:
    def number(word: str) -> int:
        if not word.isdecimal() or not least <= int(word) <= (most or int(word)):
            wanted = f"from {least} to {most}" if most else f"of {least} or more"
            raise argparse.ArgumentTypeError(f"{word} is not a number {wanted}")
        return int(word)

    return number


def _peers(words: str) -> tuple[str, ...]:
    names = () if words == "none" else tuple(words.split(","))
    for name in names:
        if name not in REQUIREMENTS:
            raise argparse.ArgumentTypeError(f"there is no peer {name!r}: known are {', '.join(REQUIREMENTS)}, or none")
    return names


if __name__ == "__main__":
    interruptible(main)
