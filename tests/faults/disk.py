"""A disk in a file, mounted where we may mount: it can be full, and lose what nobody synced."""

import asyncio
import os
from pathlib import Path

SIZE = "1500M"
NO_COMMIT_S = 600
"""How long the file system itself waits with what nobody synced; a power cut shall find it undone."""


class Disk:
    """An ext4 file system.

    Args:
        image: the file that holds it; made when it is mounted first.
        at: where it is mounted.
    """

    def __init__(self, image: Path, at: Path) -> None:
        self._image = image
        self._at = at

    async def mount(self) -> None:
        """Make it if it is not there, and mount it."""
        if not self._image.exists():
            await run("truncate", "-s", SIZE, str(self._image))
            await run("mkfs.ext4", "-q", "-F", str(self._image))
        self._at.mkdir(parents=True, exist_ok=True)
        await run("mount", "-o", f"loop,commit={NO_COMMIT_S}", str(self._image), str(self._at))

    async def unmount(self) -> None:
        await run("umount", "-l", str(self._at))

    async def cut_power(self) -> None:
        """Lose all that was not synced; whoever wrote there is dead. It is mounted again then."""
        copy = self._image.with_suffix(".copy")
        await run("cp", "--sparse=always", str(self._image), str(copy))
        await self.unmount()
        copy.rename(self._image)
        await self.mount()

    def fill(self) -> None:
        """Leave no room at all."""
        filler = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        try:
            for step in (64 << 20, 1 << 20, 4096):
                while _grow(filler, step):
                    pass
        finally:
            os.close(filler)

    def free(self) -> None:
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return self._at / "filler"


def _grow(file: int, by: int) -> bool:
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, by)
    except OSError:
        return False
    return True


async def run(*command: str) -> None:
    """Run a command that must not fail."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 0, f"{' '.join(command)}: {told.decode()}"
