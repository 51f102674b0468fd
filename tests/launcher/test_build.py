"""Building a program: a small real one, by real Go, in folders of its own."""

import asyncio
import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from fraisier.orchestrator.launcher import find_server
from fraisier.orchestrator.launcher.build import build_environment
from fraisier.orchestrator.launcher.errors import WayFailed
from fraisier.orchestrator.launcher.progress import silent
from fraisier.orchestrator.launcher.run import run
from fraisier.orchestrator.launcher.toolchain import go_toolchain
from fraisier.orchestrator.launcher.versions import PROGRAMS, Program

pytestmark = pytest.mark.slow

SMALL = Program(
    name="shfmt",
    version="3.8.0",
    oldest=(3, 8, 0),
    package="mvdan.cc/sh/v3/cmd/shfmt",
    module="mvdan.cc/sh/v3",
    by_hand="it is only built by tests",
)


@pytest.fixture(autouse=True)
def small_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROGRAMS, SMALL.name, SMALL)


async def test_two_at_once_build_it_once_and_leave_nothing_else(tmp_path: Path):
    (tmp_path / "bin" / ".shfmt-killed" / "gopath").mkdir(parents=True)
    told: list[str] = []
    both = await asyncio.gather(*(find_server(SMALL.name, told.append, home=tmp_path) for _ in range(2)))
    assert sorted(found.how for found in both) == ["build", "cache"]
    assert {found.version for found in both} == {SMALL.version}
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {".shfmt.lock", "shfmt-3.8.0"}
    assert len([line for line in told if line.endswith("some minutes")]) == 1
    assert any("another process" in line for line in told)


async def test_a_tool_of_another_module_is_built_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool = dataclasses.replace(SMALL, tool=True, stamp="main.version")
    monkeypatch.setitem(PROGRAMS, SMALL.name, tool)
    found = await find_server(SMALL.name, home=tmp_path)
    assert (found.version, found.how) == (SMALL.version, "build")


async def test_a_cancelled_build_leaves_no_process_and_no_file(tmp_path: Path):
    building = asyncio.Event()
    search = asyncio.create_task(find_server(SMALL.name, lambda _line: building.set(), home=tmp_path))
    await building.wait()
    while not list((tmp_path / "bin").glob(".shfmt-*/gocache")):  # noqa: ASYNC110 - the compiler's folder tells nobody
        await asyncio.sleep(0.01)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert [path.name for path in (tmp_path / "bin").iterdir()] == [".shfmt.lock"]
    assert str(tmp_path) not in await run(["ps", "-eo", "args"])


async def test_checksums_are_on_whatever_the_machine_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("GONOSUMDB", "*"), ("GOPRIVATE", "*"), ("GOINSECURE", "*"), ("GOSUMDB", "off")):
        monkeypatch.setenv(name, value)
    go = await go_toolchain(tmp_path, silent)
    env = await build_environment(go, tmp_path)
    asked = await run([go, "env", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE"], env=env)
    assert asked.split("\n") == ["sum.golang.org", "", "", "", ""]


async def test_a_toolchain_is_fetched_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uv = shutil.which("uv")
    folders = [folder for folder in os.environ["PATH"].split(":") if not (Path(folder) / "go").exists()]
    monkeypatch.setenv("PATH", ":".join([*folders, *([str(Path(uv).parent)] if uv else [])]))
    told: list[str] = []
    go = await go_toolchain(tmp_path, told.append)
    assert Path(go).is_relative_to(tmp_path)
    assert "go version" in await run([go, "version"])
    assert "fetching a Go toolchain" in told[0]


async def test_the_error_shows_what_the_compiler_said(tmp_path: Path):
    go = await go_toolchain(tmp_path, silent)
    with pytest.raises(WayFailed, match=r"unknown command"):
        await run([go, "no-such-command"])
