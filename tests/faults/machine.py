"""Faults of a machine: a disk that is full or may not be written to, a clock that jumps; and three faults in a row."""

import asyncio
import contextlib
import errno
from pathlib import Path

from tests.faults.ground import SMALL, Child, Ground
from tests.faults.rows import ROWS, Scene, row

HOUR = ("+1h", "-1h")
FAKETIME = "*/faketime/libfaketimeMT.so.1"
SHARED = Path("/dev/shm")
BLOCK = b"\0" * (1 << 20)


@row("disk-full", isolated=True, may_end=("failed",))
async def disk_full(scene: Scene) -> None:
    """The last host's disk is full: what cannot be done there fails, and what runs is not harmed."""
    filler = _home(scene.ground) / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(BLOCK)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 (it is how this ends)
        with contextlib.suppress(OSError):
            file.close()
    scene.say("the disk of w1 is full")
    scene.ground.release()
    await scene.down(6)
    filler.unlink()


@row("disk-read-only", isolated=True, may_end=("failed",))
async def disk_read_only(scene: Scene) -> None:
    """The last host's disk may not be written to."""
    scene.ground.release()  # a file of its own says so, which can then not be removed
    await _remount(scene.ground, "ro")
    scene.say("the disk of w1 is read-only")
    await scene.down(6)
    await _remount(scene.ground, "rw")


@row("clock-jumps", needs=FAKETIME, may_end=("failed",))
async def clock_jumps(scene: Scene) -> None:
    """The worker is lost; the next one's clock is an hour off, then as far the other way: a preflight refuses it."""
    ground = scene.ground
    library = next(Path("/usr/lib").glob(FAKETIME))
    clock = ground.folder / "clock"
    ahead = scene.chance.randrange(2)
    clock.write_text(HOUR[ahead])
    await ground.worker.kill()
    ground.release()
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    odd = ground.another_worker(faked)
    try:
        await odd.start()
        scene.say(f"the clock is off by {HOUR[ahead]}")
        await asyncio.sleep(6)
        clock.write_text(HOUR[1 - ahead])
        scene.say(f"the clock jumps to {HOUR[1 - ahead]}")
        await asyncio.sleep(6)
    finally:
        await _end(odd)
    await ground.worker.start()


async def _end(odd: Child) -> None:
    """Kill it, and remove what its clock leaves in shared memory."""
    assert odd.process is not None
    pid = odd.process.pid
    await odd.kill()
    for left in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (SHARED / left).unlink(missing_ok=True)


@row("three", may_end=("failed", "cancelled", "rolled_back"))
async def three(scene: Scene) -> None:
    """Three faults of chance, one upon the other."""
    known = [
        one
        for one in ROWS.values()
        if not (one.isolated or one.on != "one" or one.needs or one.kinds or one.name in ("none", "three"))
    ]
    for one in scene.chance.sample(known, 3):
        scene.say(f"{one.name}:")
        await one.act(scene)


def _home(ground: Ground) -> Path:
    return ground.hosts_folder / SMALL / "home"


async def _remount(ground: Ground, how: str) -> None:
    command = ["mount", "-o", f"remount,{how}", str(_home(ground))]
    end = asyncio.get_running_loop().time() + 30
    # Busy while something there writes.
    while await (await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)).wait():
        assert asyncio.get_running_loop().time() < end, command
        await asyncio.sleep(0.1)
