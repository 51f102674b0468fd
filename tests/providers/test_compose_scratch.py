"""The worker's folders with a release's secrets go with the worker, however it ends."""

import asyncio
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fraisier.providers.compose import scratch
from fraisier.providers.compose.scratch import own_folder, remove_left
from tests.providers.by_hand import until

SOON_S = 60.0

HOLDS = """
import asyncio
from fraisier.providers.compose.scratch import own_folder

async def hold():
    async with own_folder() as folder:
        (folder / ".up.json").write_text("geheim")
        print(folder, flush=True)
        await asyncio.sleep(6000)

asyncio.run(hold())
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


async def holding() -> tuple[asyncio.subprocess.Process, Path]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDS, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return process, Path((await process.stdout.readline()).decode().strip())


async def test_what_a_killed_worker_left_goes_and_what_another_one_uses_stays(temporary: Path):
    (dead, left), (living, used) = await holding(), await holding()
    dead.kill()
    await dead.wait()
    assert (left / ".up.json").read_text() == "geheim"
    async with own_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert set(temporary.iterdir()) == {folder, used}
        remove_left()
        assert set(temporary.iterdir()) == {folder, used}
    living.kill()
    await living.wait()
    remove_left()
    assert list(temporary.iterdir()) == []


async def test_one_that_is_cancelled_while_it_is_made_goes(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    entered, go, made = threading.Event(), threading.Event(), []

    def slowly() -> tuple[Path, int]:
        entered.set()
        go.wait()
        made.append(make())
        return made[0]

    make = scratch._made
    monkeypatch.setattr(scratch, "_made", slowly)
    using = asyncio.create_task(own_folder().__aenter__())
    await asyncio.to_thread(entered.wait)
    using.cancel()
    await asyncio.gather(using, return_exceptions=True)
    go.set()
    await asyncio.wait_for(until(lambda: bool(made) and list(temporary.iterdir()) == []), SOON_S)
    assert using.cancelled()


async def test_what_is_no_folder_of_this_users_is_left_alone(temporary: Path):
    (temporary / "theirs").mkdir()
    (temporary / "fraisier-compose-link").symlink_to(temporary / "theirs")
    (temporary / "fraisier-compose-file").touch()
    foreign = temporary / "fraisier-compose-foreign"
    foreign.mkdir()
    if os.geteuid() == 0:
        os.chown(foreign, 65534, 65534)
    remove_left()
    assert (foreign.exists(), (temporary / "theirs").exists()) == (os.geteuid() == 0, True)
