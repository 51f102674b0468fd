"""The fan-out benchmark's own instruments: real sshd hosts, the floor that deploys to them, the look at the result."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules that every benchmark shares."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("fleet", "job", "peers", "running", "figures")
    return SimpleNamespace(**{name: importlib.import_module(f"measuring.{name}") for name in names})


def test_the_floor_deploys_and_the_look_finds_what_is_wrong(measuring: SimpleNamespace, tmp_path: Path):
    release = measuring.job.build_release(tmp_path, "1.0.0")
    floor = measuring.peers.floor()
    with measuring.fleet.running_fleet(2) as fleet:
        command, _ = floor.command(measuring.job.write_order(tmp_path, fleet, 2, floor.name, release))
        ran = measuring.running.run(command, measuring.running.environment())
        assert min(ran.seconds, ran.cpu, ran.memory_mb) > 0
        measuring.job.check_hosts(fleet, 2, floor.name, release)
        before = measuring.job.restarts(fleet, 2, floor.name)
        measuring.running.run(command, measuring.running.environment())
        assert measuring.job.restarts(fleet, 2, floor.name) == before
        (fleet.root(fleet.addresses[1]) / floor.name / "current" / "VERSION").write_text("0.9.0")
        with pytest.raises(AssertionError, match=fleet.addresses[1]):
            measuring.job.check_hosts(fleet, 2, floor.name, release)


def test_a_side_that_fails_ends_the_benchmark(measuring: SimpleNamespace):
    with pytest.raises(SystemExit, match="no such luck"):
        measuring.running.run(["sh", "-c", "echo no such luck; exit 3"], measuring.running.environment())


def test_a_ratio_is_the_median_over_the_rounds(measuring: SimpleNamespace):
    figures = measuring.figures.Figures("seconds")
    for ours, floor in ((2, 1), (9, 3), (4, 4)):
        figures.add("job", "ours", ours)
        figures.add("job", "floor", floor)
    assert figures.ratio("job", "ours", "floor") == (2, 1, 3)
