"""Start-up: the command's help beside the libraries that draw it, a worker beside its own, and what is installed."""

import re
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from measuring.command import command_line, interruptible
from measuring.figures import Figures
from measuring.fleet import Fleet
from measuring.ours import FRAISIER, running_ours
from measuring.running import environment, run

ROUNDS = 15
WORKERS = 5
ROOT = Path(__file__).parents[1]
HELP = {"libraries": [sys.executable, "-c", "import typer, rich"], "fraisier": [*FRAISIER, "--help"]}
WORKER = [sys.executable, "-c", "import asyncssh, httpx, nats, pydantic, temporalio.worker"]
NOBODY = Fleet((), Path(), Path(), Path(), "")


def measure_help(figures: Figures) -> None:
    """In CPU seconds, of which a start has little else; the first round warms up."""
    for number in range(ROUNDS + 1):
        for side, command in HELP.items():
            cpu = run(command, environment()).cpu
            if number:
                figures.add("fraisier --help", side, cpu)


def measure_worker(figures: Figures) -> None:
    """From the start of the process until it polls, beside the imports alone."""
    with tempfile.TemporaryDirectory(prefix="fraisier-bench-") as name, running_ours(Path(name), NOBODY) as ours:
        ours.renew_worker()
        for _ in range(WORKERS):
            figures.add("worker polls", "libraries", run(WORKER, environment()).seconds)
            figures.add("worker polls", "fraisier", ours.renew_worker())


def needed_by(name: str, seen: dict[str, Distribution]) -> dict[str, Distribution]:
    """A distribution and all that it needs, by name."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key not in seen:
        try:
            seen[key] = distribution(name)
        except PackageNotFoundError:
            return seen  # for another system, or an extra
        for requirement in seen[key].requires or ():
            if "extra ==" not in requirement:
                needed_by(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0], seen)
    return seen


def size_mb(paths: "list[Path]") -> float:
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    command_line(__doc__).parse_args()
    figures = Figures("seconds")
    measure_help(figures)
    measure_worker(figures)
    figures.show("libraries")
    own = [
        path
        for root in ("events", "providers", "workflows", "orchestrator")
        for path in (ROOT / root).rglob("*")
        if "__pycache__" not in path.parts
    ]
    needed = {name: found for name, found in needed_by("fraisier", {}).items() if name != "fraisier"}
    files = [Path(str(file.locate())) for found in needed.values() for file in found.files or ()]
    figures.note(f"installed: {size_mb(own):.1f} MB of Fraisier, {size_mb(files):.0f} MB of {len(needed)} libraries")
    figures.keep("start_up")


if __name__ == "__main__":
    interruptible(main)
