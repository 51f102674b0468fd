"""``fraisier demo`` as a user runs it: it ends by itself, it stays up when asked, and it leaves nothing behind."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fraisier.orchestrator.launcher import fraisier_home
from tests.stack.test_local_stack import processes_below
from tests.support.docker_engine import Engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


END_S = 60


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Whatever a shell starts in the background ignores ^C, and so does what that starts in turn."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder of its own that holds the servers which this machine has, and nothing else."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "bin").symlink_to(fraisier_home() / "bin")
    return folder


class Demo:
    """A running ``fraisier demo``, read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, text: str) -> str:
        """Read on to the line that holds a text, and return that line."""
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(raw.decode().rstrip())
            if text in self.lines[-1]:
                return self.lines[-1]
        raise AssertionError(f"{text!r} was never printed:\n" + "\n".join(self.lines))

    async def end(self) -> int:
        """Read to the end and return the exit code."""
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(raw.decode().rstrip())
        return await self.process.wait()


@asynccontextmanager
async def running(home: Path, *options: str, env: dict[str, str]) -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fraisier.orchestrator", "demo", *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"FRAISIER_HOME": str(home), "COLUMNS": "200"} | env,
    )  # fmt: skip
    try:
        yield Demo(process)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), END_S)
            finally:
                if process.returncode is None:
                    process.kill()


def assert_nothing_left(home: Path) -> None:
    assert [item.name for item in home.iterdir()] == ["bin"]
    assert processes_below(home) == []


@pytest.mark.docker
async def test_it_plays_three_acts_over_ssh_and_docker_and_ends(home: Path, docker_engine: Engine):
    async with running(home, env={"DOCKER_HOST": docker_engine.url}) as demo:
        assert await demo.end() == 0
    told = "\n".join(demo.lines)
    for part in (
        "Temporal UI: http://127.0.0.1:",
        "answers: eu-west-1 is a Docker region",
        "gate healthy opened after wave 1",
        "signal: rollback",
        "Done: a rollout, a failing release that went back by itself, and a rollback by one signal.",
    ):
        assert part in told
    assert told.count("asked of the hosts themselves") == 3
    assert_nothing_left(home)


async def test_without_an_engine_it_stays_up_for_a_signal_from_temporals_own_cli(home: Path):
    async with running(home, "--keep", env=NO_ENGINE) as demo:
        command = shlex.split(await demo.until("workflow signal"))
        folder = (await demo.until("fraisier rollout watch")).split("FRAISIER_HOME=")[1].split()[0]
        watch = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fraisier.orchestrator", "rollout", "watch", "demo-api",
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"FRAISIER_HOME": folder},
        )  # fmt: skip
        seen = Demo(watch)
        await seen.until("soak")
        assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0
        await seen.end()
        assert "demo-api 4.0.0 was taken back everywhere" in seen.lines[-1]
        demo.process.send_signal(signal.SIGINT)
        assert await demo.end() == 0
    assert_nothing_left(home)


async def test_what_a_killed_demo_left_is_cleared_away_by_the_next(home: Path):
    async with running(home, env=NO_ENGINE) as demo:
        await demo.until("deployment.completed")
        demo.process.kill()
        await demo.process.wait()
    assert processes_below(home)
    left = next(home.glob("demo-*"))
    async with running(home, env=NO_ENGINE) as demo:
        await demo.until(f"a demo that was killed is cleared away: {left}")
        await demo.until("Temporal UI")
        assert not left.exists()
        assert not [line for line in processes_below(home) if left.name in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_signal_in_the_middle_of_an_act_ends_everything(home: Path, number: signal.Signals):
    async with running(home, env=NO_ENGINE) as demo:
        await demo.until("deployment.started")
        demo.process.send_signal(number)
        assert await demo.end() == 130
    assert_nothing_left(home)
