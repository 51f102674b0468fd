"""Figures: interleaved rounds in, a table and a file out."""

import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"
SMALL = 100
"""Figures below it are shown with three digits."""


@dataclass
class Figures:
    """What was measured, by job and by side, a figure a round; whether more or less is better, the unit tells."""

    unit: str
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, job: str, side: str, figure: float) -> None:
        """Keep a round's figure."""
        self.rounds.setdefault(job, {}).setdefault(side, []).append(figure)

    def note(self, line: str) -> None:
        """Keep, and print, a figure that has nothing to be compared with."""
        print(line)
        self.notes.append(line)

    def ratio(self, job: str, ours: str, floor: str) -> tuple[float, float, float]:
        """Ours ÷ the floor: the median over the rounds, the lowest, the highest; a slow side may have fewer rounds."""
        pairs = zip(self.rounds[job][ours], self.rounds[job][floor], strict=False)
        ratios = sorted(a / b for a, b in pairs)
        return statistics.median(ratios), ratios[0], ratios[-1]

    def show(self, floor: str) -> None:
        """Print each job's sides beside the floor."""
        print(f"{'job':<26}{'side':<26}{self.unit:>12}{'÷ ' + floor:>14}{'spread':>14}")
        for job, sides in self.rounds.items():
            for side, figures in sides.items():
                middle, low, high = self.ratio(job, side, floor)
                seen = (
                    f"{statistics.median(figures):.3g}" if figures[0] < SMALL else f"{statistics.median(figures):.0f}"
                )
                print(f"{job:<26}{side:<26}{seen:>12}{middle:>14.2f}{low:>7.2f}-{high:.2f}")

    def keep(self, name: str, **others: "Figures") -> None:
        """Write ``results/<name>.json`` with the machine, the versions, and what else the same rounds measured."""
        RESULTS.mkdir(exist_ok=True)
        kept = {
            "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
            "versions": {name: version(name) for name in ("fraisier", "nats-py", "temporalio", "asyncssh")},
            "unit": self.unit,
            "rounds": self.rounds,
            "notes": self.notes,
            **{name: {"unit": other.unit, "rounds": other.rounds} for name, other in others.items()},
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=2))
